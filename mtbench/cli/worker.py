"""``mtbench worker``: run one unit that a run has written to a file; executors start it."""

from __future__ import annotations

from pathlib import Path

import click

from mtbench.engine.worker import execute_file


@click.command()
@click.argument("unit", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="UNIT.json")
def command(unit: Path) -> int:
    """Run the unit in UNIT.json and leave UNIT.outcome.json beside it.

    Exit code 0 says that the outcome was written, whatever it is; UNIT.progress.json tells how far the work is.
    """
    execute_file(unit)
    return 0
