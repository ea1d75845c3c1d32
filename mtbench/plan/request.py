"""A request: a suite, its selection and changes, and its plugins. The command line and Python build the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import tomli_w

from mtbench.errors import RequestError
from mtbench.integers import check_seed
from mtbench.plan.choices import programs
from mtbench.plan.graph import Plan
from mtbench.plan.planner import make_plan
from mtbench.plan.suite import Precision, load_suite, parse_suite
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench.typed import Record, Wording, read


@dataclass(frozen=True)
class PlanRequest(Record):
    """A suite with the user's selection and changes.

    Attributes:
        suite: a file or a registered name.
        text: the suite itself as TOML, if it is in no file.
        translators, datasets, segmenters, metrics: the selection, each ``NAME`` or ``NAME:p=v,...``; empty for all.
        seeds: of the translators; overrides the suite's.
        precision: "fp32", "tf32" or "bf16"; overrides the suite's.
        settings: changes of the suite, each ``KEY=VALUE``.
        trust_suite: let the suite name programs.
        plugin_files: Python files or project folders with plugins.
        no_plugins: load built-in plugins only.
        config: the user's own ``mtbench.toml``, if it is not in its default place.
        store: the artefact store; ``MTBENCH_STORE`` or the user's cache folder by default.
    """

    suite: str
    text: str = ""
    translators: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    segmenters: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    precision: Precision | None = None
    settings: tuple[str, ...] = ()
    trust_suite: bool = False
    plugin_files: tuple[str, ...] = ()
    no_plugins: bool = False
    config: str | None = None
    store: str | None = None

    @classmethod
    def of(cls, suite: str | Path | Mapping[str, Any], options: Mapping[str, Any]) -> Self:
        """The request with these ``options``.

        Args:
            suite: a file, a registered name, or a suite as a dictionary with the tables of a suite file.
            options: attributes of this class, by name; lists for tuples.

        Raises:
            RequestError: an option does not exist, or its value has the wrong type.
        """
        name, text = str(suite), ""
        if isinstance(suite, Mapping):
            name, text = str(suite.get("suite", {}).get("name", "suite")), tomli_w.dumps(suite)
        keys = [key.name for key in fields(cls) if key.name not in ("suite", "text")]
        raw = {key: _without_paths(value) for key, value in options.items()}
        if isinstance(raw.get("seeds"), tuple):
            raw["seeds"] = tuple(check_seed(seed, "--seed") for seed in raw["seeds"])
        wording = Wording(RequestError, "unknown option '{name}'", quoted=True)
        return read(cls, raw, wording, lambda key: "the request" if key in keys else "", keys, suite=name, text=text)

    def registry(self, *, careful: bool = False) -> Registry:
        """The plugins; see :func:`mtbench.registry.discovery.discover`."""
        return discover(self.plugin_files, third_party=not self.no_plugins, config=self.config, careful=careful)

    def plan(self, registry: Registry, say: Callable[[str], None] = lambda line: None) -> Plan:
        """The plan of the selected part of the suite.

        Args:
            registry: the plugins.
            say: called with each line of the list of programs that a trusted suite names.

        Raises:
            RequestError: the suite or the selection is not valid.
        """
        if self.text:
            suite = parse_suite(self.text, f"suite '{self.suite}'", Path.cwd(), self.settings)
        else:
            suite = load_suite(self.suite, registry, self.settings)
        suite = suite.select(
            translators=self.translators,
            datasets=self.datasets,
            segmenters=self.segmenters,
            metrics=self.metrics,
            seeds=self.seeds,
            precision=self.precision,
        )
        lines = programs(suite, registry) if self.trust_suite else []
        if lines:
            say("--trust-suite lets this suite run these programs:")
            for line in lines:
                say(f"  {line}")
        return make_plan(replace(suite, trusted=self.trust_suite), registry)

    def words(self) -> Iterator[str]:
        """The command-line options of the same request, without the suite; paths are absolute."""
        for name, option in _REPEATED.items():
            for value in getattr(self, name):
                yield from (option, str(Path(value).resolve()) if name == "plugin_files" else str(value))
        if self.precision:
            yield from ("--precision", self.precision)
        if self.store:
            yield from ("--store", str(Path(self.store).resolve()))
        for name, option in _FLAGS.items():
            if getattr(self, name):
                yield option


def _without_paths(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_without_paths(each) for each in value)
    return str(value) if isinstance(value, Path) else value


_REPEATED = {
    "translators": "-t",
    "datasets": "-d",
    "segmenters": "-s",
    "metrics": "-m",
    "seeds": "--seed",
    "settings": "--set",
    "plugin_files": "--plugin",
}
_FLAGS = {"no_plugins": "--no-plugins", "trust_suite": "--trust-suite"}
