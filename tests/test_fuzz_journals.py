"""Journals and tables of strangers end in mtbench's own error, in time and in bounded memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fuzz_journals
import pytest
from fuzz_journals import ODD, commands, journal, places, put, records, write
from toys import toy_suite

import mtbench
from mtbench.errors import DamagedError, StoreError
from mtbench.jsontext import DEEPEST, LARGEST, LONGEST_TEXT, parse
from mtbench.results.directory import Results
from mtbench.results.entries import entry_of
from mtbench.results.journal import journal_line, read_journal
from mtbench.results.merge import merge
from mtbench.results.verify import verify

SUITE = toy_suite("threads = 1", translators=("toy-shift",), metrics=("toy-gap", "toy-overlap"))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf") / "whole"


@pytest.fixture
def whole(run: Any, shelf: Path) -> Path:
    """Results of the one run of this file."""
    if not shelf.exists():
        done = run("--out", shelf, suite=SUITE)
        assert done.code == 0, done.err
    return shelf


@pytest.fixture
def mine(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "mine"))


# -- the door


def odd_records(whole: Path) -> Iterator[tuple[str, Any]]:
    """One record of each type with each of its values replaced in turn."""
    for record in {record["type"]: record for record in records(whole)}.values():
        for path in places(record):
            for value in (None, "x", [], 2**70, -1, float("inf"), "x" * (LONGEST_TEXT + 1)):
                yield f"{record['type']} {path} {value!r:.20}", put(record, path, value)


def test_whatever_is_wrong_with_a_value_is_a_fault_of_its_line_or_nothing(whole: Path, tmp_path: Path) -> None:
    """Of 2,000 records, each is an entry that can be written again, or a fault with a reason."""
    path = tmp_path / "odd.jsonl"
    odd = dict(odd_records(whole))
    path.write_text("".join(map(journal_line, odd.values())))
    lines = list(read_journal(path))
    assert len(lines) == len(odd) > 1000
    faults = {name: line.fault for name, line in zip(odd, lines, strict=True) if line.fault}
    assert all((line.entry is None) == bool(line.fault) for line in lines)
    assert len(faults) > len(odd) / 2
    kinds = {name.split()[0] for name in odd}
    assert {"order", "unit", "request", "started", "attempt", "row"} <= kinds
    for name in odd:
        if name.endswith((f" {2**70!r:.20}", f" {'x' * 30!r:.20}")):
            assert name in faults, name


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"decimals": -3}, "decimals is -3, expected a whole number from 0 to 12"),
        ({"decimals": 10**9}, "decimals is 1000000000, expected"),
        ({"decimals": True}, "decimals is True"),
        ({"n": 2**70}, "a whole number does not fit into 64 bits"),
        ({"segmenter_validation": "x"}, "segmenter_validation is 'x', expected JSON, region to number"),
        ({"segmenter_validation": '{"bone": "a"}'}, "expected JSON, region to number"),
        ({"not_yet": 1}, "unknown column 'not_yet'"),
        ({"status": None}, "status is null"),
    ],
)
def test_a_column_that_cannot_be_is_named_by_line(
    mine: Path, whole: Path, run_cli: Any, change: dict[str, Any], fault: str
) -> None:
    found = records(mine)
    number = next(i for i, record in enumerate(found) if record["type"] == "row")
    found[number]["columns"].update(change)
    write(mine, found)
    finding = next(finding for finding in verify(mine) if finding.problem)
    assert finding.where.endswith(f"line {number + 1}")
    assert fault in finding.text
    assert "delete the line" in finding.text
    for name, words in commands(mine, whole, found[0].get("unit_key", "0000")).items():
        done = run_cli(*words)
        assert "unexpected error" not in done.err, name
        if name not in ("verify",):
            assert (done.code, f"line {number + 1}" in done.err) == (1, True), (name, done.err)


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1, "1", None])
def test_seconds_are_a_finite_number(whole: Path, seconds: Any) -> None:
    attempt = next(record for record in records(whole) if record["type"] == "attempt")
    with pytest.raises(ValueError, match=r"seconds is .*finite number from 0"):
        entry_of(attempt | {"seconds": seconds})


def test_a_line_of_another_version_says_so(whole: Path) -> None:
    row = next(record for record in records(whole) if record["type"] == "row")
    with pytest.raises(ValueError, match=r"has no field 'new'; it has schema version 99, and this mtbench reads 3"):
        entry_of(row | {"schema_version": 99, "new": 1})
    with pytest.raises(ValueError, match="a record of type 'poem'"):
        entry_of({"type": "poem"})
    for raw in (5, None, [], {}, "x"):
        with pytest.raises(ValueError, match="not a record of a journal"):
            entry_of(raw)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * DEEPEST + "]" * DEEPEST, ""),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "nested more than 50 deep"),
        ("[" * 60000 + "]" * 60000, "nested more than 50 deep"),
        (json.dumps(["[" * 60000] * 2), ""),
        (json.dumps("a" * LONGEST_TEXT), ""),
        (json.dumps("a" * (LONGEST_TEXT + 1)), "more than 131072 characters"),
        (f"[{2**63 - 1}, {-(2**63)}]", ""),
        (f"[{2**63}]", "64 bits"),
        ("9" * 5000, "64 bits"),
        ('"\\ud83d\\ude00 \\udcff"', ""),
        ('"\\ud800"', "half a character"),
        (b'"\xff"', "no JSON"),
        ("{", "no JSON"),
        (b" " * (LARGEST + 1), "bytes"),
    ],
    ids=lambda value: f"{value[:20]!r}",
)
def test_the_limits_of_json(text: str | bytes, fault: str) -> None:
    if fault:
        with pytest.raises(ValueError, match=fault):
            parse(text)
    else:
        assert parse(text) == json.loads(text)


def test_a_line_too_long_is_one_fault_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('"' + "x" * (LARGEST + 10) + '"\n' + journal_line({"type": "order", "rows": ["a"]}))
    first, second = read_journal(path)
    assert "more than" in first.fault
    assert (second.number, second.fault, second.entry) == (2, "", entry_of({"type": "order", "rows": ["a"]}))


def test_a_last_line_without_its_end_says_the_same_to_tables_and_verify(mine: Path) -> None:
    expected = {name: mtbench.load(mine, name).to_pylist() for name in ("scores", "attempts", "cases")}
    path = journal(mine)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert {name: mtbench.load(mine, name).to_pylist() for name in expected} == expected
    assert verify(mine) == []


# -- tables and copies


def test_no_table_says_what_its_journal_could_not(mine: Path, tmp_path: Path) -> None:
    """Whatever is in a table whose checksum and state are right, the numbers are the journal's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mtbench.results.tablefile import write_table

    expected = mtbench.load(mine).to_pylist()
    path = mine / "scores.parquet"
    good, state = pq.read_table(path), Results(mine).state()
    rows = good.num_rows

    def other(name: str, values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
        return good.set_column(good.column_names.index(name), name, pa.array(values * rows, kind))

    huge = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), pa.array(["x" * 10**6]))
    for table in (
        other("value", ["0.5"]), other("n", [1.0]), good.drop_columns(["value"]), other("row_id", [None], pa.string()),
        other("decimals", [10**9]), other("decimals", [-3]), other("segmenter_validation", ["[" * 60000]),
        other("title", ["x" * 10**6]), other("title", [b"\xff"], pa.binary()), pa.table({"title": huge}),
        pa.concat_tables([good] * 20_000),
    ):  # fmt: skip
        write_table(path, table, state)
        assert [finding.where for finding in verify(mine) if finding.problem] == [path.name]
        with pytest.warns(mtbench.errors.MtbenchWarning, match="rebuilt from the journal"):
            assert mtbench.load(mine).to_pylist() == expected
        assert verify(mine) == []


@pytest.mark.parametrize("name", ["environment-*.json", "suite-*.toml"])
def test_a_copy_is_held_against_its_name(mine: Path, whole: Path, tmp_path: Path, name: str) -> None:
    (path,) = mine.glob(name)
    if path.suffix == ".json":
        path.write_text(path.read_text().replace('"python": "3', '"python": "4'))
    else:
        path.write_text(path.read_text() + "\n")
    (finding,) = verify(mine)
    assert (finding.problem, finding.where) == (True, path.name)
    with pytest.raises(DamagedError, match="a hash of its content"):
        merge([mine, whole], tmp_path / "both")
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("marker", ["[]", "5", "null", "{}", "[" * 60000, '{"format": ' + "9" * 5000 + "}"])
def test_a_marker_that_is_none_is_told(mine: Path, marker: str) -> None:
    (mine / "mtbench-results.json").write_text(marker)
    with pytest.raises(StoreError, match="cannot be read"):
        mtbench.load(mine)


# -- chance


def fuzz(whole: Path, place: Path, first: int, count: int) -> None:
    """Read a batch in a process of its own; anything but an error of mtbench's fails, with the seed to repeat it."""
    place.mkdir()
    done = subprocess.run(
        [sys.executable, str(Path(fuzz_journals.__file__)), str(whole), str(place), str(first), str(count)],
        capture_output=True,
        text=True,
        timeout=120 + 20 * count,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"the process died after {lines[-1:]}: {done.stderr[-2000:]}"
    *problems, last = lines
    texts = [f"seed {p['seed']}, {p['class']}, {p['file']}: {p['problem'][-1500:]}" for p in problems[:5]]
    assert not problems, "\n".join(texts)
    assert sum(last["tried"].values()) == count
    assert last["peak"] < 2**30, f"{last['peak'] / 2**20:.0f} MiB"


@pytest.mark.slow
def test_twenty_mutated_results(whole: Path, tmp_path: Path) -> None:
    assert len(ODD) > 20
    fuzz(whole, tmp_path / "fuzz", 0, 20)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(5))
def test_five_hundred_mutated_results(whole: Path, tmp_path: Path, batch: int) -> None:
    fuzz(whole, tmp_path / "fuzz", 1000 + 104 * batch, 104)
