"""``mtbench worker``: run one unit from a file; used by executors."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.engine.worker import execute_file


@click.command()
@click.argument("unit", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="UNIT.json")
def command(unit: Path) -> int:
    """Run the unit described in UNIT.json and write UNIT.outcome.json beside it.

    Exit code 0 means that the outcome was written, whether the unit succeeded or failed. UNIT.progress.json holds the
    progress.
    """
    execute_file(unit)
    return 0
