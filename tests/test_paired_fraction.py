"""``paired_fraction``: some training patients keep their pairs, from none to all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_identity import requests
from test_pairs import PLUGIN, SUITE, seen, sides_of

import mtbench
from mtbench.errors import SuiteError
from mtbench.plan import Plan, make_plan
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.stages.pairs import patients_with_pairs


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "twins.py").write_text(PLUGIN)
    return SUITE.format(params="", data="twins", split='by = "seed"')


def plan(tmp_path: Path, text: str, fraction: str) -> Plan:
    settings = [f"datasets.twins.paired_fraction={fraction}"] if fraction else []
    return make_plan(parse_suite(text, "suite.toml", tmp_path, settings), discover([tmp_path / "twins.py"]))


def fits(graph: Plan) -> list[tuple[tuple[str, ...], float]]:
    return [(u.options.domains, u.options.paired_fraction) for u in graph.units.values() if u.stage == "fit"]


def test_a_grid_of_fractions_trains_paired_models_at_each_and_others_once(tmp_path: Path, text: str) -> None:
    graph = plan(tmp_path, text, "[0, 0.5, 1]")
    paired, apart = ("source", "paired"), ("source", "target")
    assert sorted(fits(graph)) == [(paired, 0.5), (paired, 1.0), (apart, 1.0)]
    rows = [(row.columns["dataset_params"], row.columns["translator"], row.skipped) for row in graph.rows]
    none = "by-pairs: it trains on pairs, and paired_fraction = 0 leaves none"
    assert rows == [
        ('{"paired_fraction":0.0}', "by-pairs", none),
        ('{"paired_fraction":0.0}', "by-domains", ""),
        ('{"paired_fraction":0.5}', "by-pairs", ""),
        ('{"paired_fraction":0.5}', "by-domains", ""),
        ("{}", "by-pairs", ""),
        ("{}", "by-domains", ""),
    ]


def test_two_fractions_are_two_blocks_and_all_pairs_are_the_plan_without_a_fraction(tmp_path: Path, text: str) -> None:
    half, most, all_, plain = (plan(tmp_path, text, fraction) for fraction in ("0.5", "0.8", "1", ""))
    assert not set(requests(half)) & set(requests(most))
    assert not set(requests(half)) & set(requests(plain))
    assert list(all_.units) == list(plain.units)
    assert [row.id for row in all_.rows] == [row.id for row in plain.rows]


@pytest.mark.parametrize("fraction", ["-0.1", "1.5", "nan", "true", '"half"', "[0.5, 2]", "[]"])
def test_what_is_no_fraction_is_refused(tmp_path: Path, text: str, fraction: str) -> None:
    with pytest.raises(SuiteError, match=r"suite\.toml, line 4: 'paired_fraction' is .* a number from 0 to 1"):
        plan(tmp_path, text, fraction)


def test_a_data_set_without_pairs_has_no_fraction_of_them(tmp_path: Path, text: str) -> None:
    with pytest.raises(SuiteError, match="data set 'twins' has no paired training slices"):
        plan(tmp_path, text.replace('name = "twins"', 'name = "twins"\nplugin = "strangers"'), "0.5")


def test_a_parameter_of_the_plugin_with_the_same_name_is_refused_beside_it(tmp_path: Path, text: str) -> None:
    code = PLUGIN.replace('"moved": ""}', '"moved": "", "paired_fraction": 1.0}')
    (tmp_path / "twins.py").write_text(code)
    assert plan(tmp_path, text, "").rows
    with pytest.raises(SuiteError, match="also a parameter of the plugin"):
        plan(tmp_path, text, "0.5")


def test_fractions_keep_whole_patients_and_are_nested() -> None:
    patients = [f"p{i}" for i in range(10) for _ in range(3)]
    kept = [patients_with_pairs(patients, fraction, seed=3) for fraction in (0.01, 0.3, 0.5, 1.0)]
    assert [len(of) for of in kept] == [1, 3, 5, 10]
    assert kept[0] < kept[1] < kept[2] < kept[3] == set(patients)
    assert len({frozenset(patients_with_pairs(patients, 0.3, seed)) for seed in range(20)}) > 5


def test_a_fit_receives_the_pairs_of_some_patients_and_its_row_says_of_how_many(
    tmp_path: Path, text: str, run_cli: Any
) -> None:
    # Translations depend on the training slices, as those of a network do: 10 or 4 slices, and as many partners.
    loads = "self.count = len(json.loads((folder / 'seen.json').read_text())[0])"
    code = PLUGIN.replace("folder):\n        pass", f"folder):\n        {loads}")
    (tmp_path / "twins.py").write_text(code.replace("1 - batch.source", "(1 - batch.source) * (1 - self.count / 99)"))
    (tmp_path / "suite.toml").write_text(text.replace("split =", "paired_fraction = [0, 0.5, 1]\nsplit ="))
    ran = run_cli(
        "run", "suite.toml", "--plugin", tmp_path / "twins.py", "--store", tmp_path / "store", "--out", "results"
    )
    assert ran.code == 0, ran.err
    sides = sides_of(tmp_path / "store")["source"]
    training = {"abcdefgh"[i // 2] for i, side in enumerate(sides) if side == "train"}
    half, whole = sorted((fit[0] for fit in seen(tmp_path) if fit[0] == fit[1]), key=len)
    (apart,) = (fit for fit in seen(tmp_path) if fit[0] != fit[1])
    # Patients are never divided: both slices of each patient are there.
    assert len(training) == 5
    assert half == [f"{patient}-{i}" for patient in sorted({name[0] for name in half}) for i in range(2)]
    assert len(half) == 2 * round(0.5 * len(training))
    assert whole == apart[0] == [f"{patient}-{i}" for patient in sorted(training) for i in range(2)]
    rows = mtbench.load("results").to_pylist()
    notes = {
        (json.loads(row["dataset_params"]).get("paired_fraction", 1), row["translator"]): row["translator_note"]
        for row in rows
    }
    assert "of 5 training patients" in notes[0.5, "by-pairs"]
    assert not notes[1, "by-pairs"] + notes[0.5, "by-domains"]
    by_domains = [row["value"] for row in rows if row["translator"] == "by-domains"]
    assert len(by_domains) == 3
    assert np.ptp(by_domains) == 0
    assert "paired_fraction=0.5" in ran.out
    np.save(tmp_path / "new.npy", np.zeros((8, 8), np.uint8))
    call = ("translate", "by-pairs", "new.npy", "out.npy", "--from", "results", "--store", tmp_path / "store")
    call = (*call, "--plugin", tmp_path / "twins.py", "--dataset")
    for dataset, share in (("twins", 1 - 20 / 99), ("twins[paired_fraction=0.5]", 1 - 8 / 99)):
        done = run_cli(*call, dataset, "--overwrite")
        assert done.code == 0, done.err
        assert np.load(tmp_path / "out.npy").max() == round(255 * share)
    refused = run_cli(*call[:-1])
    assert "dataset twins, seed 0; " in refused.err
    assert "dataset twins[paired_fraction=0.5], seed 0" in refused.err
