"""What a plugin's author may write into a spec, and what is refused where it is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mtbench
from mtbench import Features, PluginError
from mtbench.engine.request import RunRequest
from mtbench.errors import RequestError
from mtbench.registry.discovery import discover, load_one
from mtbench.registry.plugin import Plugin
from mtbench.registry.registry import Registry
from mtbench.translation.models import from_checkpoint


def metric(**fields: Any) -> mtbench.MetricSpec:
    return mtbench.MetricSpec("m", ":M", **{"needs": ("candidate",), **fields})


def translator(**fields: Any) -> mtbench.TranslatorSpec:
    return mtbench.TranslatorSpec("t", ":T", **fields)


def a_file() -> mtbench.Param:
    return mtbench.Param(None, "path", role="checkpoint")


def dataset(**fields: Any) -> mtbench.DatasetSpec:
    return mtbench.DatasetSpec("d", ":D", **fields)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metric(needs=("candidates",)), ["needs is ('candidates',)", "a tuple of 'candidate', 'reference'"]),
        (lambda: metric(needs="candidate"), ["one text", "('candidate',)"]),
        (lambda: metric(family="perceptul"), ["family is 'perceptul'", "Did you mean 'perceptual'?", "one of"]),
        (lambda: metric(interval="case"), ["Did you mean 'cases'?"]),
        (lambda: metric(decimals="2"), ["decimals is '2'", "None, or a whole number"]),
        (lambda: metric(decimals=True), ["decimals is True"]),
        (lambda: metric(higher_is_better="no"), ["higher_is_better is 'no'", "type bool"]),
        (lambda: metric(variant="x"), ["variant is 'x'", "Callable"]),
        (lambda: Features("candidat", "net", ("a",)), ["Features", "'net'", "Did you mean 'candidate'?"]),
        (lambda: Features("candidate", "net", "a"), ["arrays is 'a', one text", "('a',)"]),
        (lambda: dataset(labels={"bone": 1}), ["DatasetSpec 'd'", "labels is {'bone': 1}", "Mapping[int, str]"]),
        (lambda: dataset(masks="source"), ["masks is 'source'", "frozenset[str]"]),
        (lambda: dataset(depth="uint32"), ["depth", "'uint8', 'uint16', 'float32'"]),
        (lambda: dataset(regions={"all": 1}), ["regions is {'all': 1}"]),
        (lambda: dataset(published={"source": {"train": "x"}}), ["published"]),
        (lambda: translator(weights="w.pt"), ["weights is 'w.pt', one text"]),
        (lambda: translator(trains=1), ["trains is 1"]),
        (lambda: translator(params=["a"]), ["params"]),
        (lambda: translator(description=None), ["description is None"]),
        (lambda: translator(params={"a": mtbench.Param(5, maximum=3)}), ["default of parameter 'a' is 5", "at most 3"]),
        (lambda: translator(params={"a": mtbench.Param("x", choices=("y",))}), ["default of parameter 'a'", "'y'"]),
        (lambda: translator(params={"a b": 1}), ["a parameter has the name 'a b'", "a Python name"]),
        (lambda: translator(params={"a": object()}), ["params cannot be read", "needs kind="]),
        (lambda: translator(params={name: a_file() for name in "ab"}), ["two parameters have the role 'checkpoint'"]),
        (lambda: mtbench.SuiteSpec("s", 3), ["SuiteSpec 's'", "resource is 3"]),
    ],
)
def test_a_field_of_another_type_is_refused(make: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(PluginError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def test_lists_and_sets_are_taken() -> None:
    assert metric(needs=["candidate", Features("reference", "net", ["a"])]).needs_for({}) == (
        "candidate",
        Features("reference", "net", ("a",)),
    )
    assert dataset(labels={1: "a"}, masks={"source"}, regions={"all": [1]}).task({}, "x").masks == {"source"}


@pytest.mark.parametrize(
    "needs", [(), [], lambda params: (), lambda params: "candidate", lambda params: ["candidates"]]
)
def test_a_metric_reads_something_that_there_is(needs: Any) -> None:
    with pytest.raises(PluginError, match="MetricSpec 'm'"):
        metric(needs=needs).needs_for({})


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (0.0, 0.0), (0.0, math.nan), (0.0,), "ab"])
def test_bounds_are_two_numbers_the_smaller_first(bounds: Any) -> None:
    with pytest.raises(PluginError, match="MetricSpec 'm'"):
        metric(bounds=bounds)
    assert metric(bounds=(0.0, math.inf)).bounds == (0.0, math.inf)


@pytest.mark.parametrize("answer", [5, True, False, ["a"]])
def test_what_a_spec_answers_is_text(answer: Any) -> None:
    task = dataset().task({}, "x")
    for ask in (
        lambda: translator(notes=lambda params: answer).note({}),
        lambda: translator(supports=lambda task: answer).refusal(task),
        lambda: metric(variant=lambda params: answer).printed_variant({}),
    ):
        with pytest.raises(PluginError, match=r"(notes|supports|variant) is .*Expected a value of type str"):
            ask()
    assert translator(supports=lambda task: None).refusal(task) is None


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"labels": {0: "background", 1: "bone"}}, ["labels has the value 0", "0 is background"]),
        ({"labels": {300: "bone"}}, ["300", "1 to 255"]),
        ({"labels": {1: "bone", 2: "bone"}}, ["two labels are called 'bone'"]),
        ({"labels": {1: "bone"}, "regions": {"all": (1, 2)}}, ["region 'all' is made of (1, 2)", "among 1"]),
        ({"labels": {1: "bone"}, "regions": {"none": ()}}, ["region 'none'"]),
        ({"masks": frozenset({"src"})}, ["masks contains 'src'", "'source', 'target'"]),
    ],
)
def test_labels_regions_and_masks_go_together(fields: dict[str, Any], words: list[str], described: bool) -> None:
    spec = dataset(describe=lambda params: fields) if described else dataset(**fields)
    with pytest.raises(PluginError) as caught:
        spec.task({}, "x")
    for word in ("DatasetSpec 'd'", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [("plugins", "toy"), ("data", "list", "toy"), ("data", "prepare", "toy"), ("plan", "phantom", "-d", "toy")],
)
def test_who_asks_for_it_reads_what_is_wrong(command: tuple[str, ...], tmp_path: Path, run_cli: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import mtbench\n@mtbench.hookimpl\ndef mtbench_datasets():\n"
        "    yield mtbench.DatasetSpec('toy', ':Toy', depth='uint32')\n"
    )
    ran = run_cli(*command, "--plugin", file)
    assert ran.code in (1, 2)
    assert "mine.py was rejected: mtbench_datasets failed: DatasetSpec 'toy': depth is 'uint32'" in ran.err


@pytest.mark.parametrize(
    ("hook", "spec", "methods", "lacking"),
    [
        ("translators", "TranslatorSpec", ["translate"], ""),
        ("translators", "TranslatorSpec", ["translate_all"], ""),
        ("translators", "TranslatorSpec", ["translates"], "translate(). Did you mean 'translates'?"),
        ("translators", "TranslatorSpec trains", ["fit", "load", "translate"], "save()"),
        ("translators", "TranslatorSpec trains", ["translate"], "fit(), save(), load()"),
        ("translators", "TranslatorSpec trains", ["fit", "save", "load", "translate_all"], ""),
        ("segmenters", "SegmenterSpec", ["fit", "save", "load"], "segment()"),
        ("extractors", "ExtractorSpec", [], "extract()"),
        ("metrics", "MetricSpec", [], "compute()"),
        ("datasets", "DatasetSpec", ["files"], "prepare()"),
        ("exporters", "ExporterSpec", [], "export()"),
        ("executors", "ExecutorSpec", ["submit"], "problems(), start(), wait(), close()"),
    ],
)
def test_what_a_class_must_have_is_looked_for_before_it_works(
    hook: str, spec: str, methods: list[str], lacking: str, tmp_path: Path
) -> None:
    name, _, trains = spec.partition(" ")
    file = tmp_path / "mine.py"
    file.write_text(
        f"import mtbench\n@mtbench.hookimpl\ndef mtbench_{hook}():\n"
        f"    yield mtbench.{name}('mine', ':Mine'{', trains=lambda params: True' if trains else ''})\n"
        "class Mine:\n    pass\n" + "".join(f"    def {method}(self): pass\n" for method in methods)
    )
    registration = discover([file]).get(hook[:-1], "mine")
    if not lacking:
        registration.create({})
        return
    with pytest.raises(PluginError) as caught:
        registration.create({})
    assert f"Mine has no method {lacking}" in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"role": "weight"}, ["role 'weight'", "checkpoint, weights, preset, jobs"]),
        ({"role": "checkpoint"}, ["kind='path'"]),
        ({"role": "weights", "kind": "list"}, ["kind='path'"]),
    ],
)
def test_a_role_that_there_is_not_is_refused(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(TypeError) as caught:
        mtbench.Param(None, **{"kind": "str", **fields})
    for word in words:
        assert word in str(caught.value)


def test_a_parameter_means_something_by_its_role_and_nothing_by_its_name() -> None:
    named = translator(params={"checkpoint": mtbench.Param(None, "path"), "start": a_file()})
    assert named.param_for("checkpoint") == "start"
    assert translator(params={"checkpoint": mtbench.Param(None, "path")}).param_for("checkpoint") is None


def test_weight_files_are_needed_unless_a_parameter_names_one() -> None:
    spec = translator(weights=("net",), params={"start": a_file(), "weights": mtbench.Param(None, "path"), "size": 3})
    assert spec.weight_files({"start": None, "weights": "x.pt", "size": 3}) == ("net",)
    assert spec.weight_files({"start": "x.pt", "weights": None, "size": 3}) == ()
    assert metric().weight_files({}) == ()


CALLS = """
import mtbench

@mtbench.hookimpl
def mtbench_executors():
    yield mtbench.ExecutorSpec("mine", ":Mine", params={"jobs": 1, "many": mtbench.Param(1, role="jobs")})
    yield mtbench.ExecutorSpec("eager", ":Mine", params={"at": 1, "b": 2}, shorthand="b", default=True)

@mtbench.hookimpl
def mtbench_exporters():
    yield mtbench.ExporterSpec("eager", ":Mine", default=True)

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("unsure", ":Mine", trains=lambda params: params["no such"])
    yield mtbench.TranslatorSpec("starts", ":Mine", params={"start": mtbench.Param(None, "path", role="checkpoint")})
    yield mtbench.TranslatorSpec("named", ":Mine", params={"checkpoint": mtbench.Param(None, "path")})

class Mine:
    limits, slots = True, 1
    def __init__(self, **params): self.params = params
    def problems(self, device): return []
    def start(self, session): pass
    def submit(self, job): pass
    def wait(self, seconds): return []
    def close(self): pass
    def translate(self, batch, context): return batch.source
"""


@pytest.fixture
def calls(tmp_path: Path) -> Registry:
    (tmp_path / "calls.py").write_text(CALLS)
    return discover([tmp_path / "calls.py"])


def test_a_call_is_read_in_one_place(calls: Registry) -> None:
    registered, params = calls.call("executor", "eager:5,at=2")
    assert (registered.spec.name, params) == ("eager", {"at": 2, "b": "5"})
    assert calls.call("executor", "mine")[1] == {}
    for text, words in {
        "eager:5,6": ["executor 'eager': '6' has no name", "eager:NAME=VALUE with NAME one of at, b"],
        "mine:5": ["executor 'mine': '5' has no name", "one of jobs, many"],
        "eagre": ["unknown executor 'eagre'", "Did you mean 'eager'"],
    }.items():
        with pytest.raises(RequestError) as caught:
            calls.call("executor", text)
        for word in words:
            assert word in str(caught.value)


def test_jobs_fill_the_parameter_of_that_role(calls: Registry) -> None:
    executor: Any = RunRequest("suite", executor="mine:jobs=7", jobs=3).make_executor(calls)
    assert executor.params == {"jobs": 7, "many": 3}
    with pytest.raises(RequestError, match="executor 'eager': unknown parameter 'jobs'"):
        RunRequest("suite", executor="eager", jobs=3).make_executor(calls)


def test_the_default_is_the_one_that_was_registered_first(calls: Registry, tmp_path: Path) -> None:
    """A plugin that is installed later does not take the place of ours."""
    plain = discover(third_party=False)
    for kind in (mtbench.ExecutorSpec, mtbench.ExporterSpec):
        assert plain.get(kind, plain.default(kind)).plugin.built_in
        assert calls.default(kind) == plain.default(kind)
        assert load_one(Plugin.of_file(tmp_path / "calls.py").reference()).default(kind) == "eager"
    with pytest.raises(RequestError, match="there is no default executor"):
        Registry().default(mtbench.ExecutorSpec)


def test_a_weight_file_fills_the_parameter_of_that_role(calls: Registry, tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    file.touch()
    assert from_checkpoint(calls, "starts", file, "fp32").params == {"start": str(file)}
    with pytest.raises(RequestError, match="'named' takes no weight file"):
        from_checkpoint(calls, "named", file, "fp32")


def test_what_fails_in_a_spec_names_its_plugin(calls: Registry, tmp_path: Path) -> None:
    registration = calls.get("translator", "unsure")
    where = r"translator 'unsure' of .*calls.py: a function of its spec failed: KeyError: 'no such'.*correct the plugin"
    for ask in (
        lambda: registration.create({}),
        lambda: registration.ask(registration.spec.whether, "trains", {}),
        lambda: from_checkpoint(calls, "unsure", None, "fp32"),
    ):
        with pytest.raises(PluginError, match=where):
            ask()
