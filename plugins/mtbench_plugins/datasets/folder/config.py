"""The parameters of ``folder``, checked and typed. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mtbench.errors import ParamError, close_matches
from mtbench_plugins.datasets.folder import checks

Normalise = Literal["percentile", "window", "image", "none"]
PLANE_NAMES = ("axial", "coronal", "sagittal")
CT_WINDOW = (-1000.0, 1000.0)
"""In HU; what becomes 0 and 255 where ``unit = "HU"`` and nothing else is said."""

_DOMAIN_KEYS = (
    *("name", "images", "masks", "labels", "from_below", "patient", "table"),
    *("plane", "slices", "every", "min_area", "crop"),
    *("normalise", "window", "percentiles", "unit"),
)
_TABLE_KEYS = ("file", "image", "patient", "split", "scanner", "mm", "where")


@dataclass(frozen=True)
class Table:
    """A CSV file that knows the patients.

    Attributes:
        file: relative to the root.
        image: column with the image's path, name or stem.
        patient, split, scanner, mm: columns; empty where there is none. ``mm`` is the size of a pixel.
        where: only rows whose columns have these values count.
    """

    file: str
    image: str = "file"
    patient: str = "patient"
    split: str = ""
    scanner: str = ""
    mm: str = ""
    where: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Domain:
    """One side of the task.

    Attributes:
        domain: "source" or "target".
        name: as printed.
        images: patterns relative to the root: a glob, a folder, a file, the folder of a DICOM series.
        masks: patterns of label maps, matched to images by what the wildcards stand for.
        class_masks: instead, for each label the patterns of binary files, relative to the image's folder.
        values: for each label the values in ``masks`` that mean it; ``None`` for any value but 0.
        from_below: first and last rank, from 1, of the mask's instances that are kept, counted from the
            lowest upwards over the whole case; ``None`` keeps all.
        patient: a regular expression whose first group, in the path relative to the root, is the patient.
        table: or a CSV file that says so.
        plane: how volumes are cut.
        slices: first and last slice of each case, from 0; ``None`` for all.
        every: keep each n-th of them.
        min_area: keep only slices whose mask has that many pixels, before cropping and resizing.
        crop: the part of each upright slice that is used: top, bottom, left, right, as fractions of it.
        normalise: which values become 0 and 255: percentiles of the case, a fixed window, the extremes of
            each image, or those of an 8- or 16-bit file as it is. By default a window where ``window`` or
            ``unit = "HU"`` is given (CT), and percentiles elsewhere (MR).
        window: low and high for "window", in ``unit``.
        percentiles: low and high for "percentile".
        unit: of the values in the files; empty: as the file says.
    """

    domain: Literal["source", "target"]
    name: str
    images: tuple[str, ...]
    masks: tuple[str, ...]
    class_masks: Mapping[str, tuple[str, ...]]
    values: Mapping[str, tuple[int, ...] | None]
    from_below: tuple[int, int] | None
    patient: str
    table: Table | None
    plane: str
    slices: tuple[int, int] | None
    every: int
    min_area: int
    crop: tuple[float, float, float, float]
    normalise: Normalise
    window: tuple[float, float] | None
    percentiles: tuple[float, float]
    unit: str

    @property
    def has_masks(self) -> bool:
        """Whether the domain comes with masks."""
        return bool(self.masks or self.class_masks)


@dataclass(frozen=True)
class Config:
    """All parameters. ``labels`` maps each label's name to its value in the prepared masks: 1, 2, ..."""

    source: Domain
    target: Domain
    labels: Mapping[str, int]
    resize: Literal["plain", "spacing", "none"]
    size: int
    mm: float | None

    @property
    def domains(self) -> tuple[Domain, Domain]:
        """Source, then target."""
        return self.source, self.target

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Config:
        """From the complete parameters of the spec.

        Raises:
            ParamError: an unknown key, a missing one, or values that do not go together.
        """
        shared = _values(params.get("labels") or {}, "labels")
        names = list(shared)
        for side in ("source", "target"):
            masks = (params.get(side) or {}).get("masks")
            if isinstance(masks, Mapping) and not shared:
                names += [name for name in masks if name not in names]
        source = _domain("source", params.get("source"), shared, names)
        target = _domain("target", params.get("target"), shared, names)
        if params["resize"] == "spacing" and params.get("mm") is None:
            raise ParamError("resize is 'spacing' and 'mm' is missing", where="dataset 'folder'", expected="mm = 1.0")
        labels = {name: i for i, name in enumerate(names, start=1)}
        return cls(source, target, labels, params["resize"], params["size"], params.get("mm"))


def _domain(
    side: Literal["source", "target"],
    given: Any,
    shared: Mapping[str, tuple[int, ...] | None],
    names: list[str],
) -> Domain:
    where = f"dataset 'folder', params.{side}"
    if not isinstance(given, Mapping) or "images" not in given:
        raise ParamError("it does not say where the images are", where=where, expected='images = "folder/*.png"')
    checks.known(given, _DOMAIN_KEYS, where)
    masks = given.get("masks", ())
    class_masks = (
        {k: checks.texts(v, f"{where}.masks.{k}") for k, v in masks.items()} if isinstance(masks, Mapping) else {}
    )
    patterns = () if class_masks else checks.texts(masks, f"{where}.masks")
    values = _values(given["labels"], f"{where}.labels") if "labels" in given else shared
    if (patterns or class_masks) and not names:
        raise ParamError(
            "there are masks and no labels",
            where=where,
            expected='labels = {tumour = 1} or labels = {bone = "nonzero"}',
        )
    for name in (*class_masks, *(values if patterns else ())):
        if name not in names:
            raise ParamError(f"there is no label '{name}'", where=where, matches=close_matches(name, names))
    lacking = [n for n in names if n not in (class_masks or values)] if patterns or class_masks else []
    if lacking:
        raise ParamError(
            f"its masks do not know the label '{lacking[0]}'",
            where=where,
            expected="the same labels in both domains",
        )
    window = checks.pair(given["window"], f"{where}.window") if "window" in given else None
    # CT has a scale of its own, MR has none: so a fixed window for the one, percentiles for the other.
    fixed = window is not None or given.get("unit") == "HU"
    normalise = checks.choice(
        given.get("normalise", "window" if fixed else "percentile"), get_args(Normalise), f"{where}.normalise"
    )
    if normalise == "window" and window is None and given.get("unit") == "HU":
        window = CT_WINDOW
    if (normalise == "window") != (window is not None):
        raise ParamError('normalise = "window" and window = [low, high] go together', where=where)
    if "patient" in given and "table" in given:
        raise ParamError("both 'patient' and 'table' are given", where=where, expected="one of them")
    if "from_below" in given and not patterns:
        raise ParamError("'from_below' needs masks with a value for each instance", where=where)
    if given.get("min_area") and not (patterns or class_masks):
        raise ParamError("'min_area' needs masks", where=where)
    return Domain(
        domain=side,
        name=str(given.get("name", side)),
        images=checks.texts(given["images"], f"{where}.images"),
        masks=patterns,
        class_masks=class_masks,
        values=values,
        from_below=checks.span(given["from_below"], f"{where}.from_below", 1) if "from_below" in given else None,
        patient=checks.expression(str(given.get("patient", "")), where),
        table=_table(given["table"], where) if "table" in given else None,
        plane=checks.choice(given.get("plane", ""), ("", *PLANE_NAMES), f"{where}.plane"),
        slices=checks.span(given["slices"], f"{where}.slices", 0) if "slices" in given else None,
        every=checks.whole(given.get("every", 1), f"{where}.every", 1),
        min_area=checks.whole(given.get("min_area", 0), f"{where}.min_area", 0),
        crop=checks.crop(given.get("crop", (0.0, 1.0, 0.0, 1.0)), f"{where}.crop"),
        normalise=normalise,
        window=window,
        percentiles=checks.percentiles(given.get("percentiles", (0.5, 99.5)), where),
        unit=str(given.get("unit", "")),
    )


def _table(given: Any, where: str) -> Table:
    where = f"{where}.table"
    if isinstance(given, str):
        given = {"file": given}
    if not isinstance(given, Mapping) or "file" not in given:
        raise ParamError("it names no file", where=where, expected='table = {file = "slices.csv", patient = "patient"}')
    checks.known(given, _TABLE_KEYS, where)
    rows = given.get("where", {})
    if not isinstance(rows, Mapping):
        raise ParamError(f"'where' is {rows!r}", where=where, expected='where = {column = "value"}')
    checks.texts(given["file"], f"{where}.file")
    texts = {key: str(given[key]) for key in _TABLE_KEYS[:-1] if key in given}
    return Table(**texts, where=tuple((str(k), str(v)) for k, v in rows.items()))


def _values(given: Any, where: str) -> dict[str, tuple[int, ...] | None]:
    if not isinstance(given, Mapping):
        raise ParamError(f"it is {given!r}", where=where, expected='{breast = 1, fgt = 2} or {bone = "nonzero"}')
    result: dict[str, tuple[int, ...] | None] = {}
    for name, value in given.items():
        if value == "nonzero":
            result[name] = None
            continue
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(isinstance(v, int) and not isinstance(v, bool) and v != 0 for v in listed):
            raise ParamError(
                f"label '{name}' is {value!r}",
                where=where,
                expected='a whole number other than 0, a list of them, or "nonzero"',
            )
        result[name] = tuple(listed)
    used = [v for values in result.values() for v in values or ()]
    if len(used) != len(set(used)) or (None in result.values() and len(result) > 1):
        raise ParamError(
            "one mask value belongs to two labels", where=where, expected="values of its own for each label"
        )
    return result
