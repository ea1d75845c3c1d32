"""Never the old number in silence: one thing is changed at a time, and the number changes, is marked, or is refused.

What can be changed is enumerated: every parameter of every registered spec, every setting of a split, every stage; and,
with bytes, what a run of tiny plugins reads. :mod:`test_identity` has the settings of suites.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_identity import artefact, behind
from toys import toy_suite

import mtbench
from mtbench.engine.origin import origin
from mtbench.errors import MtbenchError
from mtbench.plan import Plan, make_plan
from mtbench.plan.suite import Entry, Suite
from mtbench.registry import codeid
from mtbench.registry.discovery import discover
from mtbench.registry.params import Param
from mtbench.registry.registry import Registry
from mtbench.results.identity import IDENTITY
from mtbench.stages.table import SPLIT_WAYS, STAGES, SplitOptions, SplitWay

TOYS = Path(__file__).with_name("toys.py")
KINDS = ("dataset", "translator", "segmenter", "extractor", "metric")

# -- every parameter of every spec

PROBE = """
import mtbench
@mtbench.hookimpl
def mtbench_metrics():
    yield mtbench.MetricSpec(
        "probe",
        ":Probe",
        params={"extractor": "toy-blocks", "array": "blocks", "settings": {}},
        needs=lambda of: (mtbench.Features("candidate", of["extractor"], (of["array"],), of["settings"]),),
    )
"""
"""A metric that asks for any extractor with any parameters."""

_IMAGES = {"images": "*.png", "normalise": "none"}
NEEDED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("dataset", "folder"): {"source": _IMAGES, "target": _IMAGES},
    ("translator", "command"): {"run": "python a.py {input} {output}"},
    ("translator", "precomputed"): {"folder": "made"},
}
"""What a plugin cannot do without."""
ANY_FEATURES = ("prdc", "fd", "mmd", "c2st", "nearest-neighbour")
"""Metrics on features of any network."""
OTHERS: Mapping[tuple[str, str], Any] = {
    ("folder", "source"): {**_IMAGES, "images": "*.tif"},
    ("folder", "target"): {**_IMAGES, "images": "*.tif"},
    ("folder", "labels"): {"organ": 1},
    ("folder", "resize"): "none",
    ("command", "run"): "python b.py {input} {output}",
    ("command", "env"): {"LEVEL": "2"},
    ("toy-distance", "extractor"): "toy-blocks",
    **{(metric, "extractor"): "inception-random" for metric in ("fid", "is", "kid", *ANY_FEATURES)},
    **{(metric, "array"): "logits" for metric in ANY_FEATURES},
}
"""Other values of parameters that not every value fits."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """All built-ins, the toys and the probe."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "probe.py").write_text(PROBE)
    return discover([TOYS, folder / "probe.py"])


def planned(registry: Registry, folder: Path, kind: str, name: str, params: Mapping[str, Any]) -> Plan:
    """The smallest suite in which a plugin of a kind takes part with these parameters."""
    plugins = {
        "dataset": ("toy-paired", {}),
        "translator": ("toy-same", {}),
        "segmenter": ("toy-threshold", {}),
        "metric": ("toy-overlap" if kind == "segmenter" else "toy-mean", {}),
    }
    given = {**NEEDED.get((kind, name), {}), **params}
    if kind == "translator" and registry.get(kind, name).spec.paired:
        plugins["dataset"] = ("phantom-breast", {})
    if kind == "dataset" and registry.get(kind, name).spec.channels:
        plugins["translator"] = ("pix2pix", {})  # the toys read one channel
    if kind == "extractor":
        (array, *_) = registry.get(kind, name).spec.arrays
        plugins["metric"] = ("probe", {"extractor": name, "array": array, "settings": given})
    else:
        plugins[kind] = (name, given)
    entries = {
        f"{kind}s": (Entry(called, called, values, root="images" if kind == "dataset" else None),)
        for kind, (called, values) in plugins.items()
    }
    return make_plan(Suite("toy", folder, **entries, references=False, trusted=True), registry)  # type: ignore[arg-type]


def other(param: Param) -> Any:
    """A value that is not the default."""
    if param.choices:
        return next(choice for choice in param.choices if choice != param.default)
    match param.kind:
        case "bool":
            return not param.default
        case "int" | "float":
            low, high = param.minimum, param.maximum
            return next(
                number
                for step in (1, -1, -0.25, 0.25)
                for number in [(param.default if param.default is not None else low or 0) + step]
                if (low is None or number >= low) and (high is None or number <= high)
            )
        case "list":
            return [*param.default, "another"] if param.default != [0, 1, 0, 1] else [0, 0.5, 0, 1]
        case "table":
            return {"another": 1}
    return "another"


def specs(registry: Registry) -> Iterator[tuple[str, str, str, Param]]:
    for kind in KINDS:
        for name in sorted({*registry.names(kind)} - {"probe"}):
            for parameter, param in registry.get(kind, name).spec.params.items():
                yield kind, name, parameter, param


def requests(graph: Plan, folder: Path, files: str = "") -> dict[str, str]:
    """The score unit of every row, by all that tables tell numbers apart by once a run has read its ``files``."""
    places: dict[str, str] = {}
    for row in graph.rows:
        units = behind(graph, row.unit)
        codes = {u.key: graph.codes.get((u.kind, u.plugin)) for u in units}
        done = {u.key: artefact(folder, u.stage, {}, files if u.paths else "", codes[u.key]) for u in units}
        columns = {**row.columns, **origin(graph, row, units, done).columns()}
        place = json.dumps([columns.get(name) for name in (*IDENTITY, "title")])
        assert places.setdefault(place, row.unit) == row.unit
    return places


def check(before: Mapping[str, str], after: Mapping[str, str], what: str) -> None:
    """Other units, none of which shares a place in tables with an earlier one."""
    assert set(before.values()) != set(after.values()), what
    for place in before.keys() & after.keys():
        assert before[place] == after[place], what


@pytest.mark.slow
def test_every_parameter_of_every_spec_makes_another_number_or_is_declared_to_make_none(
    registry: Registry, tmp_path: Path
) -> None:
    plans: dict[tuple[str, str], dict[str, str]] = {}
    count = 0
    for kind, name, parameter, param in specs(registry):
        if (kind, name) not in plans:
            plans[kind, name] = requests(planned(registry, tmp_path, kind, name, {}), tmp_path)
        before, what = plans[kind, name], f"{kind} '{name}', parameter '{parameter}'"
        try:
            after = planned(registry, tmp_path, kind, name, {parameter: OTHERS.get((name, parameter), other(param))})
        except MtbenchError as error:
            raise AssertionError(f"{what}: {error}; say in OTHERS which value it takes") from error
        count += 1
        if not param.identity:
            assert requests(after, tmp_path) == before, what
        elif param.kind == "path" or (kind == "dataset" and not param.shown):
            assert {row.unit for row in after.rows}.isdisjoint(before.values()), what
            if kind != "dataset":  # a data set is known by the content of its slices
                one, two = (requests(after, tmp_path, files).keys() for files in ("f", "g"))
                assert not one & two, what
        else:
            check(before, requests(after, tmp_path), what)
    assert count > 150


@pytest.mark.parametrize("line", ['run = "b {input} {output}"', 'format = "npy"', 'revision = "2"', "env.A = '1'"])
def test_what_comes_from_the_users_own_configuration_counts_as_if_it_were_written(tmp_path: Path, line: str) -> None:
    def places(*lines: str) -> dict[str, str]:
        written = {text.partition(" ")[0]: text for text in ('run = "a {input} {output}"', *lines)}
        (tmp_path / "mtbench.toml").write_text("\n".join(["[commands.mine]", *written.values()]))
        registry = discover([TOYS], config=tmp_path / "mtbench.toml")
        return requests(planned(registry, tmp_path, "translator", "command", {"run": None, "name": "mine"}), tmp_path)

    check(places(), places(line), line)


# -- every setting of a split, every stage


def split_plan(registry: Registry, folder: Path, split: SplitOptions) -> dict[str, str]:
    dataset = Entry("toy", "toy", split=split)
    entries = {f"{kind}s": (Entry(name, name),) for kind, name in (("translator", "toy-shift"), ("metric", "toy-gap"))}
    return requests(make_plan(Suite("toy", folder, (dataset,), **entries), registry), folder)  # type: ignore[arg-type]


@pytest.mark.parametrize("by", SPLIT_WAYS)
def test_every_setting_of_a_split_makes_another_block(registry: Registry, tmp_path: Path, by: SplitWay) -> None:
    settings: dict[str, Any] = {**SPLIT_WAYS[by], **({"file": "a.csv"} if by == "file" else {})}
    before = split_plan(registry, tmp_path, SplitOptions(by, **settings))
    others = {"seed": 1, "validation": 0.3, "test": 0.4, "same_people": False, "file": "b.csv", "folds": 3}
    assert set(settings) <= set(others)
    for name in settings:
        after = split_plan(registry, tmp_path, SplitOptions(by, **{**settings, name: others[name]}))
        assert not before.keys() & after.keys(), name
        assert set(before.values()).isdisjoint(after.values()), name


@pytest.mark.parametrize("stage", STAGES)
def test_another_revision_of_a_stage_makes_another_row_or_column(
    registry: Registry, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places() -> dict[str, str]:
        names = {"translator": "toy-shift", "segmenter": "toy-threshold"}
        entries = {f"{kind}s": (Entry(name, name),) for kind, name in names.items()}
        metrics = (Entry("toy-gap", "toy-gap"), Entry("toy-overlap", "toy-overlap"))
        suite = Suite("toy", tmp_path, (Entry("toy", "toy"),), metrics=metrics, **entries)  # type: ignore[arg-type]
        return requests(make_plan(suite, registry), tmp_path)

    before = places()
    monkeypatch.setitem(STAGES, stage, replace(STAGES[stage], revision=99))  # type: ignore[arg-type]
    after = places()
    if stage in ("prepare", "split"):
        # What they make is in the hash of the data; the request is another one all the same.
        assert set(before.values()).isdisjoint(after.values())
    else:
        check(before, after, stage)


# -- bytes

RUN = toy_suite(
    'protocols = ["segment-translated", "train-on-translated"]',
    translators=("toy-same", "toy-shift", "toy-masked", "acme"),
    metrics=("toy-overlap", "toy-gap", "toy-mean"),
)
RUN = RUN.replace(
    'name = "toy"\n[[tr', 'name = "toy-files"\nroot = "images"\nsplit = {by = "file", file = "split.csv"}\n[[tr'
)
SIDES = ("train", "train", "validation", "test", "test")
ACME = """
import mtbench
from silent_helper import SHIFT

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("acme", ":Acme")

class Acme:
    def translate(self, batch, context):
        return (batch.source + SHIFT + 0.0).clamp(0, 1)
"""


def write_files(folder: Path) -> None:
    """Two domains of five patients, with masks of their own, a plugin, and its helper."""
    lines = ["patient,split"]
    for domain in ("source", "target"):
        (folder / "images" / domain).mkdir(parents=True)
        for patient, side in enumerate(SIDES):
            name = f"{domain[0]}{patient}"
            lines.append(f"{name},{side}")
            image = np.random.default_rng([patient, domain == "target"]).uniform(0.1, 0.3, (16, 16))
            image += 0.05 * patient
            image[4:10, 5:12] += 0.4 if domain == "target" else 0.2
            np.save(folder / "images" / domain / f"{name}_0.npy", image)
            with (folder / "images" / domain / f"{name}_0.mask").open("wb") as file:
                np.save(file, (image > 0.4 + 0.05 * patient).astype(np.uint8))
    (folder / "split.csv").write_text("\n".join(lines))
    (folder / "toy.toml").write_text(RUN)
    (folder / "acme.py").write_text(ACME)
    (folder / "helpers").mkdir()
    (folder / "helpers/silent_helper.py").write_text("SHIFT = 0.125\n")


def pixels(name: str, *where: int | slice) -> Callable[[Path], None]:
    """Change the pixels there: brighter ones, or the other label."""

    def change(folder: Path) -> None:
        path = folder / "images" / name
        image = np.load(path)
        image[where] = 1 - image[where] if path.suffix == ".mask" else image[where] + 0.2
        with path.open("wb") as file:
            np.save(file, image)

    return change


def moved(folder: Path) -> None:
    (folder / "images").rename(folder / "elsewhere")
    (folder / "toy.toml").write_text(RUN.replace('"images"', '"elsewhere"'))


def edited(path: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))

    return edit


CHANGES: Mapping[str, tuple[Callable[[Path], None], bool]] = {
    "a source test image": (pixels("source/s3_0.npy", 2, 3), True),
    "a target test image": (pixels("target/t4_0.npy", 2, 3), True),
    "a source training image": (pixels("source/s0_0.npy", slice(8)), True),
    "a target training image": (pixels("target/t1_0.npy", slice(8)), True),
    "a target training mask": (pixels("target/t0_0.mask", slice(8)), True),
    "a source test mask": (pixels("source/s3_0.mask", 2, 3), True),
    "the split": (edited("split.csv", "s1,train\ns2,validation", "s1,validation\ns2,train"), True),
    "the place of all files": (moved, False),
    "the code of a plugin": (edited("acme.py", "0.0", "0.0625"), True),
    "the code of a helper": (edited("helpers/silent_helper.py", "0.125", "0.25"), True),
}
"""What is done to a folder of files, and whether a number changes with it."""


@pytest.fixture
def go(run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Run the suite of a folder and give its scores.

    It is run as another process would, ``anew`` with an empty store; where a ``refusal`` is expected, as this one.
    """
    for module in ("registry.discovery", "engine.preflight"):
        monkeypatch.setattr(f"mtbench.{module}.trial", lambda wanted: {})  # a second each, and they can be imported

    def go(folder: Path, *arguments: str, anew: bool = False, refusal: str = "") -> list[dict[str, Any]]:
        if not refusal:
            start_again()
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(folder / "helpers")
        monkeypatch.setenv("MTBENCH_STORE", str(folder / ("empty-store" if anew else "store")))
        out = "truth" if anew else "out"
        plugins = ("--plugin", "toys.py", "--plugin", "acme.py", "--executor", "inline", "--device", "cpu")
        ran = run_cli("run", "toy.toml", *plugins, "--out", out, *arguments)
        assert ran.code == bool(refusal), ran.err
        assert refusal in ran.err
        rows: list[dict[str, Any]] = mtbench.load(out).to_pylist()
        return rows

    return go


def start_again() -> None:
    """Forget what was imported, as a new process has imported nothing."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).endswith(("acme.py", "silent_helper.py")):
            del sys.modules[name]
    codeid.forget_imports()


def numbers(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], float]:
    """The numbers that nothing is said against."""
    places = ("role", "translator", "metric", "label", "protocol", "seed")
    found: dict[tuple[Any, ...], float] = {}
    for row in rows:
        if not row["stale"]:
            place = tuple(row[name] for name in places)
            assert found.setdefault(place, row["value"]) == row["value"], place
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves what was run before anything changed."""
    folder = tmp_path_factory.mktemp("done") / "study"
    folder.mkdir()
    write_files(folder)
    shutil.copy(TOYS, folder)
    return folder


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_makes_another_number_or_the_old_one_is_marked(go: Any, done: Path, tmp_path: Path, what: str) -> None:
    if not (done / "out").exists():
        go(done)
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    before = numbers(mtbench.load(folder / "out").to_pylist())
    change, matters = CHANGES[what]
    change(folder)
    truth = numbers(go(folder, anew=True))
    assert before.keys() == truth.keys()
    assert (before != truth) == matters
    # A run of a part of the suite: what it did not make again is as it would be made now, or is marked.
    partly = go(folder, "-t", "acme", "-m", "toy-mean")
    assert numbers(partly).items() <= truth.items()
    assert any(row["stale"] for row in partly) == matters, {row["stale"] for row in partly}
    assert numbers(go(folder)) == truth


def test_a_process_that_has_imported_other_code_refuses(go: Any, done: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    go(folder)
    CHANGES["the code of a helper"][0](folder)
    rows = go(folder, "-t", "acme", "-m", "toy-mean", refusal="has changed since")
    assert {row["status"] for row in rows if row["translator"] == "acme" and row["metric"] == "toy-mean"} == {"failed"}
