"""The rules of the house, held by reading its source."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import mtbench
from mtbench.registry import hookspecs
from mtbench.registry.discovery import discover

ROOT = Path(mtbench.__file__).resolve().parent
CORE = sorted(ROOT.rglob("*.py"))
PLUGINS = ROOT.parent / "plugins" / "mtbench_plugins"
LONGEST = 400

# Kinds whose names are no English words of the core's own; a suite's or exporter's name may be an option's value.
KINDS = ("translator", "dataset", "segmenter", "extractor", "metric")
# Words that the core uses for something else than the plugin of that name.
OWN_WORDS = {"folder", "identity", "is", "mean", "inline", "command"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def texts(path: Path) -> list[str]:
    """The string constants of a file, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def test_the_core_imports_no_plugin() -> None:
    for path in CORE:
        assert not {name for name in imports(path) if name.partition(".")[0] == "mtbench_plugins"}, path
        assert not [text for text in texts(path) if "mtbench_plugins" in text], path


def test_the_core_names_no_built_in_plugin() -> None:
    registry = discover(third_party=False)
    names = {name for kind in KINDS for name in registry.names(kind)} - OWN_WORDS
    assert {"histogram", "unet", "fid", "swd"} <= names
    named = [(path.relative_to(ROOT).as_posix(), text) for path in CORE for text in texts(path) if text in names]
    assert named == []


LAYERS = {
    # What a room may not import: the rooms above it.
    "store": ("stages", "run", "cli", "report", "analysis", "plan", "compute"),
    "compute": ("stages", "run", "cli", "report", "analysis", "plan"),
    "plan": ("run", "cli", "report", "analysis"),
    "stages": ("run", "cli", "report", "analysis", "plan"),
    "run": ("cli", "report", "analysis"),
    "analysis": ("cli", "stages", "run"),
}


@pytest.mark.parametrize("room", LAYERS)
def test_imports_run_one_way(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("mtbench.")}
        assert not rooms & set(LAYERS[room]), path


def test_every_hook_is_documented() -> None:
    guide = ROOT.parent / "docs" / "plugins.md"
    hooks = [name for name in vars(hookspecs) if name.startswith("mtbench_")]
    assert set(hookspecs.SPEC_HOOKS) < set(hooks)
    for name in hooks:
        assert inspect.getdoc(getattr(hookspecs, name)), name
        if guide.exists():
            assert name in guide.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", mtbench.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    found = getattr(mtbench, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert found.__doc__
        assert not found.__doc__.startswith(f"{found.__name__}("), "only the docstring that dataclasses make up"
    if inspect.isclass(found):
        for method, value in vars(found).items():
            if inspect.isfunction(value) and not value.__name__.startswith("_"):
                assert value.__doc__, f"{name}.{method}"


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT.parent)): count
        for path in (*CORE, *sorted(PLUGINS.rglob("*.py")))
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}
