"""The plugins of a suite, each at one point of its parameter grid."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from mtbench.errors import MtbenchError, ParamError, SuiteError
from mtbench.hashing import hash_of
from mtbench.plan.suite import Entry, Suite
from mtbench.registry.basespec import Spec
from mtbench.registry.codeid import code_identity
from mtbench.registry.params import format_call
from mtbench.registry.registry import Registration, Registry
from mtbench.registry.specs import DatasetSpec

SHORT = 12
"""The digits of a sha256 that tables show."""
PluginSpecT = TypeVar("PluginSpecT", bound=Spec[Any])
PluginSpecT_co = TypeVar("PluginSpecT_co", bound=Spec[Any], covariant=True)


@dataclass(frozen=True)
class Choice(Generic[PluginSpecT_co]):
    """One plugin at one point of its grid.

    Attributes:
        entry: its entry in the suite.
        registration: its spec and its origin.
        params: its parameters, complete; paths as written.
        paths: path parameters, and a dataset's "root", resolved on this machine.
    """

    entry: Entry
    registration: Registration[PluginSpecT_co]
    params: Mapping[str, Any]
    paths: Mapping[str, str]

    @property
    def spec(self) -> PluginSpecT_co:
        """The plugin's spec."""
        return self.registration.spec

    @cached_property
    def changes(self) -> Mapping[str, Any]:
        """The parameters that differ from their defaults and may change a result, without paths and programs."""
        schema = self.spec.params
        return {
            name: value
            for name, value in self.params.items()
            if value != schema[name].default and schema[name].shown and schema[name].identity
        }

    @cached_property
    def version(self) -> Mapping[str, str]:
        """What may change results besides ``changes``, without the content of files, which only a run knows."""
        schema = {name: param for name, param in self.spec.params.items() if param.identity and param.kind != "path"}
        hidden = {name: self.params[name] for name, param in schema.items() if not param.shown}
        return {
            "plugin": self.spec.name,
            "revision": self.spec.revision,
            "code": (code_identity(self.registration) or "installed")[:SHORT],
            "defaults": hash_of({name: param.default for name, param in schema.items()})[:SHORT],
            **{f"{name} sha256": hash_of(value)[:SHORT] for name, value in hidden.items()},
        }

    @cached_property
    def label(self) -> str:
        """Its printed name: the name, and the parameters that differ from their defaults."""
        return format_call(self.entry.name, {k: v for k, v in self.changes.items() if not isinstance(v, (dict, list))})


def choices(
    kind: type[PluginSpecT], entries: Iterable[Entry], suite: Suite, registry: Registry
) -> list[Choice[PluginSpecT]]:
    """All points of the grids of ``entries``, which name plugins of a kind.

    Raises:
        RequestError, ParamError, SuiteError: a plugin or parameter does not exist, or a value is not valid; the
            text says where in the suite.
    """
    points: list[Choice[PluginSpecT]] = []
    for entry in entries:
        with _locating(entry):
            points += _grid(entry, registry.get(kind, entry.plugin), suite)
    return points


@contextlib.contextmanager
def _locating(entry: Entry) -> Iterator[None]:
    """Add the place of the entry in the suite to an error."""
    try:
        yield
    except SuiteError:
        raise
    except MtbenchError as error:
        where = ": ".join(filter(None, (entry.where, error.where)))
        raise type(error)(
            error.what,
            where=where or None,
            expected=error.expected,
            remedy=error.remedy,
            matches=error.matches,
        ) from error


def programs(suite: Suite, registry: Registry) -> list[str]:
    """The programs that the suite file would run: a line for each such parameter, with its place in the file."""
    lines = []
    for kind in ("dataset", "translator", "segmenter", "metric"):
        for entry in getattr(suite, f"{kind}s"):
            with _locating(entry):
                for name, value in _written(entry, registry.get(kind, entry.plugin).spec)[-1].items():
                    lines.append(f"{entry.where}: {kind} '{entry.name}': {name} = {value!r}")
    return lines


def _written(entry: Entry, spec: Spec[Any]) -> tuple[dict[str, Any], frozenset[str], dict[str, Any]]:
    """The parameters by name, those from the command line, and those of the file that run programs."""
    values, typed = spec.by_name(entry.params, entry.positional), entry.cli_params
    if typed.intersection(entry.positional):
        typed |= {str(spec.shorthand)}
    running = [name for name, param in spec.params.items() if param.runs_program and name not in typed]
    return values, typed, {name: values[name] for name in running if name in values}


def _grid(entry: Entry, registration: Registration[PluginSpecT], suite: Suite) -> Iterator[Choice[PluginSpecT]]:
    spec: Spec[Any] = registration.spec
    schema = spec.params
    owner = f"{spec.kind} '{spec.name}'"
    values, typed, running = _written(entry, spec)
    root = entry.root
    if running and not suite.trusted:
        name, value = next(iter(running.items()))
        raise SuiteError(
            f"this suite would run a program: {spec.kind} '{entry.name}', {name} = {value!r}",
            where=entry.where,
            expected="programs only on the command line or in your own mtbench.toml",
            remedy="If you know who wrote the suite and have read it, use --trust-suite",
        )
    if isinstance(spec, DatasetSpec) and "root" in values and "root" not in schema:
        root = str(values.pop("root"))
    axes: dict[str, list[Any]] = {}
    for name, value in values.items():
        grid = isinstance(value, list) and name in schema and schema[name].kind != "list"
        axes[name] = value if grid else [value]
        if grid and not value:
            raise ParamError(f"the grid of '{name}' is empty", where=owner, expected="at least one value")
    for point in itertools.product(*axes.values()):
        params = registration.complete(dict(zip(axes, point, strict=True)))
        paths = {
            name: str(suite.path(params[name], from_cli=name in typed))
            for name, param in schema.items()
            if param.kind == "path" and params[name]
        }
        if root:
            paths["root"] = str(suite.path(root, from_cli="root" in typed))
        elif isinstance(spec, DatasetSpec) and spec.needs_root:
            raise SuiteError(
                f"dataset '{entry.name}' has no 'root', the folder with its files",
                where=entry.where,
                expected='root = "FOLDER"',
                remedy=spec.obtain or None,
            )
        yield Choice(entry, registration, params, paths)
