"""The base class of the specs of all kinds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from mtbench.errors import ParamError, PluginError
from mtbench.registry.params import Param, ParamRole, convert
from mtbench.registry.userconfig import UserConfig
from mtbench.typed import Rule, Wording, check_fields

Params = Mapping[str, Any]
ObjectT_co = TypeVar("ObjectT_co", covariant=True)
"""The object that the factory of a spec returns."""

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_FACTORY = re.compile(r"([A-Za-z_][\w.]*)?:[A-Za-z_][\w.]*")


def is_factory(text: str) -> bool:
    """Whether a text names a class as ``Spec.factory`` does."""
    return _FACTORY.fullmatch(text) is not None


@dataclass(frozen=True)
class Spec(Generic[ObjectT_co]):
    """The fields of all kinds. The methods of each kind's class are in :mod:`mtbench.registry.contracts`.

    Args:
        name: its name for users; lower case letters, digits, ``-``, ``_`` and ``.``.
        factory: ``"package.module:Class"``, imported when a unit needs it and called with the parameters as keyword
            arguments; ``":Class"`` is a class of the module that contains the hook.
        params: parameters with their defaults, plain values or ``mtbench.Param``.
        revision: change it if the same parameters give different results; it is part of every unit's key.
        description: one line for listings.
        citation: how to cite what it implements.
        licence: of the method's original code or weights, if users must know it.
        shorthand: the parameter that a value without a name sets (``swd:karras``).
        weights: names of the catalogued weight files that it requires; checked before any unit starts.
        configure: a function of the complete parameters and the user's ``mtbench.toml`` that returns the parameters in
            effect; it is called during planning, so that settings from that file are part of the unit's key.
    """

    kind: ClassVar[str] = ""
    contract: ClassVar[type] = object

    name: Annotated[
        str,
        Rule("lower case letters, digits, '-', '_' and '.'", _NAME.fullmatch, "this is not a usable name"),
    ]
    factory: Annotated[str, Rule("'package.module:Class' or ':Class'", is_factory, of_type=False)]
    params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    revision: str = field(default="1", kw_only=True)
    description: str = field(default="", kw_only=True)
    citation: str = field(default="", kw_only=True)
    licence: str = field(default="", kw_only=True)
    shorthand: str | None = field(default=None, kw_only=True)
    weights: tuple[str, ...] = field(default=(), kw_only=True)
    configure: Callable[[Params, UserConfig], Params] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        where = f"{type(self).__name__} {self.name!r}"
        check_fields(self, where)
        try:
            params = {name: each if isinstance(each, Param) else Param(each) for name, each in self.params.items()}
        except (TypeError, KeyError, AttributeError) as error:
            raise PluginError(f"params cannot be read: {error}", where=where) from error
        for name, param in params.items():
            if not name.isidentifier():
                raise PluginError(f"a parameter has the name {name!r}", where=where, expected="a Python name")
            try:
                convert(name, param.default, param, where)
            except ParamError as error:
                raise PluginError(f"the default of {error.what}", where=where, expected=error.expected) from error
        roles = [param.role for param in params.values() if param.role]
        for role in roles:
            if roles.count(role) > 1:
                raise PluginError(f"two parameters have the role '{role}'", where=where, expected="one")
        object.__setattr__(self, "params", MappingProxyType(params))
        if self.shorthand is not None and self.shorthand not in params:
            raise PluginError(f"shorthand {self.shorthand!r} is not a parameter", where=where)

    def requires(self, plugin: object, params: Params) -> tuple[type, ...]:
        """The protocols that ``plugin``, an object of the factory, must implement with these parameters."""
        return (self.contract,)

    def param_for(self, role: ParamRole) -> str | None:
        """The name of the parameter with this role; ``None`` if no parameter has it."""
        return next((name for name, param in self.params.items() if param.role == role), None)

    def by_name(self, params: Params, positional: tuple[str, ...]) -> dict[str, Any]:
        """Parameters, including a value without a name, which is assigned to ``shorthand``.

        Raises:
            ParamError: several values have no name, or there is no shorthand.
        """
        if not positional:
            return dict(params)
        if self.shorthand is None or len(positional) > 1:
            raise ParamError(
                f"'{positional[-1]}' has no name",
                where=f"{self.kind} '{self.name}'",
                expected=f"{self.name}:NAME=VALUE with NAME one of {', '.join(self.params) or 'nothing'}",
            )
        return {**params, self.shorthand: positional[0]}

    def answer(self, name: str, given: object, hint: Any) -> Any:
        """The field ``name``, or if it is a function its result for ``given``; it must have the type ``hint``.

        Raises:
            PluginError: it has another type.
        """
        value = getattr(self, name)
        where = f"{type(self).__name__} '{self.name}'"
        return Wording(PluginError, quoted=True).value(
            value(given) if callable(value) else value, hint, where=where, name=name
        )

    def weight_files(self, params: Params) -> tuple[str, ...]:
        """``weights``, unless a parameter names a file that replaces them."""
        has_file = any(param.role in ("checkpoint", "weights") and params[name] for name, param in self.params.items())
        return () if has_file else self.weights
