"""Executors take their parameters from the command line and from the user's ``mtbench.toml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mtbench import Param

if TYPE_CHECKING:
    from mtbench.registry.userconfig import UserConfig

Configure = Callable[[Mapping[str, Any], "UserConfig"], Mapping[str, Any]]


def from_table(name: str, schema: Mapping[str, Param]) -> Configure:
    """The values of ``[executors.NAME]`` for parameters that the command line leaves at their default."""

    def configure(params: Mapping[str, Any], config: UserConfig) -> Mapping[str, Any]:
        if name not in config.names("executors"):
            return params
        table = config.table("executors", name, schema).values
        return {**params, **{key: table[key] for key in table if params[key] == schema[key].default}}

    return configure
