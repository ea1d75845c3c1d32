"""The parameters of ``folder``, checked and typed."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from mtbench import patterns
from mtbench.errors import ParamError, close_matches
from mtbench.formats.placing import is_window
from mtbench.typed import MismatchError, Rule, Wording, read

CT_WINDOW = (-1000.0, 1000.0)
"""In HU; becomes 0 and 255 if ``measure_unit = "HU"`` and the suite sets no window."""

_EXPECTED = Wording(ParamError, wrong="it is {value!r}")


def _patterns(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(v, str) and v for v in listed):
        raise MismatchError("a pattern or a list of patterns")
    for text in listed:
        if text.startswith(("/", "~")) or ".." in text.split("/"):
            raise MismatchError("a path relative to 'root'", f"the path '{text}' leads out of the root")
    return tuple(listed)


def _masks(value: Any) -> Any:
    if isinstance(value, Mapping) and value:
        return {label: _patterns(patterns) for label, patterns in value.items()}
    return _patterns(value)


def _file(value: Any) -> Any:
    return value if _patterns(value) else None


def _expression(value: Any) -> str:
    try:
        groups = patterns.check(str(value))
    except ValueError as error:
        raise MismatchError(what=f"'patient' is not a usable regular expression: {error}") from error
    if value and groups < 1:
        raise MismatchError("brackets around the patient's part, like '(\\d+)_z'", f"'patient' has no group: {value}")
    return str(value)


def _labels(value: Any) -> dict[str, tuple[int, ...] | None]:
    if not isinstance(value, Mapping):
        raise MismatchError('{breast = 1, fgt = 2} or {bone = "nonzero"}')
    result: dict[str, tuple[int, ...] | None] = {}
    for name, of_label in value.items():
        listed = of_label if isinstance(of_label, list) else [of_label]
        if of_label == "nonzero":
            result[name] = None
        elif listed and all(isinstance(v, int) and not isinstance(v, bool) and v != 0 for v in listed):
            result[name] = tuple(listed)
        else:
            expected = 'a whole number other than 0, a list of them, or "nonzero"'
            raise MismatchError(expected, f"label '{name}' is {of_label!r}")
    used = [v for values in result.values() for v in values or ()]
    if len(used) != len(set(used)) or (None in result.values() and len(result) > 1):
        raise MismatchError("different values for each label", "two labels share a mask value")
    return result


def _rows(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise MismatchError('where = {column = "value"}', f"'where' is {value!r}")
    return tuple((str(column), str(content)) for column, content in value.items())


def _span(least: int) -> Rule:
    return Rule(f"[first, last], whole numbers from {least}", lambda span: least <= span[0] <= span[1])


def _from(least: int) -> Rule:
    return Rule(f"a whole number from {least}", lambda number: number >= least)


_LOW_HIGH = Rule("[low, high], finite, with low below high", lambda pair: is_window(*pair))
_PERCENT = Rule("two numbers from 0 to 100", lambda pair: pair[0] >= 0 and pair[1] <= 100, of_type=False)
_CROP = Rule(
    "[top, bottom, left, right], fractions from 0 to 1", lambda c: 0 <= c[0] < c[1] <= 1 and 0 <= c[2] < c[3] <= 1
)

Text = Annotated[str, str]
Patterns = Annotated[tuple[str, ...], _patterns]
Labels = Annotated[Mapping[str, tuple[int, ...] | None], _labels]


@dataclass(frozen=True)
class PatientTable:
    """A CSV file that names the patients.

    Attributes:
        file: relative to the root.
        image: column with the image's path, name or stem.
        patient, split, scanner, mm: columns; empty if there is none. ``mm`` is the size of a pixel.
        where: only rows whose columns have these values count.
    """

    file: Annotated[str, _file]
    image: Text = "file"
    patient: Text = "patient"
    split: Text = ""
    scanner: Text = ""
    mm: Text = ""
    where: Annotated[tuple[tuple[str, str], ...], _rows] = ()


@dataclass(frozen=True)
class DomainConfig:
    """One domain of the task.

    Attributes:
        domain: "source" or "target".
        name: as printed.
        images: patterns relative to the root: a glob, a folder, a file, the folder of a DICOM series; with ``channels``
            those of the first.
        masks: patterns of label maps, matched to images by what the wildcards stand for; or for each label the
            patterns of binary files, relative to the image's folder.
        labels: for each label the values in the label maps that mean it; ``None`` for any value but 0.
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
            ``measure_unit = "HU"`` is given (CT), and percentiles elsewhere (MR).
        window: low and high for "window", in ``measure_unit``.
        percentiles: low and high for "percentile".
        measure_unit: of the values in the files; empty: as the file says.
        channels: of a source with several channels, the patterns of each by its name; a user gives them as ``images``.
    """

    domain: Literal["source", "target"]
    name: Text
    images: Patterns
    masks: Annotated[tuple[str, ...] | Mapping[str, tuple[str, ...]], _masks]
    labels: Labels
    from_below: Annotated[tuple[int, int], _span(1)] | None = None
    patient: Annotated[str, _expression] = ""
    table: PatientTable | None = None
    plane: Literal["", "axial", "coronal", "sagittal"] = ""
    slices: Annotated[tuple[int, int], _span(0)] | None = None
    every: Annotated[int, _from(1)] = 1
    min_area: Annotated[int, _from(0)] = 0
    crop: Annotated[tuple[float, float, float, float], _CROP] = (0.0, 1.0, 0.0, 1.0)
    normalise: Literal["percentile", "window", "image", "none"] = "percentile"
    window: Annotated[tuple[float, float], _LOW_HIGH] | None = None
    percentiles: Annotated[tuple[float, float], _LOW_HIGH, _PERCENT] = (0.5, 99.5)
    measure_unit: Text = ""
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def label_maps(self) -> tuple[str, ...]:
        """The patterns of its label maps, if it has any."""
        return self.masks if isinstance(self.masks, tuple) else ()

    @property
    def class_masks(self) -> Mapping[str, tuple[str, ...]]:
        """For each label the patterns of its binary files, if it has any."""
        return {} if isinstance(self.masks, tuple) else self.masks


DOMAIN_KEYS = tuple(key.name for key in fields(DomainConfig) if key.name not in ("domain", "channels"))


@dataclass(frozen=True)
class Config:
    """All parameters.

    Attributes:
        source, target: the domains.
        labels: each label's name and its value in the prepared masks: 1, 2, ...
        resize, size, mm: how slices are brought to one size.
        paired: whether source and target images of the same name show the same anatomy.
        depth: type of the prepared images.
    """

    source: DomainConfig
    target: DomainConfig
    labels: Mapping[str, int]
    resize: Literal["plain", "spacing", "none"]
    size: int
    mm: float | None
    paired: bool = False
    depth: Literal["uint8", "uint16"] = "uint8"

    @property
    def domains(self) -> tuple[DomainConfig, DomainConfig]:
        """Source, then target."""
        return self.source, self.target

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of the source's channels; empty for one channel."""
        return tuple(self.source.channels)

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Config:
        """From the complete parameters of the spec.

        Raises:
            ParamError: an unknown key, a missing one, or values that contradict each other.
        """
        shared = params.get("labels") or {}
        names = list(_EXPECTED.value(shared, Labels, "labels", "labels"))
        tables = (params.get("source"), params.get("target"))
        for masks in (table.get("masks") for table in tables if isinstance(table, Mapping)):
            if isinstance(masks, Mapping) and not shared:
                names += [name for name in masks if name not in names]
        source, target = _domain("source", tables[0], shared, names), _domain("target", tables[1], shared, names)
        if params["resize"] == "spacing" and params.get("mm") is None:
            raise ParamError("resize is 'spacing', but 'mm' is missing", where="dataset 'folder'", expected="mm = 1.0")
        labels = {name: i for i, name in enumerate(names, start=1)}
        paired = bool(params.get("paired"))
        if paired:
            _check_pairing(source, target)
        return cls(source, target, labels, params["resize"], params["size"], params.get("mm"), paired)


def _domain(role: Literal["source", "target"], value: Any, shared: object, names: list[str]) -> DomainConfig:
    where = f"dataset 'folder', params.{role}"
    if not isinstance(value, Mapping) or "images" not in value:
        raise ParamError("'images' is missing", where=where, expected='images = "folder/*.png"')
    raw = {"name": role, "masks": (), "labels": shared, **value}
    # CT has an absolute scale, MR has none: hence a fixed window for CT and percentiles for MR.
    if "window" in raw or raw.get("measure_unit") == "HU":
        raw.setdefault("normalise", "window")
    if raw.get("normalise") == "window" and raw.get("measure_unit") == "HU":
        raw.setdefault("window", CT_WINDOW)
    table = _table(raw["table"], f"{where}.table") if "table" in raw else None
    channels = _channels(raw["images"], role, where) if isinstance(raw["images"], Mapping) else {}
    raw["images"] = next(iter(channels.values()), raw["images"])
    preset = {"domain": role, "table": table, "channels": channels}
    domain = read(DomainConfig, raw, _EXPECTED, _at(where, DOMAIN_KEYS), DOMAIN_KEYS, **preset)
    _check(domain, value, where, names)
    return domain


def _channels(value: Mapping[str, Any], role: str, where: str) -> dict[str, tuple[str, ...]]:
    if role == "target":
        raise ParamError("'images' names channels", where=where, expected="a target of one channel: images = PATTERN")
    if len(value) < 2:
        expected = "two channels or more, or images = PATTERN"
        raise ParamError(f"'images' names {len(value)} channel", where=where, expected=expected)
    return {
        str(name): _EXPECTED.value(patterns, Patterns, name, f"{where}.images.{name}")
        for name, patterns in value.items()
    }


def _check(domain: DomainConfig, value: Mapping[str, Any], where: str, names: list[str]) -> None:
    """Refuse contradictory parameters."""
    if domain.masks and not names:
        raise ParamError(
            "masks are set, but no labels",
            where=where,
            expected='labels = {tumour = 1} or labels = {bone = "nonzero"}',
        )
    label_names = domain.class_masks or domain.labels
    for name in label_names if domain.masks else ():
        if name not in names:
            raise ParamError(f"there is no label '{name}'", where=where, matches=close_matches(name, names))
    for name in names if domain.masks else ():
        if name not in label_names:
            raise ParamError(
                f"its masks have no value for the label '{name}'",
                where=where,
                expected="the same labels in both domains",
            )
    if (domain.normalise == "window") != (domain.window is not None):
        raise ParamError('normalise = "window" and window = [low, high] need each other', where=where)
    if "patient" in value and "table" in value:
        raise ParamError("both 'patient' and 'table' are set", where=where, expected="one of them")
    if domain.from_below and not domain.label_maps:
        raise ParamError("'from_below' needs masks with a value for each instance", where=where)
    if domain.min_area and not domain.masks:
        raise ParamError("'min_area' needs masks", where=where)


def _check_pairing(source: DomainConfig, target: DomainConfig) -> None:
    """Refuse domains that are cut in different ways: their slices would not show the same anatomy."""
    for key in ("plane", "crop", "every"):
        ours, theirs = getattr(source, key), getattr(target, key)
        if ours != theirs:
            raise ParamError(
                f"'{key}' is {theirs!r}, and {ours!r} in the source",
                where="dataset 'folder', params.target",
                expected=f"the same '{key}' in both domains, because paired = true",
            )


def _table(value: Any, where: str) -> PatientTable:
    raw = {"file": value} if isinstance(value, str) else value
    if not isinstance(raw, Mapping) or "file" not in raw:
        raise ParamError(
            "'file' is missing", where=where, expected='table = {file = "slices.csv", patient = "patient"}'
        )
    return read(PatientTable, raw, _EXPECTED, _at(where, [key.name for key in fields(PatientTable)]))


def _at(where: str, keys: Container[str]) -> Callable[[str], str]:
    return lambda key: f"{where}.{key}" if key in keys else where
