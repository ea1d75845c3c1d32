"""The declaration. The interpreter of the other environment comes from the user's own ``mtbench.toml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench.registry.userconfig import UserConfig


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``own-environment``."""
    yield mtbench.TranslatorSpec(
        "own-environment",
        "mtbench_own_environment.model:OwnEnvironment",
        params={
            "name": mtbench.Param("default", help="a table [environments.NAME] in your own mtbench.toml"),
            # It is run as a program, so no suite may set it and no table shows it.
            "python": mtbench.Param(None, "str", runs_program=True, help="the interpreter, in place of the table's"),
            "revision": mtbench.Param("1", help="raise it when packages of that environment have changed"),
            "noise": mtbench.Param(0.02, minimum=0.0, help="standard deviation of the noise that the model draws"),
            # It changes no result, so it is not part of the key.
            "timeout": mtbench.Param(3600.0, minimum=0.1, identity=False, help="seconds after which it is stopped"),
        },
        shorthand="name",
        stochastic=lambda params: params["noise"] > 0,
        configure=configure,
        description="a model in its own virtual environment",
    )


def configure(params: Mapping[str, Any], config: UserConfig) -> Mapping[str, Any]:
    """The parameters, with interpreter and revision of ``[environments.NAME]``.

    mtbench calls this while it plans, so the revision is part of the unit's key.

    Raises:
        RequestError: the table is missing or has another key.
    """
    if params["python"] is not None:
        return params
    table = config.table("environments", params["name"], ("python", "revision"))
    if not isinstance(python := table.values.get("python"), str):
        raise mtbench.PluginError("it names no interpreter", where=table.where, expected='python = "VENV/bin/python"')
    return {**params, "python": python, "revision": str(table.values.get("revision", params["revision"]))}
