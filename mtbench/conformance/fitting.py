"""Checks of trained plugins: segmenters, and translators and extractors that train."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.checkpoints import Checkpoints
from mtbench.conformance import tasks
from mtbench.conformance.subject import Subject
from mtbench.conformance.surroundings import DRAWS, disturb
from mtbench.conformance.trying import frozen, same, works_or_refuses
from mtbench.conformance.verdict import FailedError, UntriedError
from mtbench.data import ImageSet, TrainingData
from mtbench.registry.specs import ExtractorSpec, TranslatorSpec

Apply = Callable[..., NDArray[Any]]
"""``apply(subject, model, images, **context)``: the output of a model as one array."""

GPU = "cuda:0"
_SEEDED = "Draw all random numbers from context.seed: mtbench.training does, and seeded(context.seed) for networks"


class Killed(BaseException):
    """Simulates the signal that ends a fit."""


def trains(subject: Subject) -> bool:
    """Whether the plugin needs a fit."""
    match subject.spec:
        case TranslatorSpec() as spec:
            return spec.whether("trains", subject.params)
        case ExtractorSpec() as spec:
            return spec.trains
    return bool(subject.spec.kind == "segmenter")


def of_fits(check: Callable[[Subject], str]) -> Callable[[Subject], str]:
    """A check that needs a training."""

    def run(subject: Subject) -> str:
        if not trains(subject):
            raise UntriedError("it needs no training, so nothing is saved")
        return check(subject)

    return run


def data_for(subject: Subject) -> TrainingData:
    """The training data as from the stage."""
    if subject.spec.kind in ("segmenter", "extractor"):
        return tasks.training_data(("target",), masks=subject.spec.kind == "segmenter")
    masks = subject.spec.trains_on_masks or subject.spec.whether("conditional", subject.params)
    return tasks.training_data(("source", "paired" if subject.spec.paired else "target"), masks=masks)


def fitted(subject: Subject, seed: int = 0, device: str = "cpu", **context: Any) -> Any:
    """A new object, trained for a few steps."""
    disturb(seed + 1000 + len(subject.kept))
    model = subject.create()
    with subject.watched("fit()"):
        model.fit(data_for(subject), subject.context(seed, device, **context))
    return model


def fit(subject: Subject) -> str:
    """It trains, and does not change its training data."""
    data = data_for(subject)
    sets = [images for images in vars(data).values() if isinstance(images, ImageSet)]
    watching = [frozen(images) for images in sets]
    model = subject.create()
    with subject.watched("fit()"):
        model.fit(data, subject.context())
    for changed in watching:
        if what := changed():
            raise FailedError(f"fit() changes {what} of its training data", "Work on a copy: images.floats() makes one")
    subject.kept["model"] = model
    return f"{sum(len(images) for images in sets)} slices"


def model_of(subject: Subject) -> Any:
    """The model of the other checks: the one that ``fit`` has trained."""
    if "model" not in subject.kept:
        subject.kept["model"] = subject.create()
    return subject.kept["model"]


def same_fit(apply: Apply) -> Callable[[Subject], str]:
    """Two fits with one seed agree, whatever random numbers were drawn before."""

    def run(subject: Subject) -> str:
        images = tasks.image_set()
        one, other = (apply(subject, model, images) for model in (model_of(subject), fitted(subject)))
        return same(one, other, "the outputs of two fits with one seed", _SEEDED)

    return run


def round_trip(apply: Apply) -> Callable[[Subject], str]:
    """A new object after load() gives the same output as the fitted one."""

    def run(subject: Subject) -> str:
        model, folder, images = model_of(subject), subject.folder(), tasks.image_set()
        expected = apply(subject, model, images)
        with subject.watched("save()"):
            model.save(folder)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            raise FailedError("save() wrote nothing", "Write at least one file to its folder argument")
        if (validation := folder / "validation.json").exists():
            _check_validation(json.loads(validation.read_text()))
        loaded = subject.create()
        with subject.watched("load()", but=DRAWS):
            loaded.load(folder)
        what = "the outputs before save() and after load()"
        fix = "Save all trained state, and set networks to eval() after loading"
        close = same(expected, apply(subject, loaded, images), what, fix)
        subject.kept["saved"] = folder
        size = sum(path.stat().st_size for path in files)
        return f"{len(files)} files, {size / 1e6:.2g} MB" + (f", {close}" if close else "")

    return run


def _check_validation(content: object) -> None:
    if not isinstance(content, Mapping):
        raise FailedError(
            f"validation.json holds {content!r:.60}", "Write a table of numbers by region, or omit the file"
        )


def resume(apply: Apply) -> Callable[[Subject], str]:
    """A fit that was killed and resumed from its checkpoint ends with the same result as an uninterrupted one."""

    def run(subject: Subject) -> str:
        folder, calls, images = subject.folder(), [0], tasks.image_set()
        expected = apply(subject, model_of(subject), images)

        def kill(done: int, total: int, figures: Mapping[str, Any]) -> None:
            calls[0] += 1
            if any(folder.iterdir()):
                raise Killed

        try:
            fitted(subject, checkpoints=Checkpoints(folder, every_seconds=0.0), progress=kill)
        except Killed:
            pass
        else:
            if not any(folder.iterdir()):
                why = "fit() saves nothing through context.checkpoints, so a killed fit starts again"
            elif not calls[0]:
                why = "fit() reports no progress, so it cannot be interrupted"
            else:
                why = "its training ended with its first checkpoint"
            raise UntriedError(why)
        resumed = fitted(subject, checkpoints=Checkpoints(folder, every_seconds=0.0))
        fix = "Save all state that changes from step to step, including random states; mtbench.training does"
        what = "the outputs of a resumed and of an uninterrupted fit"
        return same(expected, apply(subject, resumed, images), what, fix, 1e-5)

    return run


def on_gpu(apply: Apply) -> Callable[[Subject], str]:
    """Fitting and applying on a stand-in GPU gives the CPU's result."""

    def run(subject: Subject) -> str:
        try:
            from mtbench.conformance.fake_cuda import fake_cuda
        except ImportError:
            raise UntriedError("this installation has no stand-in for a GPU") from None
        if trains(subject) and "saved" not in subject.kept:
            raise UntriedError("it needs 'save and load', which did not pass")
        images = tasks.image_set(count=2)
        expected = apply(subject, model_of(subject), images)
        with fake_cuda():
            model = subject.create()
            if folder := subject.kept.get("saved"):
                model.fit(data_for(subject), subject.context(0, GPU))
                # The GPU has its own random numbers, so its fit may differ.
                model = subject.create()
                model.load(folder)
            found = apply(subject, model, images, device=GPU)
        fix = (
            "Create every tensor on the device of the tensors that it is combined with, and move networks there "
            "in the first call"
        )
        return same(expected, found, "the outputs on the CPU and on the stand-in GPU", fix, 1e-4)

    return run


def sizes(apply: Apply) -> Callable[[Subject], str]:
    """Odd sizes, one slice, and empty images."""

    def run(subject: Subject) -> str:
        comments = []
        for what, images in (
            (f"images of {tasks.ODD[0]} x {tasks.ODD[1]}", tasks.image_set(count=2, size=tasks.ODD)),
            ("a single slice", tasks.image_set(count=1)),
            ("images that are all zero", tasks.image_set(count=2, blank=True)),
            ("no slices at all", replace(tasks.image_set(count=1).subset([]), masks=None)),
        ):
            if not len(images) and not subject.kept.get("whole"):
                continue  # The harness never passes an empty batch.
            fix = (
                "Pad to a size that the network accepts and crop the output, or raise a mtbench.DataError with "
                "the reason"
            )
            found = works_or_refuses(partial(apply, subject, model_of(subject), images), what, fix)
            if isinstance(found, str):
                comments.append(f"{what}: {found}")
            elif found.shape[:1] + found.shape[-2:] != (len(images), *images.size):
                raise FailedError(f"{what} give shape {found.shape}", "Return as many pixels as in the source slice")
            elif not np.isfinite(found).all():
                raise FailedError(f"{what} give NaN or infinite values", "Guard divisions by values that may be zero")
        return "; ".join(comments) or "odd sizes, one slice, empty images"

    return run
