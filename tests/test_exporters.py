"""Tables as text, with names that try to break every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from mtbench.analysis.model import ResultsTable
from mtbench.analysis.table import build_table
from mtbench.analysis.terminal import render
from mtbench.cli.export import command
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover
from mtbench.results.published import published_scores
from mtbench.results.schema import SCHEMA_VERSION, SCORES, table
from mtbench.screen import Screen

NASTY = [
    "a|b",
    "R&D_50% #1 {x} $y$ ~z^2 \\end{table}",
    "<script>alert(1)</script>",
    "模型 Ωμέγα Жук",
    "**bold** _it_ `code` [x](javascript:1)",
    "=HYPERLINK(1)",
    "[bracket] first",
    "naïve \u202e łódź",
    'say "hi"',
    "line\nbreak",
]
FORMATS = ["md", "csv", "tex", "html", "json"]


def nasty_scores() -> pa.Table:
    rows = []
    for i, name in enumerate(NASTY):
        shared = {
            "schema_version": SCHEMA_VERSION,
            "suite": NASTY[2],
            "protocol": "segment-translated",
            "role": "translator",
            "status": "measured",
            "dataset": NASTY[i % 2],
            "source_domain": NASTY[3],
            "target_domain": NASTY[1],
            "task_note": NASTY[2],
            "translator": name,
            "conditional": i == 1,
            "precision": "fp32",
            "n": 4,
        }
        fid = {"metric": "fid", "title": "F_ID & <b>|", "family": "perceptual", "higher_is_better": False}
        dice = {"metric": "dice", "title": "Dice", "variant": "a_b", "family": "segmentation", "label": name}
        rows.append({**shared, **fid, "value": float(-i), "ci_low": -i - 1.0, "ci_high": -i + 1.0})
        rows.append({**shared, **dice, "higher_is_better": True, "value": 0.1 * i, "note": name})
        rows.append(
            {**shared, **fid, "variant": "random", "caveat": f"no {NASTY[1]}", "status": "failed", "note": name}
        )
    return table(rows, SCORES)


def written(name: str, built: ResultsTable) -> str:
    text: str = discover(third_party=False).get("exporter", name).create({}).export(built)
    return text


@pytest.fixture(scope="module")
def nasty() -> ResultsTable:
    return build_table(nasty_scores(), spread="interval")


@pytest.fixture(scope="module")
def published() -> ResultsTable:
    return build_table(published_scores("midl2024"), rule="paper")


def test_five_formats_are_registered_with_their_endings() -> None:
    registry = discover(third_party=False)
    endings = {name: registry.get("exporter", name).spec.ending for name in FORMATS}
    assert endings == {name: f".{name}" for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_table_is_written_without_a_fuss(name: str) -> None:
    assert isinstance(written(name, build_table(SCORES.empty_table())), str)


# -- Markdown


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_has_the_papers_table(published: ResultsTable) -> None:
    lines = [cells_of(line) for line in written("md", published).splitlines() if line.startswith("|")]
    assert lines[0][:2] == ["Method", "breast-siemens-ge: Siemens → GE"]
    assert lines[2][1:4] == ["**Dice Breast ↑**", "**Dice FGT ↑**", r"**FID\* ↓**"]
    assert lines[4][:5] == ["cyclegan", "<u>0.934</u>", "0.529", "**107**", "**0.049**"]
    assert lines[7][:2] == ["spade†", "**0.950**"]
    assert {len(line) for line in lines} == {12}


def test_no_name_breaks_markdown(nasty: ResultsTable) -> None:
    text = written("md", nasty)
    for section in nasty.sections:
        width = len(section.columns) + 1
        assert sum(len(cells_of(line)) == width for line in text.splitlines()) >= len(NASTY) + 2
    assert "<script>" not in text
    assert r"a\|b" in text
    assert r"\*\*bold\*\* \_it\_ \`code\` [x\](javascript:1)" in text


# -- CSV


def test_csv_holds_the_papers_numbers(published: ResultsTable) -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv", published))))
    assert [row["Method"] for row in rows] == ["identity", "cyclegan", "maskgan", "unsb", "spade†"]
    assert rows[1]["breast-siemens-ge: Siemens → GE | FID* ↓"] == "107"
    assert rows[4]["lumbar-mri-ct: MRI → CT | Dice Bone ↑"] == "0.942"


def test_csv_keeps_every_name_in_its_cell_and_makes_no_formula(nasty: ResultsTable) -> None:
    rows = list(csv.reader(io.StringIO(written("csv", nasty))))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[1][0] == "a|b"
    assert "'=HYPERLINK(1)" in [row[0] for row in rows]
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    assert rows[0][1:4] == [rows[0][1], f"{rows[0][1]} | low", f"{rows[0][1]} | high"]
    assert rows[-1][-1] != ""


def test_csv_can_be_transposed(published: ResultsTable) -> None:
    built = build_table(published_scores("midl2024"), transposed=True)
    rows = list(csv.DictReader(io.StringIO(written("csv", built))))
    assert len(rows) == 11
    assert rows[0]["cyclegan"] == "0.934"


def test_csv_is_read_as_floats_by_pandas(published: ResultsTable) -> None:
    """Missing and failed cells are empty; a negative or tiny number stays one."""
    import pandas as pd

    scores = published_scores("midl2024").to_pylist()
    for row in scores:
        if row["translator"] == "unsb" and row["metric"] == "fid":
            row |= {"status": "failed", "value": None, "note": "out of memory"}
        if row["translator"] == "maskgan" and row["metric"] == "swd":
            row["value"] = -40.0
    built = build_table(pa.Table.from_pylist(scores, schema=SCORES))
    frame = pd.read_csv(io.StringIO(written("csv", built)))
    numbers = frame.drop(columns=["Method", "Notes"])
    assert set(map(str, numbers.dtypes)) <= {"float64", "int64"}
    assert numbers.dtypes["breast-siemens-ge: Siemens → GE | FID* ↓"] == "float64", "one is missing"
    fid = "breast-siemens-ge: Siemens → GE | FID* ↓"
    assert frame.loc[frame.Method == "unsb", fid].isna().all()
    assert frame.loc[frame.Method == "cyclegan", fid].item() == 107
    assert "out of memory" in frame.loc[frame.Method == "unsb", "Notes"].item()
    assert (numbers.min() < 0).any()


@pytest.mark.parametrize(
    ("spread", "expected"),
    [
        ("interval", {"low": 1.5, "high": 2.5}),
        ("bound", {"bound low": 1.0, "bound high": 5.0}),
        ("std", {"std": 1.41}),
    ],
)
def test_csv_has_a_column_of_floats_for_every_number_of_a_spread(spread: Any, expected: dict[str, float]) -> None:
    """Two seeds of one translator; of the other nothing but the value is known."""
    import pandas as pd

    shared = {"status": "measured", "dataset": "d", "role": "translator", "metric": "fid", "title": "FID", "n": 4}
    measured = {"value": 1.0, "ci_low": 0.5, "ci_high": 1.5, "bound_low": 0.0, "bound_high": 4.0}
    rows: list[dict[str, Any]] = [
        {"translator": "a", "seed": 0, **measured},
        {"translator": "a", "seed": 1, **{name: number + 2 for name, number in measured.items()}},
        {"translator": "b", "seed": 0, "value": 9.0},
    ]
    built = build_table(table([{**shared, **row} for row in rows], SCORES), spread=spread, ranks=True)
    frame = pd.read_csv(io.StringIO(written("csv", built))).set_index("Method").drop(columns="Notes")
    (value, *others) = frame.columns
    assert others == [f"{value} | {end}" for end in (*expected, "rank")]
    assert set(map(str, frame.dtypes)) <= {"float64", "int64"}
    assert frame.loc["a", value] == 2.0
    for end, number in expected.items():
        assert frame.loc["a", f"{value} | {end}"] == number
        assert np.isnan(frame.loc["b", f"{value} | {end}"])
    assert frame[f"{value} | rank"].tolist() == [1, 2]


# -- JSON


def test_json_holds_values_marks_and_identity(published: ResultsTable) -> None:
    content = json.loads(written("json", published), parse_constant=lambda name: pytest.fail(name))
    (section,) = content["sections"]
    assert section["columns"][2]["metric"] == "fid"
    assert section["columns"][2]["higher_is_better"] is False
    assert section["rows"][1]["cells"][2]["value"] == 107.0
    assert section["rows"][1]["cells"][2]["best"] is True
    assert section["rows"][1]["cells"][0]["rank"] == 2
    assert content["rule"] == "paper"


def test_json_stays_strict_with_values_it_cannot_hold() -> None:
    rows = published_scores("midl2024").to_pylist()
    rows[0]["value"], rows[1]["value"] = float("nan"), float("inf")
    text = written("json", build_table(table(rows, SCORES)))
    content = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    cells = [row["cells"][0] for row in content["sections"][0]["rows"][:2]]
    assert [(c["value"], c["text"]) for c in cells] == [(None, "nan"), (None, "inf")]


def test_json_keeps_names_as_they_are(nasty: ResultsTable) -> None:
    content = json.loads(written("json", nasty))
    assert [row["translator"] for row in content["sections"][0]["rows"]] == NASTY


# -- HTML


class Reader(HTMLParser):
    """Checks that tags close in order, and collects the cells of each table."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.tables: list[list[int]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "meta":
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("td", "th"):
            self.tables[-1][-1] += int(dict(attrs).get("colspan") or 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("transposed", [False, True])
def test_html_is_well_formed_and_runs_nothing(transposed: bool) -> None:
    built = build_table(nasty_scores(), transposed=transposed, spread="interval")
    reader = Reader()
    reader.feed(written("html", built))
    reader.close()
    assert reader.open == []
    assert not reader.tags & {"script", "b", "a", "img", "link"}
    assert "<script>alert(1)</script>" in reader.text
    for counts in reader.tables:
        # Header rows below the first lack the corner, which spans them.
        assert max(counts) - min(counts) <= 1


def test_html_has_the_papers_marks(published: ResultsTable) -> None:
    text = written("html", published)
    assert text.startswith("<!DOCTYPE html>")
    assert "<td><strong>107</strong></td>" in text
    assert "<td><u>0.934</u></td>" in text
    assert '<th scope="colgroup" colspan="6">breast-siemens-ge: Siemens → GE</th>' in text
    assert 'class="joint"><u>0.229</u>' in text
    assert "http" not in text.replace("http-equiv", "")


# -- LaTeX


def test_latex_has_the_papers_table(published: ResultsTable) -> None:
    text = written("tex", published)
    assert r"\toprule" in text
    assert r"cyclegan & \underline{0.934} & 0.529 & \textbf{107} & \textbf{0.049} & \underline{556} & 2.73" in text
    assert r"spade$^{\dagger}$ & \textbf{0.950}" in text
    assert r"FID* $\downarrow$" in text
    assert r"\multicolumn{6}{c}{breast-siemens-ge: Siemens $\rightarrow$ GE}" in text
    assert r"\cmidrule(lr){2-7} \cmidrule(lr){8-12}" in text


def test_latex_has_a_label_and_can_leave_notes_out(tmp_path: Path) -> None:
    built = build_table(nasty_scores())
    text = written("tex", built)
    assert text.index(r"\caption{") < text.index(r"\label{tab:mtbench}")
    assert r"\textsuperscript" in text
    target = tmp_path / "table.tex"
    done = invoke("published:midl2024", "-f", "tex:label=tab:paper,notes=false", "-o", str(target), "--title", "Ours")
    assert done.exit_code == 0
    bare = target.read_text(encoding="utf-8")
    assert r"\caption{Ours}" in bare
    assert r"\label{tab:paper}" in bare
    assert r"\textsuperscript" not in bare
    assert "minipage" not in bare
    assert "0.934" in bare


@pytest.mark.parametrize("transposed", [False, True])
def test_latex_lines_have_as_many_cells_as_columns_and_braces_close(transposed: bool) -> None:
    text = written("tex", build_table(nasty_scores(), transposed=transposed, spread="interval"))
    width = 0
    for line in text.splitlines():
        bare = re.sub(r"\\[\\{}&%$#_]", lambda m: "\\\\" if m[0] == r"\\" else "", line)
        if "tabular" not in bare:
            assert bare.count("{") == bare.count("}"), line
        if r"\begin{tabular}" in line:
            width = len(line.rpartition("{")[2]) - 1
        elif bare.endswith(r"\\"):
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn{(\d+)}", bare)]
            assert bare.count("&") + 1 + sum(spans) == width, line
            assert not line.startswith(("[", "*")), line
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert r"R\&D\_50\% \#1 \{x\} \$y\$ \textasciitilde{}z\textasciicircum{}2 \textbackslash{}end\{table\}" in text


def compiled(text: str, engine: str, folder: Path) -> str:
    """What the engine says; fails where the engine does."""
    source = folder / "paper.tex"
    document = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n"
    source.write_text(f"{document}\\begin{{document}}\n{text}\\end{{document}}\n", encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if engine != "tectonic" else []
    done = subprocess.run([engine, *options, source.name], cwd=folder, capture_output=True, timeout=120)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-3000:]
    assert (folder / "paper.pdf").stat().st_size > 1000
    return log


@pytest.mark.parametrize("engine", ["pdflatex", "xelatex", "lualatex", "tectonic"])
def test_latex_compiles(engine: str, tmp_path: Path, published: ResultsTable, nasty: ResultsTable) -> None:
    if shutil.which(engine) is None:
        pytest.skip(f"{engine} is not installed")
    turned = build_table(nasty_scores(), transposed=True, spread="interval")
    text = "\n".join(written("tex", built) for built in (published, nasty, turned))
    log = compiled(text, engine, tmp_path)
    assert "Undefined control sequence" not in log
    assert "Overfull \\hbox" not in log


# -- the command


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(command, list(arguments))


def test_the_command_prints_markdown_by_default() -> None:
    done = invoke("published:midl2024", "--rule", "paper")
    assert done.exit_code == 0
    assert "| spade† | **0.950** | **0.707** |" in done.output


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_writes_the_format_that_the_ending_names(name: str, tmp_path: Path) -> None:
    target = tmp_path / f"table.{name}"
    assert invoke("published:midl2024", "-o", str(target)).exit_code == 0
    assert target.read_text(encoding="utf-8") == written(name, build_table(published_scores("midl2024")))


def test_the_command_takes_all_options(tmp_path: Path) -> None:
    target = tmp_path / "table.txt"
    options = "-f csv -m fid -m dice -t spade -t cyclegan -d lumbar-mri-ct --decimals fid=1 --decimals dice=2 --ranks"
    done = invoke(
        "published:midl2024", "-o", str(target), *options.split(), "--rule", "paper", "--rename", "spade=SPADE"
    )
    assert done.exit_code == 0
    rows = list(csv.reader(io.StringIO(target.read_text(encoding="utf-8"))))
    task = "lumbar-mri-ct: MRI → CT"
    assert rows[0] == [
        "Method",
        f"{task} | FID* ↓",
        f"{task} | FID* ↓ | rank",
        f"{task} | Dice Bone ↑",
        f"{task} | Dice Bone ↑ | rank",
        "Notes",
    ]
    assert rows[1:] == [["SPADE†", "251.0", "2", "0.94", "1", ""], ["cyclegan", "210.0", "1", "0.23", "2", ""]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "table.docx"], "no output format for the file name 'table.docx'"),
        (["-f", "htm"], "Did you mean 'html'"),
        (["--decimals", "many"], "--decimals many is not valid"),
        (["--decimals", "-1"], "--decimals -1 is not valid"),
        (["--rename", "spade"], "'spade' is not of the form NAME=VALUE"),
        (["-o", "/nowhere/at/all.md"], "the table cannot be written"),
    ],
)
def test_wrong_requests_are_answered(arguments: list[str], message: str) -> None:
    done = invoke("published:midl2024", *arguments)
    assert isinstance(done.exception, RequestError)
    assert message in str(done.exception)


@pytest.mark.parametrize("width", [120, 80, 60])
def test_headings_break_where_a_reader_would(width: int) -> None:
    """At brackets, behind them, at commas and hyphens, and nowhere else; not at all where there is room."""
    rows = published_scores("midl2024").to_pylist()
    for row in rows:
        row["title"], row["variant"] = ("Dice", "slice") if row["metric"] == "dice" else ("FID", "inception-random")
        row["metric"] = "dice" if row["metric"] == "dice" else "fid"
    rows = [row for row in rows if row["dataset"] == "breast-siemens-ge" and row["label"] != "fgt"]
    rows = list({(row["translator"], row["metric"], row["label"]): row for row in rows}.values())
    out = io.StringIO()
    render(build_table(table(rows, SCORES)), Screen(file=out, width=width))
    lines = out.getvalue().splitlines()
    heads = [[cell.strip() for cell in line.split("┃")[1:-1]] for line in lines if "┃" in line]
    for pieces in ([piece for piece in column if piece] for column in zip(*heads, strict=True)):
        whole = "".join(pieces).replace(" ", "")
        assert whole == "Method" or re.fullmatch(r"(Dice\[slice\](Breast|FGT)|FID\[inception-random\])[↑↓]", whole), (
            whole
        )
        for piece, after in pairwise(pieces):
            words = {"Breast", "FGT", "↑", "↓"}
            assert piece.endswith(("-", "]")) or after.startswith("[") or after.split()[0] in words, pieces
        if width == 120:
            assert len(pieces) == 1
    assert max(map(len, lines)) <= width
