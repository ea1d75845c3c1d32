"""Plugin parameters: their declaration, their types, and their text form."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, get_args

from mtbench.errors import ParamError, close_matches
from mtbench.integers import brief, fits

Kind = Literal["int", "float", "str", "bool", "path", "list", "table"]
ParamRole = Literal["checkpoint", "weights", "preset", "jobs"]

_KIND_OF: dict[type, Kind] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    tuple: "list",
    dict: "table",
}


@dataclass(frozen=True)
class Param:
    """One declared parameter.

    Args:
        default: its default value; ``None`` means "not set".
        kind: its type, as a word or as a Python type (``Path`` for "path"); by default the type of ``default`` if that
            is not ``None``. A ``path`` is relative to the suite's folder, and the content of the file or folder becomes
            part of the unit's identity.
        choices: the allowed values.
        minimum, maximum: inclusive bounds of a number.
        help: one line for ``mtbench plugins NAME``.
        runs_program: whether its value is run as a program, or changes what a program does. It may be set on the
            command line and in the user's own ``mtbench.toml``; a suite file that sets it is rejected without
            ``--trust-suite``. Tables and exports do not show it.
        required: whether a unit fails without a value; ``mtbench run`` then refuses before any unit starts.
        identity: whether another value may change a result. ``False`` omits it from the unit's key (a time limit).
        role: how mtbench itself uses it, regardless of its name:

            - "checkpoint": a translator's weight file, trained elsewhere (``mtbench translate --checkpoint``); a path.
            - "weights": a weight file that replaces the catalogued ones (``mtbench score --weights``); a path.
            - "preset": follows another program's convention of a metric (``mtbench score --preset``); has ``choices``.
            - "jobs": the number of units that an executor runs at the same time (``mtbench run --jobs``).
    """

    default: Any = None
    kind: Kind | type | None = None
    choices: tuple[object, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""
    runs_program: bool = False
    required: bool = False
    identity: bool = True
    role: ParamRole | None = None

    @property
    def shown(self) -> bool:
        """Whether tables and exports may show its value, which must not name files or programs of one machine."""
        return self.kind != "path" and not self.runs_program

    def __post_init__(self) -> None:
        if isinstance(self.default, PurePath):
            object.__setattr__(self, "default", str(self.default))
            object.__setattr__(self, "kind", self.kind or "path")
        if isinstance(self.kind, type):
            kind = "path" if issubclass(self.kind, PurePath) else _KIND_OF.get(self.kind)
            if kind is None:
                raise TypeError(f"a Param has kind={self.kind.__name__}; kinds are {', '.join(get_args(Kind))}")
            object.__setattr__(self, "kind", kind)
        if self.kind is not None and self.kind not in get_args(Kind):
            raise TypeError(f"a Param has kind={self.kind!r}; kinds are {', '.join(get_args(Kind))}")
        if self.kind is None:
            if type(self.default) not in _KIND_OF:
                raise TypeError(
                    f"a Param whose default is {self.default!r} needs kind='int', 'float', 'str', 'bool', 'path', "
                    "'list' or 'table'"
                )
            object.__setattr__(self, "kind", _KIND_OF[type(self.default)])
        if self.role is not None and self.role not in get_args(ParamRole):
            raise TypeError(f"a Param has the role {self.role!r}; roles are {', '.join(get_args(ParamRole))}")
        if self.role in ("checkpoint", "weights") and self.kind != "path":
            raise TypeError(f"a Param with the role {self.role!r} needs kind='path'")


def convert(name: str, raw: object, param: Param, owner: str) -> Any:
    """``raw`` as the type that ``param`` declares.

    Raises:
        ParamError: the value has another type, is out of bounds or is not among the choices.
    """
    if raw is None:
        if param.default is None:
            return None
        raise ParamError(f"parameter '{name}' may not be empty", where=owner)
    try:
        value = _as_kind(raw, param.kind)
    except (TypeError, ValueError, OverflowError):
        raise ParamError(
            f"parameter '{name}' is {brief(raw)}", where=owner, expected=f"a value of type {param.kind}"
        ) from None
    matches: Sequence[str] = ()
    if param.kind == "int" and not fits(value):
        expected = "a whole number of 64 bits"
    elif param.choices is not None and value not in param.choices:
        expected = "one of " + ", ".join(repr(c) for c in param.choices)
        matches = close_matches(str(value), [str(c) for c in param.choices])
    elif param.minimum is not None and value < param.minimum:
        expected = f"at least {_text(param.minimum)}"
    elif param.maximum is not None and value > param.maximum:
        expected = f"at most {_text(param.maximum)}"
    else:
        return value
    raise ParamError(f"parameter '{name}' is {brief(value)}", where=owner, expected=expected, matches=matches)


def complete(values: Mapping[str, Any], params: Mapping[str, Param], owner: str) -> dict[str, Any]:
    """All declared parameters; ``values`` override the defaults.

    Raises:
        ParamError: ``values`` contains an unknown parameter or an invalid value.
    """
    for name in values:
        if name not in params:
            raise ParamError(
                f"unknown parameter '{name}'",
                where=owner,
                matches=close_matches(name, params),
                expected=("one of " + ", ".join(params)) if params else "no parameters",
            )
    return {
        name: convert(name, values[name], param, owner) if name in values else param.default
        for name, param in params.items()
    }


def parse_call(text: str) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Split ``name:p=1,q=x`` or ``name[p=1,q=x]`` into name, parameters and values without a name.

    Values that look like TOML scalars (``5``, ``1e-4``, ``true``) are read as such, all others as text.
    """
    text = text.strip()
    if text.endswith("]") and "[" in text:
        name, _, rest = text[:-1].partition("[")
    else:
        name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    positional: list[str] = []
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = item.partition("=")
        if equals:
            params[key.strip()] = scalar(value.strip())
        else:
            positional.append(item)
    return name.strip(), params, tuple(positional)


def format_call(name: str, params: Mapping[str, Any]) -> str:
    """The printed form, ``name[p=1,q=x]``; only the name without parameters."""
    if not params:
        return name
    return f"{name}[{','.join(f'{k}={_text(v)}' for k, v in sorted(params.items()))}]"


def scalar(text: str) -> bool | float | str:
    """A value from the command line: true/false, an integer, a float, or the text itself.

    Text that only resembles a number (a folder ``2024_01`` or ``007``) stays text; a numeric parameter converts it.
    """
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = kind(text)
            if _text(number) == text or re.fullmatch(r"-?\d(\.\d+)?e[+-]?\d+", text):
                return number
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _as_kind(value: Any, kind: Kind | type | None) -> Any:
    """``value`` as a value of a kind; ``TypeError``, ``ValueError`` or ``OverflowError`` if that is impossible."""
    match kind:
        case "int" if not isinstance(value, bool) and not (isinstance(value, float) and not value.is_integer()):
            return int(value)
        case "float" if not isinstance(value, bool) and not math.isnan(number := float(value)):
            return number
        case "bool" if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false")):
            return value if isinstance(value, bool) else value.lower() == "true"
        case "list" if not isinstance(value, (str, dict)):
            return list(value)
        case "table" if isinstance(value, Mapping):
            return dict(value)
        case "str" | "path" if not isinstance(value, (dict, list)):
            return value if isinstance(value, str) else _text(value)
    raise TypeError(value)
