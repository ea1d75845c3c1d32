"""Numbers made from data or code that has changed since are never shown in silence beside current ones."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

import mtbench
from mtbench.registry.codeid import changed_elsewhere
from mtbench.results.merge import merge

SUITE = toy_suite(metrics=("toy-mean", "toy-gap")).replace(
    'name = "toy"\n[[tr', 'name = "toy-files"\nroot = "images"\n[[tr'
)
SPLIT = "patient,split\n" + "\n".join(
    f"{domain}{patient},{side}"
    for domain in "st"
    for patient, side in enumerate(["train", "train", "validation", "test"])
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four patients a domain; the last is for the test."""
    for domain in ("source", "target"):
        for patient in range(4):
            folder = tmp_path / "images" / domain
            folder.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng([patient, domain == "target"]).uniform(0.1, 0.3, (16, 16))
            image[4:10, 5:12] += 0.5 if domain == "target" else 0.3
            np.save(folder / f"{domain[0]}{patient}_0.npy", image)
    (tmp_path / "split.csv").write_text(SPLIT)
    return tmp_path / "images"


@pytest.fixture
def go(run: Any, images: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run the suite and give its scores."""

    def go(*arguments: str, out: str = "out", suite: str = SUITE) -> list[dict[str, Any]]:
        split = ("--set", "datasets.toy-files.split.by=file", "--set", "datasets.toy-files.split.file=split.csv")
        ran = run("--out", out, *split, *arguments, suite=suite)
        assert ran.code == 0, ran.err
        rows: list[dict[str, Any]] = mtbench.load(out).to_pylist()
        return rows

    return go


def brighten(path: Path, by: float = 0.1) -> float:
    """Correct an image; its new mean."""
    image = np.load(path) + by
    np.save(path, image)
    return float(image.mean())


def stale(rows: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Why each stale number is stale, by row and metric."""
    return {(row["translator"] or row["role"], row["metric"]): row["stale"] for row in rows if row["stale"]}


def value(rows: list[dict[str, Any]], translator: str, metric: str) -> float:
    """The number of a row."""
    (number,) = (row["value"] for row in rows if (row["translator"], row["metric"]) == (translator, metric))
    return float(number)


def test_a_corrected_test_image_makes_the_rows_stale_that_were_not_made_again(
    go: Any, images: Path, run_cli: Any
) -> None:
    before = go()
    assert not stale(before)
    mean = brighten(images / "source/s3_0.npy")
    rows = go("-t", "toy-same")
    reasons = stale(rows)
    assert set(reasons) == {("toy-shift", "toy-mean"), ("toy-shift", "toy-gap")}
    assert "the source test images of 'toy-files' have changed" in reasons["toy-shift", "toy-gap"]
    assert "`mtbench run toy.toml " in reasons["toy-shift", "toy-gap"]
    assert value(rows, "toy-same", "toy-mean") == pytest.approx(mean, abs=1e-4)
    shift = [row for row in rows if row["translator"] == "toy-shift"]
    same = [row for row in rows if row["translator"] == "toy-same"]
    assert {row["data_sha256"] for row in shift}.isdisjoint(row["data_sha256"] for row in same)
    table = run_cli("results", "show", "out").out
    assert "toy-shift (stale)" in table
    assert "**" not in table  # one translator alone is not ranked
    assert "is stale: the source test images" in run_cli("results", "verify", "out").out
    assert "stale" in run_cli("export", "out", "--format", "md").out
    assert "2 stale scores are excluded" in run_cli("compare", "out", "out").out
    unit = next(row["unit_key"] for row in shift)
    assert "the source test images of 'toy-files' have changed" in run_cli("results", "show", "out", unit).out
    # The command makes them current again; nothing was forgotten.
    rows = go()
    assert not stale(rows)
    assert len({row["data_sha256"] for row in rows}) == 1


def test_data_that_change_back_make_the_other_rows_stale(go: Any, images: Path) -> None:
    go()
    path = images / "source/s3_0.npy"
    content = path.read_bytes()
    brighten(path)
    go("-t", "toy-same", "--set", "references=false")
    path.write_bytes(content)
    rows = go("-t", "toy-shift", "--set", "references=false")
    assert {translator for translator, _ in stale(rows)} == {"toy-same"}


def test_training_data_belong_to_the_row_and_not_to_the_block(go: Any, images: Path) -> None:
    before = go()
    brighten(images / "target/t0_0.npy")
    rows = go("-t", "toy-same", "--set", "references=false")
    # "toy-same" learns nothing: its numbers are current, and in the same block as before.
    assert {name for name, _ in stale(rows)} == {"toy-shift", "floor"}
    assert len({row["data_sha256"] for row in rows}) == 1
    assert value(rows, "toy-same", "toy-gap") == value(before, "toy-same", "toy-gap")
    merged = go(out="other")
    versions = {
        row["translator_version"] for rows in (before, merged) for row in rows if row["translator"] == "toy-shift"
    }
    assert len(versions) == 1
    training = {row["training_sha256"] for rows in (before, merged) for row in rows if row["translator"] == "toy-shift"}
    assert len(training) == 2


def test_edited_code_makes_stale_what_was_not_made_again(go: Any, toys: Path) -> None:
    go()
    toys.write_text(toys.read_text().replace("class Mean:", "class Mean:\n    edited = True\n"))
    rows = go("-m", "toy-mean")
    assert {metric for _, metric in stale(rows)} == {"toy-gap"}
    assert "the code of translator" in stale(rows)["toy-same", "toy-gap"]


def test_a_repeated_fit_makes_the_numbers_of_the_earlier_one_stale(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go()
    rows = go("-t", "toy-shift", "-m", "toy-mean", "--fresh", "fit")
    assert not stale(rows)  # the same fit came out


def test_merged_results_have_no_stale_rows(go: Any, images: Path) -> None:
    go("-t", "toy-same", out="a")
    go("-t", "toy-shift", out="b")
    merge([Path("a"), Path("b")], Path("all"))
    assert not stale(mtbench.load("all").to_pylist())


def test_a_run_with_nothing_to_do_adds_nothing(go: Any) -> None:
    go()
    sizes = {path: path.stat().st_size for path in Path("out/journal").iterdir()}
    go()
    assert {path: path.stat().st_size for path in Path("out/journal").iterdir()} == sizes


def test_kept_fits_say_so(go: Any, toys: Path, run_cli: Any) -> None:
    before = go("-t", "toy-shift", "-m", "toy-mean")
    toys.write_text(toys.read_text() + "\nEDITED = 1\n")
    rows = go("-t", "toy-shift", "-m", "toy-mean", "--keep", "fit")
    (row,) = (row for row in rows if row["translator"] == "toy-shift")
    assert "was trained by an earlier version of the code of translator 'toy-shift'" in row["note"]
    assert row["value"] == value(before, "toy-shift", "toy-mean")
    assert json.loads(row["translator_version"])["fit code"]
    attempts = mtbench.load("out", "attempts").to_pylist()
    assert [a["status"] for a in attempts if a["stage"] == "fit"] == ["ok", "cached"]
    rows = go("-t", "toy-shift", "-m", "toy-mean")
    assert "earlier version" not in next(row["note"] for row in rows if row["translator"] == "toy-shift")


# -- code that lies elsewhere

PLUGIN = """
import mtbench
from acme_helper import SHIFT

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("acme", ":Acme")

class Acme:
    def translate(self, batch, context):
        return (batch.source + SHIFT).clamp(0, 1)
"""
ELSEWHERE = toy_suite(translators=("toy-same", "acme"), metrics=("toy-mean",))


def start_acme(start: Any, tmp_path: Path, *arguments: str, path: Path) -> float:
    """Run the plugin in processes of its own; the mean of its translations."""
    process = start("--plugin", "acme.py", *arguments, suite=ELSEWHERE, PYTHONPATH=str(path))
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return value(mtbench.load(tmp_path / "mtbench-results/toy").to_pylist(), "acme", "toy-mean")


@pytest.mark.slow
def test_a_helper_module_is_part_of_the_code(start: Any, tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(PLUGIN)
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    means = []
    for shift in (0.125, 0.25):
        (helpers / "acme_helper.py").write_text(f"SHIFT = {shift}\n")
        means.append(start_acme(start, tmp_path, path=helpers))
    assert means[1] - means[0] == pytest.approx(0.125, abs=0.005)


@pytest.mark.slow
def test_another_distribution_that_was_imported_is_noticed(start: Any, tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(PLUGIN)
    site = tmp_path / "site-packages"
    (site / "acme_helper-1.0.dist-info").mkdir(parents=True)
    (site / "acme_helper-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: acme-helper\nVersion: 1.0\n")
    means = []
    for shift in (0.125, 0.25):
        (site / "acme_helper.py").write_text(f"SHIFT = {shift}\n")
        means.append(start_acme(start, tmp_path, path=site))
    assert means[1] - means[0] == pytest.approx(0.125, abs=0.005)


def test_a_module_of_the_same_name_here_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As two distributions that were compiled with Cython have it: `_cyutility` is the one that was imported first.
    theirs, ours = (tmp_path / name / "_shared_utility.py" for name in ("theirs", "ours"))
    for path in (theirs, ours):
        path.parent.mkdir()
        path.write_text(f"NAME = {path.parent.name!r}\n")
    spec = importlib.util.spec_from_file_location("_shared_utility", ours)
    assert spec is not None
    monkeypatch.setitem(sys.modules, "_shared_utility", importlib.util.module_from_spec(spec))
    recorded = {"file": str(theirs), "sha256": hashlib.sha256(theirs.read_bytes()).hexdigest()}
    assert changed_elsewhere({"_shared_utility": recorded}) == []
    theirs.write_text("NAME = 'edited'\n")
    assert changed_elsewhere({"_shared_utility": recorded}) == ["_shared_utility"]


def test_an_installed_plugin_of_the_same_version_with_other_code(
    make_distribution: Any, run: Any, tmp_path: Path
) -> None:
    spec = """
import mtbench
@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("acme", "acme_model:Acme", trains=True)
"""
    model = """
class Acme:
    def fit(self, data, context): self.by = {fit}
    def save(self, folder): (folder / "by.txt").write_text(str(self.by))
    def load(self, folder): self.by = float((folder / "by.txt").read_text())
    def translate(self, batch, context): return (batch.source * 0 + self.by + {late}).clamp(0, 1)
"""
    make_distribution("acme", {"acme": "acme_spec"}, {"acme_spec": spec, "acme_model": model.format(fit=0.25, late=0)})
    suite = toy_suite(translators=("acme",), metrics=("toy-mean",))

    def mean(*arguments: str) -> tuple[float, str]:
        import sys

        sys.modules.pop("acme_model", None)
        ran = run(*arguments, suite=suite)
        assert ran.code == 0, ran.err
        (row,) = (row for row in mtbench.load("mtbench-results/toy").to_pylist() if row["translator"] == "acme")
        return row["value"], row["note"] or ""

    assert mean() == (pytest.approx(0.25, abs=0.003), "")
    (tmp_path / "site/acme_model.py").write_text(model.format(fit=0.75, late=0.125))
    from mtbench.registry import codeid

    codeid.forget_imports()  # as a new process would
    kept, note = mean()
    assert kept == pytest.approx(0.375, abs=0.003)  # the fit is kept, the translation is made again
    assert "'fit toy acme seed 0' was trained by an earlier version" in note
    assert mean("--fresh", "fit") == (pytest.approx(0.875, abs=0.003), "")


# -- what was clamped or left out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch.source * 2 - 1", "values from -0.9"),
        ("batch.source * 255", "values from"),
    ],
)
def test_another_range_is_refused(run: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wide.py").write_text(
        PLUGIN.replace("from acme_helper import SHIFT", "")
        .replace("batch.source + SHIFT", text)
        .replace(".clamp(0, 1)", "")
    )
    suite = toy_suite(translators=("acme",), metrics=("toy-mean",))
    (tmp_path / "images").mkdir()
    ran = run("--plugin", tmp_path / "wide.py", "--set", "references=false", suite=suite)
    if "255" in text:
        assert ran.code == 1
        assert message in ran.err
        assert "Expected [0, 1]" in ran.err


def test_clamped_pixels_stand_on_the_row(run: Any, run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text(
        PLUGIN.replace("from acme_helper import SHIFT", "SHIFT = 0.6").replace(".clamp(0, 1)", "")
    )
    ran = run(
        "--plugin", tmp_path / "wide.py", suite=toy_suite(translators=("acme", "toy-same"), metrics=("toy-mean",))
    )
    assert ran.code == 0, ran.err
    rows = {row["translator"]: row for row in mtbench.load("mtbench-results/toy").to_pylist() if row["translator"]}
    assert 0.01 < rows["acme"]["clamped"] < 0.9
    assert rows["toy-same"]["clamped"] in (0.0, None)
    share = f"Up to {100 * rows['acme']['clamped']:.1f} % of its pixels were outside [0, 1] and clamped"
    assert share in run_cli("results", "show", "mtbench-results/toy").out
