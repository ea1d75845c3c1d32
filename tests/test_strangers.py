"""What comes from strangers, and odd surroundings: names, TOML, terminals, blind tables, hidden processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.table import Table
from toys import toy_suite

from mtbench import patterns
from mtbench.analysis.columns import anonymise
from mtbench.analysis.table import build_table
from mtbench.errors import RequestError, SuiteError
from mtbench.plan.suite import parse_suite
from mtbench.registry.userconfig import UserConfig
from mtbench.results.blind import blinded, blinding
from mtbench.results.directory import Results, load
from mtbench.results.entries import RunAsked
from mtbench.results.journal import journal_line
from mtbench.results.schema import readable
from mtbench.screen import Screen, one_line, visible
from mtbench.store import owner as owners
from mtbench.store.leases import Leases
from mtbench.toml import parse, read_text

HEAD = '[suite]\nname = "{}"\n[[datasets]]\nname = "toy"\n{}\n[[translators]]\nname = "a"\n[[metrics]]\nname = "m"\n'


def suite(name: str = "s", dataset: str = "") -> Any:
    return parse_suite(HEAD.format(name, dataset), "s.toml", Path())


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/b", "a\\\\b", "..", ".x", "", " x", "a\\u0000b", "a\\u001b[2J", "a\\nb", "x" * 101, "ä" * 101],
)
def test_a_suite_is_called_as_a_folder_can_be(name: str) -> None:
    with pytest.raises(SuiteError, match=r"line 2: (?:'name' is|a text holds a null character)"):
        suite(name)


@pytest.mark.parametrize("name", ["[bold]", "MRI → CT, v2", "a:b", "Größe"])
def test_other_names_are_kept(name: str) -> None:
    assert suite(name).name == name


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("split = {by = 'seed', validation = 0.6, test = 0.5}", "nothing to train on"),
        ("split = {by = 'folds', folds = 1000000000}", "from 2 to 1000"),
        ("split = {by = 'seed', seed = -1}", "whole number from 0"),
    ],
)
def test_a_split_that_cannot_be_is_refused_with_its_line(split: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message) as refused:
        suite(dataset=split)
    assert "line 5" in str(refused.value) or "line 3" in str(refused.value)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000 + "]" * 5000, "b = 1\na = " + "9" * 5000, "a." * 3000 + "b = 1"])
def test_toml_without_end_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(RequestError, match=r"f.toml, line [12]: "):
        parse(text, "f.toml")


@pytest.mark.parametrize("text", ['a = 1\nb = "x\\u0000"', '[a]\n"\\U00000000" = 1', 'a = 1\nb = [{c = ["\\u0000"]}]'])
def test_a_null_character_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(RequestError, match=r"f.toml, line 2: a text holds a null character"):
        parse(text, "f.toml")
    assert parse(r"a = '\u0000'", "f.toml") == {"a": r"\u0000"}


def test_a_byte_order_mark_is_left_out_and_other_encodings_are_named(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert parse(read_text(file), "s.toml") == {"a": 1}
    file.write_bytes("a = 1".encode("utf-16"))
    with pytest.raises(RequestError, match="UTF-16"):
        read_text(file)
    file.write_bytes(b"a = 1\nb = '\xff'")
    with pytest.raises(RequestError, match="line 2: the file cannot be read: its text is not UTF-8"):
        read_text(file)


def test_only_files_are_read_as_toml(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((Path("/dev/zero"), "device"), (tmp_path / "pipe", "pipe")):
        with pytest.raises(RequestError, match=f"this is a {kind}"):
            read_text(path)


@pytest.mark.parametrize("expression", [r"(a+)+$", r"(\d+)+x", r"(a|aa)+$", r"(x*)*y", "(" * 3000, "(["])
def test_an_expression_that_explodes_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"end|characters|unterminated|missing"):
        patterns.check(expression)


def test_an_expression_has_a_time_for_each_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patterns.check(r"(P\d+)_") == 1
    assert patterns.search(r"(P\d+)_", "x/P12_3.png")[1] == "P12"  # type: ignore[index]
    monkeypatch.setattr(patterns, "SECONDS", 0.2)
    with pytest.raises(RequestError, match="does not come to an end on 'qq"):
        patterns.search(r"(q+)+$", "q" * 60 + "!")


@pytest.mark.parametrize("option", ["--timeout", "--memory"])
def test_a_limit_is_a_finite_number(run: Any, option: str) -> None:
    for value in ("nan", "inf"):
        ran = run(option, value)
        assert ran.code == 2
        assert "Expected a finite number above 0" in ran.err


def test_a_store_or_an_output_that_can_be_no_folder_is_refused(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for option in ("--store", "--out"):
        for value in ("file", "file/below", "y" * 5000, "/dev/null"):
            ran = run(option, value)
            assert ran.code == 2, (option, value[:20])
            assert "bug" not in ran.err
            assert len(ran.err) < 600


@pytest.mark.parametrize("mode", [0o666, 0o646])
def test_a_configuration_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "mtbench.toml"
    file.write_text("[command.x]\nrun = 'a'\n")
    file.chmod(0o644)
    assert UserConfig(file).names("command") == ("x",)
    file.chmod(mode)
    with pytest.raises(RequestError, match="others can write this file"):
        UserConfig(file).names("command")
    file.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(RequestError, match="others can write this folder"):
        UserConfig(file).names("command")


# -- the terminal


def test_control_characters_become_signs() -> None:
    assert visible("a\x1b[2Jb\x07\x9b\u202e\tc\nd") == "a␛[2Jb␇��\tc\nd"
    assert one_line("a\n\x1b") == "a ␛"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_character_can_be_printed(encoding: str) -> None:
    code = (
        "from mtbench.screen import Screen, echo, echo_json\n"
        "Screen().print('MRI → CT ● ä \\x1b[2J \\udcff 中')\necho('é ↑')\necho_json({'a': '→ä\\udcff'}, readable=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode("utf-8" if encoding == "utf-8" else "latin-1").splitlines()
    assert "\x1b" not in lines[0]
    assert "\\xff" in lines[0]
    assert ("→" if encoding == "utf-8" else "->") in lines[0]
    assert json.loads("\n".join(lines[2:]))["a"] == "→ä\udcff"


@pytest.mark.parametrize("width", [5, 10, 20, 40, 80])
def test_no_number_is_cut_however_narrow(width: int) -> None:
    table = Table("a metric of a long name", box=None)
    for _ in range(4):
        table.add_column("value", justify="right")
    table.add_row("perceptual-distance", "3.249e+06", "-1234.5678", "0.123456789", "95.7")
    out = io.StringIO()
    Screen(file=out, width=width).print(table)
    words = out.getvalue().split()
    assert {"3.249e+06", "-1234.5678", "0.123456789", "95.7"} <= set(words)


def test_tables_of_strangers_hold_no_control_characters(run: Any, run_cli: Any) -> None:
    assert run("--out", "out").code == 0
    results = Path("out")
    for file in (results / "journal").glob("*.jsonl"):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        for record in records:
            del record["sum"]
            if record["type"] == "row":
                record["columns"]["translator"] = "\x1b[2J\x1b]0;owned\x07" + record["columns"]["translator"]
            if record["type"] == "attempt":
                record["name"] = "\x1b[2J" + record["name"]
            if record["type"] == "request":
                record["options"] = ["--plugin", "/tmp/evil.py", "--trust-suite"]
        file.write_text("".join(map(journal_line, records)))
    Results.open(results).rebuild()
    key = load(results)["unit_key"][-1].as_py()
    for arguments in (["show", "out"], ["show", "out", "--units"], ["show", "out", key], ["verify", "out"]):
        ran = run_cli("results", *arguments)
        assert "\x1b" not in ran.out + ran.err
    for form in ("md", "csv", "json"):
        assert "\x1b" not in run_cli("export", "out", "-f", {"md": "markdown"}.get(form, form)).out
    shown = run_cli("results", "show", "out", key).out
    assert "--trust-suite" in shown
    assert "Warning: the command loads code (/tmp/evil.py) and lets the suite run programs" in shown


def test_other_texts_of_tables_stay() -> None:
    table = pa.table({"note": ["a\nb", "é →", None], "value": [1.0, 2.0, 3.0]})
    assert readable(table).equals(table)


# -- blind tables

PLACES = ["/data/My Hospital/CT of Dr X", "/home/jane"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/data/My Hospital/CT of Dr X/sub dir/a b.png: cannot be read", "…/a b.png: cannot be read"),
        ("'/home/jane/x y/model.pth' is no checkpoint", "'…/model.pth' is no checkpoint"),
        ("see /home/jane and https://intern.clinic.org/jane/w.pth?key=1.", "see … and https://…."),
        ("ssh jane@login3: refused; on gpu-node7.clinic.org too", "ssh …: refused; on … too"),
        ("connect to 10.1.2.3:29500 failed", "connect to … failed"),
        ("file:///data/My%20Hospital/CT%20of%20Dr%20X/a.nii: torn", "file://…/a.nii: torn"),
        ("on GPU-Node7: no room; quota of jane.x1 exceeded", "on …: no room; quota of … exceeded"),
        ("[2001:db8::1]:8080 and fe80::1%eth0 at 12:30:45", "[…]:8080 and … at 12:30:45"),
        ("c10::Error in at::native, image[2:, ::2]", "c10::Error in at::native, image[2:, ::2]"),
        ("GPU-NODE is fine, fold 1/5, 0.5 mm/px", "GPU-NODE is fine, fold 1/5, 0.5 mm/px"),
    ],
)
def test_what_a_run_knows_is_taken_out_of_reasons(text: str, left: str) -> None:
    request = RunAsked(suite="s.toml", places=PLACES, hosts=["gpu-node7.clinic.org", "jane.x1"])
    assert blinding([request])(text) == left


def test_paths_that_nobody_named_are_taken_out_too() -> None:
    assert anonymise("'/a b/c d/e f.png' and /x y/z.nii: bad") == "'…/e f.png' and …/z.nii: bad"


def test_a_run_writes_down_what_blind_tables_leave_out(run: Any, tmp_path: Path) -> None:
    text = toy_suite("threads = 1", translators=("toy-shift",), metrics=("toy-gap",))
    secret = tmp_path / "Jane Doe"
    assert run("--out", secret / "out", suite=text).code == 0
    scores = load(secret / "out", private=True)
    note = pa.array([f"{secret}/in put/a.png is torn on {os.uname().nodename}"] * len(scores))
    scores = scores.set_column(scores.column_names.index("note"), "note", note)
    table = blinded(scores, blinding(Results.open(secret / "out").entries()))
    shown = str(build_table(table))
    assert "Jane" not in shown
    assert set(table["note"].to_pylist()) == {"…/a.png is torn on …"}


# -- hidden processes


def test_a_process_that_proc_hides_is_not_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = owners.owner()
    machine, boot, space, pid, start = name.split(".")
    proc = tmp_path / "proc"
    (proc / "self/ns").mkdir(parents=True)
    here = owners._place()
    monkeypatch.setattr(owners, "_place", lambda: here)
    monkeypatch.setattr(owners, "_PROC", str(proc))
    assert not owners.is_gone(name)  # it runs, and /proc does not show it
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert owners.is_gone(".".join((machine, boot, space, str(child.pid), "12345")))
    (proc / pid).mkdir()
    (proc / pid / "stat").write_text(f"{pid} (a) b) S " + " ".join(["0"] * 18 + [str(int(start) + 1)]))
    assert owners.is_gone(name)  # seen, and another process has its number


def test_a_lease_of_a_hidden_process_lapses_with_its_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = owners._place()
    hidden = Leases(tmp_path, patience=60.0)
    assert hidden.take("ab")
    monkeypatch.setattr(owners, "_place", lambda: here)
    monkeypatch.setattr(owners, "_PROC", str(tmp_path / "no-proc"))
    other = Leases(tmp_path, patience=0.3)
    assert other.take("ab") is None
    other.sweep()
    assert other.take("ab") is None
    import time

    time.sleep(0.5)
    assert other.take("ab")
    other.close()
    hidden.close()


# -- the disk


def test_the_handler_of_errors_needs_no_disk(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import tempfile

    from mtbench import cli

    def full(*args: Any, **named: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    assert cli._unforeseen(ValueError("odd")) == 1
    said = capsys.readouterr().err
    assert "ValueError: odd" in said
    assert "No space left" in said
    assert cli._unforeseen(OSError(28, "No space left", "/tmp/x")) == 1
    assert "/tmp/x: the disk is full" in capsys.readouterr().err


def test_a_plan_of_thousands_of_lines_is_printed_whole(run_cli: Any, toys: Path) -> None:
    seeds = ",".join(map(str, range(250)))
    Path("toy.toml").write_text(toy_suite(f"threads = 1\nseeds = [{seeds}]", translators=("toy-shift",)))
    shown = run_cli("plan", "toy.toml", "--plugin", toys)
    assert shown.code == 0, shown.err
    lines = [line for line in shown.out.splitlines() if line.startswith("toy-shift seed ")]
    assert [line.split()[2] for line in lines] == [str(seed) for seed in range(250)]
    assert len({line.count("◌") for line in lines}) == 1


def test_a_device_is_no_split_file(run: Any) -> None:
    text = toy_suite("threads = 1", translators=("toy-shift",), metrics=("toy-gap",))
    ran = run("--set", 'datasets.toy.split={by="file", file="/dev/zero"}', suite=text)
    assert ran.code != 0
    assert "/dev/zero, which is a device or a pipe" in ran.err
