"""Draws the figures of the documentation as SVG: ``python docs/generate/figures.py RESULTS``.

RESULTS is a results directory of the suite ``quickstart``; the table and the figure of the reference rows
take their values from there.
Each figure has a light background of its own, so that it can be read on a dark page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import mtbench

IMAGES = Path(__file__).parents[1] / "images"
INK, GREY, LINE, PAPER = "#1d2b2a", "#5b6b69", "#8aa09d", "#f7faf9"
FILL = {"data": "#dcecf7", "model": "#f6e3cd", "image": "#dff0df", "score": "#eadff2", "plain": "#ffffff"}
STROKE = {"data": "#3f7fae", "model": "#b9762a", "image": "#4f8f4f", "score": "#7d59a0", "plain": "#5b6b69"}
RANKED = ("identity", "histogram", "cyclegan")
TRANSLATORS = (*RANKED, "spade")
FONT = "font-family='system-ui, Segoe UI, Roboto, Helvetica, Arial, sans-serif'"


class Drawing:
    """An SVG that grows by boxes, arrows and texts; coordinates in pixels."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, lines: Iterable[str], kind: str = "plain") -> None:
        """A rounded box; the first line is bold."""
        self.parts.append(
            f"<rect x='{x}' y='{y}' width='{w}' height='{h}' rx='6' fill='{FILL[kind]}' stroke='{STROKE[kind]}'/>"
        )
        shown = list(lines)
        top = y + h / 2 - (len(shown) - 1) * 8 + 4.5
        for number, line in enumerate(shown):
            bold = number == 0
            self.text(x + w / 2, top + 16 * number, line, size=13 if bold else 11, bold=bold, ink=INK if bold else GREY)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 12,
        bold: bool = False,
        ink: str = INK,
        anchor: str = "middle",
    ) -> None:
        """One line of text."""
        weight = " font-weight='600'" if bold else ""
        style = f"font-size='{size}' fill='{ink}' text-anchor='{anchor}'{weight}"
        self.parts.append(f"<text x='{x}' y='{y}' {style}>{escape(text)}</text>")

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line through the points with a head at its end."""
        way = " ".join(f"{x},{y}" for x, y in points)
        dash = " stroke-dasharray='5 4'" if dashed else ""
        self.parts.append(
            f"<polyline points='{way}' fill='none' stroke='{LINE}' stroke-width='1.6'{dash} marker-end='url(#head)'/>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, ink: str = LINE, width: float = 1.6) -> None:
        """A straight line."""
        self.parts.append(f"<line x1='{x1}' y1='{y1}' x2='{x2}' y2='{y2}' stroke='{ink}' stroke-width='{width}'/>")

    def dot(self, x: float, y: float, ink: str, hollow: bool = False) -> None:
        """A marker."""
        self.parts.append(
            f"<circle cx='{x}' cy='{y}' r='6' fill='{PAPER if hollow else ink}' stroke='{ink}' stroke-width='2'/>"
        )

    def write(self, name: str) -> None:
        """Write the file below ``docs/images``."""
        head = (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {self.width} {self.height}' width='{self.width}' "
            f"height='{self.height}' role='img' {FONT}>\n<title>{escape(self.title)}</title>\n"
            f"<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
            f"orient='auto'>"
            f"<path d='M0,0 L8,4 L0,8 z' fill='{LINE}'/></marker></defs>\n"
            f"<rect width='100%' height='100%' rx='8' fill='{PAPER}'/>\n"
        )
        (IMAGES / name).write_text(head + "\n".join(self.parts) + "\n</svg>\n", encoding="utf-8")


def run_graph() -> None:
    """The units of one translator, one segmenter and two metrics."""
    d = Drawing(860, 330, "A run as a graph: prepare, split, fit, translate, extract, segment, score")
    d.box(15, 140, 115, 50, ["prepare", "once per data set"], "data")
    d.box(155, 140, 90, 50, ["split", "by patient"], "data")
    d.box(290, 40, 120, 50, ["fit", "translator, seed"], "model")
    d.box(290, 240, 120, 50, ["fit", "segmenter"], "model")
    d.box(450, 40, 120, 50, ["translate", "source test slices"], "image")
    d.box(450, 140, 120, 50, ["extract", "target features"], "score")
    d.box(610, 40, 100, 50, ["extract", "features"], "score")
    d.box(610, 240, 100, 50, ["segment", "labels"], "image")
    d.box(745, 40, 95, 50, ["score", "FID, KID, IS"], "score")
    d.box(745, 140, 95, 50, ["score", "SWD"], "score")
    d.box(745, 240, 95, 50, ["score", "Dice"], "score")
    d.arrow((130, 165), (153, 165))
    d.arrow((245, 165), (268, 165), (268, 65), (288, 65))
    d.arrow((245, 165), (268, 165), (268, 265), (288, 265))
    d.arrow((245, 165), (448, 165))
    d.arrow((410, 65), (448, 65))
    d.arrow((570, 65), (608, 65))
    d.arrow((710, 65), (743, 65))
    d.arrow((570, 75), (590, 75), (590, 255), (608, 255))
    d.arrow((590, 165), (743, 165))
    d.arrow((410, 265), (608, 275))
    d.arrow((710, 265), (743, 265))
    d.arrow((510, 140), (510, 115), (728, 115), (728, 75), (743, 75))
    d.text(20, 318, "Add a metric: only its score units run. Add a translator: the segmenter, the split and the "
           "target's features are reused.", size=12, ink=GREY, anchor="start")  # fmt: skip
    d.write("run-graph.svg")


def architecture() -> None:
    """From the command to the table, by package."""
    d = Drawing(860, 420, "From the command to the table")
    bands = [("request", 20), ("identity", 110), ("work", 200), ("results", 320)]
    for name, y in bands:
        d.text(20, y + 32, name, size=12, bold=True, ink=GREY, anchor="start")
    d.box(110, 20, 160, 50, ["cli/run.py", "mtbench run"])
    d.box(310, 20, 160, 50, ["api.py", "mtbench.run()"])
    d.box(510, 20, 180, 50, ["engine/request.py", "RunRequest"])
    d.box(310, 110, 160, 50, ["plan/suite.py", "Suite"], "data")
    d.box(510, 110, 180, 50, ["plan/planner.py", "Plan: units and rows"], "data")
    d.box(110, 200, 160, 60, ["engine/maker.py", "address, look up, lease"], "model")
    d.box(310, 200, 160, 60, ["engine/scheduler.py", "order, attempts"], "model")
    d.box(510, 200, 180, 60, ["executor plugin", "engine/worker.py, stages/"], "model")
    d.box(725, 200, 115, 60, ["store/", "artefacts"], "image")
    d.box(110, 320, 160, 50, ["engine/record.py", "journal"], "score")
    d.box(310, 320, 160, 50, ["results/", "scores, attempts, cases"], "score")
    d.box(510, 320, 180, 50, ["analysis/table.py", "ResultsTable"], "score")
    d.box(725, 320, 115, 50, ["output", "terminal, files"], "score")
    d.arrow((270, 45), (308, 45))
    d.arrow((470, 45), (508, 45))
    d.arrow((600, 70), (600, 90), (390, 90), (390, 108))
    d.arrow((470, 135), (508, 135))
    d.arrow((600, 160), (600, 180), (390, 180), (390, 198))
    d.arrow((310, 220), (272, 220))
    d.arrow((270, 242), (308, 242))
    d.arrow((470, 220), (508, 220))
    d.arrow((510, 242), (472, 242))
    d.arrow((690, 230), (723, 230))
    d.arrow((390, 260), (390, 290), (190, 290), (190, 318))
    d.arrow((270, 345), (308, 345))
    d.arrow((470, 345), (508, 345))
    d.arrow((690, 345), (723, 345))
    d.text(489, 214, "job", size=10, ink=GREY)
    d.text(490, 276, "outcome", size=10, ink=GREY)
    d.text(110, 402, "Jobs and outcomes are JSON. Tables are a view of the journal; values come from the artefacts.",
           size=12, ink=GREY, anchor="start")  # fmt: skip
    d.write("architecture.svg")


def quickstart(results: Path) -> list[dict[str, Any]]:
    """The measured scores of the suite's own rows."""
    rows = mtbench.load(results).to_pylist()
    return [row for row in rows if row["value"] is not None and row["translator"] in ("", *TRANSLATORS)]


def table(rows: list[dict[str, Any]]) -> None:
    """Dice and SWD of both tasks, as `mtbench results show` prints them."""
    columns = [("phantom-breast", "dice", "breast"), ("phantom-breast", "dice", "fgt"), ("phantom-breast", "swd", ""),
               ("phantom-lumbar", "dice", "bone"), ("phantom-lumbar", "swd", "")]  # fmt: skip
    values = {(r["dataset"], r["metric"], r["label"], r["translator"] or r["role"]): r["value"] for r in rows}
    d = Drawing(860, 330, "Results table of the suite quickstart")
    places = [300, 420, 545, 690, 815]
    d.text(422, 30, "phantom-breast: Siemens → GE", bold=True, size=13)
    d.text(735, 30, "phantom-lumbar: MR → CT", bold=True, size=13)
    for x, (_, metric, label) in zip(places, columns, strict=True):
        d.text(x, 56, f"Dice {label} ↑" if metric == "dice" else "SWD[karras] ↓", size=12, ink=GREY, anchor="end")
    d.text(30, 56, "Method", size=12, ink=GREY, anchor="start")
    d.line(20, 66, 840, 66, INK, 1.2)
    for number, name in enumerate((*TRANSLATORS, "ceiling", "floor", "oracle")):
        y = 90 + 27 * number + (8 if number >= len(TRANSLATORS) else 0)
        d.text(30, y, name + ("†" if name == "spade" else ""), size=13, anchor="start")
        for x, (dataset, metric, label) in zip(places, columns, strict=True):
            value = values.get((dataset, metric, label, name))
            ranked = sorted((values[dataset, metric, label, each] for each in RANKED), reverse=metric == "dice")
            shown = "–" if value is None else f"{value:.{3 if metric == 'dice' else 1}f}"
            best, second = name in RANKED and value == ranked[0], name in RANKED and value == ranked[1]
            d.text(x, y, shown, size=13, bold=best, anchor="end")
            if second:
                d.line(x - 7.4 * len(shown), y + 4, x, y + 4, INK, 1)
    d.line(20, 180, 840, 180, GREY, 0.8)
    d.text(30, 296, "Bold: best; underlined: runner-up. †: conditional, reads the reference mask; not ranked.",
           size=11, ink=GREY, anchor="start")  # fmt: skip
    d.text(30, 314, "One seed, models trained for seconds, 32 test images of 4 patients a side.",
           size=11, ink=GREY, anchor="start")  # fmt: skip
    d.write("table.svg")


def reference_rows(rows: list[dict[str, Any]]) -> None:
    """Where rows of the phantom MR to CT task lie between their reference rows."""
    rows = [row for row in rows if row["dataset"] == "phantom-lumbar"]
    d = Drawing(860, 340, "Reference rows give the scale of Dice and of a distance")
    scale(d, 90, "Dice (bone), higher is better", [r for r in rows if r["metric"] == "dice"], 1.0, 2)
    scale(d, 240, "SWD[karras], lower is better", [r for r in rows if r["metric"] == "swd"], 200.0, 0)
    d.text(20, 326, "Suite quickstart, phantom-lumbar (MR to CT), one seed, models trained for seconds. "
           "Filled: reference rows.", size=11, ink=GREY, anchor="start")  # fmt: skip
    d.write("reference-rows.svg")


def scale(d: Drawing, y: int, title: str, rows: list[dict[str, Any]], top: float, decimals: int) -> None:
    """One axis with a marker and a name for each row; names that would touch stand on several levels."""
    left, right = 90, 800
    d.text(20, y - 62, title, bold=True, anchor="start")
    d.line(left, y, right, y, INK)
    for tick in range(6):
        x = left + (right - left) * tick / 5
        d.line(x, y - 4, x, y + 4, INK)
        d.text(x, y + 62, f"{top * tick / 5:.{min(decimals, 1)}f}", size=10, ink=GREY)
    ends = [-100.0] * 4
    for row in sorted(rows, key=lambda row: row["value"]):
        reference = row["role"] != "translator"
        label = f"{row['role'] if reference else row['translator']} {row['value']:.{decimals}f}"
        x = left + (right - left) * row["value"] / top
        level = next((n for n, end in enumerate(ends) if x - len(label) * 3.6 > end), len(ends) - 1)
        ends[level] = x + len(label) * 3.6
        height = (-18, 26, -38, 44)[level]
        d.line(x, y, x, y + height * 0.75, GREY, 0.8)
        d.dot(x, y, STROKE["data"] if reference else STROKE["model"], hollow=not reference)
        d.text(x, y + height, label, size=12, bold=reference)


if __name__ == "__main__":
    run_graph()
    architecture()
    measured = quickstart(Path(sys.argv[1]))
    table(measured)
    reference_rows(measured)
