"""``mtbench store``: what artefacts cost, who uses them, what can go, and models trained elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

import mtbench
from mtbench.results.journal import journal_line
from mtbench.store.leases import Leases

SUITE = toy_suite(translators=("toy-shift",), metrics=("toy-overlap",))


@pytest.fixture
def run(run: Any) -> Any:
    return partial(run, suite=SUITE)


def age(store: Path, hours: float = 2) -> None:
    """Let everything in the store be older."""
    then = time.time() - hours * 3600
    for path in (*store.rglob("*"), store):
        os.utime(path, (then, then))


FILES = SUITE.replace(
    '[[datasets]]\nname = "toy"',
    '[[datasets]]\nname = "toy-files"\nroot = "images"\nsplit = { by = "seed", same_people = false }',
)


def write_files(seed: int) -> None:
    """The images of ``FILES``."""
    for domain in ("source", "target"):
        Path("images", domain).mkdir(parents=True, exist_ok=True)
        for patient in range(6):
            image = np.random.default_rng([seed, patient]).random((16, 16))
            np.save(Path("images", domain, f"p{patient}_0.npy"), image)


def shown(run_cli: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run_cli("store", "show", "--json").out)
    return report


def test_what_is_used_is_shown_with_its_cost_and_never_goes(run: Any, run_cli: Any, store: Path) -> None:
    assert run().code == 0
    age(store)
    artefacts = shown(run_cli)["artefacts"]
    assert artefacts
    assert all(a["users"] == [str(Path("mtbench-results/toy").resolve())] for a in artefacts)
    assert not any(a["can_go"] for a in artefacts)
    assert all(a["bytes"] > 0 and a["seconds"] > 0 for a in artefacts)
    text = run_cli("store", "show", "--all")
    assert "fit" in text.out
    assert "mtbench-results" in text.out
    assert "Nothing to delete" in run_cli("store", "prune", "--yes").out
    assert len(shown(run_cli)["artefacts"]) == len(artefacts)


def test_what_a_changed_suite_left_behind_goes(run: Any, run_cli: Any, store: Path) -> None:
    run()
    run("--out", "other", suite=SUITE.replace('"toy-shift"', '"toy-shift"\nparams.by = 0.1'))
    everything = {a["address"] for a in shown(run_cli)["artefacts"]}
    shutil.rmtree("other")
    age(store)
    refused = run_cli("store", "prune", "--yes")
    assert refused.code == 2
    assert "other" in refused.err
    assert "--forget-missing" in refused.err
    spared = run_cli("store", "prune", "--forget-missing", "--dry-run")
    assert "fit toy toy-shift[by=0.1]" in spared.out
    assert {a["address"] for a in shown(run_cli)["artefacts"]} == everything
    assert run_cli("store", "prune", "--forget-missing", "--yes", "--keep", "fit").code == 0
    left = shown(run_cli)
    assert not left["missing"]
    assert [a["name"] for a in left["artefacts"] if not a["users"]] == ["fit toy toy-shift[by=0.1] seed 0"]
    assert "Nothing to do" in run().err  # what is in use was left alone


def test_young_artefacts_and_their_leftovers_are_spared(run: Any, run_cli: Any, store: Path) -> None:
    run()
    shutil.rmtree("mtbench-results")
    (store / "artefacts/fit/aa").mkdir(exist_ok=True)
    (store / "artefacts/fit/aa/.tmp-killed").mkdir()
    assert "Nothing to delete" in run_cli("store", "prune", "--yes", "--forget-missing").out
    age(store)
    assert shown(run_cli)["leftovers"] == 1
    assert "Deleted" in run_cli("store", "prune", "--yes", "--forget-missing").out
    assert not shown(run_cli)["artefacts"]
    assert not list(store.rglob(".tmp-*"))


def test_a_results_directory_that_cannot_be_read_is_not_taken_for_gone(run: Any, run_cli: Any, store: Path) -> None:
    run()
    age(store)
    (journal,) = Path("mtbench-results/toy/journal").glob("*.jsonl")
    whole = journal.read_text()
    journal.write_text(whole.replace('"status": "ok"', '"status": "ko"', 1))
    assert "cannot be read" in run_cli("store", "show").out
    refused = run_cli("store", "prune", "--yes", "--forget-missing")
    assert refused.code == 2
    assert "the artefacts that it uses are unknown" in refused.err
    assert "mtbench-results/toy" in refused.err
    journal.write_text(whole)
    (note,) = (store / "users").glob("*.json")
    note.write_text("{")
    assert str(note) in run_cli("store", "prune", "--yes").err
    run()
    assert "Nothing to delete" in run_cli("store", "prune", "--yes").out, "a run has repaired the note"


def test_results_that_were_moved_are_found_after_a_run_there(run: Any, run_cli: Any, store: Path) -> None:
    run()
    before = {a["address"] for a in shown(run_cli)["artefacts"]}
    Path("mtbench-results/toy").rename("moved")
    age(store)
    refused = run_cli("store", "prune", "--yes")
    assert refused.code == 2
    assert "run their suites once with --out at the new location" in refused.err
    assert "prune --forget-missing would free" in " ".join(run_cli("store", "show").out.split())
    run("--out", "moved")
    run_cli("store", "prune", "--yes", "--forget-missing")
    assert {a["address"] for a in shown(run_cli)["artefacts"]} == before


def test_data_that_were_changed_back_are_in_use(run: Any, run_cli: Any, store: Path) -> None:
    """The last artefacts are those of the first run, which the journal had named before those of the second."""
    write_files(1)
    run(suite=FILES)
    first = {a["address"] for a in shown(run_cli)["artefacts"]}
    write_files(2)
    run(suite=FILES)
    write_files(1)
    assert "Nothing to do" in run(suite=FILES).err
    age(store)
    report = shown(run_cli)
    used = {a["address"] for a in report["artefacts"] if a["users"]}
    assert used == first
    assert all(a["seconds"] for a in report["artefacts"]), "what the second run took is still known"
    assert run_cli("store", "prune", "--yes").code == 0
    assert "Nothing to do" in run(suite=FILES).err


def test_a_fit_that_was_kept_is_in_use_by_whoever_kept_it(run: Any, run_cli: Any, toys: Path, store: Path) -> None:
    run()
    fits = [a["address"] for a in shown(run_cli)["artefacts"] if a["stage"] == "fit"]
    toys.write_text(toys.read_text() + "\n# edited\n")
    run("--keep", "fit", "--out", "other")
    shutil.rmtree("mtbench-results")
    age(store)
    run_cli("store", "prune", "--yes", "--forget-missing")
    assert [a["address"] for a in shown(run_cli)["artefacts"] if a["stage"] == "fit"] == fits
    assert "Nothing to do" in run("--keep", "fit", "--out", "other").err


def test_what_a_run_at_work_has_begun_stays(run: Any, run_cli: Any, store: Path) -> None:
    """However long a fit of another machine writes nothing."""
    run()
    address = "ab" * 32
    temporary, checkpoint = store / "artefacts/fit/ab/.tmp-elsewhere", store / "partial" / address
    temporary.mkdir(parents=True)
    checkpoint.mkdir(parents=True)
    leases = Leases(store)
    assert leases.take(address)
    age(store)
    os.utime(leases.beat)
    assert "Nothing to delete" in run_cli("store", "prune", "--yes").out
    leases.close()
    said = run_cli("store", "prune", "--yes").out
    assert "1 leftover of a killed run, 1 checkpoint that no results directory needs" in " ".join(said.split())
    assert not temporary.exists()
    assert not checkpoint.exists()


def test_a_checkpoint_that_a_results_directory_goes_on_from_stays(run: Any, run_cli: Any, store: Path) -> None:
    run()
    (journal,) = Path("mtbench-results/toy/journal").glob("*.jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    fit = next(r for r in records if r["type"] == "attempt" and r["stage"] == "fit")
    for record in records:
        del record["sum"]
        if record["type"] == "attempt" and record["unit_key"] == fit["unit_key"]:
            record.update(status="timeout", reason="too long", digest="")
    journal.write_text("".join(map(journal_line, records)))
    checkpoint = store / "partial" / fit["artefact"]
    checkpoint.mkdir(parents=True)
    age(store)
    run_cli("store", "prune", "--yes")
    assert checkpoint.exists()


def test_what_cannot_be_deleted_is_named(run: Any, run_cli: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    shutil.rmtree("mtbench-results")
    age(store)
    real = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.parts[-3] == "split":
            raise PermissionError(13, "Permission denied")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    pruned = run_cli("store", "prune", "--yes", "--forget-missing")
    assert pruned.code == 1
    assert "not deleted: split toy: Permission denied" in pruned.err
    assert "1 entry could not be deleted" in pruned.out
    assert [a["stage"] for a in shown(run_cli)["artefacts"]] == ["split"]


def test_an_unknown_stage_and_an_empty_store(run_cli: Any, store: Path) -> None:
    assert "The store is empty" in run_cli("store", "show").out
    refused = run_cli("store", "prune", "--keep", "fitt")
    assert refused.code == 2
    assert "fit" in refused.err


# -- adopt


def fitted(store: Path) -> Path:
    (folder,) = (p.parent for p in store.glob("artefacts/fit/*/*/step.npy"))
    return folder


def test_a_fit_from_another_store_is_adopted_and_trains_nothing(
    run: Any, run_cli: Any, toys: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "calls.log"))
    run()
    first = mtbench.load("mtbench-results/toy").select(["role", "value", "fit_digest"]).to_pylist()
    monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / "second"))
    adopt = ("store", "adopt", "toy.toml", fitted(store), "-t", "toy-shift", "--plugin", toys)
    refused = run_cli(*adopt)
    assert refused.code == 2
    assert "Prepare the data first" in refused.err
    run("-t", "toy-same", "--out", "prepared")
    (tmp_path / "calls.log").unlink()
    assert run_cli(*adopt).code == 0
    assert run("--out", "again").code == 0
    assert "fit shift" not in (tmp_path / "calls.log").read_text()
    assert mtbench.load("again").select(["role", "value", "fit_digest"]).to_pylist() == first
    again = run_cli(*adopt)
    assert again.code == 2
    assert "--replace" in again.err
    assert run_cli(*adopt, "--replace").code == 0


def test_what_cannot_be_adopted_is_told(run: Any, run_cli: Any, toys: Path, store: Path, tmp_path: Path) -> None:
    run("-t", "toy-same")
    other = tmp_path / "weights.bin"
    other.write_bytes(b"no")
    adopt = ("store", "adopt", "toy.toml", "--plugin", toys)
    wrong = run_cli(*adopt, other, "-t", "toy-shift")
    assert wrong.code == 1
    assert "cannot load the files" in wrong.err
    assert not list(store.glob("artefacts/fit/*/*/weights.bin"))
    assert "no translator in this plan is trained" in run_cli(*adopt, other, "-t", "toy-same").err
    several = run_cli(*adopt, other, "-t", "toy-shift", "--seed", "0", "--seed", "1")
    assert "the selection matches 2 fits" in several.err
    assert "nothing does not exist" in run_cli(*adopt, tmp_path / "nothing", "-t", "toy-shift").err
    (tmp_path / "empty").mkdir()
    assert "contains no files" in run_cli(*adopt, tmp_path / "empty", "-t", "toy-shift").err
