"""Whole runs with tiny plugins: what is computed, what is kept, and what happens when something goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import left_over, until
from toys import SUITE

import mtbench
from mtbench.errors import DiskFullError, RequestError, StoreError
from mtbench.results.directory import Results
from mtbench.results.entries import Order
from mtbench.store.files import telling

pytestmark = pytest.mark.usefixtures("log")

UNITS = 22
OUT = "mtbench-results/toy"


class Calls:
    """What the toys were asked to do since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def new(self) -> Counter[str]:
        text = self.path.read_text() if self.path.exists() else ""
        self.path.unlink(missing_ok=True)
        return Counter(line.split(" by=")[0] for line in text.splitlines())


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "calls.log"))
    monkeypatch.delenv("TOY_FAIL", raising=False)
    return Calls(tmp_path / "calls.log")


def rows(table: str = "scores", path: str | Path = OUT) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = mtbench.load(path, table).to_pylist()
    return records


def values(path: str | Path = OUT) -> dict[tuple[Any, ...], float]:
    """Every number by what it is of."""
    return {
        (r["dataset"], r["fold"], r["role"], r["translator"], r["translator_params"], r["seed"], r["metric"]): r[
            "value"
        ]
        for r in rows(path=path)
    }


# -- a run that goes well


def test_a_run_fills_the_tables(run: Any, log: Calls, store: Path) -> None:
    ran = run()
    assert ran.code == 0, ran.err
    assert f"{UNITS} units computed" in ran.err
    assert f"Results: {OUT}" in ran.err
    assert log.new() == {
        "prepare": 1,
        "fit shift": 1,
        "fit threshold on target": 1,
        "fit threshold on source": 1,
        "translate shift": 1,
        "extract": 4,
        "score overlap": 4,
        "score gap": 7,  # once for each translator, and five draws for the floor
    }
    by_place = {(r["role"], r["translator"], r["metric"]): r for r in rows()}
    assert {r["status"] for r in by_place.values()} == {"measured"}
    assert set(by_place) == {
        *(("translator", t, m) for t in ("toy-same", "toy-shift") for m in ("toy-overlap", "toy-gap")),
        ("ceiling", "", "toy-overlap"),
        ("floor", "", "toy-gap"),
        ("oracle", "", "toy-overlap"),
    }
    shift = by_place["translator", "toy-shift", "toy-overlap"]
    assert shift["value"] > 0.9
    assert shift["value"] > by_place["translator", "toy-same", "toy-overlap"]["value"] + 0.2
    assert (shift["label"], shift["seed"], shift["segmenter"], shift["segmenter_seed"]) == (
        "blob",
        0,
        "toy-threshold",
        0,
    )
    assert (shift["n_translated"], shift["n_patients_translated"], shift["n"]) == (2, 1, 2)
    assert by_place["translator", "toy-same", "toy-overlap"]["seed"] is None
    tries = rows("attempts")
    assert {a["status"] for a in tries} == {"ok"}
    assert len(tries) == UNITS
    keys = {a["unit_key"] for a in tries}
    assert {r["unit_key"] for r in by_place.values()} <= keys
    digests = {a["digest"] for a in tries}
    assert set(shift["fit_digest"].split(",")) <= digests
    (environment,) = {a["environment_id"] for a in tries}
    assert "numpy" in Path(OUT, f"environment-{environment}.json").read_text()
    assert not left_over(store, Path(OUT))


def test_the_cases_table_has_every_slice(run: Any) -> None:
    run()
    cases = [c for c in rows("cases") if c["translator"] == "toy-shift"]
    (row,) = [r for r in rows() if r["translator"] == "toy-shift" and r["metric"] == "toy-overlap"]
    assert {c["by"] for c in cases} == {"slice"}
    assert np.mean([c["value"] for c in cases]) == pytest.approx(row["value"])
    assert all(c["case"].startswith(c["patient"] + "-") for c in cases)
    assert {c["unit_key"] for c in cases} == {row["unit_key"]}


def test_running_again_does_nothing_and_says_so(run: Any, log: Calls) -> None:
    run()
    log.new()
    before = values(), len(rows("attempts")), [p.read_bytes() for p in sorted(Path(OUT, "journal").iterdir())]
    ran = run()
    assert ran.code == 0
    assert f"Nothing to do: all {UNITS} units are cached" in ran.err
    assert not log.new()
    assert before == (values(), len(rows("attempts")), [p.read_bytes() for p in sorted(Path(OUT, "journal").iterdir())])


def test_additions_cost_only_themselves(run: Any, log: Calls) -> None:
    run()
    log.new()
    metric = SUITE + '[[metrics]]\nname = "toy-mean"\n'
    assert f"3 units computed, {UNITS} reused" in run(suite=metric).err
    assert log.new() == {"score mean": 3}
    translator = metric.replace("[[segmenters]]", '[[translators]]\nname = "toy-noisy"\n[[segmenters]]')
    run(suite=translator)
    assert log.new() == {"extract": 1, "score overlap": 1, "score gap": 1, "score mean": 1}
    run(suite=translator.replace('"toy-shift"', '"toy-shift"\nparams.by = [1.0, 0.5]'))
    added = log.new()
    assert added["fit shift"] == 1
    assert "prepare" not in added
    assert not [name for name in added if "threshold" in name]


def test_another_results_directory_takes_everything_from_the_store(run: Any, log: Calls) -> None:
    run()
    log.new()
    ran = run("--out", "elsewhere")
    assert "Nothing to do" in ran.err
    assert not log.new()
    assert values("elsewhere") == values()
    assert {a["status"] for a in rows("attempts", "elsewhere")} == {"cached"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of raw images for the dataset ``toy-files``."""
    for domain in ("source", "target"):
        (tmp_path / "images" / domain).mkdir(parents=True)
        for position, name in enumerate(f"{p}_{i}" for p in "abcd" for i in range(2)):
            image = np.random.default_rng([position, len(domain), ord(domain[0])]).random((8, 8))
            np.save(tmp_path / "images" / domain / f"{name}.npy", image)
    return tmp_path / "images"


FILES = SUITE.replace(
    '[[datasets]]\nname = "toy"',
    '[[datasets]]\nname = "toy-files"\nroot = "images"\nsplit = { by = "seed", same_people = false }',
)


def test_changed_raw_data_renew_what_hangs_on_them(run: Any, log: Calls, images: Path) -> None:
    run(suite=FILES)
    first = values()
    log.new()
    path = images / "target" / "a_0.npy"
    os.utime(path)  # touched, not changed
    run(suite=FILES)
    assert "prepare" not in log.new()
    np.save(path, np.load(path) / 2)
    assert run(suite=FILES).code == 0
    assert log.new()["prepare"] == 1
    assert values().keys() == first.keys()
    assert values() != first
    (images / "target" / "d_1.npy").unlink()
    assert run(suite=FILES).code == 0
    assert log.new()["prepare"] == 1


def draw(images: Path, side: str) -> None:
    """Correct the mask of one source slice on that side."""
    (split,) = Path(os.environ["MTBENCH_STORE"]).glob("artefacts/split/*/*/split.json")
    names = sorted(p.stem for p in (images / "source").glob("*.npy"))
    name = names[json.loads(split.read_text())["sides"]["source"].index(side)]
    with (images / "source" / f"{name}.mask").open("wb") as file:
        np.save(file, np.eye(8, dtype=np.uint8))


def test_a_corrected_test_mask_costs_no_training(run: Any, log: Calls, images: Path) -> None:
    run(suite=FILES)
    first = values()
    log.new()
    draw(images, "test")
    assert run(suite=FILES).code == 0
    # Two translators and the oracle are scored again; nothing is trained, translated or segmented again.
    done = log.new()
    assert done.pop("files")
    assert done == {"prepare": 1, "score overlap": 3}
    assert {key[-1] for key, value in values().items() if first[key] != value} == {"toy-overlap"}


def test_a_corrected_training_mask_trains_what_reads_it(run: Any, log: Calls, images: Path) -> None:
    run(suite=FILES)
    log.new()
    draw(images, "train")
    assert run(suite=FILES).code == 0
    calls = log.new()
    assert calls["fit threshold on source"] == 1
    assert "fit shift" not in calls


def test_an_edit_that_changes_no_data_runs_nothing_below_it(run: Any, log: Calls, images: Path) -> None:
    run(suite=FILES)
    log.new()
    shutil.copytree(images, images.with_name("moved"))
    ran = run(suite=FILES.replace('root = "images"', 'root = "moved"'))
    assert ran.code == 0
    assert set(log.new()) == {"files"}  # the same files in another folder are the same data
    assert run("--fresh", "prepare", suite=FILES).code == 0
    assert set(log.new()) == {"files", "prepare"}


def test_results_do_not_depend_on_the_batch_size(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = SUITE.replace('"toy-same"', '"toy-noisy"').replace(
        'name = "toy"\n[[tr', 'name = "toy"\nparams.slices = 5\n[[tr'
    )
    results = []
    for size in ("1", "3", "8"):
        monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / f"store-{size}"))
        assert run("--batch-size", size, "--out", f"out-{size}", suite=suite).code == 0
        images = (tmp_path / f"store-{size}/artefacts/translate").rglob("images.npy")
        results.append((values(f"out-{size}"), sorted(p.read_bytes() for p in images)))
    assert results[0] == results[1] == results[2]


def test_memory_that_does_not_suffice_halves_the_batch_and_changes_no_score(run: Any, tmp_path: Path) -> None:
    ran = run("-t", "toy-greedy:100", "-t", "toy-greedy:1", "-t", "toy-greedy:0")
    assert ran.code == 1
    scores: dict[str, list[Any]] = {}
    for row in rows():
        if row["role"] == "translator":
            scores.setdefault(row["translator_params"], []).append((row["status"], row["value"]))
    failed, halved, whole = (scores[f'{{"room":{room}}}'] for room in (0, 1, 100))
    assert halved == whole
    assert {status for status, _ in halved} == {"measured"}
    assert {status for status, _ in failed} == {"failed"}
    tries = {r["name"]: r for r in rows("attempts") if r["stage"] == "translate"}
    assert tries["translate toy toy-greedy[room=0] seed 0"]["status"] == "oom"
    assert "even with one image per batch" in tries["translate toy toy-greedy[room=0] seed 0"]["reason"]
    assert "batch halved to 1" in tries["translate toy toy-greedy[room=1] seed 0"]["log"]


def test_seeds_are_drawn_from_and_told_apart(run: Any) -> None:
    run("--seed", "0", "--seed", "1", "-t", "toy-noisy", "-t", "toy-shift", "-t", "toy-same", "-m", "toy-gap")
    numbers = values()
    for translator in ("toy-noisy", "toy-shift"):
        one, two = (v for k, v in numbers.items() if k[3] == translator)
        assert one != two
    assert len([k for k in numbers if k[3] == "toy-same"]) == 1


def test_fresh_makes_a_stage_anew_and_nothing_else(run: Any, log: Calls) -> None:
    run()
    log.new()
    before = values()
    ran = run("--fresh", "fit")
    assert log.new() == {"fit shift": 1, "fit threshold on target": 1, "fit threshold on source": 1}
    assert f"3 units computed, {UNITS - 3} reused" in ran.err
    assert values() == before
    ran = run("--fresh", "fitt")
    assert ran.code == 2
    assert "unknown stage 'fitt'" in ran.err
    assert "'fit'" in ran.err


def test_folds_give_each_patient_one_test(run: Any) -> None:
    suite = SUITE.replace('name = "toy"\n[[tr', 'name = "toy"\nsplit = { by = "folds", folds = 3 }\n[[tr')
    assert run(suite=suite).code == 0
    assert {r["fold"] for r in rows()} == {0, 1, 2}
    assert {r["split"] for r in rows()} == {"folds[folds=3,same_people=true,seed=0,validation=0.15]"}
    tested = Counter(c["case"] for c in rows("cases") if c["translator"] == "toy-same")
    assert len(tested) == 12
    assert set(tested.values()) == {1}


def test_patients_are_split_by_a_file(run: Any, tmp_path: Path) -> None:
    suite = SUITE.replace('name = "toy"\n[[tr', 'name = "toy"\nsplit = { by = "file", file = "split.csv" }\n[[tr')
    sides = ["train", "train", "train", "val", "test", "none"]
    lines = ["patient,split", *(f"{d}{p},{side}" for d in "st" for p, side in enumerate(sides))]
    (tmp_path / "split.csv").write_text("\n".join(lines))
    assert run(suite=suite).code == 0
    assert {c["patient"] for c in rows("cases") if c["translator"] == "toy-same"} == {"s4"}
    for line, message in (
        ("s4,train", "'s4' is in two splits: test and train"),
        ("s0,trian", "'trian' is not a split"),
        ("s9", "line 14"),
    ):
        (tmp_path / "split.csv").write_text("\n".join([*lines, line]))
        ran = run("--out", "other", suite=suite)
        assert ran.code == 1
        assert message in ran.err
        assert "split.csv" in ran.err
        assert "Traceback" not in ran.err
    (tmp_path / "split.csv").write_text("\n".join(lines[:-1]))
    assert "patient 't5' is not in the split file" in run("--out", "other", suite=suite).err
    (tmp_path / "split.csv").unlink()
    ran = run("--out", "other", suite=suite)
    assert (ran.code, "does not exist" in ran.err) == (2, True)


def test_skipped_rows_are_in_the_tables(run: Any) -> None:
    assert run("-t", "toy-never", "-t", "toy-same", "-m", "toy-overlap").code == 0
    (skipped,) = [r for r in rows() if r["status"] == "skipped"]
    assert (skipped["value"], skipped["note"]) == (None, "toy-never: it never takes part")


def test_a_changed_note_takes_the_place_of_the_old_one(run: Any) -> None:
    run()
    run(suite=SUITE.replace('name = "toy"\n[[tr', 'name = "toy"\nnote = "pipeline run, not a result"\n[[tr'))
    assert {r["task_note"] for r in rows()} == {"pipeline run, not a result"}
    assert len(rows()) == 7


def test_rerun_makes_a_unit_or_everything_anew(run: Any) -> None:
    assert run().code == 0
    assert "1 unit computed, 21 reused" in run("--rerun", "fit toy toy-shift seed 0").err
    assert "Nothing to do" in run("--rerun", "failed").err
    assert "22 units computed" in run("--rerun", "all").err
    ran = run("--rerun", "fit toy toy-shit seed 0")
    assert (ran.code, "Did you mean 'fit toy toy-shift seed 0'" in ran.err) == (2, True)


# -- units that fail


def test_a_failing_unit_leaves_a_row_and_stops_only_what_needs_it(
    run: Any, log: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_FAIL", "fit shift")
    ran = run()
    assert ran.code == 1
    assert f"{UNITS - 6} units computed" in ran.err
    assert "1 failed, 5 skipped because of these failures" in ran.err
    assert "failed: fit toy toy-shift seed 0: ValueError: asked to fail" in ran.err
    assert "Traceback" not in ran.err
    by_status = {s: [r for r in rows() if r["status"] == s] for s in ("measured", "failed")}
    assert len(by_status["measured"]) == 5
    assert {(r["translator"], r["metric"]) for r in by_status["failed"]} == {
        ("toy-shift", "toy-overlap"),
        ("toy-shift", "toy-gap"),
    }
    for row in by_status["failed"]:
        assert row["value"] is None
        assert "fit toy toy-shift seed 0 failed: ValueError: asked to fail at fit shift" in row["note"]
    (error,) = [a for a in rows("attempts") if a["status"] == "error"]
    assert (error["stage"], error["error_type"]) == ("fit", "ValueError")
    assert "Traceback" in error["log"]
    assert len([a for a in rows("attempts") if a["status"] == "skipped"]) == 5

    log.new()
    monkeypatch.delenv("TOY_FAIL")
    again = run()
    assert again.code == 0
    assert set(log.new()) == {"fit shift", "translate shift", "extract", "score overlap", "score gap"}
    assert {r["status"] for r in rows()} == {"measured"}
    assert len(rows()) == 7
    fits = [a for a in rows("attempts") if a["name"] == "fit toy toy-shift seed 0"]
    assert [(a["attempt"], a["status"]) for a in fits] == [(1, "error"), (2, "ok")]


def test_attempts_are_in_the_order_of_time_whatever_the_journals_are_called(run: Any) -> None:
    assert run().code == 0
    (first,) = (Path(OUT) / "journal").glob("*.jsonl")
    assert run("--rerun", "all").code == 0
    first.rename(first.with_name("z.jsonl"))
    attempts: dict[str, list[int]] = {}
    for attempt in rows("attempts"):
        attempts.setdefault(attempt["name"], []).append(attempt["attempt"])
    assert set(map(tuple, attempts.values())) == {(1, 2)}


def test_a_failing_metric_costs_no_translation(run: Any, log: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_FAIL", "score gap")
    assert run().code == 1
    log.new()
    monkeypatch.delenv("TOY_FAIL")
    assert run().code == 0
    assert log.new() == {"score gap": 7}


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("shape", r"translate() returned shape (2, 1, 16, 15). Expected (2, 1, 16, 16)"),
        ("nan", "translate() returned NaN or infinite values for slice 's"),
        ("numpy", "translate() returned ndarray. Expected a torch tensor"),
        ("raises", "KeyError: 'it has no such key' (toys.py, line"),
        ("refuses", "OddTranslator cannot be created: ValueError: it does not like this mode"),
        ("exits", "SystemExit: 3"),
    ],
)
def test_a_translator_that_breaks_its_contract(mode: str, message: str, run: Any) -> None:
    ran = run("-t", f"toy-odd:mode={mode}", "-t", "toy-same", "-m", "toy-mean")
    assert ran.code == 1
    assert message in ran.err
    assert "Traceback" not in ran.err
    if "Expected" in message or "cannot" in message:
        assert "translator 'toy-odd' of " in ran.err
    status = {r["translator"]: r["status"] for r in rows() if r["role"] == "translator"}
    assert status == {"toy-odd": "failed", "toy-same": "measured"}
    (failed,) = [r for r in rows() if r["status"] == "failed"]
    assert message in failed["note"]


def test_what_leaves_the_range_is_clamped_and_noted(run: Any, store: Path) -> None:
    assert run("-t", "toy-odd:mode=wide", "-m", "toy-mean").code == 0
    (manifest,) = (store / "artefacts/translate").rglob("manifest.json")
    assert json.loads(manifest.read_text())["info"]["notes"] == [
        "2 of 2 images had values outside [0, 1], which were clamped"
    ]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("nan", "the value is nan. Expected a finite number"),
        ("none", "compute() returned None. Expected mtbench.Score objects"),
        ("number", "compute() returned 3.0. Expected mtbench.Score objects"),
        ("text", "the value is 'three'. Expected a finite number"),
        ("ragged", "the cases have 3 ids, 2 patients and 1 values"),
        ("float32", ""),
        ("label", "label is 1. Expected a value of type str"),
        ("interval", "ci is (0.4,). Expected a value of type tuple[float, float] | None"),
        ("ids", "ids is (1, 2). Expected a value of type tuple[str, ...]"),
        ("log", ""),
    ],
)
def test_a_metric_that_breaks_its_contract(mode: str, message: str, run: Any) -> None:
    ran = run("-t", "toy-same", "-m", f"toy-odd:mode={mode}", "-m", "toy-mean")
    assert ran.code == (1 if message else 0)
    assert message in ran.err
    if message:
        assert "metric 'toy-odd' of " in ran.err
    status = {r["metric"]: r["status"] for r in rows() if r["role"] == "translator"}
    assert status == {"toy-odd": "failed" if message else "measured", "toy-mean": "measured"}


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("size", "the image is 12 x 16 pixels. Expected 16 x 16"),
        ("nan", "the image contains NaN"),
        ("channels", "the image has shape (3, 16, 16). Expected one grey channel"),
        ("range", "Expected values in [0, 1]"),
        ("label", "the mask contains the value 7. Expected one of 0, 1"),
        ("mask-size", "the mask has shape (12, 16), its image (16, 16)"),
        ("no-mask", "an image without a mask"),
        ("twice", "two source slices have the id 's1-0'"),
        ("nobody", "no patient_id"),
        ("number", "patient_id is 7. Expected a value of type str"),
        ("type", "prepare yielded ndarray. Expected mtbench.Sample"),
        ("record", "a sample has the record 's1-1'. Expected mtbench.Slice"),
        ("empty", "the image has shape (0, 16). Expected one grey channel"),
        ("domain", "a sample is of domain 'sauce'"),
        ("one", "the source domain has 1 image. Expected at least two images"),
    ],
)
def test_a_dataset_that_cannot_be_used(mode: str, message: str, run: Any) -> None:
    ran = run("-d", f"toy-odd:mode={mode}", "-d", "toy", "-t", "toy-same", "-m", "toy-mean")
    assert ran.code == 1
    assert message in ran.err
    assert "toy-odd" in ran.err
    assert "Traceback" not in ran.err
    status = {r["dataset"]: r["status"] for r in rows()}
    assert status == {"toy-odd": "failed", "toy": "measured"}


def test_a_patient_on_two_sides_is_refused(run: Any) -> None:
    ran = run("-d", "toy-two-sides", "-t", "toy-same", "-m", "toy-mean")
    assert ran.code == 1
    assert "patient 's0' is in two splits: train and validation" in ran.err
    assert {r["status"] for r in rows()} == {"failed"}


def test_too_few_patients_are_refused_with_the_way_out(run: Any) -> None:
    ran = run("-d", "toy:patients=2", "-t", "toy-same", "-m", "toy-mean")
    assert ran.code == 1
    assert "2 patients cannot be divided" in ran.err
    assert 'split = "demo"' in ran.err
    suite = SUITE.replace(
        'name = "toy"\n[[tr', 'name = "toy"\nparams.patients = 1\nparams.slices = 8\nsplit = "demo"\n[[tr'
    )
    assert run(suite=suite).code == 0


def test_a_dataset_whose_files_are_missing_or_cannot_be_listed(
    run: Any, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = FILES.replace("[[translators]]", '[[datasets]]\nname = "toy"\n[[translators]]', 1)
    ran = run(suite=both.replace('"images"', '"nowhere"'))
    assert ran.code == 2
    assert "nowhere, which does not exist" in ran.err
    assert not Path(OUT).exists(), "nothing was begun"
    monkeypatch.setenv("TOY_FAIL", "files")
    ran = run(suite=both)
    assert ran.code == 1
    assert "files() failed: ValueError: asked to fail" in ran.err
    assert {r["dataset"]: r["status"] for r in rows()} == {"toy-files": "failed", "toy": "measured"}


def test_quiet_still_tells_failures(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_FAIL", "fit shift")
    ran = run("--quiet")
    assert ran.code == 1
    assert "asked to fail" in ran.err
    assert "[1/" not in ran.err


# -- results directories


@pytest.mark.parametrize("places", [["out"], ["out/journal", "store", "store/users", "store/artefacts/fit/aa"]])
def test_what_a_killed_run_left_is_swept_wherever_it_was(run: Any, tmp_path: Path, places: list[str]) -> None:
    if len(places) > 1:
        assert run("--out", "out", "--store", "store").code == 0
    name = subprocess.run(
        [sys.executable, "-c", "from mtbench.store.files import temporary_prefix; print(temporary_prefix())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for place in places:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / f"{name}abc").write_text("{")
    # Killed over the very first file, a run has left that in an otherwise empty folder, which is not a foreign one.
    ran = run("--out", "out", "--store", "store")
    assert ran.code == 0, ran.err
    assert not left_over(tmp_path / "out", tmp_path / "store")


def test_a_folder_that_is_no_results_directory(run: Any, run_cli: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    ran = run("--out", "other")
    assert ran.code == 2
    assert "not empty and not a results directory" in ran.err
    assert "--out" in ran.err
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    assert "is a file" in run("--out", "other/thesis.tex").err
    for folder, text in (
        ("other", "this is not a results directory"),
        ("none", "the results directory does not exist"),
    ):
        ran = run_cli("export", folder)
        assert ran.code == 2
        assert text in ran.err
        assert "Traceback" not in ran.err
    with pytest.raises(RequestError, match="unknown table 'score'"):
        mtbench.load(tmp_path / "other", "score")


def test_a_damaged_marker_or_table_is_told(run: Any, run_cli: Any) -> None:
    run("-m", "toy-gap", "-t", "toy-same")
    expected = values()
    Path(OUT, "scores.parquet").write_bytes(b"no table")
    ran = run_cli("export", OUT)
    assert ran.code == 0
    assert "scores.parquet: the table has changed since it was written; it was rebuilt from the journal" in ran.err
    assert values() == expected
    Path(OUT, "mtbench-results.json").write_text('{"format": 99}')
    assert "format 99" in run_cli("export", OUT).err
    Path(OUT, "mtbench-results.json").write_text("{")
    assert "cannot be read" in run_cli("export", OUT).err


def test_a_torn_journal_line_is_left_out(run: Any) -> None:
    run("-m", "toy-gap", "-t", "toy-same")
    expected = values()
    (journal,) = Path(OUT, "journal").iterdir()
    with journal.open("a") as file:
        file.write('{"type": "row", "row": "abc", "colu')
    assert values() == expected
    assert run("-m", "toy-gap", "-t", "toy-same").code == 0
    assert values() == expected


def test_a_damaged_manifest_makes_its_unit_again(run: Any, store: Path) -> None:
    run()
    expected = values()
    damaged = 0
    for manifest in (store / "artefacts/translate").rglob("manifest.json"):
        if json.loads(manifest.read_text())["unit"]["plugin"] == "toy-shift":
            manifest.write_text("{")
            damaged += 1
    assert damaged == 1
    ran = run()
    assert ran.code == 0
    assert "manifest.json has changed since it was written" in ran.err
    assert "1 unit computed" in ran.err
    assert values() == expected


# -- kills and full disks


def test_a_killed_run_loses_nothing_that_was_finished(
    run: Any, start: Any, log: Calls, toys: Path, store: Path
) -> None:
    process = start("--executor", "inline", TOY_HANG=str(toys.with_name("fitting")))
    until(toys.with_name("fitting").exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = [json.loads(line) for p in (toys.parent / OUT / "journal").iterdir() for line in p.read_text().splitlines()]
    finished = {r["name"] for r in done if r["type"] == "attempt" and r["status"] == "ok"}
    assert {"prepare toy", "score toy toy-same toy-gap"} <= finished
    assert log.new()["fit shift"] == 1
    assert values(toys.parent / OUT)

    ran = run()
    assert ran.code == 0
    assert f"{UNITS - len(finished)} units computed, {len(finished)} reused" in ran.err
    calls = log.new()
    assert calls["fit shift"] == 1
    assert "prepare" not in calls
    assert {r["status"] for r in rows()} == {"measured"}
    assert len(rows()) == 7
    for left in left_over(store):
        assert not (left / "manifest.json").exists()


def test_an_interrupted_run_says_that_it_goes_on(start: Any, toys: Path) -> None:
    process = start("--executor", "inline", TOY_HANG=str(toys.with_name("fitting")))
    until(toys.with_name("fitting").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None, "the first one waits for the unit at work"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Press Ctrl-C again to stop at once" in err
    assert "Finished units are kept" in err
    assert "Traceback" not in err
    assert not left_over(toys.parent)


@pytest.mark.parametrize("where", ["the store", "the results"])
def test_a_full_disk_is_one_paragraph_and_loses_nothing(
    where: str, run: Any, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk fills up after some units: a flush that fails stands for it."""
    disk = store if where == "the store" else Path(OUT).resolve()
    count = 0

    def full(handle: int) -> None:
        nonlocal count
        count += Path(os.readlink(f"/proc/self/fd/{handle}")).is_relative_to(disk)
        if count > 30:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ran = run()
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert "unexpected error" not in ran.err
    assert ran.err.count("the disk is full") == 1
    assert "Free some space and rerun the same command" in ran.err
    kept = len(list((store / "artefacts").rglob("manifest.json")))
    assert 3 <= kept < UNITS
    assert not left_over(store, Path(OUT))
    again = run()
    assert again.code == 0
    assert f"{UNITS - kept} units computed, {kept} reused" in again.err
    assert {r["status"] for r in rows()} == {"measured"}


@pytest.mark.faults
def test_a_disk_that_is_really_full(toys: Path, tmp_path: Path) -> None:
    """The whole run on a disk of 300 kB, then the same with room."""
    suite = SUITE.replace('name = "toy"\n[[tr', 'name = "toy"\nparams.size = 64\n[[tr')
    toys.with_name("toy.toml").write_text(suite)
    command = (
        f"{sys.executable} -m mtbench run {tmp_path}/toy.toml --plugin {toys} --device cpu --out out --store store"
    )
    script = f"mount -t tmpfs -o size=300k none {tmp_path}/disk && cd {tmp_path}/disk && {command}; echo code $? >&2; "
    script += f"mount -o remount,size=30m {tmp_path}/disk; {command}; echo code $? >&2"
    (tmp_path / "disk").mkdir()
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    ran = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    first, _, second = ran.stderr.partition("code 1\n")
    assert "Error: " in first
    assert first.count("the disk is full") == 1
    assert "Traceback" not in first
    assert second.endswith("code 0\n")
    assert " reused" in second


def test_only_refusals_of_the_place_itself_are_blamed_on_it(tmp_path: Path) -> None:
    """A plugin that may not read its data is not told to choose another --store."""
    place = tmp_path / "store" / "artefact"
    for error, expected in (
        (PermissionError(13, "denied", str(tmp_path / "images" / "a.png")), PermissionError),
        (PermissionError(13, "denied", str(place / "x.npy")), StoreError),
        (PermissionError(13, "denied", str(tmp_path)), StoreError),
        (OSError(28, "full"), DiskFullError),
        (OSError(122, "quota"), DiskFullError),
    ):
        with pytest.raises(expected), telling(place):
            raise error


def test_a_journal_on_a_full_disk(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full refuses every write as a full disk does, the flush at closing included."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    run("-m", "toy-gap", "-t", "toy-same")
    results = Results.open(Path(OUT))
    expected = values()
    # A link, since an empty journal is deleted; not in the journal's folder, where links are refused.
    link = Path("full.jsonl")
    link.symlink_to("/dev/full")

    plain = Path.open

    def opened(path: Path, mode: str = "r", **how: Any) -> Any:
        return plain(link if mode == "a" else path, mode, **how)

    def write() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", opened)
            with results.writing():
                results.append(Order(rows=[]))

    with pytest.raises(StoreError, match="the disk is full"):
        write()
    assert values() == expected
