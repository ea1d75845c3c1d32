"""The ledger of changes as the page's template reads it: numbers by row, and a card with crops for each change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mtbench.analysis.numbers import format_number
from mtbench.hashing import hash_of
from mtbench.ledger import KINDS, Item
from mtbench.report.changes import Change, Side, TaskLedger
from mtbench.report.evidence import Slices
from mtbench.report.ledgertext import records, summaries
from mtbench.report.pixels import difference_uri, image_uri, outlines_uri

OF_EACH_KIND = 12
"""Cards for each kind of change, so that large organs do not crowd out lesions."""
SMALLEST = 48
"""Pixels of a crop's side, at least."""

Window = tuple[slice, slice]
Crop = dict[str, str]


def ledger_record(ledgers: Sequence[TaskLedger]) -> list[dict[str, object]]:
    """Tasks with the numbers of each row and the cards of the worst changes, crops as data URIs."""
    return [_task(ledger) for ledger in ledgers]


def _task(ledger: TaskLedger) -> dict[str, object]:
    shown = list(_worst(ledger.changes))
    rows = summaries(ledger)
    unit = next((f" ({row.unit})" for row in rows if row.unit), "")
    translated = sum(change.role == "translator" for change in ledger.changes)
    return {
        "title": ledger.title,
        "problem": ledger.problem,
        "segmenter": ledger.segmenter,
        "unknown": ledger.unknown,
        "study": hash_of([ledger.title, *(change.id for change in shown)])[:12],
        "heads": ("row", "volumes", *KINDS, f"added{unit}", f"removed{unit}"),
        "rows": [
            [row.row, str(row.volumes), *map(str, row.counts), *map(_size, (row.added, row.removed))] for row in rows
        ],
        "count": translated,
        "translators": list(dict.fromkeys(change.row for change in shown)),
        "kinds": [kind for kind in KINDS if any(change.item.kind == kind for change in shown)],
        "cards": [_card(ledger, change) for change in shown],
    }


def _size(size: float | None) -> str:
    return "–" if size is None else format_number(size)


def _worst(changes: Iterable[Change]) -> Iterable[Change]:
    counts = dict.fromkeys(KINDS, 0)
    for change in changes:
        kind = change.item.kind
        if change.role == "translator" and counts[kind] < OF_EACH_KIND:
            counts[kind] += 1
            yield change


def _card(ledger: TaskLedger, change: Change) -> dict[str, object]:
    (record,) = records(ledger, [change])
    return {
        "id": change.id,
        "row": change.row,
        "kind": change.item.kind,
        "region": change.item.region,
        "record": json.dumps(record),
        "facts": _facts(change),
        "crops": _crops(ledger.sides, change),
    }


def _facts(change: Change) -> list[tuple[str, str]]:
    item = change.item
    before, after = (0.0 if part is None else part.size for part in (item.reference, item.candidate))
    _, row, column = item.shown.place
    place = f"slice {change.index}, row {row:.0f}, column {column:.0f}"
    if change.position is not None:
        place += " ({:.0f}, {:.0f}, {:.0f} mm)".format(*change.position)
    facts = [
        ("patient", change.patient if change.case == change.patient else f"{change.patient}, {change.case}"),
        ("size", f"{format_number(before)} → {format_number(after)} {item.size_unit}"),
        ("place", place),
    ]
    if item.distance is not None:
        facts.append(("moved by", f"{format_number(item.distance)} {item.length_unit}"))
    shares = (("on truth", change.truth), ("in oracle", change.oracle), ("confidence", change.confidence))
    for name, share in shares:
        facts.append((name, "–" if share is None else f"{share:.0%}"))
    return facts


def _crops(sides: Sequence[Side], change: Change) -> list[Crop]:
    """The source, the translation, their difference, the confidence and the truth, around the change."""
    own = next(side for side in sides if side.row == change.row and change.slice_id in side.places)
    source = Slices(own.parts["data"], own.parts["split"], own.subset)
    at = own.places[change.slice_id]
    before, after = source.channels(at)[0], own.images.channels(at)[0]
    values = own.unit.task.regions[change.item.region]
    window = _window(change.item, before.shape)
    mask = source.mask(at)
    crops = [
        _crop("source, reference label", before, window, None if mask is None else _region(mask, values)),
        _crop("translation, predicted label", after, window, _region(own.labels[at], values)),
        {
            "name": "difference, change",
            "image": difference_uri(after[window], before[window]),
            "outline": outlines_uri(_changed(own, change, before.shape)[window], max(before.shape)),
        },
    ]
    if own.confidence is not None:
        crops.append(_crop("confidence of the label", np.asarray(own.confidence[at]), window, None))
    for side in sides:
        if side.role == "truth" and change.slice_id in side.places:
            there = side.places[change.slice_id]
            labels = _region(side.labels[there], values)
            crops.append(_crop("truth, predicted label", side.images.channels(there)[0], window, labels))
    return crops


def _crop(name: str, image: NDArray[np.uint8], window: Window, mask: NDArray[np.uint8] | None) -> Crop:
    outline = "" if mask is None else outlines_uri(mask[window], max(mask[window].shape))
    return {"name": name, "image": image_uri(image[window], max(image[window].shape)), "outline": outline}


def _region(labels: NDArray[np.uint8], values: Sequence[int]) -> NDArray[np.uint8]:
    return np.isin(labels, values).astype(np.uint8)


def _changed(side: Side, change: Change, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The voxels of the change on its slice, H x W of 0 and 3, the palette's green."""
    slices = [
        record for record in side.images.slices if (record.patient_id, record.case_id) == (change.patient, change.case)
    ]
    order = sorted(record.index for record in slices)
    pixels = shape[0] * shape[1]
    where = change.item.where
    here = where[where // pixels == order.index(change.index)] % pixels
    area = np.zeros(pixels, np.uint8)
    area[here] = 3
    return area.reshape(shape)


def _window(item: Item, shape: tuple[int, ...]) -> Window:
    """A square around all components of the item, with a margin, within the image."""
    boxes = [part.box for part in (item.candidate, item.reference) if part is not None]
    first, last = ([choose(box[axis][end] for box in boxes) for axis in (1, 2)] for end, choose in ((0, min), (1, max)))
    side = min(max(SMALLEST, round(1.5 * max(b - a for a, b in zip(first, last, strict=True)))), *shape)
    starts = [min(max(0, (a + b - side) // 2), size - side) for a, b, size in zip(first, last, shape, strict=True)]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)
