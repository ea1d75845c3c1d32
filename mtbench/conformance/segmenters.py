"""Checks of segmenters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.conformance import extractors, fitting, general, tasks
from mtbench.conformance.subject import Subject
from mtbench.conformance.surroundings import disturb
from mtbench.conformance.trying import in_batches, same
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.data import ImageSet
from mtbench.registry.contracts import Confident


def raw(subject: Subject, model: Any, images: ImageSet, **context: Any) -> list[Any]:
    """What ``segment`` returns for each batch."""
    with subject.watched("segment()"):
        here = subject.context(**context)
        return in_batches(images, here, lambda span: model.segment(images.tensor(span, here.device), here))


def apply(subject: Subject, model: Any, images: ImageSet, **context: Any) -> NDArray[Any]:
    """Labels as one array, N x H x W."""
    arrays = [result.cpu().numpy() for result in raw(subject, model, images, **context)]
    return np.concatenate(arrays) if arrays else np.zeros((0, *images.size), np.int64)


def shapes(subject: Subject) -> str:
    """One label for each pixel."""
    import torch

    images = tasks.image_set("target", count=3)
    (result,) = raw(subject, fitting.model_of(subject), images, batch_size=3)
    if not isinstance(result, torch.Tensor):
        raise FailedError(f"segment() returns {type(result).__name__}", "Return a torch tensor")
    if tuple(result.shape) != (3, *images.size):
        raise FailedError(f"segment() returns shape {tuple(result.shape)}", f"Return B x H x W: {(3, *images.size)}")
    return f"{tuple(result.shape)}"


def labels(subject: Subject) -> str:
    """Integers, and only labels of the task."""
    (result,) = raw(subject, fitting.model_of(subject), tasks.image_set("target", count=3))
    name = str(result.dtype).removeprefix("torch.")
    if not name.startswith(("int", "uint")):
        raise FailedError(f"the labels are {name}", "Return integers: logits.argmax(1)")
    values = np.unique(result.cpu().numpy())
    known = [0, *tasks.TASK.labels]
    if len(strange := np.setdiff1d(values, known)):
        raise FailedError(
            f"it returns the label {strange[0]}", f"Return labels of the task: data.task.labels, here {known}"
        )
    return f"{name}, labels {values.tolist()}"


def determinism(subject: Subject) -> str:
    """The output depends on no randomness except the seed."""
    model, images = fitting.model_of(subject), tasks.image_set("target")
    disturb(1)
    one = apply(subject, model, images)
    disturb(2)
    same(one, apply(subject, model, images), "two segmentations of the same images", "Set networks to eval()")
    return fitting.same_fit(apply)(subject) or "equal bit for bit"


def batches(subject: Subject) -> str:
    """The batch size changes nothing."""
    model, images = fitting.model_of(subject), tasks.image_set("target")
    one, other = (apply(subject, model, images, batch_size=size) for size in (1, len(images)))
    # A label may change if two logits are equal up to rounding.
    share = float((one != other).mean())
    if share > 1e-3:
        raise FailedError(
            f"at batch sizes 1 and 6 {share:.1%} of the labels differ",
            "Set networks to eval() and use no statistics of the batch",
        )
    return ""


def inputs(subject: Subject) -> str:
    """It does not change its inputs."""
    import torch

    images = tasks.image_set("target").tensor()
    before = images.clone()
    with torch.inference_mode(), subject.watched("segment()"):
        fitting.model_of(subject).segment(images, subject.context())
    if not torch.equal(images, before):
        raise FailedError("segment() changes its input images", "Work on a copy: images.clone()")
    return ""


def confidence(subject: Subject) -> str:
    """Probabilities of the labels that ``segment`` predicts."""
    import torch

    model, images = fitting.model_of(subject), tasks.image_set("target", count=3)
    if not isinstance(model, Confident):
        raise UntriedError("it has no segment_with_confidence(), so the ledger of changes shows no confidence")
    pixels = images.tensor()
    with torch.inference_mode(), subject.watched("segment_with_confidence()"):
        predicted, sure = model.segment_with_confidence(pixels, subject.context())
    if not np.array_equal(predicted.cpu().numpy(), apply(subject, model, images, batch_size=3)):
        raise FailedError("segment_with_confidence() returns other labels than segment()", "Return the same labels")
    if tuple(sure.shape) != (3, *images.size) or not bool(((sure >= 0) & (sure <= 1)).all()):
        raise FailedError(
            f"the confidence has the shape {tuple(sure.shape)} and values from {sure.min():g} to {sure.max():g}",
            f"Return the probability of each label: {(3, *images.size)}, from 0 to 1",
        )
    return f"{sure.min():.2f} to {sure.max():.2f}"


def features(subject: Subject) -> str:
    """The arrays of its spec, the same at any batch size."""
    if not subject.spec.arrays:
        raise UntriedError("its spec names no arrays, so it offers no features")
    told = extractors.arrays(subject)
    extractors.batches(subject)
    return told


_AFTER = ("object", "fit")
CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("fit", fitting.fit, beside=True),
    Check("shapes", shapes, _AFTER, beside=True),
    Check("range", labels, (*_AFTER, "shapes"), beside=True),
    Check("determinism by seed", determinism, (*_AFTER, "shapes")),
    Check("batch size", batches, (*_AFTER, "shapes")),
    Check("confidence", confidence, (*_AFTER, "shapes")),
    Check("features", features, (*_AFTER, "shapes")),
    Check("inputs unchanged", inputs, (*_AFTER, "shapes")),
    Check("save and load", fitting.round_trip(apply), (*_AFTER, "shapes")),
    Check("resume after a kill", fitting.resume(apply), (*_AFTER, "shapes", "determinism by seed")),
    Check("sizes", fitting.sizes(apply), (*_AFTER, "shapes")),
    Check("GPU", fitting.on_gpu(apply), (*_AFTER, "shapes", "determinism by seed")),
    general.STATE,
)
