"""Several source channels: stored, checked, skipped with a reason where one is expected, translated to one channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from test_translator_training import translator

import mtbench
from mtbench import Batch, DataError, ImageSet, PluginError, Slice, Task, TrainingData
from mtbench.compute.context import Context
from mtbench.hashing import hash_of
from mtbench.plan import make_plan
from mtbench.plan.suite import parse_suite
from mtbench.preparation.sheets import contact_sheet
from mtbench.registry.discovery import discover
from mtbench.registry.specs import DatasetSpec
from mtbench.report.examples import Example, TaskExamples
from mtbench.report.tiles import picture_record
from mtbench.store.images import fields_of, read_slices
from mtbench.training import AlignedSampler, flip

PLUGIN = '''
import numpy as np

import mtbench

PLAIN = {"kind": "fine"}


@mtbench.hookimpl
def mtbench_datasets():
    yield mtbench.DatasetSpec(
        "brains", ":Brains", params=PLAIN, channels=("T1", "T2", "FLAIR"), labels={1: "core"},
        masks=frozenset({"source", "target"}), paired=True, paired_training=True,
    )


@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("sum", ":Sum", several_channels=True)
    yield mtbench.TranslatorSpec("all", ":All", several_channels=True)
    yield mtbench.TranslatorSpec("grey", ":Sum")


@mtbench.hookimpl
def mtbench_metrics():
    yield mtbench.MetricSpec("error", ":Error", needs=("candidate", "paired"), family="paired")
    yield mtbench.MetricSpec("channels", ":Channels", needs=("source",), several_channels=True, caveat="a count")
    yield mtbench.MetricSpec("copy", ":Channels", needs=("source",), caveat="a count")


class Brains:
    """Eight patients of two slices of three channels; the target is the sum of the first two, the third is noise."""

    def __init__(self, kind):
        self.kind = kind

    def prepare(self, root, context):
        for patient in "abcdefgh":
            for index in range(2):
                rng = context.rng(patient, index)
                image = rng.uniform(0, 0.4, (3, 16, 12))
                target = image[0] + image[1]
                name, odd = f"{patient}{index}", (patient, index) == ("c", 1)
                if odd and self.kind == "two channels":
                    image = image[:2]
                if odd and self.kind == "flat":
                    image = image[0]
                if odd and self.kind == "wide":
                    image = image[:, :, :8]
                windows = ((0.0, 400.0), (0.0, 800.0), (0.0, 100.0))
                if odd and self.kind == "two windows":
                    windows = windows[:2]
                mask = np.zeros((16, 12), np.uint8)
                mask[4:8, 4:8] = 1
                record = mtbench.Slice(name, patient, patient, index, channel_windows=windows)
                yield mtbench.Sample("source", image, record, mask)
                record = mtbench.Slice(f"t{name}", patient, patient, index, window=(0.0, 9.0), partner=name)
                if self.kind == "target":
                    target = np.stack([target] * 3)
                yield mtbench.Sample("target", target, record, mask)


class Sum:
    def translate(self, batch, context):
        return batch.source[:, :2].sum(1, keepdim=True)


class All:
    def translate(self, batch, context):
        return batch.source


class Error:
    def compute(self, inputs, context):
        return mtbench.Score(float(np.abs(inputs.candidate.floats() - inputs.paired.floats()).max()))


class Channels:
    def compute(self, inputs, context):
        return mtbench.Score(float(inputs.source.channels))
'''
SUITE = """
datasets = ["brains:kind=KIND"]
translators = ["sum", "identity", "grey", "histogram", "pix2pix", "regression-unet", "cyclegan", "pointwise-map"]
segmenters = ["unet"]
metrics = ["error", "channels", "copy", "nmi-source", "dice"]
[suite]
name = "brains"
"""
SKIPPED = ", and this task has 3 (T1, T2, FLAIR)"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "brains.py").write_text(PLUGIN)
    return tmp_path / "brains.py"


@pytest.fixture
def prepared(plugin: Path, run_cli: Callable[..., Any]) -> Path:
    """The folder of the prepared data set."""
    ran = run_cli("data", "prepare", "brains", "--plugin", plugin, "--store", "store")
    assert ran.code == 0, ran.err
    (folder,) = plugin.parent.glob("store/artefacts/prepare/*/*/task.json")
    return folder.parent


def brains(**changes: Any) -> Task:
    fields = {"channels": ("T1", "T2", "FLAIR"), "paired": True, "paired_training": True, **changes}
    return Task("brains", "MR", "CT", **fields)


def images(channels: int, domain: Any = "source", count: int = 6, size: int = 32) -> ImageSet:
    shape = (count, channels, size, size) if channels > 1 else (count, size, size)
    pixels = np.random.default_rng([channels, count]).integers(0, 255, shape).astype(np.uint8)
    slices = tuple(Slice(f"s{i}", f"p{i // 2}", f"p{i // 2}", i % 2) for i in range(count))
    return ImageSet(pixels, slices, None, brains(), domain, "train")


def data(channels: int = 3) -> TrainingData:
    sides = {"source": images(channels), "paired": images(1, "paired")}
    sets = {f"{name}_{split}": side for name, side in sides.items() for split in ("train", "validation")}
    return TrainingData(brains(), **sets)


# -- stored and checked


def test_source_slices_are_stored_with_their_channels_and_windows_and_target_slices_without(prepared: Path) -> None:
    stored = {name: np.load(prepared / f"images-{name}.npy") for name in ("source", "target", "paired")}
    assert {name: array.shape for name, array in stored.items()} == {
        "source": (16, 3, 16, 12),
        "target": (16, 16, 12),
        "paired": (16, 16, 12),
    }
    np.testing.assert_allclose(stored["source"][:, :2].sum(1, dtype=float), stored["target"], atol=1.5)
    assert np.load(prepared / "masks-source.npy").shape == (16, 16, 12)
    source, target = read_slices(prepared, "source")[3], read_slices(prepared, "target")[3]
    assert source.channel_windows == ((0.0, 400.0), (0.0, 800.0), (0.0, 100.0))
    assert (source.window, target.window, target.channel_windows) == (None, (0.0, 9.0), ())
    assert json.loads((prepared / "task.json").read_text())["channels"] == ["T1", "T2", "FLAIR"]


def test_the_index_and_the_hash_of_one_channel_do_not_know_of_channels(prepared: Path) -> None:
    assert "channel_windows" not in pq.read_schema(prepared / "index-target.parquet").names
    assert "channel_windows" in pq.read_schema(prepared / "index-source.parquet").names
    assert hash_of(fields_of(Slice("s", "p", "c", window=(0.0, 1.0), geometry="g"))) == (
        "ed39359fcf0a6bea498420ecbb12fb75c030fbb56317eec4489665421d9308b4"
    )
    assert "channels" not in Task("toy").to_json()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("two channels", r"the image has shape \(2, 16, 12\), expected 3 channels, C x H x W: T1, T2, FLAIR"),
        ("flat", r"the image has shape \(16, 12\), expected 3 channels"),
        ("wide", r"the image is 16 x 8 pixels, expected 16 x 12"),
        ("two windows", r"the slice 'c1' has 2 channel_windows, expected 3"),
        ("target", r"the image has shape \(3, 16, 12\), expected one grey channel"),
    ],
)
def test_a_slice_whose_channels_do_not_match_is_refused(
    plugin: Path, run_cli: Callable[..., Any], kind: str, reason: str
) -> None:
    ran = run_cli("data", "prepare", f"brains:kind={kind}", "--plugin", plugin, "--store", "store")
    assert ran.code != 0
    text = " ".join((ran.out + ran.err).split())
    assert "dataset 'brains'" in text
    for part in reason.replace("\\", "").split(", expected "):
        assert part in text


def test_channel_names_must_differ() -> None:
    for names in (("T1", "T1"), ("T1", "")):
        with pytest.raises(PluginError, match="Expected a different name for each source channel"):
            DatasetSpec("a", ":A", channels=names).task({}, "a")
    assert DatasetSpec("a", ":A", describe=lambda p: {"channels": ["x", "y"]}).task({}, "a").channels_of("source") == 2


def test_a_check_and_a_contact_sheet_show_every_channel(
    prepared: Path, plugin: Path, run_cli: Callable[..., Any]
) -> None:
    ran = run_cli("data", "check", "brains", "--plugin", plugin, "--store", "store")
    assert ran.code == 0, ran.err
    assert "No leaks" in ran.out
    source = images(3, count=4)
    contact_sheet(source, prepared / "sheet.png")
    with Image.open(prepared / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    # Two slices in each line of six tiles; the tiles are larger than the images.
    assert pixels.shape == (14 + 2 * (192 + 14), 6 * 192)
    tiles = [pixels[14 + 96, 192 * i + 96] for i in range(6)]
    assert len(set(map(int, tiles))) > 3


def test_an_export_writes_all_channels_as_npy_and_refuses_png(
    prepared: Path, plugin: Path, run_cli: Callable[..., Any]
) -> None:
    export = ("data", "export", "brains", "--plugin", plugin, "--store", "store", "-o")
    assert run_cli(*export, "out").code == 0
    manifest = json.loads((plugin.parent / "out/manifest.json").read_text())
    first = manifest["slices"][0]
    assert first["size"] == [16, 12]
    assert np.load(plugin.parent / "out" / first["image"]).shape == (3, 16, 12)
    refused = run_cli(*export, "png", "--format", "png")
    assert refused.code != 0
    assert "a slice has 3 channels (T1, T2, FLAIR)" in refused.err


# -- the plan


def test_what_takes_one_channel_is_skipped_with_the_reason(plugin: Path) -> None:
    graph = make_plan(parse_suite(SUITE.replace("KIND", "fine"), "s.toml", plugin.parent), discover([plugin]))
    rows = {
        (row.columns["translator"] or row.columns["role"], row.columns["metric"]): row.skipped for row in graph.rows
    }
    for name in ("identity", "grey", "histogram", "cyclegan", "pointwise-map"):
        assert rows[name, "error"] == f"{name}: it translates one source channel{SKIPPED}"
    for name in ("sum", "pix2pix", "regression-unet"):
        assert rows[name, "error"] == rows[name, "dice"] == rows[name, "channels"] == ""
        assert rows[name, "nmi-source"] == f"nmi-source reads one source channel{SKIPPED}"
        assert rows[name, "copy"] == f"copy reads one source channel{SKIPPED}"
    assert rows["oracle", "dice"] == f"segmenters read one channel{SKIPPED}"
    assert rows["ceiling", "dice"] == rows["truth", "dice"] == ""
    trained = {unit.plugin for unit in graph.units.values() if unit.stage == "fit"}
    assert trained == {"pix2pix", "regression-unet", "unet"}


def test_a_run_scores_translations_of_three_channels(plugin: Path, run_cli: Callable[..., Any]) -> None:
    (plugin.parent / "suite.toml").write_text(SUITE.replace("KIND", "fine"))
    run = ("run", "suite.toml", "--plugin", plugin, "--store", "store", "--executor", "inline", "--out")
    ran = run_cli(*run, "results", "-t", "sum", "-t", "grey", "-m", "error", "-m", "channels")
    assert ran.code == 0, ran.err
    rows = mtbench.load("results").to_pylist()
    values = {(row["translator"], row["metric"]): row["value"] for row in rows if row["role"] == "translator"}
    assert values["sum", "error"] == pytest.approx(0, abs=2.1 / 255)
    assert values["sum", "channels"] == 3
    assert values["grey", "error"] is None
    shown = run_cli("report", "results", "--store", "store")
    assert shown.code == 0, shown.err
    page = Path("results/report.html").read_text()
    assert "16 x 12 pixels, stored as uint8, source channels T1, T2, FLAIR" in page
    assert "source FLAIR (source)" in page
    failed = run_cli(*run, "other", "-t", "all", "-m", "error")
    assert failed.code != 0
    text = " ".join((failed.out + failed.err).split())
    assert "(4, 3, 16, 12)" in text or "3, 16, 12)" in text
    assert "one target channel of the size of the source" in text


def test_a_kit_scores_translations_of_three_channels_and_refuses_a_translator_of_one(
    plugin: Path, run_cli: Callable[..., Any]
) -> None:
    (plugin.parent / "suite.toml").write_text(SUITE.replace("KIND", "fine"))
    common = ("--plugin", plugin, "--store", "store")
    ran = run_cli(
        "run", "suite.toml", *common, "--executor", "inline", "--out", "results", "-t", "sum", "-m", "channels"
    )
    assert ran.code == 0, ran.err
    assert run_cli("data", "export", "brains", *common, "-o", "slices", "--side", "all").code == 0
    made = run_cli("kit", "results", *common[2:], "-o", "kit")
    assert made.code == 0, made.err
    score = ("kit", "kit", "--source", "slices", *common[:2], "--device", "cpu", "-o")
    scored = run_cli(*score, "theirs", "-t", "sum")
    assert scored.code == 0, scored.err
    assert [row["value"] for row in mtbench.load("theirs").to_pylist()] == [3.0]
    refused = run_cli(*score, "others", "-t", "grey")
    assert refused.code != 0
    assert "'grey' translates one source channel, and 'brains' has 3" in refused.err


# -- translators


@pytest.mark.parametrize(("name", "more"), [("pix2pix", {}), ("pix2pix", {"netG": "resnet", "n_blocks": 1}),
                                            ("regression-unet", {}), ("regression-unet", {"channels": 3})])  # fmt: skip
def test_a_network_reads_all_channels_and_its_weights_come_back(
    name: str, more: dict[str, Any], tmp_path: Path
) -> None:
    model = translator(name, steps=2, **more)
    model.fit(data(), Context(scratch=tmp_path))
    batch = images(3).batch(slice(0, 2))
    first = model.translate(batch, Context())
    assert first.shape == (2, 1, 32, 32)
    for channel in range(3):
        changed = batch.source.clone()
        changed[:, channel] = 1 - changed[:, channel]
        assert not torch.equal(model.translate(Batch(changed, batch.slices), Context()), first)
    model.save(tmp_path)
    again = translator(name, **more)
    again.load(tmp_path)
    torch.testing.assert_close(again.translate(batch, Context()), first)
    with pytest.raises(DataError, match=r"weights of .* take 3 source channels, and a slice has 2"):
        again.translate(images(2).batch(slice(0, 1)), Context())
    if "channels" not in more:
        with pytest.raises(DataError, match="take 3 source channels, and a slice has 1"):
            again.translate(images(1).batch(slice(0, 1)), Context())


def test_weights_of_one_channel_are_refused_for_several(tmp_path: Path) -> None:
    model = translator("regression-unet", steps=1)
    model.fit(data(1), Context(scratch=tmp_path))
    model.save(tmp_path)
    loaded = translator("regression-unet", checkpoint=str(tmp_path / "regression_unet.pth"))
    with pytest.raises(DataError, match="take 1 source channel, and a slice has 3") as error:
        loaded.translate(images(3).batch(slice(0, 1)), Context())
    assert "regression_unet.pth" in str(error.value)


def test_all_channels_of_a_pair_are_augmented_alike() -> None:
    # Every channel is the same picture plus its number, so flips of one alone would show.
    ramp = np.arange(144).reshape(12, 12) // 2
    source = replace(images(1, count=2), images=np.stack([np.stack([ramp, ramp + 10, ramp + 20])] * 2).astype(np.uint8))
    target = replace(source, images=np.stack([ramp + 30] * 2).astype(np.uint8))
    sampler = AlignedSampler((source, target), augment=flip())
    flipped = set()
    for epoch in range(6):
        batch = sampler.batch(0, epoch, [0, 1])
        assert (batch["source"].shape, batch["target"].shape) == ((2, 3, 12, 12), (2, 1, 12, 12))
        steps = torch.cat([batch["source"], batch["target"]], 1).diff(dim=1)
        torch.testing.assert_close(steps, torch.full((2, 3, 12, 12), 10 / 255))
        flipped |= {bool(image[0, 0, 0] > image[0, 0, -1]) for image in batch["source"]}
    assert flipped == {True, False}


def test_new_files_cannot_be_translated_by_a_model_of_several_channels(
    plugin: Path, run_cli: Callable[..., Any]
) -> None:
    (plugin.parent / "suite.toml").write_text(SUITE.replace("KIND", "fine"))
    run = ("run", "suite.toml", "--plugin", plugin, "--store", "store", "--executor", "inline", "--out", "results")
    ran = run_cli(*run, "-t", "sum", "-m", "error")
    assert ran.code == 0, ran.err
    np.save(plugin.parent / "new.npy", np.zeros((16, 12), np.uint8))
    call = ("translate", "sum", "new.npy", "out.npy", "--from", "results", "--store", "store")
    refused = run_cli(*call, "--plugin", plugin)
    assert refused.code != 0
    assert "'brains' has 3 source channels (T1, T2, FLAIR)" in refused.err


# -- the report and the phantom


def test_the_report_shows_each_channel_under_its_name() -> None:
    grey = np.zeros((8, 8), np.uint8)
    example = Example(("best",), "s0", "p0", None, (grey, grey + 9, grey + 99), None, grey, None, None, False, ())
    task = TaskExamples("brains", "MR", "CT", ("T1", "T2", "FLAIR"), examples=(example,))
    (record,) = picture_record([task])
    tiles = record["examples"][0]["tiles"]  # type: ignore[index]
    assert [(tile["kind"], tile["label"]) for tile in tiles] == [
        ("source", "MR T1 (source)"),
        ("channel", "MR T2 (source)"),
        ("channel", "MR FLAIR (source)"),
        ("target", "CT (truth)"),
    ]
    assert len({tile["image"] for tile in tiles[:3]}) == 3


def test_the_two_contrasts_of_the_phantom_are_those_of_the_same_patients() -> None:
    registry = discover(third_party=False)
    drawn = {}
    for name in ("phantom-lumbar", "phantom-lumbar-t1-t2"):
        params = registry.get("dataset", name).complete(
            {"size": 32, "patients_source": 1, "patients_target": 1, "slices": 2}
        )
        drawn[name] = list(registry.get("dataset", name).create(params).prepare(None, Context()))
    for plain, both in zip(*drawn.values(), strict=True):
        assert plain.slice == both.slice
        if plain.domain != "source":
            assert np.array_equal(plain.image, both.image)
            continue
        assert both.image.shape == (2, 32, 32)
        t1, t2 = both.image
        assert np.array_equal(t2, plain.image)
        assert 0.2 < abs(np.corrcoef(t1.ravel(), t2.ravel())[0, 1]) < 0.98
        assert np.ptp(t1) > 140
