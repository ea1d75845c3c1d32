"""What is printed below a table: warnings about its numbers, then the legend, a line for each subject."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from mtbench.analysis.columns import OF_TARGET, ROLES, conditional_input
from mtbench.analysis.footnotes import number_of
from mtbench.analysis.gather import Averages
from mtbench.analysis.layout import TableLayout
from mtbench.analysis.model import Section
from mtbench.analysis.numbers import format_number
from mtbench.analysis.significance import REMARK

SPREADS = {
    "std": "± standard deviation over seeds, if there are several",
    "interval": "[ ]: 95 % confidence interval by patient, if available; it assumes that rare complete "
    "failures are represented among the test patients",
    "bound": "[ ]: 95 % confidence limits for the expected mean of a metric with bounded values, valid for any "
    "distribution, including rare complete failures",
}
"""The explanation of the text after each value, by the name of the spread."""
_DEMO = "not a result: the split 'demo' may put slices of one patient into several splits"


def legend(
    averages: Averages,
    layout: TableLayout,
    sections: Sequence[Section],
    rule: str,
    spread: str,
    *,
    significant: bool = False,
) -> tuple[str, ...]:
    """The lines below a table's footnotes, in printing order."""
    roles = {row.role for section in sections for row in section.rows}
    references = [f"{role}, {ROLES[role]}" for role in ROLES if ROLES[role] and role in roles]
    lines = [
        *_warnings(averages, layout),
        *([REMARK] if significant else []),
        "; ".join(_marks(averages, layout, sections, rule, significant)),
        f"Reference rows: {'. '.join(references)}" if references else "",
        *_averages(sections),
        SPREADS.get(spread, ""),
        _by_task("Test images", layout, {b: _counts(averages, layout, b) for b in layout.blocks}),
    ]
    if "floor" in roles:
        lines.append(_by_task("Floor", layout, {b: _floor(averages, layout, b) for b in layout.blocks}))
    lines += [
        _by_task("Segmenters", layout, {b: "; ".join(_segmenters(averages, layout, b)) for b in layout.blocks}),
        *(f"Source: {source}" for source in averages.sources),
    ]
    sentences: dict[str, int] = {}
    for line in filter(None, lines):
        number_of(sentences, line)
    return tuple(sentences)


def _by_task(subject: str, layout: TableLayout, texts: Mapping[int, str]) -> str:
    """One line for all tasks: common facts once, different ones after the title of each task."""
    stated = {b: text for b, text in texts.items() if text}
    if not stated:
        return ""
    if len(layout.blocks) == len(stated) and len(set(stated.values())) == 1:
        each = " (each task)" if len(stated) > 1 else ""
        return f"{subject}{each}: {next(iter(stated.values()))}"
    return f"{subject}: " + ". ".join(f"{layout.titles[b]}: {text}" for b, text in stated.items())


def _warnings(averages: Averages, layout: TableLayout) -> list[str]:
    """Warnings about scores: the explanations of marks, excluded cases, and the notes of tasks."""
    # A note that all values of a column share explains its mark.
    notes: dict[tuple[int, int], list[str]] = {}
    for b, r, c in averages.numbers:
        own = averages.notes.get((b, r, c), [])
        notes[b, c] = [text for text in notes.get((b, c), own) if text in own]
    texts = [
        f"{mark} {layout.names[c]}: {text}"
        for b, c in layout.columns
        if (mark := averages.columns[c]["mark"])
        for text in notes.get((b, c), ())
    ]
    for b in layout.blocks:
        demo = _DEMO if str(averages.blocks[b]["split"]).partition("[")[0] == "demo" else ""
        note = averages.blocks[b].get("task_note") or ""
        texts += [f"{layout.titles[b]}: {text}" for text in (*averages.left_out.get(b, ()), demo, note) if text]
    return texts


def _marks(
    averages: Averages, layout: TableLayout, sections: Sequence[Section], rule: str, significant: bool
) -> list[str]:
    rows = [row for section in sections for row in section.rows]
    cells = [cell for row in rows for cell in row.cells]
    texts = []
    if any(cell.rank for cell in cells) and not significant:
        texts.append("Bold: best; underlined: runner-up, ties at the printed precision")
    if any(row.conditional for row in rows):
        protocols = {averages.columns[c]["protocol"] for _, c in layout.columns}
        ranking = "ranked like the others" if rule == "paper" else "not ranked"
        texts.append(f"†: conditional ({conditional_input(protocols)}), {ranking}")
    if any(cell.status == "missing" for cell in cells):
        texts.append("–: not measured")
    return texts


def _averages(sections: Sequence[Section]) -> list[str]:
    texts = []
    folds = {cell.folds for s in sections for row in s.rows for cell in row.cells if cell.status == "ok"}
    if max(folds, default=1) > 1:
        texts.append(f"Means over {_span(folds)} folds of patients")
    seeds: dict[str, set[int]] = {}
    for section in sections:
        for row in section.rows:
            counts = {cell.seeds for cell in row.cells if cell.status == "ok"}
            if counts and row.role == "translator":
                seeds.setdefault(row.label, set()).update(counts)
    if any(max(counts) > 1 for counts in seeds.values()):
        spans = {label: _span(counts) for label, counts in seeds.items()}
        if len(set(spans.values())) == 1:
            texts.append(f"Means over {next(iter(spans.values()))} seeds")
        else:
            texts.append("Means over seeds: " + ", ".join(f"{label} {span}" for label, span in spans.items()))
    return texts


def _counts(averages: Averages, layout: TableLayout, b: int) -> str:
    """The data behind a task's scores: images, patients, and N of the metrics that draw."""
    counts: dict[str, list[int]] = {}
    metrics_by_n: dict[str, dict[str, None]] = {}
    for c in (c for block, c in layout.columns if block == b):
        judged_on_target = averages.columns[c]["protocol"] in OF_TARGET
        for name, span in averages.counts.get((b, c), {}).items():
            if not judged_on_target:
                counts.setdefault(name, []).extend(span)
            elif "target" not in name:
                counts.setdefault(name.replace("translated", "target"), []).extend(span)
            if name == "n" and averages.columns[c]["family"] == "perceptual":
                metrics_by_n.setdefault(_span(span), {})[layout.names[c]] = None
    images = [
        f"{_span(counts[f'n_{kind}'])} {kind} {_patients(counts.get(f'n_patients_{kind}', ()))}"
        for kind in ("translated", "target")
        if f"n_{kind}" in counts
    ]
    sizes = [f"N = {n} for {', '.join(metrics)}" for n, metrics in metrics_by_n.items()]
    facts = "; ".join(filter(None, [", ".join(images), *sizes]))
    return f"in each fold, {facts}" if facts and _in_folds(averages, b) else facts


def _floor(averages: Averages, layout: TableLayout, b: int) -> str:
    """The data behind a task's floor: other images and patients than the translators', often another N."""
    images: list[int] = []
    patients: list[int] = []
    sizes: dict[str, None] = {}
    for c in (c for block, c in layout.columns if block == b):
        spans = averages.floors.get((b, c), {})
        images += spans.get("n_translated", ())
        patients += spans.get("n_patients_translated", ())
        own, others = _span(spans.get("n", ())), _span(averages.counts.get((b, c), {}).get("n", ()))
        if own:
            comparison = "as for the translators" if own == others else f"translators: {others}"
            sizes[f"N = {own}" + (f" ({comparison})" if others else "")] = None
    if not images:
        return ""
    drawn = f"{', '.join(sizes)}, from " if sizes else ""
    fold = "in each fold, " if _in_folds(averages, b) else ""
    return f"{fold}{drawn}{_span(images)} target training images {_patients(patients)}"


def _in_folds(averages: Averages, b: int) -> bool:
    """Whether the scores of a task are means over folds, whose images are counted separately."""
    return any(number.folds > 1 for (block, _, _), number in averages.numbers.items() if block == b)


def _patients(numbers: Collection[int]) -> str:
    patients = _span(numbers)
    return f"({patients} patient{'s' * (patients != '1')})" if patients else "(number of patients unknown)"


def _segmenters(averages: Averages, layout: TableLayout, b: int) -> list[str]:
    """The Dice of a task's segmenters on validation images: a weak segmenter cannot evaluate a translation."""
    keys = [(entry["protocol"], entry["segmenter"]) for entry in averages.columns]
    shown = {keys[c] for block, c in layout.columns if block == b}
    dice: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (block, c), texts in averages.validation.items():
        if block == b and keys[c] in shown:
            for region, value in (item for text in texts for item in json.loads(text).items()):
                dice.setdefault(keys[c], {}).setdefault(region, []).append(value)
    sentences = []
    for (protocol, segmenter), regions in dice.items():
        parts = []
        for region, values in regions.items():
            low, high = format_number(min(values)), format_number(max(values))
            parts.append(f"{region} {low}" if low == high else f"{region} {low} to {high}")
        kind = "translated" if protocol in OF_TARGET else "real target"
        name = f"{segmenter}, {protocol}" if protocol in OF_TARGET else segmenter
        sentences.append(f"{name}, Dice on {kind} validation images: {', '.join(parts)}")
    return sentences


def _span(numbers: Collection[int]) -> str:
    """``3``, or ``3 to 5``; empty without numbers."""
    low, high = min(numbers, default=""), max(numbers, default="")
    return f"{low}" if low == high else f"{low} to {high}"
