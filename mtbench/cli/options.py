"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mtbench.errors import RequestError

F = TypeVar("F", bound=Callable[..., Any])


def name_and_value(text: str) -> tuple[str, str]:
    """The two parts of ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise RequestError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def number_pair(option: str, text: str) -> tuple[float, float]:
    """The two numbers of ``LOW,HIGH``; errors name ``option``."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(f"{option} {text}", expected=f"{option} LOW,HIGH") from None
    return low, high


config_option = click.option(
    "--config",
    metavar="FILE",
    help="User configuration (default: MTBENCH_CONFIG, or mtbench.toml in the configuration folder).",
)
_CALL = "NAME[:p=v,...]"
_PLUGINS = (
    click.option(
        "--plugin",
        "plugin_files",
        multiple=True,
        metavar="FILE|DIR",
        help="Load plugins from a Python file or a project folder; repeatable.",
    ),
    click.option("--no-plugins", is_flag=True, help="Load built-in plugins only."),
)
_SUITE = (
    click.option(
        "-t",
        "--translator",
        "translators",
        multiple=True,
        metavar=_CALL,
        help="Only these translators; repeatable.",
    ),
    click.option("-d", "--dataset", "datasets", multiple=True, metavar=_CALL, help="Only these datasets."),
    click.option("-s", "--segmenter", "segmenters", multiple=True, metavar=_CALL, help="Only these segmenters."),
    click.option("-m", "--metric", "metrics", multiple=True, metavar=_CALL, help="Only these metrics."),
    click.option("--seed", "seeds", multiple=True, type=int, help="Seed of the translators; repeatable."),
    click.option(
        "--precision",
        type=click.Choice(["fp32", "tf32", "bf16"]),
        help="Numeric precision; results are kept separate by precision.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change a setting of the suite: seeds=[0,1], datasets.NAME.params.size=64.",
    ),
    click.option("--store", metavar="DIR", help="Store of artefacts (default: MTBENCH_STORE or the cache folder)."),
    config_option,
    click.option("--trust-suite", is_flag=True, help="Allow SUITE to run programs; they are listed first."),
)


def plugin_options(command: F) -> F:
    """``--plugin FILE`` and ``--no-plugins``."""
    for option in reversed(_PLUGINS):
        command = option(command)
    return command


def suite_options(command: F) -> F:
    """The options that select parts of a suite or change it."""
    for option in reversed(_SUITE):
        command = option(command)
    return command
