"""Checks of translators."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.conformance import fitting, general, tasks
from mtbench.conformance.subject import Subject
from mtbench.conformance.surroundings import disturb
from mtbench.conformance.trying import frozen, in_batches, same, works_or_refuses
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.data import Batch, ImageSet
from mtbench.registry.contracts import WholeSetTranslator

_SHARE = 1e-3
"""The share of pixels outside [0, 1] above which a table has a warning."""


def raw(subject: Subject, model: Any, images: ImageSet, **context: Any) -> list[Any]:
    """The translator's unprocessed output: tensors B x 1 x H x W, or arrays H x W of ``translate_all``."""
    conditional = subject.spec.whether("conditional", subject.params)
    surroundings = subject.context(**context)
    if isinstance(model, WholeSetTranslator):
        subject.kept["whole"] = True
        surroundings.start_batch()
        with subject.watched("translate_all()"):
            return list(model.translate_all(images if conditional else replace(images, masks=None), surroundings))

    def translate(span: slice) -> Any:
        masks = images.mask_tensor(span, surroundings.device) if conditional else None
        batch = Batch(images.tensor(span, surroundings.device), images.slices[span], masks)
        return model.translate(batch, surroundings)

    with subject.watched("translate()"):
        return in_batches(images, surroundings, translate)


def apply(subject: Subject, model: Any, images: ImageSet, **context: Any) -> NDArray[Any]:
    """Translations as one float array, N x H x W."""
    results = raw(subject, model, images, **context)
    whole = isinstance(model, WholeSetTranslator)
    arrays = [np.asarray(r, np.float32)[None] if whole else r.detach().float().cpu().numpy()[:, 0] for r in results]
    return np.concatenate(arrays) if arrays else np.zeros((0, *images.size), np.float32)


def fit(subject: Subject) -> str:
    """It trains, if it needs training."""
    if reason := subject.spec.refusal(tasks.TASK):
        raise UntriedError(f"it does not accept the task of these checks: {reason}")
    if not subject.spec.whether("trains", subject.params):
        return "it needs no training"
    return fitting.fit(subject)


def shapes(subject: Subject) -> str:
    """The output has the shape of the input and is a float tensor."""
    import torch

    images = tasks.image_set(count=3)
    model = fitting.model_of(subject)
    results = raw(subject, model, images, batch_size=3)
    if isinstance(model, WholeSetTranslator):
        found = [np.shape(each) for each in results]
        if found != [images.size] * 3:
            raise FailedError(
                f"translate_all() yields shapes {found} for three slices", f"Yield one array of {images.size} for each"
            )
        return "one image per slice"
    (result,) = results
    if not isinstance(result, torch.Tensor):
        raise FailedError(f"translate() returns {type(result).__name__}", "Return a torch tensor")
    expected = (3, 1, *images.size)
    if tuple(result.shape) != expected:
        raise FailedError(
            f"translate() returns shape {tuple(result.shape)} for a batch of {expected}", "Return the batch's own shape"
        )
    return f"{expected}"


def channels(subject: Subject) -> str:
    """Source slices of three channels become images of one."""
    if not subject.spec.several_channels:
        raise UntriedError("it translates one source channel")
    data = fitting.data_for(subject)
    sets = {side: getattr(data, side) for side in ("source_train", "source_validation")}
    several = {side: tasks.with_channels(images) for side, images in sets.items() if images is not None}
    model = subject.create()
    if subject.spec.whether("trains", subject.params):
        with subject.watched("fit()"):
            model.fit(replace(data, task=tasks.SEVERAL, **several), subject.context())
    results = raw(subject, model, tasks.with_channels(tasks.image_set(count=3)), batch_size=3)
    found = [tuple(np.shape(each)) for each in results]
    expected = [tasks.SIZE] * 3 if isinstance(model, WholeSetTranslator) else [(3, 1, *tasks.SIZE)]
    if found != expected:
        raise FailedError(f"three source channels give {found}", f"Return one target channel: {expected}")
    return "three channels to one"


def dtypes(subject: Subject) -> str:
    """The output is floating point."""
    result = raw(subject, fitting.model_of(subject), tasks.image_set(count=1))[0]
    name = str(getattr(result, "dtype", type(result).__name__)).removeprefix("torch.")
    if not name.startswith(("float", "bfloat")):
        raise FailedError(f"the images are {name}", "Return float32 in [0, 1]: mtbench rounds to the stored type")
    return name


def value_range(subject: Subject) -> str:
    """The output lies in [0, 1]."""
    values = apply(subject, fitting.model_of(subject), tasks.image_set())
    if not np.isfinite(values).all():
        raise FailedError("the images hold NaN or infinite values", "Guard divisions and logarithms")
    low, high = float(values.min()), float(values.max())
    share = float(((values < -1e-3) | (values > 1 + 1e-3)).mean())
    text = f"from {low:.3g} to {high:.3g}"
    if high > 2:
        raise FailedError(f"the images range {text}", "Divide them by their largest possible value: [0, 1] is expected")
    if share > _SHARE:
        fix = "Return (x + 1) / 2 if the network ends in tanh" if low < -1e-3 else "End in a sigmoid, or clamp"
        raise FailedError(f"the images range {text}: {share:.1%} of the pixels lie outside [0, 1]", fix)
    if low == high and not subject.spec.whether("trains", subject.params):
        raise FailedError(f"all pixels of all images are {low:g}", "Check the computation in translate()")
    return text


def determinism(subject: Subject) -> str:
    """The output depends on no randomness except the seed."""
    model, images, spec = fitting.model_of(subject), tasks.image_set(), subject.spec
    disturb(1)
    one = apply(subject, model, images)
    disturb(2)
    other = apply(subject, model, images)
    fix = "Draw noise from context.noise(batch, shape), and set networks to eval() before translating"
    close = same(one, other, "two translations with one seed", fix)
    noisy = spec.whether("stochastic", subject.params)
    apart = not np.array_equal(one, apply(subject, model, images, seed=1))
    if apart and not noisy:
        raise FailedError("another seed gives other images", "Declare it: TranslatorSpec(..., stochastic=True)")
    if noisy and not apart:
        raise FailedError(
            "it is declared stochastic, and another seed gives the same images",
            "Remove stochastic=True, which costs runs, or seed the noise by context.seed",
        )
    if spec.whether("trains", subject.params):
        close = fitting.same_fit(apply)(subject) or close
        if spec.deterministic:
            found = apply(subject, fitting.fitted(subject, seed=1), images)
            same(one, found, "fits with two seeds", "Remove deterministic=True: the seed matters")
    return close or "equal bit for bit"


def batches(subject: Subject) -> str:
    """The batch size changes nothing."""
    model, images = fitting.model_of(subject), tasks.image_set()
    one = apply(subject, model, images, batch_size=len(images))
    if isinstance(model, WholeSetTranslator):
        other = apply(subject, model, images.subset([0, 1]))
        what, one = "images of some slices and of all", one[:2]
    else:
        other = apply(subject, model, images, batch_size=1)
        what = "images at batch sizes 1 and 6"
    fix = "Set networks to eval(), use no statistics of the batch, and draw noise from context.noise"
    return same(one, other, what, fix, 1e-4)


def inputs(subject: Subject) -> str:
    """It does not change its inputs."""
    model, images = fitting.model_of(subject), tasks.image_set(depth="float32")
    changed, told = frozen(images), ""
    if isinstance(model, WholeSetTranslator):
        what, fix = "images stored as floats", "Take them, or refuse with a mtbench.DataError that says why"
        found = works_or_refuses(partial(apply, subject, model, images), what, fix)
        if isinstance(found, str):  # a program that reads PNG
            told, images = f"{what}: {found}", tasks.image_set()
            changed = frozen(images)
            apply(subject, model, images)
    else:
        masks_of = images.mask_tensor(slice(0, 4)) if subject.spec.whether("conditional", subject.params) else None
        batch = Batch(images.tensor(slice(0, 4)), images.slices[:4], masks_of)
        source, masks = batch.source.clone(), None if batch.masks is None else batch.masks.clone()
        surroundings = subject.context()
        surroundings.start_batch()
        import torch

        with torch.inference_mode(), subject.watched("translate()"):
            model.translate(batch, surroundings)
        if not torch.equal(source, batch.source):
            raise FailedError("translate() changes batch.source", "Work on a copy: batch.source.clone()")
        if masks is not None and batch.masks is not None and not torch.equal(masks, batch.masks):
            raise FailedError("translate() changes batch.masks", "Work on a copy: batch.masks.clone()")
    if altered := changed():
        raise FailedError(f"it changes {altered} of its input", "Work on a copy")
    return told


_AFTER = ("object", "fit")
CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("fit", fit, beside=True),
    Check("shapes", shapes, _AFTER, beside=True),
    Check("several channels", channels, (*_AFTER, "shapes")),
    Check("dtype", dtypes, (*_AFTER, "shapes")),
    Check("range", value_range, (*_AFTER, "shapes"), beside=True),
    Check("determinism by seed", determinism, (*_AFTER, "shapes"), beside=True),
    Check("batch size", batches, (*_AFTER, "shapes")),
    Check("inputs unchanged", inputs, (*_AFTER, "shapes")),
    Check("save and load", fitting.of_fits(fitting.round_trip(apply)), (*_AFTER, "shapes")),
    Check("resume after a kill", fitting.of_fits(fitting.resume(apply)), (*_AFTER, "shapes", "determinism by seed")),
    Check("sizes", fitting.sizes(apply), (*_AFTER, "shapes")),
    Check("GPU", fitting.on_gpu(apply), (*_AFTER, "shapes", "determinism by seed")),
    general.STATE,
)
