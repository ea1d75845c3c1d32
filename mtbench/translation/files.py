"""The files to translate, the masks beside them, and where their translations go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtbench.errors import RequestError, close_matches
from mtbench.formats import is_series, stem, suffix
from mtbench.scoring.reading import files_below


@dataclass(frozen=True)
class Item:
    """One image, stack, volume or DICOM series.

    Attributes:
        path: the file, or the folder of the series.
        name: unique among the items; without the file's ending.
        mask: its label map, where there are such.
        output: where its translation goes: a file, or the folder of a series.
    """

    path: Path
    name: str
    mask: Path | None
    output: Path


def items(given: Path, output: Path, masks: Path | None) -> list[Item]:
    """What is to be translated, in the order of the paths.

    Raises:
        RequestError: nothing is there, masks are missing, or the output is no place for it.
        DataError: the folder holds no images.
    """
    if not given.exists():
        raise RequestError(f"there is no file or folder {given}")
    single = given.is_file() or is_series(given)
    paths = [given] if given.is_file() else files_below(given)
    base = given.parent if given.is_file() else given
    if given.is_file() and not suffix(given):
        raise RequestError(
            f"{given.name} is no image that can be read", expected="a file of another format, or a folder"
        )
    names = {path: _name(path, base, given) for path in paths}
    known = _masks(masks, names, alone=single and len(paths) == 1) if masks else {}
    return [Item(path, names[path], known.get(path), _output(path, given, output)) for path in paths]


def refuse_to_overwrite(found: Sequence[Item], output: Path, given: Path) -> None:
    """Refuse where a translation would take the place of something.

    Raises:
        RequestError: naming the first.
    """
    there = [item.output for item in found if _occupied(item.output)]
    if there:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise RequestError(
            f"{there[0]}{more} exists already",
            expected="an output that does not exist yet",
            remedy="Choose another output, or say --overwrite",
        )


def _occupied(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _name(path: Path, base: Path, given: Path) -> str:
    if path == given:
        return stem(path)
    return path.relative_to(base).with_name(stem(path)).as_posix()


def _output(path: Path, given: Path, output: Path) -> Path:
    if given.is_file():
        if output.is_dir() or not output.suffix:
            return output / given.name
        if suffix(output) != suffix(given):
            raise RequestError(
                f"the output {output.name} is of another format than {given.name}",
                expected=f"a name that ends with {suffix(given)}, or a folder",
            )
        return output
    if output.exists() and not output.is_dir():
        raise RequestError(f"{output} is a file", expected="a folder, as the input is one")
    if output.resolve().is_relative_to(given.resolve()):
        raise RequestError(f"{output} lies in the input {given}", expected="a folder outside it")
    return output if path == given else output / path.relative_to(given)


def _masks(masks: Path, names: dict[Path, str], *, alone: bool) -> dict[Path, Path]:
    if not masks.exists():
        raise RequestError(f"there is no file or folder {masks}", where="--masks")
    if masks.is_file():
        if not alone:
            raise RequestError(f"{masks} is one file for {len(names)} images", where="--masks", expected="a folder")
        return dict.fromkeys(names, masks)
    found = {_name(path, masks, masks): path for path in files_below(masks)}
    for name in names.values():
        if name not in found:
            raise RequestError(
                f"there is no mask called '{name}' in {masks}",
                where="--masks",
                expected="the same names as the images have",
                matches=close_matches(name, found),
            )
    return {path: found[name] for path, name in names.items()}
