"""``paired_fraction`` and ``target_patients``: fits that read the pairs or target slices of some patients only."""

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
from mtbench.stages.pairs import some_patients


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "twins.py").write_text(PLUGIN)
    return SUITE.format(params="", data="twins", split='by = "seed"')


def plan(tmp_path: Path, text: str, fraction: str) -> Plan:
    settings = [f"datasets.twins.paired_fraction={fraction}"] if fraction else []
    return make_plan(parse_suite(text, "suite.toml", tmp_path, settings), discover([tmp_path / "twins.py"]))


def fits(graph: Plan) -> list[tuple[tuple[str, ...], float]]:
    return [(u.options.domains, u.options.paired_fraction) for u in graph.units.values() if u.stage == "fit"]


def counting(side: int) -> str:
    """The plugin with translations that depend on the training slices of a side, as those of a network do."""
    loads = f"self.count = len(json.loads((folder / 'seen.json').read_text())[{side}])"
    code = PLUGIN.replace("folder):\n        pass", f"folder):\n        {loads}")
    return code.replace("1 - batch.source", "(1 - batch.source) * (1 - self.count / 99)")


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
    kept = [some_patients(patients, 3, fraction=fraction) for fraction in (0.01, 0.3, 0.5, 1.0)]
    assert [len(of) for of in kept] == [1, 3, 5, 10]
    assert kept[0] < kept[1] < kept[2] < kept[3] == set(patients)
    assert len({frozenset(some_patients(patients, seed, fraction=0.3)) for seed in range(20)}) > 5


def test_a_fit_receives_the_pairs_of_some_patients_and_its_row_says_of_how_many(
    tmp_path: Path, text: str, run_cli: Any
) -> None:
    (tmp_path / "twins.py").write_text(counting(0))
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


@pytest.mark.slow
def test_a_fit_receives_the_target_slices_or_pairs_of_so_many_patients_and_its_row_says_so(
    tmp_path: Path, text: str, run_cli: Any
) -> None:
    settings = ["--set=translators.by-pairs.target_patients=2", "--set=translators.by-domains.target_patients=3"]
    (tmp_path / "twins.py").write_text(counting(1))
    (tmp_path / "suite.toml").write_text(text)
    call = ("run", "suite.toml", "--plugin", tmp_path / "twins.py", "--store", tmp_path / "store", "--out", "results")
    ran = run_cli(*call, *settings)
    assert ran.code == 0, ran.err
    apart, pairs = sorted(seen(tmp_path), key=lambda fit: fit[0] == fit[1])
    assert len(pairs[0]) == 4
    assert len({name[0] for name in pairs[0]}) == 2
    # Only the target is restricted: all ten source slices of five patients remain.
    assert len(apart[0]) == 10
    assert len(apart[1]) == 6
    assert len({name[:2] for name in apart[1]}) == 3
    rows = mtbench.load("results").to_pylist()
    assert {json.loads(row["translator_params"])["target_patients"] for row in rows} == {2, 3}
    notes = {row["translator"]: row["translator_note"] for row in rows}
    assert "With target_patients = 2, trained on the pairs of 2 of 5 training patients." in notes["by-pairs"]
    assert "With target_patients = 3, trained on 3 of 5 target training patients." in notes["by-domains"]
    # More patients than there are: all of them, and the row says so.
    assert run_cli(*call, "--set=translators.by-domains.target_patients=9", "-t", "by-domains").code == 0
    assert any("trained on 5 of 5 target" in row["translator_note"] for row in mtbench.load("results").to_pylist())
    np.save(tmp_path / "new.npy", np.zeros((8, 8), np.uint8))
    call = ("translate", "by-domains", "new.npy", "out.npy", "--from", "results", "--store", tmp_path / "store")
    assert run_cli(*call, "--plugin", tmp_path / "twins.py", "--dataset", "twins[target_patients=3]").code == 0


def test_fewer_target_patients_than_pairs_that_remain_and_the_reverse() -> None:
    patients = [f"p{i}" for i in range(10)]
    assert len(some_patients(patients, 0, fraction=0.5, count=3)) == 3
    assert len(some_patients(patients, 0, fraction=0.2, count=3)) == 2
    assert some_patients(patients, 0, count=2) < some_patients(patients, 0, count=5)


@pytest.mark.parametrize(
    ("target_patients", "translator", "said"),
    [
        ("-1", "by-domains", "'target_patients' is -1. Expected a whole number from 0"),
        ("0.5", "by-domains", "'target_patients' is 0.5"),
        ("3", "identity", "target_patients = 3, but translator 'identity' does not train"),
    ],
)
def test_a_number_of_target_patients_that_cannot_be_is_refused(
    tmp_path: Path, text: str, target_patients: str, translator: str, said: str
) -> None:
    settings = [f"translators.{translator}.target_patients={target_patients}"]
    with pytest.raises(SuiteError, match=said):
        make_plan(
            parse_suite(text.replace('"by-domains"', f'"{translator}"'), "suite.toml", tmp_path, settings),
            discover([tmp_path / "twins.py"]),
        )
