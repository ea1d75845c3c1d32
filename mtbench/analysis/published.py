"""Results that a paper published, in our own schema."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.errors import RequestError, close_matches
from mtbench.resources import resource_path

FOLDER = "results/published"


def published_names() -> list[str]:
    """What may stand behind ``published:``."""
    return sorted(path.stem for path in resource_path(FOLDER).glob("*.parquet"))


def published_scores(name: str) -> pa.Table:
    """The scores table of a published result, such as "midl2024".

    Raises:
        RequestError: there is no such result.
    """
    known = published_names()
    if name not in known:
        raise RequestError(
            f"there are no published results called '{name}'",
            matches=close_matches(name, known),
            expected="one of " + ", ".join(f"published:{k}" for k in known),
        )
    table: Any = pq.read_table(resource_path(f"{FOLDER}/{name}.parquet"))
    return table
