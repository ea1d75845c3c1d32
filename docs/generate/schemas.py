"""The keys of a suite file and the columns of the results tables, from the code that reads and writes them."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any

from docstrings import cell, split

from mtbench.plan import suite
from mtbench.results import schema
from mtbench.stages.table import SPLIT_WAYS

SECTION_NOTES = {
    "datasets": "At least one. Parameters: the [built-in data sets](builtins/index.md#data-sets).",
    "translators": "At least one. Parameters: the [built-in translators](builtins/index.md#translators).",
    "segmenters": "Needed by segmentation metrics.",
    "metrics": "At least one. Parameters: the [built-in metrics](builtins/index.md#metrics).",
}

SUITE = (
    "Every key of a suite, generated from the reader; any other key is an error with its line. An example with "
    "comments: [Suites](../suites.md)."
)
RESULTS = (
    f"Columns of the Parquet tables in a results directory, schema version {schema.SCHEMA_VERSION}. Columns are added "
    "and never change their meaning. How to read them: [Tables](../tables.md#from-python-duckdb-pandas-polars)."
)


def suite_page() -> str:
    """The page "Suite file"."""
    parts = [
        "# Suite file",
        SUITE,
        "## `[suite]`",
        _keys(
            suite.Suite, [f.name for f in fields(suite.Suite) if f.name not in ("folder", "trusted", *SECTION_NOTES)]
        ),
    ]
    for section, note in SECTION_NOTES.items():
        parts += [f"## `[[{section}]]`", note, _keys(suite.Entry, suite._ENTRY_KEYS[section])]
    parts.append("## `split` of a data set")
    rows = []
    for way, settings in SPLIT_WAYS.items():
        shown = ", ".join(f"`{name} = {_value(value)}`" for name, value in settings.items())
        rows.append(f"| `{way}` | {shown or 'none'} |")
    parts.append("| `by` | settings and defaults |\n|---|---|\n" + "\n".join(rows))
    parts.append("What each `by` does: [Splits](../suites.md#splits).")
    return "\n\n".join(parts) + "\n"


def _keys(record: type[Any], names: Any) -> str:
    sections = split(record.__doc__)[1]
    about = {**sections.get("Args", {}), **sections.get("Attributes", {})}
    rows = []
    for each in fields(record):
        if each.name in names:
            default = (
                "required" if each.default is MISSING and each.default_factory is MISSING else _value(each.default)
            )
            rows.append(f"| `{each.name}` | {default} | {cell(about.get(each.name, ''))} |")
    return "| key | default | |\n|---|---|---|\n" + "\n".join(rows)


def _value(value: object) -> str:
    if value is MISSING or value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value)).replace("'", '"')
    return str(value)


def results_page() -> str:
    """The page "Results tables"."""
    comments = _comments()
    parts = [
        "# Results tables",
        RESULTS,
    ]
    about = {
        "scores": "`scores.parquet`: one row for each value of a metric, failed and skipped ones included.",
        "attempts": "`attempts.parquet`: one row for each attempt at a unit.",
        "cases": "`cases.parquet`: one row for each slice or patient whose value enters a mean.",
    }
    for name, columns in schema.TABLES.items():
        rows = [f"| `{f.name}` | {f.type} | {cell(comments.get(f.name, ''))} |" for f in columns]
        parts += [f"## {name}", about[name], "| column | type | |\n|---|---|---|\n" + "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _comments() -> dict[str, str]:
    """What the source says behind a column."""
    source = inspect.getsource(schema)
    found = re.findall(r'^\s+\("(\w+)", _\w\),\s+# (.*)$', source, flags=re.MULTILINE)
    return dict(found + re.findall(r"^    (\w+): [\w| ]+  # (.*)$", source, flags=re.MULTILINE))
