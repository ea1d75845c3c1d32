"""A methods paragraph and a reporting checklist, written only from what the run recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtbench.analysis.columns import anonymise, params
from mtbench.analysis.legend import SPREADS
from mtbench.analysis.model import ResultsTable
from mtbench.data import SPLITS
from mtbench.report.ran import DIGITS, Division, Images, Method, Ran
from mtbench.report.result import Result
from mtbench.report.summary import without_intervals

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Methods:
    """What a paper states about the experiment.

    Attributes:
        paragraphs: the methods section, a paragraph for each subject.
        checklist: item and what the run recorded, or "not recorded".
    """

    paragraphs: tuple[str, ...]
    checklist: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Both as plain text."""
        items = "\n".join(f"- {item}: {value}" for item, value in self.checklist)
        return "\n\n".join([*self.paragraphs, f"Reporting checklist\n{items}"]) + "\n"


def describe(result: Result, table: ResultsTable, ran: Ran) -> Methods:
    """The methods section and the checklist of a result.

    Args:
        result: the result.
        table: its table.
        ran: what was run for it.
    """
    columns = [result.averages.columns[c] for _, c in result.layout.columns]
    intervals = _intervals(result, table)
    facts = {
        "mtbench version": _versions(result.attempts),
        "Data sets": _data_sets(result),
        "Patients and slices by split": _divisions(ran.divisions),
        "Excluded cases": _excluded(result, ran),
        "Image size and depth": "; ".join(filter(None, map(_size, ran.images))),
        "Resampling (pixel spacing, slice distance)": "; ".join(filter(None, map(_spacing, ran.images))),
        "Intensity window": "; ".join(f"{i.task}: {i.window}" for i in ran.images if i.window),
        "Translators (parameters, budget, seed)": _methods(ran, "translator"),
        "Segmenters (parameters, budget, seed)": _methods(ran, "segmenter"),
        "Trained feature networks (parameters, budget, seed)": _methods(ran, "extractor"),
        "Checkpoint selection": _selection(ran),
        "Checkpoints (SHA-256)": _checkpoints(ran),
        "Weights of feature networks (SHA-256)": _weights(columns),
        "Metrics (settings)": _metrics(result),
        "Test images, patients and N": _test_images(table),
        "Seeds": _unique(run.seed for run in result.runs),
        "Folds": _unique(run.fold for run in result.runs),
        "Confidence intervals": intervals,
        "Ranking rule": _ranking(table),
        "Segmenter's Dice on validation images": _line(table, "Segmenters"),
        "Numeric precision and threads": _unique(
            f"{c['precision']}, threads {c['threads']}" for c in columns if c["precision"]
        ),
        "Devices": _unique(row["device"] for row in result.attempts),
        "Source of published scores": _unique(result.averages.sources),
    }
    optional = ("Trained feature networks (parameters, budget, seed)", "Folds", "Source of published scores")
    checklist = tuple((item, value or NOT_RECORDED) for item, value in facts.items() if value or item not in optional)
    return Methods(tuple(_paragraphs(result, table, ran, facts)), checklist)


def _paragraphs(result: Result, table: ResultsTable, ran: Ran, facts: Mapping[str, str]) -> Iterable[str]:
    names = [result.layout.labels[r] for r in result.layout.rows if result.averages.rows[r]["role"] == "translator"]
    titles = [result.layout.titles[b] for b in result.blocks]
    with_version = f" with {facts['mtbench version']}" if facts["mtbench version"] else ""
    yield (
        f"We evaluated {_count(len(names), 'translator')} ({', '.join(names)}) on {_count(len(titles), 'task')} "
        f"({'; '.join(titles)}){with_version}."
    )
    data = [facts["Data sets"], *map(_images, ran.images), facts["Patients and slices by split"]]
    data.append(facts["Excluded cases"])
    if text := _sentences(data):
        yield f"Data. {text}"
    models = [("Trained translators", "translator"), ("Segmenters", "segmenter"), ("Extractors", "extractor")]
    training = [
        f"{head}: {text}"
        for head, kind in models
        if (text := _trainings([m for m in ran.methods if m.kind == kind and m.trained], len(titles)))
    ]
    selection = facts["Checkpoint selection"]
    if text := _sentences([*training, f"Checkpoint selection as logged: {selection}" if selection else ""]):
        yield f"Training. {text}"
    measured = [f"Metrics: {facts['Metrics (settings)']}" if facts["Metrics (settings)"] else ""]
    measured += [facts["Test images, patients and N"], facts["Confidence intervals"], facts["Ranking rule"]]
    if text := _sentences([*measured, *_replicates(result)]):
        yield f"Evaluation. {text}"


def _replicates(result: Result) -> list[str]:
    seeds, folds = ({getattr(run, name) for run in result.runs} - {None} for name in ("seed", "fold"))
    texts = (
        [f"Trained translators were run with {_count(len(seeds), 'seed')} ({_unique(sorted(seeds))})"] if seeds else []
    )
    return texts + ([f"Scores are means over {len(folds)} folds of patients"] if len(folds) > 1 else [])


def _versions(attempts: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, None]] = {}
    for row in attempts:
        for name, version in json.loads(row["plugins"] or "{}").items():
            found.setdefault(name, {})[version] = None
    # mtbench itself first; a plugin file has no version.
    names = sorted(found, key=lambda name: (name != "mtbench", name))
    texts = [
        f"{'a plugin file' if name == 'file' else name} {' and '.join(filter(None, found[name]))}" for name in names
    ]
    return ", ".join(text.strip() for text in texts)


def _data_sets(result: Result) -> str:
    texts = []
    for b in result.blocks:
        block = result.averages.blocks[b]
        settings = ", ".join(f"{name} {value}" for name, value in params(block["dataset_params"]).items())
        parts = [
            f"revision {block['dataset_revision']}" if block["dataset_revision"] else "",
            settings,
            f"split {block['split']}" if block["split"] else "",
        ]
        facts = "; ".join(filter(None, parts))
        texts.append(f"{result.layout.titles[b]}{f' ({facts})' if facts else ''}")
    return anonymise("; ".join(texts))


def _divisions(divisions: Sequence[Division]) -> str:
    """Slices and patients by split: by task and fold, then by domain."""
    texts: dict[str, list[str]] = {}
    for d in divisions:
        head = d.task + (f", fold {d.fold}" if d.fold is not None else "")
        numbers = ", ".join(
            f"{d.slices.get(split, 0)} {split} slices ({_count(d.patients.get(split, 0), 'patient')})"
            for split in SPLITS
        )
        texts.setdefault(head, []).append(f"{d.domain} {numbers}")
    return ". ".join(f"{head}: {'; '.join(of)}" for head, of in texts.items())


def _excluded(result: Result, ran: Ran) -> str:
    texts = [f"{result.layout.titles[b]}: {t}" for b in result.blocks for t in result.averages.left_out.get(b, ())]
    # Only a run that read its data knows that it excluded nothing.
    return anonymise("; ".join(texts)) or ("No case was excluded" if ran.images else "")


def _images(images: Images) -> str:
    parts = [
        f"{images.size} pixels" if images.size else "",
        f"stored as {images.depth}" if images.depth else "",
        f"pixel spacing {images.spacing}" if images.spacing else "",
        f"slice distance {images.thickness}" if images.thickness else "",
        f"intensity window {images.window}" if images.window else "",
    ]
    return f"Images of {images.task}: {', '.join(filter(None, parts))}" if any(parts) else ""


def _size(images: Images) -> str:
    parts = ", ".join(filter(None, (images.size, images.depth)))
    return f"{images.task}: {parts}" if parts else ""


def _spacing(images: Images) -> str:
    parts = [f"pixel spacing {images.spacing}" if images.spacing else ""]
    parts += [f"slice distance {images.thickness}"] if images.thickness else []
    text = ", ".join(filter(None, parts))
    return f"{images.task}: {text}" if text else ""


def _trainings(methods: Sequence[Method], tasks: int) -> str:
    """Trained methods, each once with the tasks that share its settings."""
    groups: dict[tuple[str, ...], dict[str, None]] = {}
    for m in methods:
        facts = (
            f"on {m.on} slices" if m.on else "",
            f"{m.images} training images" if m.images is not None else "",
            m.settings,
            f"seed {m.seed}" if m.seed is not None else "",
        )
        groups.setdefault((m.name, "; ".join(filter(None, facts))), {})[m.task] = None
    texts = []
    for (name, details), of in groups.items():
        where = "each task" if len(of) == tasks > 1 else ", ".join(of) if tasks > 1 else ""
        texts.append(f"{name} ({'; '.join(filter(None, (details, where)))})")
    return ", ".join(texts)


def _methods(ran: Ran, kind: str) -> str:
    texts = [
        f"{m.name}: {m.settings or 'no parameters'}; {m.budget}{f'; seed {m.seed}' if m.seed is not None else ''}"
        for m in ran.methods
        if m.kind == kind
    ]
    return ". ".join(dict.fromkeys(texts))


def _selection(ran: Ran) -> str:
    """What fits logged about the epoch or step that they kept."""
    texts = [f"{m.name} on {m.task}: {n}" for m in ran.methods for n in m.notes if "best" in n or "select" in n]
    return "; ".join(dict.fromkeys(texts))


def _checkpoints(ran: Ran) -> str:
    texts = []
    for m in ran.methods:
        domains = f" (trained on {m.on})" if m.kind != "translator" and m.on else ""
        seed = f", seed {m.seed}" if m.seed is not None else ""
        texts += [f"{m.name}{domains} on {m.task}{seed}: {m.checkpoint[:DIGITS]}"] if m.checkpoint else []
    return "; ".join(texts)


def _weights(columns: Sequence[Mapping[str, Any]]) -> str:
    texts = {
        f"{c['extractor']}: {c['weights_sha256'][:DIGITS] if c['weights_sha256'] else 'no weight file recorded'}": None
        for c in columns
        if c["extractor"]
    }
    return "; ".join(texts) or "no feature network"


def _metrics(result: Result) -> str:
    texts: dict[str, None] = {}
    for _, c in result.layout.columns:
        entry = result.averages.columns[c]
        settings = {**params(entry["metric_params"]), **params(entry["sampling_params"])}
        listed = ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
        texts[result.layout.names[c] + (f" ({listed})" if listed else "")] = None
    return anonymise("; ".join(texts))


def _test_images(table: ResultsTable) -> str:
    return _line(table, "Test images", keep=True)


def _line(table: ResultsTable, subject: str, *, keep: bool = False) -> str:
    """The line of the table's legend about a subject."""
    for remark in table.remarks:
        head, _, text = remark.partition(": ")
        if head.removesuffix(" (each task)") == subject:
            return remark.rstrip(".") if keep else text.rstrip(".")
    return ""


def _intervals(result: Result, table: ResultsTable) -> str:
    cells = [cell for s in table.sections for row in s.rows for cell in row.cells if cell.value is not None]
    some = any(cell.low is not None for cell in cells)
    texts = [SPREADS["interval"].removeprefix("[ ]: ")] if some else []
    missing = "; ".join(without_intervals(result))
    texts += [f"no confidence intervals for {missing}"] if missing else []
    return ". ".join(text[:1].upper() + text[1:] for text in texts)


def _ranking(table: ResultsTable) -> str:
    cells = [cell for section in table.sections for row in section.rows for cell in row.cells]
    if not any(cell.rank for cell in cells):
        return ""
    rows = [row for section in table.sections for row in section.rows]
    conditional = any(row.conditional for row in rows)
    ranked = "ranked like the others" if table.rule == "paper" else "not ranked"
    return "Translators are ranked by column; scores that are equal as printed share a rank" + (
        f"; conditional translators are {ranked}" if conditional else ""
    )


def _unique(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _sentences(texts: Iterable[str]) -> str:
    return " ".join(f"{text.rstrip('.')}." for text in texts if text)
