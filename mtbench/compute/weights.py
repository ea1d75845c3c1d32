"""Catalogued weight files: finding, checking and adding them. See ``downloads`` for getting them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mtbench.compute.downloads import Limits, download
from mtbench.errors import RequestError, StoreError, WeightsError, close_matches
from mtbench.resources import resource_path
from mtbench.store.folders import weights_folder
from mtbench.toml import parse, read_text

DownloadProgress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes in all, where that is known."""

CEILING = 2_000_000_000
"""Bytes that are accepted of a server where the catalogue does not say how large a file is."""
SECONDS = 3600.0
"""How long one address may take for a file."""
_DIGITS = 64


@dataclass(frozen=True)
class WeightFile:
    """One entry of the catalogue, ``[weights.NAME]`` of ``registry.toml``.

    Attributes:
        name: how plugins and people call it.
        file: the name under which it is published and kept.
        urls: where it is published; the first that answers is used.
        sha256: of the whole file; its first digits (at least 8) where no more is known.
        size: in bytes, where known.
        licence, description: for people.
    """

    name: str
    file: str
    urls: tuple[str, ...]
    sha256: str
    size: int | None
    licence: str
    description: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return weights_folder() / self.file

    def complaint(self, path: Path) -> str | None:
        """Why the file at ``path`` is not this one, or ``None`` if it is. Reads the whole file."""
        size = path.stat().st_size
        if self.size is not None and size < self.size:
            return f"it is truncated: {size:,} of {self.size:,} bytes"
        if self.size is not None and size > self.size:
            return f"it is another file: {size:,} bytes instead of {self.size:,}"
        digest = sha256(path)
        if digest.startswith(self.sha256):
            return None
        kind = "" if len(self.sha256) == _DIGITS else f", of which the first {len(self.sha256)} digits are known"
        return f"it is altered, incomplete or another file: its sha256 is {digest}, not {self.sha256}{kind}"


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; remembered while the file does not change."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def catalogue() -> dict[str, WeightFile]:
    """All catalogued weight files, by name.

    Raises:
        StoreError: the catalogue of this installation cannot be read.
    """
    path = resource_path("registry.toml")
    try:
        entries = parse(read_text(path), str(path)).get("weights", {})
        return {
            name: WeightFile(
                name=name,
                file=entry["file"],
                urls=tuple(entry["urls"]),
                sha256=entry["sha256"],
                size=entry.get("bytes"),
                licence=entry["licence"],
                description=entry["description"],
            )
            for name, entry in entries.items()
        }
    except (RequestError, KeyError) as error:
        raise StoreError(
            f"the catalogue cannot be read: {error}", where=str(path), remedy="Install mtbench again"
        ) from error


def entry(name: str) -> WeightFile:
    """The catalogue's entry of that name.

    Raises:
        WeightsError: there is none.
    """
    entries = catalogue()
    if name not in entries:
        raise WeightsError(
            f"there is no catalogued weight file '{name}'",
            matches=close_matches(name, entries),
            expected="one of " + ", ".join(sorted(entries)),
        )
    return entries[name]


def find(name: str) -> Path:
    """The local path of a catalogued file, checked byte by byte.

    Raises:
        WeightsError: it is not catalogued, not there, or not that file; the text says how to get it.
    """
    file = entry(name)
    if not file.path.is_file():
        raise WeightsError(
            f"the weight file '{name}' is missing",
            where=str(file.path),
            remedy=(
                f"`mtbench weights fetch {name}` downloads it ({_size(file)}{file.licence}). "
                f"Without a network: get {file.urls[0]} on another machine, then `mtbench weights add "
                f"{file.file}`"
            ),
        )
    complaint = file.complaint(file.path)
    if complaint:
        raise WeightsError(
            f"this is not the weight file '{name}': {complaint}",
            where=str(file.path),
            remedy=f"Delete it, then `mtbench weights fetch {name}`, or `mtbench weights add FILE`",
        )
    return file.path


def _size(file: WeightFile) -> str:
    return f"{file.size / 1e6:.0f} MB, " if file.size else ""


def state(file: WeightFile) -> str:
    """One of "ready" and "missing", or why the file that is there will not do."""
    if not file.path.is_file():
        return "missing"
    return file.complaint(file.path) or "ready"


def add(file: Path, name: str | None = None) -> WeightFile:
    """Copy a file that somebody downloaded into place, under its published name.

    Args:
        file: whatever it is called; it is known by its content.
        name: the entry it must be; any by default.

    Raises:
        WeightsError: there is no such file, or it is none (or not that one) of the catalogue.
    """
    if not file.is_file():
        raise WeightsError("there is no such file", where=str(file), expected="a downloaded weight file")
    if name is None:
        matches = [candidate for candidate in catalogue().values() if candidate.complaint(file) is None]
        if not matches:
            raise WeightsError(
                f"this is none of the catalogued weight files ({file.stat().st_size:,} bytes, sha256 {sha256(file)})",
                where=str(file),
                remedy="`mtbench weights list` shows them; with --name NAME you are told how it differs from that one",
            )
        target = matches[0]
    else:
        target = entry(name)
        complaint = target.complaint(file)
        if complaint:
            raise WeightsError(
                f"this is not the weight file '{name}': {complaint}",
                where=str(file),
                remedy=f"Get it again from {target.urls[0]}",
            )
    if target.path.resolve() != file.resolve():
        target.path.parent.mkdir(parents=True, exist_ok=True)
        partial = target.path.with_name(f"{target.file}.{os.getpid()}.copy")
        try:
            shutil.copyfile(file, partial)
            partial.replace(target.path)
        finally:
            partial.unlink(missing_ok=True)
    return target


def fetch(
    name: str,
    progress: DownloadProgress = lambda done, total: None,
    *,
    ceiling: int = CEILING,
    seconds: float = SECONDS,
) -> Path:
    """Download a catalogued file, going on where an interrupted download stopped, and put it in place.

    A file that is already there and right is left alone. No more is taken than the catalogue says or, where it does
    not, than the server announces, up to ``ceiling`` bytes; ``seconds`` is how long one address may take.

    Raises:
        WeightsError: it is not catalogued, no address answers, or what came is not that file.
        DiskFullError: there is no room.
    """
    file = entry(name)
    if file.path.is_file() and file.complaint(file.path) is None:
        return file.path
    partial = file.path.with_name(f"{file.file}.part")
    partial.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in file.urls:
        before = _length(partial)
        try:
            download(url, partial, progress, Limits(file.size, ceiling, seconds))
        except OSError as error:
            failures.append(f"{url}: {error}")
            if url != file.urls[-1] and _length(partial) != before:
                # The next address may hold another file; nothing is put together from two.
                partial.unlink(missing_ok=True)
            continue
        complaint = file.complaint(partial)
        if complaint is None:
            partial.replace(file.path)
            return file.path
        # What came is wrong as a whole: nothing to go on from.
        partial.unlink()
        failures.append(f"{url}: what came is refused, {complaint}")
    raise WeightsError(
        f"the weight file '{name}' could not be downloaded ({'; '.join(failures)})",
        remedy=(
            "Try again: an interrupted download resumes. Without a network: get the file on "
            "another machine, then `mtbench weights add FILE`"
        ),
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
