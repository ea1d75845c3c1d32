"""What translators do to lesions, by a yardstick that needs no segmenter, beside what the ledger says.

The yardstick of a place is the contrast of the translation between the lesion's voxels and the brain 1.5 to 5 mm around
them, on a scale on which the true translation without the lesion is 0 and the one with it is 1. A lesion below 0.5 is
erased. A place without one at 0.5 or above is an invention; inventions elsewhere are searched with a ball of 10 mm.
First a straight line, fitted in the patient's brain away from lesions and sham places, maps the translation's grey
values to the truth's, so that a translation with another brightness or contrast is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import lesion_models as models
import numpy as np
from lesion_models import LESION, PREVALENCES, SIZE, SLICES, TEST, TRANSLATORS, Floats, Images, Patient
from numpy.typing import NDArray
from scipy import ndimage, signal

from mtbench_plugins.datasets.phantoms.brain import DEPTH, FIELD_OF_VIEW
from mtbench_plugins.datasets.phantoms.brain_scanners import t1
from mtbench_plugins.datasets.phantoms.lesions import DIAMETERS, Lesion, lesion_mask

if TYPE_CHECKING:
    from lesions import Alarm

Bools = NDArray[np.bool_]
Listed = Callable[[Floats, Images], "dict[str, list[Alarm]]"]
TRANSLATED = TEST[:30]
HALF = 0.5
SPACING, THICKNESS = FIELD_OF_VIEW / SIZE, DEPTH / SLICES
STEPS = (THICKNESS, SPACING, SPACING)
_BALL = 10.0


@dataclass(frozen=True)
class Place:
    """The voxels of a lesion or of a sham lesion, and the brain around them in the same slices."""

    lesion: Lesion
    inside: Bools
    around: Bools

    def contrast(self, images: Floats) -> float:
        """Mean inside minus mean around."""
        return float(images[self.inside].mean() - images[self.around].mean())


class Scene:
    """A patient's truths with and without lesions, and the places to measure.

    Attributes:
        without, real, full: true translations with no lesion, the real ones, the real and the sham ones; [0, 255].
        mask: the source's label map.
    """

    def __init__(self, number: int) -> None:
        self.patient = patient = Patient.of(number)
        self.every = (*patient.lesions, *patient.sham)
        self.source = patient.source()
        self.without, self.real, self.full = (
            patient.truth(lesions).astype(np.float32) for lesions in ((), patient.lesions, self.every)
        )
        self.anatomy = patient.anatomy(())
        self.mask = patient.anatomy(patient.lesions).labels
        self.brain: Bools = self.anatomy.labels == 1
        self.occupied: Bools = patient.anatomy(self.every).labels == LESION
        self.places = [self.place(lesion, lesion_mask(self.anatomy, lesion)) for lesion in self.every]
        self.searched = self._searched()

    def ball(self, centre: tuple[float, float, float], radius: float) -> Place | None:
        """The place of a ball, mm, which is at least one slice thick."""
        ball = Lesion(centre, (max(radius, THICKNESS), radius, radius), 0.0, 0.0)
        axes = [(np.arange(n) + 0.5) * step for n, step in zip(self.mask.shape, STEPS, strict=True)]
        side, down, across = np.meshgrid(axes[0] - DEPTH / 2, axes[1], axes[2], indexing="ij", sparse=True)
        return self.place(ball, ball.radius_at(side, down, across) <= 1.0)

    def place(self, lesion: Lesion, inside: Bools) -> Place | None:
        """These voxels and their surroundings; ``None`` without any voxel or any brain around."""
        around = np.zeros_like(inside)
        for i in np.flatnonzero(inside.any(axis=(1, 2))):
            distance = ndimage.distance_transform_edt(~inside[i]) * SPACING
            around[i] = (distance > 1.5) & (distance <= 5.0) & self.brain[i] & ~self.occupied[i]
        return Place(lesion, inside, around) if inside.any() and around.any() else None

    def in_scale(self, images: Floats) -> Floats:
        """``images`` in the grey values of the truth, by the straight line that fits best in brain without lesions."""
        healthy = self.brain & ~ndimage.binary_dilation(self.occupied, iterations=3)
        truth, shown = self.without[healthy].astype(float), images[healthy].astype(float)
        slope = np.cov(truth, shown)[0, 1] / truth.var()
        # A translation that shows a tenth of the truth's contrast or less has no scale; its contrasts stay small.
        return np.asarray((images - shown.mean()) / max(slope, 0.1) + truth.mean(), np.float32)

    def index(self, place: Place | None, images: Floats) -> float | None:
        """Where the contrast of ``images``, in the truth's scale, lies from absent (0) to present (1)."""
        if place is None:
            return None
        absent, present = place.contrast(self.without), place.contrast(self.full)
        return (place.contrast(images) - absent) / (present - absent)

    def _searched(self) -> Bools:
        """Where inventions are searched: white matter away from the cortex, the ventricles and the real lesions."""
        deep = np.stack([ndimage.distance_transform_edt(plane > 0) * SPACING > 8.0 for plane in self.anatomy.labels])
        for avoided, mm in ((self.anatomy.labels == 2, 4.0), (self.mask == LESION, 10.0)):
            if avoided.any():
                deep &= ndimage.distance_transform_edt(~avoided, sampling=STEPS) > mm
        return np.asarray(deep)


def _kernel() -> Floats:
    """Weights of the mean in a ball minus the mean 1.5 to 5 mm around its slices."""
    reach = [int((_BALL / 2 + 5.0) / step) + 1 for step in STEPS]
    axes = np.meshgrid(*(np.arange(-r, r + 1) * s for r, s in zip(reach, STEPS, strict=True)), indexing="ij")
    ball = axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 <= (_BALL / 2) ** 2
    edge = np.sqrt(np.maximum((_BALL / 2) ** 2 - axes[0] ** 2, 0.0))
    flat = np.hypot(axes[1], axes[2])
    ring = (np.abs(axes[0]) <= _BALL / 2) & (flat > edge + 1.5) & (flat <= edge + 5.0)
    return np.asarray(ball / ball.sum() - ring / ring.sum(), np.float32)


KERNEL = _kernel()


def contrast_map(difference: Floats) -> Floats:
    """The contrast of a ball around each voxel."""
    return np.asarray(signal.fftconvolve(difference, KERNEL[::-1, ::-1, ::-1], mode="same"), np.float32)


@dataclass(frozen=True)
class Real:
    """A real lesion in a translation: where it lies between absent (0) and present (1), and what the ledger says."""

    diameter: float
    index: float
    reported: bool

    @property
    def erased(self) -> bool:
        """Whether less than half of its contrast is left."""
        return self.index < HALF


@dataclass
class Tally:
    """What one model did; each list has an entry per patient.

    Attributes:
        real: the real lesions.
        sham: whether each sham place shows a lesion.
        inventions: whether the ledger lists each invention of the search.
        added: whether the yardstick confirms each added item.
    """

    real: list[list[Real]] = field(default_factory=list)
    sham: list[list[bool]] = field(default_factory=list)
    inventions: list[list[bool]] = field(default_factory=list)
    added: list[list[bool]] = field(default_factory=list)

    def add(self, scene: Scene, images: Images, listed: dict[str, list[Alarm]], units: dict[float, float]) -> None:
        """Count one patient; ``units`` is the contrast of a true lesion by diameter."""
        shown = scene.in_scale(images.astype(np.float32))
        count = len(scene.patient.lesions)
        indices = [scene.index(place, shown) for place in scene.places]
        self.real.append(
            [
                Real(diameter, index, any(alarm.hits(lesion) for alarm in listed["removed"]))
                for lesion, diameter, index in zip(scene.patient.lesions, DIAMETERS, indices, strict=False)
                if index is not None
            ]
        )
        self.sham.append([index >= HALF for index in indices[count:] if index is not None])
        self.inventions.append(self._search(scene, shown - scene.real, listed["added"], units[_BALL]))
        self.added.append([_confirmed(scene, alarm, shown - scene.real, units) for alarm in listed["added"]])

    def _search(self, scene: Scene, difference: Floats, added: Sequence[Alarm], unit: float) -> list[bool]:
        index = contrast_map(difference) / unit
        labelled, count = ndimage.label((index >= HALF) & scene.searched, np.ones((3, 3, 3)))
        known = []
        for peak in ndimage.maximum_position(index, labelled, range(1, count + 1)):
            centre = (np.array(peak) + 0.5) * STEPS - (DEPTH / 2, 0.0, 0.0)
            known.append(any(np.linalg.norm(centre - alarm.centre) <= 7.5 for alarm in added))
        return known


def _confirmed(scene: Scene, alarm: Alarm, difference: Floats, units: dict[float, float]) -> bool:
    """Whether the translation differs from the truth at the item's place by half of a lesion's contrast or more."""
    # The middle of the item, since its edge is the segmenter's, against what lies around all of it.
    middle, whole = (
        scene.ball(alarm.centre, radius)
        for radius in (max(0.35 * alarm.diameter, 2.0), max(0.5 * alarm.diameter, 2.0) + 1.0)
    )
    if middle is None or whole is None:
        return False
    place = Place(whole.lesion, middle.inside, whole.around)
    nearest = min(DIAMETERS, key=lambda d: abs(d - alarm.diameter))
    return place.contrast(difference) / units[nearest] >= HALF


def true_contrasts(scenes: Sequence[Scene]) -> dict[float, float]:
    """The median contrast that a lesion adds to the true translation, by diameter; below 0, lesions are dark."""
    added: dict[float, list[float]] = {d: [] for d in DIAMETERS}
    for scene in scenes:
        for place in scene.places:
            if place is not None:
                nearest = min(DIAMETERS, key=lambda d: abs(d - place.lesion.diameter))
                added[nearest].append(place.contrast(scene.full) - place.contrast(scene.without))
    return {d: float(np.median(values)) for d, values in added.items()}


Pairs = Sequence[tuple[float, float]]


def ratio(pairs: Pairs, percent: bool = True) -> str:
    """Sum of the first over sum of the second of each patient, with a bootstrap interval over patients."""
    array = np.array(pairs, float).reshape(-1, 2)
    top, bottom = array.sum(axis=0)
    if not bottom:
        return "none"
    rng = np.random.default_rng(0)
    sums = array[rng.integers(len(array), size=(2000, len(array)))].sum(axis=1)
    kept = sums[sums[:, 1] > 0]
    low, high = np.quantile(kept[:, 0] / kept[:, 1], (0.025, 0.975))
    if percent:
        return f"{100 * top / bottom:.0f} % [{100 * low:.0f}, {100 * high:.0f}] ({top:.0f}/{bottom:.0f})"
    return f"{top / bottom:.2f} [{low:.2f}, {high:.2f}]"


def median(values: Sequence[float]) -> str:
    """The median with a bootstrap interval; one value per patient."""
    rng = np.random.default_rng(0)
    array = np.array(values)
    low, high = np.quantile(np.median(array[rng.integers(len(array), size=(2000, len(array)))], axis=1), (0.025, 0.975))
    return f"{np.median(array):.2f} [{low:.2f}, {high:.2f}]"


def _line(tally: Tally) -> list[str]:
    every = [[r.erased for r in real] for real in tally.real]
    erased = [[r.reported for r in real if r.erased] for real in tally.real]
    left = [[r.reported for r in real if not r.erased] for real in tally.real]
    flags = (every, erased, left, tally.sham, tally.inventions, tally.added)
    of_all, of_erased, of_left, sham, listed, confirmed = ([(sum(f), len(f)) for f in each] for each in flags)
    return [
        *(median([r.index for real in tally.real for r in real if r.diameter == d]) for d in DIAMETERS),
        *(ratio(of_all), ratio(of_erased), ratio(of_left), ratio(sham)),
        *(ratio([(len(f), 1) for f in tally.inventions], percent=False), ratio(listed)),
        *(ratio([(len(f), 1) for f in tally.added], percent=False), ratio(confirmed)),
    ]


def print_table(tallies: dict[str, Tally]) -> None:
    """A table of what was erased, and one of what was invented."""
    lines = {name: _line(tally) for name, tally in tallies.items()}
    erased = (
        *("median index: 20 mm", "10 mm", "5 mm"),
        *("erased", "of erased, listed as removed", "of others, listed as removed"),
    )
    invented = (
        *("sham places with a lesion", "inventions per volume", "of these, listed as added"),
        *("added items per volume", "of these, confirmed"),
    )
    for columns, cells in ((erased, slice(0, 6)), (invented, slice(6, 11))):
        print("\n| translation | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
        for name, line in lines.items():
            print(f"| {name} | " + " | ".join(line[cells]) + " |")


def _save_example(folder: Path, scene: Scene, shown: dict[str, Images]) -> None:
    """The slice through the largest lesion, or the largest sham place, of each image."""
    place = scene.places[0]
    assert place is not None
    number = int(place.inside.sum(axis=(1, 2)).argmax())
    images = {"source": scene.source[number]} | {
        name: volume[number] for name, volume in shown.items() if name != "truth, other noise"
    }
    np.savez(folder / f"example-{scene.patient.number}.npz", **images)


def draw_examples(folder: Path) -> None:
    """A row for a patient with lesions and one for a patient without; a column for each translation."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    files = [folder / f"example-{number}.npz" for number in TRANSLATED[:2]]
    columns = list(np.load(files[0]).keys())
    figure, axes = plt.subplots(2, len(columns), figsize=(1.6 * len(columns), 3.9), layout="constrained")
    for number, file in enumerate(files):
        for axis, (name, image) in zip(axes[number], np.load(file).items(), strict=True):
            axis.imshow(image[16:240, 36:220], cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
            if number == 0:
                axis.set_title(name.replace(", ", "\n"), fontsize=9)
    figure.savefig(folder / "examples.png", dpi=130)
    print(f"wrote {folder / 'examples.png'}")


def table_of_translators(folder: Path, listed: Listed) -> None:
    """Print a row for each translator and prevalence, and draw an example.

    Args:
        folder: with the models of `train`.
        listed: the ledger's items by kind, of the segmenter's probability and the source's mask.
    """
    model = models.segmenter(folder)
    scenes = [Scene(number) for number in TRANSLATED]
    units = true_contrasts(scenes)
    print("contrast of a true lesion: " + ", ".join(f"{d:g} mm {u:.1f}" for d, u in units.items()) + " of 255")
    tallies: dict[str, Tally] = {}
    for number, scene in zip(TRANSLATED, scenes, strict=True):
        rescanned = models.scanned(scene.patient.anatomy(scene.patient.lesions), t1, number + 1_000_000)
        shown = {"truth": scene.real.astype(np.uint8), "truth, other noise": rescanned}
        for name, prevalence in product(TRANSLATORS, PREVALENCES):
            images = models.translated(folder, name, prevalence, number, scene.source)
            shown[f"{name}, {100 * prevalence:g} %"] = images
        for name, images in shown.items():
            items = listed(models.lesion_probability(model, images), scene.mask)
            tallies.setdefault(name, Tally()).add(scene, images, items, units)
        if number in TRANSLATED[:2]:
            _save_example(folder, scene, shown)
    print_table(tallies)
    draw_examples(folder)
