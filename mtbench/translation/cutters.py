"""How new images become slices: by the user's options, or as in the data set of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mtbench.data import Slice, encode
from mtbench.errors import DataError, RequestError
from mtbench.formats import PLANES, Cut, Frame, Geometry, Plane, Volume
from mtbench.formats.limits import IMAGE, limit
from mtbench.formats.placing import Window, is_window
from mtbench.registry.contracts import VolumeCutting
from mtbench.registry.registry import Registry
from mtbench.registry.specs import DatasetSpec
from mtbench.stages.unit import unit_of
from mtbench.store.artefacts import Artefact
from mtbench.store.images import read_slices


@dataclass(frozen=True)
class CutOptions:
    """The user's options for new images.

    Attributes:
        plane: how volumes are cut.
        window: the values that become 0 and 1.
        percentiles: or the percentiles of each volume that become 0 and 1.
        size: height and width that slices are resized to for the translator, and back.
    """

    plane: Plane | None = None
    window: Window | None = None
    percentiles: Window | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.plane is not None and self.plane not in PLANES:
            raise RequestError(f"unknown plane '{self.plane}'", expected="one of " + ", ".join(PLANES))
        if self.size is not None and not 1 <= self.size**2 <= limit(IMAGE):
            raise RequestError(
                f"slices of {self.size} x {self.size} are too large",
                expected=f"a size from 1 to {math.isqrt(limit(IMAGE))} ({IMAGE} raises it)",
            )
        for name, pair in (("window", self.window), ("percentiles", self.percentiles)):
            check_window(name, pair)
        if self.window and self.percentiles:
            raise RequestError("both a window and percentiles are set", expected="one of them")
        if self.percentiles and not (self.percentiles[0] >= 0 and self.percentiles[1] <= 100):
            raise RequestError("percentiles lie between 0 and 100", expected="1%,99%")


def check_window(name: str, pair: Window | None) -> None:
    """Refuse two values that cannot be black and white.

    Raises:
        RequestError: they are not finite, or not in this order.
    """
    if pair is not None and not is_window(*pair):
        raise RequestError(
            f"the {name} {pair[0]:g},{pair[1]:g} is empty or not finite", expected="LOW,HIGH, finite, LOW below HIGH"
        )


@dataclass(frozen=True)
class Cutter:
    """How new images are cut, and the meaning of translated values.

    Attributes:
        cut: of each image or volume.
        depth: how the slices are stored before and after translation.
        target: the values of 0 and 1 in the target domain, and their unit, if known.
    """

    cut: Callable[[Volume], Cut]
    depth: str = "float32"
    target: Window | None = None
    measure_unit: str = ""


def by_hand(options: CutOptions) -> Cutter:
    """By the user's options; 8-bit images, plain 16-bit ones and floats in [0, 1] need no window."""

    def cut(volume: Volume) -> Cut:
        plane = _plane(volume, options.plane)
        native = _native(volume, plane)
        frame = Frame.plain(native, options.size) if options.size else Frame.none(native)
        return Cut(plane, frame, (_window(volume, options),))

    return Cutter(cut)


def as_prepared(data: Artefact, registry: Registry, options: CutOptions) -> Cutter:
    """As in the data set ``data``; the user's options take precedence.

    If the data set's object has ``cut(volume)``, it decides. Otherwise plane, frame and window are those that all its
    prepared source slices share.
    """
    description = json.loads((data.path / "task.json").read_text(encoding="utf-8"))
    sources, targets = read_slices(data.path, "source"), read_slices(data.path, "target")
    unit = unit_of(data)
    plugin = registry.get(DatasetSpec, unit.plugin).create(unit.arguments)
    window, where = _common([s.window for s in sources]), unit.task.dataset
    own_plane = Geometry.from_json(sources[0].geometry).plane if sources[0].geometry else None

    def cut(volume: Volume) -> Cut:
        if isinstance(plugin, VolumeCutting) and volume.axes and own_plane is None:
            cutting = _as_plain(plugin, volume, options)
        elif isinstance(plugin, VolumeCutting):
            cutting = plugin.cut(volume)
            if options.plane and cutting.plane and options.plane != cutting.plane:
                raise RequestError(
                    f"--plane {options.plane}", expected=f"{cutting.plane}, the plane of '{where}', or no --plane"
                )
        else:
            cutting = _like(sources[0], volume, options, description["size"], window, where)
        if options.size:
            cutting = replace(cutting, frame=Frame.plain(cutting.frame.native, options.size))
        if options.window or options.percentiles:
            cutting = replace(cutting, windows=(_window(volume, options),))
        return cutting

    return Cutter(
        cut, description["depth"], _common([s.window for s in targets]), targets[0].measure_unit if targets else ""
    )


def _like(
    first: Slice, volume: Volume, options: CutOptions, size: tuple[int, int], window: Window | None, where: str
) -> Cut:
    """In the way of a prepared slice."""
    geometry = Geometry.from_json(first.geometry) if first.geometry else None
    plane = _plane(volume, options.plane or (geometry.plane if geometry else None))
    native = _native(volume, plane)
    spacing = volume.in_plane(plane)[0]
    if geometry is None or geometry.frame.scaled == geometry.frame.size or not (spacing and first.spacing):
        unscaled = Frame.none(native)
        frame = replace(unscaled, scaled=(size[0], size[1]), size=(size[0], size[1]))
    else:
        frame = Frame.by_spacing(native, spacing, first.spacing[0], size[0])
    if not (options.window or options.percentiles):
        try:
            window = window or _window(volume, options)
        except DataError as error:
            raise DataError(
                f"the slices of '{where}' have different windows, and the window of this file is not known",
                where=volume.file,
                expected="--window LOW,HIGH, or percentiles of each volume: --window 1%,99%",
            ) from error
    else:
        window = _window(volume, options)
    return Cut(plane, frame, (window,))


def _as_plain(plugin: VolumeCutting, volume: Volume, options: CutOptions) -> Cut:
    """In the way of a data set of plain images: it receives the slices of the volume as 8-bit images."""
    plane, (low, high) = _plane(volume, options.plane), _window(volume, options)
    grey = encode((volume.slices(plane).astype(np.float32) - low) / (high - low), "uint8")
    cut = plugin.cut(Volume(grey, volume.file, spacing=volume.in_plane(plane)[0]))
    return replace(cut, plane=plane, windows=((low, high),))


def _common(windows: list[Window | None]) -> Window | None:
    different = set(windows)
    return windows[0] if len(different) == 1 else None


def _plane(volume: Volume, plane: Plane | None) -> Plane | None:
    if volume.axes and plane is None:
        raise DataError(
            "this is a volume, and the plane of its slices is not known",
            where=volume.file,
            expected="--plane axial, coronal or sagittal, the plane of the translator's training slices",
        )
    return plane if volume.axes else None


def _native(volume: Volume, plane: Plane | None) -> tuple[int, int]:
    height, width = volume.slices(plane).shape[1:]
    return int(height), int(width)


def _window(volume: Volume, options: CutOptions) -> Window:
    if options.window:
        return options.window
    array = volume.array
    if options.percentiles:
        low, high = np.percentile(np.asarray(array, np.float32), options.percentiles)
        return float(low), float(high)
    name = array.dtype.name
    if name == "uint8" or (name == "uint16" and not volume.axes):
        return (0.0, 255.0) if name == "uint8" else (0.0, 65535.0)
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        return 0.0, 1.0
    raise DataError(
        f"its values range from {array.min():g} to {array.max():g}, and the values of black and white are not known",
        where=volume.file,
        expected="--window LOW,HIGH, or percentiles of each volume: --window 1%,99%",
    )
