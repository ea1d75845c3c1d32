"""``mtbench.translate``: images or volumes through a translator, written back in their own format."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.compute.devices import resolve_device
from mtbench.compute.inference import prepare_torch
from mtbench.compute.weights import find
from mtbench.data import ImageSet, Task, decode
from mtbench.errors import RequestError
from mtbench.formats import Plane, Volume, suffix, write_like
from mtbench.formats.walking import others_below
from mtbench.integers import check_seed
from mtbench.paths import expand
from mtbench.registry.discovery import discover
from mtbench.scoring.reading import ProgressReport
from mtbench.stages import STAGES
from mtbench.stages.translate import translate as through
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder
from mtbench.translation.cases import Inputs, InputSlices
from mtbench.translation.cutters import CutOptions, Cutter, as_prepared, by_hand, check_window
from mtbench.translation.files import items, refuse_to_overwrite
from mtbench.translation.models import Model, from_checkpoint
from mtbench.translation.trained import from_results


@dataclass(frozen=True)
class Translated:
    """The result of a translation.

    Attributes:
        files: the written files; for a DICOM series its folder.
        slices: number of translated slices.
        values: a description of the written values.
        notes: for the user: clamped values, a checkpoint's licence, files that are not images.
        left_out: skipped unreadable files, each with the reason.
    """

    files: tuple[Path, ...]
    slices: int
    values: str
    notes: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def translate(
    name: str,
    input: str | Path,
    output: str | Path,
    *,
    checkpoint: str | Path | None = None,
    results: str | Path | None = None,
    dataset: str | None = None,
    fold: int | None = None,
    seed: int | None = None,
    masks: str | Path | None = None,
    labels: Mapping[int, str] | None = None,
    plane: Plane | None = None,
    window: tuple[float, float] | None = None,
    percentiles: tuple[float, float] | None = None,
    target_window: tuple[float, float] | None = None,
    size: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
    batch_size: int | None = None,
    store: str | None = None,
    overwrite: bool = False,
    skip_unreadable: bool = False,
    plugin_files: Iterable[str] = (),
    no_plugins: bool = False,
    config: str | None = None,
    report: ProgressReport = lambda what, done, total: None,
) -> Translated:
    """Run a translator on new images or volumes and write them back in their own format and geometry.

    Args:
        name: ``NAME`` or ``NAME:p=v,...``, as for ``-t``.
        input: a file (PNG, TIFF, NPY, NPZ, NIfTI, NRRD, MHA), the folder of a DICOM series, or a folder of these.
        output: a file or a folder; names below it are those of the input.
        checkpoint: a weight file of the translator, or a folder that its ``save`` wrote.
        results: or the results directory of a run that trained it (``--from``).
        dataset, fold, seed: which of several trainings; ``seed`` is also that of the noise.
        masks: label maps for a conditional translator, with the names of the images.
        labels: their values and names; by default every value that occurs, or those of the results' data set.
        plane: how volumes are cut; the plane of the translator's training slices.
        window: the values that become black and white.
        percentiles: or the percentiles of each volume that become black and white.
        target_window: the values of black and white in the translation; by default those of the results' data set if
            all its target slices have the same, otherwise those of the input.
        size: height and width that slices are resized to for the translator, and back.
        device, precision, batch_size: of the computation; with ``results`` the precision is that of the run.
            A batch has 8 slices by default, 32 on a GPU.
        store: the store with the artefacts of ``results``.
        overwrite: replace outputs that exist.
        skip_unreadable: skip unreadable files instead of refusing before translation starts.
        plugin_files, no_plugins, config: as on the command line.
        report: called with the current activity, the number of items done and the total.

    Raises:
        RequestError, ParamError: the request is wrong.
        DataError: an input cannot be used; nothing was written.
        WeightsError: the checkpoint belongs to another model or is damaged.
        PluginError: the translator broke its contract.
    """
    options = CutOptions(plane, window, percentiles, size)
    check_window("target window", target_window)
    device = resolve_device(device)
    if seed is not None:
        seed = check_seed(seed, "--seed")
    registry = discover(plugin_files, third_party=not no_plugins, config=config)
    if checkpoint is not None and results is not None:
        raise RequestError("both a checkpoint and results are set", expected="--checkpoint or --from")
    if results is None:
        if dataset is not None or fold is not None:
            raise RequestError(
                "--dataset and --fold select a training of a run, so they need --from", expected="--from RESULTS"
            )
        model = from_checkpoint(registry, name, None if checkpoint is None else Path(checkpoint), precision)
        model = replace(model, seed=seed or 0)
    else:
        place = Store(store_folder(store))
        model = from_results(registry, name, expand(results), place, dataset, fold, seed)
    if model.task is not None and model.task.channels_of("source") > 1:
        raise RequestError(
            f"'{model.task.dataset}' has {len(model.task.channels)} source channels ({', '.join(model.task.channels)})",
            expected="a model of one source channel: a file holds one image or volume",
            remedy="Add the new images to the data set and run the suite",
        )
    cutter = as_prepared(model.data, registry, options) if model.data else by_hand(options)
    if target_window is not None:
        cutter = replace(cutter, target=target_window, measure_unit="")
    _check_masks(model, masks)
    source, destination = expand(input), expand(output)
    files_to_translate = items(source, destination, expand(masks) if masks else None)
    if not overwrite:
        refuse_to_overwrite(files_to_translate, destination, source)
    task = _task(model, labels)
    inputs = Inputs(cutter, skip_unreadable, task.labels if task else None).look(files_to_translate, report)
    with tempfile.TemporaryDirectory(prefix="mtbench-") as scratch:
        context = Context(
            task=task or Task("new images", labels=inputs.labels, masks=frozenset({"source"} if masks else ())),
            params=model.params,
            seed=model.seed,
            device=device,
            precision=model.precision,
            threads=model.threads,
            batch_size=batch_size or STAGES["translate"].batch_size(device),
            scratch=Path(scratch),
            find_weights=find,
        )
        prepare_torch(model.precision, model.threads)
        files = _run(model, inputs, cutter, context, report)
    notes = dict.fromkeys((*model.notes, *context.log, *context.remarks, *filter(None, [others_below(source)])))
    return Translated(tuple(files), inputs.slices, _values(cutter), tuple(notes), tuple(inputs.left_out))


def _check_masks(model: Model, masks: str | Path | None) -> None:
    spec = model.registration.spec
    if model.conditional and masks is None:
        raise RequestError(f"translator '{spec.name}' needs label maps", expected="--masks FOLDER")
    if masks is not None and not model.conditional:
        raise RequestError(f"translator '{spec.name}' does not use masks", remedy="Omit --masks")


def _task(model: Model, labels: Mapping[int, str] | None) -> Task | None:
    if labels is not None:
        return Task("new images", labels=dict(labels), masks=frozenset({"source"}))
    return model.task


def _values(cutter: Cutter) -> str:
    if cutter.target is None:
        return "on the scale of the input, because the target's values are not known"
    low, high = cutter.target
    return f"black is {low:g} and white {high:g} {cutter.measure_unit}".strip()


def _run(model: Model, inputs: Inputs, cutter: Cutter, context: Context, report: ProgressReport) -> list[Path]:
    """Translate and write, group by group."""
    translator, blame = model.make(), model.registration.blame
    files: list[Path] = []
    offset = 0
    for group in inputs.together():
        images = ImageSet(
            np.concatenate([case.images for case in group]),
            tuple(record for case in group for record in case.slices),
            np.concatenate([case.masks for case in group if case.masks is not None]) if model.conditional else None,
            context.task or Task("new images"),
            "source",
            "test",
        )
        context.progress = lambda done, total, figures, offset=offset: report(  # type: ignore[misc]
            "translating", offset + done, inputs.slices
        )
        chunks = through(translator, images, context, conditional=model.conditional, depth=cutter.depth, blame=blame)
        translations = np.concatenate(list(chunks))
        for case in group:
            count = len(case.slices)
            _write(case, decode(translations[:count]), cutter)
            files.append(case.item.output)
            translations = translations[count:]
        offset += len(images)
    return files


def _write(case: InputSlices, translation: NDArray[np.float32], cutter: Cutter) -> None:
    # PNG holds only grey levels; it cannot record the target's unit.
    window = None if suffix(case.item.path) == ".png" else cutter.target
    volume = case.cut.put_back(translation, case.volume, window)
    write_like(
        replace(volume, array=_as_input_type(volume.array, case.volume, window)), case.item.output, cutter.measure_unit
    )


def _as_input_type(values: NDArray[Any], original: Volume, window: tuple[float, float] | None) -> NDArray[Any]:
    """Integers if the input holds integers and 16 bits can hold the target's values, else float32."""
    own_type = original.array.dtype
    if own_type.kind not in "ui":
        return values
    # In the input's own window its own type suffices; in the target's, signed values may be needed.
    for dtype in (own_type, np.dtype(np.int16)):
        limits = np.iinfo(dtype)
        if window is None or (limits.min <= window[0] and window[1] <= limits.max and window[1] - window[0] >= 255):
            integers: NDArray[Any] = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
            return integers
    return values
