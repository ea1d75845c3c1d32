"""People whom both domains hold are on one side, and train in one domain only."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ONLY_SOURCE, SHARED, ONLY_TARGET = (
    tuple(f"{kind}{n}" for n in range(count)) for kind, count in (("a", 6), ("s", 8), ("b", 5))
)
SUITE = """
translators = ["identity"]
metrics = ["swd"]
[[datasets]]
name = "made"
plugin = "folder"
root = "made"
split = {split}
[datasets.params]
size = 8
source = {{ images = "source/*.png", normalise = "none", {table} }}
target = {{ images = "target/*.png", normalise = "none", {table} }}
"""
ID = 'patient = "([a-z][0-9])_"'


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Two slices of each patient in each of their domains."""
    for domain, patients in (("source", ONLY_SOURCE + SHARED), ("target", SHARED + ONLY_TARGET)):
        (tmp_path / "made" / domain).mkdir(parents=True)
        for number, patient in enumerate(patients):
            for index in range(2):
                image = np.full((8, 8), 10 * number + index, np.uint8)
                Image.fromarray(image).save(tmp_path / "made" / domain / f"{patient}_{index}.png")
    return tmp_path


def sides(made: Path, run_cli: Any, split: str, table: str = ID) -> tuple[dict[str, dict[str, str]], str]:
    """The side of each patient, by domain, and what the preparation said."""
    (made / "suite.toml").write_text(SUITE.format(split=split, table=table))
    store = made / f"store{len(list(made.glob('store*')))}"
    ran = run_cli("data", "prepare", made / "suite.toml", "--store", store)
    assert ran.code == 0, ran.err
    found: dict[str, dict[str, str]] = {"source": {}, "target": {}}
    splits = list(store.glob("artefacts/split/*/*/split.json"))
    if not splits:
        return found, ran.out + ran.err
    of = json.loads(splits[0].read_text())["sides"]
    for domain in found:
        names = sorted(p.stem for p in (made / "made" / domain).glob("*.png"))
        for name, side in zip(names, of[domain], strict=True):
            assert found[domain].setdefault(name[:2], side) == side
    return found, ran.out + ran.err


def halves(found: dict[str, dict[str, str]]) -> tuple[set[str], set[str]]:
    """The shared people who train as source, and as target; everybody is on one side."""
    for patient in SHARED:
        both = {found[domain][patient] for domain in found} - {""}
        assert len(both) == 1, patient
        assert {found[domain][patient] for domain in found} != {""}
    training = [{p for p in SHARED if found[domain][p] == "train"} for domain in ("source", "target")]
    assert not training[0] & training[1]
    assert abs(len(training[0]) - len(training[1])) <= 1
    assert training[0]
    return training[0], training[1]


@pytest.mark.parametrize("seed", range(3))
def test_by_seed(made: Path, run_cli: Any, seed: int) -> None:
    found, told = sides(made, run_cli, f'{{ by = "seed", seed = {seed} }}')
    source, target = halves(found)
    assert "8 patients are in both domains, on one side in both" in told
    assert f"{len(source)} train as source and {len(target)} as target only" in told
    for domain, count in (("source", 14), ("target", 13)):
        shares = [list(found[domain].values()).count(side) for side in ("validation", "test")]
        assert shares == [round(count * 0.15), round(count * 0.2)]


def test_another_seed_draws_other_halves(made: Path, run_cli: Any) -> None:
    drawn = {frozenset(halves(sides(made, run_cli, f'{{ by = "seed", seed = {n} }}')[0])[0]) for n in range(3)}
    assert len(drawn) > 1


def test_in_folds_everybody_is_tested_once(made: Path, run_cli: Any) -> None:
    found, _ = sides(made, run_cli, '{ by = "folds", folds = 3 }')
    halves(found)
    tested = [p for domain in found for p, side in found[domain].items() if side == "test"]
    assert {p for p in tested if tested.count(p) == 2} <= set(SHARED)
    assert 3 <= len({p for p, side in found["source"].items() if side == "test"}) <= 6


def write_table(made: Path, name: str, split_of: dict[str, str]) -> str:
    with (made / "made" / name).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "patient", "split"])
        for patient, side in split_of.items():
            rows.writerows([f"{patient}_{index}.png", patient, side] for index in range(2))
    return f'table = {{ file = "{name}", split = "split" }}'


OWN = {
    p: ("test" if n % 4 == 0 else "train") for p, n in zip(ONLY_SOURCE + SHARED + ONLY_TARGET, range(19), strict=True)
}


def test_the_data_sets_own_split_without_validation(made: Path, run_cli: Any) -> None:
    found, _ = sides(made, run_cli, '"own"', write_table(made, "table.csv", OWN))
    halves(found)
    assert "validation" in found["source"].values()
    assert "validation" in found["target"].values()


def test_one_person_on_two_sides_is_told(made: Path, run_cli: Any) -> None:
    """The data set's own split tests somebody as target who trains as source."""
    rows = {**OWN, "a5": "validation", "b4": "validation", "s1": "train"}
    table = write_table(made, "source.csv", rows)
    write_table(made, "target.csv", {**rows, "s1": "test"})
    suite = SUITE.replace('target = {{ images = "target/*.png", normalise = "none", {table} }}', "").format(
        split='"own"', table=table
    )
    target = table.replace("source.csv", "target.csv")
    (made / "suite.toml").write_text(f'{suite}target = {{ images = "target/*.png", normalise = "none", {target} }}\n')
    ran = run_cli("data", "prepare", made / "suite.toml")
    for text in ("patient 's1' is on the train side as source and on the test side as target", "same_people = false"):
        assert text in ran.out
    (made / "suite.toml").write_text(
        (made / "suite.toml").read_text().replace('split = "own"', 'split = { by = "own", same_people = false }')
    )
    assert "cannot be divided" not in run_cli("data", "prepare", made / "suite.toml").out


def test_by_file(made: Path, run_cli: Any) -> None:
    everybody = {**OWN, "s0": "validation", "a0": "validation", "b0": "validation"}
    lines = [f"{patient},{side}" for patient, side in everybody.items()]
    (made / "split.csv").write_text("\n".join(["patient,split", *lines]))
    found, _ = sides(made, run_cli, '{ by = "file", file = "split.csv" }')
    halves(found)
    lines = [f"{p},{side},{domain}" for p, side in everybody.items() for domain in ("source", "target")]
    (made / "split.csv").write_text("\n".join(["patient,split,domain", *lines]))
    found, told = sides(made, run_cli, '{ by = "file", file = "split.csv" }')
    assert found["source"]["s1"] == found["target"]["s1"] == "train"
    assert "in both domains" not in told


def test_different_people_of_the_same_id(made: Path, run_cli: Any) -> None:
    found, told = sides(made, run_cli, '{ by = "seed", same_people = false }')
    assert "" not in {side for of in found.values() for side in of.values()}
    assert "in both domains" not in told
