"""Removes names of people, machines and folders from the texts of a results directory, for blind reviews.

A run knows its working folders, the folders of the data and of the user, and the name of its machine, and writes them
to its journal beside the request. They are replaced by name, because no pattern finds the end of a path with spaces.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from urllib.parse import quote

import pyarrow as pa

from mtbench.results.entries import Attempt, Begun, Entry, RunAsked

SIGN = "…"
TEXTS = ("task_note", "translator_note", "without_interval", "note", "stale", "reason", "log")
"""Columns with sentences; names, parameters and caveats are the texts of plugins and are kept."""
_URL = re.compile(r"\b(?!file:)([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"`,;()\[\]<>]*[^\s'\"`,;()\[\]<>.:]")
_ACCOUNT = re.compile(r"(?<![\w.+-])[\w.+-]+@[A-Za-z][\w.-]*\w(?::(?=[\w~/]))?")
_ADDRESS = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\d)(?::\d+)?")
_ADDRESS_6 = re.compile(
    r"(?<![\w:.])(?=[0-9A-Fa-f:]*::|(?:[0-9A-Fa-f]+:){7})(?=[0-9A-Fa-f:]*[0-9A-Fa-f]{3})[0-9A-Fa-f:]*:[0-9A-Fa-f:]*(?:%\w+)?(?![\w:])"
)
_BELOW = r"(?P<below>(?:[/\\](?:[^/\\:'\"`,;()\[\]\n ]| (?![/\\]))*)*)"
_COMMON = {"", "/", "localhost", "localhost.localdomain"}
_NOBODY = {"root", "user", "users", "ubuntu", "admin", "nobody", "data", "test", "docker"}
"""Account names that identify nobody and also occur as words of sentences."""


def surroundings(paths: Iterable[str | os.PathLike[str]]) -> dict[str, list[str]]:
    """The folders and hosts of a run, for its journal.

    Args:
        paths: files and folders that the run uses.

    Returns:
        ``places``: these, and the folders of this process and its user; ``hosts``: the names of this machine and of
        the user's account.
    """
    everything = [*paths, os.path.expanduser("~"), sys.prefix, Path(__file__).parents[2]]
    for folder in (os.getcwd, tempfile.gettempdir):
        with contextlib.suppress(OSError):  # the folder was deleted
            everything.append(folder())
    places = {form for path in everything for form in (os.path.abspath(path), os.path.realpath(path))}
    variables = ("HOSTNAME", "SLURMD_NODENAME", "SLURM_SUBMIT_HOST", "SLURM_CLUSTER_NAME")
    hosts = {socket.gethostname(), *(os.environ.get(name, "") for name in variables)}
    with contextlib.suppress(OSError, KeyError, ImportError):  # the account is unknown
        hosts |= {getpass.getuser()} - _NOBODY
    return {"places": sorted(places - _COMMON), "hosts": sorted(hosts - _COMMON)}


def blinding(entries: Iterable[Entry]) -> Callable[[str], str]:
    """A function that removes the places and hosts of a journal's runs, URLs, accounts and addresses from a text."""
    places: set[str] = set()
    hosts: set[str] = set()
    for entry in entries:
        if isinstance(entry, RunAsked):
            places.update(entry.places, entry.options, (entry.suite, entry.out or ""))
            hosts.update(entry.hosts)
        elif isinstance(entry, Attempt | Begun):
            hosts.add(entry.host)
        if isinstance(entry, Begun) and len(PurePath(entry.beat).parts) > 3:
            places.add(str(PurePath(entry.beat).parents[2]))  # the store
    return _replacing({place for place in places if PurePath(place).is_absolute()} - _COMMON, hosts - _COMMON)


def blinded(table: pa.Table, blind: Callable[[str], str]) -> pa.Table:
    """A table with ``blind`` applied to its columns of sentences."""
    for name in TEXTS:
        if name in table.column_names:
            column = table.column(name)
            texts = {text: blind(text) for text in column.unique().to_pylist() if text}
            if any(text != other for text, other in texts.items()):
                values = [texts.get(text, text) for text in column.to_pylist()]
                table = table.set_column(table.column_names.index(name), name, pa.array(values, column.type))
    return table


def _replacing(places: set[str], hosts: set[str]) -> Callable[[str], str]:
    names = {name for host in hosts for name in (host, host.partition(".")[0]) if len(name) > 1}
    # A file:// address escapes blanks; a Python repr escapes letters and backslashes.
    places |= {form for place in places for form in (quote(place, errors="replace"), repr(place)[1:-1])}
    path = _any(places, rf"(?<![\w.-])(?:{{}}){_BELOW}(?![\w-])")
    host = _any(names, r"(?i:(?<![\w.-])(?:{}))(?:\.\w[\w.-]*)?(?![\w-])")

    def blind(text: str) -> str:
        text = path.sub(_name, text) if path else text
        for pattern, by in ((_URL, rf"\1{SIGN}"), (_ACCOUNT, SIGN), (_ADDRESS, SIGN), (_ADDRESS_6, SIGN), (host, SIGN)):
            text = pattern.sub(by, text) if pattern else text
        return text

    return blind


def _any(texts: set[str], template: str) -> re.Pattern[str] | None:
    longest_first = sorted((text.rstrip("/\\") for text in texts), key=len, reverse=True)
    return re.compile(template.format("|".join(map(re.escape, longest_first)))) if texts else None


def _name(match: re.Match[str]) -> str:
    """The replacement of a path: a file keeps its own name and the words after it, a folder keeps nothing."""
    last = re.split(r"[/\\]", match[0])[-1]
    return f"{SIGN}/{last}" if match["below"] or "." in last else SIGN
