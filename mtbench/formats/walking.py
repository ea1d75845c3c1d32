"""The files below a folder: the only search for image files.

Linked folders are entered, because users link disks; each real file counts once, under a name without a link if there
is one. Names that start with a dot (``.git``, ``._scan.nii.gz``) are ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mtbench.formats.reading import is_series, suffix, unreadable


def entries_below(
    folder: Path, *, aliases: bool = False, depth: int | None = None, hidden: bool = False
) -> Iterator[Path]:
    """Every file and folder below ``folder``, itself excluded; each real folder is entered once, through links last.

    Args:
        aliases: enter a folder under each name that leads to it, except links to a parent folder.
        depth: how many folders deep; ``None`` for all.
        hidden: include names that start with a dot.

    Raises:
        DataError: a folder cannot be read.
    """
    entered = {os.path.realpath(folder)}
    if aliases:
        yield from _with_aliases(folder, frozenset(entered), 1, depth, hidden)
        return
    starts = [(folder, 1)]
    while starts:
        linked: list[tuple[Path, int]] = []
        for start, level in starts:
            yield from _without_links(start, level, depth, hidden, entered, linked)
        starts = []
        for path, level in sorted(linked):
            real = os.path.realpath(path)
            if real not in entered:
                entered.add(real)
                starts.append((path, level))


def once(paths: Iterable[Path]) -> list[Path]:
    """The paths, sorted, each real file or folder once: by a name without a link if there is one, else the first."""
    chosen: dict[str, Path] = {}
    for path in sorted(paths):
        real = os.path.realpath(path)
        before = chosen.get(real)
        if before is None or (_links(before) > _links(path)):
            chosen[real] = path
    return sorted(chosen.values())


def images_below(folder: Path, *, aliases: bool = False) -> list[Path]:
    """Image files and folders of a DICOM series below ``folder``, itself included, sorted by path.

    Args:
        aliases: list a file under each name that leads to it, for masks shared by several images.
    """
    entries = entries_below(folder, aliases=aliases)
    paths = [path for path in entries if (suffix(path) if path.is_file() else is_series(path))]
    if is_series(folder):
        paths.append(folder)
    return sorted(paths) if aliases else once(paths)


def others_below(folder: Path) -> str:
    """A sentence on the files below ``folder`` in unsupported formats; empty if there are none.

    Files in the folder of a DICOM series are left to the reader of the series.
    """
    if not folder.is_dir():
        return ""
    return in_words(path for path in entries_below(folder) if is_other(path))


def is_other(path: Path) -> bool:
    """Whether it is a file in an unsupported format, or a broken link."""
    return not suffix(path) if path.is_file() else not path.exists()


def in_words(paths: Iterable[Path]) -> str:
    """A sentence on files in unsupported formats, by ending; empty if there are none."""
    paths = sorted(paths)
    broken = [path for path in paths if not path.exists()]
    links = "1 link leads" if len(broken) == 1 else f"{len(broken)} links lead"
    nowhere = [f"{links} nowhere (the first: {broken[0].name})"] if broken else []
    others = [path for path in paths if path.is_file()]
    series = {folder for folder in {path.parent for path in others} if is_series(folder)}
    others = [path for path in others if path.parent not in series]
    if not others:
        return "; ".join(nowhere)
    kinds = Counter(path.suffix.lower() or "no ending" for path in others)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4)) + (", ..." if len(kinds) > 4 else "")
    files = "1 file is" if len(others) == 1 else f"{len(others)} files are"
    text = f"{files} in unsupported formats skipped: {listed} (the first: {others[0].name})"
    return "; ".join([text, *nowhere])


def _with_aliases(folder: Path, above: frozenset[str], level: int, depth: int | None, hidden: bool) -> Iterator[Path]:
    for entry in _entries(folder, hidden):
        path = folder / entry.name
        yield path
        if _is_folder(entry) and (depth is None or level < depth):
            real = os.path.realpath(path)
            if real not in above:
                yield from _with_aliases(path, above | {real}, level + 1, depth, hidden)


def _without_links(
    folder: Path, level: int, depth: int | None, hidden: bool, entered: set[str], linked: list[tuple[Path, int]]
) -> Iterator[Path]:
    for entry in _entries(folder, hidden):
        path = folder / entry.name
        yield path
        if _is_folder(entry) and (depth is None or level < depth):
            if entry.is_symlink():
                linked.append((path, level + 1))
            elif (real := os.path.realpath(path)) not in entered:
                entered.add(real)
                yield from _without_links(path, level + 1, depth, hidden, entered, linked)


def _entries(folder: Path, hidden: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if hidden or not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _links(path: Path) -> int:
    """The number of links in a path."""
    return sum(os.path.islink(part) for part in (path, *path.parents))
