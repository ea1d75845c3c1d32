"""The fields of a dataclass against their annotations: what a plugin's author wrote may be of any type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from mtbench.errors import PluginError, close_matches


def check_fields(instance: Any, where: str) -> None:
    """Refuse a field whose value is not what its annotation says; lists become tuples, sets frozen ones.

    Args:
        instance: of a dataclass, frozen or not.
        where: what the message calls it.

    Raises:
        PluginError: a field is of another type, or none of the words that it may be.
    """
    kind: Any = type(instance)
    hints = _hints(kind)
    for field in fields(instance):
        value = fitted(getattr(instance, field.name), hints[field.name], where, field.name)
        object.__setattr__(instance, field.name, value)


def fitted(value: Any, hint: Any, where: str, name: str) -> Any:
    """``value`` as ``hint`` has it: a list as a tuple, a set as a frozen one.

    Raises:
        PluginError: it is something else; the text calls it ``name``.
    """
    tuples = [part for part in _choices(hint) if get_origin(part) is tuple]
    if isinstance(value, str) and tuples and not _fits(value, hint):
        raise PluginError(
            f"{name} is {value!r}, one text", where=where, expected=f"a tuple, with its comma: ({value!r},)"
        )
    if isinstance(value, list):
        value = tuple(value)
    elif isinstance(value, set):
        value = frozenset(value)
    if not _fits(value, hint):
        matches = close_matches(value, _literals(hint)) if isinstance(value, str) else ()
        raise PluginError(f"{name} is {value!r}", where=where, expected=_expected(hint), matches=matches)
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(word) and value == word for word in parts)
    if origin is Callable:
        return callable(value)
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return False
        each = parts[:1] * len(value) if parts[-1] is ... else parts
        return len(value) == len(each) and all(map(_fits, value, each))
    if origin is frozenset:
        return isinstance(value, (frozenset, set)) and all(_fits(each, parts[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(k, parts[0]) and _fits(v, parts[1]) for k, v in value.items())
    # What NumPy calls a number is one too, and True is none.
    wanted = {int: Integral, float: Real}.get(hint, origin or hint)
    return isinstance(value, wanted) and (hint is bool or not isinstance(value, bool))


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _literals(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [word for part in get_args(hint) if get_origin(hint) is not Callable for word in _literals(part)]


def _expected(hint: Any) -> str:
    words = ", ".join(repr(word) for word in _literals(hint))
    if words:
        several = any(get_origin(part) is tuple for part in _choices(hint))
        return ("a tuple of " if several else "one of ") + words
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return "a value of type " + re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)
