"""``mtbench data export``: prepared slices as files for any other program, with a manifest that describes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench.data import SPLITS, Domain, Slice, Split
from mtbench.errors import DataError, RequestError
from mtbench.formats import put_back, write_nifti
from mtbench.preparation.exchange import ExportedSlice, Manifest, case_names, names, placed
from mtbench.preparation.request import PreparedDataset
from mtbench.stages.table import Subset
from mtbench.stages.work import arrays, positions
from mtbench.store.files import telling, whole_folder
from mtbench.store.images import content_of, read_slices

Form = Literal["png", "npy", "nifti"]
Side = Literal["train", "validation", "test", "all"]
_ENDINGS = {"png": ".png", "npy": ".npy", "nifti": ".nii.gz"}


def export(
    prepared: PreparedDataset, folder: Path, *, domain: Domain = "source", side: Side = "test", form: Form | None = None
) -> Manifest:
    """Write ``images/``, ``masks/`` (if there are any) and ``manifest.json``, all or nothing.

    Args:
        prepared: the data set.
        folder: must not exist, or be empty.
        domain: whose slices.
        side: the split, or "all".
        form: "png" (8 or 16 bits), "npy" (as stored; the only one for slices of several channels), or "nifti": volumes
            in the geometry and values of the original files; for plain images a stack per case. By default "png", or
            "npy" if PNG cannot hold the slices.

    Raises:
        RequestError: the folder is not empty, or PNG cannot hold the images.
        DataError: the patients cannot be divided, or there is no slice in that split.
    """
    if prepared.split is None:
        raise DataError(
            f"the patients cannot be divided: {prepared.trouble}", where=f"dataset '{prepared.request.name}'"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists already", expected="a folder that does not exist yet, or is empty")
    task, where = prepared.request.task, f"dataset '{prepared.request.name}'"
    sides: tuple[Split, ...] = SPLITS if side == "all" else (side,)
    # As one set, so that a case in several splits (a demonstration split) becomes one volume.
    places = sorted(at for each in sides for at in positions(prepared.split, Subset(domain, each)))
    if not places:
        raise DataError(f"it has no {domain} slice in '{side}'", where=where)
    images, masks = arrays(prepared.data, domain)
    depth = images.dtype.name
    several = images.ndim == 4
    form = form or ("npy" if depth == "float32" or several else "png")
    if form != "npy" and several:
        raise RequestError(
            f"a slice has {len(task.channels)} channels ({', '.join(task.channels)})",
            where=where,
            expected="--format npy: C x H x W",
        )
    if form == "png" and depth == "float32":
        raise RequestError("PNG cannot hold floating-point images", where=where, expected="--format npy or nifti")
    # Places in a stack are counted over all splits, so that a case looks the same in every export.
    everything = placed(read_slices(prepared.data.path, domain), images.shape[-2:])
    records = [everything[at] for at in places]
    by_case, cases, slice_names = form == "nifti", case_names(everything), names(everything)
    wanted = [cases[everything[at].patient_id, everything[at].case_id] if by_case else slice_names[at] for at in places]
    write = _volumes if by_case else _slices
    targets = read_slices(prepared.data.path, "target")
    windows = {s.window for s in targets}
    with telling(folder), whole_folder(folder) as temporary:
        write([images[at] for at in places], records, wanted, temporary / "images", form)
        if masks is not None:
            write([masks[at] for at in places], records, wanted, temporary / "masks", form, masks=True)
        items = (
            ExportedSlice(
                record,
                f"images/{name}{_ENDINGS[form]}",
                "" if masks is None else f"masks/{name}{_ENDINGS[form]}",
                images.shape[-2:],
                content_of(images[at]),
            )
            for at, record, name in zip(places, records, wanted, strict=True)
        )
        manifest = Manifest(
            prepared.request.name,
            domain,
            side,
            depth,
            form,
            targets[0].window if len(windows) == 1 else None,
            targets[0].measure_unit,
            task.labels,
            tuple(items),
        )
        manifest.write(temporary)
    return manifest


def _slices(
    stack: Sequence[NDArray[Any]],
    records: Sequence[Slice],
    wanted: Sequence[str],
    folder: Path,
    form: Form,
    *,
    masks: bool = False,
) -> None:
    folder.mkdir()
    save: Callable[[Path, Any], object] = _png if form == "png" else np.save
    for name, pixels in zip(wanted, stack, strict=True):
        save(folder / (name + _ENDINGS[form]), np.asarray(pixels))


def _volumes(
    stack: Sequence[NDArray[Any]],
    records: Sequence[Slice],
    wanted: Sequence[str],
    folder: Path,
    form: Form,
    *,
    masks: bool = False,
) -> None:
    folder.mkdir()
    for name in dict.fromkeys(wanted):
        own = [at for at, other in enumerate(wanted) if other == name]
        items = ((np.asarray(stack[at]), _windowed(records[at], stack[at])) for at in own)
        write_nifti(put_back(items, masks=masks), folder / f"{name}.nii.gz")


def _windowed(record: Slice, pixels: NDArray[Any]) -> Slice:
    """A slice without a window keeps its grey levels."""
    white = {"uint8": 255.0, "uint16": 65535.0}.get(pixels.dtype.name, 1.0)
    return record if record.window else replace(record, window=(0.0, white))


def _png(path: Path, pixels: NDArray[Any]) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path)
