"""prepare: check a dataset plugin's samples and write them to arrays for memory maps and an index."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from mtbench.data import DOMAINS, WHITE, Domain, Sample, Slice, Task, encode
from mtbench.errors import DataError, PluginError
from mtbench.registry.registry import Registration
from mtbench.registry.specs import DatasetSpec
from mtbench.stages import pairs
from mtbench.stages.table import PrepareOptions
from mtbench.stages.work import Work
from mtbench.store.images import (
    CHANNEL_INDEX,
    INDEX,
    ROWS,
    GrowingArray,
    Record,
    content_of,
    read_slices,
    write_records,
)
from mtbench.typed import check_fields

if TYPE_CHECKING:
    from mtbench.compute.context import Progress


def run(work: Work[PrepareOptions, Registration[DatasetSpec]], folder: Path) -> dict[str, Any]:
    """Write ``images-DOMAIN.npy``, ``masks-DOMAIN.npy``, ``index-DOMAIN.parquet`` and ``task.json``.

    Raises:
        DataError: a sample is not usable (another size, NaN, an unknown label, a repeated slice id), or a domain has
            fewer than two images.
    """
    task, spec = work.unit.task, work.registration.spec
    root = Path(work.unit.paths["root"]) if work.unit.paths.get("root") else None
    if root is not None and not root.exists():
        raise DataError(
            f"the folder {root} does not exist",
            where=f"dataset '{task.dataset}'",
            remedy=spec.obtain or "Correct 'root' in the suite",
        )
    writers: dict[str, _Writer] = {}
    size: tuple[int, int] | None = None
    count = 0
    relay = _ProgressRelay(work.context.progress)
    with contextlib.ExitStack() as files:
        dataset = work.registration.create(work.unit.arguments)
        for sample in dataset.prepare(root, replace(work.context, progress=relay)):
            _check_sample(sample, work.registration.blame)
            image = np.asarray(sample.image)
            if size is None and image.ndim >= 2:
                size = (image.shape[-2], image.shape[-1])
            for each in (sample, pairs.truth_of(sample, task)):
                if each is not None:
                    if each.domain not in writers:
                        schema = CHANNEL_INDEX if task.channels_of(each.domain) > 1 else INDEX
                        index = files.enter_context(pq.ParquetWriter(folder / f"index-{each.domain}.parquet", schema))
                        writers[each.domain] = _Writer(folder, each.domain, task, spec.depth, index, files)
                    writers[each.domain].add(each, size)
            count += 1
            if not relay.something:
                work.context.progress(count, 0, {"slices": count})
        for writer in writers.values():
            write_records(writer.index, writer.waiting)
    if task.paired_training:
        unusable = pairs.unusable(read_slices(folder, "source"), read_slices(folder, "paired"))
        work.context.left_out.extend(unusable.items())
    _check_domains(work, writers)
    content = {
        "source": task.source,
        "target": task.target,
        "labels": {str(k): v for k, v in task.labels.items()},
        "regions": {name: list(values) for name, values in task.regions.items()},
        "masks": sorted(task.masks),
        "paired": task.paired,
        "size": size,
        "depth": spec.depth,
        **({"paired_training": True} if task.paired_training else {}),
        **({"channels": list(task.channels)} if task.channels else {}),
    }
    (folder / "task.json").write_text(json.dumps(content, indent=1, sort_keys=True))
    omissions = work.context.left_out
    work.context.log.extend(f"skipped: {case}: {reason}" for case, reason in omissions)
    return {
        "slices": {d: len(w.ids) for d, w in writers.items()},
        "patients": {d: len(w.patients) for d, w in writers.items()},
        "images": count,
        "remark": f"{_cases(omissions)} skipped; the first, {omissions[0][0]}: {omissions[0][1]}" if omissions else "",
        "left_out": [{"case": case, "reason": reason} for case, reason in omissions],
    }


@dataclass
class _ProgressRelay:
    """Forwards a plugin's progress, and records whether it reports any."""

    report: Progress
    something: bool = False

    def __call__(self, done: int, total: int, figures: Mapping[str, Any]) -> None:
        self.something = True
        self.report(done, total, figures)


def _check_sample(sample: Any, blame: str) -> None:
    if not isinstance(sample, Sample):
        raise PluginError(f"prepare yielded {type(sample).__name__}", where=blame, expected="mtbench.Sample")
    if not isinstance(sample.slice, Slice):
        raise PluginError(f"a sample has the record {sample.slice!r:.60}", where=blame, expected="mtbench.Slice")
    if sample.domain not in DOMAINS:
        raise PluginError(f"a sample is of domain {sample.domain!r}", where=blame, expected=f"one of {DOMAINS}")


def _check_domains(work: Work[PrepareOptions, Registration[DatasetSpec]], writers: Mapping[str, _Writer]) -> None:
    """Check the number of images and the pairs."""
    omissions = work.context.left_out
    where = f"dataset '{work.unit.task.dataset}'"
    if omissions and work.strict:
        raise DataError(
            f"{_cases(omissions)} unusable: " + "; ".join(f"{case}: {reason}" for case, reason in omissions),
            where=where,
            remedy="Fix them, or rerun without --strict; converted cases are kept",
        )
    for domain in ("source", "target"):
        total = len(writers[domain].ids) if domain in writers else 0
        if total < 2:
            raise DataError(
                f"the {domain} domain has {total} image{'s' if total != 1 else ''}",
                where=where,
                expected="at least two images in each domain",
                remedy=(
                    f"{_cases(omissions)} not usable; the first, {omissions[0][0]}: {omissions[0][1]}"
                    if omissions
                    else "Check the folder and the patterns"
                ),
            )
    if "paired" in writers and not work.unit.task.paired_training:
        for alone in sorted(writers["paired"].ids - writers["source"].ids)[:1]:
            raise DataError(
                f"the paired slice '{alone}' has no source slice of the same name", where=work.registration.blame
            )


def _cases(omissions: Sequence[tuple[str, str]]) -> str:
    return f"{len(omissions)} case{'s' if len(omissions) != 1 else ''}"


@dataclass
class _Writer:
    """Streams one domain to disk; memory use does not grow with the number of images.

    Attributes:
        folder, domain: the output folder and the domain.
        task, depth: requirements for its samples.
        index: the index of slice records.
        files: the open files, which are closed at the end.
        images, masks: the arrays; created with the first sample.
        ids, patients: of the samples so far.
        waiting: records for the next write to the index.
    """

    folder: Path
    domain: Domain
    task: Task
    depth: str
    index: pq.ParquetWriter
    files: contextlib.ExitStack
    images: GrowingArray | None = None
    masks: GrowingArray | None = None
    ids: set[str] = field(default_factory=set)
    patients: set[str] = field(default_factory=set)
    waiting: list[Record] = field(default_factory=list)

    def add(self, sample: Sample, size: tuple[int, int] | None) -> None:
        record = sample.slice
        where = f"dataset '{self.task.dataset}', {record.file or record.slice_id}"
        check_fields(record, where)
        if not record.patient_id or not record.slice_id:
            raise DataError("a slice has no patient_id or slice_id", where=where)
        if record.slice_id in self.ids:
            raise DataError(
                f"two {self.domain} slices have the id '{record.slice_id}'",
                where=where,
                expected="a unique id for each slice",
            )
        self._check_windows(record, where)
        pixels = self._encode(np.asarray(sample.image), size, where)
        mask = self._check_mask(sample.mask, pixels.shape[-2:], where)
        self.ids.add(record.slice_id)
        self.patients.add(record.patient_id)
        if self.images is None:
            path = self.folder / f"images-{self.domain}.npy"
            self.images = self.files.enter_context(contextlib.closing(GrowingArray(path, pixels)))
            if mask is not None:
                path = self.folder / f"masks-{self.domain}.npy"
                self.masks = self.files.enter_context(contextlib.closing(GrowingArray(path, mask)))
        self.images.add(pixels)
        if mask is not None and self.masks is not None:
            self.masks.add(mask)
        self.waiting.append((record, content_of(pixels), content_of(mask) if mask is not None else ""))
        if len(self.waiting) == ROWS:
            write_records(self.index, self.waiting)

    def _check_windows(self, record: Slice, where: str) -> None:
        channels, windows = self.task.channels_of(self.domain), len(record.channel_windows)
        if windows and (windows != channels or channels == 1):
            raise DataError(
                f"the slice '{record.slice_id}' has {windows} channel_windows",
                where=where,
                expected="window for a single channel" if channels == 1 else f"{channels}, one for each channel",
            )

    def _encode(self, image: Any, size: tuple[int, int] | None, where: str) -> Any:
        channels = self.task.channels_of(self.domain)
        if image.ndim != (2 if channels == 1 else 3) or not image.size or (channels > 1 and len(image) != channels):
            names = f"{channels} channels, C x H x W: {', '.join(self.task.channels)}"
            expected = "one grey channel, H x W" if channels == 1 else names
            raise DataError(f"the image has shape {image.shape}", where=where, expected=expected)
        if image.shape[-2:] != size:
            raise DataError(
                f"the image is {image.shape[-2]} x {image.shape[-1]} pixels",
                where=where,
                expected=f"{size}, like the first image"
                if size is None
                else f"{size[0]} x {size[1]}, like the previous images",
                remedy="Set a size in the dataset's parameters",
            )
        if np.issubdtype(image.dtype, np.floating):
            if not np.isfinite(image).all():
                raise DataError("the image contains NaN or infinite values", where=where)
            if image.min() < -1e-3 or image.max() > 1 + 1e-3:
                raise DataError(
                    f"the image has values from {image.min():g} to {image.max():g}",
                    where=where,
                    expected="values in [0, 1]",
                )
            return encode(image, self.depth)
        if image.dtype.name != self.depth or image.dtype.name not in WHITE:
            raise DataError(
                f"the image has the type {image.dtype.name}",
                where=where,
                expected=f"{self.depth}, or floating point in [0, 1]",
            )
        return image

    def _check_mask(self, mask: Any, shape: tuple[int, ...], where: str) -> Any:
        has_masks = self.domain in self.task.masks
        if mask is None:
            if has_masks:
                raise DataError(
                    "an image without a mask", where=where, expected=f"a mask for every {self.domain} image"
                )
            return None
        if not has_masks:
            raise DataError(f"a mask, but the dataset declares no masks for its {self.domain} domain", where=where)
        mask = np.asarray(mask)
        if mask.shape != shape:
            raise DataError(
                f"the mask has shape {mask.shape}, its image {shape}", where=where, expected="the same size"
            )
        labels = {0, *self.task.labels}
        # Most masks have one byte per pixel: deleting the known labels is faster than sorting.
        strange = mask.tobytes().translate(None, bytes(labels)) if mask.dtype == np.uint8 else np.unique(mask)
        unknown = set(strange.tolist() if isinstance(strange, np.ndarray) else strange) - labels
        if unknown:
            raise DataError(
                f"the mask contains the value{'s' if len(unknown) > 1 else ''} {', '.join(map(str, sorted(unknown)))}",
                where=where,
                expected="one of " + ", ".join(map(str, sorted(labels))),
                remedy="Correct the dataset's table of labels",
            )
        return mask.astype(np.uint8)
