"""What pyproject.toml declares is what the code imports; no text has people install somebody else's mtbench."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import mtbench
from mtbench.registry.plugin import OWN_DISTRIBUTION
from mtbench_plugins.executors.ray.executor import Ray

CHECKOUT = Path(mtbench.__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted(path for room in ("mtbench", "plugins") for path in (CHECKOUT / room).rglob("*.py"))
SAID = [
    *SOURCES,
    *(CHECKOUT / name for name in ("README.md", "CHANGELOG.md", "registry.toml", "pyproject.toml")),
    *(path for room in ("docs", "benchmarks") for path in (CHECKOUT / room).rglob("*") if path.is_file()),
]

FOR_PLUGINS = {"monai"}
"""What mtbench installs for plugins, whose environment record then names its version; its own units do without it."""
OPTIONAL = {
    "pytest": "pytest loads it",
    "ray": "Ray is not installed",
    "torch.utils.tensorboard": "'tensorboard' is not installed",
}
"""Modules that may be absent, and what the file that imports them then says."""


def third_party(path: Path) -> Iterator[str]:
    """The modules of other distributions that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            if name.partition(".")[0] not in {*sys.stdlib_module_names, "mtbench", "mtbench_plugins"}:
                yield name


def normal(requirement: str) -> str:
    """The distribution of a requirement, as indexes spell it."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_the_default_install_has_all_that_the_code_imports_and_nothing_else() -> None:
    distributions = packages_distributions()
    needed = set()
    for path in SOURCES:
        for module in third_party(path):
            if module in OPTIONAL:
                assert OPTIONAL[module] in path.read_text(encoding="utf-8"), f"{path}: {module} may be absent"
            else:
                needed.add(normal(distributions[module.partition(".")[0]][0]))
    assert {"jinja2", "matplotlib", "plotly", "torch"} <= needed
    assert not needed & FOR_PLUGINS
    assert needed | FOR_PLUGINS == {normal(requirement) for requirement in PROJECT["dependencies"]}


def test_without_ray_the_executor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtbench_plugins.executors.ray.executor.find_spec", lambda name: None)
    (requirement,) = PROJECT["optional-dependencies"]["ray"]
    assert Ray("", 1, 0).problems("cpu") == [f"Ray is not installed. Install it with: pip install '{requirement}'"]


def test_the_distribution_has_one_name() -> None:
    assert PROJECT["name"] == OWN_DISTRIBUTION
    assert f"uninstall --quiet --yes {OWN_DISTRIBUTION}\n" in (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")


INSTALL = re.compile(r"\b(?:pip3?|pipx|uv)\s+(?:install|add)\b([^&;|\n]*)")


def installed(text: str) -> Iterator[str]:
    """What the install commands of a text install, options included."""
    for command in INSTALL.finditer(text):
        yield from (word.strip("\\\"'`()<>,") for word in command[1].split())


def of_an_index(text: str) -> list[str]:
    """The words by which somebody else's mtbench would come from an index."""
    return [word for word in installed(text) if re.match(r"mtbench(?![\w/-])", word)] + re.findall(
        r"\bmtbench\[\w+", text
    )


@pytest.mark.parametrize(
    "text",
    [
        "pip install mtbench",
        'pip install -U "mtbench[ray]"',
        "`pip install mtbench==0.1`",
        "uv add mtbench,",
        "needs mtbench[ray]",
    ],
)
def test_a_name_on_an_index_is_seen(text: str) -> None:
    assert of_an_index(f"Do this: {text} now")


def test_nothing_tells_people_to_install_mtbench_by_its_name() -> None:
    """The name belongs to another project there; ours comes from a checkout."""
    extras = set(PROJECT["optional-dependencies"])
    seen = set()
    for path in SAID:
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".py" and "install" in text:
            # Adjacent literals are one text.
            nodes = ast.walk(ast.parse(text))
            text += "\n".join(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
        assert of_an_index(text) == [], path
        for word in installed(text):
            if word.startswith(".["):
                assert set(word[2:-1].split(",")) <= extras, f"{path}: {word}"
                seen.add(word)
    assert seen == {".[test]", ".[bench]", ".[docs]"}
