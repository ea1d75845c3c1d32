"""People whom both domains hold are on one side, and train in one domain only."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mtbench.data import Slice
from mtbench.stages.split import assign
from mtbench.stages.table import SplitOptions

ONLY_SOURCE, SHARED, ONLY_TARGET = (
    tuple(f"{kind}{n}" for n in range(count)) for kind, count in (("a", 6), ("s", 8), ("b", 5))
)
SUITE = """
translators = ["identity"]
metrics = ["swd"]
[[datasets]]
name = "images"
plugin = "folder"
root = "images"
split = {split}
[datasets.params]
size = 8
source = {{ images = "source/*.png", normalise = "none", {table} }}
target = {{ images = "target/*.png", normalise = "none", {table} }}
"""
ID = 'patient = "([a-z][0-9])_"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two slices of each patient in each of their domains."""
    for domain, patients in (("source", ONLY_SOURCE + SHARED), ("target", SHARED + ONLY_TARGET)):
        (tmp_path / "images" / domain).mkdir(parents=True)
        for number, patient in enumerate(patients):
            for index in range(2):
                image = np.full((8, 8), 10 * number + index, np.uint8)
                Image.fromarray(image).save(tmp_path / "images" / domain / f"{patient}_{index}.png")
    return tmp_path


def sides(folder: Path, run_cli: Any, split: str, table: str = ID) -> tuple[dict[str, dict[str, str]], str]:
    """The side of each patient, by domain, and what the preparation said."""
    (folder / "suite.toml").write_text(SUITE.format(split=split, table=table))
    store = folder / f"store{len(list(folder.glob('store*')))}"
    ran = run_cli("data", "prepare", folder / "suite.toml", "--store", store)
    assert ran.code == 0, ran.err
    division: dict[str, dict[str, str]] = {"source": {}, "target": {}}
    splits = list(store.glob("artefacts/split/*/*/split.json"))
    if not splits:
        return division, ran.out + ran.err
    of = json.loads(splits[0].read_text())["sides"]
    for domain in division:
        names = sorted(p.stem for p in (folder / "images" / domain).glob("*.png"))
        for name, side in zip(names, of[domain], strict=True):
            assert division[domain].setdefault(name[:2], side) == side
    return division, ran.out + ran.err


def halves(division: dict[str, dict[str, str]]) -> tuple[set[str], set[str]]:
    """The shared people who train as source, and as target; everybody is on one side."""
    for patient in SHARED:
        both = {division[domain][patient] for domain in division} - {""}
        assert len(both) == 1, patient
        assert {division[domain][patient] for domain in division} != {""}
    training = [{p for p in SHARED if division[domain][p] == "train"} for domain in ("source", "target")]
    assert not training[0] & training[1]
    assert abs(len(training[0]) - len(training[1])) <= 1
    assert training[0]
    return training[0], training[1]


@pytest.mark.parametrize("seed", range(3))
def test_by_seed(folder: Path, run_cli: Any, seed: int) -> None:
    division, output = sides(folder, run_cli, f'{{ by = "seed", seed = {seed} }}')
    source, target = halves(division)
    assert "8 patients are in both domains, in the same split in both" in output
    assert f"{len(source)} are source only and {len(target)} target only" in output
    for domain, count in (("source", 14), ("target", 13)):
        shares = [list(division[domain].values()).count(side) for side in ("validation", "test")]
        assert shares == [round(count * 0.15), round(count * 0.2)]


def test_another_seed_draws_other_halves(folder: Path, run_cli: Any) -> None:
    drawn = {frozenset(halves(sides(folder, run_cli, f'{{ by = "seed", seed = {n} }}')[0])[0]) for n in range(3)}
    assert len(drawn) > 1


@pytest.mark.parametrize("shared", range(9))
@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_in_folds_everybody_is_tested_once(shared: int, folds: int) -> None:
    """However many people are shared, and where these are fewer than folds."""
    people = {"source": [*SHARED[:shared], *(f"a{n}" for n in range(14))], "target": [*SHARED[:shared], *ONLY_TARGET]}
    people["target"] += [f"c{n}" for n in range(7)]
    slices = {domain: [Slice(f"{p}-{i}", p, p, i) for p in of for i in range(2)] for domain, of in people.items()}
    tested: dict[str, list[str]] = {"source": [], "target": []}
    for fold in range(folds):
        options = SplitOptions("folds", folds=folds, fold=fold)
        split, _ = assign({**slices, "paired": []}, options, {}, "toy")
        for domain, records in slices.items():
            tested[domain] += {s.patient_id for s, side in zip(records, split[domain], strict=True) if side == "test"}
    assert {domain: sorted(of) for domain, of in tested.items()} == {
        domain: sorted(of) for domain, of in people.items()
    }


def write_table(folder: Path, name: str, split_of: dict[str, str]) -> str:
    with (folder / "images" / name).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "patient", "split"])
        for patient, side in split_of.items():
            rows.writerows([f"{patient}_{index}.png", patient, side] for index in range(2))
    return f'table = {{ file = "{name}", split = "split" }}'


OWN = {
    p: ("test" if n % 4 == 0 else "train") for p, n in zip(ONLY_SOURCE + SHARED + ONLY_TARGET, range(19), strict=True)
}


def test_the_data_sets_own_split_without_validation(folder: Path, run_cli: Any) -> None:
    division, _ = sides(folder, run_cli, '"own"', write_table(folder, "table.csv", OWN))
    halves(division)
    assert "validation" in division["source"].values()
    assert "validation" in division["target"].values()


def test_one_person_on_two_sides_is_told(folder: Path, run_cli: Any) -> None:
    """The data set's own split tests somebody as target who trains as source."""
    rows = {**OWN, "a5": "validation", "b4": "validation", "s1": "train"}
    table = write_table(folder, "source.csv", rows)
    write_table(folder, "target.csv", {**rows, "s1": "test"})
    suite = SUITE.replace('target = {{ images = "target/*.png", normalise = "none", {table} }}', "").format(
        split='"own"', table=table
    )
    target = table.replace("source.csv", "target.csv")
    (folder / "suite.toml").write_text(f'{suite}target = {{ images = "target/*.png", normalise = "none", {target} }}\n')
    ran = run_cli("data", "prepare", folder / "suite.toml")
    for text in ("patient 's1' is in the train split as source and in the test split as target", "same_people = false"):
        assert text in ran.out
    (folder / "suite.toml").write_text(
        (folder / "suite.toml").read_text().replace('split = "own"', 'split = { by = "own", same_people = false }')
    )
    assert "cannot be divided" not in run_cli("data", "prepare", folder / "suite.toml").out


def test_by_file(folder: Path, run_cli: Any) -> None:
    everybody = {**OWN, "s0": "validation", "a0": "validation", "b0": "validation"}
    lines = [f"{patient},{side}" for patient, side in everybody.items()]
    (folder / "split.csv").write_text("\n".join(["patient,split", *lines]))
    division, _ = sides(folder, run_cli, '{ by = "file", file = "split.csv" }')
    halves(division)
    lines = [f"{p},{side},{domain}" for p, side in everybody.items() for domain in ("source", "target")]
    (folder / "split.csv").write_text("\n".join(["patient,split,domain", *lines]))
    division, output = sides(folder, run_cli, '{ by = "file", file = "split.csv" }')
    assert division["source"]["s1"] == division["target"]["s1"] == "train"
    assert "in both domains" not in output


def test_different_people_of_the_same_id(folder: Path, run_cli: Any) -> None:
    division, output = sides(folder, run_cli, '{ by = "seed", same_people = false }')
    assert "" not in {side for of in division.values() for side in of.values()}
    assert "in both domains" not in output
