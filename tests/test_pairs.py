"""Paired training: pairs in every split, whole patients, one augmentation for both, and what happens without pairs."""

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

from mtbench import DataError, ImageSet, Slice, Task, TrainingData
from mtbench.data import SPLITS
from mtbench.errors import PluginError
from mtbench.formats import Geometry
from mtbench.formats.framing import Frame
from mtbench.plan import make_plan
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.registry.specs import DatasetSpec
from mtbench.stages.pairs import unpaired, unusable
from mtbench.stages.split import assign
from mtbench.stages.table import SplitOptions, Subset, reads
from mtbench.training import AlignedSampler, chain, flip, resize_crop

PLUGIN = '''
import json
import os
from pathlib import Path

import numpy as np

import mtbench

NAMES = [f"{patient}-{index}" for patient in "abcdefgh" for index in range(2)]


@mtbench.hookimpl
def mtbench_datasets():
    for name, training in (("twins", True), ("strangers", False)):
        yield mtbench.DatasetSpec(
            name, ":Twins", params={"missing": "", "moved": ""}, paired=True, paired_training=training
        )


@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("by-pairs", ":Noting", params={"pairs": True}, trains=True, paired=True)
    yield mtbench.TranslatorSpec("by-domains", ":Noting", params={"pairs": False}, trains=True)


class Twins:
    """Eight patients of two slices; a target slice is its source, inverted. Each image holds its own number."""

    def __init__(self, missing, moved):
        self.missing, self.moved = missing, moved

    def prepare(self, root, context):
        for number, name in enumerate(NAMES):
            record = mtbench.Slice(name, name[0], name[0], int(name[-1]), (1.0, 1.0))
            image = np.full((8, 8), (number + 1) / 32)
            image[0, 0] = 0.9
            yield mtbench.Sample("source", image, record)
            spacing = (1.0, 2.0) if name == self.moved else (1.0, 1.0)
            if name != self.missing:
                record = mtbench.Slice(f"t{name}", name[0], name[0], record.index, spacing, partner=name)
                yield mtbench.Sample("target", 1 - image, record)


class Noting:
    """Writes down which slices its fit has seen."""

    def __init__(self, pairs):
        self.pairs = pairs

    def fit(self, data, context):
        if self.pairs:
            source, target = data.pairs()
            assert data.target_train is None
            assert np.allclose(source.floats(), 1 - target.floats(), atol=0.01)
            data.pairs("validation")
        else:
            source, target = data.source_train, data.target_train
            assert data.paired_train is None
        self.seen = [[s.slice_id for s in side.slices] + [s.partner for s in side.slices] for side in (source, target)]

    def save(self, folder):
        (folder / "seen.json").write_text(json.dumps(self.seen))

    def load(self, folder):
        pass

    def translate(self, batch, context):
        return 1 - batch.source


@mtbench.hookimpl
def mtbench_metrics():
    yield mtbench.MetricSpec("error", ":Error", needs=("candidate", "paired"), family="paired")


class Error:
    def compute(self, inputs, context):
        return mtbench.Score(float(np.abs(inputs.candidate.floats() - inputs.paired.floats()).max()))
'''
SUITE = """
[suite]
name = "pairs"
[[datasets]]
name = "{data}"
params = {{ {params} }}
split = {{ {split} }}
[[translators]]
name = "by-pairs"
[[translators]]
name = "by-domains"
[[metrics]]
name = "error"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Write the suite and its plugins."""
    (tmp_path / "twins.py").write_text(PLUGIN)

    def write(params: str = "", data: str = "twins") -> Path:
        (tmp_path / "suite.toml").write_text(SUITE.format(params=params, data=data, split='by = "seed"'))
        return tmp_path / "suite.toml"

    return write


def sides_of(store: Path) -> dict[str, list[str]]:
    """The sides of all slices by domain."""
    (file,) = store.glob("artefacts/split/*/*/split.json")
    sides: dict[str, list[str]] = json.loads(file.read_text())["sides"]
    return sides


def seen(tmp_path: Path) -> list[tuple[list[str], list[str], list[str]]]:
    """Of each fit the slices of its two sides, and the partners that the second one names."""
    found = []
    for file in sorted(tmp_path.glob("store/artefacts/fit/*/*/seen.json")):
        source, target = json.loads(file.read_text())
        half = len(target) // 2
        found.append((source[: len(source) // 2], target[:half], target[half:]))
    return found


def test_pairs_are_in_every_split_and_unpaired_models_see_them_apart(suite: Any, run_cli: Any, tmp_path: Path) -> None:
    ran = run_cli("run", suite(), "--plugin", tmp_path / "twins.py", "--store", tmp_path / "store")
    assert ran.code == 0, ran.err
    sides = sides_of(tmp_path / "store")
    assert sides["source"] == sides["target"] == sides["paired"]
    assert set(sides["source"]) == {"train", "validation", "test"}
    by_patient = list(zip(sides["source"][::2], sides["source"][1::2], strict=True))
    assert all(one == other for one, other in by_patient)
    fits = seen(tmp_path)
    (pairs,) = [fit for fit in fits if fit[0] == fit[1]]
    apart = [fit for fit in fits if fit[0] != fit[1]]
    assert len(pairs[0]) == sides["source"].count("train")
    assert apart
    for source, target, partners in apart:
        assert source == pairs[0]
        assert {f"t{name}" for name in source} == set(target)
        assert [f"t{name}" for name in source] != target
        assert set(partners) == {""}
    scores = {line.split("│")[1].strip(): line for line in ran.out.splitlines() if line.startswith("│ by-")}
    assert set(scores) == {"by-pairs", "by-domains"}


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ('missing = "c-1"', "c-1: its partner in the target domain is missing"),
        ('moved = "c-1"', "c-1: its pixels are 1 x 1 mm and those of its partner 1 x 2 mm"),
    ],
)
def test_a_source_slice_without_a_usable_partner_is_skipped_or_refused(
    suite: Any, run_cli: Any, tmp_path: Path, params: str, reason: str
) -> None:
    prepare = ("data", "prepare", suite(params), "--plugin", tmp_path / "twins.py", "--store")
    ran = run_cli(*prepare, tmp_path / "store")
    assert ran.code == 0, ran.err
    assert reason in ran.out + ran.err
    sides = sides_of(tmp_path / "store")
    assert sides["source"][5] == ""
    assert sides["source"].count("") == 1
    assert set(sides["target"]) == {"train", "validation", "test"}
    strict = run_cli(*prepare, tmp_path / "other", "--strict")
    assert strict.code != 0
    assert f"1 case unusable: {reason}" in strict.out + strict.err


def test_a_pair_in_two_splits_is_refused() -> None:
    sources = [Slice(f"a{i}", f"p{i}", "c", split=side) for i, side in enumerate(SPLITS)]
    targets = [Slice(f"t{i}", f"q{i}", "c", split=side, partner=f"a{2 - i}") for i, side in enumerate(SPLITS)]
    slices = {"source": sources, "target": targets, "paired": [replace(s, slice_id=s.partner) for s in targets]}
    with pytest.raises(DataError, match="'t0' is in the train split and its partner 'a2' in the test split"):
        assign(slices, SplitOptions("own"), {}, "toy", paired=True)


def test_a_paired_model_on_an_unpaired_task_is_skipped_with_the_reason(suite: Any, tmp_path: Path) -> None:
    parsed = parse_suite(suite(data="strangers").read_text(), "suite.toml", tmp_path, ())
    graph = make_plan(parsed, discover([tmp_path / "twins.py"]))
    reasons = {row.columns["translator"]: row.skipped for row in graph.rows}
    assert reasons == {
        "by-pairs": "by-pairs: it trains on pairs, and this data set has no paired training slices",
        "by-domains": "",
    }
    assert [unit.options.domains for unit in graph.units.values() if unit.stage == "fit"] == [("source", "target")]


def test_a_demonstration_split_keeps_pairs_together() -> None:
    sources = [Slice(f"a{i}", "p", "c", i) for i in range(12)]
    targets = [Slice(f"t{i}", "p", "c", i, partner=f"a{i}") for i in range(4, 12)]
    slices = {"source": sources, "target": targets, "paired": [replace(s, slice_id=s.partner) for s in targets]}
    splits, _ = assign(slices, SplitOptions("demo"), {}, "toy", paired=True)
    assert splits["source"][:4] == [""] * 4
    assert splits["source"][4:] == splits["target"] == splits["paired"]


def slices_at(shift: float, geometry: bool = True) -> Slice:
    affine = ((1.0, 0.0, 0.0, shift), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 3.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    frame = Frame((8, 8), (0, 0, 0, 0), (8, 8), (8, 8))
    text = Geometry("RAS", (8, 8, 4), affine, "axial", 1, frame).to_json()
    return Slice("a", "p", "c", spacing=(1.0, 1.0), geometry=text if geometry else "")


def test_pairs_must_lie_in_the_same_place() -> None:
    assert unusable([slices_at(0)], [slices_at(0.3)]) == {}
    assert "position differs from that of its partner (2 mm" in unusable([slices_at(0)], [slices_at(2)])["a"]
    assert unusable([slices_at(0)], [slices_at(2, geometry=False)]) == {}
    assert unusable([], [slices_at(0)]) == {"a": "its partner in the source domain is missing"}


def image_set(values: list[int], domain: Any, size: int = 12) -> ImageSet:
    """Each image a gradient plus its value, so that flips and crops can be told apart."""
    ramp = np.arange(size * size).reshape(size, size) // 2
    images = np.array([ramp + value for value in values], np.uint8)
    slices = tuple(Slice(f"s{value % 10}", "p", "c", value % 10, partner="x") for value in values)
    return ImageSet(images, slices, None, Task("toy", paired=True, paired_training=True), domain, "train")


def test_both_images_of_a_pair_are_augmented_alike() -> None:
    source, target = image_set([1, 2, 3], "source"), image_set([11, 12, 13], "paired")
    sampler = AlignedSampler((source, target), augment=chain(resize_crop(12, 8), flip()))
    batches = [sampler.batch(seed, epoch, [0, 1, 2]) for seed in range(4) for epoch in range(3)]
    for batch in batches:
        assert batch["source"].shape == batch["target"].shape == (3, 1, 8, 8)
        torch.testing.assert_close(batch["target"] - batch["source"], torch.full((3, 1, 8, 8), 10 / 255))
    corners = {float(image[0, 0] - image[0, 1]) for batch in batches for image in batch["source"][:, 0]}
    assert len({value > 0 for value in corners}) == 2  # flipped and not
    again = sampler.batch(2, 1, [0, 1, 2])
    assert torch.equal(again["source"], sampler.batch(2, 1, [0, 1, 2])["source"])


def test_pairs_that_do_not_fit_are_refused() -> None:
    source = image_set([1, 2], "source")
    with pytest.raises(DataError, match=r"2 source slices of \(12, 12\) and 2 target slices of \(8, 8\)"):
        AlignedSampler((source, image_set([1, 2], "paired", 8)))
    task = source.task
    truth = image_set([12, 11], "paired")
    data = TrainingData(task, source_train=source, paired_train=truth)
    one, other = data.pairs()
    assert [s.slice_id for s in one.slices] == [s.slice_id for s in other.slices] == ["s1", "s2"]
    with pytest.raises(DataError, match="this fit has no pairs"):
        data.pairs("validation")
    with pytest.raises(DataError, match="slice 's1' has no paired ground truth"):
        replace(data, paired_train=truth.subset([0])).pairs()
    with pytest.raises(PluginError, match="paired_training without paired"):
        DatasetSpec("a", ":A", paired_training=True).task({}, "a")


def test_unpaired_models_see_no_partners_and_another_order() -> None:
    images = image_set(list(range(10)), "target")
    apart = unpaired(images, 0)
    assert sorted(s.slice_id for s in apart.slices) == sorted(s.slice_id for s in images.slices)
    assert [s.slice_id for s in apart.slices] != [s.slice_id for s in images.slices]
    assert {s.partner for s in apart.slices} == {""}
    assert [int(image[0, 0]) for image in np.asarray(apart.images)] == [s.index for s in apart.slices]
    # Without partners the order stays, and with it every fit.
    alone = replace(images, slices=tuple(replace(s, partner="") for s in images.slices))
    assert unpaired(alone, 0) is alone


def test_the_truth_of_a_paired_task_is_a_row_of_its_own(toys: Path) -> None:
    suite = toy_suite(metrics=("toy-overlap", "toy-gap", "toy-error"))
    suite = suite.replace('[[datasets]]\nname = "toy"', '[[datasets]]\nname = "toy-paired"')
    graph = make_plan(parse_suite(suite, "toy.toml", toys.parent, ()), discover([toys]))
    rows = {r.columns["metric"]: graph.units[r.unit] for r in graph.rows if r.columns["role"] == "truth"}
    # Against itself the truth has no error.
    assert set(rows) == {"toy-overlap", "toy-gap"}
    overlap = rows["toy-overlap"]
    assert overlap.options.candidate == Subset("paired", "test")
    assert reads(overlap.options).subsets == (Subset("paired", "test"), Subset("source", "test"))
    assert reads(overlap.options).masks
    fit = graph.units[overlap.inputs["segmenter"]]
    assert fit.options.domains == ("target",)
    plain = make_plan(parse_suite(toy_suite(), "toy.toml", toys.parent, ()), discover([toys]))
    assert "truth" not in {r.columns["role"] for r in plain.rows}


def test_the_truth_is_scored_with_the_anatomy_of_its_source_slices(toys: Path, run_cli: Any, tmp_path: Path) -> None:
    suite = toy_suite(metrics=("toy-overlap", "toy-gap"), translators=("toy-same",))
    (tmp_path / "toy.toml").write_text(suite.replace('[[datasets]]\nname = "toy"', '[[datasets]]\nname = "toy-paired"'))
    ran = run_cli("run", "toy.toml", "--plugin", toys)
    assert ran.code == 0, ran.err
    (line,) = (line for line in ran.out.splitlines() if line.startswith("│ truth"))
    # The toys' truth is as bright as the target, so its blobs are found; the plain source's are not.
    assert float(line.split("│")[2].strip().split()[0].strip("_*")) > 0.9
    assert "truth, true target images of the same source test slices" in ran.out
