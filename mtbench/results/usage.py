"""What the artefacts of a store cost and which results directories use them."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mtbench.errors import MtbenchError, StoreError
from mtbench.results.directory import Results
from mtbench.results.entries import Attempt
from mtbench.store.artefacts import DAMAGED, MANIFEST, Store
from mtbench.store.files import TEMPORARY, read_regular, write_whole

USERS = "users"
MIN_AGE = 3600.0
"""Seconds: what is younger may be a run's that has not written its journal line yet."""


@dataclass
class StoredArtefact:
    """An artefact and what it costs.

    Attributes:
        stage, address, path: where it is.
        name: what a person calls its unit.
        bytes: on disk.
        seconds: what making it took, where a results directory says so.
        mtime: time of its commit, seconds since the epoch.
        users: the results directories whose last state rests on it.
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
    """A store, looked at.

    Attributes:
        artefacts: every artefact.
        leftovers: temporary and partial folders of attempts that were killed, and damaged artefacts.
        missing: results directories that used this store and are no longer where they were.
    """

    artefacts: tuple[StoredArtefact, ...]
    leftovers: tuple[Path, ...]
    missing: tuple[str, ...]

    def unused(self, keep: Iterable[str] = ()) -> list[StoredArtefact]:
        """What no results directory uses and no run can be about to, except the stages in ``keep``."""
        stages, limit = set(keep), time.time() - MIN_AGE
        return [k for k in self.artefacts if not k.users and k.stage not in stages and k.mtime < limit]


def remember(store: Store, results: Path) -> None:
    """Note that a results directory takes its artefacts from this store."""
    where = str(results.resolve())
    note = store.root / USERS / f"{hashlib.sha256(where.encode()).hexdigest()[:16]}.json"
    if not note.exists():
        write_whole(note, lambda file: file.write(json.dumps({"results": where}).encode()))


def look(store: Store) -> Usage:
    """Read all manifests, and the journals of the results directories that use the store."""
    artefacts = {(k.stage, k.address): k for k in _artefacts(store)}
    gone = []
    for note in sorted((store.root / USERS).glob("*.json")):
        try:
            where = str(json.loads(read_regular(note))["results"])
        except (ValueError, KeyError, OSError, StoreError):
            continue
        try:
            uses = _uses(Results.open(Path(where)))
        except MtbenchError:
            gone.append(where)
            continue
        for place, seconds in uses.items():
            if place in artefacts:
                artefacts[place].users.append(where)
                artefacts[place].seconds = seconds or artefacts[place].seconds
    return Usage(tuple(artefacts.values()), tuple(_leftovers(store)), tuple(gone))


def forget(store: Store, gone: Iterable[str]) -> None:
    """Let go of what results directories hold that have gone."""
    for where in gone:
        (store.root / USERS / f"{hashlib.sha256(where.encode()).hexdigest()[:16]}.json").unlink(missing_ok=True)


def remove(store: Store, artefacts: Iterable[StoredArtefact], leftovers: Iterable[Path]) -> None:
    """Delete artefacts, each whole, and leftovers."""
    for artefact in artefacts:
        store.drop(artefact.stage, artefact.address)
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
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


def _uses(results: Results) -> dict[tuple[str, str], float]:
    """Stage and address of what each unit's last good attempt left, with the seconds it took."""
    last: dict[str, tuple[str, str]] = {}
    seconds: dict[str, float] = {}
    for entry in results.entries():
        if isinstance(entry, Attempt) and entry.good:
            last[entry.unit_key] = entry.stage, entry.artefact
            if entry.status == "ok":
                seconds[entry.artefact] = entry.seconds
    return {place: seconds.get(place[1], 0.0) for place in last.values()}


def _leftovers(store: Store) -> Iterator[Path]:
    limit = time.time() - MIN_AGE
    patterns = (f"artefacts/*/*/{TEMPORARY}*", "partial/*", f"{DAMAGED}/*")
    for folder in (folder for pattern in patterns for folder in store.root.glob(pattern)):
        try:
            newest = max((p.lstat().st_mtime for p in (folder, *folder.rglob("*"))), default=0.0)
        except OSError:
            continue
        if newest < limit:
            yield folder
