"""The ledger of changes as records and as numbers by row: for CSV, JSON, the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mtbench.ledger import KINDS
from mtbench.report.changes import Change, TaskLedger

LEGEND = (
    "The ledger finds changes in segmented labels, not hallucinations in general.",
    "A segmenter is a prior: it may complete anatomy that an image does not show, or miss anatomy that it shows.",
    "On truth: share of a change's voxels that the segmenter also labels wrongly on the true target image.",
    "In oracle: share of a change's voxels that the source-trained segmenter labels wrongly on the source image.",
    "A high share points to the segmenter, a low one to the translator. Wrongly: unlike the source's mask.",
)


@dataclass(frozen=True)
class Summary:
    """The changes of one row of a task.

    Attributes:
        row, role: as in :class:`Change`.
        volumes: how many were compared.
        counts: of each kind, in the order of ``KINDS``.
        added, removed: total size of the items of that kind, in ``unit``; ``None`` if their units differ.
        unit: of these sizes.
    """

    row: str
    role: str
    volumes: int
    counts: tuple[int, ...]
    added: float | None
    removed: float | None
    unit: str


def summaries(ledger: TaskLedger) -> list[Summary]:
    """The numbers of each row, in the order of the table."""
    roles = {side.row: side.role for side in ledger.sides}
    units = {change.item.size_unit for change in ledger.changes}
    unit = units.pop() if len(units) == 1 else ""
    rows = []
    for row, role in roles.items():
        own = [change.item for change in ledger.changes if change.row == row]
        sizes = {
            kind: sum(item.changed for item in own if item.kind == kind) if unit or not own else None
            for kind in ("added", "removed")
        }
        counts = tuple(sum(item.kind == kind for item in own) for kind in KINDS)
        volumes = (ledger.volumes or {}).get(row, 0)
        rows.append(Summary(row, role, volumes, counts, sizes["added"], sizes["removed"], unit))
    return rows


def records(ledger: TaskLedger, changes: Iterable[Change] | None = None) -> list[dict[str, object]]:
    """The changes as flat records, one value a column; numbers that do not exist are ``None``.

    Args:
        ledger: of the task.
        changes: which of its changes; all by default.
    """
    return [_record(ledger, change) for change in (ledger.changes if changes is None else changes)]


def _record(ledger: TaskLedger, change: Change) -> dict[str, object]:
    item, (slices, rows, columns) = change.item, change.item.shown.place
    before, after = item.reference, item.candidate
    position = change.position or (None, None, None)
    return {
        "id": change.id,
        "task": ledger.title,
        "row": change.row,
        "role": change.role,
        "patient": change.patient,
        "case": change.case,
        "region": item.region,
        "change": item.kind,
        "before": 0.0 if before is None else before.size,
        "after": 0.0 if after is None else after.size,
        "changed": item.changed,
        "size_unit": item.size_unit,
        "diameter": item.diameter,
        "distance": item.distance,
        "length_unit": item.length_unit,
        "slice_id": change.slice_id,
        "slice": slices,
        "row_place": rows,
        "column_place": columns,
        "z_mm": position[0],
        "y_mm": position[1],
        "x_mm": position[2],
        "on_truth": change.truth,
        "in_oracle": change.oracle,
        "confidence": change.confidence,
    }
