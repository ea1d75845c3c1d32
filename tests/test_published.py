"""The published numbers give back the paper's table."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest

from mtbench.analysis.table import build_table
from mtbench.errors import RequestError, StoreError
from mtbench.resources import resource_path
from mtbench.results.published import published, published_scores
from mtbench.results.schema import SCORES, conform

# Table 1 of Konz et al., MIDL 2024, as printed: ** bold, __ underlined.
TABLE_1 = """
identity  0.927      __0.651__  144     0.069      705      2.58      0.007      323      0.300      1553     **2.93**
cyclegan  __0.934__  0.529      **107** **0.049**  556      2.73      __0.229__  __210__  **0.161**  __960__  __2.29__
maskgan   0.865      0.277      __118__ 0.089      1037     **3.00**  0.158      248      0.217      1114     2.22
unsb      __0.934__  0.646      156     0.079      756      2.46      0.138      **208**  __0.172__  **932**  2.14
spade     **0.950**  **0.707**  119     __0.067__  **500**  __2.91__  **0.942**  251      0.242      1359     __2.29__
"""
UNMARKED_IN_THE_PAPER = {("cyclegan", 4): "__556__"}
"""The runner-up of breast SWD, which the paper leaves unmarked and its own rule marks."""


def paper_rows() -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in TABLE_1.strip().splitlines()}


def test_the_papers_rule_gives_back_table_1() -> None:
    (section,) = build_table(published_scores("midl2024"), rule="paper").sections
    expected = paper_rows()
    for (row, column), text in UNMARKED_IN_THE_PAPER.items():
        expected[row][column] = text
    printed = {}
    for row in section.rows:
        fences = [("**" if c.best else "__" if c.runner_up else "") for c in row.cells]
        printed[row.label] = [f"{fence}{c.text}{fence}" for fence, c in zip(fences, row.cells, strict=True)]
    assert printed == expected
    assert list(printed) == list(expected)


def test_its_header_is_the_papers() -> None:
    (section,) = build_table(published_scores("midl2024")).sections
    tasks, groups, names = section.grid().header
    assert [(h.text, h.span) for h in tasks] == [
        ("breast-siemens-ge: Siemens → GE", 6),
        ("lumbar-mri-ct: MRI → CT", 5),
    ]
    assert [(h.text, h.span) for h in groups] == [
        ("Dice ↑", 2),
        ("Perceptual metrics", 4),
        ("Dice ↑", 1),
        ("Perceptual metrics", 4),
    ]
    perceptual = ["FID* ↓", "KID ↓", "SWD ↓", "IS ↑"]
    assert [h.text for h in names] == ["Breast", "FGT", *perceptual, "Bone", *perceptual]


def test_by_default_the_conditional_row_is_shown_and_not_ranked() -> None:
    table = build_table(published_scores("midl2024"))
    spade = next(row for row in table.sections[0].rows if row.label == "spade")
    cyclegan = next(row for row in table.sections[0].rows if row.label == "cyclegan")
    assert spade.conditional
    assert all(cell.rank is None for cell in spade.cells)
    assert [cell.text for cell in spade.cells] == [t.strip("*_") for t in paper_rows()["spade"]]
    assert cyclegan.cells[0].best
    assert any("†: conditional (its input is the reference mask), not ranked" in remark for remark in table.remarks)


def test_every_row_is_published_cited_and_claims_nothing_the_paper_does_not_say() -> None:
    scores = published_scores("midl2024")
    assert scores.schema.equals(SCORES)
    assert scores.num_rows == 55
    assert pc.unique(scores["status"]).to_pylist() == ["published"]
    (source,) = pc.unique(scores["source"]).to_pylist()
    assert "Rethinking Perceptual Metrics" in source
    assert pc.unique(scores["precision"]).to_pylist() == ["unknown"]
    assert pc.unique(scores["variant"]).to_pylist() == [""]
    for name in ("n_patients_translated", "n_patients_target", "seed", "fold", "stderr", "ci_low", "ci_high"):
        assert scores[name].null_count == scores.num_rows
    assert all(math.isfinite(v) for v in scores["value"].to_pylist())
    table = build_table(scores)
    assert any("N = 688 for FID" in remark for remark in table.remarks)
    assert any("koshian2" in note for note in table.footnotes)
    assert any(remark.startswith("* FID: N < 2048") for remark in table.remarks)


def test_the_file_is_what_its_script_writes(tmp_path: Path) -> None:
    folder = Path(__file__).parents[1] / "results" / "published"
    if not folder.is_dir():
        pytest.skip("the script is not part of an installed mtbench: run from a checkout")
    copy = tmp_path / "make_midl2024.py"
    copy.write_text((folder / "make_midl2024.py").read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, str(copy)], check=True, cwd=tmp_path)
    import pyarrow.parquet as pq

    assert pq.read_table(tmp_path / "midl2024.parquet").equals(published_scores("midl2024"))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    assert "midl2024" in published()
    with pytest.raises(RequestError, match="Did you mean 'midl2024'") as caught:
        published_scores("midl2042")
    assert "published:midl2024" in str(caught.value)


def test_others_are_added_through_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.parquet").write_bytes(resource_path(published()["midl2024"]).read_bytes())
    (tmp_path / "registry.toml").write_text('[published.mine]\nfile = "mine.parquet"\n[published.gone]\nfile = "x"\n')
    monkeypatch.setattr("mtbench.resources.PACKAGE", tmp_path / "mtbench")
    assert sorted(published()) == ["gone", "mine"]
    assert published_scores("mine").num_rows > 50
    with pytest.raises(StoreError, match="the file x is missing"):
        published_scores("gone")
    (tmp_path / "mine.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="cannot be read"):
        published_scores("mine")
    (tmp_path / "registry.toml").write_text("[published.mine]\n")
    with pytest.raises(StoreError, match="catalogue of published results"):
        published()


def test_a_table_of_an_older_version_can_be_read(tmp_path: Path) -> None:
    scores = published_scores("midl2024")
    older = scores.drop_columns(["draws", "without_interval"])
    same = conform(older, SCORES)
    assert same.schema.names == SCORES.names
    assert same.column("draws").null_count == same.num_rows
    assert build_table(same, rule="paper") == build_table(conform(scores, SCORES), rule="paper")
