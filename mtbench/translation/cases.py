"""New images, read and cut into slices, each once before translation starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Slice, encode
from mtbench.errors import DataError
from mtbench.formats import Cut, Volume, check_same_place, read, read_mask
from mtbench.scoring.reading import ProgressReport
from mtbench.translation.cutters import Cutter
from mtbench.translation.files import InputFile

TOGETHER = 2**25
"""Pixels that are held in memory and translated together: as many volumes or images as fit, at least one."""


@dataclass(frozen=True)
class InputSlices:
    """One item, read and cut.

    Attributes:
        item, volume, cut: the file, its values, and how it was cut.
        images: N x H x W, in the stored type for the translator.
        masks: N x H x W label maps, if there are any.
        slices: N records.
    """

    item: InputFile
    volume: Volume
    cut: Cut
    images: NDArray[Any]
    masks: NDArray[np.uint8] | None
    slices: tuple[Slice, ...]

    @property
    def pixels(self) -> int:
        """The number of pixels in memory, of the file or of the slices."""
        return max(self.volume.array.size, self.images.size)


@dataclass
class Inputs:
    """All items, each read once before translation starts; small ones are kept in memory.

    Attributes:
        cutter: how they are cut.
        skip: whether unreadable files are skipped.
        names: of the values that masks may hold; ``None`` for any.
        slices, labels, left_out: the content of the files, and which of them are skipped.
    """

    cutter: Cutter
    skip: bool
    names: Mapping[int, str] | None
    slices: int = 0
    labels: dict[int, str] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    _usable: list[InputFile] = field(default_factory=list)
    _slices_of: dict[Path, InputSlices] = field(default_factory=dict)

    def look(self, items: Sequence[InputFile], report: ProgressReport) -> Inputs:
        """Read everything.

        Raises:
            DataError: a file cannot be used, and ``skip`` is not set.
        """
        pixels = 0
        for done, item in enumerate(items, start=1):
            try:
                case = self._read(item)
            except DataError as error:
                if not self.skip:
                    raise
                self.left_out.append((str(item.path), str(error)))
                continue
            self._usable.append(item)
            self.slices += len(case.slices)
            pixels += case.pixels
            if pixels <= TOGETHER:
                self._slices_of[item.path] = case
            if case.masks is not None:
                self.labels |= {int(v): str(v) for v in np.unique(case.masks) if v}
            report("reading", done, len(items))
        if not self._usable:
            path, reason = self.left_out[0]
            raise DataError(f"no file can be used; the first, {path}: {reason}")
        return self

    def together(self) -> Iterator[list[InputSlices]]:
        """Cases whose slices have the same size, as many as are translated together."""
        group: list[InputSlices] = []
        pixels = 0
        for item in self._usable:
            case = self._slices_of.pop(item.path, None) or self._read(item)
            pixels += case.pixels
            if group and (case.images.shape[1:] != group[0].images.shape[1:] or pixels > TOGETHER):
                yield group
                group, pixels = [], case.pixels
            group.append(case)
        yield group

    def _read(self, item: InputFile) -> InputSlices:
        volume = read(item.path)
        cut = self.cutter.cut(volume)
        images = encode(cut.images(volume), self.cutter.depth)
        masks = self._mask(item, volume, cut) if item.mask else None
        spacing, thickness = volume.in_plane(cut.plane)
        record = Slice(
            item.name,
            item.name,
            item.name,
            spacing=cut.frame.spacing(spacing),
            thickness=thickness,
            measure_unit=volume.measure_unit,
            file=item.path.name,
            scanner=volume.scanner,
        )
        windows = cut.windows * len(images) if len(cut.windows) == 1 else cut.windows
        several = len(images) > 1
        slices = (
            replace(record, slice_id=f"{item.name}/{i:04d}" if several else item.name, index=i, window=window)
            for i, window in enumerate(windows)
        )
        return InputSlices(item, volume, cut, images, masks, tuple(slices))

    def _mask(self, item: InputFile, volume: Volume, cut: Cut) -> NDArray[np.uint8]:
        assert item.mask is not None
        mask = read_mask(item.mask)
        check_same_place(mask, volume, item.path.name)
        labels = cut.masks(mask)
        unknown = [int(v) for v in np.unique(labels) if v and self.names is not None and int(v) not in self.names]
        if unknown:
            listed = ", ".join(f"{value} ({name})" for value, name in (self.names or {}).items())
            raise DataError(
                f"the mask holds the value {unknown[0]}", where=str(item.mask), expected=f"0 or one of {listed}"
            )
        return labels
