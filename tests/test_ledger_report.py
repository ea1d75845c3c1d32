"""The ledger of changes of whole small runs: the verb, the page, and what a reader's answers become."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium, find_chromium
from numpy.typing import NDArray
from report_pages import read
from scipy import ndimage

from mtbench import api
from mtbench.ledger import Rules
from mtbench.report import find_ledger, write_report
from mtbench.report.changes import TaskLedger

TOYS = Path(__file__).with_name("toys.py")
SUITE = """
[suite]
name = "toy"
[[datasets]]
name = "toy-paired"
[[datasets]]
name = "toy"
[[translators]]
name = "toy-same"
[[translators]]
name = "toy-shift"
params = { by = 0.5 }
[[segmenters]]
name = "sure"
[[metrics]]
name = "toy-overlap"
"""

SURE = """
import numpy as np
import mtbench

@mtbench.hookimpl
def mtbench_segmenters():
    yield mtbench.SegmenterSpec("sure", ":Sure")

class Sure:
    def fit(self, data, context):
        images, masks = data.train.floats()[:, 0], np.asarray(data.train.masks)
        self.at = float(images[masks == 1].mean() + images[masks == 0].mean()) / 2
    def save(self, folder):
        np.save(folder / "at.npy", self.at)
    def load(self, folder):
        self.at = float(np.load(folder / "at.npy"))
    def segment(self, images, context):
        return (images[:, 0] > self.at).long()
    def segment_with_confidence(self, images, context):
        return self.segment(images, context), 0.5 + (images[:, 0] - self.at).abs() / 2
"""
BARE = """
[suite]
name = "bare"
[[datasets]]
name = "toy-bare"
[[translators]]
name = "toy-same"
[[metrics]]
name = "toy-mean"
"""


def run(folder: Path, suite: str, segmenter: str = SURE, **selection: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "toy.toml").write_text(suite)
    toys = shutil.copy(TOYS, folder / "toys.py")
    (folder / "sure.py").write_text(segmenter)
    api.run(
        str(folder / "toy.toml"),
        out=str(folder / "results"),
        store=str(folder / "store"),
        device="cpu",
        executor="inline",
        quiet=True,
        **selection,
        plugin_files=[str(toys), str(folder / "sure.py")],
    )
    return folder


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a paired and an unpaired task."""
    return run(tmp_path_factory.mktemp("ledger") / "ran", SUITE)


@pytest.fixture(scope="module")
def ledgers(ran: Path) -> list[TaskLedger]:
    return find_ledger(ran / "results", Rules(), store=str(ran / "store"))


def artefacts(ran: Path, stage: str) -> list[tuple[dict[str, Any], Path]]:
    """Manifest and folder of every artefact of a stage."""
    found = (ran / "store" / "artefacts" / stage).rglob("manifest.json")
    return [(json.loads(path.read_text()), path.parent) for path in found]


def masks(ran: Path, dataset: str, translator: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predicted and source masks of the test slices of a translator, read without mtbench's reader."""
    ((_, predicted),) = [
        (manifest, folder)
        for manifest, folder in artefacts(ran, "segment")
        if manifest["unit"]["name"].startswith(f"segment {dataset} ") and translator in manifest["unit"]["name"]
    ]
    ((_, data),) = [each for each in artefacts(ran, "prepare") if each[0]["unit"]["plugin"] == dataset]
    splits = [
        json.loads((folder / "split.json").read_text())["sides"]["source"] for _, folder in artefacts(ran, "split")
    ]
    test = [i for i, split in enumerate(splits[0]) if split == "test"]
    return np.load(predicted / "masks.npy"), np.load(data / "masks-source.npy")[test]


def test_every_row_is_compared_volume_by_volume(ran: Path, ledgers: list[TaskLedger]) -> None:
    paired, unpaired = sorted(ledgers, key=lambda ledger: "paired" not in ledger.title)
    assert [side.role for side in paired.sides] == ["translator", "translator", "truth", "oracle"]
    assert [side.role for side in unpaired.sides] == ["translator", "translator", "oracle"]
    assert not paired.problem
    volumes = paired.volumes or {}
    assert len(set(volumes.values())) == 1
    # A case has two slices of 16 x 16 pixels.
    predicted, reference = masks(ran, "toy-paired", "toy-same")
    assert volumes["toy-same"] == len(predicted) / 2
    alone = 0
    for case in range(0, len(predicted), 2):
        seen, there = predicted[case : case + 2] > 0, reference[case : case + 2] > 0
        parts, count = ndimage.label(seen, np.ones((3, 3, 3)))
        alone += sum(not there[parts == part].any() for part in range(1, count + 1))
    own = [change.item.kind for change in paired.changes if change.row == "toy-same"]
    assert own.count("added") == alone


def test_shares_say_what_the_segmenter_also_gets_wrong(ran: Path, ledgers: list[TaskLedger]) -> None:
    paired, unpaired = sorted(ledgers, key=lambda ledger: "paired" not in ledger.title)
    changes = [change for change in paired.changes if change.role == "translator"]
    assert changes
    ids = [record.slice_id for record in paired.sides[0].images.slices]
    truth = next(side for side in paired.sides if side.role == "truth")
    by_id = {record.slice_id: truth.labels[i] for i, record in enumerate(truth.images.slices)}
    for change in changes:
        predicted, reference = masks(ran, "toy-paired", change.row)
        case = [i for i, name in enumerate(ids) if name.rpartition("-")[0] == change.case]
        differs = (np.stack([by_id[ids[i]] for i in case]) != reference[case]).ravel()
        where = change.item.where
        assert (change.truth is None) == (not len(where))
        if len(where):
            assert change.truth == pytest.approx(differs[where].mean())
        assert (predicted[case] != reference[case]).ravel()[where].all()
        assert change.position is None  # the toys have no spacing
    assert all(change.truth is None for change in unpaired.changes)
    assert all(change.truth is None for change in paired.changes if change.role == "truth")
    assert [change.excess for change in paired.changes] == sorted(
        (change.excess for change in paired.changes), reverse=True
    )


def test_the_confidence_is_that_of_the_changed_voxels(ran: Path, ledgers: list[TaskLedger]) -> None:
    """Of toy-same, whose translations are the source slices."""
    thresholds = {
        manifest["unit"]["inputs"]["data"]: float(np.load(folder / "at.npy"))
        for manifest, folder in artefacts(ran, "fit")
        if "sure on target" in manifest["unit"]["name"]
    }
    for ledger in ledgers:
        side = next(side for side in ledger.sides if side.row == "toy-same")
        at = thresholds[side.unit.inputs["data"]]
        images = np.stack([side.images.image(i) for i in range(len(side.images))]) / 255
        for change in (change for change in ledger.changes if change.row == "toy-same" and len(change.item.where)):
            case = [i for i, record in enumerate(side.images.slices) if record.case_id == change.case]
            expected = 0.5 + np.abs(images[case].ravel()[change.item.where] - at) / 2
            assert change.confidence == pytest.approx(expected.mean(), abs=0.003)
    for manifest, folder in artefacts(ran, "segment"):
        assert (folder / "log" / "confidence.npy").exists(), manifest["unit"]["name"]


def test_the_verb_prints_csv_json_and_tables(
    ran: Path, ledgers: list[TaskLedger], run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTBENCH_STORE", str(ran / "store"))
    said = run_cli("ledger", ran / "results")
    assert said.code == 0, said.err
    assert "changes of labels (segmenter sure)" in said.out
    assert "not hallucinations in general" in said.out
    lines = list(csv.DictReader(io.StringIO(run_cli("ledger", ran / "results", "--csv").out)))
    assert len(lines) == sum(len(ledger.changes) for ledger in ledgers)
    assert {line["size_unit"] for line in lines} == {"pixels"}
    assert {line["z_mm"] for line in lines} == {""}
    chosen = json.loads(run_cli("ledger", ran / "results", "--json", "-d", "toy-paired", "-t", "toy-same").out)
    (task,) = chosen["tasks"]
    assert {change["row"] for change in task["changes"]} <= {"toy-same"}
    assert any(change["on_truth"] is not None for change in task["changes"])
    assert [row["row"] for row in task["rows"]] == ["toy-same"]
    unknown = run_cli("ledger", ran / "results", "--region", "bolb")
    assert unknown.code == 2
    assert "unknown region 'bolb'. Did you mean 'blob'?" in unknown.err
    assert run_cli("ledger", ran / "results", "--csv", "--json").code == 2


def test_what_no_ledger_can_be_made_of_is_said(ran: Path, tmp_path: Path) -> None:
    bare = run(tmp_path / "bare", BARE)
    (ledger,) = find_ledger(bare / "results", Rules(), store=str(bare / "store"))
    assert ledger.problem.startswith("No ledger: it needs masks of the source")
    lost = find_ledger(ran / "results", Rules(), store=str(tmp_path / "nothing"))
    assert all(each.problem.startswith("No ledger: the store has no segmentations") for each in lost)
    page = read(write_report(ran / "results", tmp_path / "r.html", store=str(tmp_path / "nothing")))
    assert "No ledger: the store has no segmentations" in page.text


@pytest.mark.slow
def test_stale_rows_are_left_out_and_named(ran: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(ran, again)
    run(again, SUITE, SURE + "\n# edited: a new version of the segmenter\n", translators=("toy-same",))
    for ledger in find_ledger(again / "results", Rules(), store=str(again / "store")):
        assert "toy-same" in {side.row for side in ledger.sides}
        assert not any("toy-shift" in side.row for side in ledger.sides)
        assert any("toy-shift" in text and "out of date" in text for text in ledger.unknown)


def test_the_page_shows_the_changes_of_the_translators(ran: Path, ledgers: list[TaskLedger], tmp_path: Path) -> None:
    page = write_report(ran / "results", tmp_path / "r.html", store=str(ran / "store"))
    text = page.read_text()
    ids = {change.id for ledger in ledgers for change in ledger.changes if change.role == "translator"}
    assert text.count('<li class="change"') == len(ids) > 0
    assert all(f'data-id="{each}"' in text for each in ids)
    document = read(page)
    assert "not hallucinations in general" in document.text
    assert "truth, predicted label" in document.text
    assert document.unlabelled == []


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium")
def test_answers_are_kept_and_saved(ran: Path, tmp_path: Path) -> None:
    page = write_report(ran / "results", tmp_path / "r.html", store=str(ran / "store"))
    with chromium(str(find_chromium()), tmp_path / "profile") as tab:
        tab.open(page)
        tab.run("""document.querySelector('[data-answer="confirmed"]').click()""")
        tab.run("""document.querySelector(".reader").value = 'A "B"'""")
        tab.run("""document.querySelector(".reader").dispatchEvent(new Event("input"))""")
        tab.open(page)
        assert tab.run("""document.querySelector('[data-answer="confirmed"]').getAttribute("aria-pressed")""") == "true"
        assert tab.run("""document.querySelector(".reader").value""") == 'A "B"'
        tab.run("window.saved = []; window.make = URL.createObjectURL.bind(URL)")
        tab.run("URL.createObjectURL = (blob) => { saved.push(blob); return make(blob); }")
        tab.run("""document.querySelector(".save-csv").click(); document.querySelector(".save-json").click()""")
        lines = list(csv.DictReader(io.StringIO(tab.run("saved[0].text()"))))
        study = json.loads(tab.run("saved[1].text()"))
        assert not tab.problems
    assert [line["answer"] for line in lines].count("confirmed") == 1
    assert {line["reader"] for line in lines} == {'A "B"'}
    assert [each["id"] for each in study["changes"]] == [line["id"] for line in lines]
