"""``mtbench registry``, and citations: of plugins, of results, in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mtbench.registry.catalogue import entries, files, verify
from mtbench.results.bibliography import bibtex, cited, write

OWN = """
schema = 1
[plugins.bbdm-mr]
description = "BBDM for paired MR"
provides = ["translator bbdm", "metric edge-f1"]
source = "https://example.org/bbdm-mr"
install = "pip install bbdm-mr"
licence = "MIT"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A laboratory's own catalogue beside that of the installation."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    monkeypatch.setenv("MTBENCH_CATALOGUE", str(path))
    return path


class TestCatalogue:
    def test_that_of_the_installation_is_in_order(self, run_cli: Any) -> None:
        assert [problem for path in files() for problem in verify(path)] == []
        sections = {entry.section for entry in entries()}
        assert {"weights", "datasets", "published", "suites"} <= sections
        ran = run_cli("registry", "verify")
        assert (ran.code, ran.err) == (0, "the catalogue is valid\n")

    def test_what_the_catalogue_needs_is_in_it(self) -> None:
        names = {f"{entry.section}.{entry.name}" for entry in entries()}
        needed = {need for entry in entries() for need in entry.values.get("needs", ())}
        assert needed
        assert needed <= names

    def test_list_and_search(self, run_cli: Any, own: Path) -> None:
        ran = run_cli("registry", "list", "plugins")
        assert "bbdm-mr: BBDM for paired MR" in ran.out
        assert "provides: translator bbdm, metric edge-f1" in ran.out
        (row,) = json.loads(run_cli("registry", "search", "PAIRED", "mr", "--json").out)
        assert (row["section"], row["name"], row["licence"]) == ("plugins", "bbdm-mr", "MIT")
        assert run_cli("registry", "search", "no", "such", "thing").code == 1

    def test_a_missing_plugin_is_looked_up(self, run_cli: Any, own: Path) -> None:
        ran = run_cli("plan", "smoke", "-t", "bbdm")
        assert ran.code == 2
        assert "'bbdm-mr' (BBDM for paired MR). To install it: pip install bbdm-mr." in ran.err
        own.write_text("this is [no TOML")
        assert "`mtbench plugins` lists what is installed" in run_cli("plan", "smoke", "-t", "bbdm").err

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ("schema = 1", "schema = 2", "'schema' is 2"),
            ("[plugins.", "[plugin.", "unknown section 'plugin'"),
            ('licence = "MIT"', "", "[plugins.bbdm-mr] has no 'licence'"),
            ('licence = "MIT"', 'licence = "MIT"\nlicense = "MIT"', "has an unknown key 'license'"),
            (
                "https://example.org/bbdm-mr",
                "ftp://example.org",
                "source = 'ftp://example.org'; expected address",
            ),
            ('"translator bbdm"', '"bbdm"', "expected kinds and names"),
            (
                "[plugins.bbdm-mr]",
                '[published.x]\ndescription = "d"\nfile = "no.parquet"\nsource = "s"\n[plugins.p]',
                "the file 'no.parquet' does not exist",
            ),
            ("schema = 1", "schema = ", "this is not valid TOML"),
        ],
    )
    def test_verify_names_what_is_wrong(self, old: str, new: str, problem: str, own: Path, run_cli: Any) -> None:
        assert run_cli("registry", "verify", own).code == 0
        own.write_text(OWN.replace(old, new))
        ran = run_cli("registry", "verify", own)
        assert ran.code == 1
        assert problem in ran.out


class TestCitations:
    def test_fields_where_they_can_be_told_apart(self) -> None:
        first, second, third = bibtex(
            [
                "Zhu, Park, Isola, Efros: Unpaired translation: a study. ICCV 2017",
                "Heusel et al., GANs Trained by Two Rules, NeurIPS 2017; Saha et al. 2021, doi:10.7937/TCIA.e3sv-re93",
            ]
        ).split("\n\n")
        assert "author = {Zhu and Park and Isola and Efros}," in first
        assert "title = {{Unpaired translation: a study}}," in first
        assert "howpublished = {ICCV}," in first
        assert "author = {Heusel and others}," in second
        assert "year = {2017}," in second
        assert "doi = {10.7937/TCIA.e3sv-re93}," in third
        assert "author" not in third

    def test_keys_are_unique_and_works_stand_once(self) -> None:
        text = bibtex(
            ["Li et al., A study, MICCAI 2020", "Li et al., Another, MICCAI 2020", "Li et al., A study, MICCAI 2020"]
        )
        assert [line for line in text.splitlines() if line.startswith("@")] == ["@misc{li2020,", "@misc{li2020b,"]

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        works = ["Müller & Søn et al., 50 % of #1_2, MIDL 2020", "A tool without a year"]
        write(tmp_path, works)
        write(tmp_path, ["Li et al., A study, MICCAI 2020"])
        assert cited(tmp_path) == [*works, "Li et al., A study, MICCAI 2020"]
        assert cited(tmp_path / "none") == []

    def test_of_one_plugin(self, run_cli: Any) -> None:
        ran = run_cli("plugins", "fid", "--bibtex")
        assert ran.out.startswith("@misc{heusel2017,\n  author = {Heusel and others},")
        assert run_cli("plugins", "identity", "--bibtex").out.startswith("% identity has no citation")
        assert run_cli("plugins", "--bibtex").code == 2

    def test_of_a_result(self, run: Any, run_cli: Any, tmp_path: Path) -> None:
        assert run("-t", "toy-same", "-m", "swd", "--set", "datasets.toy.params.size=16").code == 0
        results = tmp_path / "mtbench-results/toy"
        text = (results / "references.bib").read_text()
        assert "@misc{konz2024," in text
        assert "@misc{karras2018," in text
        assert run_cli("results", "verify", results).code == 0
        ran = run_cli("report", results, "-o", "report.html")
        assert ran.code == 0, ran.err
        assert "Progressive Growing of GANs" in (tmp_path / "report.html").read_text()
