"""How each slice is brought to the common size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mtbench.errors import DataError
from mtbench.formats import Frame
from mtbench_plugins.datasets.folder.config import DomainConfig

if TYPE_CHECKING:
    from mtbench_plugins.datasets.folder.cases import Picture


@dataclass
class Frames:
    """The frame of each slice; without resizing, the first slice of a case sets the size of that case.

    Attributes:
        resize: "plain" to ``size`` x ``size``, "spacing" to ``mm``, then crop or pad to ``size``, or "none".
        size: height and width in pixels.
        mm: millimetres per pixel for "spacing".
    """

    resize: Literal["plain", "spacing", "none"]
    size: int
    mm: float | None = None
    _first: tuple[tuple[int, int], str] | None = field(default=None, repr=False)

    def of(self, picture: Picture, domain: DomainConfig) -> Frame:
        """The frame of one slice.

        Raises:
            DataError: its size differs and nothing is resized, or its spacing is needed and not known.
        """
        native = (picture.image.shape[0], picture.image.shape[1])
        if self.resize == "plain":
            return Frame.plain(native, self.size, domain.crop)
        if self.resize == "none":
            frame = Frame.none(native, domain.crop)
            if self._first is None:
                self._first = (frame.size, picture.item.relative)
            size, first = self._first
            if frame.size != size:
                raise DataError(
                    f"it is {frame.size[0]} x {frame.size[1]} pixels",
                    where=picture.item.relative,
                    expected=f"{size[0]} x {size[1]}, as {first}",
                    remedy="Set params.resize to 'plain' or 'spacing'",
                )
            return frame
        assert self.mm is not None  # checked with the parameters
        if picture.spacing is None:
            raise DataError(
                "its pixel spacing is not known",
                where=picture.item.relative,
                expected="NIfTI, NRRD, MHA or DICOM files, or a table with a column for 'mm'",
                remedy="Set params.resize to 'plain'",
            )
        return Frame.by_spacing(native, picture.spacing, self.mm, self.size, domain.crop)
