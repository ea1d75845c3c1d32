"""The notebook in docs/ runs, and docs/results.md says what the commands print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mtbench.cli.correlate import command as correlate
from mtbench.cli.export import command as export

DOCS = Path(__file__).parents[1] / "docs"


def test_the_notebook_goes_from_results_to_a_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((DOCS / "from-results-to-figure.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, object] = {}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, source in enumerate(cells):
        exec(compile(source, f"cell {number}", "exec"), names)
    assert len(cells) >= 4
    assert (tmp_path / "swd-against-dice.pdf").stat().st_size > 2_000
    import matplotlib.pyplot as plt

    plt.close("all")


def test_the_documented_table_and_correlations_are_what_the_commands_print() -> None:
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    table = CliRunner().invoke(export, ["published:midl2024", "--rule", "paper"]).output
    assert table.strip() in text
    blocks = re.findall(r"^mtbench correlate ([^\n]*)\n```\n\n```text\n(.*?)\n```", text, re.M | re.S)
    assert len(blocks) == 2
    for arguments, shown in blocks:
        printed = CliRunner(env={"COLUMNS": "110"}).invoke(correlate, arguments.split()).output
        assert "\n".join(line.rstrip() for line in printed.splitlines()).rstrip() == shown
