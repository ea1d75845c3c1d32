"""The command line: one file per verb, loaded when it is called."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from mtbench.errors import DataError, MtbenchError, MtbenchWarning, StoreError, Terminated, close_matches, shorten
from mtbench.openmp import wait_briefly

COMMANDS = {
    "run": "run a benchmark suite",
    "plan": "show what a suite would compute, reuse and skip",
    "score": "compute metrics for two folders of images, without a suite",
    "translate": "run a trained translator on new images or volumes",
    "export": "write a results table as Markdown, CSV, LaTeX, HTML or JSON",
    "correlate": "correlate perceptual with segmentation metrics",
    "compare": "compare two results cell by cell",
    "report": "write an HTML report, or one figure",
    "results": "show, merge and verify results directories",
    "kit": "let another laboratory add rows without your target images",
    "data": "list, prepare, check and export data sets",
    "store": "disk usage and clean-up; verify artefacts; adopt a trained model",
    "weights": "list, download and add weight files of feature networks",
    "worker": "run one unit (used by executors)",
    "new": "write a plugin to be edited: a distribution, or one file",
    "check": "check that a plugin meets the requirements of its kind",
    "plugins": "list plugins, or show one and its parameters",
    "registry": "search the catalogue of plugins, weights, data sets and suites",
    "doctor": "check this machine: versions, GPU, disk, weights, plugins",
}


class LazyGroup(click.Group):
    """Imports a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a verb; close matches for a misspelt one."""
        if name not in COMMANDS:
            if name.startswith("-") or ctx.resilient_parsing:
                return None
            matches = close_matches(name, COMMANDS)
            hint = f" Did you mean '{matches[0]}'?" if matches else ""
            raise click.UsageError(f"There is no command '{name}'.{hint}", ctx)
        command: click.Command = importlib.import_module(f"mtbench.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for --help, without importing the verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mtbench", prog_name="mtbench")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Reproducible judgements of medical image translation.

    Start with `mtbench run quickstart`.
    """


def main(args: list[str] | None = None) -> None:
    """The console script. Exit codes: 0 fine, 1 some units failed, 2 the request was wrong."""
    arguments = sys.argv[1:] if args is None else args
    debug = "--debug" in arguments
    wait_briefly()
    _prepare_streams()
    try:
        with _plain_warnings():
            result = cli.main(args=[a for a in arguments if a != "--debug"], prog_name="mtbench", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt) as error:
        _say("Stopped. Finished units are kept; rerun the same command to resume.")
        # click turns what was raised into an Abort.
        sys.exit(143 if isinstance(error.__cause__ or error, Terminated) else 130)
    except MtbenchError as error:
        if debug:
            traceback.print_exc()
        _say(str(error))
        sys.exit(1 if isinstance(error, (StoreError, DataError)) else 2)
    except BrokenPipeError:
        # The reader of a pipe went away (`mtbench export ... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        sys.exit(_unforeseen(error))
    sys.exit(result if isinstance(result, int) else 0)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings of mtbench as a line of text, each once; those of others as ever."""
    with warnings.catch_warnings():
        plain = warnings.showwarning
        warnings.simplefilter("default", MtbenchWarning)

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if isinstance(message, MtbenchWarning):
                click.echo(f"Note: {message}", err=True)
            else:
                plain(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _prepare_streams() -> None:
    from mtbench.screen import prepare_streams

    prepare_streams()


_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full (your quota is used up)",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "this is a folder, not a file",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "this location is read-only",
    errno.ELOOP: "the path is a loop of symbolic links",
    errno.EMFILE: "too many files are open (see `ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk cannot be read or written",
    errno.ESTALE: "the network disk has lost this file",
    errno.ENOMEM: "not enough memory",
}
"""What the operating system refuses, by its number: the surroundings are at fault then, not mtbench."""


def _unforeseen(error: Exception) -> int:
    """Say what stopped a command and was foreseen nowhere; the exit code. Needs no room on any disk."""
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        where = shorten(str(error.filename), 200) if error.filename else ""
        _say(f"{where}: {_REFUSALS[error.errno]}." if where else f"{_REFUSALS[error.errno].capitalize()}.")
        return 1
    if isinstance(error, MemoryError):
        _say(f"There is not enough memory ({error}). Ask for less at once: a smaller size, batch or number of jobs.")
        return 1
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mtbench-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
        where = f"the traceback is in {file.name}. Run the command with --debug to see it here"
    except OSError as full:
        with contextlib.suppress(NameError, OSError):
            os.unlink(file.name)
        traceback.print_exc()
        where = f"the traceback stands above, for the folder of temporary files cannot be written: {full.strerror}"
    _say(
        f"mtbench met an error it did not expect ({type(error).__name__}: {shorten(str(error), 500)}). "
        f"This is a bug; {where}."
    )
    return 1


def _say(text: str) -> None:
    from mtbench.screen import Screen

    console = Screen(stderr=True, highlight=False)
    console.print("[red]Error:[/] ", end="") if console.is_terminal else console.print("Error: ", end="")
    console.print(text, markup=False, soft_wrap=not console.is_terminal)
