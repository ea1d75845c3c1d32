"""What would stop a run is found before it starts, and told all at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mtbench.engine.amounts import size
from mtbench.registry.probing import Imports, trial

HEAD = (
    "import mtbench\n@mtbench.hookimpl\ndef mtbench_translators():\n    yield mtbench.TranslatorSpec('odd', ':Odd')\n"
)


def test_imports_that_hang_crash_or_raise_do_so_elsewhere(tmp_path: Path) -> None:
    bodies = {
        "fine": "print('hello')",
        "hang": "import time; time.sleep(60)",
        "crash": "import ctypes; ctypes.string_at(0)",
        "exit": "import os; os._exit(3)",
        "raise": "raise BaseException('no')",
        "thread": "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
        "last": "",
    }
    for name, body in bodies.items():
        (tmp_path / f"{name}.py").write_text(body)
    problems = trial([Imports(tmp_path / f"{name}.py") for name in bodies], patience=2)
    assert {list(bodies)[position]: problem for position, problem in problems.items()} == {
        "hang": "it did not finish within 2 s",
        "crash": "it ended the process (SIGSEGV)",
        "exit": "it ended the process (exit code 3)",
        "raise": "BaseException: no",
    }
    assert trial([]) == {}


def test_an_installed_plugin_that_hangs_stops_nobody(
    run_cli: Any, make_distribution: Any, toys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTBENCH_IMPORT_SECONDS", "2")
    make_distribution("hanger", {"hanger": "hanger"}, {"hanger": "import time; time.sleep(600)"})
    suite = '[suite]\nname = "s"\n[[datasets]]\nname = "toy"\n[[translators]]\nname = "toy-same"\n'
    Path("s.toml").write_text(suite + '[[metrics]]\nname = "toy-mean"\n')
    ran = run_cli("run", "s.toml", "--plugin", toys, "--executor", "inline", "--device", "cpu")
    assert ran.code == 0, ran.err


def test_all_that_is_missing_is_told_at_once(run_cli: Any, toys: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(HEAD.replace("':Odd'", "'no_such_module_anywhere:Odd'"))
    (tmp_path / "s.toml").write_text(
        '[suite]\nname = "s"\n[[datasets]]\nname = "toy-files"\nroot = "nowhere"\n[[translators]]\nname = "odd"\n'
        '[[translators]]\nname = "toy-folder"\nparams.folder = "neither"\n[[metrics]]\nname = "toy-mean"\n'
    )
    ran = run_cli("run", "s.toml", "--plugin", toys, "--plugin", "odd.py")
    assert ran.code == 2
    assert "3 problems (no unit was started)" in ran.err
    for text in ("nowhere, which does not exist", "neither, which does not exist", "No module named 'no_such_module"):
        assert text in ran.err
    assert not (tmp_path / "mtbench-results").exists()


@pytest.mark.parametrize(("where", "code"), [("", 2), ("start = 's.toml'", 0)])
def test_a_translator_that_needs_no_fit_has_its_weight_files_looked_for(
    where: str, code: int, run_cli: Any, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless a parameter names a file in their place."""
    monkeypatch.setenv("MTBENCH_WEIGHTS", str(tmp_path / "none"))
    start = "mtbench.Param(None, 'path', role='weights')"
    head = HEAD.replace("':Odd'", f"':Odd', weights=('inception-fid',), params={{'start': {start}}}")
    body = (
        "class Odd:\n    def __init__(self, start): pass\n"
        "    def translate(self, batch, context): return batch.source\n"
    )
    (tmp_path / "odd.py").write_text(head + body)
    (tmp_path / "s.toml").write_text(
        '[suite]\nname = "s"\nreferences = false\n[[datasets]]\nname = "toy"\n[[metrics]]\nname = "toy-mean"\n'
        f'[[translators]]\nname = "odd"\nparams = {{ {where} }}\n'
    )
    plugins = ("--plugin", toys, "--plugin", "odd.py")
    ran = run_cli("run", "s.toml", *plugins, "--executor", "inline", "--device", "cpu")
    assert ran.code == code, ran.err
    missing = "odd (no unit was started): the weight file 'inception-fid' is not installed"
    assert (missing in ran.err) == (code == 2)


@pytest.mark.parametrize(
    ("where", "missing"),
    [
        ("", "parameter 'weights' is not set. Expected the weight file"),
        ("none", "none"),
    ],
)
def test_a_network_without_the_users_weight_file_stops_the_run_before_any_unit(
    where: str, missing: str, run_cli: Any, toys: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(
        '[suite]\nname = "s"\n[[datasets]]\nname = "toy"\n[[translators]]\nname = "toy-same"\n[[metrics]]\n'
        'name = "fd"\nparams.extractor = "dinov2-vitl14"\n' + (f'params.weights = "{where}"\n' if where else "")
    )
    ran = run_cli("run", "s.toml", "--plugin", toys, "--executor", "inline", "--device", "cpu")
    assert ran.code == 2
    assert missing in ran.err
    assert "extractor 'dinov2-vitl14'" in ran.err
    assert not (tmp_path / "mtbench-results").exists()


def test_a_disk_that_seems_too_small_is_told(
    run_cli: Any, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = '[suite]\nname = "s"\n[[datasets]]\nname = "toy"\n[[translators]]\nname = "toy-same"\n'
    (tmp_path / "s.toml").write_text(suite + '[[metrics]]\nname = "toy-mean"\n')
    command = ("run", "s.toml", "--plugin", toys, "--executor", "inline", "--device", "cpu")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    assert "units may need" in run_cli(*command).err
    # All is cached now.
    assert "may need" not in run_cli(*command).err
    assert [size(n) for n in (999, 1500, 12_345_678, 3.2e9, 5e12)] == [
        "999 bytes",
        "1.5 kB",
        "12 MB",
        "3.2 GB",
        "5.0 TB",
    ]
