"""The disk usage of a store's artefacts, and the results directories that use them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtbench.errors import MtbenchError, StoreError
from mtbench.results.directory import MARKER, Results
from mtbench.results.entries import Attempt, Begun
from mtbench.store import leases
from mtbench.store.artefacts import DAMAGED, MANIFEST, Store
from mtbench.store.files import TEMPORARY, read_regular, write_whole

USERS = "users"
MIN_AGE = 3600.0
"""Seconds; a younger artefact may belong to a run that has not written its journal line yet."""


@dataclass
class StoredArtefact:
    """An artefact and its cost.

    Attributes:
        stage, address, path: its place in the store.
        name: the printed name of its unit.
        bytes: on disk.
        seconds: the time to compute it; ``None`` if no results directory records it.
        mtime: time of its commit, seconds since the epoch.
        users: the results directories whose last state depends on it.
    """

    stage: str
    address: str
    path: Path
    name: str
    bytes: int
    mtime: float
    seconds: float | None = None
    users: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Usage:
    """The usage of a store.

    Attributes:
        artefacts: every artefact.
        leftovers: temporary folders of killed attempts, checkpoints that no results directory would resume from, and
            damaged artefacts; none of an active run.
        missing: results directories that used this store and no longer exist at their path.
        unreadable: results directories that cannot be read, with the reason; the artefacts they use are unknown.
    """

    artefacts: tuple[StoredArtefact, ...]
    leftovers: tuple[Path, ...]
    missing: tuple[str, ...]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def unused(self, keep: Iterable[str] = ()) -> list[StoredArtefact]:
        """The artefacts that no results directory uses and no run is about to use, except the stages in ``keep``."""
        stages, limit = set(keep), time.time() - MIN_AGE
        return [k for k in self.artefacts if not k.users and k.stage not in stages and k.mtime < limit]


def remember(store: Store, results: Path) -> None:
    """Record in the store that a results directory uses it."""
    where = str(results.resolve())
    note = _note(store, where)
    text = json.dumps({"results": where}).encode()
    with contextlib.suppress(OSError, StoreError):
        if read_regular(note) == text:
            return
    write_whole(note, lambda file: file.write(text))


def look(store: Store) -> Usage:
    """Read all manifests, and the journals of the results directories that use the store."""
    artefacts = {(k.stage, k.address): k for k in _artefacts(store)}
    gone, unreadable, unfinished = [], {}, set()
    for note in sorted((store.root / USERS).glob("*.json")):
        where = str(note)
        try:
            where = str(json.loads(read_regular(note))["results"])
            if not _is_there(Path(where)):
                gone.append(where)
                continue
            uses = _uses(Results.open(Path(where)))
        except (ValueError, KeyError, TypeError, OSError, MtbenchError) as error:
            unreadable[where] = error.what if isinstance(error, MtbenchError) else str(error)
            continue
        unfinished |= uses.unfinished
        for place in uses.artefacts:
            if place in artefacts:
                artefacts[place].users.append(where)
        for artefact in artefacts.values():
            artefact.seconds = uses.seconds.get(artefact.address) or artefact.seconds
    return Usage(tuple(artefacts.values()), tuple(_leftovers(store, unfinished)), tuple(gone), unreadable)


def _is_there(results: Path) -> bool:
    """Whether a results directory exists, readable or not."""
    try:
        os.lstat(results / MARKER)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _note(store: Store, where: str) -> Path:
    name = hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return store.root / USERS / f"{name}.json"


def forget(store: Store, gone: Iterable[str]) -> None:
    """Remove the records of results directories that no longer exist."""
    for where in gone:
        _note(store, where).unlink(missing_ok=True)


def remove(store: Store, artefacts: Iterable[StoredArtefact], leftovers: Iterable[Path]) -> list[str]:
    """Delete artefacts and leftovers; return those that could not be deleted, with the reason."""
    failures = []
    for artefact in artefacts:
        try:
            store.drop(artefact.stage, artefact.address)
        except OSError as error:
            failures.append(f"{artefact.name}: {error.strerror}")
    for path in leftovers:
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        except OSError as error:
            failures.append(f"{path}: {error.strerror}")
    return failures


def size_of(folder: Path) -> int:
    """Bytes of a file, or of the files below a folder."""
    if not folder.is_dir():
        return folder.lstat().st_size
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


def _artefacts(store: Store) -> Iterator[StoredArtefact]:
    for manifest in sorted(store.root.glob(f"artefacts/*/*/*/{MANIFEST}")):
        folder = manifest.parent
        if folder.name.startswith(TEMPORARY):
            continue
        try:
            name = json.loads(read_regular(manifest))["unit"]["name"]
        except (ValueError, KeyError, TypeError, OSError, StoreError):
            name = "(damaged manifest)"
        yield StoredArtefact(folder.parts[-3], folder.name, folder, name, size_of(folder), manifest.lstat().st_mtime)


@dataclass(frozen=True)
class _Uses:
    """The artefacts that a results directory uses.

    Attributes:
        artefacts: stage and address of the artefact of each unit's last successful attempt.
        seconds: the time to compute them, by address.
        unfinished: addresses of units whose last attempt failed; the next attempt resumes from its checkpoint.
    """

    artefacts: set[tuple[str, str]]
    seconds: dict[str, float]
    unfinished: set[str]


def _uses(results: Results) -> _Uses:
    good: dict[str, tuple[str, str]] = {}
    last: dict[str, tuple[str, bool]] = {}
    seconds: dict[str, float] = {}
    attempts = [entry for entry in results.entries() if isinstance(entry, Attempt | Begun)]
    # The names of journals of the same second are in no order.
    for entry in sorted(attempts, key=lambda entry: entry.at):
        ended_well = isinstance(entry, Attempt) and entry.good
        last[entry.unit_key] = entry.artefact, ended_well
        if ended_well:
            good[entry.unit_key] = entry.stage, entry.artefact
            if entry.status == "ok":
                seconds[entry.artefact] = entry.seconds
    return _Uses(set(good.values()), seconds, {artefact for artefact, ended_well in last.values() if not ended_well})


def _leftovers(store: Store, unfinished: set[str]) -> Iterator[Path]:
    limit = time.time() - MIN_AGE
    held = leases.held(store.root, MIN_AGE)
    # The parent of a temporary folder is named by the first two digits of its address.
    begun = {address[:2] for address in held}
    for folder in store.root.glob(f"artefacts/*/*/{TEMPORARY}*"):
        if folder.parent.name not in begun and _newest(folder) < limit:
            yield folder
    for folder in store.root.glob("partial/*"):
        if folder.name not in held | unfinished and _newest(folder) < limit:
            yield folder
    for folder in store.root.glob(f"{DAMAGED}/*"):
        if _newest(folder) < limit:
            yield folder


def _newest(folder: Path) -> float:
    """The time of the last change in a folder; now, if it is being changed."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:
        return time.time()
