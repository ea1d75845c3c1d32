"""The store of artefacts, shared by suites.

The address of an artefact is the hash of its unit's request and of the content of its inputs (their digests, not their
keys). It is reused only if its inputs are those now in the store: a changed input gives another address, and an edit
that changes no content gives the same one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench.errors import DamagedError, StoreError, silent, warn
from mtbench.hashing import hash_of
from mtbench.store.files import (
    TEMPORARY,
    FileState,
    irregular,
    irregular_below,
    read_regular,
    sha256_of,
    sweep,
    telling,
    temporary_prefix,
    whole_folder,
    write_whole,
)
from mtbench.store.hashes import Hashes

MANIFEST = "manifest.json"
LOGS = "log"
"""A sub-folder for files that are kept but are not content (times, curves)."""
DAMAGED = "damaged"
"""The folder in the store for damaged artefacts."""
_SUM = ',\n "sum": "'


def address_of(request: str, inputs: Mapping[str, str], files: str = "") -> str:
    """The address of an artefact: hash of the unit's request, its inputs' digests and its raw files' fingerprint."""
    return hash_of([request, dict(inputs), files])


@dataclass(frozen=True)
class Artefact:
    """A committed artefact: its folder and its manifest."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The sha256 of its content."""
        return str(self.manifest["digest"])

    @property
    def info(self) -> Mapping[str, Any]:
        """What the stage recorded: values, counts, warnings; not part of the digest."""
        info: Mapping[str, Any] = self.manifest.get("info", {})
        return info

    def check(self, hashes: Hashes, *, everything: bool = False) -> None:
        """Check the content against the manifest. A file is read once, and again only if its state has changed.

        Args:
            hashes: the known hashes of files.
            everything: read every file, even those with known hashes and those that are not content.

        Raises:
            DamagedError: a file was changed, removed or added.
        """
        written = {
            self.path / name: entry["sha256"]
            for name, entry in self.manifest["files"].items()
            if everything or not name.startswith(f"{LOGS}/")
        }
        files = {path for path in self.path.rglob("*") if path.is_file() and path != self.path / MANIFEST}
        if not everything:
            files = {path for path in files if path.relative_to(self.path).parts[0] != LOGS}
        differ = files ^ written.keys()
        if not differ:
            differ = _differing(written, hashes.sha256(written, again=everything))
        # The remembered hash may be wrong.
        if differ and differ <= files & written.keys() and not everything:
            differ = _differing(written, hashes.sha256(written, again=True))
        if differ:
            names = sorted(path.relative_to(self.path).as_posix() for path in differ)
            raise _damaged(self.path, f"its content has changed since it was written: {', '.join(names[:5])}")


def _differing(written: Mapping[Path, str], read: Mapping[Path, tuple[int, str]] | None) -> set[Path]:
    return {path for path, sha256 in written.items() if read is None or read[path][1] != sha256}


def _damaged(path: Path, what: str) -> DamagedError:
    return DamagedError(f"the artefact is damaged: {what}", where=str(path), remedy="A run that needs it recomputes it")


_LOOKS = 100
"""How often an artefact is looked at that other processes keep replacing."""


@dataclass(frozen=True)
class Store:
    """A folder of artefacts.

    Attributes:
        root: the folder; created at the first write.
    """

    root: Path

    def path(self, stage: str, address: str) -> Path:
        """The folder of an artefact, whether it exists or not."""
        return self.root / "artefacts" / stage / address[:2] / address

    def hashes(self, note: Callable[[str], None] = warn) -> Hashes:
        """The known hashes of raw files and artefacts; ``note`` is called with messages about problems."""
        return Hashes(self.root / "hashes.sqlite", note)

    def holds(self, stage: str, address: str) -> bool:
        """Whether anything exists at that address, intact or damaged."""
        return self.path(stage, address).exists()

    def get(self, stage: str, address: str) -> Artefact | None:
        """The artefact at that address, or ``None``. Its manifest is checked; its content by :meth:`Artefact.check`.

        Raises:
            DamagedError: its manifest is missing or has changed since it was written.
            StoreError: it contains links, pipes or devices.
        """
        path = self.path(stage, address)
        for _ in range(_LOOKS):
            try:
                text = read_regular(path / MANIFEST)
                for entry in (path,) if path.is_symlink() else irregular_below(path):
                    raise irregular(entry)
                return Artefact(path, _read_manifest(path, text))
            except (FileNotFoundError, NotADirectoryError):
                # Absent, damaged, or being replaced by another process: then the next look finds it whole.
                if path.is_symlink():
                    return None
                try:
                    names = os.listdir(path)
                except (FileNotFoundError, NotADirectoryError):
                    return None
                if MANIFEST not in names:
                    break
        raise _damaged(path, f"{MANIFEST} is missing")

    def find(self, stage: str, wanted: Callable[[Mapping[str, Any]], bool]) -> Artefact | None:
        """The artefact of a stage whose manifest is ``wanted``; of several, the most recent one.

        Raises:
            StoreError: see :meth:`get`.
        """
        manifests = (self.root / "artefacts" / stage).glob(f"*/*/{MANIFEST}")
        for path in sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True):
            with suppress(DamagedError):
                artefact = self.get(stage, path.parent.name)
                if artefact is not None and wanted(artefact.manifest):
                    return artefact
        return None

    def whole(self, stage: str, address: str) -> Artefact | None:
        """The artefact at that address, with its content checked; a damaged one is moved away, with a warning."""
        try:
            artefact = self.get(stage, address)
            if artefact is not None:
                with closing(self.hashes()) as hashes:
                    artefact.check(hashes)
        except DamagedError as error:
            place = self.set_aside(stage, address)
            warn(f"{error.where}: {error.what}. It was moved to {place} and will be recomputed.")
            return None
        return artefact

    def verify(self) -> Iterator[tuple[str, StoreError | None]]:
        """Read every file of every artefact: "stage/address", and its error or ``None``."""
        with closing(self.hashes()) as hashes:
            for folder in sorted(self.root.glob("artefacts/*/*/[!.]*")):
                stage = folder.parts[-3]
                try:
                    artefact = self.get(stage, folder.name)
                    if artefact is not None:
                        artefact.check(hashes, everything=True)
                except StoreError as error:
                    yield f"{stage}/{folder.name}", error
                else:
                    yield f"{stage}/{folder.name}", None

    def set_aside(self, stage: str, address: str) -> Path:
        """Move a damaged artefact from its address to the folder of damaged ones; its new path."""
        place = self.root / DAMAGED / f"{stage}-{address[:12]}-{secrets.token_hex(4)}"
        with telling(place), suppress(FileNotFoundError):  # another process was first
            place.parent.mkdir(parents=True, exist_ok=True)
            self.path(stage, address).rename(place)
        return place

    def drop(self, stage: str, address: str) -> None:
        """Delete an artefact. It is renamed first, so that no reader sees half of it."""
        path = self.path(stage, address)
        if path.exists():
            trash = path.with_name(f"{temporary_prefix()}drop{address[:8]}")
            path.rename(trash)
            shutil.rmtree(trash, ignore_errors=True)

    def move(self, stage: str, address: str, to: str, changes: Mapping[str, Any]) -> None:
        """Move an artefact to another address and apply ``changes`` to its manifest; drop it if one exists there."""
        path, new = self.path(stage, address), self.path(stage, to)
        if new.exists():
            self.drop(stage, address)
            return
        text = _manifest_text({**_read_manifest(path, read_regular(path / MANIFEST)), **changes, "address": to})
        write_whole(path / MANIFEST, lambda file: file.write(text.encode()))
        with telling(new):
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(new)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                self.drop(stage, address)  # another process prepared a copy of the same files at the same time

    def sweep(self) -> None:
        """Remove the leftovers of killed processes: incomplete files, and checkpoints of finished units."""
        for places in (".", "*", "artefacts/*/*", "artefacts/prepare/*/*", "partial/*"):
            sweep(self.root.glob(f"{places}/{TEMPORARY}*"))
        for folder in self.root.glob("partial/*"):
            if any(self.root.glob(f"artefacts/*/{folder.name[:2]}/{folder.name}")):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def create(
        self,
        stage: str,
        address: str,
        manifest: Mapping[str, Any],
        info: dict[str, Any],
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[Path]:
        """A folder for the content of an artefact, which is committed if the block succeeds.

        Args:
            stage, address: of the artefact.
            manifest: the part of its manifest that is known beforehand.
            info: filled by the block; written to the manifest.
            check: called just before the commit, which its exception prevents.
        """
        with whole_folder(self.path(stage, address), check) as folder:
            yield folder
            for entry in irregular_below(folder):
                raise StoreError(
                    f"'{entry.relative_to(folder)}' in the artefact is a link, a pipe, a socket or a device",
                    where=f"{stage} {manifest.get('unit', {}).get('name', '')}".strip(),
                    expected="regular files and folders only",
                )
            paths = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
            states = {name: FileState.of(path.stat()) for name, path in paths.items()}
            files = {name: {"bytes": states[name].size, "sha256": sha256_of(path)} for name, path in paths.items()}
            entries = {**manifest, "address": address, "digest": _digest(files), "files": files, "info": info}
            (folder / MANIFEST).write_text(_manifest_text(entries), encoding="utf-8")
        # So that their first reader need not hash them. If another run was first, its files have another state.
        path = self.path(stage, address)
        with closing(self.hashes(silent)) as hashes:
            hashes.remember({str(path / name): (state, str(files[name]["sha256"])) for name, state in states.items()})


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    return hash_of({name: entry["sha256"] for name, entry in files.items() if not name.startswith(f"{LOGS}/")})


def _manifest_text(manifest: Mapping[str, Any]) -> str:
    """The text of a manifest; ``sum`` is the sha256 of the rest, so that alterations are detected."""
    entries = {name: value for name, value in manifest.items() if name != "sum"}
    text = json.dumps(entries, indent=1, sort_keys=True, default=str)
    return f'{text[:-2]}{_SUM}{hashlib.sha256(text.encode()).hexdigest()}"\n}}'


def _read_manifest(path: Path, text: bytes) -> dict[str, Any]:
    """The manifest ``text`` of the artefact in ``path``.

    Raises:
        DamagedError: it has changed since it was written, or belongs to another artefact.
    """
    rest, mark, checksum = text.decode(errors="replace").rpartition(_SUM)
    expected = hashlib.sha256((rest + "\n}").encode()).hexdigest()
    try:
        manifest: dict[str, Any] = json.loads(text)
        whole = not mark or checksum == expected + '"\n}'  # manifests of earlier versions have no checksum
        whole = whole and manifest["digest"] == _digest(manifest["files"]) and manifest["address"] == path.name
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise _damaged(path, f"{MANIFEST} has changed since it was written")
    return manifest
