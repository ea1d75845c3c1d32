"""What is damaged or missing on disk is noticed by whoever reads it: made again or named, never made into a number."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

import mtbench
from mtbench.errors import DamagedError, MtbenchWarning, StoreError
from mtbench.results.directory import Results
from mtbench.results.journal import journal_line
from mtbench.store.artefacts import Store

OUT = Path("mtbench-results/toy")
SUITE = toy_suite(translators=("toy-shift",), metrics=("toy-gap",))


@pytest.fixture
def run(run: Any) -> Any:
    return partial(run, suite=SUITE)


def values() -> dict[str, float]:
    return {str(r["translator"] or r["role"]): r["value"] for r in mtbench.load(OUT).to_pylist()}


def invert(path: Path) -> None:
    """Alter the second half of a file in place."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(byte ^ 0xFF for byte in content[len(content) // 2 :])
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lose(path: Path) -> None:
    path.unlink()


def lose_manifest(path: Path) -> None:
    (path.parent / "manifest.json").unlink()


def alter_manifest(path: Path) -> None:
    manifest = path.parent / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"toy"', '"tox"', 1))


def add(path: Path) -> None:
    (path.parent / "more.npy").write_bytes(b"x")


FILES = {
    "prepare": "images-source.npy",
    "split": "split.json",
    "translate": "images.npy",
    "score": "score.json",
}


@pytest.mark.parametrize("stage", FILES)
@pytest.mark.parametrize("damage", [invert, cut, lose, lose_manifest, alter_manifest, add])
def test_a_damaged_artefact_is_made_again(run: Any, store: Path, stage: str, damage: Any) -> None:
    assert run().code == 0
    expected = values()
    paths = list((store / "artefacts" / stage).rglob(FILES[stage]))
    for path in paths:
        damage(path)
    # What nobody reads is not looked at; so everything that reads these files has to be made.
    following = list(FILES)[list(FILES).index(stage) + 1 :]
    for other in ("extract", *following) if stage != "score" else ():
        shutil.rmtree(store / "artefacts" / other, ignore_errors=True)
    ran = run("--out", "again")
    assert ran.code == 0, ran.err
    assert {str(r["translator"] or r["role"]): r["value"] for r in mtbench.load("again").to_pylist()} == expected
    assert ran.err.count("It was moved to") == len(paths)
    assert len(list((store / "damaged").iterdir())) == len(paths)
    assert all(str(path.parent) in ran.err for path in paths)
    again = run("--out", "again")
    assert "moved" not in again.err
    assert again.code == 0


def test_a_damaged_fit_is_not_trained_again_in_silence(run: Any, store: Path) -> None:
    assert run().code == 0
    expected = values()
    fit = next(p for p in (store / "artefacts/fit").rglob("*") if p.is_file() and p.name != "manifest.json")
    invert(fit)
    for other in ("translate", "extract", "score"):
        shutil.rmtree(store / "artefacts" / other)
    ran = run("--out", "again")
    assert ran.code == 1
    assert str(fit.parent) in ran.err
    assert "--fresh fit" in ran.err
    rows = {r["translator"] or r["role"]: r for r in mtbench.load("again").to_pylist()}
    assert rows["toy-shift"]["status"] == "failed"
    assert {name for name, row in rows.items() if row["status"] == "measured"} == set(expected) - {"toy-shift"}
    invert(fit)  # A copy is put in its place.
    assert run("--out", "again").code == 0
    invert(fit)
    shutil.rmtree(store / "artefacts/translate")
    ran = run("--out", "again", "--fresh", "fit")
    assert ran.code == 0, ran.err
    assert {str(r["translator"] or r["role"]): r["value"] for r in mtbench.load("again").to_pylist()} == expected


def test_what_was_just_written_is_not_read_again(run: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hashes are known from the commit: their first readers look at the state of the files only."""
    from mtbench.store import hashes

    read: list[Path] = []
    plain = hashes._read
    monkeypatch.setattr(hashes, "_read", lambda path: read.append(path) or plain(path))
    assert run().code == 0
    assert run().code == 0
    assert not read
    translated = next((store / "artefacts/translate").rglob("images.npy"))
    translated.write_bytes(translated.read_bytes())
    shutil.rmtree(store / "artefacts/score")
    shutil.rmtree(store / "artefacts/extract")
    assert run().code == 0
    assert read == [translated]


def test_store_verify_finds_what_the_state_of_a_file_does_not_tell(run: Any, run_cli: Any, store: Path) -> None:
    assert run().code == 0
    expected = values()
    assert run_cli("store", "verify").code == 0
    path = next((store / "artefacts/translate").rglob("images.npy"))
    invert(path)
    # As if the disk had done it: what is remembered is of the file as it is now.
    now = path.stat()
    state = f"{now.st_size} {now.st_mtime_ns} {now.st_ctime_ns} {now.st_ino} {now.st_dev}"
    with closing(sqlite3.connect(store / "hashes.sqlite")) as db:
        assert db.execute("UPDATE files SET state = ? WHERE path = ?", (state, str(path))).rowcount == 1
        db.commit()
    log = next(p for p in (store / "artefacts/score").rglob("score.json"))
    log.unlink()
    checked = run_cli("store", "verify")
    assert checked.code == 1
    assert (
        f"{path.parent}: the artefact is damaged: its content has changed since it was written: images.npy"
        in checked.out
    )
    assert (
        f"{log.parent}: the artefact is damaged: its content has changed since it was written: score.json"
        in checked.out
    )
    assert "2 damaged" in checked.out
    shutil.rmtree(store / "artefacts/extract")
    shutil.rmtree(store / "artefacts/score")
    assert run().code == 0
    assert values() == expected
    assert run_cli("store", "verify").code == 0


def test_an_artefact_of_another_address_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.create("score", "ab1", {}, {}) as folder:
        (folder / "score.json").write_text("{}")
    shutil.copytree(store.path("score", "ab1"), store.path("score", "ab2"))
    assert store.get("score", "ab1") is not None
    with pytest.raises(DamagedError):
        store.get("score", "ab2")


# -- results


@pytest.fixture
def results(run: Any) -> Path:
    assert run().code == 0
    return OUT.resolve()


def test_an_artefact_that_another_process_replaces_is_whole_or_absent(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.create("score", "ab1", {}, {}) as folder:
        (folder / "score.json").write_text("{}")
    path, away, ended = store.path("score", "ab1"), tmp_path / "away", threading.Event()

    def replace() -> None:
        while not ended.is_set():
            path.rename(away)
            away.rename(path)

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        looks = [store.get("score", "ab1") for _ in range(3000)]
    finally:
        ended.set()
        replacing.join()
    assert None in looks
    assert any(looks)


def test_an_altered_line_of_a_journal_is_named(results: Path, run_cli: Any) -> None:
    (path,) = (results / "journal").iterdir()
    lines = path.read_text().splitlines(keepends=True)
    number = max(i for i, line in enumerate(lines) if '"value": 0.' in line)
    lines[number] = lines[number].replace('"value": 0.', '"value": 7.', 1)
    path.write_text("".join(lines))
    for table in results.glob("*.parquet"):
        table.unlink()
    with pytest.raises(StoreError, match=f"{path.name}, line {number + 1}.*checksum"):
        mtbench.load(results)
    shown = run_cli("results", "show", results)
    assert (shown.code, f"line {number + 1}" in shown.err) == (1, True)
    path.write_text("".join(lines).replace("{", "[", 1))
    with pytest.raises(StoreError, match=f"{path.name}, line 1: "):
        mtbench.load(results)


def test_a_last_line_is_read_if_it_is_whole(tmp_path: Path, results: Path, run_cli: Any) -> None:
    (path,) = (results / "journal").iterdir()
    whole = list(Results(results).entries())
    content = path.read_text()
    path.write_text(content.removesuffix("\n"))
    assert list(Results(results).entries()) == whole
    assert "incomplete last line" not in run_cli("results", "verify", results).out
    path.write_text(content[:-2])
    assert list(Results(results).entries()) == whole[:-1]
    assert "incomplete last line" in run_cli("results", "verify", results).out
    altered = journal_line({"type": "order", "rows": ["a"]}).replace('"a"', '"b"').removesuffix("\n")
    path.write_text(content + altered)
    with pytest.raises(StoreError, match="checksum"):
        list(Results(results).entries())


def test_no_flipped_bit_of_a_table_changes_a_number(results: Path) -> None:
    path = results / "scores.parquet"
    expected = values()
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.warns(MtbenchWarning, match="rebuilt from the journal"):
            assert values() == expected
        assert values() == expected


# -- raw files and the memory of their hashes


def images(folder: Path, value: int) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(3):
        path = folder / f"{i}.npy"
        path.unlink(missing_ok=True)
        np.save(path, np.full((32, 32), value + i, np.uint8))
        os.utime(path, (1e9, 1e9))
    return folder


def mae(tmp_path: Path) -> float:
    scores = mtbench.score(tmp_path / "ours", tmp_path / "truth", metrics=["mae"], paired=True, device="cpu")
    return float(scores[0]["value"])


def test_files_replaced_by_others_of_the_same_size_and_time(tmp_path: Path, store: Path) -> None:
    images(tmp_path / "truth", 10)
    images(tmp_path / "ours", 10)
    assert mae(tmp_path) == 0
    images(tmp_path / "ours", 61)
    assert mae(tmp_path) == pytest.approx(51)


def test_damaged_images_of_a_folder_are_read_again(tmp_path: Path, store: Path) -> None:
    images(tmp_path / "truth", 10)
    images(tmp_path / "ours", 30)
    expected = mae(tmp_path)
    for path in (store / "artefacts/prepare").rglob("images-source.npy"):
        invert(path)
    with pytest.warns(MtbenchWarning, match="moved to"):
        assert mae(tmp_path) == expected


def test_a_damaged_memory_of_hashes_is_told_once_and_made_again(tmp_path: Path, store: Path) -> None:
    images(tmp_path / "truth", 10)
    images(tmp_path / "ours", 30)
    expected = mae(tmp_path)
    (store / "hashes.sqlite").write_bytes(np.random.default_rng(0).bytes(28672))
    with pytest.warns(MtbenchWarning, match="hashes.sqlite was damaged") as told:
        assert mae(tmp_path) == expected
    assert len([w for w in told if "hashes.sqlite" in str(w.message)]) == 1
    assert mae(tmp_path) == expected
    with closing(sqlite3.connect(store / "hashes.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM files").fetchone()[0] >= 6


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o2775, 0o664), (0o755, 0o644), (0o700, 0o600)])
def test_the_memory_of_hashes_is_for_those_of_the_folder(tmp_path: Path, folder_mode: int, file_mode: int) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(folder_mode)
    before = os.umask(0o022)
    try:
        with closing(Store(folder).hashes()):
            pass
    finally:
        os.umask(before)
    assert (folder / "hashes.sqlite").stat().st_mode & 0o777 == file_mode


def test_where_it_cannot_be_written_the_users_cache_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the place of the store's folder: not even root can write below it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "store").write_text("")
    path = tmp_path / "a"
    path.write_text("content")
    notes: list[str] = []
    for _ in range(2):
        with closing(Store(tmp_path / "store").hashes(notes.append)) as hashes:
            known = hashes.sha256([path])
    assert known == {path: (7, "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73")}
    assert "is not writable" in notes[0]
    assert str(tmp_path / "cache/mtbench/hashes.sqlite") in notes[0]
    assert str(path).encode() in (tmp_path / "cache/mtbench/hashes.sqlite").read_bytes()
