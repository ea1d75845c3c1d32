"""The example images as the page's template reads them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtbench.analysis.numbers import format_number
from mtbench.report.choosing import PLACES
from mtbench.report.examples import Example, Image, TaskExamples, View
from mtbench.report.pixels import areas_uri, colour, image_uri, outlines_uri

LONGEST = 384
"""The most pixels of an image's longer side, up to ``FEW`` images."""

FEW = 120
"""With more images, all are reduced, so that the page stays below 15 MB."""


def picture_record(tasks: Sequence[TaskExamples]) -> list[dict[str, object]]:
    """Tasks with their slices and tiles, images as data URIs."""
    count = sum(len(example.views) + len(example.sources) + 2 for task in tasks for example in task.examples)
    longest = max(96, round(LONGEST * min(1.0, math.sqrt(FEW / max(count, 1)))))
    return [_task(task, longest) for task in tasks]


def _task(task: TaskExamples, longest: int) -> dict[str, object]:
    views = [view for example in task.examples for view in example.views]
    return {
        "title": task.title,
        "problem": task.problem,
        "source": task.source,
        "measure": task.measure,
        "run": task.run,
        "some_conditional": any(view.conditional for view in views),
        "has_masks": any(example.source_mask is not None for example in task.examples),
        "has_predictions": any(view.mask is not None for view in views),
        "legend": [(name, "#{:02x}{:02x}{:02x}".format(*colour(value))) for value, name in task.labels.items()],
        "examples": [_example(task, example, longest) for example in task.examples],
    }


def _example(task: TaskExamples, example: Example, longest: int) -> dict[str, object]:
    height, width = example.sources[0].shape
    title = ", ".join(example.reasons)
    value = (
        f" · mean {task.measure} {format_number(example.value, task.decimals)}"
        if example.value is not None and task.measure
        else ""
    )
    tiles = [
        *_sources(task, example, longest),
        *_targets(task, example, longest),
        *(_view(view, example, longest, task.decimals) for view in example.views),
    ]
    return {
        "name": f"{title[:1].upper()}{title[1:]}{value} · {example.slice_id}",
        # Printed too: worst, median and best, but not each translator's own worst.
        "main": any(reason in (*PLACES, "first", "middle", "last", "chosen") for reason in example.reasons),
        "width": width,
        "height": height,
        "tiles": tiles,
    }


def _sources(task: TaskExamples, example: Example, longest: int) -> list[dict[str, object]]:
    """The channels of the source slice; the page compares translations with the first."""
    names = [f"{task.source} {channel}" for channel in task.channels] or [task.source]
    kinds = ["source", *["channel"] * (len(names) - 1)]
    return [
        _tile(kind, f"{name} (source)", image, example.source_mask, longest, [example.slice_id])
        for kind, name, image in zip(kinds, names, example.sources, strict=True)
    ]


def _targets(task: TaskExamples, example: Example, longest: int) -> list[dict[str, object]]:
    """The real target images of a slice: of the same anatomy if the data set is paired, else an example."""
    if example.truth is not None:
        lines = ["real target image of this slice (paired)"]
        return [_tile("target", f"{task.target} (truth)", example.truth, example.source_mask, longest, lines)]
    if example.target is None:
        return []
    lines = [
        f"real target example, {'another slice of the same patient id' if example.same_patient else 'another patient'}"
    ]
    return [_tile("target", f"{task.target} (target)", example.target, example.target_mask, longest, lines)]


def _tile(
    kind: str, label: str, image: Image | None, mask: Image | None, longest: int, lines: Sequence[str] = ()
) -> dict[str, object]:
    return {
        "kind": kind,
        "label": label,
        "conditional": False,
        "image": "" if image is None else image_uri(image, longest),
        "outline": "" if mask is None else outlines_uri(mask, longest),
        "prediction": "",
        "alt": ", ".join([label, *lines]),
        "lines": list(lines),
    }


def _view(view: View, example: Example, longest: int, decimals: int | None) -> dict[str, object]:
    lines = [f"{region or 'value'} {format_number(value, decimals)}" for region, value in view.values.items()]
    prediction = "" if view.mask is None else areas_uri(view.mask, longest)
    alt = ", ".join([f"slice {example.slice_id} translated by {view.label}", *lines])
    # Without a mask: the page copies the outlines of the source, since the anatomy is the same.
    more = {"conditional": view.conditional, "prediction": prediction, "alt": alt}
    return {**_tile("translation", view.label, view.image, None, longest, lines), **more}
