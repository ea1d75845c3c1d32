"""Feature networks that are trained in the suite: their units, their place in tables, and the built-in ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import toy_suite

import mtbench
from mtbench.compute.checkpoints import Checkpoints
from mtbench.engine.origin import _training_columns
from mtbench.plan import Plan, make_plan
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.stages.table import TARGET_TRAIN
from mtbench.stages.unit import Unit
from mtbench_plugins.extractors.self_supervised import SelfSupervised, vicreg
from mtbench_plugins.segmenters.unet_lab import LabUNetSegmenter
from mtbench_plugins.segmenters.unet_model import UNetSegmenter

TASK = mtbench.Task("toy", labels={1: "disc"}, masks=frozenset({"target"}))


def suite(*extractors: str, segmenter: bool = True) -> str:
    metrics = [f'[[metrics]]\nname = "toy-distance"\nparams.extractor = "{name}"\n' for name in extractors]
    text = toy_suite(metrics=("toy-overlap",)) + "".join(metrics)
    return text if segmenter else text.replace('[[segmenters]]\nname = "toy-threshold"\n', "")


def plan(toys: Path, text: str, *settings: str) -> Plan:
    return make_plan(parse_suite(text, "toy.toml", toys.parent, settings), discover([toys]))


def units(graph: Plan, stage: str, plugin: str) -> list[Unit]:
    return [unit for unit in graph.units.values() if (unit.stage, unit.plugin) == (stage, plugin)]


# -- the graph


def test_one_fit_on_the_target_feeds_all_extractions(toys: Path) -> None:
    graph = plan(toys, suite("toy-learnt"))
    (fit,) = units(graph, "fit", "toy-learnt")
    assert set(fit.inputs) == {"data", "split"}
    assert fit.options.to_json() == {"domains": ["target"]}  # no masks
    extractions = units(graph, "extract", "toy-learnt")
    assert len(extractions) == 4  # two translators, target test slices, and for the floor training slices
    assert {unit.inputs["fit"] for unit in extractions} == {fit.key}
    rows = [row for row in graph.rows if row.columns["metric"] == "toy-distance"]
    assert {(row.columns["segmenter"], row.columns["segmenter_seed"], row.fits[-1]) for row in rows} == {
        ("", None, fit.key)
    }


def test_the_segmenter_extracts_with_the_fit_that_dice_uses(toys: Path) -> None:
    graph = plan(toys, suite("toy-of-segmenter"))
    (fit,) = (unit for unit in units(graph, "fit", "toy-threshold") if unit.options.to_json()["domains"] == ["target"])
    extractions = units(graph, "extract", "toy-threshold")
    assert {(unit.kind, unit.inputs["fit"]) for unit in extractions} == {("segmenter", fit.key)}
    (row,) = (
        row for row in graph.rows if (row.columns["metric"], row.columns["translator"]) == ("toy-distance", "toy-same")
    )
    assert (row.columns["segmenter"], row.columns["segmenter_seed"]) == ("toy-threshold", 0)
    assert (row.columns["extractor"], row.columns["caveat"]) == ("toy-of-segmenter", "circular")
    assert row.fits == (fit.key,)


@pytest.mark.parametrize(
    ("extractor", "dataset", "segmenter", "reason"),
    [
        ("toy-of-segmenter", "toy", False, "the suite names no segmenter"),
        ("toy-of-segmenter", "toy-bare", True, "the target domain has no masks to train a segmenter on"),
        ("toy-deeper", "toy", True, "segmenter 'toy-threshold' offers no depth for 'toy-deeper'"),
        ("toy-learnt", "toy-bare", False, ""),
    ],
)
def test_a_row_that_cannot_be_computed_has_the_reason(
    toys: Path, extractor: str, dataset: str, segmenter: bool, reason: str
) -> None:
    if extractor == "toy-deeper":
        more = f'    yield mtbench.ExtractorSpec("{extractor}", arrays=("blocks", "depth"), of_segmenter=True)\n'
        hook = "def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:\n"
        toys.write_text(toys.read_text().replace(hook, hook + more))
    text = suite(extractor, segmenter=segmenter).replace('name = "toy"\n[[tr', f'name = "{dataset}"\n[[tr')
    rows = [row for row in plan(toys, text).rows if row.columns["metric"] == "toy-distance"]
    assert {row.skipped for row in rows} == {reason}


def test_training_slices_are_of_the_column_and_the_floors_own_images_of_the_row(toys: Path) -> None:
    graph = plan(toys, suite("toy-learnt", "toy-of-segmenter"))
    for plugin, column in (("toy-learnt", "metric_training_sha256"), ("toy-threshold", "segmenter_training_sha256")):
        assert {c for unit in units(graph, "fit", plugin) for c in _training_columns(unit, TARGET_TRAIN, True)} == {
            column
        }
        unit = units(graph, "extract", plugin)[0]
        assert _training_columns(unit, TARGET_TRAIN, True) == ["training_sha256"]
        assert _training_columns(unit, TARGET_TRAIN, False) == ["metric_training_sha256"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('"odd", ":Learnt", of_segmenter=True', "of_segmenter together with a factory"),
        ('"odd", params={"by": 1}, of_segmenter=True', "of_segmenter together with a factory"),
        ('"odd"', "it has no factory"),
    ],
)
def test_a_spec_that_contradicts_itself(toys: Path, more: str, message: str) -> None:
    toys.write_text(toys.read_text().replace('"toy-of-segmenter", arrays=("blocks",), of_segmenter=True', more))
    (plugin,) = (plugin for plugin in discover([toys]).plugins if plugin.path)
    assert plugin.problem
    assert message in plugin.problem


# -- a run


@pytest.fixture
def files(toys: Path) -> Path:
    """A data set of files: as many source as target slices."""
    for domain in ("source", "target"):
        folder = toys.parent / "images" / domain
        folder.mkdir(parents=True)
        for patient in range(8):
            image = np.random.default_rng([len(domain), patient, domain == "target"]).uniform(0.1, 0.6, (16, 16))
            np.save(folder / f"{domain[0]}{patient}_0.npy", image)
    text = toy_suite("references = false", translators=("toy-same",), metrics=())
    text = text.replace("[[translators]]", 'plugin = "toy-files"\nroot = "images"\nsplit.by = "seed"\n[[translators]]')
    (toys.parent / "toy.toml").write_text(text + '[[metrics]]\nname = "toy-distance"\n')
    return toys


def ran(run_cli: Any, toys: Path, out: str, *more: str) -> dict[str, Any]:
    options = ("--plugin", toys, "--device", "cpu", "--executor", "inline", "--out", out)
    done = run_cli("run", "toy.toml", *options, *more)
    assert done.code == 0, done.err
    (row,) = mtbench.load(out).to_pylist()
    return dict(row)


def newest(store: Path, stage: str, file: str) -> Path:
    return max((store / "artefacts" / stage).glob(f"*/*/{file}"), key=lambda path: path.stat().st_mtime_ns)


def by_hand(store: Path) -> float:
    """The distance of the mean features of source and target test slices, from the prepared images."""
    sides = json.loads(newest(store, "split", "split.json").read_text())["sides"]

    def images(domain: str, split: str) -> Any:
        stored = np.load(newest(store, "prepare", f"images-{domain}.npy"))
        assert stored.dtype == np.uint8
        return stored[[each == split for each in sides[domain]]].astype(np.float64) / 255

    mean = images("target", "train").mean(0)
    blocks = [((images(d, "test") - mean) ** 2).reshape(-1, 4, 4, 4, 4).mean((2, 4)) for d in ("source", "target")]
    return float(np.abs(blocks[0].mean(0) - blocks[1].mean(0)).mean())


def test_a_run_trains_it_once_and_again_if_training_slices_change(
    files: Path, run_cli: Any, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    first = ran(run_cli, files, "a")
    assert first["value"] == pytest.approx(by_hand(store), rel=1e-4)
    assert first["metric_training_sha256"]
    assert json.loads(first["metric_version"])["toy-learnt fit stage"]
    assert ran(run_cli, files, "b", "--set", "segmenter_seed=2")["value"] != pytest.approx(first["value"])
    assert ran(run_cli, files, "c")["value"] == first["value"]
    assert log.read_text().split("\n").count("fit learnt on target") == 2  # one for each seed
    sides = json.loads(newest(store, "split", "split.json").read_text())["sides"]["target"]
    changed = files.parent / "images" / "target" / f"t{sides.index('train')}_0.npy"
    np.save(changed, 0.9 - np.load(changed))
    other = ran(run_cli, files, "d")
    assert other["value"] == pytest.approx(by_hand(store), rel=1e-4)
    assert other["value"] != pytest.approx(first["value"], rel=1e-4)
    assert other["metric_training_sha256"] != first["metric_training_sha256"]
    assert log.read_text().split("\n").count("fit learnt on target") == 3


def test_without_training_slices_its_metrics_are_refused(run: Any, run_cli: Any, toys: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            np.save(tmp_path / name / f"{index}.npy", np.full((16, 16), 0.1 * index))
    ran = run_cli("score", "a", "b", "-m", "toy-distance", "--plugin", toys, "--device", "cpu")
    assert ran.code == 2
    assert "extractor 'toy-learnt' is trained on the target's training slices. Run the metric in a suite" in ran.err
    assert run("-t", "toy-same", suite=suite("toy-learnt")).code == 0
    made = run_cli("kit", "mtbench-results/toy", "-o", "kit")
    assert made.code == 0, made.err
    judges = json.loads((tmp_path / "kit" / "kit.json").read_text())["judges"]
    lacks = {judge["plugin"]: judge.get("lacks", "") for judge in judges}
    assert "a network that was trained on target images" in lacks["toy-distance"]
    assert not lacks["toy-overlap"]


# -- segmenters of mtbench


@pytest.mark.parametrize("of", [UNetSegmenter, LabUNetSegmenter])
def test_features_of_a_segmenter_are_the_mean_of_its_lowest_level(of: Any) -> None:
    model = of(filters=4, levels=3, epochs=1)
    model.fit(mtbench.TrainingData(TASK, target_train=discs(6), target_validation=discs(0)), context())
    (network,) = model.networks.values()
    lowest = network.down[-1] if of is LabUNetSegmenter else network.model[1].submodule[1].submodule
    seen: list[torch.Tensor] = []
    lowest.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = discs(5).tensor()
    features = model.extract(images, context())["features"]
    model.segment(images, context())
    torch.testing.assert_close(features, seen[-1].mean(dim=(2, 3)))
    assert features.shape == (5, 16)


# -- the self-supervised encoder


def discs(n: int, side: int = 32) -> mtbench.ImageSet:
    """Discs of several sizes on noise; one slice a patient."""
    rng = np.random.default_rng(n)
    rows, columns = np.mgrid[:side, :side] / side
    radii = np.linspace(0.1, 0.4, max(n, 1))[:n]
    masks = np.array([np.hypot(rows - 0.5, columns - 0.5) < r for r in radii], np.uint8).reshape(n, side, side)
    images = np.rint(60 + 120 * masks + rng.normal(0, 8, masks.shape)).clip(0, 255).astype(np.uint8)
    slices = tuple(mtbench.Slice(f"s{i}", f"p{i}", f"c{i}") for i in range(n))
    return mtbench.ImageSet(images, slices, masks, TASK, "target", "train")


def context(**more: Any) -> mtbench.Context:
    return mtbench.Context(task=TASK, seed=3, threads=1, batch_size=4, **more)


def encoder(images: mtbench.ImageSet, seed: int = 3, **more: Any) -> SelfSupervised:
    model = SelfSupervised(size=16, width=4, steps=12, batch_size=8)
    data = mtbench.TrainingData(TASK, target_train=replace(images, masks=None))
    model.fit(data, replace(context(**more), seed=seed))
    return model


def test_the_loss_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    one, two = (rng.normal(0, 0.7, (7, 5)).astype(np.float32) for _ in range(2))
    terms = {name: float(value) for name, value in vicreg(torch.from_numpy(one), torch.from_numpy(two)).items()}
    assert terms["invariance"] == pytest.approx(25 * ((one - two) ** 2).mean(), rel=1e-5)
    hinges = [np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in (one, two)]
    assert terms["variance"] == pytest.approx(25 * sum(hinges) / 2, rel=1e-5)
    products = [np.cov(z.T) for z in (one, two)]
    off = [(c**2).sum() - (np.diag(c) ** 2).sum() for c in products]
    assert terms["covariance"] == pytest.approx(sum(off) / 5, rel=1e-5)


def test_the_same_seed_gives_the_same_encoder_and_another_seed_another(tmp_path: Path) -> None:
    images = discs(12)
    one, other, third = encoder(images), encoder(images), encoder(images, seed=4)
    features = [model.extract(images.tensor(), context())["features"] for model in (one, other, third)]
    assert torch.equal(features[0], features[1])
    assert not torch.allclose(features[0], features[2])
    one.save(tmp_path)
    loaded = SelfSupervised(size=16, width=4)
    loaded.load(tmp_path)
    torch.testing.assert_close(loaded.extract(images.tensor(), context())["features"], features[0])
    with pytest.raises(mtbench.WeightsError, match="the same width"):
        SelfSupervised(size=16, width=8).load(tmp_path)


def test_a_killed_fit_ends_with_the_same_encoder(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int, figures: Any) -> None:
        if any(tmp_path.iterdir()):
            raise Killed

    images = discs(12)
    whole = encoder(images).extract(images.tensor(), context())["features"]
    checkpoints: Callable[[], Checkpoints] = lambda: Checkpoints(tmp_path, every_seconds=0.0)  # noqa: E731
    with pytest.raises(Killed):
        encoder(images, checkpoints=checkpoints(), progress=kill)
    resumed = encoder(images, checkpoints=checkpoints())
    torch.testing.assert_close(resumed.extract(images.tensor(), context())["features"], whole)


def test_it_learns_to_tell_slices_apart() -> None:
    images = discs(24)
    model = SelfSupervised(size=32, width=8, steps=60, batch_size=24)
    model.fit(mtbench.TrainingData(TASK, target_train=replace(images, masks=None)), context())
    features = model.extract(images.tensor(), context())["features"].numpy()
    # The main direction of the features follows the radius, which no label told it.
    centred = features - features.mean(0)
    first = np.linalg.svd(centred, full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(first, np.arange(24))[0, 1]) > 0.9


def test_one_training_slice_is_refused() -> None:
    with pytest.raises(mtbench.DataError, match="at least two"):
        encoder(discs(1))
