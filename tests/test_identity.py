"""What makes another number never shares a row, a column or a block with it: every setting, one by one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

import mtbench
from mtbench.analysis.model import ResultsTable
from mtbench.analysis.table import build_table
from mtbench.engine.origin import origin
from mtbench.plan import Plan, make_plan
from mtbench.plan.suite import Entry, Suite, parse_suite
from mtbench.registry.discovery import discover
from mtbench.results.identity import BLOCK, COLUMN, IDENTITY, ROW
from mtbench.results.merge import merge
from mtbench.results.schema import SCORES
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import Artefact

SUITE = toy_suite().replace("[[translators]]", 'split.by = "seed"\n[[translators]]', 1)

LEARNED = SUITE + "".join(
    f'[[metrics]]\nname = "toy-distance"\nparams.extractor = "{extractor}"\n'
    for extractor in ("toy-learnt", "toy-of-segmenter")
)
"""With metrics on features of networks that are trained in the suite."""

SETTINGS = {
    "precision": "precision=bf16",
    "threads": "threads=1",
    "segmenter_seed": "segmenter_seed=1",
    "sampling_seed": "sampling_seed=7",
    "draws": "draws=1",
    "seeds": "seeds=[3]",
    "protocols": 'protocols=["train-on-translated"]',
    "params": "translators.toy-shift.params.by=0.2",
    "split": "datasets.toy.split.by=folds",
    "paired_fraction": "datasets.toy.paired_fraction=0.5",
    "target_patients": "translators.toy-shift.target_patients=2",
}
"""Settings that make other numbers, each with another value than the default."""
NO_NUMBER = {
    "name": "of the suite; of an entry: a label, whose plugin is in the version",
    "plugin": "the version of an entry",
    "folder": "where relative paths start",
    "description": "for people",
    "references": "whether there are reference rows",
    "trusted": "whether programs may be named",
    "note": "printed beside the table",
    "keep": "more rows; the final weights are bit-equal (test_checkpoints.py)",
    "positional": "a parameter",
    "where": "for messages",
    "cli_params": "for messages",
    "root": "what lies there is in data_sha256",
    **dict.fromkeys(("datasets", "translators", "segmenters", "metrics"), "entries"),
}
"""Fields of suites that make none, each with the reason."""
DESCRIPTIVE = {
    *("schema_version", "row_id", "suite", "status", "unit_key", "input_digest", "fit_digest", "source"),
    # These follow from what is in the keys.
    *("source_domain", "target_domain", "task_note", "conditional", "higher_is_better", "decimals", "beside"),
    # These say more of a number.
    *("value", "stderr", "ci_low", "ci_high", "without_interval", "bound_low", "bound_high"),
    *("mark", "note", "translator_note"),
    *("n", "draws", "n_translated", "n_target", "n_patients_translated", "n_patients_target"),
    *("translator_weights_sha256", "segmenter_validation", "left_out", "clamped"),
    "step",  # of the column ``checkpoint``
    # A row of its own in tables, never averaged with current numbers.
    "stale",
}
"""Columns that are in no key."""


def plan(toys: Path, text: str = SUITE, *settings: str, **selection: Any) -> Plan:
    suite = parse_suite(text, "toy.toml", toys.parent, settings).select(**selection)
    return make_plan(suite, discover([toys]))


def behind(graph: Plan, key: str) -> list[Unit]:
    units, waiting = [], [key]
    while waiting:
        unit = graph.units[waiting.pop()]
        units.append(unit)
        waiting += unit.inputs.values()
    return units


def requests(graph: Plan) -> dict[str, str]:
    """The score unit of every row, by all that tables tell numbers apart by."""
    places = {}
    for row in graph.rows:
        columns = {**row.columns, **origin(graph, row, behind(graph, row.unit), {}).columns()}
        assert places.setdefault(json.dumps([columns.get(name) for name in (*IDENTITY, "title")]), row.unit) == row.unit
    return places


def test_every_column_of_the_scores_table_is_in_a_key_or_said_to_be_in_none() -> None:
    keys = {*BLOCK, *ROW, *COLUMN, "seed", "fold"}
    assert keys | DESCRIPTIVE == set(SCORES.names)
    assert not keys & DESCRIPTIVE
    assert set(IDENTITY) <= keys


def test_every_setting_of_a_suite_is_tried_here_or_makes_no_number() -> None:
    known = {field.name for of in (Suite, Entry) for field in fields(of)}
    assert known == {*SETTINGS, *NO_NUMBER}
    assert not SETTINGS.keys() & NO_NUMBER.keys()


@pytest.mark.parametrize("text", [SUITE, LEARNED], ids=["suite", "learned"])
@pytest.mark.parametrize("setting", sorted(SETTINGS.keys() - {"paired_fraction"}))  # test_paired_fraction.py
def test_a_setting_that_makes_another_unit_makes_another_row_column_or_block(
    toys: Path, setting: str, text: str
) -> None:
    before, after = requests(plan(toys, text)), requests(plan(toys, text, SETTINGS[setting]))
    assert set(before.values()) != set(after.values())
    for place in before.keys() & after.keys():
        assert before[place] == after[place], place


def test_parameters_that_tables_do_not_show_count_and_those_that_change_nothing_do_not(toys: Path) -> None:
    text = SUITE.replace('name = "toy-shift"', 'name = "toy-shift"\n[[translators]]\nname = "mine"\nplugin = "command"')
    runs = [f"mine:run=python {name}.py {{input}} {{output}}" for name in ("one", "two")]
    one, two = (requests(plan(toys, text, translators=[run], metrics=["toy-gap"])) for run in runs)
    assert set(one) & set(two) == {place for place, unit in one.items() if unit in two.values()}  # the floor
    assert len(set(one) & set(two)) == 1
    patient = requests(plan(toys, text, translators=[runs[0] + ",timeout=99"], metrics=["toy-gap"]))
    assert patient == one


def test_a_name_that_the_user_gave_to_two_plugins_does_not_make_them_one(toys: Path) -> None:
    texts = [SUITE.replace('"toy-same"', f'"mine"\nplugin = "{plugin}"') for plugin in ("toy-same", "toy-masked")]
    one, two = (requests(plan(toys, text, translators=["mine"], metrics=["toy-gap"])) for text in texts)
    assert len(set(one) & set(two)) == 1  # the floor


# -- what a run finds out


def artefact(folder: Path, stage: str, info: Mapping[str, Any], files: str, code: str | None) -> Artefact:
    (folder / stage).mkdir(parents=True, exist_ok=True)
    parts = {split: {"images": split, "masks": split} for split in ("train", "validation", "test")}
    content = {"task": "t", "contents": dict.fromkeys(("source", "target", "paired"), parts)}
    (folder / stage / "split.json").write_text(json.dumps(content))
    return Artefact(folder / stage, {"info": info, "files_fingerprint": files, "digest": stage, "code": code})


def test_files_adopted_fits_and_weights_done_without_are_part_of_the_version(toys: Path, tmp_path: Path) -> None:
    text = SUITE.replace('"toy-shift"', '"toy-noted"\nparams.weights = "some.pt"')
    graph = plan(toys, text, translators=["toy-noted"], metrics=["toy-gap"])
    (row,) = (row for row in graph.rows if row.columns["role"] == "translator")
    units = behind(graph, row.unit)

    def version(fit: Mapping[str, Any], files: str) -> str:
        infos = {"fit": fit}
        codes = {u.key: graph.codes.get((u.kind, u.plugin)) for u in units}
        done = {u.key: artefact(tmp_path, u.stage, infos.get(u.stage, {}), files, codes[u.key]) for u in units}
        columns = origin(graph, row, units, done).columns()
        assert len(str(columns["data_sha256"])) == 64
        return str(columns["translator_version"])

    assert origin(graph, row, units, {}).columns()["translator_version"] == ""  # nobody has read the files yet
    adopted = {"adopted": {"step.npy": "a" * 64}}
    versions = [version({}, "f"), version({}, "g"), version({"weights": ["vgg"]}, "f"), version(adopted, "f")]
    assert len(set(versions)) == 4
    assert json.loads(versions[2])["fit weights"] == "vgg"
    assert version({"weights": []}, "f") == versions[0]


# -- real runs


@pytest.fixture
def files(toys: Path) -> Path:
    """A data set of files, with more target than source patients."""
    for domain, patients in (("source", 6), ("target", 10)):
        folder = toys.parent / "images" / domain
        folder.mkdir(parents=True)
        for patient in range(patients):
            for index in range(2):
                image = np.random.default_rng([len(domain), patient, index]).uniform(0.1, 0.3, (16, 16))
                image[4:12, 4:12] += 0.2 + 0.01 * patient
                np.save(folder / f"{domain[0]}{patient}_{index}.npy", image + 0.3 * (domain == "target"))
    text = SUITE.replace("split.by", 'plugin = "toy-files"\nroot = "images"\nsplit.by')
    (toys.parent / "toy.toml").write_text(text)
    return toys


def ran(run_cli: Any, toys: Path, out: str, *more: str) -> Path:
    done = run_cli("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline", "--out", out, *more)
    assert done.code == 0, done.err
    return Path(out)


def values(built: ResultsTable) -> dict[str, dict[str, float | None]]:
    (section,) = built.sections
    return {
        row.label: {f"{c.task} {c.title}": cell.value for c, cell in zip(section.columns, row.cells, strict=True)}
        for row in section.rows
        if row.role == "translator"
    }


def score(folder: Path, metric: str, translator: str = "toy-shift") -> float:
    (value,) = {
        row["value"]
        for row in mtbench.load(folder).to_pylist()
        if (row["metric"], row["translator"]) == (metric, translator)
    }
    return float(value)


def test_other_draws_are_other_columns_and_nothing_is_averaged(files: Path, run_cli: Any) -> None:
    options = ("-t", "toy-shift", "--set", "references=false")
    a = ran(run_cli, files, "a", *options)
    b = ran(run_cli, files, "b", *options, "--set", "draws=1", "--set", "sampling_seed=7")
    done = merge([a, b], Path("both"))
    # Nothing is drawn for the segmentation.
    assert (done.same, done.replicates, done.conflicts) == (1, 0, [])
    task, shift = "toy: source → target", values(build_table(mtbench.load("both")))["toy-shift"]
    assert shift == {
        f"{task} toy-overlap blob ↑": score(a, "toy-overlap"),
        f"{task} toy-gap[draws=5,sampling_seed=0] ↓": score(a, "toy-gap"),
        f"{task} toy-gap[draws=1,sampling_seed=7] ↓": score(b, "toy-gap"),
    }
    assert score(a, "toy-gap") != score(b, "toy-gap")
    # Alone, a table does not speak of it.
    assert list(values(build_table(mtbench.load(a)))["toy-shift"])[1] == f"{task} toy-gap ↓"
    compared = json.loads(run_cli("compare", a, b, "--json").out)["items"]
    gaps = [item for item in compared if item["metric_name"] == "toy-gap"]
    assert [(item["comparable"], item["same"], item["difference"]) for item in gaps] == [(False, False, None)]
    expected = [{"draws": 5, "sampling_seed": 0}, {"draws": 1, "sampling_seed": 7}]
    assert gaps[0]["differences"] == {"sampling_params": expected}
    assert "sampling params draws=5,sampling_seed=0 / draws=1,sampling_seed=7" in run_cli("compare", a, b).out


def test_another_split_file_makes_another_block_though_its_name_is_the_same(files: Path, run_cli: Any) -> None:
    def write(test: str) -> None:
        sides = {"s0": "validation", "t0": "validation", test: "test", "t1": "test"}
        people = [f"s{i}" for i in range(6)] + [f"t{i}" for i in range(10)]
        lines = [f"{person},{sides.get(person, 'train')}" for person in people]
        Path("split.csv").write_text("patient,split\n" + "\n".join(lines))

    options = ("-t", "toy-same", "-m", "toy-gap", "--set", "datasets.toy.split.by=file", "--set")
    options = ("--set", "references=false", *options)
    write("s1")
    a = ran(run_cli, files, "a", *options, "datasets.toy.split.file=split.csv")
    write("s5")
    b = ran(run_cli, files, "b", *options, "datasets.toy.split.file=split.csv")
    write("s1")
    Path("elsewhere").mkdir()
    Path("split.csv").rename("elsewhere/split.csv")
    c = ran(run_cli, files, "c", *options, "datasets.toy.split.file=elsewhere/split.csv")
    merge([a, b, c], Path("all"))
    numbers = values(build_table(mtbench.load("all")))["toy-same"]
    assert sorted(numbers.values()) == sorted([score(a, "toy-gap", "toy-same"), score(b, "toy-gap", "toy-same")])
    assert all("[data " in title for title in numbers)


def test_folds_of_one_division_are_one_block(files: Path, run_cli: Any) -> None:
    folds = ("--set", "datasets.toy.split.by=folds", "--set", "datasets.toy.split.folds=2")
    out = ran(run_cli, files, "a", "-t", "toy-same", "-m", "toy-gap", *folds)
    rows = [row for row in mtbench.load(out).to_pylist() if row["translator"] == "toy-same"]
    assert {row["fold"] for row in rows} == {0, 1}
    assert len({row["data_sha256"] for row in rows}) == 1
    (number,) = values(build_table(mtbench.load(out)))["toy-same"].values()
    assert number == pytest.approx(np.mean([row["value"] for row in rows]))


def test_other_files_under_one_name_are_another_row_and_the_same_files_elsewhere_are_not(
    files: Path, run_cli: Any
) -> None:
    for folder, content in (("one", "x"), ("two", "y"), ("elsewhere/one", "x")):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "weights.txt").write_text(content)
    text = Path("toy.toml").read_text().replace('"toy-same"', '"toy-folder"\nparams.folder = "FOLDER"')
    folders = []
    for i, folder in enumerate(("one", "two", "elsewhere/one")):
        Path("toy.toml").write_text(text.replace("FOLDER", folder))
        folders.append(ran(run_cli, files, f"r{i}", "-m", "toy-gap", "-t", "toy-folder", "--set", "references=false"))
    done = merge(folders, Path("all"))
    assert (done.apart, done.replicates, done.same) == (1, 0, 1)
    labels = list(values(build_table(mtbench.load("all"))))
    assert len(labels) == 2
    assert all(label.startswith("toy-folder[files sha256=") for label in labels)
