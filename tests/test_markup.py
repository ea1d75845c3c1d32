"""Names and descriptions that hold rich's markup are printed as they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from mtbench.cli.plan import command as plan
from mtbench.cli.plugins import command as plugins
from mtbench.data import Task
from mtbench.engine.progress import LiveProgress
from mtbench.stages.table import Options
from mtbench.stages.unit import Unit

NAME = "x[red]y[/]z[/v2]"


def test_the_plan_of_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "s.toml").write_text(
        f"""[suite]
name = "s"
description = "a [bold]suite[/] [/]"
[[datasets]]
name = "d[/]"
plugin = "phantom-lumbar"
params = {{ size = 32, patients_source = 6, patients_target = 6 }}
[[translators]]
name = "{NAME}"
plugin = "identity"
[[metrics]]
name = "swd"
"""
    )
    done = CliRunner().invoke(plan, [str(tmp_path / "s.toml"), "--store", str(tmp_path / "store"), "--units"])
    assert done.exception is None, done.output
    for text in ("a [bold]suite[/] [/]", "d[/]", NAME):
        assert text in done.output


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200, force_terminal=True, color_system=None), out


def test_a_unit_that_is_done_or_failed() -> None:
    screen, out = console()
    progress = LiveProgress(screen)
    for key, status in (("k1", "ok"), ("k2", "failed")):
        unit = Unit(key, key, "fit", f"fit {NAME}", Task("t"), Options())
        progress.started(unit)
        progress.finished(unit, status, f"because of {NAME}", 1.0)
    assert out.getvalue().count(f"fit {NAME}") == 2
    assert f"because of {NAME}" in out.getvalue()


def test_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "mine.py").write_text(
        f"""import mtbench


@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec(
        "mine",
        ":Mine",
        description="about {NAME}",
        params={{"how": mtbench.Param("[/d]", choices=("[/d]", "[b]"), help="help [/h]")}},
    )


class Mine:
    pass
"""
    )
    for arguments, texts in (([], (f"about {NAME}",)), (["mine"], (f"about {NAME}", "help [/h] ([/d], [b])"))):
        done = CliRunner().invoke(plugins, [*arguments, "--plugin", str(tmp_path / "mine.py")])
        assert done.exception is None, done.output
        for text in texts:
            assert text in done.output
