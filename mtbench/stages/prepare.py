"""prepare: a dataset plugin's samples, checked and written once into memory-mapped arrays and an index."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtbench.data import DOMAINS, WHITE, Sample, Slice, encode
from mtbench.errors import DataError, PluginError
from mtbench.registry.specs import DatasetSpec
from mtbench.stages.table import PrepareOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray, GrowingIndex, content_of
from mtbench.typed import check_fields

if TYPE_CHECKING:
    from mtbench.compute.context import Progress


def run(work: Work[PrepareOptions, DatasetSpec], folder: Path) -> dict[str, Any]:
    """Write ``images-DOMAIN.npy``, ``masks-DOMAIN.npy``, ``index-DOMAIN.parquet`` and ``task.json``.

    Raises:
        DataError: a sample cannot be used: another size, NaN, an unknown label, a repeated slice id, fewer
            than two images in a domain.
    """
    root = Path(work.unit.paths["root"]) if work.unit.paths.get("root") else None
    if root is not None and not root.exists():
        raise DataError(
            f"there is no folder {root}",
            where=f"dataset '{work.task.dataset}'",
            remedy=work.registration.spec.obtain or "Correct 'root' in the suite",
        )
    writers: dict[str, _Writer] = {}
    size: tuple[int, int] | None = None
    count = 0
    relay = _ProgressRelay(work.context.progress)
    try:
        dataset = work.registration.create(work.unit.arguments)
        for sample in dataset.prepare(root, replace(work.context, progress=relay)):
            if not isinstance(sample, Sample):
                raise PluginError(
                    f"prepare yielded {type(sample).__name__}", where=work.blame, expected="mtbench.Sample"
                )
            if not isinstance(sample.slice, Slice):
                raise PluginError(
                    f"a sample has the record {sample.slice!r:.60}", where=work.blame, expected="mtbench.Slice"
                )
            if sample.domain not in DOMAINS:
                raise PluginError(
                    f"a sample is of domain {sample.domain!r}", where=work.blame, expected=f"one of {DOMAINS}"
                )
            image = np.asarray(sample.image)
            if size is None and image.ndim == 2:
                size = (image.shape[0], image.shape[1])
            if sample.domain not in writers:
                writers[sample.domain] = _Writer(folder, sample.domain, work)
            writers[sample.domain].add(sample, size)
            count += 1
            if not relay.something:
                work.context.progress(count, 0, {"slices": count})
    finally:
        for writer in writers.values():
            writer.close()
    omissions = work.context.left_out
    if omissions and work.strict:
        raise DataError(
            f"{_cases(omissions)} cannot be used: " + "; ".join(f"{case}: {reason}" for case, reason in omissions),
            where=f"dataset '{work.task.dataset}'",
            remedy="Mend them, or go on without them by leaving --strict out: what was converted is kept",
        )
    for domain in ("source", "target"):
        total = len(writers[domain].ids) if domain in writers else 0
        if total < 2:
            raise DataError(
                f"the {domain} domain has {total} image{'s' if total != 1 else ''}",
                where=f"dataset '{work.task.dataset}'",
                expected="at least two images in each domain",
                remedy=(
                    f"{_cases(omissions)} could not be used; the first, {omissions[0][0]}: {omissions[0][1]}"
                    if omissions
                    else "Check the folder and the patterns"
                ),
            )
    _check_pairs(work, writers)
    content = {
        "source": work.task.source,
        "target": work.task.target,
        "labels": {str(k): v for k, v in work.task.labels.items()},
        "regions": {name: list(values) for name, values in work.task.regions.items()},
        "masks": sorted(work.task.masks),
        "paired": work.task.paired,
        "size": size,
        "depth": work.registration.spec.depth,
    }
    (folder / "task.json").write_text(json.dumps(content, indent=1, sort_keys=True))
    return {
        "slices": {d: len(w.ids) for d, w in writers.items()},
        "patients": {d: len(w.patients) for d, w in writers.items()},
        "images": count,
        "remark": f"{_cases(omissions)} left out; the first, {omissions[0][0]}: {omissions[0][1]}" if omissions else "",
        "left_out": [{"case": case, "reason": reason} for case, reason in omissions],
        "notes": [*work.context.lines(), *(f"left out: {case}: {reason}" for case, reason in omissions)],
    }


class _ProgressRelay:
    """Passes a plugin's progress on, and knows whether it reports any."""

    def __init__(self, report: Progress) -> None:
        self._report = report
        self.something = False

    def __call__(self, done: int, total: int, figures: Mapping[str, Any]) -> None:
        self.something = True
        self._report(done, total, figures)


def _cases(omissions: Sequence[tuple[str, str]]) -> str:
    return f"{len(omissions)} case{'s' if len(omissions) != 1 else ''}"


class _Writer:
    """Streams one domain to disk; what is in memory does not grow with the images."""

    def __init__(self, folder: Path, domain: str, work: Work[PrepareOptions, DatasetSpec]) -> None:
        self._folder = folder
        self._domain = domain
        self._dataset = work.task.dataset
        self._labels = {0, *work.task.labels}
        self._depth = work.registration.spec.depth
        self._has_masks = domain in work.task.masks
        self._images: GrowingArray | None = None
        self._masks: GrowingArray | None = None
        self._index = GrowingIndex(folder / f"index-{domain}.parquet")
        self.ids: set[str] = set()
        self.patients: set[str] = set()

    def add(self, sample: Sample, size: tuple[int, int] | None) -> None:
        record = sample.slice
        where = f"dataset '{self._dataset}', {record.file or record.slice_id}"
        check_fields(record, where)
        if not record.patient_id or not record.slice_id:
            raise DataError("a slice has no patient_id or no slice_id", where=where)
        if record.slice_id in self.ids:
            raise DataError(
                f"two {self._domain} slices are called '{record.slice_id}'",
                where=where,
                expected="an id of its own for each",
            )
        pixels = self._encode(np.asarray(sample.image), size, where)
        mask = self._check_mask(sample.mask, pixels.shape, where)
        self.ids.add(record.slice_id)
        self.patients.add(record.patient_id)
        if self._images is None:
            self._images = GrowingArray(self._folder / f"images-{self._domain}.npy", pixels)
            if mask is not None:
                self._masks = GrowingArray(self._folder / f"masks-{self._domain}.npy", mask)
        self._images.add(pixels)
        if mask is not None and self._masks is not None:
            self._masks.add(mask)
        self._index.add(record, content_of(pixels), content_of(mask) if mask is not None else "")

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for part in (self._images, self._masks, self._index):
                if part is not None:
                    stack.callback(part.close)

    def _encode(self, image: Any, size: tuple[int, int] | None, where: str) -> Any:
        if image.ndim != 2 or not image.size:
            raise DataError(f"the image has shape {image.shape}", where=where, expected="one grey channel, H x W")
        if image.shape != size:
            raise DataError(
                f"the image is {image.shape[0]} x {image.shape[1]} pixels",
                where=where,
                expected=f"{size} as the first image"
                if size is None
                else f"{size[0]} x {size[1]} like the images before it",
                remedy="Resize in the dataset's parameters",
            )
        if np.issubdtype(image.dtype, np.floating):
            if not np.isfinite(image).all():
                raise DataError("the image holds NaN or infinite values", where=where)
            if image.min() < -1e-3 or image.max() > 1 + 1e-3:
                raise DataError(
                    f"the image reaches from {image.min():g} to {image.max():g}",
                    where=where,
                    expected="values in [0, 1]",
                )
            return encode(image, self._depth)
        if image.dtype.name != self._depth or image.dtype.name not in WHITE:
            raise DataError(
                f"the image is {image.dtype.name}",
                where=where,
                expected=f"{self._depth}, or floating point in [0, 1]",
            )
        return image

    def _check_mask(self, mask: Any, shape: tuple[int, ...], where: str) -> Any:
        if mask is None:
            if self._has_masks:
                raise DataError(
                    "an image without a mask", where=where, expected=f"a mask for every {self._domain} image"
                )
            return None
        if not self._has_masks:
            raise DataError(f"a mask, but the dataset declares none for its {self._domain} domain", where=where)
        mask = np.asarray(mask)
        if mask.shape != shape:
            raise DataError(f"the mask is {mask.shape}, its image {shape}", where=where, expected="the same size")
        # Most masks are of one byte: what is left of them without the labels, which is faster than to sort them.
        strange = mask.tobytes().translate(None, bytes(self._labels)) if mask.dtype == np.uint8 else np.unique(mask)
        unknown = set(strange.tolist() if isinstance(strange, np.ndarray) else strange) - self._labels
        if unknown:
            raise DataError(
                f"the mask holds the value{'s' if len(unknown) > 1 else ''} {', '.join(map(str, sorted(unknown)))}",
                where=where,
                expected="one of " + ", ".join(map(str, sorted(self._labels))),
                remedy="Correct the dataset's table of labels",
            )
        return mask.astype(np.uint8)


def _check_pairs(work: Work[PrepareOptions, DatasetSpec], writers: Mapping[str, _Writer]) -> None:
    if "paired" not in writers:
        return
    for alone in sorted(writers["paired"].ids - writers["source"].ids)[:1]:
        raise DataError(f"the paired slice '{alone}' has no source slice of that name", where=work.blame)
