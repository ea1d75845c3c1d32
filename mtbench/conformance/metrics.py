"""Checks of metrics."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.conformance import damage, general, tasks
from mtbench.conformance.subject import Subject
from mtbench.conformance.surroundings import disturb
from mtbench.conformance.trying import works_or_refuses
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.data import ImageSet, MetricInputs, Score, encode
from mtbench.errors import DataError, MtbenchError
from mtbench.registry.needs import Features, reads_side, two_sided
from mtbench.registry.specs import ExtractorSpec
from mtbench.stages.scoring import score

COUNT, SMALL, LARGE = 16, (64, 64), (192, 192)
SLOWEST = 2.0
"""Seconds per image above which a metric is too slow for a test set of some thousand images."""


def needs(subject: Subject) -> tuple[Any, ...]:
    """The inputs of the metric."""
    found: tuple[Any, ...] = subject.of.ask(subject.spec.needs_for, subject.params)
    return found


def inputs(
    subject: Subject,
    candidate: ImageSet,
    reference: ImageSet | None = None,
    predicted: NDArray[np.uint8] | None = None,
    truth: NDArray[np.uint8] | None = None,
) -> MetricInputs:
    """The inputs from the stage: those that the spec requests, and no others."""
    count, size = len(candidate), candidate.size
    reference = damage.set_of("target", count, size) if reference is None else reference
    paired = damage.set_of("paired", count, size) if candidate.domain == "source" else candidate
    training = tasks.image_set("target", "train", COUNT, size=size)
    wanted = needs(subject)
    features: dict[str, dict[str, NDArray[Any]]] = {}
    for need in wanted:
        if isinstance(need, Features):
            of = {"candidate": candidate, "reference": reference, "training": training}[need.of]
            features.setdefault(need.of, {}).update(_features(subject, need, of))
    truth = np.asarray(candidate.masks) if truth is None else truth
    return MetricInputs(
        tasks.TASK,
        candidate=candidate,
        reference=reference if two_sided(wanted) else None,
        paired=(reference if reference.domain == "paired" else paired) if "paired" in wanted else None,
        source=damage.set_of("source", count, size) if "source" in wanted else None,
        training=training if reads_side(wanted, "training") else None,
        predicted_masks=(truth if predicted is None else predicted) if "predicted_masks" in wanted else None,
        reference_masks=truth if "reference_masks" in wanted else None,
        features=features,
    )


def _features(subject: Subject, need: Features, images: ImageSet) -> dict[str, NDArray[Any]]:
    """From the plugin's own extractor, or stand-in features if it is another plugin's or needs a training."""
    registry = subject.kept["registry"]
    own = need.extractor in registry.names("extractor")
    registration = registry.get(ExtractorSpec, need.extractor) if own else None
    if registration is None or registration.spec.trains or registration.spec.of_segmenter:
        return {name: damage.stand_in(images) for name in need.arrays}
    import torch

    params = registration.complete(need.params)
    with torch.inference_mode():
        arguments = registration.create(params).extract(images.tensor(), replace(subject.context(), params=params))
    return {name: arguments[name].float().cpu().numpy() for name in need.arrays}


def size_for(subject: Subject) -> tuple[int, int]:
    """The image size for the metric: the small one, unless it refuses that."""
    if "size" not in subject.kept:
        subject.kept["size"] = SMALL
        try:
            value(subject, inputs(subject, damage.set_of("source", COUNT, SMALL)))
        except DataError:
            subject.kept["size"] = LARGE
    size: tuple[int, int] = subject.kept["size"]
    return size


def value(subject: Subject, arguments: MetricInputs, metric: Any = None) -> float:
    """The metric's value; the mean over labels if there are several."""
    metric = metric or subject.create()
    with subject.watched("compute()"):
        result = metric.compute(arguments, subject.context())
    scores = [result] if isinstance(result, Score) else list(result)
    return float(np.mean([each.value for each in scores]))


def usual(subject: Subject) -> MetricInputs:
    """The inputs of most checks."""
    candidate = damage.damaged(damage.set_of("source", COUNT, size_for(subject)), "noise", 1)
    return inputs(subject, candidate, predicted=damage.moved(np.asarray(candidate.masks), 1))


def scores(subject: Subject) -> str:
    """One score or several, each a finite number with matching cases and computable intervals."""
    metric = subject.create()
    scoring = score(metric, subject.spec, usual(subject), subject.context(), draws=1, blame=subject.of.blame)
    low, high = subject.spec.bounds or (-np.inf, np.inf)
    for each in scoring.scores:
        if not low - 1e-6 <= each.value <= high + 1e-6:
            raise FailedError(f"the value is {each.value:g}", f"Correct it, or the spec's bounds: {low:g} to {high:g}")
    text = ", ".join(
        f"{each.label or subject.spec.title or subject.spec.name} {each.value:.4g}" for each in scoring.scores
    )
    return f"{text} ({next(filter(None, scoring.without), 'with interval')})"


def determinism(subject: Subject) -> str:
    """The value depends on no randomness except the seed."""
    arguments = usual(subject)
    disturb(1)
    one = value(subject, arguments)
    disturb(2)
    other = value(subject, arguments)
    if one != other and abs(one - other) > 1e-9 * max(abs(one), abs(other)):
        raise FailedError(f"the same images give {one:.6g} and {other:.6g}", "Draw from context.rng(...)")
    return "equal bit for bit" if one == other else "equal up to rounding"


def unchanged(subject: Subject) -> str:
    """It does not change its inputs."""
    arguments = usual(subject)
    before = copy.deepcopy(arguments)
    value(subject, arguments)
    for name in ("candidate", "reference", "paired", "source", "training"):
        one, other = getattr(before, name), getattr(arguments, name)
        if one is not None and not np.array_equal(one.images, other.images):
            raise FailedError(f"compute() changes the images of '{name}'", "Work on a copy: images.floats() makes one")
    for name in ("predicted_masks", "reference_masks"):
        if getattr(arguments, name) is not None and not np.array_equal(getattr(before, name), getattr(arguments, name)):
            raise FailedError(f"compute() changes inputs.{name}", "Work on a copy: masks.copy()")
    for side, arrays in before.features.items():
        for name, array in arrays.items():
            if not np.array_equal(array, arguments.features[side][name]):
                raise FailedError(f"compute() changes the features '{name}' of the {side}", "Work on a copy")
    return ""


def _sides(subject: Subject) -> tuple[MetricInputs, MetricInputs]:
    """Inputs, and the same with candidate and reference exchanged."""
    wanted, size = needs(subject), size_for(subject)
    one = damage.damaged(damage.set_of("paired", COUNT, size), "noise", 1)
    other = damage.set_of("paired" if "paired" in wanted else "target", COUNT, size)
    masks = np.asarray(one.masks)
    there = inputs(subject, one, other, damage.moved(masks, 1), masks)
    back = inputs(subject, other, one, masks, damage.moved(masks, 1))
    return there, back


def symmetry(subject: Subject) -> str:
    """Exchanging candidate and reference makes no difference, if the spec says so."""
    if not subject.spec.symmetric:
        raise UntriedError("the spec does not declare it: symmetric=True, if candidate and reference may be exchanged")
    there, back = (value(subject, arguments) for arguments in _sides(subject))
    if abs(there - back) > 1e-3 * max(abs(there), abs(back)):
        raise FailedError(
            f"it gives {there:.6g}, and {back:.6g} with candidate and reference exchanged",
            "Remove symmetric=True, or correct the metric",
        )
    return f"{there:.4g} and {back:.4g}"


def direction(subject: Subject) -> str:
    """More damage gives a worse value, for each damage in the spec's answers_to."""
    spec, comments = subject.spec, []
    if not spec.answers_to:
        raise UntriedError('the spec names no damage: answers_to=("noise", "blur"), or others that it must detect')
    better = "higher" if spec.higher_is_better else "lower"
    for how in spec.answers_to:
        values = [_after(subject, how, amount) for amount in (0, 1, 2)]
        comments.append(f"{how}: " + ", ".join(f"{each:.4g}" for each in values))
        if not all(b < a if spec.higher_is_better else b > a for a, b in itertools.pairwise(values)):
            raise FailedError(
                f"more {how} gives {', '.join(f'{each:.4g}' for each in values)}, and {better} is better",
                f"Correct higher_is_better={spec.higher_is_better}, or remove '{how}' from answers_to",
            )
    return "; ".join(comments)


def _after(subject: Subject, how: str, amount: int) -> float:
    size = size_for(subject)
    # Each slice of the paired set shows the anatomy of its source slice.
    domain = "paired" if "paired" in needs(subject) or "source" in needs(subject) else "target"
    images = tasks.image_set(domain, "train" if domain == "target" else "test", COUNT, size=size)  # type: ignore[arg-type]
    masks = np.asarray(images.masks)
    if how == "masks":
        return value(subject, inputs(subject, images, images, damage.moved(masks, amount), masks))
    reference = damage.set_of(domain, COUNT, size)
    return value(subject, inputs(subject, damage.damaged(images, how, amount), reference))


def scale(subject: Subject) -> str:
    """Images stored in 8 bits and as floats in [0, 1] give the same value."""
    size = size_for(subject)

    def stored(depth: str) -> float:
        other = "paired" if "paired" in needs(subject) else "target"
        sets = [damage.set_of(domain, COUNT, size) for domain in ("source", other)]
        one, other_set = (replace(each, images=encode(each.floats()[:, 0], depth)) for each in sets)
        return value(subject, inputs(subject, one, other_set))

    eight, floats = stored("uint8"), stored("float32")
    if abs(eight - floats) > 1e-2 * max(abs(eight), abs(floats), 1e-12):
        raise FailedError(
            f"images stored in 8 bits give {eight:.4g}, the same as floats {floats:.4g}",
            "Read images with inputs.candidate.floats(), which is in [0, 1] for any stored type",
        )
    return f"{eight:.4g} in 8 bits, {floats:.4g} as floats"


def cost(subject: Subject) -> str:
    """The time per image."""
    arguments, metric = usual(subject), subject.create()
    started = time.perf_counter()
    value(subject, arguments, metric)
    seconds = (time.perf_counter() - started) / COUNT
    height, width = size_for(subject)
    text = f"{1000 * seconds:.3g} ms per image of {height} x {width}, without features"
    if seconds > SLOWEST:
        raise FailedError(text, f"Stay below {SLOWEST:g} s: work on arrays instead of pixels")
    return text


def _value_of(subject: Subject, candidate: ImageSet) -> float:
    return value(subject, inputs(subject, candidate))


def sizes(subject: Subject) -> str:
    """Odd sizes, one slice, and empty images and masks."""
    height, width = size_for(subject)
    odd = (height - 3, width - 17)
    comments = []
    for what, candidate in (
        (f"images of {odd[0]} x {odd[1]}", damage.set_of("source", COUNT, odd)),
        ("a single slice", damage.set_of("source", 1, (height, width))),
        ("empty images and masks", tasks.image_set("source", count=COUNT, size=(height, width), blank=True)),
    ):
        fix = "Raise a mtbench.DataError with the reason if a value cannot be computed"
        try:
            found = works_or_refuses(partial(_value_of, subject, candidate), what, fix)
        except FailedError as error:
            if not isinstance(error.__cause__, ValueError) or not str(error.__cause__):
                raise
            found = f"refused with a reason: {error.__cause__}"
        if isinstance(found, str):
            comments.append(f"{what}: {found}")
        elif not np.isfinite(found):
            raise FailedError(f"{what} give {found}", fix)
    return "; ".join(comments) or "odd sizes, one slice, empty images and masks"


def reads(subject: Subject) -> str:
    """The inputs that the spec declares."""
    wanted = needs(subject)
    try:
        value(subject, usual(subject))
    except MtbenchError:
        raise
    except Exception as error:
        raise FailedError(
            f"compute() fails with the inputs of the spec's needs: {type(error).__name__}: {error}",
            "Name all inputs of compute() in needs, or correct compute()",
        ) from error
    return ", ".join(need if isinstance(need, str) else f"{need.of} by {need.extractor}" for need in wanted)


_AFTER = ("object", "inputs")
CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("inputs", reads, beside=True),
    Check("shapes", scores, _AFTER, beside=True),
    Check("inputs unchanged", unchanged, _AFTER),
    Check("determinism by seed", determinism, (*_AFTER, "inputs unchanged")),
    Check("symmetry", symmetry, (*_AFTER, "inputs unchanged")),
    Check("direction", direction, (*_AFTER, "inputs unchanged")),
    Check("scale", scale, (*_AFTER, "inputs unchanged")),
    Check("sizes", sizes, _AFTER),
    Check("cost", cost, _AFTER),
    general.STATE,
)
