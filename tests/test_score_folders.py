"""``mtbench score``: two folders of images, good and bad."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from replicas import write_series

import mtbench
from mtbench.errors import DataError, RequestError, WeightsError

Make = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Make:
    """Make a folder of grey PNGs, ``patients`` x ``slices``."""

    def make(name: str, patients: int = 4, slices: int = 3, size: int = 16, shift: int = 0, bits: int = 8) -> Path:
        path = tmp_path / name
        path.mkdir()
        for patient in range(patients):
            rng = np.random.default_rng([patient, shift])
            for index in range(slices):
                image = rng.integers(20, 200, (size, size)) + shift
                pixels = (image * 257).astype(np.uint16) if bits == 16 else image.astype(np.uint8)
                Image.fromarray(pixels).save(path / f"P{patient:02d}_{index}.png")
        return path

    return make


@pytest.fixture
def score(toys: Path) -> Callable[..., list[dict[str, Any]]]:
    """``mtbench.score`` with the toy plugins."""

    def call(a: Path, b: Path, *metrics: str, **options: Any) -> list[dict[str, Any]]:
        return mtbench.score(a, b, metrics=metrics, plugin_files=[str(toys)], device="cpu", **options)

    return call


def test_rows_say_what_was_measured(folder: Make, score: Any) -> None:
    rows = score(folder("a"), folder("b", shift=30), "toy-gap", "swd", patient=r"(P\d+)_")
    assert [r["metric"] for r in rows] == ["toy-gap", "swd"]
    gap = rows[0]
    assert gap["status"] == "measured"
    assert gap["extractor"] == "toy-blocks"
    assert (gap["n"], gap["n_translated"], gap["n_target"]) == (12, 12, 12)
    assert (gap["n_patients_translated"], gap["n_patients_target"]) == (4, 4)
    assert rows[1]["variant"] == "karras"
    assert rows[1]["without_interval"] == "4 translated patients and 4 target patients, at least 10 of each are needed"
    json.dumps(rows)


def test_same_folder_twice_is_at_distance_zero(folder: Make, score: Any) -> None:
    one = folder("a")
    # Karras draws other patches from each set; koshian2 shares their positions.
    for row in score(one, one, "toy-gap", "swd:koshian2"):
        assert row["value"] == pytest.approx(0, abs=1e-6)


def test_neither_batch_size_nor_repetition_changes_a_value(folder: Make, score: Any, tmp_path: Path) -> None:
    a, b = folder("a"), folder("b", patients=6, shift=30)
    first = score(a, b, "toy-gap", "swd")
    again = score(a, b, "toy-gap", "swd", batch_size=1, store=str(tmp_path / "other"))
    assert [r["value"] for r in first] == [r["value"] for r in again]


def test_the_batch_size_changes_no_score_of_a_network_beyond_rounding(folder: Make, score: Any, tmp_path: Path) -> None:
    a, b = (folder(name, patients=2, size=32, shift=shift) for name, shift in (("a", 0), ("b", 30)))
    metrics = [f"{start}extractor=inception-random" for start in ("fid:", "kid:", "is:splits=2,")]
    scores = [
        [row["value"] for row in score(a, b, *metrics, batch_size=size, store=str(tmp_path / f"store-{size}"))]
        for size in (1, 5)
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6, abs=1e-8)


def test_the_targets_features_are_used_again(
    folder: Make, score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.txt"
    monkeypatch.setenv("TOY_LOG", str(log))
    target = folder("b", shift=30)
    score(folder("a"), target, "toy-gap", batch_size=100)
    assert log.read_text().count("extract") == 2
    score(folder("c", shift=10), target, "toy-gap", batch_size=100)
    assert log.read_text().count("extract") == 3


def test_features_of_another_precision_are_not_used(
    folder: Make, score: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.txt"
    monkeypatch.setenv("TOY_LOG", str(log))
    a, b = folder("a"), folder("b", shift=30)
    score(a, b, "toy-gap", batch_size=100)
    row = score(a, b, "toy-gap", batch_size=100, precision="bf16")[0]
    assert log.read_text().count("extract") == 4
    assert row["precision"] == "bf16"


NETWORKS = """
import mtbench


@mtbench.hookimpl
def mtbench_extractors():
    for name, factor in (("once", 1), ("twice", 2)):
        yield mtbench.ExtractorSpec(name, ":Sum", params={"factor": factor}, arrays=("sum",))


@mtbench.hookimpl
def mtbench_metrics():
    def needs(params):
        return tuple(mtbench.Features(of, params["network"], ("sum",)) for of in ("candidate", "reference"))

    yield mtbench.MetricSpec("sum-gap", ":Gap", params={"network": "once"}, needs=needs)


class Sum:
    def __init__(self, factor):
        self.factor = factor

    def extract(self, images, context):
        return {"sum": self.factor * images.flatten(1).sum(1, keepdim=True)}


class Gap:
    def __init__(self, network):
        pass

    def compute(self, inputs, context):
        ours, theirs = (inputs.features[of]["sum"].mean() for of in ("candidate", "reference"))
        return mtbench.Score(float(theirs - ours))
"""


def test_features_of_another_network_are_not_used(folder: Make, tmp_path: Path) -> None:
    plugin = tmp_path / "networks.py"
    plugin.write_text(NETWORKS)
    a, b = folder("a"), folder("b", shift=30)
    once, twice, again = (
        mtbench.score(a, b, metrics=[f"sum-gap:network={name}"], plugin_files=[str(plugin)], device="cpu")[0]["value"]
        for name in ("once", "twice", "once")
    )
    assert twice == pytest.approx(2 * once)
    assert again == once


@pytest.mark.parametrize("ending", [".tif", ".npy", ".npz", ".nii.gz"])
def test_every_format_gives_the_same_value(folder: Make, score: Any, tmp_path: Path, ending: str) -> None:
    a, b = folder("a"), folder("b", shift=30)
    expected = score(a, b, "toy-gap")[0]["value"]
    stacks = []
    for images in (a, b):
        stack = np.stack([np.asarray(Image.open(path)) for path in sorted(images.glob("*.png"))])
        copy = tmp_path / f"{images.name}{ending}"
        if ending == ".tif":
            tifffile.imwrite(copy, stack)
        elif ending == ".npy":
            np.save(copy, stack)
        elif ending == ".npz":
            np.savez(copy, image=stack)
        else:
            # Stored so that axial slices show the stack's rows and columns.
            nibabel.Nifti1Image(stack.transpose(2, 1, 0), np.diag([-1, -1, 1, 1])).to_filename(copy)
        stacks.append(copy)
    assert score(*stacks, "toy-gap", plane="axial")[0]["value"] == pytest.approx(expected, rel=1e-6)


def test_dicom_series_are_read(score: Any, tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(0, 500, (20, 16, 4)).astype(np.int16)
    for name, shift in (("a", 0), ("b", 100)):
        (tmp_path / name).mkdir()
        write_series(tmp_path / name, volume + shift)
    (row,) = score(tmp_path / "a", tmp_path / "b", "toy-gap", plane="axial", window=(0, 1000))
    assert row["n_translated"] == 4
    assert row["value"] > 0


def test_without_a_choice_what_cannot_be_computed_is_named(folder: Make, score: Any) -> None:
    rows = score(folder("a"), folder("b", shift=30))
    left_out = {r["metric"]: r["note"] for r in rows if r["status"] == "skipped"}
    assert "--masks and --predicted" in left_out["dice"]
    assert "--paired" in left_out["mae"]
    assert {r["metric"] for r in rows if r["status"] == "measured"} >= {"swd", "toy-gap"}


def test_a_named_metric_without_weights_is_refused(
    folder: Make, score: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MTBENCH_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match=r"weights fetch[\s\S]*weights add"):
        score(folder("a"), folder("b"), "fid")


ROLES = """
from pathlib import Path
import mtbench

@mtbench.hookimpl
def mtbench_extractors():
    yield mtbench.ExtractorSpec(
        "net", ":Net", arrays=("level",), weights=("no-such-file",),
        params={"file": mtbench.Param(None, "path", role="weights"), "weights": 1},
    )

@mtbench.hookimpl
def mtbench_metrics():
    needs = tuple(mtbench.Features(side, "net", ("level",)) for side in ("candidate", "reference"))
    like = mtbench.Param(None, "str", choices=("lib",), role="preset")
    yield mtbench.MetricSpec("level", ":Level", needs=needs, params={"like": like, "preset": "mine"})

class Net:
    def __init__(self, file, weights): self.factor = float(Path(file).read_text())
    def extract(self, images, context): return {"level": images.mean((1, 2, 3))[:, None] * self.factor}

class Level:
    def __init__(self, like, preset): self.factor = 100 if like == "lib" else 1
    def compute(self, inputs, context):
        return mtbench.Score(float(inputs.features["candidate"]["level"].sum()) * self.factor)
"""


def test_presets_and_weight_files_go_where_their_roles_are(folder: Make, tmp_path: Path) -> None:
    """Not into the parameters called "preset" and "weights", which are the plugin's own affair."""
    (tmp_path / "roles.py").write_text(ROLES)
    a, b = folder("a", patients=1), folder("b", patients=1)

    def value(weights: str, **options: Any) -> float:
        (tmp_path / "w.txt").write_text(weights)
        files = {"net": str(tmp_path / "w.txt")}
        options |= {"plugin_files": [str(tmp_path / "roles.py")], "device": "cpu"}
        (row,) = mtbench.score(a, b, metrics=["level"], weights=files, **options)
        assert row["weights_sha256"] == hashlib.sha256(weights.encode()).hexdigest()
        return float(row["value"])

    plain = value("1.0")
    assert value("2.0") == pytest.approx(2 * plain)
    assert value("1.0", preset="lib") == pytest.approx(100 * plain)
    with pytest.raises(RequestError, match="none of these metrics has a preset 'mine'"):
        value("1.0", preset="mine")


def test_masks_give_dice(folder: Make, score: Any, tmp_path: Path) -> None:
    images = folder("a", patients=2, slices=2)
    for name, grow in (("masks", 0), ("found", 4)):
        (tmp_path / name).mkdir()
        for path in images.glob("*.png"):
            mask = np.zeros((16, 16), np.uint8)
            mask[: 8 + grow] = 1
            Image.fromarray(mask).save(tmp_path / name / path.name)
    (row,) = score(
        images, folder("b"), "dice:smooth=0", masks=tmp_path / "masks", predicted=tmp_path / "found", labels={1: "bone"}
    )
    assert row["label"] == "bone"
    assert row["value"] == pytest.approx(2 * 8 / (8 + 12))


def test_paired_metrics_are_in_the_files_own_unit(score: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(-900, 900, (24, 20, 6)).astype(np.int16)
    for name, volume in (("a", truth + 10), ("b", truth)):
        (tmp_path / name).mkdir()
        for case in ("one", "two"):
            nibabel.Nifti1Image(volume, np.eye(4)).to_filename(tmp_path / name / f"{case}.nii.gz")
    (row,) = score(tmp_path / "a", tmp_path / "b", "mae", paired=True, plane="axial", window=(-1000, 1000))
    assert row["n_translated"] == 12
    # Stored in 16 bits over 2000 units: 0.03 a level.
    assert row["value"] == pytest.approx(10, abs=0.04)


@pytest.mark.parametrize("bits", [8, 16])
def test_depths(folder: Make, score: Any, bits: int) -> None:
    rows = score(folder("a", bits=bits), folder("b", bits=bits, shift=30), "toy-gap")
    assert rows[0]["value"] == pytest.approx(score(folder("c"), folder("d", shift=30), "toy-gap")[0]["value"], rel=1e-6)


def test_alpha_and_equal_channels_are_grey(folder: Make, score: Any) -> None:
    a = folder("a")
    expected = score(a, folder("b", shift=30), "toy-gap")[0]["value"]
    for path in list(a.glob("*.png"))[:3]:
        Image.open(path).convert("RGBA").save(path)
    assert score(a, folder("c", shift=30), "toy-gap")[0]["value"] == expected


def test_constant_images_give_a_number(folder: Make, score: Any, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for index in range(4):
        Image.fromarray(np.full((16, 16), 77, np.uint8)).save(flat / f"{index}.png")
    for row in score(flat, folder("b"), "toy-gap", "swd"):
        assert np.isfinite(row["value"])


def _colour(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(path)


def _nan(path: Path) -> None:
    path.unlink()
    image = np.full((16, 16), 0.5, np.float32)
    image[3, 3] = np.nan
    tifffile.imwrite(path.with_suffix(".tif"), image)


def _infinite(path: Path) -> None:
    path.unlink()
    image = np.full((16, 16), 0.5, np.float32)
    image[3, 3] = np.inf
    np.save(path.with_suffix(".npy"), image)


def _larger(path: Path) -> None:
    Image.fromarray(np.zeros((20, 16), np.uint8)).save(path)


def _deeper(path: Path) -> None:
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_colour, "colour|channels|RGB"),
        (_nan, "NaN"),
        (_infinite, "infinite"),
        (_larger, "20 x 16"),
        (_deeper, "uint16"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read"),
    ],
)
def test_a_bad_image_is_named(folder: Make, score: Any, spoil: Callable[[Path], None], says: str) -> None:
    a = folder("a")
    bad = sorted(a.glob("*.png"))[5]
    spoil(bad)
    with pytest.raises(DataError, match=says) as refused:
        score(a, folder("b"), "toy-gap")
    assert bad.stem in str(refused.value)


def test_a_corrupt_file_among_many_is_left_out_on_request(folder: Make, score: Any, run_cli: Any, toys: Path) -> None:
    a = folder("a", patients=40, slices=25)
    (a / "P07_3.png").write_bytes(b"no image")
    b = folder("b")
    with pytest.raises(DataError, match="skip-unreadable"):
        score(a, b, "toy-gap")
    rows = score(a, b, "toy-gap", skip_unreadable=True)
    assert rows[0]["n_translated"] == 999
    assert rows[0]["unreadable"] == 1
    ran = run_cli("score", a, b, "-m", "toy-gap", "--plugin", toys, "--skip-unreadable")
    assert ran.code == 0
    assert "1 unreadable file skipped" in ran.err


def test_empty_folder_one_image_no_folder(folder: Make, score: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        score(tmp_path / "empty", folder("b"), "toy-gap")
    with pytest.raises(DataError, match="at least two images"):
        score(folder("one", patients=1, slices=1), folder("c"), "toy-gap")
    with pytest.raises(RequestError, match="absent does not exist"):
        score(tmp_path / "absent", folder("d"), "toy-gap")


def test_the_command_prints_a_table_or_json(folder: Make, run_cli: Any, toys: Path) -> None:
    a, b = folder("a"), folder("b", shift=30)
    shown = run_cli("score", a, b, "-m", "toy-gap", "-m", "swd:koshian2", "--plugin", toys)
    assert shown.code == 0
    assert "SWD[koshian2] ↓" in shown.out
    ran = run_cli("score", a, b, "-m", "toy-gap", "--plugin", toys, "--json")
    (row,) = json.loads(ran.out)
    assert row["metric"] == "toy-gap"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--window", "5"], "LOW,HIGH"),
        (["--window", "5,1"], "empty"),
        (["--patient", "(a)(b)"], "2 groups"),
        (["--patient", "(Q.)_"], "does not match"),
        (["--weights", "nothing"], "NAME=VALUE"),
        (["-m", "toy-gapp"], "toy-gap"),
        (["--preset", "torch-fidelty"], "torch-fidelity"),
        (["--predicted", "a"], "--masks"),
    ],
)
def test_wrong_requests_are_one_paragraph(
    folder: Make, run_cli: Any, toys: Path, options: list[str], says: str
) -> None:
    metric = [] if "-m" in options or "--preset" in options else ["-m", "toy-gap"]
    ended = run_cli("score", folder("a"), folder("b"), *metric, *options, "--plugin", toys)
    assert ended.code in (1, 2)
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") <= 2


def test_rows_print_as_a_table_and_in_a_notebook(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for n in range(4):
            Image.fromarray(rng.integers(0, 256, (32, 32)).astype(np.uint8)).save(tmp_path / folder / f"{n}.png")
    rows = mtbench.score(tmp_path / "a", tmp_path / "b", metrics=["swd"], store=str(tmp_path / "store"))
    value = f"{rows[0]['value']:.4g}"
    head, line = str(rows).splitlines()
    assert head.split() == ["metric", "value", "95", "%", "interval", "N"]
    assert line.startswith("SWD[karras] ↓")
    html = rows._repr_html_()
    assert "<td>SWD[karras] ↓</td>" in html
    assert html.count("<tr>") == 2
    assert line.split()[2][:4] == value[:4]
