"""Which values of a file are black and white."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mtbench import DataError, Slice
from mtbench.formats import Volume, is_window

Window = tuple[float, float]
_PAIR = re.compile(r"([^%]+?)(%?)\.\.([^%]+?)(%?)")


@dataclass(frozen=True)
class Values:
    """How values become [0, 1].

    Attributes:
        rule: "auto", "source", or two numbers.
        percent: whether the numbers are percentiles of each file.
        target: the window of the target domain, if the manifest has one, with its unit.
        unit: of ``target``.
    """

    rule: str | Window
    percent: bool = False
    target: Window | None = None
    unit: str = ""

    @classmethod
    def of(cls, text: str, target: Window | None, unit: str) -> Values:
        """From the parameter ``window``.

        Raises:
            DataError: the text has none of these forms.
        """
        if text in ("auto", "source"):
            return cls(text, target=target, unit=unit)
        match = _PAIR.fullmatch(text.strip())
        try:
            low, high = (float(match[1]), float(match[3])) if match and match[2] == match[4] else (1.0, 0.0)
        except ValueError:
            low, high = 1.0, 0.0
        percent = bool(match and match[2])
        if not is_window(low, high) or (percent and not 0 <= low < high <= 100):
            raise DataError(
                f"window = {text!r} cannot be used",
                where="translator 'precomputed'",
                expected="auto, source, LOW..HIGH (-200..800) or percentiles (1%..99%)",
            )
        return cls((low, high), percent, target, unit)

    def window(self, volume: Volume, record: Slice) -> tuple[Window, str]:
        """The values of a file that become 0 and 1, and a sentence on how they were chosen; empty if it is obvious.

        Args:
            volume: the file.
            record: the source slice of the translation.

        Raises:
            DataError: they cannot be determined.
        """
        array = volume.array
        if isinstance(self.rule, tuple):
            if not self.percent:
                return self.rule, ""
            low, high = np.percentile(np.asarray(array, np.float32), self.rule)
            return (float(low), float(high)), ""
        if self.rule == "source":
            if record.window is None:
                raise DataError("its source slice has no window", where=volume.file, expected="window=LOW..HIGH")
            return record.window, ""
        name = array.dtype.name
        if name == "uint8":
            return (0.0, 255.0), ""
        if name == "uint16" and not volume.axes:
            return (0.0, 65535.0), ""
        if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
            return (0.0, 1.0), ""
        if self.target is not None:
            low, high = self.target
            if array.max() - array.min() <= 2.1 < (high - low) / 10:
                raise DataError(
                    f"its values range from {array.min():.3g} to {array.max():.3g}, a small part of the target's "
                    f"{low:g} to {high:g} {self.unit}".rstrip(),
                    where=volume.file,
                    expected="the target's values, or precomputed:window=LOW..HIGH (-1..1 for a tanh)",
                )
            return (
                self.target,
                f"Values of the files were read as the target's: {low:g} to {high:g} {self.unit}".strip() + ".",
            )
        raise DataError(
            f"its values range from {array.min():g} to {array.max():g}, and the values of black and white are not "
            "known",
            where=volume.file,
            expected="8 or 16 bits, floats in [0, 1], or precomputed:window=LOW..HIGH (or 1%..99%, or source)",
        )
