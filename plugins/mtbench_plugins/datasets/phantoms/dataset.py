"""The phantoms as datasets: patients drawn one by one and imaged by the scanners of their domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Sample, Slice
from mtbench.compute.context import Context
from mtbench.compute.seeds import generator
from mtbench.data import Split, encode
from mtbench_plugins.datasets.phantoms import breast_scanners, lumbar_scanners
from mtbench_plugins.datasets.phantoms.breast import breast_anatomy
from mtbench_plugins.datasets.phantoms.lumbar import lumbar_anatomy
from mtbench_plugins.datasets.phantoms.space import Anatomy

Scanner = Callable[[Anatomy, np.random.Generator], NDArray[np.float32]]
Images = NDArray[np.uint8]

TRAIN, VALIDATION = 0.65, 0.1
"""Shares of the patients in the split of a misaligned phantom; the others are test patients."""
DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Down and right. Whole pixels: interpolation would blur the truth as well."""


class Phantom:
    """A translation task drawn in memory.

    A patient is a function of (seed, domain, number) alone: it depends neither on the number of patients nor on the
    order in which they are drawn. Each patient has one case.

    With ``misalignment``, the first 65 % of the patients of each domain are the training set, the next 10 % validate,
    and the others test. The truth of a training patient is shifted by that many pixels in one of four directions,
    drawn for each patient; the edge is repeated. The truth of other patients stays in place.

    Args:
        size: pixels per side.
        patients_source, patients_target: patients of each domain, all splits together.
        slices: slices per patient.
        seed: another seed draws other patients.
        misalignment: pixels; 0 sets the same split and shifts nothing, ``None`` sets no split.
    """

    name: ClassVar[str]
    anatomy: Callable[..., Anatomy]
    source: Scanner
    target: Scanner
    scanners: ClassVar[tuple[str, str]]
    window: ClassVar[tuple[float, float] | None] = None
    """The target's window, in HU for CT."""

    def __init__(
        self,
        size: int,
        patients_source: int,
        patients_target: int,
        slices: int,
        seed: int,
        misalignment: int | None = None,
    ) -> None:
        self.size = size
        self.patients = {"source": patients_source, "target": patients_target}
        self.slices = slices
        self.seed = seed
        self.misalignment = misalignment

    def prepare(self, root: Path | None, context: Context) -> Iterator[Sample]:
        """All slices: uint8 images, uint8 label maps of the two domains; splits with ``misalignment`` only.

        Images are size x size; source images of several channels are channels x size x size.

        Each source slice is followed by its "paired" sample: the same anatomy as the target's scanner sees
        it, under the same slice id, without a mask of its own.
        """
        total = sum(self.patients.values())
        done = 0
        for number in range(self.patients["source"]):
            yield from self._source_patient(number)
            done += 1
            context.progress(done, total, {})
        for number in range(self.patients["target"]):
            anatomy = self._draw("target", number)
            images = self._scan("target", number, anatomy, "target")
            for i in range(self.slices):
                record = self._record("target", number, i, anatomy, "target")
                yield Sample("target", images[i], record, anatomy.labels[i])
            done += 1
            context.progress(done, total, {})

    def _source_patient(self, number: int) -> Iterator[Sample]:
        anatomy = self._draw("source", number)
        images = self._scan("source", number, anatomy, "source")
        truth = self._scan("source", number, anatomy, "target")
        if self.misalignment and self._split("source", number) == "train":
            rng = generator(self.name, self.seed, "source", number, "misalignment")
            truth = shifted(truth, self.misalignment, DIRECTIONS[rng.integers(len(DIRECTIONS))])
        for i in range(self.slices):
            record = self._record("source", number, i, anatomy, "source")
            yield Sample("source", images[i], record, anatomy.labels[i])
            yield Sample("paired", truth[i], self._record("source", number, i, anatomy, "target"))

    def _draw(self, domain: str, number: int) -> Anatomy:
        return type(self).anatomy(self.size, self.slices, self.seed, domain, number)

    def _scan(self, domain: str, number: int, anatomy: Anatomy, scanner: Literal["source", "target"]) -> Images:
        rng = generator(self.name, self.seed, domain, number, "scan", scanner)
        look = type(self).source if scanner == "source" else type(self).target
        images: Images = encode(look(anatomy, rng), "uint8")
        return images

    def _split(self, domain: str, number: int) -> Split | Literal[""]:
        if self.misalignment is None:
            return ""
        before = number / self.patients[domain]
        return "train" if before < TRAIN else "validation" if before < TRAIN + VALIDATION else "test"

    def _record(
        self, domain: str, number: int, index: int, anatomy: Anatomy, scanner: Literal["source", "target"]
    ) -> Slice:
        patient = f"{domain}-{number:04d}"
        windowed = scanner == "target" and self.window is not None
        return Slice(
            slice_id=f"{patient}-{index:02d}",
            patient_id=patient,
            case_id=patient,
            index=index,
            spacing=(anatomy.slab.spacing, anatomy.slab.spacing),
            thickness=anatomy.slab.thickness,
            window=self.window if windowed else None,
            measure_unit="HU" if windowed else "",
            scanner=self.scanners[scanner == "target"],
            split=self._split(domain, number),
        )


def shifted(images: Images, pixels: int, direction: tuple[int, int]) -> Images:
    """N x H x W, its content moved by ``pixels`` along ``direction`` (down, right); edge pixels are repeated."""
    height, width = images.shape[1:]
    top, left = (pixels - pixels * step for step in direction)
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)), mode="edge")
    return padded[:, top : top + height, left : left + width]


class BreastPhantom(Phantom):
    """Axial breast MR of one vendor to another's; label 1 is breast, 2 its fibroglandular tissue."""

    name = "phantom-breast"
    anatomy = staticmethod(breast_anatomy)
    source = staticmethod(breast_scanners.siemens)
    target = staticmethod(breast_scanners.ge)
    scanners = ("simulated Siemens", "simulated GE")


class LumbarPhantom(Phantom):
    """Sagittal lumbar spine, T2 MR to CT; label 1 is bone (vertebrae with their arches, sacrum)."""

    name = "phantom-lumbar"
    anatomy = staticmethod(lumbar_anatomy)
    source = staticmethod(lumbar_scanners.mr)
    target = staticmethod(lumbar_scanners.ct)
    scanners = ("simulated MR", "simulated CT")
    window = lumbar_scanners.WINDOW


class LumbarContrastsPhantom(LumbarPhantom):
    """The patients, T2 images and truths of :class:`LumbarPhantom`, with a T1 image of each source slice."""

    source = staticmethod(lumbar_scanners.t1_and_t2)
