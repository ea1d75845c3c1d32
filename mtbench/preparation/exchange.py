"""The files of ``mtbench data export``, and how translations of them are matched: file names, and the manifest."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mtbench.data import Slice
from mtbench.errors import DataError
from mtbench.formats import Frame, Geometry, stem
from mtbench.store.images import SLICE_FIELDS, content_of, fields_of, slice_of

MANIFEST = "manifest.json"
SCHEMA = 1
_TEXTS = ("dataset", "domain", "side", "depth", "form", "target_measure_unit")
Window = tuple[float, float]


@dataclass(frozen=True)
class ExportedSlice:
    """One slice of an export.

    Attributes:
        record: as in the data set; for a plain image with the geometry of its case in an export of volumes.
        image, mask: the files, relative to the manifest; ``mask`` is empty if there is none.
        size: height and width of the prepared image.
        sha256: of the prepared image: dtype, shape and values.
    """

    record: Slice
    image: str
    mask: str
    size: tuple[int, int]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of an export.

    Attributes:
        dataset, domain, side: of the slices; ``side`` may be "all".
        depth: stored type of the images: "uint8", "uint16", "float32".
        form: of the files: "png", "npy", "nifti".
        target_window: the target domain's values of black and white, if all its slices have the same;
            else ``None``.
        target_measure_unit: the unit of these values ("HU").
        labels: values of the masks, with their names.
        slices: in the order of the data set.
    """

    dataset: str
    domain: str
    side: str
    depth: str
    form: str
    target_window: Window | None
    target_measure_unit: str
    labels: Mapping[int, str]
    slices: tuple[ExportedSlice, ...]

    def write(self, folder: Path) -> None:
        """As ``manifest.json``; ``docs/translators.md`` describes it."""
        fields = asdict(replace(self, slices=()))
        head = json.dumps({"schema": SCHEMA, **{k: v for k, v in fields.items() if k != "slices"}}, indent=1)
        rows = ",\n".join(f"  {json.dumps(_row(item))}" for item in self.slices)
        text = f'{head.removesuffix("}").rstrip()},\n "slices": [\n{rows}\n ]\n}}\n'
        (folder / MANIFEST).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """From a ``manifest.json``.

        Raises:
            DataError: there is none, or it has another schema.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if fields["schema"] != SCHEMA:
                raise DataError(f"its schema is {fields['schema']}", where=str(path), expected=str(SCHEMA))
            window = fields["target_window"]
            return cls(
                **{name: str(fields[name]) for name in _TEXTS},
                target_window=None if window is None else (float(window[0]), float(window[1])),
                labels={int(value): str(name) for value, name in fields["labels"].items()},
                slices=tuple(_exported(row) for row in fields["slices"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise DataError(
                f"this is not the manifest of an export: {type(error).__name__}: {error}",
                where=str(path),
                expected=f"the {MANIFEST} that `mtbench data export` wrote",
            ) from error

    def check(self, slices: Sequence[Slice], images: Iterable[Any], where: str) -> None:
        """Refuse a manifest of other images.

        Args:
            slices, images: of the run, N records and H x W stored images.
            where: the manifest's name in errors.

        Raises:
            DataError: a slice is not in the manifest, or its content has changed.
        """
        if self.domain != "source":
            raise DataError(
                f"it was written for {self.domain} slices",
                where=where,
                expected="the manifest of an export of source slices, which are a translator's input",
            )
        exported = {item.record.slice_id: item for item in self.slices}
        absent = [s.slice_id for s in slices if s.slice_id not in exported]
        changed = [
            s.slice_id
            for s, image in zip(slices, images, strict=True)
            if s.slice_id in exported and content_of(np.asarray(image)) != exported[s.slice_id].sha256
        ]
        if not absent and not changed:
            return
        some = (absent or changed)[0]
        raise DataError(
            f"it belongs to another revision of the data: of {len(slices)} slices {len(changed)} have changed "
            f"since and {len(absent)} are not in it (the first: '{some}')",
            where=where,
            expected="the manifest of the data set in its current preparation",
            remedy="Export and translate again, or run with the data and parameters that were exported",
        )


def safe(name: str) -> str:
    """``name`` as a file name: "/" and characters not allowed in file names become "_"."""
    return re.sub(r"[^A-Za-z0-9._+=@-]+", "_", name)[:150] or "_"


def names(slices: Sequence[Slice]) -> list[str]:
    """A file name, without ending, of each slice: its id made safe; with a number appended if that is not unique."""
    return _unique([safe(record.slice_id) for record in slices])


def case_names(slices: Sequence[Slice]) -> dict[tuple[str, str], str]:
    """A file name, without ending, of each (patient, case)."""
    cases = list(dict.fromkeys((s.patient_id, s.case_id) for s in slices))
    plain = Counter(safe(case) for _, case in cases)
    wanted = [safe(case) if plain[safe(case)] == 1 else safe(f"{patient}_{case}") for patient, case in cases]
    return dict(zip(cases, _unique(wanted), strict=True))


def accepted(name: str, id: str, file: str) -> set[str]:
    """The names under which a translation of a slice or case is accepted, "/" written as "_": the exported name, its
    id, its raw file's name.
    """
    parts = PurePosixPath(file).with_name(stem(Path(file))).parts if file and file != "." else ()
    return {name, id.replace("/", "_"), *("_".join(parts[start:]) for start in range(len(parts)))}


def placed(slices: Sequence[Slice], size: tuple[int, int]) -> tuple[Slice, ...]:
    """The records, each with a geometry: slices of plain images are stacked by case, axial, in the order of ``index``.

    Args:
        slices: of one domain.
        size: height and width of the prepared images.
    """
    stacks: dict[tuple[str, str], list[Slice]] = {}
    for record in slices:
        if not record.geometry:
            stacks.setdefault((record.patient_id, record.case_id), []).append(record)
    geometries = {}
    for stack in stacks.values():
        row, column = next((s.spacing for s in stack if s.spacing), (1.0, 1.0))
        distance = next((s.thickness for s in stack if s.thickness), 1.0)
        # Columns run to the patient's left and rows to posterior, as in an axial slice: viewers show it upright.
        affine = ((-column, 0.0, 0.0, 0.0), (0.0, -row, 0.0, 0.0), (0.0, 0.0, distance, 0.0), (0.0, 0.0, 0.0, 1.0))
        shape = (size[1], size[0], len(stack))
        for place, record in enumerate(sorted(stack, key=lambda s: (s.index, s.slice_id))):
            geometries[record.slice_id] = Geometry("LPS", shape, affine, "axial", place, Frame.none(size)).to_json()
    return tuple(s if s.geometry else replace(s, geometry=geometries[s.slice_id]) for s in slices)


def _unique(wanted: Sequence[str]) -> list[str]:
    count = Counter(name.lower() for name in wanted)
    return [name if count[name.lower()] == 1 else f"{name}-{place:05d}" for place, name in enumerate(wanted)]


def _row(item: ExportedSlice) -> dict[str, Any]:
    record = fields_of(item.record)
    geometry = json.loads(record.pop("geometry"))
    return {
        "slice_id": record.pop("slice_id"),
        "image": item.image,
        "mask": item.mask,
        "size": item.size,
        **record,
        "affine": geometry.pop("affine"),
        "geometry": geometry,
        "sha256": item.sha256,
    }


def _exported(row: Mapping[str, Any]) -> ExportedSlice:
    known = {name: row[name] for name in SLICE_FIELDS if name != "geometry"}
    geometry = json.dumps({**row["geometry"], "affine": row["affine"]})
    Geometry.from_json(geometry)
    height, width = row["size"]
    record = slice_of({**known, "geometry": geometry})
    return ExportedSlice(record, str(row["image"]), str(row["mask"]), (int(height), int(width)), str(row["sha256"]))
