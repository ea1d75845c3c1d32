"""The folders of the two challenges: which files belong to a case, and which cases have a truth. No pixel is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtbench.errors import DataError
from mtbench_plugins.datasets.folder.listing import inside

TARGET, MASK = "ct", "mask"
_VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")


@dataclass(frozen=True)
class Layout:
    """How a challenge names its files.

    Attributes:
        ending: of the volumes.
        regions: the folder of each region and its letters in the names of cases.
    """

    ending: str
    regions: Mapping[str, str]


LAYOUTS = {
    2023: Layout(".nii.gz", {"brain": "B", "pelvis": "P"}),
    2025: Layout(".mha", {"AB": "AB", "HN": "HN", "TH": "TH"}),
}


@dataclass(frozen=True)
class Case:
    """The files of a case with a truth."""

    source: Path
    target: Path
    mask: Path


@dataclass
class Found:
    """The cases of one task and region.

    Attributes:
        cases: those with a truth, by name.
        hidden: names of cases with a source and a mask only: those of the challenge's validation and test sets.
        unusable: the reason by name, for cases that lack another file, or have a file of another name.
    """

    cases: dict[str, Case] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)


def find(root: Path, layout: Layout, task: int, region: str, source: str, obtain: str) -> Found:
    """All cases below ``root``, in which several archives may be unpacked; a case may be spread over archives.

    Args:
        root: the folder of the archives.
        layout: of the challenge.
        task: 1 or 2.
        region: folder of the region.
        source: stem of the source files, "mr" or "cbct".
        obtain: how to get the files, for the message.

    Raises:
        DataError: no folder of this task and region, or no case with a truth in it.
    """
    names = {kind: f"{kind}{layout.ending}" for kind in (source, TARGET, MASK)}
    folders: dict[str, list[Path]] = {}
    for place in _places(root, task, region, obtain):
        for folder in inside(place):
            if folder.is_dir() and not folder.name.startswith((".", "overview")):
                folders.setdefault(folder.name, []).append(folder)
    form = re.compile(rf"{task}{layout.regions[region]}[A-Z]\d{{3}}")
    found = Found()
    for case, parts in folders.items():
        if not form.fullmatch(case):
            expected = f"{task}{layout.regions[region]}, the letter of a centre and three digits"
            error = DataError("this is not the name of a case", where=_short(parts[0], root), expected=expected)
            found.unusable[case] = str(error)
            continue
        try:
            files = _files(parts, names, root)
        except DataError as error:
            found.unusable[case] = str(error)
            continue
        if TARGET in files:
            found.cases[case] = Case(files[source], files[TARGET], files[MASK])
        else:
            found.hidden.append(case)
    return found


def _files(folders: list[Path], names: Mapping[str, str], root: Path) -> dict[str, Path]:
    """The files of a case by kind; without ``TARGET`` if its truth is hidden.

    Raises:
        DataError: a file is missing, has another name, or is there twice.
    """
    files: dict[str, Path] = {}
    others: list[str] = []
    kinds = {name: kind for kind, name in names.items()}
    for path in (path for folder in folders for path in inside(folder)):
        kind = kinds.get(path.name)
        if kind in files:
            about = f"{_short(files[kind], root)} and {_short(path, root)} are the same file of one case"
            raise DataError(about, expected="one", remedy="Remove one of the two archives")
        if kind:
            files[kind] = path
        elif path.name.lower().endswith(_VOLUMES):
            others.append(path.name)
    missing = [name for kind, name in names.items() if kind not in files]
    # A truth that is hidden leaves no trace; one under another name does.
    if missing and (others or missing != [names[TARGET]]):
        where = _short(folders[0], root)
        beside = f"; it has {', '.join(others)}" if others else ""
        raise DataError(
            f"the case has no {' and no '.join(missing)}{beside}",
            where=where,
            expected=", ".join(names.values()),
            remedy="Rename the file" if others else "Unpack the archive again",
        )
    return files


def _places(root: Path, task: int, region: str, obtain: str) -> list[Path]:
    """The folders of the region, in the root or in a folder of it; the root may also be the folder of the task."""
    below = Path(f"Task{task}") / region
    tops = [root, *(path for path in inside(root) if path.is_dir())]
    places = [top / below for top in tops if (top / below).is_dir()]
    if root.name == below.parts[0] and (root / region).is_dir():
        places.append(root / region)
    if not places:
        there = sorted({_short(path, root) for top in tops for path in _regions(top)})
        raise DataError(
            f"the folder {below.as_posix()} is missing" + (f"; there is {', '.join(there)}" if there else ""),
            where=str(root),
            expected=f"{below.as_posix()}/CASE in the root or in a folder of it",
            remedy=obtain,
        )
    return places


def _regions(top: Path) -> Iterator[Path]:
    yield from (path for path in top.glob("Task[12]/*") if path.is_dir())


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
