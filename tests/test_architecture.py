"""The rules of the house, held by reading its source."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

import mtbench
from mtbench.registry import contracts, hookspecs
from mtbench.registry.basespec import Spec
from mtbench.registry.contracts import methods
from mtbench.registry.discovery import discover
from mtbench.registry.specs import KINDS

ROOT = Path(mtbench.__file__).resolve().parent
CORE = sorted(ROOT.rglob("*.py"))
PLUGINS = ROOT.parent / "plugins" / "mtbench_plugins"
LONGEST = 400

# Names of built-in plugins that are words of the core's own.
OWN_WORDS = {
    "changes": "the verb",
    "command": "the user's command line",
    "csv": "the ending of a split file",
    "cut": "the verb",
    "folder": "a folder",
    "html": "the report's own format",
    "identity": "of a result: what its key is made of",
    "inline": "a word of the report's content security policy",
    "is": "the verb",
    "json": "the format of files and of --json",
    "learning": "the learning rate",
    "md": "the ending of a read-me file",
}


def imports(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


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
    names = {name for kind in KINDS for name in registry.names(kind)}
    assert {"histogram", "unet", "fid", "inception-fid", "local", "tex", "quickstart", "phantom-lumbar"} <= names
    named = {(path.relative_to(ROOT).as_posix(), name) for path in CORE for name in names if says(path, name)}
    assert {(path, name) for path, name in named if name not in OWN_WORDS} == set()
    assert {name for _, name in named} == set(OWN_WORDS), "a word that is no longer needed"


def says(path: Path, name: str) -> bool:
    """Whether a string constant of the file holds the name as a word, or as several in a row."""
    return any(f" {words(name)} " in text for text in spoken(path))


@cache
def spoken(path: Path) -> list[str]:
    """The texts of a file as words between blanks."""
    return [f" {words(text)} " for text in texts(path)]


def words(text: str) -> str:
    return " ".join(re.findall(r"[A-Za-z0-9]+", text))


def test_what_a_plugin_offers_is_asked_of_its_contract() -> None:
    """``hasattr`` is for what an operating system has; ``getattr(made, "method", None)`` for nothing in these rooms."""
    rooms = ("registry", "plan", "stages", "engine", "translation", "scoring", "cli")
    for path in CORE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "hasattr":
                    assert ast.unparse(node.args[0]).split(".")[0] in ("os", "mmap", "torch"), (
                        f"{path}, line {node.lineno}"
                    )
                if node.func.id == "getattr" and path.relative_to(ROOT).parts[0] in rooms:
                    named = len(node.args) == 3 and isinstance(node.args[1], ast.Constant)
                    assert not named, f"{path}, line {node.lineno}"


def test_the_registry_imports_in_one_direction() -> None:
    """An import inside a function is how a cycle is hidden."""
    for path in sorted((ROOT / "registry").glob("*.py")):
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = [node for node in ast.walk(outer) if isinstance(node, (ast.Import, ast.ImportFrom))]
                assert not inner, f"{path}, {outer.name}"


def test_every_kind_has_a_contract_that_is_documented() -> None:
    assert {kind: methods(spec.contract) for kind, spec in KINDS.items() if issubclass(spec, Spec)} == {
        "translator": ["translate"],
        "dataset": ["prepare"],
        "segmenter": ["fit", "save", "load", "segment"],
        "extractor": ["extract"],
        "metric": ["compute"],
        "executor": ["problems", "start", "submit", "wait", "close"],
        "exporter": ["export"],
        "challenge": ["inspect", "measure", "document"],
    }
    for name, contract in vars(contracts).items():
        if isinstance(contract, type) and contract.__module__ == contracts.__name__:
            assert contract.__doc__, name
            assert all(getattr(contract, method).__doc__ for method in methods(contract)), name


FLOORS = (
    # A room imports from lower floors only, and from itself. A top-level file is a room of its own.
    ("childprocess", "errors", "hashing", "openmp", "rows"),
    ("memory", "paths", "patterns", "resources", "screen", "startup", "toml", "typed"),
    ("data", "integers"),
    ("jsontext", "ledger", "registry", "store"),
    ("compute", "formats", "results"),
    ("analysis", "stages", "training"),
    ("challenges",),
    ("plan", "report", "scoring"),
    ("engine", "translation"),
    ("api", "preparation", "scaffold"),
    ("stress",),
    ("conformance",),
    ("kit",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# What plugin authors read names the types of all rooms, for type checkers only.
FOR_TYPE_CHECKERS = {"registry/contracts.py", "registry/hookspecs.py", "registry/basespec.py", "registry/specs.py"}


def rooms_of(path: Path) -> set[str]:
    """The rooms that a file imports from, wherever the import stands; version and hooks of the package itself aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.relative_to(ROOT).as_posix() in FOR_TYPE_CHECKERS:
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        ]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} if node.module != "mtbench" else {f"mtbench.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("mtbench.")} & FLOOR.keys()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in CORE} == {*FLOOR, "__init__"}


@pytest.mark.parametrize("room", FLOOR)
def test_imports_run_one_way(room: str) -> None:
    files = [path for path in CORE if room_of(path) == room]
    assert files
    for path in files:
        above = {other for other in rooms_of(path) if FLOOR[other] >= FLOOR[room] and other != room}
        assert not above, path


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
    result = getattr(mtbench, name)
    if inspect.isclass(result) or inspect.isfunction(result):
        assert result.__doc__
        assert not result.__doc__.startswith(f"{result.__name__}("), "only the docstring that dataclasses make up"
    if inspect.isclass(result):
        for method, value in vars(result).items():
            if inspect.isfunction(value) and not value.__name__.startswith("_"):
                assert value.__doc__, f"{name}.{method}"


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT.parent)): count
        for path in (*CORE, *sorted(PLUGINS.rglob("*.py")))
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert long == {}
