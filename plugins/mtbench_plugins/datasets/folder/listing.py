"""Which files make up a domain: patterns, matching of masks to images, patients. Standard library only."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mtbench import patterns
from mtbench.errors import DataError, close_matches
from mtbench.formats import SUFFIXES, entries_below, images_below, is_series, once, stem, suffix
from mtbench.formats.walking import in_words, is_other
from mtbench_plugins.datasets.folder.config import DomainConfig, PatientTable

Key = tuple[str, ...]
LeaveOut = Callable[[str, str], None]
Note = Callable[[str], None]
_FLAT = (".png", ".tif", ".tiff", ".npy", ".npz")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    "": "",
}
_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]")


@dataclass(frozen=True)
class ImageEntry:
    """One image file, stack, volume or DICOM folder, with its mask and patient.

    Attributes:
        name: unique in the domain; what the wildcards of the pattern stand for.
        image: its path; ``relative`` the same from the root.
        mask: the label map, if the domain has label maps.
        class_masks: for each label its binary files, if the domain has those.
        patient: empty if not known.
        split, scanner, mm: from the table, if it has these columns.
        channels: the same for each further channel, without masks.
    """

    name: str
    image: Path
    relative: str
    mask: Path | None
    class_masks: Mapping[str, tuple[Path, ...]]
    patient: str
    split: str = ""
    scanner: str = ""
    mm: float | None = None
    channels: tuple[ImageEntry, ...] = ()


def items(root: Path, domain: DomainConfig, leave_out: LeaveOut, note: Note = lambda text: None) -> list[ImageEntry]:
    """Everything of a domain, in natural order of names.

    Args:
        root, domain: the folder and the domain to list.
        leave_out: called with the name and the reason for each image that is skipped (no masks, no patient although the
            parameters say how to find one, an impossible pixel size), and for each mask without an image.
        note: called with a line about matching files that are not images.

    Raises:
        DataError: a folder cannot be read, nothing matches, or two files have the same name.
    """
    inside(root)
    images = _find(root, domain.images, domain, "images", note)
    masks = _find(root, domain.label_maps, domain, "masks", note) if domain.label_maps else {}
    rows = _Rows(root, domain.table) if domain.table else None
    others = {
        name: _find(root, patterns, domain, "images", note) for name, patterns in list(domain.channels.items())[1:]
    }
    result, names = [], dict[str, Path]()
    for key, path in images.items():
        relative = path.relative_to(root).as_posix()
        name = "_".join(part.replace("/", "_") for part in key if part) or stem(path)
        if name in names:
            _same_name(names[name], path, name, root)
        names[name] = path
        try:
            row = rows.of(relative) if rows else {}
            patient = row.get("patient", "") if rows else _patient(relative, domain)
            mm = _millimetres(row.get("mm", ""), relative)
            if domain.label_maps and key not in masks:
                raise DataError(
                    f"no mask of its name matches '{', '.join(domain.label_maps)}'",
                    where=relative,
                    expected="a mask for each image",
                )
            paths = _of_channels(key, others, domain, relative)
            classes = {label: _beside(path, patterns, label) for label, patterns in domain.class_masks.items()}
        except DataError as error:
            leave_out(name, str(error))
            continue
        split, scanner = row.get("split", ""), row.get("scanner", "")
        item = ImageEntry(name, path, relative, masks.get(key), classes, patient, split, scanner, mm)
        bare = replace(item, mask=None, class_masks={})
        more = (replace(bare, image=other, relative=other.relative_to(root).as_posix()) for other in paths)
        result.append(replace(item, channels=tuple(more)))
    for key in sorted(masks.keys() - images.keys()):
        leave_out(masks[key].relative_to(root).as_posix(), "No image has the name of this mask.")
    for channel, files in others.items():
        for key in sorted(files.keys() - images.keys()):
            reason = f"No image of the first channel has the name of this '{channel}' image."
            leave_out(files[key].relative_to(root).as_posix(), reason)
    return sorted(result, key=lambda item: natural(item.name))


def _of_channels(key: Key, others: Mapping[str, Mapping[Key, Path]], domain: DomainConfig, relative: str) -> list[Path]:
    """The files of an image's further channels."""
    for name, files in others.items():
        if key not in files:
            raise DataError(
                f"no '{name}' image of its name matches '{', '.join(domain.channels[name])}'",
                where=relative,
                expected="one image for each channel",
            )
    return [files[key] for files in others.values()]


def groups(items: Sequence[ImageEntry]) -> list[list[ImageEntry]]:
    """Groups: the plain images of one patient together, everything else alone."""
    result: dict[tuple[str, str], list[ImageEntry]] = {}
    for item in items:
        flat = item.patient and item.image.name.lower().endswith(_FLAT)
        result.setdefault(("patient", item.patient) if flat else ("item", item.name), []).append(item)
    return list(result.values())


def raw_files(root: Path, domain: DomainConfig, leave_out: LeaveOut) -> list[Path]:
    """Every file that is opened to read the domain, DICOM folders file by file; ``leave_out`` as for :func:`items`."""
    return [*table_files(root, domain), *files_of(items(root, domain, leave_out))]


def table_files(root: Path, domain: DomainConfig) -> list[Path]:
    """The CSV file of a domain, if it has one."""
    return [root / domain.table.file] if domain.table else []


def files_of(entries: Sequence[ImageEntry]) -> list[Path]:
    """The files of images and masks, DICOM folders file by file."""
    files: list[Path] = []
    for item in entries:
        named = [
            item.image,
            *(other.image for other in item.channels),
            *([item.mask] if item.mask else []),
            *(f for fs in item.class_masks.values() for f in fs),
        ]
        for path in named:
            files += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    return files


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key under which "z9" comes before "z10"."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def _find(root: Path, patterns: tuple[str, ...], domain: DomainConfig, kind: str, note: Note) -> dict[Key, Path]:
    files: dict[Key, Path] = {}
    for pattern in patterns:
        # One mask may belong to several images, but an image counted twice would become two patients.
        matches, others = _expand(root, pattern.strip("/"), aliases=kind == "masks")
        if others and in_words(others):
            note(f"{domain.domain} {kind} '{pattern}': {in_words(others)}")
        if not matches:
            raise DataError(
                f"no {domain.domain} {kind} match '{pattern}'",
                where=str(root),
                expected="files ending in " + ", ".join(SUFFIXES) + ", or folders of a DICOM series",
                remedy=f"Correct params.{domain.domain}.{kind} or root",
            )
        for key, path in matches:
            if key in files and files[key] != path:
                _same_name(files[key], path, "_".join(key) or stem(path), root)
            files[key] = path
    return files


def _expand(root: Path, pattern: str, *, aliases: bool = True) -> tuple[list[tuple[Key, Path]], list[Path]]:
    """The files that match a pattern, by the text of its wildcards, and the matches that are not images.

    Args:
        aliases: whether a file is listed under each name that leads to it.
    """
    if not _WILD.search(pattern):
        path = root / pattern
        if path.is_file() or is_series(path):
            return [((), path)], []
        if not path.is_dir():
            return [], []
        images = images_below(path, aliases=aliases)
        others = [p for p in entries_below(path) if is_other(p)]
        return [((_without_suffix(p.relative_to(path).as_posix()),), p) for p in images], others
    parts = pattern.split("/")
    fixed = next(place for place, part in enumerate(parts) if _WILD.search(part))
    depth = None if "**" in pattern else len(parts) - fixed
    start, hidden = root.joinpath(*parts[:fixed]), any(part.startswith(".") for part in parts)
    if not start.is_dir():
        return [], []
    captures = re.compile(_regex(pattern))
    matches = {}
    for path in entries_below(start, aliases=True, depth=depth, hidden=hidden):
        match = captures.fullmatch(path.relative_to(root).as_posix())
        if match:
            matches[path] = tuple(_without_suffix(text or "") for text in match.groups())
    images = [path for path in sorted(matches) if (suffix(path) if path.is_file() else is_series(path))]
    others = [path for path in matches if is_other(path)]
    return [(matches[path], path) for path in (images if aliases else once(images))], others


def _regex(pattern: str) -> str:
    parts, at = [], 0
    for wild in _WILD.finditer(pattern):
        parts.append(re.escape(pattern[at : wild.start()]))
        text = wild.group()
        special = {"**/": "(?:(.*)/)?", "**": "(.*)", "*": "([^/]*)", "?": "([^/])"}
        parts.append(special.get(text, f"({text.replace('[!', '[^')})"))
        at = wild.end()
    return "".join(parts) + re.escape(pattern[at:])


def _without_suffix(text: str) -> str:
    ending = suffix(Path(text))
    return text[: len(text) - len(ending)] if ending else text


def _beside(image: Path, patterns: tuple[str, ...], label: str) -> tuple[Path, ...]:
    folder = image.parent
    files: list[Path] = []
    for pattern in patterns:
        matches = [path for _, path in _expand(folder, pattern)[0] if path.is_file()]
        if not matches:
            raise DataError(
                f"the image {image.name} has no mask of '{label}' that matches '{pattern}'",
                where=str(folder),
                expected="each pattern of masks to match a file beside each image",
            )
        files += matches
    return tuple(files)


def _same_name(first: Path, second: Path, name: str, root: Path) -> None:
    raise DataError(
        f"{first.relative_to(root)} and {second.relative_to(root)} would both be named '{name}'",
        where=str(root),
        expected="different names",
        remedy="Use a wildcard for the part of the path that differs",
    )


def _patient(relative: str, domain: DomainConfig) -> str:
    if not domain.patient:
        return ""
    match = patterns.search(domain.patient, relative)
    if not match or not match[1]:
        raise DataError(
            f"'{domain.patient}' finds no patient in this path",
            where=relative,
            remedy=f"Correct params.{domain.domain}.patient",
        )
    return match[1]


def _millimetres(text: str, relative: str) -> float | None:
    try:
        number = float(text) if text else None
    except ValueError:
        number = 0.0
    if number is not None and not 0 < number < 1000:
        raise DataError(f"the table gives its pixel size as '{text}'", where=relative, expected="millimetres")
    return number


def inside(folder: Path) -> list[Path]:
    """The entries of a folder, sorted.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"the folder cannot be read: {error.strerror}",
            where=str(folder),
            remedy="Correct its permissions or choose another root",
        ) from error


def read_table(path: Path, columns: Sequence[str], where: str) -> list[dict[str, str]]:
    """The rows of a CSV file: commas, semicolons or tabs, with or without byte-order mark; cells stripped.

    Raises:
        DataError: it cannot be read, or lacks one of ``columns``.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the table cannot be read: {error}", where=str(path)) from error
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    present = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = present
    for column in columns:
        if column not in present:
            raise DataError(
                f"the table has no column '{column}'",
                where=where,
                matches=close_matches(column, present),
                expected="one of " + ", ".join(present),
            )
    return [{name: (row[name] or "").strip() for name in present} for row in reader]


def split_of(text: str, what: str, where: str) -> str:
    """The split that a table's text names; empty if the text is empty.

    Raises:
        DataError: the text names no split.
    """
    if text.lower() not in _SPLITS:
        raise DataError(f"the split of {what} is '{text}'", where=where, expected="train, validation or test")
    return _SPLITS[text.lower()]


class _Rows:
    """A CSV file by image."""

    def __init__(self, root: Path, table: PatientTable) -> None:
        self._file = table.file
        self._base = Path(table.file).parent.as_posix()
        self._columns = {
            name: column
            for name, column in vars(table).items()
            if name in ("patient", "split", "scanner", "mm") and column
        }
        self._rows: dict[str, list[dict[str, str]]] = {}
        columns = (table.image, *self._columns.values(), *(name for name, _ in table.where))
        for row in read_table(root / table.file, columns, table.file):
            if all(row[name] == value for name, value in table.where):
                self._rows.setdefault(row[table.image], []).append(row)

    def of(self, relative: str) -> dict[str, str]:
        """The row of an image, found by its path from the root or the table, its name or its stem."""
        path = Path(relative)
        beside = Path(os.path.relpath(relative, self._base)).as_posix()
        keys = (relative, beside, path.name, _without_suffix(path.name))
        rows = next((self._rows[name] for name in keys if name in self._rows), [])
        entries = [{name: row[column] for name, column in self._columns.items()} for row in rows]
        if not entries or not entries[0]["patient"] or any(other != entries[0] for other in entries):
            problem = "names no patient for" if not entries or not entries[0]["patient"] else "has several rows for"
            raise DataError(
                f"the table {problem} {relative}",
                where=self._file,
                remedy="Correct the table, or select rows with 'where'",
            )
        first = entries[0]
        if "split" in first:
            first["split"] = split_of(first["split"], relative, self._file)
        return first
