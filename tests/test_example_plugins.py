"""The plugins in docs/examples/plugins, built, installed and run as a user would, without a network."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

import mtbench
from mtbench.conformance import check
from mtbench.registry.codeid import closure
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry

PLUGINS = Path(__file__).parents[1] / "docs" / "examples" / "plugins"
PROJECTS = sorted(path.parent.name for path in PLUGINS.glob("*/pyproject.toml"))
SIZE, A, B = 24, 10, 20
SUITE = """
[suite]
name = "examples"
seeds = [0]
threads = 1

[[datasets]]
name = "bids"
root = "study"
params = {{ size = {size}, labels = {{ a = 1, b = 2 }} }}

[[translators]]
name = "torchscript"
params = {{ file = "generator.pt", signed = false }}

[[translators]]
name = "own-environment"

[[translators]]
name = "quantile-net"
params = {{ epochs = 1, filters = 2 }}

[[segmenters]]
name = "segmenter-command"
params = {{ channel = "_0000", labels = {{ a = {a}, b = [{b}, 21] }} }}

[[metrics]]
name = "dice"

[[metrics]]
name = "energy-distance"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, built and installed by one call of pip."""
    folder = tmp_path_factory.mktemp("installed")
    sources = [shutil.copytree(PLUGINS / name, folder / "sources" / name) for name in PROJECTS]
    words = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", folder / "site", *sources]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    if find_spec("mlflow") is None:
        shutil.copy(Path(__file__).with_name("mlflow_file_store.py"), folder / "site" / "mlflow.py")
    return folder / "site"


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry of a process that imports them."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    yield discover()
    for name in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has NumPy and nothing else."""
    folder = tmp_path_factory.mktemp("other") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    packages = next(folder.glob("lib*/python3*/site-packages"))
    for part in ("numpy", "numpy.libs"):
        if (here := Path(np.__file__).parents[1] / part).is_dir():
            (packages / part).symlink_to(here, target_is_directory=True)
    return folder / "bin" / "python"


@pytest.fixture
def config(tmp_path: Path, other_python: Path) -> Path:
    """A user's own mtbench.toml."""
    program = PLUGINS / "segmenter-command" / "tests" / "threshold.py"
    run = json.dumps([sys.executable, str(program), "{input}", "{output}"])
    file = tmp_path / "mtbench.toml"
    file.write_text(f'[environments.default]\npython = "{other_python}"\n[segmenters.default]\nrun = {run}\n')
    file.chmod(0o600)
    return file


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A TorchScript file that gives the source's tissues the grey values of the target."""

    class Exchange(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.where(images > 0.7, 0.45, torch.where(images > 0.2, 1.0, 0.0))

    file = tmp_path / "generator.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
        torch.jit.script(Exchange()).save(str(file))
    return file


def labels_of(patient: int) -> np.ndarray[Any, Any]:
    """Two tissues, of no symmetry: a is 1, b is 2; SIZE x SIZE x 2 voxels."""
    mask = np.zeros((SIZE, SIZE, 2), np.uint8)
    mask[3:15, 2 + patient : 10 + patient] = 1
    mask[6:11, 17:22] = 2
    return mask


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Six patients of each contrast, in BIDS layout, and one volume that cannot be read."""
    folder = tmp_path / "study"
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    table = ["participant_id\tsplit"]
    for suffix, values in (("T1w", (0, 100, 45)), ("T2w", (0, 45, 100))):
        for number in range(6):
            name, mask = f"sub-{suffix}{number}", labels_of(number)
            table.append(f"{name}\t{('train', 'train', 'train', 'validation', 'test', 'test')[number]}")
            image, derived = folder / name / "anat", folder / "derivatives" / "labels" / name / "anat"
            for place in (image, derived):
                place.mkdir(parents=True)
            grey = np.array(values, np.int16)[mask]
            nibabel.save(nibabel.Nifti1Image(grey, affine), image / f"{name}_{suffix}.nii.gz")
            nibabel.save(nibabel.Nifti1Image(mask, affine), derived / f"{name}_space-{suffix}_dseg.nii.gz")
    (folder / "participants.tsv").write_text("\n".join(table) + "\n")
    broken = folder / "sub-T1w9" / "anat" / "sub-T1w9_T1w.nii.gz"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"\x1f\x8b not a volume")
    return folder


def dice(found: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> float:
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def logged(store: Path) -> list[dict[str, Any]]:
    """The runs of an MLflow file store: name, parent and metrics."""
    runs = []
    for tags in sorted(store.glob("*/*/tags")):
        parent, metrics = tags / "mlflow.parentRunId", tags.with_name("metrics")
        files = [file for file in metrics.rglob("*") if file.is_file()]
        values = {file.relative_to(metrics).as_posix(): float(file.read_text().split()[1]) for file in files}
        name = (tags / "mlflow.runName").read_text()
        runs.append({"name": name, "parent": parent.exists() and parent.read_text(), "metrics": values})
    return runs


def test_they_work_together_in_one_suite(
    installed: Registry,
    study: Path,
    generator: Path,
    config: Path,
    tmp_path: Path,
    run_cli: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    (tmp_path / "suite.toml").write_text(SUITE.format(size=SIZE, a=A, b=B))
    options = ["--executor", "inline", "--device", "cpu", "--config", config, "--out", "out"]
    ran = run_cli("run", "suite.toml", *options)
    assert ran.code == 0, ran.err
    rows = mtbench.load(tmp_path / "out").to_pylist()
    assert {row["status"] for row in rows} == {"measured"}, ran.err
    assert "sub-T1w9" in rows[0]["left_out"]
    # Of the two test patients the segmenter sees two slices each, all with the same areas.
    a, b = (labels_of(4) == value for value in (1, 2))
    expected = {"torchscript": (1.0, 1.0), "own-environment": (0.0, dice(a | b, b))}
    scores = {(row["role"], row["translator"], row["metric"], row["label"]): row["value"] for row in rows}
    for translator, values in expected.items():
        for label, value in zip("ab", values, strict=True):
            assert scores["translator", translator, "dice", label] == pytest.approx(value, abs=1e-5), translator
    assert scores["ceiling", "", "dice", "a"] == 1.0
    distances = {row["translator"]: row["value"] for row in rows if row["metric"] == "energy-distance"}
    assert distances["torchscript"] < distances["own-environment"]
    assert distances.keys() >= {"torchscript", "own-environment", "quantile-net"}
    assert not (tmp_path / "out" / "observers.log").exists()
    (parent,) = [run for run in logged(tmp_path / "runs") if not run["parent"]]
    assert parent["name"] == "examples"
    assert parent["metrics"]["failed"] == 0
    (line,) = [run for run in logged(tmp_path / "runs") if run["name"] == "torchscript"]
    assert line["parent"]
    assert line["metrics"]["dice.slice.segmenter-command/a"] == 1.0
    assert line["metrics"]["energy-distance"] == pytest.approx(distances["torchscript"])


def conform(*wanted: str, **options: Any) -> None:
    reports = check(*wanted, **options)
    assert [report.name for report in reports] == [name.partition(":")[0] for name in wanted]
    for report in reports:
        assert report.ok, f"{report.name}: " + "; ".join(f"{v.check}: {v.text}" for v in report.failures)
        assert report.origin.startswith("mtbench-"), report.origin


@pytest.mark.slow
def test_they_conform(installed: Registry, study: Path, generator: Path) -> None:
    translator = f"torchscript:file={generator},signed=false"
    conform(translator, "gradient-histogram", "energy-distance", "bids", "mlflow-log", root=study)


@pytest.mark.slow
def test_those_that_train_or_start_programs_conform(installed: Registry, config: Path) -> None:
    wanted = ("own-environment", "quantile-net:epochs=4,filters=4", "segmenter-command:channel=_0000")
    conform(*wanted, config=config)


def test_the_other_environment_has_no_mtbench(other_python: Path) -> None:
    for module, there in (("numpy", True), ("mtbench", False), ("torch", False)):
        done = subprocess.run([other_python, "-I", "-c", f"import {module}"], capture_output=True, check=False)
        assert (done.returncode == 0) is there, module


def test_the_worker_is_part_of_the_code(installed: Registry, site: Path) -> None:
    files = closure(installed.get("translator", "own-environment")).values()
    assert site / "mtbench_own_environment" / "worker.py" in files


def test_a_file_that_is_not_torchscript(installed: Registry, tmp_path: Path) -> None:
    made = importlib.import_module("mtbench_torchscript.model").TorchScript
    torch.save({"weight": torch.ones(2)}, tmp_path / "weights.pt")
    with pytest.raises(mtbench.WeightsError, match=r"weights.pt is not a TorchScript file.*--wrap checkpoint"):
        made(str(tmp_path / "weights.pt"), True, 4)
    with pytest.raises(mtbench.WeightsError, match="Write torchscript:file=FILE"):
        made(None, True, 4)


def test_the_energy_distance_is_that_of_its_definition(installed: Registry) -> None:
    metric = importlib.import_module("mtbench_energy_distance.metric").EnergyDistance(8, 4)
    rng = np.random.default_rng(3)
    x, y = rng.normal(0, 1, (5, 3)), rng.normal(1, 2, (4, 3))
    inputs = SimpleNamespace(features={"candidate": {"histogram": x}, "reference": {"histogram": y}})

    def mean(one: Any, other: Any) -> float:
        return float(np.mean([np.sqrt(((p - q) ** 2).sum()) for p in one for q in other if p is not q]))

    rows, others = list(x), list(y)
    expected = 2 * mean(rows, others) - mean(rows, rows) - mean(others, others)
    assert metric.compute(inputs, None).value == pytest.approx(expected)
    part = metric.resample(inputs, None)(np.array([0, 2, 3]), None)
    few = [rows[0], rows[2], rows[3]]
    assert part == pytest.approx(2 * mean(few, others) - mean(few, few) - mean(others, others))
    inputs.features["candidate"]["histogram"] = x[:1]
    with pytest.raises(mtbench.DataError, match="the candidate side has 1 slices"):
        metric.compute(inputs, None)


@pytest.mark.parametrize(("turned", "filled"), [(False, 0), (True, 4)])
def test_a_gradient_counts_in_its_direction(turned: bool, filled: int, installed: Registry) -> None:
    extractor = importlib.import_module("mtbench_energy_distance.extractor").GradientHistogram(8, 1)
    ramp = torch.linspace(0, 1, 16).repeat(16, 1)
    (found,) = extractor.extract((ramp.T if turned else ramp)[None, None], None)["histogram"]
    assert found[filled] > 0.1
    assert float(found.sum()) == pytest.approx(float(found[filled]))


def test_labels_that_the_task_does_not_have(installed: Registry, tmp_path: Path) -> None:
    made = importlib.import_module("mtbench_segmenter_command.model").SegmenterCommand
    task = mtbench.Task("t", labels={1: "a", 2: "b"})
    data = mtbench.TrainingData(task)
    with pytest.raises(mtbench.DataError, match=r"labels names a, c.*all labels of the task: a, b"):
        made("default", "x {input} {output}", {"a": 1, "c": 2}, "", "1", 1.0).fit(data, None)
    with pytest.raises(mtbench.PluginError, match="'/no/program' cannot be started"):
        made("default", "/no/program {input} {output}", {}, "", "1", 1.0).segment(
            torch.zeros(1, 1, 4, 4), mtbench.Context(scratch=tmp_path)
        )


def test_without_mlflow_the_observer_says_what_to_install(installed: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = importlib.import_module("mtbench_mlflow_log.plugin").mtbench_suite_finished
    monkeypatch.setitem(sys.modules, "mlflow", None)
    tables = {name: SimpleNamespace(to_pylist=lambda: [{"suite": "s"}]) for name in ("scores", "attempts")}
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    hook(tables)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///nowhere")
    with pytest.raises(mtbench.PluginError, match="MLflow is not installed"):
        hook(tables)


@pytest.mark.slow
def test_they_are_typed(tmp_path: Path) -> None:
    packages = [word for name in PROJECTS for word in ("-p", f"mtbench_{name.replace('-', '_')}")]
    foreign = "[mypy-pyarrow.*,nibabel.*,scipy.*,mlflow.*]\nignore_missing_imports = true\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\n{foreign}")
    path = os.pathsep.join(str(PLUGINS / name) for name in PROJECTS)
    command = [sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path, *packages]
    environment = {**os.environ, "MYPYPATH": path}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stdout
