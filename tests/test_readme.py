"""What the README tells people to type, typed."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
PAGES = (README, *(README.parent / "docs" / name for name in ("start.md", "flows.md")))


def blocks(language: str) -> list[str]:
    """Fenced code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands() -> list[str]:
    """Every line that calls mtbench, comments left out; the quickstart is the last part of an install line."""
    lines = [line.partition("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    called = [part.strip() for line in lines for part in line.split("&&")]
    return [command for command in called if command.startswith("mtbench ")]


def outputs() -> list[tuple[str, str]]:
    """A command and a line of what the README and the start pages show below it."""
    pairs = []
    for page in PAGES:
        found = re.findall(r"```(sh|text)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for (language, code), (following, shown) in itertools.pairwise(found):
            if (language, following) == ("sh", "text"):
                command = code.strip().splitlines()[-1].partition("  #")[0].split("&&")[-1].strip()
                pairs += [(command, line) for line in shown.splitlines() if line.strip() not in ("", "…")]
    return pairs


def shape(line: str) -> str:
    """A line of a table without its numbers, marks and widths: the same on every kind of CPU."""
    return " ".join(re.sub(r"\d+(\.\d+)?|[*_━─]", "", line).split())


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README has people write."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "gamma.py").write_text(next(b for b in blocks("python") if "TranslatorSpec" in b))
    (folder / "mine.toml").write_text(blocks("toml")[0])
    return folder


def test_the_readme_has_the_three_flows() -> None:
    verbs = [shlex.split(command)[1] for command in commands()]
    assert verbs[0] == "run"
    assert {"plan", "export"} <= set(verbs)
    assert any("--plugin" in command for command in commands())


def test_every_command_of_the_readme_works(workplace: Path) -> None:
    environment = {**os.environ, "MTBENCH_STORE": str(workplace / "store"), "COLUMNS": "140"}
    shown = {}
    for command in commands():
        ran = subprocess.run(
            [sys.executable, "-m", "mtbench", *shlex.split(command)[1:]],
            cwd=workplace,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stderr[-3000:]}"
        shown[command] = ran.stdout
    quickstart = shown["mtbench run quickstart"]
    assert "phantom-breast: Siemens → GE" in quickstart
    assert "random features: not FID, not comparable" in quickstart
    gamma = next(text for command, text in shown.items() if "--plugin gamma.py" in command)
    assert "│ gamma " in gamma
    assert r"\begin{tabular}" in (workplace / "table.tex").read_text()
    for command, line in outputs():
        assert shape(line) in map(shape, shown[command].splitlines()), f"{command}\n{line}"
    again = subprocess.run(
        [sys.executable, "-m", "mtbench", "run", "mine.toml"],
        cwd=workplace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Nothing to do" in again.stderr


def test_lines_for_python_work(workplace: Path) -> None:
    import mtbench

    if not (workplace / "mtbench-results").exists():
        pytest.skip("the commands of the README were not run before")
    scores = mtbench.load(workplace / "mtbench-results" / "mine")
    assert set(scores.column("metric").to_pylist()) == {"dice", "swd"}
    assert set(scores.column("variant").to_pylist()) >= {"slice", "patient", "karras"}
