"""The files to translate, their masks, and the paths of their translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtbench.errors import RequestError, close_matches
from mtbench.formats import is_series, stem, suffix
from mtbench.scoring.reading import files_below


@dataclass(frozen=True)
class InputFile:
    """One image, stack, volume or DICOM series.

    Attributes:
        path: the file, or the folder of the series.
        name: unique among the items; without the file's ending.
        mask: its label map, if any.
        output: the path of its translation: a file, or the folder of a series.
    """

    path: Path
    name: str
    mask: Path | None
    output: Path


def items(input: Path, output: Path, masks: Path | None) -> list[InputFile]:
    """The items to translate, in the order of the paths.

    Raises:
        RequestError: the input does not exist, masks are missing, or the output path cannot be used.
        DataError: the folder holds no images.
    """
    if not input.exists():
        raise RequestError(f"the file or folder {input} does not exist")
    single = input.is_file() or is_series(input)
    paths = [input] if input.is_file() else files_below(input)
    base = input.parent if input.is_file() else input
    if input.is_file() and not suffix(input):
        raise RequestError(
            f"{input.name} is not in a supported image format", expected="a file of another format, or a folder"
        )
    names = {path: _name(path, base, input) for path in paths}
    mask_of = _masks(masks, names, alone=single and len(paths) == 1) if masks else {}
    return [InputFile(path, names[path], mask_of.get(path), _output(path, input, output)) for path in paths]


def refuse_to_overwrite(items: Sequence[InputFile], output: Path, input: Path) -> None:
    """Refuse to overwrite files.

    Raises:
        RequestError: an output exists; the text names the first.
    """
    outputs = [item.output for item in items]
    existing = [path for path in outputs if (any(path.iterdir()) if path.is_dir() else path.exists())]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise RequestError(
            f"{existing[0]}{more} exists already",
            expected="an output that does not exist yet",
            remedy="Choose another output, or add --overwrite",
        )


def _name(path: Path, base: Path, input: Path) -> str:
    if path == input:
        return stem(path)
    return path.relative_to(base).with_name(stem(path)).as_posix()


def _output(path: Path, input: Path, output: Path) -> Path:
    if input.is_file():
        if output.is_dir() or not output.suffix:
            return output / input.name
        if suffix(output) != suffix(input):
            raise RequestError(
                f"the output {output.name} is of another format than {input.name}",
                expected=f"a name that ends with {suffix(input)}, or a folder",
            )
        return output
    if output.exists() and not output.is_dir():
        raise RequestError(f"{output} is a file", expected="a folder, because the input is one")
    if output.resolve().is_relative_to(input.resolve()):
        raise RequestError(f"{output} lies in the input {input}", expected="a folder outside it")
    return output if path == input else output / path.relative_to(input)


def _masks(masks: Path, names: dict[Path, str], *, alone: bool) -> dict[Path, Path]:
    if not masks.exists():
        raise RequestError(f"the file or folder {masks} does not exist", where="--masks")
    if masks.is_file():
        if not alone:
            raise RequestError(f"{masks} is one file for {len(names)} images", where="--masks", expected="a folder")
        return dict.fromkeys(names, masks)
    by_name = {_name(path, masks, masks): path for path in files_below(masks, aliases=True)}
    for name in names.values():
        if name not in by_name:
            raise RequestError(
                f"{masks} has no mask named '{name}'",
                where="--masks",
                expected="masks with the names of the images",
                matches=close_matches(name, by_name),
            )
    return {path: by_name[name] for path, name in names.items()}
