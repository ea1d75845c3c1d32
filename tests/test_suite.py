"""Suite files: what they may say, and what is told to somebody who says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mtbench.errors import RequestError, SuiteError
from mtbench.plan import make_plan
from mtbench.plan.request import PlanRequest
from mtbench.plan.suite import Suite, load_suite, parse_suite
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench.stages.table import SplitOptions

GOOD = """\
# a comment
[suite]
name = "toy"
seeds = [0, 1]

[[datasets]]
name = "toy"
params.size = 16
split = { by = "seed", test = 0.34 }

[[translators]]
name = "toy-shift"
params.by = [0.5, 1.0]

[[translators]]
name = "toy-same"

[[segmenters]]
name = "toy-threshold"

[[metrics]]
name = "toy-overlap"
"""


@pytest.fixture
def registry(toys: Path) -> Registry:
    return discover([toys])


def parse(text: str, *settings: str) -> Suite:
    return parse_suite(text, "toy.toml", Path("/suites"), settings)


def plan(text: str, registry: Registry, *settings: str, **selection: Any) -> Any:
    return make_plan(parse(text, *settings).select(**selection), registry)


def line_of(text: str, needle: str) -> int:
    return 1 + next(n for n, line in enumerate(text.splitlines()) if needle in line)


def test_a_whole_suite_is_read() -> None:
    suite = parse(GOOD)
    assert (suite.name, suite.seeds, suite.precision, suite.references) == ("toy", (0, 1), "fp32", True)
    assert [t.name for t in suite.translators] == ["toy-shift", "toy-same"]
    assert suite.datasets[0].split == SplitOptions("seed", seed=0, validation=0.15, test=0.34, same_people=True)
    assert suite.datasets[0].where == "toy.toml, line 6"


def test_a_suite_may_list_names_only() -> None:
    suite = parse("datasets = ['toy:size=8']\ntranslators = ['toy-same', 'toy-shift[by=2]']\nmetrics = ['swd:karras']")
    assert suite.name == "toy"
    assert suite.datasets[0].params == {"size": 8}
    assert suite.translators[1].params == {"by": 2}
    assert suite.metrics[0].positional == ("karras",)


WRONG = {
    "a section": ("[[metrics]]", "[[metric]]", "unknown key 'metric'", "'metrics'", "[[metric]]"),
    "a suite key": ("seeds =", "seed =", "unknown key 'seed' in [suite]", "'seeds'", "seed ="),
    "an entry key": ("params.size", "parms.size", "unknown key 'parms' in [datasets]", "'params'", "parms"),
    "a later entry": ('"toy-same"', '"toy-same"\nparam.by = 1', "unknown key 'param'", "'params'", "param.by"),
    "a split": ('"seed", test', '"sed", test', "split is 'sed'", "'seed'", "sed"),
    "a split setting": ("test = 0.34", "tset = 0.34", "no setting 'tset'", "'test'", "tset"),
    "a fraction": ("0.34", "34.0", "'test' is 34.0", "between 0 and 1", "34.0"),
    "a split setting's type": ("0.34", '"all"', "'test' is 'all'", "type float", "all"),
    "a split without by": ('by = "seed", ', "", "'split' is", 'by = "seed"', "split ="),
    "no split file": ('"seed", test = 0.34', '"file"', "split by file has no 'file'", "split.csv", "file"),
    "one fold": ('"seed", test = 0.34', '"folds", folds = 1', "split setting 'folds' is 1", "from 2 to 1000", "folds"),
    "seeds": ("[0, 1]", '["a"]', "a seed of 'seeds' is 'a'", "a whole number from 0", "seeds"),
    "no seeds": ("[0, 1]", "[]", "'seeds' is []", "at least one", "seeds"),
    "a suite key's type": ('name = "toy"\nseeds', "name = 3\nseeds", "'name' is 3", "type str", "name = 3"),
    "a truth value": ("seeds", "threads = true\nseeds", "'threads' is True", "from 1 to 1024", "threads"),
    "no thread": ("seeds", "threads = 0\nseeds", "'threads' is 0", "from 1 to 1024", "threads"),
    "a precision": ("seeds", 'precision = "fp23"\nseeds', "precision is 'fp23'", "'fp32'", "precision"),
    "a protocol": ("seeds", 'protocols = ["segment"]\nseeds', "protocol is 'segment'", "segment-t", "protocols"),
    "params": ("params.size = 16", "params = 16", "'params' must be a table", "params.NAME", "[[datasets]]"),
    "a note": ("params.size = 16", "note = 16", "'note' is 16", "text", "[[datasets]]"),
    "two of one name": ("[[translators]]", '[[datasets]]\nname = "toy"\n\n[[translators]]', "two datasets", "each", ""),
    "an entry without a name": ('name = "toy-same"', 'params.by = 1.0', "no name", 'name = "..."', None),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_key_line_and_remedy(case: str) -> None:
    old, new, what, hint, marker = WRONG[case]
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(SuiteError) as caught:
        parse(text)
    message = str(caught.value)
    assert what in message
    assert hint in message
    assert "\n" not in message
    if marker:
        assert f"toy.toml, line {line_of(text, marker)}:" in message
    else:
        assert "toy.toml, line " in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[suite\n", r"not valid TOML.*line 1"),
        ("datasets = 3", "'datasets' must be a list"),
        ("suite = 3", "'suite' must be a table"),
        ("datasets = [3]", "an entry of 'datasets' is 3"),
        ("datasets = ['a']\ntranslators = ['b']", r"names no metrics.*\[\[metrics\]\]"),
        ("", "names no datasets"),
    ],
)
def test_what_is_no_suite(text: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        parse(text)


PLUGINS = {
    "a dataset": ('"toy"\nparams', '"toi"\nparams', "unknown dataset 'toi'", "'toy'"),
    "a translator": ('"toy-same"', '"toy-sane"', "unknown translator 'toy-sane'", "'toy-same'"),
    "a metric": ("toy-overlap", "toy-overlop", "unknown metric 'toy-overlop'", "'toy-overlap'"),
    "a segmenter": ("toy-threshold", "toy-treshold", "unknown segmenter 'toy-treshold'", "'toy-threshold'"),
    "a parameter": ("params.by", "params.bye", "unknown parameter 'bye'", "'by'"),
    "a value": ("[0.5, 1.0]", '"much"', "'by' is 'much'", "type float"),
    "a value of a grid": ("[0.5, 1.0]", '[0.5, "much"]', "'by' is 'much'", "type float"),
    "an empty grid": ("[0.5, 1.0]", "[]", "grid of 'by' is empty", "at least one value"),
    "no root": ('"toy"\nparams.size = 16', '"toy-files"', "the folder with its files", "Ask the test for them"),
}


@pytest.mark.parametrize("case", PLUGINS)
def test_an_unknown_plugin_or_parameter_is_told_with_its_line(case: str, registry: Registry) -> None:
    old, new, what, hint = PLUGINS[case]
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(RequestError) as caught:
        plan(text, registry)
    message = str(caught.value)
    assert what in message
    assert hint in message
    line = line_of(text, new.split("\n")[0])
    header = max(n for n, content in enumerate(text.splitlines()[:line], start=1) if content.startswith("[["))
    assert any(f"toy.toml, line {n}:" in message for n in (line, header))


def test_a_grid_makes_one_choice_for_each_point(registry: Registry) -> None:
    text = GOOD.replace("params.size = 16", "params.size = [8, 16]\nparams.patients = [6, 9]")
    graph = plan(text, registry)
    assert len([u for u in graph.units.values() if u.stage == "prepare"]) == 4
    fits = [u for u in graph.units.values() if u.stage == "fit" and u.plugin == "toy-shift"]
    assert len(fits) == 4 * 2 * 2
    rows = [r.columns for r in graph.rows if r.columns["translator"] == "toy-shift"]
    assert {r["translator_params"] for r in rows} == {'{"by":0.5}', "{}"}
    assert len({r.id for r in graph.rows}) == len(graph.rows)


def test_settings_go_over_the_file(registry: Registry) -> None:
    suite = parse(GOOD, "seeds=[3]", "precision=bf16", "datasets.toy.params.size=8", "translators.*.params.by=2")
    assert (suite.seeds, suite.precision) == ((3,), "bf16")
    assert suite.datasets[0].params == {"size": 8}
    assert [t.params for t in suite.translators] == [{"by": 2}, {"by": 2}]
    short = "datasets = ['toy']\ntranslators = ['toy-shift']\nmetrics = ['toy-mean']"
    assert parse(short, "translators.toy-shift.params.by=2").translators[0].params == {"by": 2}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seeds", "key=value"),
        ("datasets.tox.params.size=8", r"datasets\.tox\.params\.size=8 matches no key"),
        ("datasets.toy=8", "matches no key"),
        ("seed=[1]", "unknown key 'seed'.*'seeds'"),
        ("suite.name.first=x", "matches no key"),
        ("datasets.toy.params.size.big=1", "matches no key"),
        ("nonsense.toy.params.size=1", "matches no key|unknown key 'nonsense'"),
    ],
)
def test_settings_that_set_nothing(setting: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(GOOD, setting)


def test_selection_narrows_and_changes(registry: Registry) -> None:
    suite = parse(GOOD)
    assert [t.name for t in suite.select(translators=["toy-same"]).translators] == ["toy-same"]
    (shift,) = suite.select(translators=["toy-shift:by=2"]).translators
    assert shift.params == {"by": 2}
    (positional,) = suite.select(translators=["toy-shift:3"]).translators
    graph = make_plan(Suite(**{**vars(suite), "translators": (positional,)}), registry)
    assert {u.params["by"] for u in graph.units.values() if u.plugin == "toy-shift"} == {3.0}
    added = suite.select(translators=["toy-noisy"], metrics=["toy-mean"], seeds=[7], precision="tf32")
    assert [t.plugin for t in added.translators] == ["toy-noisy"]
    assert (added.seeds, added.precision) == ((7,), "tf32")
    with pytest.raises(RequestError, match=r"option 'toy-sane': unknown translator 'toy-sane'.*'toy-same'"):
        make_plan(suite.select(translators=["toy-sane"]), registry)
    with pytest.raises(RequestError, match=r"option 'toy-shift:bye=2'.*unknown parameter 'bye'.*'by'"):
        make_plan(suite.select(translators=["toy-shift:bye=2"]), registry)


def test_options_of_a_request_are_checked() -> None:
    request = PlanRequest.of("quickstart", {"precision": "bf16", "seeds": [1, 2], "plugin_files": [Path("a.py")]})
    assert (request.precision, request.seeds, request.plugin_files) == ("bf16", (1, 2), ("a.py",))
    for options, message in (
        (
            {"precision": "fp23"},
            r"the request: precision is 'fp23'\. Did you mean 'fp32'.*one of 'fp32', 'tf32', 'bf16'",
        ),
        ({"seeds": 1}, r"the request: seeds is 1\. Expected a value of type tuple\[int, \.\.\.\]"),
        ({"metrics": "dice"}, r"the request: metrics is 'dice', one text.*\('dice',\)"),
        ({"metric": ["dice"]}, r"^unknown option 'metric'\. Did you mean 'metrics'.*one of translators, datasets,"),
    ):
        with pytest.raises(RequestError, match=message):
            PlanRequest.of("quickstart", options)


def test_paths_start_from_the_suite_or_from_where_they_were_typed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_ROOT", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    text = GOOD.replace('"toy"\nparams.size = 16', '"toy-files"\nroot = "$TOY_ROOT/knees"')
    text = text.replace('name = "toy-same"', 'name = "toy-folder"\nparams.folder = "made"')

    def paths(**selection: Any) -> dict[str, str]:
        units = plan(text, registry, **selection).units.values()
        return {name: path for u in units for name, path in u.paths.items()}

    assert paths() == {"root": str(tmp_path / "data/knees"), "folder": "/suites/made"}
    assert paths(translators=["toy-folder:folder=typed"])["folder"] == str(tmp_path / "typed")
    assert paths(translators=["toy-folder:typed"])["folder"] == str(tmp_path / "typed")
    assert paths(translators=["toy-folder"])["folder"] == "/suites/made"
    assert paths(datasets=["toy-files:root=typed"])["root"] == str(tmp_path / "typed")
    monkeypatch.delenv("TOY_ROOT")
    with pytest.raises(SuiteError, match=r"'\$TOY_ROOT/knees'.*TOY_ROOT, which is not set.*export TOY_ROOT="):
        paths()


def test_one_name_for_two_things_is_refused(registry: Registry) -> None:
    """Their rows could not be told apart."""
    both = GOOD.replace('name = "toy-same"', 'name = "toy-shift"\nplugin = "toy-same"').replace("[0.5, 1.0]", "1.0")
    with pytest.raises(SuiteError, match=r"two translators are called 'toy-shift'.*a different name"):
        plan(both, registry)
    folders = GOOD.replace('name = "toy-same"', 'name = "toy-folder"\nparams.folder = ["one", "two"]')
    with pytest.raises(SuiteError, match=r"two rows are called 'toy-folder'.*different names"):
        plan(folders, registry)
    named = GOOD.replace(
        'name = "toy-same"',
        'name = "a"\nplugin = "toy-folder"\nparams.folder = "one"\n'
        '[[translators]]\nname = "b"\nplugin = "toy-folder"\nparams.folder = "two"',
    )
    assert {"a", "b"} <= {r.columns["translator"] for r in plan(named, registry).rows}


def test_files_that_are_not_there(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"unknown suite 'quikstart'. Did you mean 'quickstart'"):
        load_suite("quikstart", registry)
    with pytest.raises(RequestError, match=r"unknown suite 'none\.toml'"):
        load_suite("none.toml", registry)
    with pytest.raises(RequestError, match="is a folder"):
        load_suite(str(tmp_path), registry)
    (tmp_path / "latin.toml").write_bytes(b'[suite]\nname = "\xe9"')
    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(str(tmp_path / "latin.toml"), registry)
    (tmp_path / "good.toml").write_text(GOOD)
    assert load_suite(str(tmp_path / "good.toml"), registry).folder == tmp_path
