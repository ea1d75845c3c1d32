"""The plan: which units and rows a suite makes, and what changes a key."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

from mtbench.errors import PluginError, RequestError
from mtbench.plan import Plan, make_plan
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.stages.unit import Unit

SUITE = toy_suite("seeds = [0, 1]", metrics=("toy-overlap", "toy-gap", "toy-mean"))


def plan(toys: Path, text: str = SUITE, *settings: str, **selection: Any) -> Plan:
    suite = parse_suite(text, "toy.toml", toys.parent, settings).select(**selection)
    return make_plan(suite, discover([toys]))


def units(graph: Plan, stage: str, plugin: str = "") -> list[Unit]:
    return [u for u in graph.units.values() if u.stage == stage and plugin in ("", u.plugin)]


def keys(graph: Plan) -> set[str]:
    return set(graph.units)


def test_the_graph_of_a_suite(toys: Path) -> None:
    graph = plan(toys)
    count = {
        stage: len(units(graph, stage)) for stage in ("prepare", "split", "fit", "translate", "extract", "segment")
    }
    # Fits: the translator for two seeds, the segmenter on the target and, for the oracle, on the source. Subjects:
    # one translator without a seed, one with two; target test slices are the ceiling and the reference.
    assert count == {"prepare": 1, "split": 1, "fit": 4, "translate": 3, "extract": 5, "segment": 5}
    seen: set[str] = set()
    for key, unit in graph.units.items():
        assert set(unit.inputs.values()) <= seen
        seen.add(key)
    assert {row.unit for row in graph.rows} <= seen
    assert len({row.id for row in graph.rows}) == len(graph.rows)


def test_reference_rows(toys: Path) -> None:
    rows = [(r.columns["role"], r.columns["metric"]) for r in plan(toys).rows if r.columns["role"] != "translator"]
    assert sorted(rows) == [
        ("ceiling", "toy-mean"),
        ("ceiling", "toy-overlap"),
        ("floor", "toy-gap"),
        ("oracle", "toy-overlap"),
    ]
    assert {r.columns["role"] for r in plan(toys, SUITE, "references=false").rows} == {"translator"}


def test_seeds_only_where_something_is_drawn(toys: Path) -> None:
    graph = plan(toys, translators=["toy-same", "toy-shift", "toy-fixed", "toy-noisy"], seeds=[3, 4])
    seeds: dict[str, set[Any]] = {}
    for row in graph.rows:
        seeds.setdefault(row.columns["translator"], set()).add(row.columns["seed"])
    assert seeds == {
        "toy-same": {None},
        "toy-fixed": {None},
        "toy-shift": {3, 4},
        "toy-noisy": {3, 4},
        "": {None},
    }
    assert not units(graph, "fit", "toy-noisy")
    assert {u.seed for u in units(graph, "fit", "toy-threshold")} == {0}
    assert {u.seed for u in graph.units.values() if u.stage in ("prepare", "split", "extract", "segment", "score")} == {
        None
    }
    own = SUITE.replace('name = "toy-shift"', 'name = "toy-shift"\nseeds = [9]')
    assert {u.seed for u in units(plan(toys, own), "fit", "toy-shift")} == {9}


def test_rows_that_cannot_be_made_say_why(toys: Path) -> None:
    graph = plan(toys, datasets=["toy-bare"], translators=["toy-masked", "toy-never", "toy-same"], metrics=["toy-mean"])
    reasons = {r.columns["translator"]: r.skipped for r in graph.rows}
    assert reasons == {
        "toy-masked": "toy-masked: it needs masks of the source slices, and this dataset has none",
        "toy-never": "toy-never: it never takes part",
        "toy-same": "",
        "": "",
    }
    assert {u.plugin for u in units(graph, "translate")} == {"toy-same"}
    bare = plan(toys, datasets=["toy-bare"], translators=["toy-same"], metrics=["toy-overlap", "toy-error"])
    assert {(r.columns["metric"], r.skipped) for r in bare.rows if r.columns["translator"]} == {
        ("toy-overlap", "the target domain has no masks to train a segmenter on"),
        ("toy-error", "the task has no paired ground truth"),
    }
    without = plan(toys, SUITE.replace('[[segmenters]]\nname = "toy-threshold"', ""))
    assert {r.skipped for r in without.rows if r.columns["metric"] == "toy-overlap"} == {"the suite names no segmenter"}
    masked = plan(toys, translators=["toy-masked"], metrics=["toy-mean"])
    assert [r.columns["conditional"] for r in masked.rows if r.columns["translator"]] == [True]
    assert units(masked, "translate")[0].options.conditional is True
    paired = plan(toys, datasets=["toy-paired"], translators=["toy-same"], metrics=["toy-error"])
    assert [(r.columns["role"], r.skipped) for r in paired.rows] == [("translator", "")]


def test_a_spec_that_fails_while_planning_is_named(toys: Path) -> None:
    with pytest.raises(PluginError, match=r"translator 'toy-asks-wrong' of .*toys\.py: .*no_such_field"):
        plan(toys, translators=["toy-asks-wrong"])


def test_keys_are_the_same_every_time(toys: Path) -> None:
    assert list(plan(toys).units) == list(plan(toys).units)


def test_order_and_neighbours_change_no_key(toys: Path) -> None:
    first = plan(toys)
    turned = plan(toys, translators=["toy-shift", "toy-same"], metrics=["toy-mean", "toy-gap", "toy-overlap"])
    assert keys(turned) == keys(first)
    assert {r.id for r in turned.rows} == {r.id for r in first.rows}
    assert keys(plan(toys, metrics=["toy-mean"])) < keys(first)
    assert keys(plan(toys, translators=["toy-same"])) < keys(first)
    assert keys(plan(toys, translators=["toy-same", "toy-shift", "toy-noisy"])) > keys(first)
    described = plan(toys, SUITE.replace('name = "toy"\nseeds', 'name = "toy"\ndescription = "other"\nseeds'))
    assert keys(described) == keys(first)
    noted = plan(toys, SUITE.replace('[[datasets]]\nname = "toy"', '[[datasets]]\nname = "toy"\nnote = "a word"'))
    assert keys(noted) == keys(first)
    assert {r.id for r in noted.rows} == {r.id for r in first.rows}


def changed(before: Plan, after: Plan) -> set[tuple[str, str]]:
    """Stage and plugin of the units that are new."""
    return {(after.units[k].stage, after.units[k].plugin) for k in keys(after) - keys(before)}


def test_what_changes_a_key_and_no_more(toys: Path) -> None:
    first = plan(toys)
    scores = {("score", m) for m in ("toy-overlap", "toy-gap", "toy-mean")}
    below = {("extract", "toy-blocks"), ("segment", "toy-threshold"), *scores}
    shift = {("fit", "toy-shift"), ("translate", "toy-shift"), *below}
    assert changed(first, plan(toys, SUITE, "translators.toy-shift.params.by=2")) == shift
    assert changed(first, plan(toys, seeds=[0, 2])) == shift
    assert changed(first, plan(toys, metrics=["toy-overlap", "toy-gap:power=2", "toy-mean"])) == {("score", "toy-gap")}
    segmenter = {("fit", "toy-threshold"), ("segment", "toy-threshold"), ("score", "toy-overlap")}
    assert changed(first, plan(toys, SUITE, "segmenter_seed=1")) == segmenter
    everything = {("translate", "toy-same"), ("fit", "toy-threshold"), *shift}
    assert changed(first, plan(toys, precision="bf16")) == everything
    assert changed(first, plan(toys, SUITE, "threads=1")) == everything
    assert changed(first, plan(toys, SUITE, "datasets.toy.params.size=8")) == {
        ("prepare", "toy"),
        ("split", ""),
        *everything,
    }
    assert changed(first, plan(toys, SUITE, "datasets.toy.split.by=seed")) == {("split", ""), *everything}
    # Metrics that draw no images have nothing to draw by it.
    assert changed(first, plan(toys, SUITE, "sampling_seed=1")) == {("score", "toy-gap")}
    assert changed(first, plan(toys, SUITE, "draws=1")) == {("score", "toy-gap")}


def test_a_revision_changes_the_key(make_distribution: Any, toys: Path) -> None:
    source = """
import mtbench
@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("net", ":Net", revision="{0}")
"""
    seen = []
    for revision in ("1", "2"):
        # An installed distribution: its version does not change a key, its declared revision does.
        for version in ("1.0", "1.1"):
            make_distribution("acme", {"net": "acme_net"}, {"acme_net": source.format(revision)}, version=version)
            (unit,) = units(plan(toys, translators=["net"], metrics=["toy-mean"]), "translate")
            seen.append(unit.key)
            for info in (toys.parent / "site").iterdir():
                shutil.rmtree(info) if info.is_dir() else info.unlink()
            __import__("sys").modules.pop("acme_net", None)
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert seen[0] != seen[2]


def test_code_of_an_editable_plugin_changes_the_key(make_distribution: Any, toys: Path) -> None:
    spec = """
import mtbench
@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("net", "acme_model:Net")
"""
    modules = {"acme_spec": spec, "acme_model": "class Net: pass\n", "acme_unrelated": "x = 1\n"}
    site = make_distribution("acme", {"net": "acme_spec"}, modules, editable=True).parent

    def key() -> str:
        (unit,) = units(plan(toys, translators=["net"], metrics=["toy-mean"]), "translate")
        return unit.key

    first = key()
    (site / "acme_unrelated.py").write_text("x = 2\n")
    assert key() == first
    (site / "acme_model.py").write_text("class Net: changed = True\n")
    assert key() != first
    (site / "acme_model.py").write_text("class Net: pass\n")
    assert key() == first


def test_code_of_a_package_is_followed_through_its_imports(make_distribution: Any, toys: Path) -> None:
    info = make_distribution("acme", {"net": "acme.spec"}, {}, editable=True)
    package = info.parent / "acme"
    (package / "nets").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "spec.py": "import mtbench\n@mtbench.hookimpl\ndef mtbench_translators():\n"
        "    yield mtbench.TranslatorSpec('net', 'acme.nets.model:Net')\n",
        "nets/__init__.py": "",
        "nets/model.py": "from ..blocks import Block\nclass Net(Block): pass\n",
        "blocks.py": "def late():\n    import acme.losses\nclass Block: pass\n",
        "losses.py": "weight = 1\n",
        "unrelated.py": "x = 1\n",
    }
    for name, text in files.items():
        (package / name).write_text(text)

    def key() -> str:
        (unit,) = units(plan(toys, translators=["net"], metrics=["toy-mean"]), "translate")
        return unit.key

    seen = [key()]
    for name in ("nets/model.py", "blocks.py", "losses.py"):
        (package / name).write_text(files[name] + "# changed\n")
        seen.append(key())
    assert len(set(seen)) == 4
    (package / "unrelated.py").write_text("x = 2\n")
    assert key() == seen[-1]


def test_the_shape_does_not_depend_on_the_data(toys: Path, run_cli: Any) -> None:
    text = SUITE.replace('[[datasets]]\nname = "toy"', '[[datasets]]\nname = "toy-files"\nroot = "images"')
    before = plan(toys, text)
    for domain in ("source", "target"):
        (toys.parent / "images" / domain).mkdir(parents=True)
        for name in ("a_0", "a_1", "b_0", "c_0", "d_0"):
            image = np.random.default_rng([ord(name[0]), int(name[-1])]).random((8, 8))
            np.save(toys.parent / "images" / domain / f"{name}.npy", image)
    after = plan(toys, text)
    assert list(before.units) == list(after.units)
    assert before.rows == after.rows
    (toys.parent / "toy.toml").write_text(text)
    listing = json.loads(run_cli("plan", "toy.toml", "--plugin", toys, "--json").out)
    states = {unit["state"] for unit in listing["units"] if unit["stage"] != "prepare"}
    assert states == {"pending"}


def test_plan_shows_the_matrix_and_what_is_skipped(toys: Path, run_cli: Any) -> None:
    text = SUITE.replace('"toy-same"', '"toy-never"').replace(
        'name = "toy-shift"', 'name = "toy-shift"\nparams.by = 2.0'
    )
    (toys.parent / "toy.toml").write_text(text)
    ran = run_cli("plan", "toy.toml", "--plugin", toys, "--units")
    assert ran.code == 0
    assert "dim → bright" in ran.out
    assert "toy-shift[by=2] seed 1 " in ran.out
    assert "fit toy toy-shift[by=2] seed 1" in ran.out
    assert "skipped: 3 rows: toy-never: it never takes part" in ran.out
    assert "0 cached, 1 to do" in ran.out


def test_a_segmenter_with_two_seeds_is_two_segmenters(toys: Path) -> None:
    first = plan(toys)
    text = SUITE.replace(
        '[[segmenters]]\nname = "toy-threshold"', '[[segmenters]]\nname = "toy-threshold"\nseeds = [0, 1]'
    )
    second = plan(toys, text)
    assert keys(first) < keys(second)  # seed 0 is the suite's own: its fits and scores are the same
    assert {(u.stage, u.plugin) for u in (second.units[k] for k in keys(second) - keys(first))} == {
        ("fit", "toy-threshold"),
        ("segment", "toy-threshold"),
        ("score", "toy-overlap"),
    }
    seeds = [r.columns["segmenter_seed"] for r in second.rows if r.columns["metric"] == "toy-overlap"]
    assert seeds.count(0) == seeds.count(1) == len(seeds) / 2


def test_plan_shows_a_metric_of_labels_without_a_segmenter(toys: Path, run_cli: Any) -> None:
    (toys.parent / "toy.toml").write_text(SUITE.replace('[[segmenters]]\nname = "toy-threshold"', ""))
    ran = run_cli("plan", "toy.toml", "--plugin", toys)
    assert (ran.code, ran.err) == (0, "")
    assert "the suite names no segmenter" in ran.out


def test_plan_survives_a_dataset_whose_files_cannot_be_listed(toys: Path, run_cli: Any) -> None:
    text = SUITE.replace('[[datasets]]\nname = "toy"', '[[datasets]]\nname = "toy-files"\nroot = "nowhere"')
    (toys.parent / "toy.toml").write_text(text)
    ran = run_cli("plan", "toy.toml", "--plugin", toys)
    assert ran.code == 0
    assert "1 to do" in ran.out


def test_a_metric_that_wants_an_unknown_extractor(make_distribution: Any, toys: Path) -> None:
    source = """
import mtbench
@mtbench.hookimpl
def mtbench_metrics():
    for name, extractor, array in (("one", "toy-block", "blocks"), ("two", "toy-blocks", "block")):
        yield mtbench.MetricSpec(name, ":M", needs=(mtbench.Features("candidate", extractor, (array,)),))
"""
    make_distribution("acme", {"m": "acme_m"}, {"acme_m": source})
    with pytest.raises(RequestError, match=r"unknown extractor 'toy-block'\. Did you mean 'toy-blocks'"):
        plan(toys, metrics=["one"])
    with pytest.raises(RequestError, match=r"'toy-blocks' has no array 'block'\. Expected one of blocks"):
        plan(toys, metrics=["two"])


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_twenty_thousand_units_are_shown_in_seconds(run_cli: Any, toys: Path, options: tuple[str, ...]) -> None:
    seeds = ",".join(map(str, range(3400)))
    Path("big.toml").write_text(toy_suite(f"threads = 1\nseeds = [{seeds}]", translators=("toy-shift",)))
    started = time.process_time()
    shown = run_cli("plan", "big.toml", "--plugin", toys, *options)
    seconds = time.process_time() - started
    assert shown.code == 0, shown.err
    count = len(json.loads(shown.out)["units"]) if options else int(re.findall(r"^(\d+) units", shown.out, re.M)[0])
    assert count > 20_000
    assert seconds < 4  # on an idle machine 2
