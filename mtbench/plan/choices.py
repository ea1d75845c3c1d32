"""The plugins of a suite, each at one point of its parameter grid."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from mtbench.errors import MtbenchError, ParamError, PluginError, SuiteError
from mtbench.plan.suite import Entry, Suite
from mtbench.registry.codeid import code_identity
from mtbench.registry.discovery import Registered, Registry
from mtbench.registry.params import format_call
from mtbench.store.artefacts import hash_of

T = TypeVar("T")
SHORT = 12
"""Digits of a sha256 that tables show."""


@dataclass(frozen=True)
class Choice:
    """One plugin at one point of its grid.

    Attributes:
        entry: what the suite says of it.
        registered: its spec and where it comes from.
        params: complete; paths as written.
        paths: path parameters, and a dataset's "root", resolved on this machine.
    """

    entry: Entry
    registered: Registered
    params: Mapping[str, Any]
    paths: Mapping[str, str]

    @property
    def spec(self) -> Any:
        """The plugin's spec."""
        return self.registered.spec

    @property
    def changed(self) -> dict[str, Any]:
        """The parameters that differ from the defaults and may change a result; without paths and programs."""
        declared = self.spec.params
        return {
            name: value
            for name, value in self.params.items()
            if value != declared[name].default and declared[name].shown and declared[name].identity
        }

    @cached_property
    def version(self) -> Mapping[str, str]:
        """What makes other results beside ``changed``, the content of files aside: that is known to a run only."""
        declared = {name: param for name, param in self.spec.params.items() if param.identity and param.kind != "path"}
        hidden = {name: self.params[name] for name, param in declared.items() if not param.shown}
        return {
            "plugin": self.spec.name,
            "revision": self.spec.revision,
            "code": (code_identity(self.registered) or "installed")[:SHORT],
            "defaults": hash_of({name: param.default for name, param in declared.items()})[:SHORT],
            **{f"{name} sha256": hash_of(value)[:SHORT] for name, value in hidden.items()},
        }

    @property
    def label(self) -> str:
        """What a person calls it: the name, and what differs from the defaults."""
        return format_call(self.entry.name, {k: v for k, v in self.changed.items() if not isinstance(v, (dict, list))})

    @property
    def trains(self) -> bool:
        """Whether this translator needs a fit with these parameters."""
        return self._decided(self.spec.trains)

    @property
    def stochastic(self) -> bool:
        """Whether this translator draws noise with these parameters."""
        return self._decided(self.spec.stochastic)

    @property
    def conditional(self) -> bool:
        """Whether this translator needs masks of the source slices with these parameters."""
        return self._decided(self.spec.conditional)

    def _decided(self, declared: Any) -> bool:
        return bool(self.ask(declared, self.params)) if callable(declared) else bool(declared)

    def ask(self, question: Callable[..., T], *about: Any) -> T:
        """What a callable of the spec answers.

        Raises:
            PluginError: it fails; the text names the plugin.
        """
        try:
            return question(*about)
        except MtbenchError:
            raise
        except Exception as error:
            raise PluginError(
                f"its spec cannot answer: {type(error).__name__}: {error}",
                where=f"{self.spec.kind} '{self.spec.name}' of {self.registered.plugin.origin}",
                remedy="Leave it out, or correct the plugin",
            ) from error


def choices(kind: str, entries: Iterable[Entry], suite: Suite, registry: Registry) -> list[Choice]:
    """All points of the grids of ``entries``.

    Raises:
        RequestError, ParamError, SuiteError: a plugin or parameter does not exist, or a value does not fit; the
            text says where in the suite.
    """
    found: list[Choice] = []
    for entry in entries:
        try:
            found += _grid(entry, registry.get(kind, entry.plugin), suite, registry)
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
    return found


def programs(suite: Suite, registry: Registry) -> list[str]:
    """What the suite file itself would have run: a line for each such parameter, with its place in the file."""
    lines = []
    for kind in ("dataset", "translator", "segmenter", "metric"):
        for entry in getattr(suite, f"{kind}s"):
            spec = registry.get(kind, entry.plugin).spec
            for name, value in _programs(entry, spec).items():
                lines.append(f"{entry.where}: {kind} '{entry.name}': {name} = {value!r}")
    return lines


def _programs(entry: Entry, spec: Any) -> dict[str, Any]:
    """Parameters that run programs and that the suite file gives, not the user."""
    given = dict(entry.params)
    if entry.positional and spec.shorthand:
        given[spec.shorthand] = entry.positional[0]
    running = [name for name, param in spec.params.items() if param.runs_program and name not in _typed(entry, spec)]
    return {name: given[name] for name in running if name in given}


def _typed(entry: Entry, spec: Any) -> frozenset[str]:
    """Names of the parameters that were typed on the command line."""
    return entry.typed | {str(spec.shorthand)} if entry.typed.intersection(entry.positional) else entry.typed


def _refuse_programs(entry: Entry, spec: Any) -> None:
    for name, value in _programs(entry, spec).items():
        raise SuiteError(
            f"this suite would run a program: {spec.kind} '{entry.name}', {name} = {value!r}",
            where=entry.where,
            expected="programs on the command line or in your own mtbench.toml, never in a suite",
            remedy="If you know who wrote the suite and have read it, say --trust-suite",
        )


def _grid(entry: Entry, registered: Registered, suite: Suite, registry: Registry) -> Iterator[Choice]:
    spec = registered.spec
    declared = spec.params
    owner = f"{spec.kind} '{spec.name}'"
    given = dict(entry.params)
    root = entry.root
    if not suite.trusted:
        _refuse_programs(entry, spec)
    if spec.kind == "dataset" and "root" in given and "root" not in declared:
        root = str(given.pop("root"))
    if entry.positional:
        if spec.shorthand is None or len(entry.positional) > 1:
            raise ParamError(
                f"'{entry.positional[-1]}' has no name",
                where=owner,
                expected=f"{entry.name}:NAME=VALUE with NAME one of {', '.join(declared) or 'nothing'}",
            )
        given[spec.shorthand] = entry.positional[0]
    typed = _typed(entry, spec)
    axes: dict[str, list[Any]] = {}
    for name, value in given.items():
        grid = isinstance(value, list) and name in declared and declared[name].kind != "list"
        axes[name] = value if grid else [value]
        if grid and not value:
            raise ParamError(f"the grid of '{name}' is empty", where=owner, expected="at least one value")
    for point in itertools.product(*axes.values()):
        params = registry.complete(spec.kind, spec.name, dict(zip(axes, point, strict=True)))
        paths = {
            name: str(suite.path(params[name], typed=name in typed))
            for name, param in declared.items()
            if param.kind == "path" and params[name]
        }
        if root:
            paths["root"] = str(suite.path(root, typed="root" in typed))
        elif spec.kind == "dataset" and spec.needs_root:
            raise SuiteError(
                f"dataset '{entry.name}' needs to know where its files are",
                where=entry.where,
                expected='root = "FOLDER"',
                remedy=spec.obtain or None,
            )
        yield Choice(entry, registered, params, paths)
