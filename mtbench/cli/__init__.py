"""The command line: one file per verb, imported when the verb is called."""

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

from mtbench import __version__
from mtbench.errors import DataError, MtbenchError, MtbenchWarning, StoreError, Terminated, close_matches, shorten
from mtbench.openmp import wait_briefly

COMMANDS = {
    "run": "run a benchmark suite",
    "plan": "show what a suite would compute, reuse and skip",
    "score": "compute metrics for two folders of images, without a suite",
    "stress": "damage images in steps and see which metrics notice",
    "translate": "run a trained translator on new images or volumes",
    "export": "write a results table as Markdown, CSV, LaTeX, HTML or JSON",
    "correlate": "correlate perceptual with segmentation metrics",
    "checkpoints": "show metrics over training and the regret of their choices",
    "ledger": "list structures that translations added, lost or moved",
    "rank": "rank teams by the rule of a challenge, beside other rules",
    "compare": "compare two results cell by cell",
    "report": "write an HTML report, or one figure",
    "results": "show, merge and verify results directories",
    "kit": "let another laboratory add rows without your target images",
    "data": "list, prepare, check and export data sets",
    "store": "disk usage and clean-up; verify artefacts; adopt a trained model",
    "weights": "list, download and add weight files of feature networks",
    "worker": "run one unit (used by executors)",
    "new": "write a plugin to start from: a distribution, or one file",
    "check": "check that a plugin meets the requirements of its kind",
    "plugins": "list plugins, or show one and its parameters",
    "registry": "search the catalogue of plugins, weights, data sets and suites",
    "doctor": "check this machine: versions, GPU, disk, weights, plugins",
}


class LazyGroup(click.Group):
    """Imports a verb's module when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which users need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a verb; a misspelt verb is an error that names the closest match."""
        if name not in COMMANDS:
            if name.startswith("-") or ctx.resilient_parsing:
                return None
            matches = close_matches(name, COMMANDS)
            hint = f" Did you mean '{matches[0]}'?" if matches else ""
            raise click.UsageError(f"unknown command '{name}'.{hint}", ctx)
        command: click.Command = importlib.import_module(f"mtbench.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for --help, without importing the verbs."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mtbench")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Reproducible evaluation of medical image translation.

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
        # click has converted the original exception to an Abort.
        sys.exit(143 if isinstance(error.__cause__ or error, Terminated) else 130)
    except MtbenchError as error:
        if debug:
            traceback.print_exc()
        _say(str(error))
        sys.exit(1 if isinstance(error, (StoreError, DataError)) else 2)
    except BrokenPipeError:
        # The reader of a pipe has closed it (`mtbench export ... | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        sys.exit(_unforeseen(error))
    sys.exit(result if isinstance(result, int) else 0)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print each warning of mtbench once, as a line of text; other warnings are printed as Python does."""
    with warnings.catch_warnings():
        plain = warnings.showwarning
        warnings.simplefilter("default", MtbenchWarning)

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if isinstance(message, MtbenchWarning):
                click.echo(f"warning: {message}", err=True)
            else:
                plain(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _prepare_streams() -> None:
    from mtbench.screen import prepare_streams

    prepare_streams()


_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is exceeded",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "part of the path is a file, not a folder",
    errno.EISDIR: "this is a folder, not a file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "this location is read-only",
    errno.ELOOP: "the path is a loop of symbolic links",
    errno.EMFILE: "too many files are open (see `ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk reported a read or write error",
    errno.ESTALE: "the network disk no longer has this file",
    errno.ENOMEM: "not enough memory",
}
"""Errors of the operating system, by number. The environment causes them, not a bug in mtbench."""


def _unforeseen(error: Exception) -> int:
    """Report an exception that no code has caught; return the exit code. Works on a full disk."""
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        where = shorten(str(error.filename), 200) if error.filename else ""
        _say(f"{where}: {_REFUSALS[error.errno]}." if where else f"{_REFUSALS[error.errno].capitalize()}.")
        return 1
    if isinstance(error, MemoryError):
        _say(f"Out of memory ({error}). Use a smaller image size, a smaller batch or fewer jobs.")
        return 1
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mtbench-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
        where = f"the traceback is in {file.name}. Use --debug to print it here"
    except OSError as full:
        with contextlib.suppress(NameError, OSError):
            os.unlink(file.name)
        traceback.print_exc()
        where = f"the traceback is printed above, because mtbench cannot write to the temporary folder: {full.strerror}"
    _say(f"unexpected error ({type(error).__name__}: {shorten(str(error), 500)}). This is a bug in mtbench; {where}.")
    return 1


def _say(text: str) -> None:
    from mtbench.screen import Screen

    console = Screen(stderr=True, highlight=False)
    console.print("[red]Error:[/] ", end="") if console.is_terminal else console.print("Error: ", end="")
    console.print(text, markup=False, soft_wrap=not console.is_terminal)
