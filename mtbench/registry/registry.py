"""The plugins of a process, by kind and name, and the creation of their objects."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, overload

import pluggy

from mtbench.errors import MtbenchError, PluginError, RequestError, close_matches
from mtbench.registry import hookspecs
from mtbench.registry.basespec import ObjectT_co, Spec
from mtbench.registry.catalogue import provider
from mtbench.registry.contracts import methods
from mtbench.registry.params import complete, parse_call
from mtbench.registry.plugin import Plugin, explain_import
from mtbench.registry.specs import ExecutorSpec, ExporterSpec, SuiteSpec
from mtbench.registry.userconfig import UserConfig

SpecT_co = TypeVar("SpecT_co", bound=Spec[Any] | SuiteSpec, covariant=True)
SpecT = TypeVar("SpecT", bound=Spec[Any] | SuiteSpec)
DefaultT = TypeVar("DefaultT", ExecutorSpec, ExporterSpec)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Registration(Generic[SpecT_co]):
    """A spec, the plugin that yielded it, and the user's ``mtbench.toml``."""

    spec: SpecT_co
    plugin: Plugin
    config: UserConfig

    @property
    def blame(self) -> str:
        """The plugin and its origin, for messages."""
        return f"{self.spec.kind} '{self.spec.name}' of {self.plugin.origin}"

    @contextlib.contextmanager
    def blaming(self, what: str, remedy: str | None = None) -> Iterator[None]:
        """Name the plugin in errors of its code; errors of mtbench pass unchanged.

        Raises:
            PluginError: for any other exception; the text starts with ``what``.
        """
        try:
            yield
        except MtbenchError:
            raise
        except Exception as error:
            raise PluginError(f"{what}: {type(error).__name__}: {error}", where=self.blame, remedy=remedy) from error

    def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a method of the spec that calls functions of the plugin.

        Raises:
            PluginError: it fails; the text names the plugin.
        """
        with self.blaming("a function of its spec failed", "Do not select it, or correct the plugin"):
            return question(*args, **kwargs)

    def complete(self: Registration[Spec[Any]], params: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, with defaults and settings from the user's ``mtbench.toml``; types are checked.

        Raises:
            ParamError: a parameter does not exist, or a value is not valid.
            PluginError: the spec's ``configure`` fails.
        """
        owner = f"{self.spec.kind} '{self.spec.name}'"
        values = complete(params, self.spec.params, owner)
        if self.spec.configure is None:
            return values
        with self.blaming("its configure failed"):
            return complete(self.spec.configure(values, self.config), self.spec.params, owner)

    def create(self: Registration[Spec[ObjectT_co]], params: Mapping[str, Any]) -> ObjectT_co:
        """Import the heavy class and create the object.

        Raises:
            PluginError: the class cannot be imported, rejects its parameters or lacks a method.
            MtbenchError: raised by its ``__init__``.
        """
        module_name, _, attribute = self.spec.factory.partition(":")
        try:
            factory: Any = importlib.import_module(module_name or self.plugin.module)
            for part in attribute.split("."):
                factory = getattr(factory, part)
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
            why = explain_import(trouble, self.plugin)
            text, remedy = why or (trouble, "install its requirements, or correct the factory in its spec")
            raise PluginError(
                f"its class {self.spec.factory} cannot be imported: {text}",
                where=self.blame,
                remedy=remedy[0].upper() + remedy[1:],
            ) from error
        with self.blaming(f"{attribute} cannot be created"):
            try:
                plugin: ObjectT_co = factory(**params)
            except TypeError as error:
                raise PluginError(
                    f"{attribute} does not take the declared parameters: {error}",
                    where=self.blame,
                    expected="a class whose __init__ takes " + (", ".join(params) or "nothing"),
                ) from error
        names = [name for contract in self.ask(self.spec.requires, plugin, params) for name in methods(contract)]
        if lacking := [name for name in names if not callable(getattr(plugin, name, None))]:
            # Checked before a fit, not after it when the fit cannot be saved.
            raise PluginError(
                f"{attribute} has no method " + ", ".join(f"{name}()" for name in lacking),
                where=self.blame,
                expected="all methods that its kind requires",
                matches=close_matches(lacking[0], [name for name in dir(plugin) if not name.startswith("_")]),
            )
        return plugin


class Registry:
    """All specs that plugins have registered, by kind and name.

    A kind is named by its word ("metric"), or by its spec's class, which also types the result.

    Args:
        config: the user's ``mtbench.toml``.
    """

    def __init__(self, config: UserConfig | None = None) -> None:
        self.config = config or UserConfig()
        self.plugins: list[Plugin] = []
        self.manager = pluggy.PluginManager("mtbench")
        self.manager.add_hookspecs(hookspecs)
        self._specs: dict[tuple[str, str], Registration[Any]] = {}

    def names(self, kind: str) -> list[str]:
        """Names of all specs of a kind, sorted."""
        return sorted(name for k, name in self._specs if k == kind)

    @overload
    def get(self, kind: type[SpecT], name: str) -> Registration[SpecT]: ...
    @overload
    def get(self, kind: str, name: str) -> Registration[Any]: ...
    def get(self, kind: type[SpecT] | str, name: str) -> Registration[Any]:
        """The spec of that kind and name.

        Raises:
            RequestError: there is none; the text lists close matches and a broken plugin that may have provided it.
        """
        word = kind if isinstance(kind, str) else kind.kind
        if (word, name) in self._specs:
            return self._specs[word, name]
        names = self.names(word)
        raise RequestError(
            f"unknown {word} '{name}'",
            matches=close_matches(name, names),
            expected="one of " + ", ".join(names) if names else None,
            remedy=self.problem_of(name) or provider(word, name) or "`mtbench plugins` lists what is installed",
        )

    @overload
    def call(self, kind: type[SpecT], text: str) -> tuple[Registration[SpecT], dict[str, Any]]: ...
    @overload
    def call(self, kind: str, text: str) -> tuple[Registration[Any], dict[str, Any]]: ...
    def call(self, kind: type[SpecT] | str, text: str) -> tuple[Registration[Any], dict[str, Any]]:
        """The spec and the explicit parameters, by name, of ``NAME`` or ``NAME:p=v,...``.

        Raises:
            RequestError: the plugin does not exist.
            ParamError: a value without a name cannot be assigned.
        """
        name, params, positional = parse_call(text)
        registration: Registration[Any] = self.get(kind, name)
        return registration, registration.spec.by_name(params, positional)

    def default(self, kind: type[DefaultT]) -> str:
        """The name of the default executor or exporter.

        Raises:
            RequestError: no plugin is declared as the default.
        """
        for registration in self._specs.values():
            if isinstance(registration.spec, kind) and registration.spec.default:
                return registration.spec.name
        raise RequestError(
            f"there is no default {kind.kind}",
            expected="a name: one of " + ", ".join(self.names(kind.kind)) if self.names(kind.kind) else None,
            remedy="`mtbench plugins` lists what is installed",
        )

    def problem_of(self, name: str) -> str | None:
        """The problem of a rejected plugin that may have provided ``name``: it has that name or is a user's file."""
        for plugin in self.plugins:
            names = [each.replace("_", "-") for each in (plugin.name, *(spec for _, spec in plugin.specs))]
            if plugin.problem and (plugin.path or name.replace("_", "-") in names):
                return f"The plugin '{plugin.name}' of {plugin.origin} was rejected: {plugin.problem}"
        return None

    def add(self, plugin: Plugin, spec: Spec[Any] | SuiteSpec) -> None:
        """Register one spec; if its name is taken, the new spec is rejected."""
        other = self._specs.get((spec.kind, spec.name))
        if other is not None:
            plugin.set_aside(
                f"{spec.kind} '{spec.name}' is already registered by '{other.plugin.name}' of {other.plugin.origin}",
                f"rename one of them, or uninstall {plugin.distribution if not plugin.path else 'one'}",
            )
            return
        plugin.specs.append((spec.kind, spec.name))
        self._specs[spec.kind, spec.name] = Registration(spec, plugin, self.config)
