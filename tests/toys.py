"""Tiny plugins of every kind, copied to a temporary folder and loaded with ``--plugin``. NumPy, and torch when run.

Tests import :func:`toy_suite` for suites of these plugins.

``TOY_LOG`` names a file that gets one line for every call that costs something; ``TOY_FAIL`` makes the calls whose
line holds that text fail; ``TOY_HANG`` makes a fit sleep (``TOY_HANG_SECONDS``, or a minute) after it has made the file
of that name.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mtbench

LABELS = {1: "blob"}
DOMAINS = frozenset({"source", "target"})


def record(line: str) -> None:
    """Note a call; fail where the test asks for it."""
    if os.environ.get("TOY_LOG"):
        with Path(os.environ["TOY_LOG"]).open("a") as file:
            file.write(line + "\n")
    if os.environ.get("TOY_FAIL") and os.environ["TOY_FAIL"] in line:
        raise ValueError(f"asked to fail at {line}")


def toy_suite(
    *settings: str,
    translators: Sequence[str] = ("toy-same", "toy-shift"),
    metrics: Sequence[str] = ("toy-overlap", "toy-gap"),
) -> str:
    """A suite of the data set ``toy``; ``settings`` are lines of ``[suite]``, ``toy-overlap`` brings a segmenter."""
    segmenters = ("toy-threshold",) if "toy-overlap" in metrics else ()
    entries = {"translators": translators, "segmenters": segmenters, "metrics": metrics}
    lines = ["", "[suite]", 'name = "toy"', *settings, "[[datasets]]", 'name = "toy"']
    lines += [line for kind, names in entries.items() for name in names for line in (f"[[{kind}]]", f'name = "{name}"')]
    return "\n".join([*lines, ""])


SUITE = toy_suite()


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    sizes = {"patients": 6, "slices": 2, "size": 16}
    yield mtbench.DatasetSpec("toy", ":Toy", params=sizes, source="dim", target="bright", labels=LABELS, masks=DOMAINS)
    yield mtbench.DatasetSpec("toy-bare", ":Bare", params=sizes)
    yield mtbench.DatasetSpec("toy-paired", ":Paired", params=sizes, labels=LABELS, masks=DOMAINS, paired=True)
    yield mtbench.DatasetSpec("toy-two-sides", ":TwoSides", params=sizes, labels=LABELS, masks=DOMAINS)
    yield mtbench.DatasetSpec(
        "toy-files", ":Files", labels=LABELS, masks=DOMAINS, needs_root=True, obtain="Ask the test for them"
    )
    yield mtbench.DatasetSpec("toy-odd", ":Odd", params={"mode": "fine"}, labels=LABELS, masks=DOMAINS)


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    yield mtbench.TranslatorSpec("toy-same", ":Same")
    yield mtbench.TranslatorSpec("toy-shift", ":Shift", params={"by": 1.0}, trains=True, shorthand="by")
    yield mtbench.TranslatorSpec("toy-fixed", ":Shift", params={"by": 1.0}, trains=True, deterministic=True)
    yield mtbench.TranslatorSpec(
        "toy-steps", ":Steps", params={"steps": 8, "stop_at": 0}, trains=True, keeps_checkpoints=True
    )
    yield mtbench.TranslatorSpec("toy-noisy", ":Noisy", stochastic=True)
    yield mtbench.TranslatorSpec("toy-greedy", ":Greedy", params={"room": 2}, stochastic=True, shorthand="room")
    yield mtbench.TranslatorSpec("toy-masked", ":Masked", conditional=True)
    yield mtbench.TranslatorSpec(
        "toy-noted",
        ":Noted",
        params={"weights": mtbench.Param(None, kind="path")},
        trains=True,
        notes=lambda params: "Its weights are not for sale." if params["weights"] else "",
    )
    yield mtbench.TranslatorSpec("toy-never", ":Same", supports=lambda task: "it never takes part")
    yield mtbench.TranslatorSpec("toy-asks-wrong", ":Same", supports=lambda task: task.no_such_field)  # type: ignore[attr-defined]
    yield mtbench.TranslatorSpec("toy-odd", ":OddTranslator", params={"mode": "fine"})
    yield mtbench.TranslatorSpec(
        "toy-folder", ":Same", params={"folder": mtbench.Param(None, kind="path")}, shorthand="folder"
    )


@mtbench.hookimpl
def mtbench_segmenters() -> Iterator[mtbench.SegmenterSpec]:
    yield mtbench.SegmenterSpec("toy-threshold", ":Threshold", arrays=("blocks",))


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    yield mtbench.ExtractorSpec("toy-blocks", ":Blocks", arrays=("blocks",))
    yield mtbench.ExtractorSpec("toy-learnt", ":Learnt", params={"by": 1.0}, arrays=("blocks",), trains=True)
    yield mtbench.ExtractorSpec("toy-of-segmenter", arrays=("blocks",), of_segmenter=True, caveat="circular")


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    yield mtbench.MetricSpec(
        "toy-overlap",
        ":Overlap",
        needs=("predicted_masks", "reference_masks"),
        higher_is_better=True,
        family="segmentation",
    )
    yield mtbench.MetricSpec(
        "toy-gap",
        ":Gap",
        params={"power": 1},
        needs=(
            mtbench.Features("candidate", "toy-blocks", ("blocks",)),
            mtbench.Features("reference", "toy-blocks", ("blocks",)),
        ),
        balanced=True,
    )
    yield mtbench.MetricSpec(
        "toy-distance",
        ":Gap",
        params={"extractor": "toy-learnt", "power": 1},
        shorthand="extractor",
        needs=lambda params: (
            mtbench.Features("candidate", params["extractor"], ("blocks",)),
            mtbench.Features("reference", params["extractor"], ("blocks",)),
        ),
        variant=lambda params: params["extractor"],
        balanced=True,
    )
    yield mtbench.MetricSpec("toy-mean", ":Mean", needs=("candidate",))
    yield mtbench.MetricSpec("toy-error", ":PairedError", needs=("candidate", "paired"), family="paired")
    yield mtbench.MetricSpec(
        "toy-change",
        ":Change",
        needs=("candidate", "source", mtbench.Features("training", "toy-blocks", ("blocks",))),
        caveat="not a quality",
    )
    yield mtbench.MetricSpec("toy-odd", ":OddMetric", params={"mode": "fine"}, needs=("candidate",))


def blob(rng: np.random.Generator, size: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A textured background with one brighter square, and its mask."""
    image = rng.uniform(0.1, 0.3, (size, size))
    mask = np.zeros((size, size), np.uint8)
    row, column = rng.integers(1, size // 2, 2)
    mask[row : row + size // 2, column : column + size // 2] = 1
    image[mask == 1] += 0.3
    return image, mask


class Toy:
    """Both domains with masks; the target is brighter."""

    def __init__(self, patients: int, slices: int, size: int) -> None:
        self.patients, self.slices, self.size = patients, slices, size

    def samples(self, domain: Any) -> Iterator[mtbench.Sample]:
        for patient in range(self.patients):
            rng = np.random.default_rng([domain == "target", patient])
            for index in range(self.slices):
                image, mask = blob(rng, self.size)
                name = f"{domain[0]}{patient}"
                record_ = mtbench.Slice(f"{name}-{index}", name, name, index)
                bright = image + 0.3 if domain == "target" else image
                yield mtbench.Sample(domain, bright, record_, mask)

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        record("prepare")
        yield from self.samples("source")
        yield from self.samples("target")


class Bare(Toy):
    """Without masks."""

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        for sample in super().prepare(root, context):
            yield mtbench.Sample(sample.domain, sample.image, sample.slice)


class Paired(Toy):
    """With the truth of each source slice."""

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        yield from super().prepare(root, context)
        for sample in self.samples("source"):
            yield mtbench.Sample("paired", sample.image + 0.3, sample.slice)


class TwoSides(Toy):
    """Its own split puts each patient on all sides."""

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        import dataclasses

        sides = ("train", "validation", "test")
        for position, sample in enumerate(super().prepare(root, context)):
            moved = dataclasses.replace(sample.slice, split=sides[position % 3])
            yield dataclasses.replace(sample, slice=moved)


class Files:
    """``DOMAIN/PATIENT_INDEX.npy``, float images; the blob is what ``.mask`` says, else what exceeds the mean."""

    def files(self, root: Path) -> Iterable[Path]:
        record("files")
        return sorted(root.glob("*/*"))

    def prepare(self, root: Path, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        record("prepare")
        for path in sorted(root.glob("*/*.npy")):
            image = np.load(path)
            patient, _, index = path.stem.partition("_")
            where = mtbench.Slice(path.stem, patient, patient, int(index), file=path.name)
            drawn = path.with_suffix(".mask")
            mask = np.load(drawn) if drawn.exists() else (image > image.mean()).astype(np.uint8)
            yield mtbench.Sample(path.parent.name, image, where, mask)  # type: ignore[arg-type]


class Odd(Toy):
    """One sample that cannot be used; ``mode`` says what is wrong with it."""

    def __init__(self, mode: str) -> None:
        super().__init__(6, 2, 16)
        self.mode = mode

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[Any]:
        import dataclasses

        samples: list[Any] = list(super().prepare(root, context))
        first = samples[3]
        image, mask = np.array(first.image), np.array(first.mask)
        if self.mode == "size":
            image = image[:12]
        elif self.mode == "nan":
            image[2, 2] = np.nan
        elif self.mode == "channels":
            image = np.stack([image] * 3)
        elif self.mode == "range":
            image = image * 255
        elif self.mode == "label":
            mask[0, 0] = 7
        elif self.mode == "mask-size":
            mask = mask[:12]
        changed = {
            "no-mask": lambda: dataclasses.replace(first, mask=None),
            "twice": lambda: samples[2],
            "nobody": lambda: dataclasses.replace(first, slice=dataclasses.replace(first.slice, patient_id="")),
            "number": lambda: dataclasses.replace(first, slice=dataclasses.replace(first.slice, patient_id=7)),
            "type": lambda: image,
            "record": lambda: dataclasses.replace(first, slice="s1-1"),  # type: ignore[arg-type]
            "empty": lambda: dataclasses.replace(first, image=image[:0]),
            "domain": lambda: dataclasses.replace(first, domain="sauce"),
        }
        samples[3] = changed.get(self.mode, lambda: dataclasses.replace(first, image=image, mask=mask))()
        yield from samples[11:] if self.mode == "one" else samples


class Same:
    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        return batch.source


class Shift:
    """Learns the difference of the domains' means, and adds it ``by`` times."""

    def __init__(self, by: float) -> None:
        self.by = by

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        record(f"fit shift by={self.by:g} seed={context.seed}")
        if os.environ.get("TOY_HANG"):
            Path(os.environ["TOY_HANG"]).touch()
            time.sleep(float(os.environ.get("TOY_HANG_SECONDS", "60")))
        assert data.source_train is not None
        assert data.target_train is not None
        self.step = float(data.target_train.floats().mean() - data.source_train.floats().mean())
        self.step += context.seed / 100

    def save(self, folder: Path) -> None:
        np.save(folder / "step.npy", self.step)

    def load(self, folder: Path) -> None:
        self.step = float(np.load(folder / "step.npy"))

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        record(f"translate shift by={self.by:g}")
        return (batch.source + self.by * self.step).clamp(0, 1)


class Steps:
    """Adds a number that starts at 0 and grows by 1/32 with each of its training ``steps``."""

    def __init__(self, steps: int, stop_at: int) -> None:
        self.steps, self.stop_at = steps, stop_at

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        import torch

        from mtbench.training import Budget, Recipe, UnpairedSampler, train

        record(f"fit steps seed={context.seed}")
        self.network = torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(self.network.bias)
        stop_at = self.stop_at

        class Rising(Recipe):
            def step(self, step: Any) -> None:
                if step.moment.step == stop_at and os.environ.get("TOY_KILL"):
                    raise KeyboardInterrupt
                step.update("net", lambda part: {"rise": -self.networks["net"].bias.sum()})

        recipe = Rising({"net": self.network}, {"net": torch.optim.SGD([self.network.bias], 1 / 32)})
        assert data.source_train is not None
        assert data.target_train is not None
        sampler = UnpairedSampler(data.source_train, data.target_train)
        train(recipe, sampler, context, Budget(steps=self.steps), save=self.save)

    def save(self, folder: Path) -> None:
        np.save(folder / "added.npy", self.network.bias.detach().numpy())

    def load(self, folder: Path) -> None:
        self.added = float(np.load(folder / "added.npy")[0])

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        return (batch.source + self.added).clamp(0, 1)


class Noted(Shift):
    """Says what it left out."""

    def __init__(self, weights: str | None) -> None:
        super().__init__(1.0)
        self.weights = weights

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        super().fit(data, context)
        context.remark("Trained without its best loss.")


class Noisy:
    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        return (batch.source + 0.05 * context.noise(batch, tuple(batch.source.shape[1:]))).clamp(0, 1)


class Greedy(Noisy):
    """Draws noise, and then finds that there is room for so many images only."""

    def __init__(self, room: int) -> None:
        self.room = room

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        import torch

        output = super().translate(batch, context)
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("out of memory (simulated)")
        return output


class Masked:
    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        assert batch.masks is not None
        return (batch.masks[:, None] * 0.3 + 0.5).float()


class OddTranslator:
    """Breaks the contract as ``mode`` says."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        if mode == "refuses":
            raise ValueError("it does not like this mode")

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        wrong = {
            "shape": lambda: batch.source[..., :-1],
            "nan": lambda: batch.source / 0 * 0,
            "numpy": lambda: batch.source.numpy(),
            "raises": lambda: {}["it has no such key"],
            "wide": lambda: batch.source * 3 - 1,
            "exits": lambda: exit(3),
        }
        return wrong.get(self.mode, lambda: batch.source)()


class Threshold:
    """Halfway between the mean inside and the mean outside the mask."""

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        record(f"fit threshold on {data.train.domain}")
        images, masks = data.train.floats()[:, 0], np.asarray(data.train.masks)
        self.at = float(images[masks == 1].mean() + images[masks == 0].mean()) / 2
        guess, true = data.validation.floats()[:, 0] > self.at, np.asarray(data.validation.masks) == 1
        self.dice = float((2 * (guess & true).sum((1, 2)) / (guess.sum((1, 2)) + true.sum((1, 2)))).mean())

    def save(self, folder: Path) -> None:
        np.save(folder / "at.npy", self.at)
        (folder / "validation.json").write_text(json.dumps({"blob": self.dice}))

    def load(self, folder: Path) -> None:
        self.at = float(np.load(folder / "at.npy"))

    def segment(self, images: Any, context: mtbench.Context) -> Any:
        return (images[:, 0] > self.at).long()

    def extract(self, images: Any, context: mtbench.Context) -> Any:
        import torch

        return {"blocks": torch.nn.functional.avg_pool2d(images - self.at, 4).flatten(1)}


class Blocks:
    """Means of 4 x 4 blocks."""

    def extract(self, images: Any, context: mtbench.Context) -> Any:
        import torch

        record("extract")
        return {"blocks": torch.nn.functional.avg_pool2d(images, 4).flatten(1)}


class Learnt:
    """Means of 4 x 4 blocks, less ``by`` times the mean training slice, plus the seed."""

    def __init__(self, by: float) -> None:
        self.by = by

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        record(f"fit learnt on {data.train.domain}")
        assert data.train.masks is None
        self.mean = self.by * data.train.floats().mean(0) + context.seed

    def save(self, folder: Path) -> None:
        np.save(folder / "mean.npy", self.mean)

    def load(self, folder: Path) -> None:
        self.mean = np.load(folder / "mean.npy")

    def extract(self, images: Any, context: mtbench.Context) -> Any:
        import torch

        changed = (images - torch.from_numpy(self.mean)) ** 2
        return {"blocks": torch.nn.functional.avg_pool2d(changed, 4).flatten(1)}


class Overlap:
    """Dice by slice."""

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        record("score overlap")
        assert inputs.predicted_masks is not None
        assert inputs.reference_masks is not None
        assert inputs.candidate is not None
        guess, true = np.asarray(inputs.predicted_masks) == 1, np.asarray(inputs.reference_masks) == 1
        values = 2 * (guess & true).sum((1, 2)) / (guess.sum((1, 2)) + true.sum((1, 2)))
        ids = tuple(s.slice_id for s in inputs.candidate.slices)
        cases = mtbench.Cases("slice", ids, inputs.candidate.patients, values)
        return mtbench.Score(float(values.mean()), "blob", cases)


class Gap:
    """Distance of the mean features."""

    def __init__(self, power: int, extractor: str = "") -> None:
        self.power = power

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        record("score gap")
        one, two = (inputs.features[side]["blocks"] for side in ("candidate", "reference"))
        assert len(one) == len(two)
        return mtbench.Score(float((np.abs(one.mean(0) - two.mean(0)) ** self.power).mean()))


class Mean:
    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        record("score mean")
        assert inputs.candidate is not None
        return mtbench.Score(float(inputs.candidate.floats().mean()))


class Change:
    """How much brighter the candidates are than their source slices, plus the number of training slices."""

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        assert inputs.candidate is not None
        assert inputs.source is not None
        assert inputs.training is not None
        assert len(inputs.training) == len(inputs.features["training"]["blocks"])
        change = float((inputs.candidate.floats() - inputs.source.floats()).mean())
        return mtbench.Score(change + len(inputs.training))


class PairedError:
    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        assert inputs.candidate is not None
        assert inputs.paired is not None
        assert [s.slice_id for s in inputs.candidate.slices] == [s.slice_id for s in inputs.paired.slices]
        return mtbench.Score(float(np.abs(inputs.candidate.floats() - inputs.paired.floats()).mean()))


class OddMetric:
    """Gives what ``mode`` says."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> Any:
        ragged = mtbench.Cases("slice", ("a", "b", "c"), ("a", "b"), np.array([1.0]))
        numbered = mtbench.Cases("slice", (1, 2), ("a", "b"), np.array([0.5, 0.5]))  # type: ignore[arg-type]
        wrong = {
            "nan": lambda: mtbench.Score(float("nan")),
            "none": lambda: None,
            "number": lambda: 3.0,
            "text": lambda: mtbench.Score("three"),  # type: ignore[arg-type]
            "ragged": lambda: mtbench.Score(1.0, cases=ragged),
            "float32": lambda: mtbench.Score(np.float32(0.5)),  # type: ignore[arg-type]
            "label": lambda: mtbench.Score(0.5, label=1),  # type: ignore[arg-type]
            "interval": lambda: mtbench.Score(0.5, ci=(0.4,)),  # type: ignore[arg-type]
            "ids": lambda: mtbench.Score(0.5, cases=numbered),
            "log": lambda: context.log.append(5) or mtbench.Score(0.5),  # type: ignore[arg-type, func-returns-value]
        }
        return wrong.get(self.mode, lambda: mtbench.Score(0.5))()
