"""The 70 published training patients, and how the others are split.

Source: the authors' answer in issue 22 of github.com/mazurowski-lab/segmentation-guided-diffusion (27 February 2025).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mtbench.compute.seeds import generator
from mtbench.errors import DataError
from mtbench_plugins.datasets.folder.listing import read_table, split_of

_NUMBERS = """
    006 018 021 023 025 041 076 080 087 105 112 124 141 143 148 166 186 204 229 230 238 272 280 286 287 290 334 339 354
    359 370 392 440 464 466 489 492 495 497 501 503 530 553 561 572 575 587 602 612 618 652 670 681 686 688 693 723 726
    727 741 762 773 781 788 797 819 832 876 888 902
"""
TRAINING = frozenset(f"Breast_MRI_{number}" for number in _NUMBERS.split())


def split_of_each(patients: Mapping[str, str], file: Path | None) -> dict[str, str]:
    """The split of each patient.

    Args:
        patients: the domain of each patient.
        file: a CSV with the columns patient and split; without it, the published training patients train; the others of
            each domain are shuffled by seed, and every second one is a test patient.

    Raises:
        DataError: the file cannot be read, or names no split for a patient.
    """
    if file is not None:
        rows = {row["patient"]: row["split"] for row in read_table(file, ("patient", "split"), str(file))}
        missing = sorted(set(patients) - set(rows))
        if missing:
            raise DataError(
                f"{len(missing)} patients are not in the split file, {missing[0]} among them",
                where=str(file),
                expected="a line for each patient; an empty split excludes the patient",
            )
        return {patient: split_of(rows[patient], patient, str(file)) for patient in patients}
    result = {patient: "train" for patient in patients if patient in TRAINING}
    for maker in sorted(set(patients.values())):
        others = _in_random_order(p for p, own_maker in patients.items() if own_maker == maker and p not in TRAINING)
        result |= {patient: "validation" if i % 2 else "test" for i, patient in enumerate(others)}
    return result


def _in_random_order(patients: Iterable[str]) -> list[str]:
    return sorted(patients, key=lambda patient: float(generator("split", 0, patient).random()))
