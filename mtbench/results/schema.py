"""The columns of the tables. They are public: new columns may be added, but no meaning changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mtbench.integers import MOST_DECIMALS
from mtbench.jsontext import LONGEST_TEXT, parse
from mtbench.paths import storable
from mtbench.screen import visible
from mtbench.typed import MismatchError

SCHEMA_VERSION = 3

_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCORES = pa.schema(
    [
        ("schema_version", _I),
        ("row_id", _S),  # id of the row in the results directory; also in cases
        ("suite", _S),  # name of the suite
        ("protocol", _S),  # segment-translated, train-on-translated
        ("role", _S),  # translator, truth, ceiling, floor, oracle, probe
        ("status", _S),  # measured, published, failed, skipped
        ("dataset", _S),  # as the suite calls it
        ("dataset_revision", _S),  # revision of the plugin
        ("dataset_params", _S),  # JSON, without paths
        ("data_sha256", _S),  # of the prepared slices, masks and regions, and of the split of each slice
        ("source_domain", _S),  # printed name of the source domain
        ("target_domain", _S),  # printed name of the target domain
        ("task_note", _S),  # printed with every table of the task
        ("split", _S),  # how patients were divided, "seed[seed=0,...]"
        ("fold", _I),  # null without folds
        ("translator", _S),  # empty for reference rows without one
        ("translator_params", _S),  # JSON of the parameters that differ from the defaults
        ("translator_version", _S),  # JSON: plugin, revision, code, files, see docs/tables.md
        ("training_sha256", _S),  # of the training slices (and masks) of its fit, or of the floor
        ("translator_note", _S),  # what a reader must know: terms of its weights, omitted losses
        ("translator_weights_sha256", _S),  # of its weight files
        ("conditional", _B),  # whether the translator reads the reference mask
        ("seed", _I),  # null for a translator that neither trains nor draws
        ("checkpoint", _S),  # part of the training after which it was kept ("1/8"); empty for the final one
        ("step", _I),  # training steps of the checkpoint; null for fits that keep no checkpoints
        ("scored_on", _S),  # "validation" for validation patients; empty for test patients
        ("segmenter", _S),  # empty for a metric that needs none
        ("segmenter_params", _S),  # JSON of the parameters that differ from the defaults
        ("segmenter_version", _S),  # JSON, as translator_version
        ("segmenter_training_sha256", _S),  # of its training slices and masks, without translations
        ("segmenter_seed", _I),  # seed of the segmenter's fit
        ("segmenter_validation", _S),  # JSON, region to Dice on its validation slices
        ("metric", _S),  # "fid"
        ("variant", _S),  # "inception-random"; empty for the published definition
        ("title", _S),  # "FID"
        ("family", _S),  # segmentation, perceptual, paired
        ("metric_params", _S),  # JSON of the parameters that differ from the defaults
        ("masks_sha256", _S),  # of the test masks, of a metric that reads them
        ("metric_training_sha256", _S),  # of the target's training slices, of a metric that reads them
        ("metric_version", _S),  # of its feature networks too
        ("sampling_params", _S),  # JSON: draws and sampling_seed, of a metric that draws
        ("extractor", _S),  # feature network, of a metric that reads features
        ("weights_sha256", _S),  # of the weight file of the feature network
        ("precision", _S),  # fp32, tf32 or bf16
        ("threads", _I),  # CPU threads of the unit
        ("label", _S),  # region of the task, for Dice; empty for whole images
        ("value", _F),  # null where status is failed or skipped
        ("stderr", _F),  # standard error, where the metric states one
        ("ci_low", _F),  # 95 % confidence interval, by patient
        ("ci_high", _F),  # 95 % confidence interval, by patient
        ("without_interval", _S),  # why there is no interval
        ("bound_low", _F),  # limits for the expected mean, valid for any distribution of the cases
        ("bound_high", _F),  # as bound_low
        ("n", _I),  # images per side behind the value
        ("draws", _I),  # how often N = min was drawn: once if both sides have N images
        ("n_translated", _I),  # translated test images
        ("n_target", _I),  # target test images
        ("n_patients_translated", _I),  # patients of the translated test images
        ("n_patients_target", _I),  # patients of the target test images
        ("higher_is_better", _B),  # direction of the metric
        ("measure_unit", _S),  # unit of measurement ("mm", "HU")
        ("decimals", _I),  # null: three significant digits
        ("mark", _S),  # "*" in the header
        ("note", _S),  # a sentence that the reader must know; the reason of a failed or skipped row
        ("stale", _S),  # why the value is out of date, and the command that recomputes it; empty if up to date
        ("left_out", _S),  # cases excluded during preparation, with reasons
        ("clamped", _F),  # share of the translations' pixels outside [0, 1]
        ("caveat", _S),  # if not empty, the row is shown separately and never ranked
        ("beside", _S),  # the translator without whose row the metric is not ranked; usually empty
        ("unit_key", _S),  # key of the score unit
        ("input_digest", _S),  # hash of the content of the score unit's inputs
        ("fit_digest", _S),  # digests of the fits behind the score, separated by commas
        ("source", _S),  # citation of a published number
    ]
)


ATTEMPTS = pa.schema(
    [
        ("schema_version", _I),
        ("suite", _S),  # name of the suite
        ("unit_key", _S),  # key of the unit
        ("stage", _S),  # kind of unit
        ("name", _S),  # printed name of the unit
        ("attempt", _I),  # number of the attempt, from 1
        ("status", _S),  # ok, cached, skipped, error, timeout, oom, lost
        ("reason", _S),  # why it failed or was skipped
        ("error_type", _S),  # class of the error
        ("log", _S),  # output of the unit's process
        ("started", _S),  # ISO 8601, UTC
        ("seconds", _F),  # wall-clock time
        ("images", _I),  # number of images processed
        ("peak_memory_mb", _F),  # of the device: the GPU, or the machine without one
        ("host_memory_mb", _F),  # of the machine, always
        ("device", _S),  # cpu, cuda:0, ...
        ("host", _S),  # name of the machine
        ("executor", _S),  # name of the executor plugin
        ("plugins", _S),  # JSON: distribution and version of every plugin involved
        ("git_commit", _S),  # of mtbench's checkout, if there is one
        ("environment_id", _S),  # environment-ID.json in the results directory
        ("artefact", _S),  # address in the store
        ("digest", _S),  # sha256 of the artefact's content
    ]
)

CASES = pa.schema(
    [
        ("schema_version", _I),
        ("row_id", _S),
        ("unit_key", _S),  # key of the score unit
        ("suite", _S),  # name of the suite
        ("protocol", _S),
        ("role", _S),
        ("dataset", _S),  # as the suite calls it
        ("fold", _I),
        ("translator", _S),
        ("translator_params", _S),
        ("seed", _I),
        ("segmenter", _S),  # empty for a metric that needs none
        ("metric", _S),
        ("variant", _S),
        ("label", _S),
        ("by", _S),  # slice, volume or patient
        ("case", _S),  # slice id or patient id
        ("patient", _S),  # patient of the case
        ("value", _F),  # null where the case has none
    ]
)

TABLES: Mapping[str, pa.Schema] = {"scores": SCORES, "attempts": ATTEMPTS, "cases": CASES}


_FILLED = {
    "scores": ("schema_version", "row_id", "status"),
    "attempts": ("schema_version", "unit_key", "stage", "name", "attempt", "status"),
    "cases": ("schema_version", "row_id", "by", "case"),
}
"""Columns without nulls, by table."""
_PYTHON: Mapping[pa.DataType, tuple[str, tuple[type, ...]]] = {
    _S: ("a text", (str,)),
    _I: ("a whole number from 0", (int,)),
    _F: ("a number", (float, int)),
    _B: ("true or false", (bool,)),
}
_TYPES = {field.name: _PYTHON[field.type] for schema in TABLES.values() for field in schema}


def _json_of(*kinds: type) -> Callable[[str], bool]:
    @lru_cache(maxsize=256)
    def fits(text: str) -> bool:
        try:
            content = parse(text or "{}")
        except ValueError:
            return False
        return isinstance(content, dict) and all(isinstance(value, kinds) for value in content.values())

    return fits


def _from_0(value: float) -> bool:
    return 0 <= value < math.inf


_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **{name: (words, _from_0) for name, (words, kinds) in _TYPES.items() if kinds == (int,)},
    "decimals": (f"a whole number from 0 to {MOST_DECIMALS}", lambda value: 0 <= value <= MOST_DECIMALS),
    "seconds": ("a finite number from 0", _from_0),
    "peak_memory_mb": ("a finite number from 0", _from_0),
    "host_memory_mb": ("a finite number from 0", _from_0),
    "segmenter_validation": ("JSON, region to number", _json_of(float, int)),
    "plugins": ("JSON, distribution to version", _json_of(str)),
}
"""The bounds of values that the type of a column does not express."""


def check_cells(cells: Mapping[str, object], names: Container[str]) -> None:
    """Validate the cells of a row; null means unknown.

    Args:
        cells: values by column.
        names: the known columns.

    Raises:
        MismatchError: a column is unknown, or a value has the wrong type or is out of bounds.
    """
    for name, value in cells.items():
        if name not in names:
            raise MismatchError(what=f"unknown column '{name:.60}'")
        if value is None:
            continue
        expected, kinds = _TYPES[name]
        fits = type(value) in kinds
        if fits and name in _RULES:
            expected, rule = _RULES[name]
            fits = rule(value)
        if not fits:
            raise MismatchError(expected, f"{name} is {value!r:.60}")


def check_table(data: pa.Table, name: str) -> None:
    """Validate a table: the columns of this version, and values that a journal can contain.

    Raises:
        MismatchError: a column is missing or has the wrong type, or a value is not valid.
    """
    schema = TABLES[name]
    if not data.schema.equals(schema):
        lacking = [column for column in schema.names if column not in data.column_names]
        raise MismatchError(what=f"the columns are not those of this version (missing: {', '.join(lacking) or 'none'})")
    for column in _FILLED[name]:
        if data[column].null_count:
            raise MismatchError(what=f"{column} is null in a row")
    for column in data.columns:
        if pa.types.is_string(column.type) and (pc.max(pc.utf8_length(column)).as_py() or 0) > LONGEST_TEXT:
            raise MismatchError(what=f"a text has more than {LONGEST_TEXT} characters")
    for column in filter(_RULES.__contains__, schema.names):
        for value in data[column].unique().to_pylist():
            check_cells({column: value}, schema.names)


def conform(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table of an older version in the schema of this one: new columns are null."""
    for name in schema.names:
        if name not in data.column_names:
            data = data.append_column(schema.field(name), pa.nulls(data.num_rows, schema.field(name).type))
    return data.select(schema.names)


def readable(data: pa.Table) -> pa.Table:
    """A table without control characters in its texts, which may come from others and which terminals execute."""
    for index, name in enumerate(data.column_names):
        column = data.column(index)
        if pa.types.is_string(column.type):
            texts = column.unique().to_pylist()
            if any(text and not text.isprintable() and visible(text) != text for text in texts):
                values = [text and visible(text) for text in column.to_pylist()]
                data = data.set_column(index, name, pa.array(values, column.type))
    return data


def table(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of the schema; missing columns are null."""
    records = list(rows)
    return pa.table({field.name: _column(records, field) for field in schema}, schema=schema)


def _column(records: Sequence[Mapping[str, object]], field: pa.Field) -> pa.Array:
    values = [record.get(field.name) for record in records]
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        return pa.array([storable(value) if isinstance(value, str) else value for value in values], field.type)
