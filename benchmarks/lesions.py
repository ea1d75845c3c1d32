"""Does the ledger of changes find lesions that were added or removed? And those that a translator invents or erases?

    OMP_NUM_THREADS=1 python benchmarks/lesions.py train FOLDER
    OMP_NUM_THREADS=1 python benchmarks/lesions.py froc FOLDER
    OMP_NUM_THREADS=1 python benchmarks/lesions.py tables FOLDER

``train`` fits the segmenter and the translators into FOLDER; the same command resumes. ``froc`` edits the anatomy of
test patients before the simulated acquisition and prints how many edits the ledger finds, by size. ``tables`` prints
what the translators did to lesions, by a yardstick without a segmenter, and what the ledger says.

The ledger compares the segmenter's lesions in the translation with the source's mask. Two thresholds of the segmenter's
probability, one for added and one for removed lesions, and the smallest diameter are chosen on validation patients.
[ ]: 95 % confidence interval by patient: exact for shares of one size (a patient has one such edit), else bootstrap.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lesion_models as models
import numpy as np
import torch
from lesion_models import PREVALENCES, SLICES, TEST, TRANSLATORS, VALIDATION, Floats, Images, Patient
from lesion_yardstick import table_of_translators
from scipy.stats import beta

from mtbench.ledger import Grid, Item, find_items
from mtbench_plugins.datasets.phantoms.brain import DEPTH, FIELD_OF_VIEW
from mtbench_plugins.datasets.phantoms.lesions import DIAMETERS, Lesion

CUTS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
SMALLEST = (0.0, 2.5, 3.0, 3.5)
ALLOWED = 0.5
"""False alarms per validation volume and kind when thresholds are chosen; both kinds together: one."""
KINDS = ("added", "removed")


@dataclass(frozen=True)
class Alarm:
    """An item of the ledger: its kind, its centre in mm as a lesion's, and the larger diameter in mm."""

    kind: str
    centre: tuple[float, float, float]
    diameter: float

    def hits(self, lesion: Lesion) -> bool:
        """Whether its centre lies in the lesion, give or take half a slice."""
        return bool(np.linalg.norm(np.subtract(self.centre, lesion.centre)) <= max(lesion.radii) + 1.5)


def alarms(probability: Floats, mask: Images, cut: float) -> list[Alarm]:
    """The ledger's items of lesions: the segmenter's lesions at that probability, against the mask of the source."""
    spacing, thickness = FIELD_OF_VIEW / mask.shape[-1], DEPTH / SLICES
    grid = Grid(tuple(range(SLICES)), (spacing, spacing), thickness)
    found = np.where(probability >= cut, models.LESION, 0).astype(np.uint8)
    items = find_items(found, mask, {"lesion": (models.LESION,)}, grid)
    return [alarm for item in items for alarm in _alarms(item, spacing, thickness)]


def _alarms(item: Item, spacing: float, thickness: float) -> Iterable[Alarm]:
    def place(part: object) -> tuple[float, float, float]:
        number, row, column = part.place  # type: ignore[attr-defined]
        return (number + 0.5) * thickness - DEPTH / 2, (row + 0.5) * spacing, (column + 0.5) * spacing

    kinds = {"added": ("added",), "removed": ("removed",)}.get(item.kind, ())
    if item.kind == "moved" and item.candidate and item.reference:
        # Without a shared voxel: for lesions, one was lost and another is new.
        apart = item.changed >= 0.999 * (item.candidate.size + item.reference.size)
        kinds = KINDS if apart else ()
    for kind in kinds:
        part = item.candidate if kind == "added" else item.reference
        assert part is not None
        yield Alarm(kind, place(part), part.diameter)


@dataclass
class Counts:
    """Edits and alarms of one patient at one setting: found by (kind, diameter), false alarms, volumes."""

    found: dict[tuple[str, float], bool]
    false: dict[str, int]
    volumes: int


def count(patient: Patient, listed: dict[str, list[Alarm]], smallest: float) -> Counts:
    """Compare the alarms of each of the patient's volumes, from that diameter on, with the edits."""
    counts = Counts({}, dict.fromkeys(KINDS, 0), len(listed))
    for volume, every in listed.items():
        edits = {"added": patient.sham, "removed": patient.lesions}.get(volume, ())
        kept = [alarm for alarm in every if alarm.diameter >= smallest]
        for lesion, diameter in zip(edits, DIAMETERS, strict=False):
            counts.found[volume, diameter] = any(a.kind == volume and a.hits(lesion) for a in kept)
        for alarm in kept:
            true = alarm.kind == volume and any(alarm.hits(lesion) for lesion in edits)
            counts.false[alarm.kind] += not true
    return counts


Setting = tuple[float, float]


def measure(folder: Path, numbers: Iterable[int]) -> dict[Setting, list[Counts]]:
    """Counts by (probability, smallest diameter) and patient: unedited, all sham lesions added, all lesions removed."""
    model = models.segmenter(folder)
    measured: dict[Setting, list[Counts]] = {(cut, smallest): [] for cut in CUTS for smallest in SMALLEST}
    for number in numbers:
        patient = Patient.of(number)
        volumes = {"unedited": patient.lesions, "added": (*patient.lesions, *patient.sham)}
        if patient.lesions:
            volumes["removed"] = ()
        mask = patient.anatomy(patient.lesions).labels
        seen = {name: models.lesion_probability(model, patient.truth(lesions)) for name, lesions in volumes.items()}
        for cut in CUTS:
            listed = {name: alarms(probability, mask, cut) for name, probability in seen.items()}
            for smallest in SMALLEST:
                measured[cut, smallest].append(count(patient, listed, smallest))
    return measured


def share_found(counts: Sequence[Counts], kind: str, diameter: float) -> tuple[int, int]:
    """Edits of that kind and size that were found, and all."""
    flags = [c.found[kind, diameter] for c in counts if (kind, diameter) in c.found]
    return sum(flags), len(flags)


def rate(counts: Sequence[Counts], kinds: Sequence[str] = KINDS) -> float:
    """False alarms per volume."""
    return sum(c.false[kind] for c in counts for kind in kinds) / sum(c.volumes for c in counts)


def choose(folder: Path) -> dict[str, Setting]:
    """The setting of each kind: of those with few enough false alarms, the one that finds most validation edits."""
    file = folder / "settings.json"
    if not file.exists():
        measured = measure(folder, VALIDATION)
        chosen = {}
        for kind in KINDS:
            # Ties go to fewer false alarms, then to the probability nearest to one half.
            ranked = [
                (sum(share_found(c, kind, d)[0] for d in DIAMETERS), -rate(c, [kind]), -abs(setting[0] - 0.5), setting)
                for setting, c in measured.items()
                if rate(c, [kind]) <= ALLOWED
            ]
            chosen[kind] = max(ranked)[-1]
        file.write_text(json.dumps(chosen), encoding="utf-8")
    return {kind: tuple(setting) for kind, setting in json.loads(file.read_text(encoding="utf-8")).items()}


def exact(hits: int, total: int) -> str:
    """A share with its Clopper-Pearson interval, in per cent."""
    low = beta.ppf(0.025, hits, total - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, total - hits) if hits < total else 1.0
    return f"{100 * hits / total:.0f} % [{100 * low:.0f}, {100 * high:.0f}] ({hits}/{total})"


def rate_cell(counts: Sequence[Counts], kinds: Sequence[str]) -> str:
    """False alarms per volume with a bootstrap interval over patients."""
    rng = np.random.default_rng(0)
    draws = [rate([counts[i] for i in rng.integers(len(counts), size=len(counts))], kinds) for _ in range(1000)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{rate(counts, kinds):.2f} [{low:.2f}, {high:.2f}]"


def froc(folder: Path) -> None:
    """Print the table of edits found, and draw the curves."""
    settings = choose(folder)
    measured = measure(folder, TEST)
    print(f"\n{len(TEST)} test patients; thresholds from {len(VALIDATION)} validation patients\n")
    print("| edit | probability | smallest, mm | 20 mm found | 10 mm found | 5 mm found | false alarms per volume |")
    print("|---" * 7 + "|")
    for kind in KINDS:
        cut, smallest = settings[kind]
        counts = measured[cut, smallest]
        cells = [exact(*share_found(counts, kind, d)) for d in DIAMETERS]
        print(f"| {kind} | {cut:g} | {smallest:g} | " + " | ".join([*cells, rate_cell(counts, [kind])]) + " |")
    total = rate(measured[settings["added"]], ["added"]) + rate(measured[settings["removed"]], ["removed"])
    print(f"\nfalse alarms of both kinds: {total:.2f} per volume")
    curves = {
        kind: {
            f"{d:g} mm": [
                (rate(measured[cut, settings[kind][1]], [kind]), share_found(measured[cut, settings[kind][1]], kind, d))
                for cut in CUTS
            ]
            for d in DIAMETERS
        }
        for kind in KINDS
    }
    (folder / "froc.json").write_text(json.dumps(curves), encoding="utf-8")
    draw(curves, folder / "froc.png")


def draw(curves: dict[str, dict[str, list[tuple[float, tuple[int, int]]]]], file: Path) -> None:
    """The free-response curves: share of edits found against false alarms per volume."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
    for axis, (kind, sizes) in zip(axes, curves.items(), strict=True):
        for (name, points), marker in zip(sizes.items(), "os^", strict=True):
            ordered = sorted((x, hits / total) for x, (hits, total) in points)
            axis.plot([x for x, _ in ordered], [y for _, y in ordered], marker=marker, markersize=4, label=name)
        axis.axvline(1.0, color="0.6", linestyle=":")
        axis.axhline(0.95, color="0.6", linestyle=":")
        axis.set(title=f"lesions {kind}", xlabel="false alarms per volume", ylim=(0, 1.03))
        axis.set_xscale("symlog", linthresh=0.1)
    axes[0].set_ylabel("share of edits found")
    axes[1].legend(title="diameter", loc="lower right")
    figure.savefig(file, dpi=150)
    print(f"wrote {file}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "froc", "tables"))
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.what == "train":
        models.segmenter(asked.folder)
        for name in TRANSLATORS:
            for prevalence in PREVALENCES:
                models.translator(asked.folder, name, prevalence)
    elif asked.what == "froc":
        froc(asked.folder)
    else:
        settings = choose(asked.folder)

        def listed(probability: Floats, mask: Images) -> dict[str, list[Alarm]]:
            return {
                kind: [a for a in alarms(probability, mask, cut) if a.kind == kind and a.diameter >= smallest]
                for kind, (cut, smallest) in settings.items()
            }

        table_of_translators(asked.folder, listed)


if __name__ == "__main__":
    main()
