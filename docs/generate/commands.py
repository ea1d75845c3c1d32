"""The command line, from click's own objects."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from docstrings import cell

from mtbench.cli import cli
from mtbench.cli.verb import _SUBJECTS as SUBJECTS

INTRODUCTION = (
    "Every verb with its options, generated from the program itself. Exit codes: 0 success, 1 some units failed or "
    "data are damaged, 2 the request was wrong, 130 interrupted, 143 ended by SIGTERM."
)


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every verb and sub-verb with its full name, in the order of ``--help``."""
    context = click.Context(cli, info_name="mtbench", **cli.context_settings)
    yield from _below("mtbench", cli, context)


def _below(
    name: str, command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield name, command, context
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            sub = command.get_command(context, word)
            if sub is not None:
                yield from _below(f"{name} {word}", sub, click.Context(sub, info_name=word, parent=context))


def page() -> str:
    """The page "Command line"."""
    parts = ["# Command line", INTRODUCTION]
    parts += [_section(name, command, context) for name, command, context in commands()]
    return "\n\n".join(parts) + "\n"


def _section(name: str, command: click.Command, context: click.Context) -> str:
    level = "#" * min(len(name.split()) + 1, 4)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"{level} `{name}`", f"```text\n{usage}\n```", _help(command.help or "")]
    subject_of = {word: subject for subject, words in SUBJECTS.items() for word in words}
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    shown = [option for option in options if not option.hidden and "--help" not in option.opts]
    for subject in ("Options", *SUBJECTS):
        rows = [_option(each, context) for each in shown if subject_of.get(each.name or "", "Options") == subject]
        if rows:
            parts.append(f"| {subject.lower()} | | default |\n|---|---|---|\n" + "\n".join(rows))
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        links = [f"[`{word}`](#{_anchor(f'{name} {word}')})" for word in names]
        parts.append("Commands: " + ", ".join(links) + ".")
    return "\n\n".join(part for part in parts if part)


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _help(text: str) -> str:
    """Help text; the examples at its end as code."""
    text, _, examples = inspect.cleandoc(text).partition("\n\nExamples:\n")
    return text + (f"\n\n```sh\n{inspect.cleandoc(examples)}\n```" if examples else "")


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    metavar = "" if option.is_flag else f" `{option.make_metavar(context)}`"
    default = option.get_default(context) if option.show_default else None
    plain = isinstance(default, (str, int, float)) and not isinstance(default, bool)
    return f"| {names}{metavar} | {cell(option.help or '')} | {default if plain else ''} |"
