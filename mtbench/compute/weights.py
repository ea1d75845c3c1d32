"""Catalogued weight files: finding, checking and adding them. See ``downloads`` for the download itself."""

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
"""Called with the bytes received and the total, if known."""

CEILING = 2_000_000_000
"""Largest accepted download if the catalogue does not state the size of a file."""
SECONDS = 3600.0
"""Time limit for one address and file."""
_DIGITS = 64


@dataclass(frozen=True)
class WeightFile:
    """One entry of the catalogue, ``[weights.NAME]`` of ``registry.toml``.

    Attributes:
        name: its name for plugins and users.
        file: its published file name, also in the store.
        urls: of the publication; the first that answers is used.
        sha256: of the whole file; the first digits (at least 8) if no more are known.
        size: in bytes, if known.
        licence, description: for users.
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
        """Its path in the store."""
        return weights_folder() / self.file

    def complaint(self, path: Path) -> str | None:
        """The reason why the file at ``path`` is not this one, or ``None`` if it is. Reads the whole file."""
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
            f"the catalogue cannot be read: {error}", where=str(path), remedy="Reinstall mtbench"
        ) from error


def entry(name: str) -> WeightFile:
    """The catalogue's entry of that name.

    Raises:
        WeightsError: there is none.
    """
    entries = catalogue()
    if name not in entries:
        raise WeightsError(
            f"the catalogue has no weight file '{name}'",
            matches=close_matches(name, entries),
            expected="one of " + ", ".join(sorted(entries)),
        )
    return entries[name]


def find(name: str) -> Path:
    """The local path of a catalogued file, checked byte by byte.

    Raises:
        WeightsError: it is not catalogued, not installed, or another file; the text says how to get it.
    """
    file = entry(name)
    if not file.path.is_file():
        raise WeightsError(
            f"the weight file '{name}' is not installed",
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
    """One of "ready" and "missing", or why the installed file is not the right one."""
    if not file.path.is_file():
        return "missing"
    return file.complaint(file.path) or "ready"


def add(file: Path, name: str | None = None) -> WeightFile:
    """Copy a downloaded file into the store, under its published name.

    Args:
        file: under any name; its content identifies it.
        name: the required entry; any by default.

    Raises:
        WeightsError: the file does not exist, or is not in the catalogue (or not that entry).
    """
    if not file.is_file():
        raise WeightsError("this file does not exist", where=str(file), expected="a downloaded weight file")
    if name is None:
        matches = [candidate for candidate in catalogue().values() if candidate.complaint(file) is None]
        if not matches:
            raise WeightsError(
                f"this file is not in the catalogue of weight files ({file.stat().st_size:,} bytes, sha256 "
                f"{sha256(file)})",
                where=str(file),
                remedy="`mtbench weights list` shows the catalogue; --name NAME shows how this file differs from "
                "that entry",
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
    """Download a catalogued file, resuming an interrupted download, and install it.

    A correct installed file is kept. The download is limited to the size in the catalogue or, if that is not known, to
    the size that the server announces, up to ``ceiling`` bytes; ``seconds`` is the time limit for one address.

    Raises:
        WeightsError: it is not catalogued, no address answers, or the downloaded file is another one.
        DiskFullError: the disk is full.
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
                # The next address may hold another file; parts of two downloads are never joined.
                partial.unlink(missing_ok=True)
            continue
        complaint = file.complaint(partial)
        if complaint is None:
            partial.replace(file.path)
            return file.path
        # The download is wrong as a whole and cannot be resumed.
        partial.unlink()
        failures.append(f"{url}: the download is refused, {complaint}")
    raise WeightsError(
        f"the weight file '{name}' could not be downloaded ({'; '.join(failures)})",
        remedy=(
            "Retry: an interrupted download resumes. Without a network: get the file on "
            "another machine, then `mtbench weights add FILE`"
        ),
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
