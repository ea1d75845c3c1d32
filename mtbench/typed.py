"""Raw values held against the annotations of a dataclass: TOML, JSON, and what plugins hand over.

The dataclass is the declaration: its annotations give the types (``Literal`` for choices), a :class:`Rule` in
``Annotated`` says what a type cannot, and its defaults are the values of what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from mtbench.errors import MtbenchError, PluginError, close_matches

T = TypeVar("T")


@dataclass(frozen=True)
class Rule:
    """In ``Annotated``, beside a type: what the type cannot say. A function there converts the raw value first.

    Attributes:
        expected: what a message says was expected; empty: what the type itself says.
        fits: whether a value of the right type will do.
        what: what a message says of a wrong ``{value}``; empty: as for all fields.
        of_type: whether ``expected`` and ``what`` hold for a value of another type too.
    """

    expected: str = ""
    fits: Callable[[Any], object] = lambda value: True
    what: str = ""
    of_type: bool = True


@dataclass(eq=False)
class MismatchError(ValueError):
    """A value that its annotation refuses.

    Attributes:
        expected, what: the texts of the message.
        words, matches: the choices that end ``expected``, and those that resemble the value.
        own: whether a rule or a converter says so, and so the text is better than that of what is around it.
        several: whether a tuple would do.
    """

    expected: str = ""
    what: str = ""
    words: tuple[str, ...] = ()
    matches: tuple[str, ...] = ()
    own: bool = True
    several: bool = False

    def __str__(self) -> str:
        return ", expected ".join(filter(None, (self.what, self.sentence(quoted=True))))

    def sentence(self, quoted: bool) -> str:
        """What was expected, the choices in quotes or without."""
        words = ", ".join(repr(word) if quoted else word for word in self.words)
        return f"{self.expected} {words}".strip()


@dataclass(frozen=True)
class Wording:
    """How messages about a kind of table are written.

    Attributes:
        error: the class that is raised.
        unknown: of a key that does not exist, with ``{name}``.
        wrong: of a value, with ``{name}`` and ``{value}``.
        quoted: whether choices stand in quotes, as in Python.
    """

    error: type[MtbenchError]
    unknown: str = "there is no key '{name}'"
    wrong: str = "{name} is {value!r}"
    quoted: bool = False

    def value(self, raw: object, hint: Any, name: str, where: str) -> Any:
        """``raw`` as ``hint`` has it.

        Raises:
            MtbenchError: it does not fit.
        """
        try:
            return as_type(raw, hint)
        except MismatchError as mismatch:
            if isinstance(raw, str) and mismatch.several:
                mismatch = MismatchError(f"a tuple, with its comma: ({raw!r},)", f"{name} is {raw!r}, one text")
            what = mismatch.what or self.wrong.format(name=name, value=raw)
            expected = mismatch.sentence(self.quoted)
            raise self.error(what, where=where, expected=expected, matches=mismatch.matches) from None

    def check_keys(self, raw: Iterable[str], names: Iterable[str], where: Callable[[str], str]) -> None:
        """Refuse a key that is none of ``names``.

        Raises:
            MtbenchError: there is one.
        """
        names = list(names)
        for name in raw:
            if name not in names:
                what, expected = self.unknown.replace("{name}", name), "one of " + ", ".join(names)
                raise self.error(what, where=where(name), expected=expected, matches=close_matches(name, names))


def read(
    kind: Callable[..., T],
    raw: Mapping[str, Any],
    wording: Wording,
    where: Callable[[str], str],
    names: Iterable[str] = (),
    /,
    **preset: Any,
) -> T:
    """The dataclass ``kind`` that a raw table stands for; lists become tuples.

    Args:
        kind: the declaration.
        raw: as TOML, JSON or Python gives it.
        wording: how messages are written.
        where: the place of a key, for messages.
        names: the fields that the table may hold, where not all may.
        preset: fields that have their values already, whatever the table says.

    Raises:
        MtbenchError: a key is unknown, or a value does not fit.
    """
    hints = _hints(kind)
    wording.check_keys(raw, names or hints, where)
    values = {name: wording.value(raw[name], hints[name], name, where(name)) for name in raw if name not in preset}
    return kind(**values, **preset)


def check_fields(instance: object, where: str, error: type[MtbenchError] = PluginError) -> None:
    """Refuse a field whose value is not what its annotation says; lists become tuples, sets frozen ones.

    Args:
        instance: of a dataclass, frozen or not.
        where: what the message calls it.
        error: what is raised.

    Raises:
        MtbenchError: a field is of another type, or none of the words that it may be.
    """
    kind: Any = type(instance)
    wording = Wording(error, quoted=True)
    for name, hint in _hints(kind).items():
        object.__setattr__(instance, name, wording.value(getattr(instance, name), hint, name, where))


def as_type(value: object, hint: Any) -> Any:
    """``value`` as ``hint`` has it, with what TOML and JSON cannot write (tuples, sets, paths, whole numbers as keys).

    Raises:
        MismatchError: it does not fit.
    """
    if type(value) is hint:
        return value
    if get_origin(hint) is Annotated:
        return _by_rules(value, *get_args(hint))
    try:
        return _convert(value, hint, get_origin(hint), get_args(hint))
    except MismatchError as mismatch:
        if mismatch.own:
            raise
    except (ValueError, OverflowError):
        pass
    words = tuple(_literals(hint))
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    several = any(get_origin(kind) is tuple for kind in kinds)
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    kind = "a value of type " + re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)
    matches = close_matches(value, words) if isinstance(value, str) else ()
    expected = ("a tuple of" if several else "one of") if words else kind
    raise MismatchError(expected, words=words, matches=matches, own=False, several=several)


def _convert(value: object, hint: Any, origin: Any, parts: tuple[Any, ...]) -> Any:
    if origin in (Union, UnionType):
        refusal = MismatchError(own=False)
        for part in parts:
            try:
                return as_type(value, part)
            except MismatchError as mismatch:
                refusal = mismatch if mismatch.own else refusal
        raise refusal
    match value:
        case tuple() | list() if origin is tuple:
            kinds = parts[:1] * len(value) if parts[-1] is ... else parts
            return tuple(as_type(*pair) for pair in zip(value, kinds, strict=True))
        case tuple() | list() | set() | frozenset() if origin is frozenset:
            return frozenset(as_type(each, parts[0]) for each in value)
        case Mapping() if origin is Mapping:
            number = parts[0] is int
            keys = [int(key) if number and isinstance(key, str) else key for key in value]
            return {
                as_type(key, parts[0]): as_type(each, parts[1]) for key, each in zip(keys, value.values(), strict=True)
            }
        case Mapping() if isinstance(hint, type) and issubclass(hint, Record):
            return hint.from_json(value)
        case str() if hint is Path:
            return Path(value)
        case int() if hint is float and not isinstance(value, bool):
            return float(value)
    if origin is Literal:
        fits = any(type(value) is type(word) and value == word for word in parts)
    elif origin is Callable:
        fits = callable(value)
    else:
        # What NumPy calls a number is one too, and True is none.
        expected = {Any: object, int: Integral, float: Real}.get(hint, origin or hint)
        fits = isinstance(value, expected) and (hint in (bool, Any) or not isinstance(value, bool))
    if not fits:
        raise MismatchError(own=False)
    return value


def _by_rules(raw: object, hint: Any, *metadata: Any) -> Any:
    rules = [each for each in metadata if isinstance(each, Rule)]
    value = raw
    for each in metadata:
        value = value if isinstance(each, Rule) else each(value)
    try:
        value = as_type(value, hint)
    except MismatchError as mismatch:
        rule = next((rule for rule in rules if rule.of_type), None)
        if mismatch.own or rule is None:
            raise
        what = rule.what.format(value=raw)
        if rule.expected:
            raise MismatchError(rule.expected, what) from None
        raise MismatchError(mismatch.expected, what, mismatch.words, mismatch.matches) from None
    for rule in rules:
        if not rule.fits(value):
            raise MismatchError(rule.expected, rule.what.format(value=raw))
    return value


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def _literals(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [word for word in get_args(hint) if word]
    return [word for part in get_args(hint) if get_origin(hint) is not Callable for word in _literals(part)]


class Record:
    """A dataclass that is written to files and sent to other processes as JSON.

    Fields that hold their default are left out, so that a new field changes no hash of what was written before.
    """

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain JSON values; those that hold their default are left out."""
        content = {}
        for name, default in _defaults(type(self)):  # type: ignore[arg-type]  # a class is hashable
            value = getattr(self, name)
            if value != default:
                content[name] = _plain(value)
        return content

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The record that :meth:`to_json` wrote.

        Raises:
            ValueError: a field is unknown, missing or of another type; the text names it.
        """
        hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
        if not isinstance(raw, Mapping):
            raise MismatchError("a table", f"{cls.__name__} is {raw!r:.60}")
        if unknown := sorted(raw.keys() - hints.keys()):
            raise MismatchError(what=f"{cls.__name__} has no field '{unknown[0]}'")
        values = {}
        for name, value in raw.items():
            try:
                values[name] = as_type(value, hints[name])
            except MismatchError as mismatch:
                what = mismatch.what or f"{cls.__name__}.{name} is {value!r:.60}"
                raise MismatchError(mismatch.expected, what, mismatch.words) from None
        for name, default in _defaults(cls):  # type: ignore[arg-type]  # as above
            if default is MISSING and name not in values:
                raise MismatchError(what=f"{cls.__name__}: missing '{name}'")
        return cls(**values)


@cache
def _defaults(kind: Any) -> list[tuple[str, Any]]:
    """The fields of a dataclass with their defaults, which nobody may alter."""
    factories = ((f.name, f.default_factory, f.default) for f in fields(kind))
    return [(name, default if make is MISSING else make()) for name, make, default in factories]


def _plain(value: object) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(each) for each in value)
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
