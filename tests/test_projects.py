"""Plugin files that are real projects: helper modules, folders, the user's own list, and weights however wrapped."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mtbench import Param, WeightsError
from mtbench.compute.statedicts import load_weights, read_state
from mtbench.errors import RequestError
from mtbench.registry.codeid import closure, code_identity
from mtbench.registry.discovery import discover, load_one

PLUGIN = """
import mtbench
from {helper} import apply


@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("{name}", ":Mine", description="mine")


class Mine:
    def translate(self, batch, context):
        return apply(batch.source)
"""


@pytest.fixture(autouse=True)
def own_path() -> Iterator[None]:
    """The search path and the modules of this process as they were."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if "plugin_file" in name or name.startswith("helper_"):
            del sys.modules[name]


def project(folder: Path, name: str, helper: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{helper}.py").write_text("def apply(images):\n    return images\n")
    (folder / f"{name}.py").write_text(PLUGIN.format(helper=helper, name=name))
    return folder / f"{name}.py"


def found(registry: Any, name: str) -> Any:
    return registry.get("translator", name)


def test_a_helper_beside_the_file_is_found_and_is_part_of_the_code(tmp_path: Path) -> None:
    file = project(tmp_path, "mine-one", "helper_one")
    registration = found(discover([file], third_party=False), "mine-one")
    assert tmp_path / "helper_one.py" in closure(registration).values()
    before = code_identity(registration)
    (tmp_path / "helper_one.py").write_text("def apply(images):\n    return images / 2\n")
    assert code_identity(registration) != before


def test_the_current_folder_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project(tmp_path / "mine", "mine-two", "helper_two")
    (tmp_path / "here").mkdir()
    (tmp_path / "mine" / "helper_two.py").rename(tmp_path / "here" / "helper_two.py")
    monkeypatch.chdir(tmp_path / "here")
    (plugin,) = [each for each in discover([file], third_party=False).plugins if each.path]
    assert "it imports the module 'helper_two', which is missing" in plugin.problem
    assert str(tmp_path / "mine") in plugin.problem
    assert sys.executable in plugin.problem
    assert f"put helper_two.py, or the folder helper_two, beside {file}" in plugin.remedy


def test_what_is_installed_comes_before_a_helper(tmp_path: Path) -> None:
    file = project(tmp_path, "mine-three", "helper_three")
    (tmp_path / "json.py").write_text("raise ImportError('the wrong json')\n")
    discover([file], third_party=False)
    assert sys.path[-1] == str(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "mtbench", "plugins", "mine-three", "--plugin", file],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_two_projects_with_helpers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Each passes alone; beside each other one would run with the other's code."""
    files = [project(tmp_path / name, f"mine-{name}", "helper_four") for name in ("a", "b")]
    (tmp_path / "b" / "helper_four.py").write_text("def apply(images):\n    return images / 2\n")
    for file in files:
        (registry,) = [discover([file], third_party=False)]
        assert not [plugin for plugin in registry.plugins if plugin.problem]
        sys.path.remove(str(file.parent))
        del sys.modules["helper_four"]
        for name in [name for name in sys.modules if name.startswith("mtbench_plugin_file")]:
            del sys.modules[name]
    problems = [plugin.problem for plugin in discover(files, third_party=False).plugins if plugin.problem]
    assert len(problems) == 1
    assert "its helper module 'helper_four' has the same name as" in problems[0]


def test_a_folder_stands_for_its_project(tmp_path: Path) -> None:
    package = tmp_path / "five"
    project(package, "plugin", "helper_five")
    assert found(discover([package], third_party=False), "plugin")
    # A package with entry points is imported from where its folder is.
    inside = tmp_path / "six" / "src" / "helper_six"
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text("def apply(images):\n    return images\n")
    (inside / "hooks.py").write_text(PLUGIN.format(helper="helper_six", name="mine-six"))
    (tmp_path / "six" / "pyproject.toml").write_text('[project.entry-points.mtbench]\nsix = "helper_six.hooks"\n')
    registration = found(discover([tmp_path / "six"], third_party=False), "mine-six")
    assert registration.plugin.path == inside / "hooks.py"
    assert load_one(registration.plugin.reference()).names("translator") == ["mine-six"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="the folder contains no plugin file"):
        discover([tmp_path / "empty"], third_party=False)


def test_plugins_are_remembered_in_the_users_own_file(tmp_path: Path) -> None:
    project(tmp_path / "seven", "mine-seven", "helper_seven")
    config = tmp_path / "mtbench.toml"
    config.write_text('[plugins]\nfiles = ["seven/mine-seven.py"]\n')
    config.chmod(0o600)
    assert found(discover(config=config), "mine-seven")
    assert "mine-seven" not in discover(config=config, third_party=False).names("translator")
    config.write_text('[plugins]\nfiles = "seven"\n')
    with pytest.raises(RequestError, match=r"line 1.*'plugins' is not valid.*files = "):
        discover(config=config)
    config.chmod(0o666)
    with pytest.raises(RequestError):
        discover(config=config)


def test_a_missing_module_of_the_class_is_explained(tmp_path: Path) -> None:
    (tmp_path / "eight.py").write_text(
        "import mtbench\n\n@mtbench.hookimpl\ndef mtbench_translators():\n"
        "    yield mtbench.TranslatorSpec('mine-eight', 'helper_eight.model:Mine')\n"
    )
    registration = found(discover([tmp_path / "eight.py"], third_party=False), "mine-eight")
    with pytest.raises(
        Exception, match=r"the module 'helper_eight', which is missing.*Put helper_eight.py, or the folder"
    ):
        registration.create({})


def test_a_run_finds_helpers_in_the_processes_of_its_units(tmp_path: Path, run_cli: Any, toys: Path) -> None:
    file = project(tmp_path / "nine", "mine-nine", "helper_nine")
    from toys import toy_suite

    (tmp_path / "toy.toml").write_text(
        toy_suite("references = false", translators=("mine-nine",), metrics=("toy-mean",))
    )
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--plugin", file, "--device", "cpu", "--out", "out")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(("kind", "word"), [(Path, "path"), (int, "int"), (str, "str"), ("path", "path")])
def test_a_parameter_takes_a_python_type(kind: Any, word: str) -> None:
    assert Param(None, kind).kind == word
    assert Param(Path("a") / "b").default == os.path.join("a", "b")
    assert Param(Path("a")).kind == "path"


def test_a_type_that_is_no_kind_is_named() -> None:
    with pytest.raises(TypeError, match="kind=complex; kinds are int, float"):
        Param(None, complex)
    with pytest.raises(TypeError, match="kind='pth'; kinds are"):
        Param(None, "pth")  # type: ignore[arg-type]


# -- weights however wrapped


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, 2, 3)
        self.two = nn.Conv2d(2, 1, 3)


def weights() -> dict[str, Any]:
    torch.manual_seed(5)
    return Net().state_dict()


WRAPPINGS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "model": lambda state: {"model": state},
    "net_G": lambda state: {"net_G": state, "net_D": {"conv.weight": torch.ones(3)}},
    "ema": lambda state: {"params_ema": state},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "lightning": lambda state: {"state_dict": {f"net.{name}": value for name, value in state.items()}},
    "nested": lambda state: {"checkpoint": {"generator": {f"module.{name}": value for name, value in state.items()}}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_common_wrappings_are_opened(wrapping: str, tmp_path: Path) -> None:
    state, network = weights(), Net()
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "weights.pth")
    load_weights(network, tmp_path / "weights.pth")
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_safetensors_are_opened(tmp_path: Path) -> None:
    """Written here by the format's description: length, header, data."""
    state, header, data = weights(), {"__metadata__": {"format": "pt"}}, b""
    for name, value in state.items():
        content = struct.pack(f"<{value.numel()}f", *value.flatten().tolist())
        header[name] = {
            "dtype": "F32",
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(content)],
        }  # type: ignore[assignment]
        data += content
    text = json.dumps(header).encode()
    file = tmp_path / "weights.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)
    network = Net()
    load_weights(network, file)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(WeightsError, match=r"not a complete safetensors file: 'two.bias' lies outside"):
        read_state(file)


def test_of_several_the_likely_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "cycle.pth"
    torch.save({"G_AB": weights(), "netG_A": weights(), "D_A": {"a": torch.ones(1)}}, file)
    with pytest.raises(WeightsError, match=r"3 sets of weights: G_AB \(4 tensors\).*'netG_A' is the likely one"):
        read_state(file)
    assert set(read_state(file, "G_AB")) == set(weights())
    with pytest.raises(WeightsError, match=r"no part 'G_A'.*Did you mean 'D_A'|no part 'G_A'.*Did you mean"):
        read_state(file, "G_A")


def test_another_network_is_pointed_to_the_ways_that_there_are(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.ones(2), "one.weight": torch.ones(2, 1, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as raised:
        load_weights(Net(), tmp_path / "other.pth")
    text = str(raised.value)
    assert "it lacks 'one.bias', 'two.bias', 'two.weight'; it also has 'conv.weight'" in text
    assert "mtbench new translator NAME --wrap checkpoint" in text
    assert "--wrap command" in text
    torch.save(Net(), tmp_path / "pickled.pth")
    with pytest.raises(WeightsError, match="reading it would run code"):
        read_state(tmp_path / "pickled.pth")
