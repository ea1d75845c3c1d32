"""Starts Python processes without the current folder on their search path.

``python -m`` and ``python -c`` put the current folder first on ``sys.path``, and an empty entry of ``PYTHONPATH``
also means the current folder. A ``torch.py`` in a downloaded folder would then be imported instead of torch.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that mtbench was imported from."""
_OURS = "mtbench"
"""The value of PYTHONSAFEPATH if mtbench has set it; Python treats any text as true."""


def command(*arguments: str, python: str = "") -> list[str]:
    """The command line: this Python, or ``python``, with the option that keeps the current folder off ``sys.path``."""
    return [python or sys.executable, "-P", *arguments]


def environment() -> dict[str, str]:
    """The environment for a process on this machine with the same imports as this one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search_path())}


def plain_environment() -> dict[str, str]:
    """This process's environment; ``PYTHONPATH`` without empty entries."""
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    entries = [entry for entry in _pythonpath() if entry]
    return {**others, "PYTHONPATH": os.pathsep.join(entries)} if entries else others


@contextlib.contextmanager
def protected_children() -> Iterator[None]:
    """Keep the current folder off the path of Python processes that a library starts (torch.compile, with ``-c``).

    Use it only where needed: it also prevents a script from importing its neighbours, and a plugin may start one.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = before or _OURS
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONSAFEPATH", None)
        else:
            os.environ["PYTHONSAFEPATH"] = before


def users_environment() -> dict[str, str]:
    """The environment for a user's program: this process's, without the setting of :func:`protected_children`."""
    return {name: value for name, value in os.environ.items() if (name, value) != ("PYTHONSAFEPATH", _OURS)}


def search_path() -> list[str]:
    """``sys.path`` without the current folder, unless the user put it there.

    It stays if ``PYTHONPATH`` names it (``/data/project``, ``.``), if the user's own program or an editable
    installation has added it, and if mtbench was imported from it.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # the folder was deleted
        return [entry for entry in sys.path if os.path.isabs(entry)]
    path, given = list(sys.path), _pythonpath()
    wanted = here in {_HOME, *(os.path.realpath(entry) for entry in given if entry)}
    if not wanted and path and _run_as_module() and os.path.realpath(path[0]) == here:
        del path[0]
    if not wanted and "" in given:
        # Python has converted the empty entry to an absolute path.
        path = [entry for entry in path if os.path.realpath(entry) != here]
    return [os.path.abspath(entry) for entry in path if entry or wanted]


def leave_current_folder() -> None:
    """Make this process and its children import from :func:`search_path`."""
    sys.path[:] = search_path()
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in _pythonpath() if entry)


def _pythonpath() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return given.split(os.pathsep) if given else []


def _run_as_module() -> bool:
    """Whether this is ``python -m``, whose first search path is the current folder."""
    # While Python searches for the module, argv shows it; afterwards, the main module does.
    main = sys.modules.get("__main__")
    return not sys.flags.safe_path and (sys.argv[:1] == ["-m"] or getattr(main, "__spec__", None) is not None)
