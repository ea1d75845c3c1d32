"""Published results of papers in the schema of mtbench."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.errors import RequestError, StoreError, close_matches
from mtbench.resources import resource_path
from mtbench.results.schema import SCORES, conform
from mtbench.toml import parse, read_text

CATALOGUE = "registry.toml"


def published() -> dict[str, str]:
    """The names after ``published:``, each with its file, relative to the catalogue: ``[published.NAME]``.

    Raises:
        StoreError: the catalogue of this installation cannot be read.
    """
    path = resource_path(CATALOGUE)
    try:
        entries = parse(read_text(path), str(path)).get("published", {})
        return {str(name): str(entry["file"]) for name, entry in sorted(entries.items())}
    except (RequestError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the catalogue of published results cannot be read: {error}",
            where=str(path),
            expected='[published.NAME] with file = "results/published/NAME.parquet"',
            remedy="Correct it, or reinstall mtbench",
        ) from error


def published_scores(name: str) -> pa.Table:
    """The scores table of a published result, such as "midl2024".

    Raises:
        RequestError: the name is unknown.
        StoreError: the catalogue names a file that cannot be read.
    """
    files = published()
    if name not in files:
        raise RequestError(
            f"unknown published results '{name}'",
            matches=close_matches(name, files),
            expected="one of " + ", ".join(f"published:{k}" for k in files),
        )
    path = resource_path(files[name])
    try:
        return conform(pq.read_table(path), SCORES)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"the published results cannot be read: {error}", where=str(path)) from error
