"""Many cases (volumes, patients) to samples: on all cores, resumable, with constant memory.

A worker reads each case, writes its samples to a separate file and returns only whether it succeeded; the samples are
then read back in order. Existing files are reused, so a preparation that was stopped, or that met a full disk, resumes
with the next case. A case that was interrupted starts again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.data import Domain, Sample
from mtbench.errors import DataError
from mtbench.formats.content import recorded_digests
from mtbench.preparation.worker import Conversion, Workers
from mtbench.store.files import FileState, telling, write_whole
from mtbench.store.images import slice_of

C = TypeVar("C")
FEW = 8
"""Up to this number of cases, starting processes takes longer than they save, so threads are used."""


def prepare_cases(
    cases: Mapping[str, C],
    read: Callable[[C], list[Sample]],
    context: Context,
    *,
    processes: bool = False,
    workers: int | None = None,
) -> Iterator[Sample]:
    """The samples of all cases, in the order of ``cases``.

    A case whose ``read`` raises ``DataError`` or ``OSError`` is skipped with its name and reason
    (``context.leave_out``); one without samples is counted in ``context.log``. At most ``workers`` cases are in memory
    at a time.

    Args:
        cases: the argument of ``read`` for each case, by the name of the case in messages.
        read: makes the samples of one case, all of one size; a case may be a pair, with samples of both domains. Source
            images may have several channels.
        context: of ``prepare``.
        processes: whether ``read`` may run in other processes: it and the cases can be pickled, and its module can be
            imported. Decoding DICOM files holds Python's global lock, so threads gain little.
        workers: number of parallel workers (default: the number of cores).

    Raises:
        DiskFullError: the disk has no room for the samples; those already written are kept.
    """
    workers = workers or max(1, min(_cores(), len(cases)))
    with contextlib.ExitStack() as stack:
        folder = context.partial or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtbench-")))
        with telling(folder):
            folder.mkdir(parents=True, exist_ok=True)
        convert: Callable[..., Conversion] = _convert
        if processes and workers > 1 and len(cases) > FEW:
            convert = Workers(_convert)
            stack.callback(convert.close)
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        submit = partial(pool.submit, convert, read)
        yield from _in_order(cases, submit, context, 2 * workers, folder)


def _in_order(
    cases: Mapping[str, C], submit: Callable[[C, Path], Future[Conversion]], context: Context, ahead: int, folder: Path
) -> Iterator[Sample]:
    queue = deque(
        (name, case, folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.case") for name, case in cases.items()
    )
    jobs: deque[tuple[str, Path, Future[Conversion]]] = deque()
    slices, empty = 0, []
    for done in range(len(cases)):
        while queue and len(jobs) < ahead:
            name, case, path = queue.popleft()
            jobs.append((name, path, submit(case, path)))
        name, path, future = jobs.popleft()
        reason, digests = future.result()
        context.digests.update(digests)
        samples = [] if reason else _load(path)
        if reason:
            context.leave_out(name, reason)
        elif not samples:
            empty.append(name)
        yield from samples
        slices += len(samples)
        context.progress(done + 1, len(cases), {"slices": slices, "skipped": len(context.left_out)})
    if empty:
        names = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        context.log.append(f"{len(empty)} case{'s' if len(empty) != 1 else ''} without a slice for the task: {names}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _convert(read: Callable[[C], list[Sample]], case: C, path: Path) -> Conversion:
    """Write the samples of a case; the reason why there are none, if so, and what was read."""
    if path.exists():
        with path.open("rb") as file:
            return "", {name: (FileState(*state), sha) for name, (state, sha) in _head(file)["read"].items()}
    with recorded_digests() as digests:
        try:
            samples = read(case)
        except DataError as error:
            return str(error), digests
        except OSError as error:
            return f"{error.filename or 'a file'} cannot be read: {error.strerror or error}.", digests
    head = {
        "read": digests,
        "records": [(s.domain, asdict(s.slice)) for s in samples],
        "masks": [s.mask is not None for s in samples],
        "planes": [len(s.image) if s.image.ndim == 3 else 0 for s in samples],
    }
    arrays = [np.frombuffer(json.dumps(head).encode(), np.uint8)]
    if samples:
        # The two domains of a pair may differ in channels.
        arrays.append(np.concatenate([s.image.reshape(-1, *s.image.shape[-2:]) for s in samples]))
    if any(head["masks"]):
        arrays.append(np.stack([s.mask for s in samples if s.mask is not None]))

    def write(file: IO[bytes]) -> None:
        for array in arrays:
            np.save(file, array)

    write_whole(path, write)
    return "", digests


def _head(file: IO[bytes]) -> dict[str, Any]:
    """What stands before the images and the masks, which follow as arrays; see :func:`_convert`."""
    head: dict[str, Any] = json.loads(np.load(file, allow_pickle=False).tobytes())
    return head


def _load(path: Path) -> list[Sample]:
    with path.open("rb") as file:
        head = _head(file)
        planes = np.load(file, allow_pickle=False) if head["records"] else np.zeros(0)
        masks = iter(np.load(file, allow_pickle=False) if any(head["masks"]) else [])
    records: list[tuple[Domain, dict[str, Any]]] = head["records"]
    return [
        Sample(domain, image, slice_of(row), next(masks) if masked else None)
        for (domain, row), image, masked in zip(records, _images(planes, head["planes"]), head["masks"], strict=True)
    ]


def _images(planes: NDArray[Any], counts: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Images of so many channels each, C x H x W; 0: one channel, H x W."""
    at = 0
    for count in counts:
        yield planes[at : at + count] if count else planes[at]
        at += count or 1
