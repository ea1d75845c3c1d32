"""``BreastSiemensGe``: pre-contrast series and masks to axial slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mtbench
from mtbench.errors import DataError
from mtbench.formats import Cut, Volume, check_same_place, read, read_segmentation
from mtbench.preparation import prepare_cases
from mtbench_plugins.datasets.breast_siemens_ge.layout import CollectionLayout, Patient
from mtbench_plugins.datasets.folder.cases import Case, cut_of, pictures_of, samples_of_case
from mtbench_plugins.datasets.folder.config import Config
from mtbench_plugins.datasets.folder.frames import Frames
from mtbench_plugins.datasets.folder.listing import ImageEntry

BREAST, FGT = 1, 2


class BreastSiemensGe:
    """The task; the parameters are described in the spec."""

    def __init__(self, size: int, percentiles: Any, split: str | None, masks_by: str) -> None:
        domain = {"images": "*", "masks": "*", "plane": "axial", "percentiles": percentiles}
        labels = {"breast": BREAST, "fgt": FGT}
        self._config = Config.of(
            {"source": domain, "target": domain, "labels": labels, "resize": "plain", "size": size, "mm": None}
        )
        self._split = Path(split) if split else None
        self._by_index = masks_by == "index"

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files that ``prepare`` opens: spreadsheets, the chosen series, masks.

        Raises:
            DataError: a part of the collection is missing.
        """
        layout = CollectionLayout.find(root)
        yield from filter(None, (layout.clinical, layout.mapping))
        for patient in layout.patients(self._split, lambda case, reason: None):
            yield from sorted(path for path in patient.series.iterdir() if path.is_file())
            yield from (patient.breast, patient.tissue)

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """All axial slices of all patients, Siemens first; unusable patients are skipped.

        Raises:
            DataError: a part of the collection is missing.
        """
        if root is None:
            raise DataError(
                "the parameter 'root' is missing", where="dataset 'breast-siemens-ge'", remedy='Set root = "..."'
            )
        layout = CollectionLayout.find(root)
        if layout.mapping is None:
            context.log.append("no mapping spreadsheet: the pre-contrast series were identified by folder name")
        patients = [p for p in layout.patients(self._split, context.leave_out) if p.split]
        ordered = {p.name: p for p in sorted(patients, key=lambda p: (p.domain, p.name))}
        convert = partial(samples_of, config=self._config, by_index=self._by_index)
        yield from prepare_cases(ordered, convert, context, processes=True)

    def cut(self, volume: Volume) -> Cut:
        """How a new Siemens volume is cut into slices.

        Raises:
            DataError: the file has no orientation.
        """
        return cut_of(volume, self._config)


def samples_of(patient: Patient, config: Config, *, by_index: bool = False) -> list[mtbench.Sample]:
    """The slices of one patient.

    Raises:
        DataError: a file cannot be read, masks and images are at different positions, or the DICOM header names
            another manufacturer than the spreadsheet.
    """
    image = read(patient.series)
    if not _made_by(patient.maker, image.scanner):
        raise DataError(
            f"the DICOM header says '{image.scanner}' and the clinical spreadsheet {patient.maker}",
            where=patient.relative,
            expected="the same manufacturer",
        )
    masks = replace(image, array=labels_of(patient, image, by_index=by_index)).slices("axial")
    item = ImageEntry(patient.name, patient.series, patient.relative, None, {}, patient.name, patient.split)
    case = Case(patient.name, patient.name, pictures_of(item, image, masks, "axial"))
    domain = config.source if patient.domain == "source" else config.target
    return list(samples_of_case(case, domain, config.labels, Frames("plain", config.size).of))


def labels_of(patient: Patient, image: Volume, *, by_index: bool) -> NDArray[np.uint8]:
    """0, BREAST or FGT on the grid of the image. Vessels count as breast, a pixel in both masks as FGT.

    Raises:
        DataError: as :func:`samples_of`.
    """
    # In the order of the image in memory, whatever axes it has.
    result = np.zeros_like(image.array, np.uint8)
    for file, segment, value in ((patient.breast, None, BREAST), (patient.tissue, "Dense", FGT)):
        segmentation = read_segmentation(file)
        if segment:
            segmentation.place("Vessels")
        mask = segmentation.volume(segmentation.inside(segment), image, by_index=by_index)
        check_same_place(mask, image, patient.relative)
        np.copyto(result, np.uint8(value), where=mask.array)
    if not result.any():
        raise DataError("the masks are empty", where=patient.breast.name)
    return result


def _made_by(maker: str, scanner: str) -> bool:
    words = scanner.lower().split()
    return not words or (words[0] == "ge" if maker == "GE" else words[0].startswith("siemens"))
