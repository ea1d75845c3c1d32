"""What was run: the methods with parameters, budget and checkpoint, and the data by split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mtbench.analysis.columns import anonymise
from mtbench.data import SPLITS, Slice
from mtbench.errors import MtbenchError
from mtbench.report.attempts import Attempt
from mtbench.report.curves import Curve
from mtbench.report.evidence import Evidence
from mtbench.report.records import Records
from mtbench.report.result import Result
from mtbench.results.entries import UnitAsked
from mtbench.store.images import read_slices

BUDGET = ("steps", "max_steps", "iterations", "epochs", "n_epochs", "max_epochs", "epoch_length")
"""Names of parameters that state a training budget."""

DIGITS = 16
"""Of a checkpoint's sha256."""


@dataclass(frozen=True)
class Method:
    """A translator or segmenter as it was run on one task.

    Attributes:
        task: printed title.
        name: printed name.
        kind: "translator", "segmenter" or "extractor".
        params: its parameters, complete.
        trained: whether it has a fit.
        on: the domains it was trained on.
        seed: of the fit; ``None`` without one.
        images: number of training images; ``None`` if it is not recorded.
        seconds: training time; ``None`` if the fit was reused or has not ended.
        step: the last training step with a recorded loss; ``None`` without losses.
        checkpoint: sha256 of the fit.
        notes: what the fit logged, such as the epoch that was selected.
    """

    task: str
    name: str
    kind: str
    params: Mapping[str, Any]
    trained: bool = False
    on: str = ""
    seed: int | None = None
    images: int | None = None
    seconds: float | None = None
    step: int | None = None
    checkpoint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def budget(self) -> str:
        """Steps or epochs as requested, and the last step with a recorded loss."""
        parts = [f"{self.params[name]} {name.replace('_', ' ')}" for name in BUDGET if self.params.get(name)]
        parts += [f"losses up to step {self.step}"] if self.step is not None else []
        return ", ".join(parts) or ("not recorded" if self.trained else "no training")

    @property
    def settings(self) -> str:
        """The parameters as printed."""
        texts = (
            f"{name} {json.dumps(value, ensure_ascii=False)}"
            for name, value in self.params.items()
            if value is not None
        )
        return anonymise(", ".join(texts).replace('"', ""))


@dataclass(frozen=True)
class Division:
    """The slices and patients of one domain of a task.

    Attributes:
        task: printed title.
        fold: of the cross-validation; ``None`` without one.
        role, domain: "source" or "target", and the domain's printed name.
        slices, patients: by split.
    """

    task: str
    fold: int | None
    role: str
    domain: str
    slices: Mapping[str, int]
    patients: Mapping[str, int]


@dataclass(frozen=True)
class Images:
    """The prepared images of a task; empty texts are not recorded.

    Attributes:
        task: printed title.
        size: "64 x 64".
        depth: "uint8", "uint16" or "float32".
        window, spacing, thickness: as texts, a range if they differ between slices.
    """

    task: str
    size: str = ""
    depth: str = ""
    window: str = ""
    spacing: str = ""
    thickness: str = ""


@dataclass
class Ran:
    """Everything that was run for the scores shown."""

    methods: list[Method] = field(default_factory=list)
    divisions: list[Division] = field(default_factory=list)
    images: list[Images] = field(default_factory=list)


def find_ran(result: Result, records: Records, evidence: Evidence, curves: Sequence[Curve]) -> Ran:
    """What was run for the scores shown, from the journal, the attempts and the artefacts in the store."""
    ran, seen = Ran(), set[tuple[Any, ...]]()
    last = _last_attempts(result.attempts)
    steps = {curve.unit: max(s[-1] for s, _ in curve.series.values()) for curve in curves}
    for task, name, key in _scores(result):
        lineage = [(k, records.units[k]) for k in records.lineage(key) if k in records.units]
        fits = [(k, u) for k, u in lineage if u.stage == "fit"]
        if name and not any(u.kind == "translator" for _, u in fits):
            fits += [(k, u) for k, u in lineage if u.stage == "translate"][:1]
        for k, unit in fits:
            if (task, k) not in seen:
                seen.add((task, k))
                label = name if unit.kind == "translator" else unit.plugin
                ran.methods.append(_method(task, label, unit, last.get(k), steps.get(k), records))
        for k, unit in lineage:
            if unit.stage in ("split", "prepare") and (task, k) not in seen:
                seen.add((task, k))
                _add_data(ran, task, k, unit, evidence)
    ran.methods.sort(key=lambda method: method.kind != "translator")
    return ran


def _scores(result: Result) -> Iterator[tuple[str, str, str]]:
    """Task, translator (empty for reference rows) and unit key of every score shown."""
    for run in result.runs:
        yield result.layout.titles[run.block], result.layout.labels[run.row], run.unit
    titles: dict[str, list[str]] = {}
    for b in result.blocks:
        titles.setdefault(result.averages.blocks[b]["dataset"], []).append(result.layout.titles[b])
    columns = (result.scores[name].to_pylist() for name in ("role", "dataset", "unit_key", "status"))
    for role, dataset, key, status in zip(*columns, strict=True):
        if role != "translator" and status == "measured" and key and len(titles.get(dataset, ())) == 1:
            yield titles[dataset][0], "", key


def _last_attempts(attempts: Iterable[Attempt]) -> dict[str, dict[str, Any]]:
    """By unit, its last successful attempt; seconds and images of the one that computed it."""
    last: dict[str, dict[str, Any]] = {}
    for row in attempts:
        if row["status"] in ("ok", "cached"):
            before = last.get(row["unit_key"], {})
            computed = row if row["status"] == "ok" else before
            own = {name: computed.get(name) for name in ("seconds", "images", "log")}
            last[row["unit_key"]] = {**row, **own, "log": own["log"] or row["log"]}
    return last


def _method(
    task: str, name: str, unit: UnitAsked, attempt: Mapping[str, Any] | None, step: int | None, records: Records
) -> Method:
    trained, about = unit.stage == "fit", attempt or {}
    params = {k: records.clean(v) if isinstance(v, str) else v for k, v in unit.params.items()}
    if not trained:
        return Method(task, name, unit.kind, params)
    return Method(
        task=task,
        name=name,
        kind=unit.kind,
        params=params,
        trained=True,
        on=" and ".join(unit.options.get("domains", ())),
        seed=unit.seed,
        images=about.get("images"),
        seconds=about.get("seconds"),
        step=step,
        checkpoint=about.get("digest") or "",
        notes=tuple(records.clean(line) for line in (about.get("log") or "").splitlines() if line.strip()),
    )


def _add_data(ran: Ran, task: str, key: str, unit: UnitAsked, evidence: Evidence) -> None:
    artefact = evidence.of_unit(key)
    if artefact is None:
        return
    about = artefact.manifest["unit"].get("task", {})
    try:
        if unit.stage == "split":
            for role in ("source", "target"):
                counts = artefact.info["slices"][role], artefact.info["patients"][role]
                fold = unit.options.get("fold")
                ran.divisions.append(Division(task, fold, role, str(about.get(role, role)), *counts))
        else:
            content = json.loads((artefact.path / "task.json").read_text(encoding="utf-8"))
            slices = [s for domain in ("source", "target") for s in read_slices(artefact.path, domain)]
            size = " x ".join(map(str, content["size"])) if content.get("size") else ""
            depth = str(content.get("depth", ""))
            depth += f", source channels {', '.join(content['channels'])}" if content.get("channels") else ""
            ran.images.append(Images(task, size, depth, *_geometry(slices)))
    except (MtbenchError, OSError, ValueError, KeyError):
        # A store that was cleared by hand or written by another version; the table says "not recorded".
        return


def _geometry(slices: Sequence[Slice]) -> tuple[str, str, str]:
    """Window, spacing and thickness of slices, as texts; empty if no slice states them."""
    windows = {(*s.window, s.measure_unit) for s in slices if s.window is not None}
    windows |= {(*window, s.measure_unit) for s in slices for window in s.channel_windows}
    units = sorted({unit for *_, unit in windows})
    window = ""
    if len(windows) == 1:
        low, high, unit = next(iter(windows))
        window = f"{low:g} to {high:g} {unit}".strip()
    elif windows:
        lows, highs = [w[0] for w in windows], [w[1] for w in windows]
        ends = f"lower ends {_span(lows)}, upper ends {_span(highs)}"
        window = f"by volume or slice: {ends} {' or '.join(filter(None, units))}".strip()
    spacings = [value for s in slices if s.spacing is not None for value in s.spacing]
    thicknesses = [s.thickness for s in slices if s.thickness is not None]
    spacing, thickness = (f"{_span(values)} mm" if values else "" for values in (spacings, thicknesses))
    return window, spacing, thickness


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"


def method_rows(ran: Ran) -> list[list[str]]:
    """The methods as lines of the table "What was run"."""
    return [
        [
            m.name,
            m.kind + (f", trained on {m.on}" if m.on else ""),
            m.task,
            "–" if m.seed is None else str(m.seed),
            m.settings or "none",
            m.budget,
            "–" if m.images is None else str(m.images),
            _seconds(m),
            m.checkpoint[:DIGITS] or ("not recorded" if m.trained else "–"),
        ]
        for m in ran.methods
    ]


def _seconds(method: Method) -> str:
    if not method.trained:
        return "–"
    return "reused" if method.seconds is None else f"{method.seconds:.1f}"


def division_rows(ran: Ran) -> list[list[str]]:
    """The divisions as lines: task, domain, and slices with patients by split."""
    return [
        [
            d.task + (f", fold {d.fold}" if d.fold is not None else ""),
            f"{d.role}: {d.domain}",
            *(f"{d.slices.get(split, 0)} ({d.patients.get(split, 0)})" for split in SPLITS),
        ]
        for d in ran.divisions
    ]
