"""The records and arrays that plugins receive and return. NumPy only: methods that return tensors import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.rows import Rows
from mtbench.typed import Record

if TYPE_CHECKING:
    import torch

Domain = Literal["source", "target", "paired"]
Split = Literal["train", "validation", "test"]
Role = Literal["candidate", "reference", "predicted_masks", "reference_masks", "paired", "source", "training"]
"""The inputs of a metric besides features."""
DOMAINS: tuple[Domain, ...] = ("source", "target", "paired")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

WHITE: Mapping[str, float] = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
"""The stored value that means 1.0, by stored dtype."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The record of one 2-D image.

    Attributes:
        slice_id: unique within its domain; a translated slice keeps the id of its source.
        patient_id: the patient; all slices of a patient are in the same split.
        case_id: one examination (volume) of the patient.
        index: position within the case, from 0.
        spacing: mm between rows and between columns of the stored image, if known.
        thickness: mm between neighbouring slices of the case, if known.
        window: the values, in ``measure_unit``, that are stored as 0 and as white; ``None`` if the file has none.
        measure_unit: unit of the original values ("HU"; empty for MR).
        file: its raw file, relative to the dataset's root.
        geometry: JSON with the position of the slice in its volume; empty for plain images.
        scanner: manufacturer or model, if known.
        split: the dataset's own split ("train", "validation", "test"); empty without one.
        partner: of a target slice in a paired task, the ``slice_id`` of the source slice of the same anatomy; empty
            without one.
        channel_windows: of a source slice of several channels, the window of each, in place of ``window``.
    """

    slice_id: str
    patient_id: str
    case_id: str
    index: int = 0
    spacing: tuple[float, float] | None = None
    thickness: float | None = None
    window: tuple[float, float] | None = None
    measure_unit: str = ""
    file: str = ""
    geometry: str = ""
    scanner: str = ""
    split: str = ""
    partner: str = ""
    channel_windows: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One slice as a dataset plugin yields it from ``prepare``.

    Attributes:
        domain: "source", "target" or, for the target-domain ground truth of a source slice, "paired".
        image: H x W, uint8 in its stored form, or floating point in [0, 1] (rounded to the stored depth); C x H x W for
            a source sample if the task has several source channels. A target sample whose record names a partner is the
            ground truth of that source slice; it needs no "paired" sample.
        slice: its record; a "paired" sample has the ``slice_id`` of its source slice.
        mask: H x W integer label map, 0 is background; ``None`` without a mask.
    """

    domain: Domain
    image: NDArray[Any]
    slice: Slice
    mask: NDArray[Any] | None = None


@dataclass(frozen=True)
class Task(Record):
    """A translation task as known before any pixel is read.

    Attributes:
        dataset: its name in the suite.
        source, target: printed names of the domains ("Siemens", "GE").
        channels: printed names of the channels of a source slice, in order ("T1", "T2", "FLAIR"); empty for one.
        labels: mask value to name; 0 is background and not listed.
        regions: the regions that Dice is reported for: names and their mask values. By default each label.
        masks: the domains with masks.
        paired: whether each source test slice has a ground truth in the target domain.
        paired_training: whether each training and validation slice has one, too.
        note: printed with every table of the task ("pipeline run, not a result").
    """

    dataset: str
    source: str = "source"
    target: str = "target"
    labels: Mapping[int, str] = field(default_factory=dict)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    masks: frozenset[str] = frozenset()
    paired: bool = False
    paired_training: bool = False
    note: str = ""
    channels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.regions:
            object.__setattr__(self, "regions", {name: (value,) for value, name in self.labels.items()})

    def channels_of(self, domain: Domain) -> int:
        """The number of channels of a slice of ``domain``."""
        return max(1, len(self.channels)) if domain == "source" else 1


@dataclass(frozen=True)
class ImageSet:
    """Slices of one domain and split, real or translated.

    Attributes:
        images: N x H x W, or N x C x H x W with several channels; uint8, uint16 or float32. Read-only, often a memory
            map or :class:`mtbench.rows.Rows`, which reads only the indexed images (``np.asarray`` reads all).
        slices: N records in the order of ``images``.
        masks: N x H x W uint8 label maps, likewise, or ``None``. For a translated set, those of its source slices.
        task: the task it belongs to.
        domain, split: of the slices.
    """

    images: NDArray[Any]
    slices: tuple[Slice, ...]
    masks: NDArray[np.uint8] | None
    task: Task
    domain: Domain
    split: Split

    def __len__(self) -> int:
        return len(self.slices)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    @property
    def channels(self) -> int:
        """The number of channels of an image."""
        return int(self.images.shape[1]) if self.images.ndim == 4 else 1

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each slice, in order."""
        return tuple(s.patient_id for s in self.slices)

    def subset(self, indices: Sequence[int] | NDArray[Any]) -> ImageSet:
        """The slices at ``indices``, in that order; repeats allowed. Reads no images."""
        return replace(
            self,
            images=Rows.of(self.images, indices),
            slices=tuple(self.slices[int(i)] for i in indices),
            masks=None if self.masks is None else Rows.of(self.masks, indices),
        )

    def aligned(self, like: ImageSet) -> ImageSet:
        """The slices in the order of those of ``like``, matched by slice id.

        Raises:
            DataError: a slice of ``like`` has none here.
        """
        where = {record.slice_id: position for position, record in enumerate(self.slices)}
        if absent := [record.slice_id for record in like.slices if record.slice_id not in where]:
            what = "paired ground truth" if self.domain == "paired" else f"{self.domain} slice"
            raise DataError(
                f"slice '{absent[0]}' has no {what}",
                where=self.task.dataset,
                expected=f"one for every {like.domain} {like.split} slice",
            )
        return self.subset([where[record.slice_id] for record in like.slices])

    def floats(self, indices: Sequence[int] | slice | NDArray[Any] = slice(None)) -> NDArray[np.float32]:
        """Images as float32 in [0, 1], B x C x H x W."""
        values = decode(np.asarray(self.images[indices]))
        return values if self.images.ndim == 4 else values[:, None]

    def tensor(self, indices: Sequence[int] | slice | NDArray[Any] = slice(None), device: Any = "cpu") -> torch.Tensor:
        """Images as a float32 tensor in [0, 1], B x C x H x W."""
        import torch

        return _to_device(torch.from_numpy(self.floats(indices)), device)

    def batch(self, rows: slice, device: str = "cpu", masks: bool = False) -> Batch:
        """Images as a translator receives them, with or without their ``masks``."""
        return Batch(self.tensor(rows, device), self.slices[rows], self.mask_tensor(rows, device) if masks else None)

    def mask_tensor(
        self, indices: Sequence[int] | slice | NDArray[Any] = slice(None), device: Any = "cpu"
    ) -> torch.Tensor:
        """Masks as an int64 tensor, B x H x W.

        Raises:
            DataError: this set has no masks.
        """
        import torch

        if self.masks is None:
            raise DataError(f"the {self.domain} slices of '{self.task.dataset}' have no masks")
        return _to_device(torch.from_numpy(np.asarray(self.masks[indices]).astype(np.int64)), device)


@dataclass(frozen=True)
class TrainingData:
    """The data of a fit: training and validation slices, never test slices.

    A translator receives both domains; one that is declared ``paired`` receives source slices and their ground truth
    (:meth:`pairs`). A segmenter receives the domain that it is trained on, in ``train`` and ``validation``.
    """

    task: Task
    source_train: ImageSet | None = None
    source_validation: ImageSet | None = None
    target_train: ImageSet | None = None
    target_validation: ImageSet | None = None
    paired_train: ImageSet | None = None
    paired_validation: ImageSet | None = None

    def pairs(self, split: Literal["train", "validation"] = "train") -> tuple[ImageSet, ImageSet]:
        """Source slices and, in the same order, their ground truth in the target domain.

        Raises:
            DataError: this fit has no pairs, or a source slice has no ground truth.
        """
        source = self.source_train if split == "train" else self.source_validation
        truth = self.paired_train if split == "train" else self.paired_validation
        if source is None or truth is None:
            raise DataError(
                "this fit has no pairs",
                where=self.task.dataset,
                expected="a paired task and a translator declared with paired=True",
            )
        return source, truth.aligned(source)

    @property
    def train(self) -> ImageSet:
        """Training slices of the only domain (segmenters)."""
        return self._only(self.source_train, self.target_train)

    @property
    def validation(self) -> ImageSet:
        """Validation slices of the only domain (segmenters)."""
        return self._only(self.source_validation, self.target_validation)

    def _only(self, first: ImageSet | None, second: ImageSet | None) -> ImageSet:
        sets = [s for s in (first, second) if s is not None]
        if len(sets) != 1:
            raise DataError("this fit has two domains", remedy="Use source_train or target_train")
        return sets[0]


@dataclass(frozen=True)
class Batch:
    """The input of a translator.

    Attributes:
        source: float32, B x C x H x W, in [0, 1], on the context's device. A translation is B x 1 x H x W.
        slices: the B records.
        masks: int64, B x H x W label maps of the source slices; only for translators declared ``conditional``.
    """

    source: torch.Tensor
    slices: tuple[Slice, ...]
    masks: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.slices)


@dataclass(frozen=True)
class Cases:
    """Per-case values of a metric: one per slice, per volume or per patient.

    Attributes:
        by: what a case is: "slice", "volume" (all slices of one ``case_id`` of a patient) or "patient".
        ids: the slice ids, case ids ("PATIENT/CASE" if patients share case ids) or patient ids.
        patients: the patient of each case.
        values: float64; NaN if a case has no value (an empty mask with ``empty="skip"``).
    """

    by: Literal["slice", "volume", "patient"]
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One score of a metric.

    Attributes:
        value: the score; a metric that cannot be computed raises an error and does not return NaN.
        label: its region (Dice); empty for whole images.
        cases: the per-case values, if the score is their mean.
        stderr: its standard error if the metric provides one (KID's U-statistic), for independent slices.
        ci: a confidence interval if the metric provides one.
        mark: a mark for the table's header ("*"), explained by ``note``.
        note: a sentence that a reader must know.
    """

    value: float
    label: str = ""
    cases: Cases | None = None
    stderr: float | None = None
    ci: tuple[float, float] | None = None
    mark: str = ""
    note: str = ""


def _to_device(tensor: torch.Tensor, device: Any) -> torch.Tensor:
    # From pinned memory, the copy overlaps with the computation of the previous batch.
    return tensor.pin_memory().to(device, non_blocking=True) if str(device).startswith("cuda") else tensor.to(device)


def decode(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Stored values (uint8, uint16 or float32) as float32 in [0, 1].

    Raises:
        DataError: the dtype is not a stored one.
    """
    white = WHITE.get(pixels.dtype.name)
    if white is None:
        raise DataError(f"images are stored as {pixels.dtype.name}", expected="uint8, uint16 or float32")
    if white == 1.0:
        return pixels.astype(np.float32, copy=True)
    return pixels.astype(np.float32) / np.float32(white)


def encode(values: NDArray[Any], depth: str) -> NDArray[Any]:
    """Convert floats in [0, 1] to stored values of dtype ``depth``: clamped, scaled, rounded half to even."""
    white = WHITE[depth]
    clamped = np.clip(np.asarray(values, dtype=np.float32), 0.0, 1.0)
    if white == 1.0:
        return clamped
    pixels: NDArray[Any] = np.rint(clamped * np.float32(white)).astype(depth)
    return pixels


@dataclass(frozen=True)
class MetricInputs:
    """The inputs of a metric; inputs that its spec does not list in ``needs`` are ``None``.

    Attributes:
        task: the task.
        candidate: the images to evaluate.
        reference: real target images.
        paired: the ground truth of each candidate slice, in the same order.
        source: the source slice of each candidate, in the same order.
        training: the target's training slices. No draw and no resampling changes them.
        predicted_masks: N x H x W uint8, the segmenter's labels of the candidates.
        reference_masks: N x H x W uint8, the reference labels of the candidates.
        features: of "candidate", "reference" and "training", by array name; first axis as in the image sets.
    """

    task: Task
    candidate: ImageSet | None = None
    reference: ImageSet | None = None
    paired: ImageSet | None = None
    source: ImageSet | None = None
    training: ImageSet | None = None
    predicted_masks: NDArray[np.uint8] | None = None
    reference_masks: NDArray[np.uint8] | None = None
    features: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)

    def select(
        self,
        candidates: Sequence[int] | NDArray[Any] | None = None,
        references: Sequence[int] | NDArray[Any] | None = None,
    ) -> MetricInputs:
        """The inputs of a subset of the slices, by position; ``None`` keeps all. Used for draws and resampling."""
        of_candidates = ("candidate", "paired", "source", "predicted_masks", "reference_masks")
        changes: dict[str, Any] = {}
        features = dict(self.features)
        for side, chosen, items in (
            ("candidate", candidates, of_candidates),
            ("reference", references, ("reference",)),
        ):
            if chosen is None:
                continue
            positions = np.asarray(chosen, dtype=np.int64)
            for name in items:
                item: ImageSet | NDArray[Any] | None = getattr(self, name)
                if item is not None:
                    changes[name] = item.subset(positions) if isinstance(item, ImageSet) else item[positions]
            if side in features:
                features[side] = {name: array[positions] for name, array in features[side].items()}
        return replace(self, **changes, features=features)
