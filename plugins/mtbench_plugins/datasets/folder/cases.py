"""From files to cases (a volume, or the plain images of one patient), and from cases to prepared slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Sample, Slice, encode
from mtbench.errors import DataError
from mtbench.formats import PLANES, Cut, Frame, Geometry, Plane, Volume, check_same_place, prepared, read, read_mask
from mtbench_plugins.datasets.folder.config import Config, DomainConfig
from mtbench_plugins.datasets.folder.frames import Frames
from mtbench_plugins.datasets.folder.listing import ImageEntry


@dataclass(frozen=True)
class Group:
    """Files that are read together: a volume, or the plain images of one patient."""

    items: tuple[ImageEntry, ...]
    domain: DomainConfig


@dataclass(frozen=True)
class Picture:
    """One slice as stored in its file.

    Attributes:
        slice_id, index: its name, and its place in the case.
        image: H x W, the file's own values.
        mask: H x W, the mask file's own values, or labels if each label has its own file.
        spacing, thickness: mm per row and column, and between slices.
        item, volume: where it comes from.
    """

    slice_id: str
    index: int
    image: NDArray[np.generic]
    mask: NDArray[np.generic] | None
    spacing: tuple[float, float] | None
    thickness: float | None
    item: ImageEntry
    volume: Volume


Kept = tuple[Picture, NDArray[np.uint8] | None]
"""A slice and its mask, if it has one, with the task's labels; H x W, before framing."""

FrameOf = Callable[[Picture, DomainConfig], Frame]


@dataclass(frozen=True)
class Case:
    """A volume, or the plain images of one patient, in order."""

    case_id: str
    patient_id: str
    pictures: Sequence[Picture]


def image_of(item: ImageEntry) -> Volume:
    """Read the image of an item."""
    return read(item.image)


def cases(
    group: Sequence[ImageEntry], domain: DomainConfig, volume_of: Callable[[ImageEntry], Volume] = image_of
) -> Iterator[Case]:
    """Read the items of one group, each file once; ``volume_of`` gives the image of an item.

    Raises:
        DataError: a file cannot be read, a mask and its image are at different positions, or the patient of a
            plain image is not known.
    """
    flat: list[Picture] = []
    for item in group:
        volume = volume_of(item)
        # A plain image has no planes to choose from: the parameter applies to the volumes beside it.
        plane = plane_of(domain) if volume.array.ndim == 3 else None
        pictures = pictures_of(item, volume, _masks(item, volume, plane), plane)
        if volume.array.ndim == 3:
            yield Case(item.name, item.patient or item.name, pictures)
            continue
        if not item.patient:
            raise DataError(
                "the patient of this image is not known",
                where=item.relative,
                expected=f"params.{domain.domain}.patient or .table, because splits are by patient",
                remedy="patient = '([^/]*)$' makes each file a separate patient",
            )
        flat.append(replace(pictures[0], slice_id=item.name, index=len(flat)))
    if flat:
        yield Case(flat[0].item.patient, flat[0].item.patient, flat)


def samples_of(group: Group, config: Config) -> list[Sample]:
    """The chosen slices of one group.

    Raises:
        DataError: a file cannot be read, or a mask and its image are at different positions.
    """
    frames = Frames(config.resize, config.size, config.mm)
    return [
        sample
        for case in cases(group.items, group.domain)
        for sample in samples_of_case(case, group.domain, config.labels, frames.of)
    ]


def samples_of_case(case: Case, domain: DomainConfig, labels: Mapping[str, int], frame_of: FrameOf) -> Iterator[Sample]:
    """The chosen slices of a case: grey levels uint8, masks with the values of ``labels``."""
    return samples_of_slices(case, kept_slices(case, domain, labels)[:: domain.every], domain, frame_of)


def kept_slices(case: Case, domain: DomainConfig, labels: Mapping[str, int]) -> list[Kept]:
    """The slices within ``slices`` whose mask has ``min_area`` pixels, in order; masks hold the task's labels."""
    instances = _instances(case, domain.from_below) if domain.from_below else None
    first, last = domain.slices or (0, len(case.pictures) - 1)
    kept: list[Kept] = []
    # One look-up of 256 values instead of an operation for each pixel.
    levels = np.arange(256, dtype=np.uint8)
    table = None if domain.class_masks else _task_labels(levels, instances, domain, labels).tobytes()
    for picture in case.pictures[first : last + 1]:
        mask = picture.mask
        if mask is not None:
            if table is not None and mask.dtype == np.uint8:
                mask = np.frombuffer(mask.tobytes().translate(table), np.uint8).reshape(mask.shape)
            else:
                mask = _task_labels(mask, instances, domain, labels)
        if mask is None or np.count_nonzero(mask) >= domain.min_area:
            kept.append((picture, mask))
    return kept


def samples_of_slices(
    case: Case, kept: Sequence[Kept], domain: DomainConfig, frame_of: FrameOf, depth: str = "uint8"
) -> Iterator[Sample]:
    """These slices of a case: grey levels of type ``depth``, with their masks."""
    window = _case_window(case, domain)
    for picture, mask in kept:
        frame = frame_of(picture, domain)
        own = window or _own_window(picture, domain)
        volume, plane = picture.volume, plane_of(domain)
        geometry = Geometry.of(volume, plane, picture.index, frame).to_json() if volume.axes and plane else ""
        record = Slice(
            slice_id=picture.slice_id,
            patient_id=case.patient_id,
            case_id=case.case_id,
            index=picture.index,
            spacing=frame.spacing(picture.spacing),
            thickness=picture.thickness,
            window=own,
            measure_unit=domain.measure_unit or volume.measure_unit,
            file=picture.item.relative,
            geometry=geometry,
            scanner=picture.item.scanner or volume.scanner,
            split=picture.item.split,
        )
        image = encode(prepared(picture.image, frame, own), depth)
        yield Sample(domain.domain, image, record, None if mask is None else frame.mask(mask))


def cut_of(volume: Volume, config: Config) -> Cut:
    """How a new source image or volume is cut: as :func:`samples_of_case` does.

    Raises:
        DataError: it cannot be cut in the same way: it has no orientation, or no spacing although that is needed.
    """
    name, domain = Path(volume.file).name, config.source
    plane = plane_of(domain) if volume.array.ndim == 3 else None
    pictures = pictures_of(ImageEntry(name, Path(volume.file), name, None, {}, name), volume, None, plane)
    window = _case_window(Case(name, name, pictures), domain)
    windows = (window,) if window else tuple(_own_window(picture, domain) for picture in pictures)
    frame = Frames(config.resize, config.size, config.mm).of(pictures[0], domain)
    return Cut(plane if volume.axes else None, frame, windows)


def pictures_of(
    item: ImageEntry, volume: Volume, masks: NDArray[np.generic] | None, plane: Plane | None
) -> list[Picture]:
    """The slices of a volume, or a plain image; ``masks`` are cut in the same plane, slices x H x W."""
    images = volume.slices(plane)
    spacing, thickness = volume.in_plane(plane)
    if spacing is None and item.mm is not None:
        spacing = (item.mm, item.mm)
    name = f"{item.name}_{plane}" if plane else item.name
    digits = max(3, len(str(len(images) - 1)))
    return [
        Picture(
            f"{name}_{index:0{digits}d}",
            index,
            images[index],
            None if masks is None else masks[index],
            spacing,
            thickness,
            item,
            volume,
        )
        for index in range(len(images))
    ]


def plane_of(domain: DomainConfig) -> Plane | None:
    """How the volumes of a domain are cut."""
    return next((plane for plane in PLANES if plane == domain.plane), None)


def _masks(item: ImageEntry, volume: Volume, plane: Plane | None) -> NDArray[np.generic] | None:
    """Raw mask values (label maps) or labels from 1 (one file per class), slices x H x W."""
    if item.mask is not None:
        mask = read_mask(item.mask)
        check_same_place(mask, volume, item.relative)
        return mask.slices(plane)
    if not item.class_masks:
        return None
    label_map = np.zeros(volume.array.shape, np.uint8)
    for label, files in enumerate(item.class_masks.values(), start=1):
        for file in files:
            mask = read_mask(file)
            check_same_place(mask, volume, item.relative)
            label_map[mask.array != 0] = label
    return replace(volume, array=label_map).slices(plane)


def _task_labels(
    raw: NDArray[np.generic], instances: set[int] | None, domain: DomainConfig, labels: Mapping[str, int]
) -> NDArray[np.uint8]:
    """Raw mask values as the task's labels; a value of no label is background."""
    if domain.class_masks:
        order = np.array([0, *(labels[name] for name in domain.class_masks)], np.uint8)
        return order[np.asarray(raw, np.uint8)]
    here = np.isin(raw, list(instances)) if instances is not None else np.True_
    result = np.zeros(raw.shape, np.uint8)
    for name, values in domain.labels.items():
        inside = raw != 0 if values is None else np.isin(raw, values)
        result[inside & here] = labels[name]
    return result


def _instances(case: Case, ranks: tuple[int, int]) -> set[int]:
    """The instances whose mean height over the whole case has one of these ranks, 1 being the lowest."""
    weight: dict[int, tuple[float, int]] = {}
    for picture in case.pictures:
        if picture.mask is None:
            continue
        rows, columns = np.nonzero(picture.mask)
        values, where = np.unique(np.asarray(picture.mask)[rows, columns], return_inverse=True)
        sums = np.bincount(where, weights=rows / picture.mask.shape[0])
        counts = np.bincount(where)
        for value, total, count in zip(values.tolist(), sums.tolist(), counts.tolist(), strict=True):
            before = weight.get(value, (0.0, 0))
            weight[value] = (before[0] + total, before[1] + count)
    lowest_first = sorted(weight, key=lambda value: -weight[value][0] / weight[value][1])
    return set(lowest_first[ranks[0] - 1 : ranks[1]])


def _case_window(case: Case, domain: DomainConfig) -> tuple[float, float] | None:
    """The values of the whole case that become 0 and 255; ``None`` if each image has its own."""
    if domain.normalise == "window":
        return domain.window
    if domain.normalise != "percentile":
        return None
    distinct = {id(p.volume): p.volume.array for p in case.pictures}.values()
    values = np.concatenate([array.ravel() for array in distinct]) if len(distinct) > 1 else next(iter(distinct))
    low, high = percentiles_of(values, domain.percentiles)
    return low, high


def percentiles_of(values: NDArray[np.generic], shares: Sequence[float]) -> list[float]:
    """As ``np.percentile``; Arrow counts integers of 16 bits, which takes a tenth of the time of sorting a volume."""
    import pyarrow as pa
    from pyarrow.compute import quantile

    # In the order of memory, which flipped axes would make a copy for.
    onwards = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in values.strides)
    last = values.size - 1
    places = [share / 100 * last for share in shares]
    neighbours = [round_(place) / max(last, 1) for place in places for round_ in (np.floor, np.ceil)]
    quantiles = quantile(pa.array(values[onwards].ravel(order="K")), neighbours, interpolation="nearest").to_pylist()
    pairs = zip(places, quantiles[::2], quantiles[1::2], strict=True)
    return [float(below + (above - below) * (place - np.floor(place))) for place, below, above in pairs]


def _own_window(picture: Picture, domain: DomainConfig) -> tuple[float, float]:
    if domain.normalise == "image":
        return float(np.min(picture.image)), float(np.max(picture.image))
    white = {"uint8": 255.0, "uint16": 65535.0}.get(picture.image.dtype.name)
    if white is None:
        raise DataError(
            f"its values are {picture.image.dtype} and it is not known which values are black and white",
            where=picture.item.relative,
            expected="8- or 16-bit grey levels for normalise = 'none'",
            remedy=f"Set params.{domain.domain}.normalise to 'percentile', 'image' or 'window'",
        )
    return 0.0, white
