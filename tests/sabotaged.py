"""Plugins with one fault each, loaded as a plugin file; ``test_conformance.py`` says which check must find it."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mtbench

FAULTS = {
    # kind and name: the check that must find the fault
    "translator tanh": "range",
    "translator bytes": "range",
    "translator cropped": "shapes",
    "translator integers": "dtype",
    "translator channelled": "several channels",
    "translator unseeded": "determinism by seed",
    "translator undeclared": "determinism by seed",
    "translator together": "batch size",
    "translator greedy": "inputs unchanged",
    "translator double": "global state",
    "translator moves": "global state",
    "translator divides": "sizes",
    "translator forgetful": "save and load",
    "translator restarts": "resume after a kill",
    "translator lucky": "determinism by seed",
    "translator pushy": "fit",
    "translator mute": "spec",
    "translator unlicensed": "licence and citation",
    "translator crash": "shapes",
    "segmenter logits": "range",
    "segmenter stranger": "range",
    "segmenter overconfident": "confidence",
    "extractor misnamed": "shapes",
    "extractor normalised": "batch size",
    "metric upside-down": "direction",
    "metric one-sided": "symmetry",
    "metric raw": "scale",
    "metric in-place": "inputs unchanged",
    "metric missing-need": "inputs",
    "dataset twins": "leaks",
    "dataset both-sides": "leaks",
    "dataset unlabelled": "masks",
    "dataset shuffled": "determinism by seed",
    "exporter careless": "strange names",
    "exporter dates": "determinism by seed",
    "executor silent": "run",
    "challenge forgiving": "a missing case",
    "challenge upside-down": "ranking",
    "observer sabotaged": "units",
}


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    for name in ("tanh", "bytes", "cropped", "integers", "unseeded", "undeclared", "together", "greedy", "double"):
        yield mtbench.TranslatorSpec(name, ":Faulty", params={"fault": name}, description="faulty")
    for name in ("moves", "divides", "crash", "good"):
        yield mtbench.TranslatorSpec(name, ":Faulty", params={"fault": name}, description="faulty")
    for name in ("forgetful", "restarts", "lucky", "pushy", "trained"):
        yield mtbench.TranslatorSpec(name, ":FaultyFit", params={"fault": name}, trains=True, description="faulty")
    yield mtbench.TranslatorSpec(
        "channelled", ":Faulty", params={"fault": ""}, several_channels=True, description="faulty"
    )
    yield mtbench.TranslatorSpec("mute", ":Faulty", params={"fault": ""})
    yield mtbench.TranslatorSpec(
        "unlicensed", ":Faulty", params={"fault": ""}, weights=("some-file",), description="faulty"
    )


class Faulty:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        import torch

        x = batch.source
        match self.fault:
            case "tanh":
                return x * 2 - 1
            case "bytes":
                return x * 255
            case "cropped":
                return x[..., :-1]
            case "integers":
                return x.round().long()
            case "unseeded":
                return (x + 0.1 * torch.randn(x.shape)).clamp(0, 1)
            case "undeclared":
                return (x + 0.1 * context.noise(batch, tuple(x.shape[1:]))).clamp(0, 1)
            case "together":
                return (x - x.min()) / (x.max() - x.min() + 1e-6)
            case "greedy":
                return x.mul_(0.5)
            case "double":
                torch.set_default_dtype(torch.float64)
            case "moves":
                os.chdir(context.scratch)
            case "divides":
                return x / x.amax((1, 2, 3), keepdim=True)
            case "crash":
                os._exit(3)
            case "hangs":
                time.sleep(600)
        return x


class FaultyFit:
    """Learns a shift in steps, with checkpoints."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.shift = 0.0

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        assert data.target_train is not None
        state = context.checkpoints.restore() if context.checkpoints else None
        first = int(state["step"]) if state else 0
        self.shift = float(state["shift"]) if state and self.fault != "restarts" else 0.0
        rng = np.random.default_rng() if self.fault == "lucky" else context.rng("fit")
        draws = rng.normal(size=6)
        for step in range(first, 6):
            self.shift += 0.01 * float(draws[step])
            if context.checkpoints:
                context.checkpoints.save({"step": step + 1, "shift": self.shift})
            context.progress(step + 1, 6, {})
        if self.fault == "pushy":
            np.asarray(data.target_train.images)[:] = 0

    def save(self, folder: Path) -> None:
        (folder / "shift.txt").write_text("0.0" if self.fault == "forgetful" else repr(self.shift))

    def load(self, folder: Path) -> None:
        self.shift = float((folder / "shift.txt").read_text())

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        return (batch.source + self.shift).clamp(0, 1)


@mtbench.hookimpl
def mtbench_segmenters() -> Iterator[mtbench.SegmenterSpec]:
    yield mtbench.SegmenterSpec("logits", ":FaultySegmenter", params={"fault": "logits"}, description="faulty")
    yield mtbench.SegmenterSpec("stranger", ":FaultySegmenter", params={"fault": "stranger"}, description="faulty")
    yield mtbench.SegmenterSpec("overconfident", ":Overconfident", params={"fault": ""}, description="faulty")
    yield mtbench.SegmenterSpec("threshold", ":FaultySegmenter", params={"fault": ""}, description="good")


class FaultySegmenter:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        self.at = float(data.train.floats().mean())

    def save(self, folder: Path) -> None:
        (folder / "at.txt").write_text(repr(self.at))

    def load(self, folder: Path) -> None:
        self.at = float((folder / "at.txt").read_text())

    def segment(self, images: Any, context: mtbench.Context) -> Any:
        found = images[:, 0] > self.at
        return found.float() if self.fault == "logits" else found.long() * (7 if self.fault == "stranger" else 1)


class Overconfident(FaultySegmenter):
    def segment_with_confidence(self, images: Any, context: mtbench.Context) -> Any:
        return self.segment(images, context), 100 * images[:, 0]


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    for name in ("misnamed", "normalised", "means"):
        yield mtbench.ExtractorSpec(name, ":FaultyExtractor", params={"fault": name}, description="faulty")


class FaultyExtractor:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def extract(self, images: Any, context: mtbench.Context) -> Any:
        values = images.flatten(2).mean(2)
        if self.fault == "normalised":
            values = values - values.mean()
        return {"pooled" if self.fault == "misnamed" else "features": values}


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    both = ("candidate", "reference")
    for name in ("one-sided", "raw", "in-place", "gap"):
        yield mtbench.MetricSpec(
            name, ":FaultyMetric", params={"fault": name}, needs=both, symmetric=True, description="faulty"
        )
    yield mtbench.MetricSpec(
        "upside-down",
        ":FaultyMetric",
        params={"fault": "rough"},
        needs=both,
        higher_is_better=True,
        answers_to=("noise",),
        description="faulty",
    )
    yield mtbench.MetricSpec(
        "missing-need", ":FaultyMetric", params={"fault": ""}, needs=("candidate",), description="faulty"
    )


class FaultyMetric:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        one, other = inputs.candidate, inputs.reference
        assert one is not None
        if self.fault == "raw":
            return mtbench.Score(abs(float(one.images.mean() - other.images.mean())))  # type: ignore[union-attr]
        if self.fault == "rough":
            return mtbench.Score(float(np.abs(np.diff(one.floats(), axis=3)).mean()))
        means = [float(each.floats().mean()) for each in (one, other)]  # type: ignore[union-attr]
        if self.fault == "in-place":
            one.images[:] = 0
        return mtbench.Score(means[0] - means[1] if self.fault == "one-sided" else abs(means[0] - means[1]))


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    domains = frozenset({"source", "target"})
    for name in ("twins", "both-sides", "unlabelled", "shuffled", "clean"):
        yield mtbench.DatasetSpec(
            name,
            ":FaultyDataset",
            params={"fault": name},
            labels={1: "blob", 2: "rim"} if name == "unlabelled" else {1: "blob"},
            masks=domains,
            access="generated",
            description="faulty",
        )


class FaultyDataset:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        rng = np.random.default_rng(None if self.fault == "shuffled" else 0)
        for domain, patient in itertools.product(("source", "target"), rng.permutation(10)):
            seed = 3 if self.fault == "twins" and patient == 4 else patient
            image = np.random.default_rng(int(seed) + 100 * (domain == "target")).uniform(0, 1, (16, 16))
            for index in range(2):
                name = f"{domain}{patient}"
                split = ("train", "test")[index] if self.fault == "both-sides" else ""
                record = mtbench.Slice(f"{name}/{index}", name, name, index, split=split)
                mask = (image > 0.5).astype(np.uint8)
                yield mtbench.Sample(domain, np.roll(image, index, 1), record, mask)  # type: ignore[arg-type]


@mtbench.hookimpl
def mtbench_exporters() -> Iterator[mtbench.ExporterSpec]:
    yield mtbench.ExporterSpec("careless", ":FaultyExporter", ending=".md", params={"fault": ""}, description="faulty")
    yield mtbench.ExporterSpec("dates", ":FaultyExporter", params={"fault": "dates"}, description="faulty")


class FaultyExporter:
    def __init__(self, fault: str) -> None:
        self.fault = fault

    def export(self, table: Any) -> str:
        lines = [str(time.perf_counter_ns())] if self.fault == "dates" else []
        for section in table.sections:
            lines += ["|".join([row.label, *(cell.text for cell in row.cells)]) for row in section.rows]
        return "\n".join([*lines, ""])


@mtbench.hookimpl
def mtbench_challenges() -> Iterator[mtbench.ChallengeSpec]:
    metrics = (mtbench.ChallengeMetric("mae", False),)
    yield mtbench.ChallengeSpec("forgiving", ":FaultyChallenge", metrics=metrics, rule="by MAE", description="faulty")
    yield mtbench.ChallengeSpec(
        "upside-down",
        ":FaultyChallenge",
        metrics=metrics,
        rule="by MAE",
        params={"fault": "upside-down"},
        description="faulty",
    )


class FaultyChallenge:
    """Scores the files that it finds."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def inspect(self, submission: mtbench.Submission) -> mtbench.Inspection:
        from mtbench.challenges.files import last_word, volumes_below

        files = volumes_below(submission.predictions, last_word)
        truth = volumes_below(submission.truth, last_word)
        lost = [f"case {name} is lost" for name in truth if name not in files] if self.fault else []
        cases = (mtbench.ChallengeCase(name, {"prediction": path}) for name, path in files.items())
        return mtbench.Inspection(tuple(cases), tuple(lost))

    def measure(self, case: mtbench.ChallengeCase) -> dict[str, float]:
        return {"mae": 0.0}

    def document(self, scores: Any) -> dict[str, Any]:
        return {}

    def rank(self, teams: Any, metrics: Any) -> mtbench.Ranking:
        totals = {team.name: team.mean("mae") for team in teams}
        return mtbench.Ranking.of(totals, "mean MAE", higher_is_better=self.fault == "upside-down")

    def example(self, folder: Path) -> mtbench.Submission:
        from mtbench.challenges.files import write_volume

        for name in ("predictions/a", "predictions/b", "truth/a", "truth/b"):
            write_volume(folder / f"{name}.nii.gz", np.zeros((4, 4, 4), np.float32))
        return mtbench.Submission(folder / "predictions", folder / "truth")


@mtbench.hookimpl
def mtbench_executors() -> Iterator[mtbench.ExecutorSpec]:
    yield mtbench.ExecutorSpec("silent", ":FaultyExecutor", description="faulty")


class FaultyExecutor:
    """Runs units here, and does not say why one has failed."""

    slots = 1
    limits = False

    def problems(self, device: str) -> list[str]:
        return []

    def start(self, session: Any) -> None:
        self.session, self.ended = session, []

    def submit(self, job: Any) -> None:
        from dataclasses import replace

        self.ended.append(replace(self.session.execute(job), reason=""))

    def wait(self, seconds: float) -> list[Any]:
        ended, self.ended = self.ended, []
        return ended

    def close(self) -> None:
        pass


@mtbench.hookimpl
def mtbench_unit_finished(unit: Any, outcome: Any) -> None:
    outcome.info["seen"] = True
