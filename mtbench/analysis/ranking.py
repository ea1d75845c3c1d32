"""Ranks the translators in a column."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from mtbench.analysis.cells import CellIndex
from mtbench.analysis.columns import params
from mtbench.analysis.gather import Averages

Rule = Literal["default", "paper"]
RULES: tuple[Rule, ...] = ("default", "paper")


def lacking(averages: Averages, b: int, c: int, rows: Sequence[int]) -> str:
    """The translator without whose row this column cannot be read, if none of ``rows`` is its own; usually empty."""
    beside = str(averages.columns[c]["beside"] or "")
    of_plugin = (
        params(averages.rows[r]["translator_version"]).get("plugin") or averages.rows[r]["translator"]
        for r in rows
        if (b, r, c) in averages.numbers and averages.rows[r]["role"] == "translator"
    )
    return "" if beside in ("", *of_plugin) else beside


def ranked_rows(
    averages: Averages, b: int, c: int, rows: Sequence[int], rule: Rule, texts: Mapping[CellIndex, str]
) -> dict[int, int]:
    """The rank of each ranked row: 1 is best; values that are equal as printed share a rank, without gaps.

    Translators are ranked if their value is finite and all of their runs succeeded; conditional ones only by the rule
    "paper". A single translator is not ranked.

    Args:
        averages: the scores.
        b, c: the block and the column.
        rows: the rows that are shown.
        rule: "default" or "paper".
        texts: the printed values.
    """
    values = {}
    for r in rows:
        number, row = averages.numbers.get((b, r, c)), averages.rows[r]
        if number is None or row["role"] != "translator" or row["currency"]:
            continue
        if row["conditional"] and rule != "paper":
            continue
        if math.isfinite(number.value) and not number.incomplete:
            values[r] = float(texts[b, r, c])
    if len(values) < 2:
        return {}
    order = sorted(set(values.values()), reverse=bool(averages.columns[c]["higher_is_better"]))
    places = {value: place for place, value in enumerate(order, 1)}
    return {r: places[value] for r, value in values.items()}
