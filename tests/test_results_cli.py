"""Results directories after the run: shown, merged, verified, and read by other programs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow.parquet as pq
import pytest
from toys import SUITE

import mtbench
from mtbench.analysis.table import build_table
from mtbench.errors import DataError, RequestError
from mtbench.results import bibliography
from mtbench.results.directory import Results
from mtbench.results.journal import journal_line
from mtbench.results.merge import merge
from mtbench.results.tablefile import write_table
from mtbench.results.unit import unit_details
from mtbench.results.verify import Finding, verify

OUT = Path("mtbench-results/toy")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one run of this file is kept for the tests that follow."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def ran(run: Any, toys: Path, shelf: Path) -> Path:
    """A results directory of the test's own, in the working folder, beside its suite."""
    Path("toy.toml").write_text(SUITE)
    if not (shelf / "toy").exists():
        done = run()
        assert done.code == 0, done.err
        shutil.copytree(OUT, shelf / "toy")
        return OUT.resolve()
    shutil.copytree(shelf / "toy", OUT)

    def here(record: dict[str, Any]) -> None:
        if record["type"] == "request":
            options = [str(toys) if word.endswith(toys.name) else word for word in record["options"]]
            record.update(suite=str(Path("toy.toml").resolve()), options=options)

    Results(edit(OUT.resolve(), here)).rebuild()
    return OUT.resolve()


def copied(ran: Path, name: str) -> Path:
    return Path(shutil.copytree(ran, ran.parent / name))


def edit(folder: Path, change: Any) -> Path:
    """Rewrite every record of a journal, as if another machine had written it."""
    for file in (folder / "journal").glob("*.jsonl"):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        for record in records:
            del record["sum"]
            change(record)
        file.write_text("".join(journal_line(record) for record in records))
    return folder


def score_of(record: dict[str, Any], translator: str = "toy-shift") -> dict[str, Any] | None:
    if record["type"] == "row" and record["columns"]["translator"] == translator and record["status"] == "measured":
        return record["scores"][0] if record["columns"]["metric"] == "toy-overlap" else None  # type: ignore[no-any-return]
    return None


def shifted(by: float) -> Any:
    def change(record: dict[str, Any]) -> None:
        score = score_of(record)
        if score is not None:
            score["value"] += by

    return change


def values(folder: Path, translator: str = "toy-shift", metric: str = "toy-overlap") -> list[float]:
    rows = mtbench.load(folder).to_pylist()
    return [r["value"] for r in rows if r["translator"] == translator and r["metric"] == metric]


# -- show


def test_show_prints_the_table_with_intervals_on_request(ran: Path, run_cli: Any) -> None:
    plain = run_cli("results", "show", ran)
    assert plain.code == 0, plain.err
    assert "toy-shift" in plain.out
    assert "**" in plain.out
    shown = run_cli("results", "show", "published:midl2024", "--std")
    assert "SPADE" in shown.out.upper()
    assert "standard deviation over seeds" in shown.out
    assert "95 % confidence interval" in run_cli("results", "show", ran, "--intervals").out
    assert "for any distribution" in run_cli("results", "show", ran, "--bounds").out.replace("\n", " ")
    assert run_cli("results", "show", ran, "--intervals", "--std").code == 2


def test_show_tells_how_a_unit_was_made_and_its_command_makes_it_again(ran: Path, run_cli: Any) -> None:
    row = next(
        r for r in mtbench.load(ran).to_pylist() if (r["translator"], r["metric"]) == ("toy-shift", "toy-overlap")
    )
    shown = run_cli("results", "show", ran, row["unit_key"][:8])
    assert shown.code == 0, shown.err
    for text in (row["unit_key"][:40], "toy-threshold", "mtbench 0.1.0", "Python", "revision", "seed", "cpu"):
        assert text in shown.out
    assert "host" not in shown.out
    details = unit_details(ran, row["unit_key"])
    assert details.request["plugin"] == "toy-overlap"
    assert [name for _, name, digest in details.inputs if digest and name.startswith("fit toy toy-shift")]
    words = shlex.split(details.command)
    assert words[:2] == ["mtbench", "run"]
    assert words[-4] == "--rerun"
    again = run_cli(*words[1:], "--executor", "inline")
    assert again.code == 0, again.err
    attempts = unit_details(ran, row["unit_key"]).attempts
    assert [t["status"] for t in attempts] == ["ok", "ok"]
    assert json.loads(run_cli("results", "show", ran, details.name, "--json").out)["key"] == row["unit_key"]


def test_the_command_names_the_store_that_was_named(ran: Path, toys: Path, run_cli: Any) -> None:
    done = run_cli("run", "toy.toml", "--plugin", toys, "--store", "shelf", "--out", "here", "--executor", "inline")
    assert done.code == 0, done.err
    words = shlex.split(unit_details(Path("here"), mtbench.load("here")["unit_key"][0].as_py()).command)
    assert words[words.index("--store") + 1] == str(Path("shelf").resolve())
    assert "--store" not in unit_details(ran, mtbench.load(ran)["unit_key"][0].as_py()).command


def test_a_suite_that_is_gone_or_has_changed_is_told(ran: Path) -> None:
    key = mtbench.load(ran)["unit_key"][0].as_py()
    suite = Path("toy.toml")
    suite.write_text(SUITE + "# other\n")
    assert "The suite has changed since" in unit_details(ran, key).remarks[0]
    suite.unlink()
    details = unit_details(ran, key)
    assert "no longer exists" in details.remarks[0]
    assert Path(shlex.split(details.command)[2]).read_text() == SUITE


def parts(line: str) -> list[str]:
    return line.split("\t")


def test_units_are_listed_and_what_is_no_unit_is_answered(ran: Path, run_cli: Any) -> None:
    listed = run_cli("results", "show", ran, "--units").out
    # Piped, one line for each unit, which `grep` and `cut` read.
    units = {key: (status, float(seconds), name) for key, status, seconds, name in map(parts, listed.splitlines())}
    assert ("ok", "fit toy toy-shift seed 0") in {(status, name) for status, _, name in units.values()}, units
    as_json = json.loads(run_cli("results", "show", ran, "--units", "--json").out)
    assert {unit["unit_key"][:12] for unit in as_json} == set(units)
    rows = json.loads(run_cli("results", "show", ran, "--json").out)
    assert {"translator", "metric", "value", "unit_key"} <= set(rows[0])
    wrong = run_cli("results", "show", ran, "fit toy toy-shitf")
    assert wrong.code == 2
    assert "Did you mean" in wrong.err
    assert run_cli("results", "show", "published:midl2024", "--units").code == 2
    key = re.search(r"^(\w{12})\t", listed, re.M)
    assert key is not None
    assert run_cli("results", "show", ran, key[1]).code == 0
    with pytest.raises(RequestError, match="unknown unit 'abc'"):
        unit_details(ran, "abc")


# -- merge


def test_the_same_results_twice_are_kept_once(ran: Path, run_cli: Any) -> None:
    merged = run_cli("results", "merge", ran, copied(ran, "b"), "-o", "both")
    assert merged.code == 0, merged.err
    assert "agree" in merged.err
    one, both = mtbench.load(ran), mtbench.load("both")
    assert one.to_pylist() == both.to_pylist()
    assert mtbench.load(ran, "attempts").num_rows == mtbench.load("both", "attempts").num_rows
    assert verify(Path("both")) == []


def test_values_within_rounding_agree(ran: Path) -> None:
    done = merge([ran, edit(copied(ran, "b"), shifted(5e-7))], Path("both"))
    assert not done.conflicts
    assert values(Path("both")) == values(ran)


def test_other_values_on_the_same_inputs_are_a_conflict_and_none_is_dropped(ran: Path, run_cli: Any) -> None:
    other = edit(copied(ran, "b"), shifted(0.25))
    merged = run_cli("results", "merge", ran, other, "-o", "both")
    assert merged.code == 1
    assert "conflict: toy, toy-shift, toy-overlap, seed 0" in merged.out
    assert merged.out.count("environment ") >= 2
    numbers = values(Path("both"))
    assert numbers == [values(ran)[0], values(other)[0]]
    assert "differ on the same inputs" in run_cli("results", "show", "both").out
    assert verify(Path("both")) == []
    # Merging once more finds nothing new.
    for i, side in enumerate((ran, other)):
        again = merge([Path("both"), side], Path(f"thrice{i}"))
        assert values(Path(f"thrice{i}")) == numbers
        assert not again.conflicts


def test_another_fit_is_a_replicate_and_kept_as_one_more(ran: Path) -> None:
    def refitted(record: dict[str, Any]) -> None:
        score = score_of(record)
        if score is not None:
            score["value"] += 0.1
            record["columns"].update(fit_digest="f" * 64, input_digest="e" * 64)

    other = edit(copied(ran, "b"), refitted)
    done = merge([ran, other], Path("both"))
    assert (done.replicates, done.conflicts) == (1, [])
    assert values(Path("both")) == pytest.approx([values(ran)[0], values(ran)[0] + 0.1])
    # The same replicate again does not weigh twice.
    for i, again in enumerate(([Path("both"), other], [other, Path("both")])):
        done = merge(again, Path(f"again{i}"))
        assert (done.replicates, done.apart, done.conflicts) == (i, 0, [])
        assert sorted(values(Path(f"again{i}"))) == sorted(values(Path("both")))


@pytest.mark.parametrize(
    "change",
    [
        {"translator_version": '{"revision":"2"}'},
        {"metric_version": '{"revision":"2"}'},
        {"segmenter_version": '{"revision":"2"}'},
        {"data_sha256": "d" * 64},
        {"dataset_revision": "2"},
        {"weights_sha256": "e" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_made_in_another_way_is_kept_and_never_averaged(ran: Path, change: dict[str, str]) -> None:
    def made_otherwise(record: dict[str, Any]) -> None:
        score = score_of(record)
        if score is not None:
            score["value"] += 0.1
            record["columns"].update(fit_digest="f" * 64, input_digest="e" * 64)
            (score if "weights_sha256" in change else record["columns"]).update(change)

    other = edit(copied(ran, "b"), made_otherwise)
    done = merge([ran, other], Path("both"))
    assert (done.apart, done.replicates, done.conflicts) == (1, 0, [])
    assert values(Path("both")) == [values(ran)[0], values(other)[0]]
    (section,) = build_table(mtbench.load("both"), columns=["toy-overlap"], rows=["toy-shift"]).sections
    shown = [cell.value for row in section.rows for cell in row.cells if cell.value is not None]
    assert sorted(shown) == sorted(values(Path("both")))


def test_a_value_stands_where_another_machine_failed(ran: Path) -> None:
    def failed(record: dict[str, Any]) -> None:
        if score_of(record) is not None:
            record.update(status="failed", scores=[{"label": "", "note": "out of memory"}], cases=[])
            record["columns"]["status"] = "failed"

    other = edit(copied(ran, "b"), failed)
    assert values(other) == [None]
    done = merge([other, ran], Path("both"))
    assert done.superseded == 1
    assert values(Path("both")) == values(ran)


def test_different_data_under_one_name_are_not_merged(ran: Path) -> None:
    def other_data(record: dict[str, Any]) -> None:
        if record["type"] == "attempt" and record["stage"] == "prepare":
            record["digest"] = "d" * 64

    with pytest.raises(DataError, match="differ from those in"):
        merge([ran, edit(copied(ran, "b"), other_data)], Path("both"))
    assert not Path("both").exists()


def test_what_cannot_be_merged_is_answered(ran: Path) -> None:
    with pytest.raises(RequestError, match="nothing to merge"):
        merge([ran, ran], Path("both"))
    with pytest.raises(RequestError, match="already contains results"):
        merge([ran, copied(ran, "b")], ran)
    Path("notes").mkdir()
    Path("notes/mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="notes is not empty"):
        merge([ran, copied(ran, "c")], Path("notes"))
    with pytest.raises(RequestError, match="is a file"):
        merge([ran, copied(ran, "d")], Path("notes/mine.txt"))
    assert [path.name for path in Path("notes").iterdir()] == ["mine.txt"]


def test_a_merge_cites_what_each_of_the_results_cites(ran: Path) -> None:
    one, other, silent = (copied(ran, name) for name in "abc")
    for folder in (one, other, silent):
        (folder / bibliography.FILE).unlink()
    bibliography.write(one, ["Li et al., A study, MICCAI 2020", "Both, MIDL 2019"])
    bibliography.write(other, ["Both, MIDL 2019", "Another, MIDL 2021"])
    merge([one, other, silent], Path("all"))
    works = ["Li et al., A study, MICCAI 2020", "Both, MIDL 2019", "Another, MIDL 2021"]
    assert bibliography.cited(Path("all")) == works
    merge([silent, copied(silent, "d")], Path("none"))
    assert not Path("none", bibliography.FILE).exists()


def test_results_are_merged_into_an_empty_folder_or_a_link_to_one(ran: Path) -> None:
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    merge([ran, copied(ran, "b")], Path("link"))
    assert verify(Path("empty")) == []
    expected = sorted(path.name for path in ran.iterdir())
    assert sorted(path.name for path in Path("empty").iterdir()) == expected, "and nothing temporary is left"


KILLED = """
import os, signal, sys
from pathlib import Path
from mtbench.results.merge import merge

def hook(event, arguments):
    global left
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

for point in range(1000):
    if (child := os.fork()) == 0:
        left = point
        sys.addaudithook(hook)
        merge([Path(r) for r in sys.argv[1:]], Path(f"both{point}"))
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(point)
"""


@pytest.mark.slow
def test_a_merge_that_is_killed_at_any_write_leaves_nothing_that_looks_whole(ran: Path, run_cli: Any) -> None:
    other = copied(ran, "b")
    ended = subprocess.run([sys.executable, "-c", KILLED, ran, other], capture_output=True, text=True, check=True)
    points = int(ended.stdout)
    assert points >= 8
    for point in range(points):
        if Path(f"both{point}").exists():
            assert point >= points - 1, "after the renaming only"
            continue
        shown = run_cli("results", "verify", f"both{point}")
        assert shown.code == 2
        assert "the results directory does not exist" in shown.err
    assert verify(Path(f"both{points}")) == []
    merge([ran, other], Path("both0"))
    assert verify(Path("both0")) == []
    assert not list(Path.cwd().glob(".tmp-*")), "the next merge removes what killed ones left"


# -- verify


def problems(folder: Path) -> list[Finding]:
    return [finding for finding in verify(folder) if finding.problem]


def test_a_whole_directory_has_no_problem(ran: Path, run_cli: Any) -> None:
    assert verify(ran) == []
    assert run_cli("results", "verify", ran).code == 0


def journal(ran: Path) -> Path:
    return next((ran / "journal").glob("*.jsonl"))


def flip(path: Path, text: bytes, bit: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(text) + len(text)] ^= bit
    path.write_bytes(content)


def test_one_altered_bit_of_a_line_is_found(ran: Path, run_cli: Any) -> None:
    flip(journal(ran), b'"value": 0.')
    for table in ran.glob("*.parquet"):
        table.unlink()
    assert "checksum differs" in problems(ran)[0].text
    checked = run_cli("results", "verify", ran, "--json")
    assert checked.code == 1
    assert json.loads(checked.out)[0]["problem"]


@pytest.mark.parametrize("table", ["scores", "attempts", "cases"])
def test_an_altered_or_truncated_table_is_found(ran: Path, table: str) -> None:
    path = ran / f"{table}.parquet"
    whole = path.read_bytes()
    # The last byte of the largest column's values: a page's header also holds bytes that nobody reads.
    group = pq.ParquetFile(path).metadata.row_group(0)
    column = max((group.column(i) for i in range(group.num_columns)), key=lambda column_: column_.total_compressed_size)
    last = (
        min(filter(None, (column.dictionary_page_offset, column.data_page_offset))) + column.total_compressed_size - 1
    )
    path.write_bytes(whole[:last] + bytes([whole[last] ^ 4]) + whole[last + 1 :])
    assert [f.where for f in problems(ran)] == [path.name]
    path.write_bytes(whole[:-100])
    assert "damaged" in problems(ran)[0].text
    path.unlink()
    assert not problems(ran)


def test_a_table_that_says_something_else_is_found(ran: Path) -> None:
    path = ran / "scores.parquet"
    table = pq.read_table(path)
    write_table(path, table.slice(1), Results(ran).state())
    assert "the table differs from the journal" in problems(ran)[0].text


def test_damaged_and_torn_lines_are_told_apart(ran: Path) -> None:
    path = journal(ran)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert not problems(ran)
    assert "incomplete last line" in verify(ran)[0].text
    path.write_bytes(whole.replace(b'{"', b"{", 1))
    assert "the line is damaged" in problems(ran)[0].text


def test_orphans_and_half_rows_are_found(ran: Path) -> None:
    def hurt(record: dict[str, Any]) -> None:
        if record["type"] == "row" and record["columns"]["metric"] == "toy-gap":
            record["scores"] = []
        if score_of(record) is not None:
            record["columns"]["unit_key"] = "0" * 64
        elif record["type"] == "row" and record["columns"]["metric"] == "toy-overlap":
            record["cases"] = [{"label": "", "by": "slice", "case": ["a"], "patient": [], "value": [1.0]}]

    edit(ran, hurt)
    next(ran.glob("environment-*.json")).unlink()
    (ran / ".tmp-left").touch()
    texts = "\n".join(f.text for f in verify(ran))
    for text in (
        "is measured but has no score",
        "no attempt at its unit succeeded",
        "some cases have no patient",
        "the file is missing",
        "incomplete file",
    ):
        assert text in texts


def test_records_of_a_newer_version_are_refused_clearly(ran: Path, run_cli: Any) -> None:
    def newer(record: dict[str, Any]) -> None:
        if score_of(record) is not None:
            record["schema_version"] = 99

    mixed = edit(copied(ran, "mixed"), newer)
    assert "schema version 99" in problems(mixed)[0].text
    refused = run_cli("results", "show", mixed)
    assert refused.code == 1
    assert "schema version 3 and 99" in refused.err

    def unknown(record: dict[str, Any]) -> None:
        if record["type"] == "row":
            record["columns"]["not_yet"] = 1

    odd = edit(copied(ran, "odd"), unknown)
    refused = run_cli("export", odd)
    assert refused.code == 1
    assert "not_yet" in refused.err


# -- other programs


@pytest.mark.parametrize("table", ["scores", "attempts", "cases"])
def test_tables_are_read_by_duckdb_pandas_and_polars(ran: Path, table: str) -> None:
    path = ran / f"{table}.parquet"
    ours = mtbench.load(ran, table)
    ducks = duckdb.sql(f"select * from '{path}'")
    assert ducks.columns == ours.column_names
    assert len(ducks.fetchall()) == ours.num_rows
    bears, pandas_ = polars.read_parquet(path), pandas.read_parquet(path)
    assert list(pandas_.columns) == bears.columns == ours.column_names
    assert len(pandas_) == len(bears) == ours.num_rows
    frame = polars.from_arrow(ours)
    assert isinstance(frame, polars.DataFrame)
    if table == "scores":
        (best,) = duckdb.sql(f"select max(value) from '{path}' where metric = 'toy-overlap'").fetchall()
        assert best == (max(ours.to_pandas().query("metric == 'toy-overlap'")["value"]),)
        assert frame.filter(polars.col("metric") == "toy-overlap")["value"].max() == best[0]
