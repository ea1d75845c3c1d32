"""How a Python process of ours is started: without the current folder among the places it imports from.

``python -m`` and ``python -c`` put the current folder first on ``sys.path``, and an empty entry of ``PYTHONPATH``
stands for it as well. A ``torch.py`` in a downloaded folder would then run in place of torch.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

_HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that mtbench itself was imported from."""
_OURS = "mtbench"
"""The value of PYTHONSAFEPATH where mtbench has set it; Python takes any text for a yes."""


def command(*arguments: str, python: str = "") -> list[str]:
    """The command line: this Python, or ``python``, which adds no folder of its own to ``sys.path``."""
    return [python or sys.executable, "-P", *arguments]


def environment() -> dict[str, str]:
    """The environment of a process on this machine that imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(search_path())}


def plain_environment() -> dict[str, str]:
    """This process's environment; ``PYTHONPATH`` without empty entries."""
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    entries = [entry for entry in _pythonpath() if entry]
    return {**others, "PYTHONPATH": os.pathsep.join(entries)} if entries else others


@contextlib.contextmanager
def protected_children() -> Iterator[None]:
    """Keep the current folder away from Pythons that a library starts by itself, as torch.compile does with ``-c``.

    Only while that is needed: it also keeps a script from importing what lies beside it, and a plugin may start one.
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
    """The environment of a program of the user's: this process's, without what :func:`protected_children` has set."""
    return {name: value for name, value in os.environ.items() if (name, value) != ("PYTHONSAFEPATH", _OURS)}


def search_path() -> list[str]:
    """``sys.path`` without the current folder, unless the user put it there.

    It stays where ``PYTHONPATH`` names it (``/data/project``, ``.``), where the user's own program or an editable
    installation has added it, and where mtbench itself was imported from it.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it was deleted
        return [entry for entry in sys.path if os.path.isabs(entry)]
    path, given = list(sys.path), _pythonpath()
    wanted = here in {_HOME, *(os.path.realpath(entry) for entry in given if entry)}
    if not wanted and path and _run_as_module() and os.path.realpath(path[0]) == here:
        del path[0]
    if not wanted and "" in given:
        # Python has made the empty entry absolute.
        path = [entry for entry in path if os.path.realpath(entry) != here]
    return [os.path.abspath(entry) for entry in path if entry or wanted]


def leave_current_folder() -> None:
    """Have this process, and all that it starts, import from :func:`search_path`."""
    sys.path[:] = search_path()
    if "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in _pythonpath() if entry)


def _pythonpath() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return given.split(os.pathsep) if given else []


def _run_as_module() -> bool:
    """Whether this is ``python -m``, whose first place is the current folder."""
    # While Python looks for the module, argv says so; from then on, the main module does.
    main = sys.modules.get("__main__")
    return not sys.flags.safe_path and (sys.argv[:1] == ["-m"] or getattr(main, "__spec__", None) is not None)
