"""Checks of feature networks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.conformance import fitting, general, tasks
from mtbench.conformance.subject import Subject
from mtbench.conformance.surroundings import disturb
from mtbench.conformance.trying import in_batches, same, works_or_refuses
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.data import ImageSet
from mtbench.errors import WeightsError

COUNT = 4
"""Images of a check: feature networks are large."""


def raw(subject: Subject, model: Any, images: ImageSet, **context: Any) -> list[Any]:
    """What ``extract`` returns for each batch."""
    try:
        with subject.watched("extract()"):
            here = subject.context(**context)
            return in_batches(images, here, lambda span: model.extract(images.tensor(span, here.device), here))
    except WeightsError as error:
        raise UntriedError(f"its weights are not installed: {error}") from error


def apply(subject: Subject, model: Any, images: ImageSet, **context: Any) -> NDArray[Any]:
    """All arrays concatenated: N rows."""
    results = raw(subject, model, images, **context)
    rows = [np.concatenate([r[name].float().cpu().flatten(1).numpy() for name in sorted(r)], axis=1) for r in results]
    return np.concatenate(rows)


def fit(subject: Subject) -> str:
    """It trains, if it needs training."""
    return fitting.fit(subject) if fitting.trains(subject) else "it needs no training"


def arrays(subject: Subject) -> str:
    """The arrays that the spec names, a row for each image, all of them finite numbers."""
    import torch

    (result,) = raw(subject, fitting.model_of(subject), tasks.image_set(count=COUNT), batch_size=COUNT)
    expected = ", ".join(subject.spec.arrays)
    if not isinstance(result, Mapping) or set(result) != set(subject.spec.arrays):
        gave = ", ".join(map(str, result)) if isinstance(result, Mapping) else type(result).__name__
        raise FailedError(
            f"extract() returns {gave}", f"Return a dictionary of {expected}, or correct the spec's arrays"
        )
    for name, values in result.items():
        if not isinstance(values, torch.Tensor) or not values.ndim or len(values) != COUNT:
            shape = tuple(getattr(values, "shape", ()))
            raise FailedError(
                f"'{name}' is {type(values).__name__} of shape {shape}", f"Return a tensor with {COUNT} rows"
            )
        if not torch.isfinite(values.float()).all():
            raise FailedError(f"'{name}' holds NaN or infinite values", "Guard divisions and logarithms")
        if not values.is_floating_point():
            raise FailedError(f"'{name}' is {values.dtype}", "Return floating point")
        if bool((values == values[:1]).all()):
            raise FailedError(f"'{name}' is the same for all images", "Check the computation in extract()")
    return ", ".join(f"{name} {tuple(values.shape[1:])}" for name, values in result.items())


def determinism(subject: Subject) -> str:
    """The same images give the same features, with this object and with another, or with another fit."""
    images = tasks.image_set(count=COUNT)
    disturb(1)
    one = apply(subject, fitting.model_of(subject), images)
    disturb(2)
    model = fitting.fitted(subject) if fitting.trains(subject) else subject.create()
    other = apply(subject, model, images)
    fix = "Create weights within mtbench.training.seeded(...), and set the network to eval()"
    return same(one, other, "the features of two objects", fix, 1e-5) or "equal bit for bit"


def batches(subject: Subject) -> str:
    """The batch size changes nothing."""
    model, images = fitting.model_of(subject), tasks.image_set(count=COUNT)
    one, other = (apply(subject, model, images, batch_size=size) for size in (1, COUNT))
    tolerance = 1e-3 * float(np.abs(one).max())
    return same(one, other, "features at batch sizes 1 and 4", "Set the network to eval()", tolerance)


def inputs(subject: Subject) -> str:
    """It does not change its inputs."""
    import torch

    images = tasks.image_set(count=2).tensor()
    before = images.clone()
    with torch.inference_mode(), subject.watched("extract()"):
        fitting.model_of(subject).extract(images, subject.context())
    if not torch.equal(images, before):
        raise FailedError("extract() changes its input images", "Work on a copy: images.clone()")
    return ""


def sizes(subject: Subject) -> str:
    """Odd sizes, one image, and empty images."""
    told = []
    for what, images in (
        (f"images of {tasks.ODD[0]} x {tasks.ODD[1]}", tasks.image_set(count=2, size=tasks.ODD)),
        ("a single image", tasks.image_set(count=1)),
        ("images that are all zero", tasks.image_set(count=1, blank=True)),
    ):
        fix = "Resize to the network's input, or raise a mtbench.DataError with the reason"
        found = works_or_refuses(partial(apply, subject, fitting.model_of(subject), images), what, fix)
        if isinstance(found, str):
            told.append(f"{what}: {found}")
        elif len(found) != len(images) or not np.isfinite(found).all():
            raise FailedError(f"{what} give {len(found)} rows, or NaN", "Return one finite row for each image")
    return "; ".join(told) or "odd sizes, one image, empty images"


_AFTER = ("object", "fit", "shapes")
CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("fit", fit, beside=True),
    Check("shapes", arrays, ("object", "fit"), beside=True),
    Check("determinism by seed", determinism, _AFTER),
    Check("batch size", batches, _AFTER, beside=True),
    Check("inputs unchanged", inputs, _AFTER),
    Check("save and load", fitting.of_fits(fitting.round_trip(apply)), _AFTER),
    Check("resume after a kill", fitting.of_fits(fitting.resume(apply)), (*_AFTER, "determinism by seed")),
    Check("sizes", sizes, _AFTER),
    Check("GPU", fitting.on_gpu(apply), _AFTER),
    general.STATE,
)
