"""The page of a stress test: its limits, the matrix, and a card with curves for each score. No scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mtbench.analysis.model import Cell, ResultsTable
from mtbench.stress.cards import Card
from mtbench.stress.response import Curve, Profile

WIDTH, HEIGHT, EDGE = 150, 70, 6
_STYLE = """
:root { color-scheme: light dark; --line: #00796b; --band: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #8884; font-weight: 400; }
tbody th { text-align: left; white-space: nowrap; }
.blind, .prefers { font-weight: 600; } .prefers { color: #c62828; }
.lead { font-size: 1.1em; border-left: 4px solid var(--line); padding-left: 1rem; }
.curves { display: flex; flex-wrap: wrap; gap: .6rem; } figure { margin: 0; } figcaption { font-size: .8em; }
svg { display: block; } polyline { fill: none; stroke: var(--line); stroke-width: 1.5; }
line { stroke: var(--line); opacity: .5; } rect { fill: var(--band); } circle { fill: var(--line); }
footer { font-size: .87em; }
""".strip()


def page(table: ResultsTable, profiles: Sequence[Profile], cards: Sequence[Card]) -> str:
    """The page; it loads nothing."""
    title = escape(table.title)
    sections = "\n".join(_card(card, profile) for card, profile in zip(cards, profiles, strict=True))
    notes = "".join(f"<li>{escape(text)}</li>" for text in table.footnotes)
    remarks = "".join(f"<p>{escape(text)}</p>" for text in table.remarks[1:])
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
        f"<style>\n{_STYLE}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<p class="lead">{escape(table.remarks[0])}</p>\n{_matrix(table)}\n'
        f"<footer><ol>{notes}</ol>{remarks}</footer>\n<h2>Cards</h2>\n{sections}\n</body>\n</html>\n"
    )


def _matrix(table: ResultsTable) -> str:
    (section,) = table.sections
    heads = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in section.columns)
    lines = [
        f'<tr><th scope="row">{escape(row.label)}</th>{"".join(map(_cell, row.cells))}</tr>' for row in section.rows
    ]
    head = f"<thead><tr><th>{escape(section.corner)}</th>{heads}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def _cell(cell: Cell) -> str:
    kind = "blind" if cell.text == "blind" else "prefers" if (cell.value or 0) < 0 else ""
    notes = f"<sup>{','.join(map(str, cell.notes))}</sup>" if cell.notes else ""
    return f'<td class="{kind}">{escape(cell.text)}{notes}</td>' if kind else f"<td>{escape(cell.text)}{notes}</td>"


def _card(card: Card, profile: Profile) -> str:
    name, *lines = card.lines()
    items = "".join(f"<li>{escape(line.strip().removeprefix('=> '))}</li>" for line in lines)
    curves = "".join(_figure(curve) for curve in profile.curves.values())
    return f'<h3>{escape(name)}</h3>\n<ul>{items}</ul>\n<div class="curves">{curves}</div>'


def _figure(curve: Curve) -> str:
    """Value against level: the line with its intervals over the band; a gap where the metric failed."""
    readings = [curve.base, *(point.reading for point in curve.points)]
    there = [(level, reading) for level, reading in enumerate(readings) if reading is not None]
    values = [v for _, r in there for v in (r.value, r.low, r.high) if v is not None] + list(curve.band or ())
    low, high = min(values), max(values)
    span = high - low or abs(high) or 1.0

    def x(level: int) -> float:
        return EDGE + level * (WIDTH - 2 * EDGE) / max(len(readings) - 1, 1)

    def y(value: float) -> float:
        return EDGE + (high - value) / span * (HEIGHT - 2 * EDGE)

    parts = []
    if curve.band:
        bottom, top = curve.band
        height = max(y(bottom) - y(top), 1.0)
        parts.append(f'<rect x="{EDGE}" y="{y(top):.1f}" width="{WIDTH - 2 * EDGE}" height="{height:.1f}"/>')
    runs: list[list[str]] = [[]]
    for level, reading in enumerate(readings):
        if reading is None:
            runs.append([])
            continue
        runs[-1].append(f"{x(level):.1f},{y(reading.value):.1f}")
        parts.append(f'<circle cx="{x(level):.1f}" cy="{y(reading.value):.1f}" r="2"/>')
        if reading.low is not None and reading.high is not None:
            ends = f'y1="{y(reading.low):.1f}" y2="{y(reading.high):.1f}"'
            parts.append(f'<line x1="{x(level):.1f}" x2="{x(level):.1f}" {ends}/>')
    parts += [f'<polyline points="{" ".join(run)}"/>' for run in runs if run]
    label = escape(f"{curve.operator.name}: {curve.base.value:.4g} to {there[-1][1].value:.4g}")
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f"<figcaption>{label}</figcaption></figure>"
    )
