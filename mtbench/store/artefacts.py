"""The store of artefacts, shared by suites.

An artefact lives at an address that is the hash of what was asked of its unit and of what went in (the digests
of its inputs, not their keys). So it is a hit only if its inputs are those now in the store; a changed input makes
another address, and an edit that changed nothing below it makes none.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench.errors import StoreError
from mtbench.hashing import hash_of
from mtbench.store.files import (
    TEMPORARY,
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

MANIFEST = "manifest.json"
LOGS = "log"
"""A sub-folder for what is kept but does not count as content (times, curves)."""


def address_of(request: str, inputs: Mapping[str, str], files: str = "") -> str:
    """Where an artefact lives: hash of the unit's own request, its inputs' digests and its raw files' fingerprint."""
    return hash_of([request, dict(inputs), files])


@dataclass(frozen=True)
class Artefact:
    """A committed artefact: its folder and what its manifest says."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The sha256 of its content."""
        return str(self.manifest["digest"])

    @property
    def info(self) -> Mapping[str, Any]:
        """What the stage noted: figures, counts, warnings; not part of the digest."""
        info: Mapping[str, Any] = self.manifest.get("info", {})
        return info


@dataclass(frozen=True)
class Store:
    """A folder of artefacts.

    Attributes:
        root: the folder; made at the first write.
    """

    root: Path

    def path(self, stage: str, address: str) -> Path:
        """Where an artefact lives or would live."""
        return self.root / "artefacts" / stage / address[:2] / address

    def get(self, stage: str, address: str) -> Artefact | None:
        """The artefact at that address, or ``None``.

        Raises:
            StoreError: it is there, but its manifest cannot be read, or it holds links, pipes or devices.
        """
        path = self.path(stage, address)
        try:
            text = read_regular(path / MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            return None
        for entry in (path,) if path.is_symlink() else irregular_below(path):
            raise irregular(entry)
        try:
            return Artefact(path, json.loads(text))
        except ValueError as error:
            raise StoreError(
                "an artefact's manifest cannot be read",
                where=str(path),
                remedy="Delete that folder and run again",
            ) from error

    def find(self, stage: str, wanted: Callable[[Mapping[str, Any]], bool]) -> Artefact | None:
        """The artefact of a stage whose manifest is ``wanted``; of several, the one made last.

        Raises:
            StoreError: see :meth:`get`.
        """
        manifests = (self.root / "artefacts" / stage).glob(f"*/*/{MANIFEST}")
        for path in sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True):
            artefact = self.get(stage, path.parent.name)
            if artefact is not None and wanted(artefact.manifest):
                return artefact
        return None

    def drop(self, stage: str, address: str) -> None:
        """Delete an artefact, whole: it is renamed away first, so no reader sees half of it."""
        path = self.path(stage, address)
        if path.exists():
            trash = path.with_name(f"{temporary_prefix()}drop{address[:8]}")
            path.rename(trash)
            shutil.rmtree(trash, ignore_errors=True)

    def move(self, stage: str, address: str, to: str, changes: Mapping[str, Any]) -> None:
        """Give an artefact another address, and its manifest the ``changes``; dropped where one lies there already."""
        path, new = self.path(stage, address), self.path(stage, to)
        if new.exists():
            self.drop(stage, address)
            return
        manifest = {**json.loads((path / MANIFEST).read_text(encoding="utf-8")), **changes, "address": to}
        text = json.dumps(manifest, indent=1, sort_keys=True)
        write_whole(path / MANIFEST, lambda file: file.write(text.encode()))
        with telling(new):
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(new)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                self.drop(stage, address)  # Somebody prepared a copy of the same files at the same time.

    def sweep(self) -> None:
        """Remove what processes that were killed left: what is half-written, and checkpoints of finished units."""
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
        """A folder to write an artefact's content into; committed when the block ends well.

        Args:
            stage, address: where it goes.
            manifest: what is known of it beforehand.
            info: filled by the block; written beside ``manifest``.
            check: called last before the commit; what it raises stops it.
        """
        with whole_folder(self.path(stage, address), check) as folder:
            yield folder
            for entry in irregular_below(folder):
                raise StoreError(
                    f"'{entry.relative_to(folder)}' in the artefact is a link, a pipe, a socket or a device",
                    where=f"{stage} {manifest.get('unit', {}).get('name', '')}".strip(),
                    expected="regular files and folders only",
                )
            files = {
                str(file.relative_to(folder).as_posix()): {
                    "bytes": file.stat().st_size,
                    "sha256": sha256_of(file),
                }
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            }
            content = {name: entry["sha256"] for name, entry in files.items() if not name.startswith(LOGS + "/")}
            text = json.dumps(
                {**manifest, "address": address, "digest": hash_of(content), "files": files, "info": info},
                indent=1,
                sort_keys=True,
                default=str,
            )
            (folder / MANIFEST).write_text(text, encoding="utf-8")
