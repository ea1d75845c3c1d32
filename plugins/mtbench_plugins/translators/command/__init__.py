"""The translator ``command``: a program of the user, in its own environment."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench.errors import ParamError, RequestError, close_matches
from mtbench.registry.params import complete
from mtbench.registry.userconfig import UserConfig
from mtbench_plugins.translators.command.placeholders import placeholders_in

FOUR_HOURS = 4 * 3600.0

PARAMS = {
    "name": mtbench.Param(
        None, "str", help="use the table [commands.NAME] of your mtbench.toml, which holds the command"
    ),
    "run": mtbench.Param(
        None, "str", runs_program=True, help="or the command itself, with {input} and {output}; not run by a shell"
    ),
    "env": mtbench.Param(
        {}, runs_program=True, help="environment variables to set; they are recorded, so put no secrets here"
    ),
    "format": mtbench.Param(
        "auto",
        choices=("auto", "png", "npy", "nifti"),
        help="format of the program's input: auto is PNG in the stored depth (float32: NPY)",
    ),
    "timeout": mtbench.Param(FOUR_HOURS, minimum=0.1, identity=False, help="time limit in seconds"),
    "revision": mtbench.Param("1", help="raise it when the program changes, to recompute its results"),
}
_TABLE = ("run", "env", "format", "timeout", "revision")


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``command``."""
    yield mtbench.TranslatorSpec(
        "command",
        "mtbench_plugins.translators.command.model:Command",
        params=PARAMS,
        shorthand="name",
        stochastic=lambda params: "seed" in placeholders_in(params["run"] or ""),
        conditional=lambda params: "masks" in placeholders_in(params["run"] or ""),
        configure=configure,
        description="your own program: a folder of images in, a folder of images out",
    )


def configure(params: Mapping[str, Any], config: UserConfig) -> Mapping[str, Any]:
    """The parameters, completed from ``[commands.NAME]``; those set explicitly take precedence.

    Raises:
        RequestError, ParamError: there is no such table, or its command cannot be run.
    """
    name, where = params["name"], "translator 'command'"
    if params["run"] is None and name is None:
        names = config.names("commands")
        raise ParamError(
            "no command is set",
            where=where,
            expected="command:name=NAME, with [commands.NAME] in your own mtbench.toml"
            + (f" ({', '.join(names)})" if names else "")
            + ", or command:run=... on the command line",
        )
    result = dict(params)
    if params["run"] is None:
        table = config.table("commands", name, _TABLE)
        values = dict(table.values)
        if isinstance(values.get("run"), list) and all(isinstance(part, str) for part in values["run"]):
            values["run"] = shlex.join(values["run"])
        if not isinstance(values.get("run"), str):
            raise RequestError(
                f"[commands.{name}] has no command",
                where=table.where,
                expected='run = "PROGRAM {input} {output}", or a list of strings',
            )
        values = complete(values, {key: PARAMS[key] for key in _TABLE}, table.where)
        where = table.where
        result |= {key: value for key, value in values.items() if params[key] == PARAMS[key].default}
    _check(result, where)
    return result


def _check(params: Mapping[str, Any], where: str) -> None:
    try:
        parts = shlex.split(params["run"])
    except ValueError as error:
        raise ParamError(f"run = {params['run']!r} cannot be read: {error}", where=where) from None
    names = placeholders_in(params["run"])
    placeholders = ("input", "output", "masks", "device", "seed")
    for unknown in sorted(names - set(placeholders)):
        raise ParamError(
            f"run has a placeholder {{{unknown}}}",
            where=where,
            expected="{input}, {output}, {masks}, {device} or {seed}; {{ and }} stand for braces",
            matches=close_matches(unknown, placeholders),
        )
    if not parts or not {"input", "output"} <= names:
        raise ParamError(
            f"run = {params['run']!r} does not contain both folders",
            where=where,
            expected="a command with {input} and {output}",
        )
    if not all(isinstance(value, str) for value in params["env"].values()):
        raise ParamError(f"env = {params['env']!r}", where=where, expected='strings, as in env = { LANG = "C" }')
