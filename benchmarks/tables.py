"""Time from a million score rows on disk to a table and correlations.

    python benchmarks/tables.py [--folder DIR]

The rows are 50 translators x 20 tasks x 100 seeds x 10 metrics, in one compacted ``scores.parquet``. Each command
runs in a process of its own, start-up included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_analysis_speed import million

from mtbench.results.directory import Results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, help="where the rows are written (default: a temporary folder)")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        results = Results.create((given or Path(temporary)) / "million", "speed")
        results.rebuild()
        path = results.path / "scores.parquet"
        # The same journal state as the empty table that it replaces.
        told = pq.read_schema(path).metadata
        pq.write_table(million().replace_schema_metadata(told), path, row_group_size=100_000)
        print(f"{pq.read_metadata(path).num_rows} rows, {path.stat().st_size / 1e6:.0f} MB")
        for arguments in (["export", "--format", "tex"], ["correlate", "--json"]):
            verb, *options = arguments
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            command = [sys.executable, "-m", "mtbench", verb, str(results.path), *options]
            with open(os.devnull, "w") as sink:
                subprocess.run(command, check=True, stdout=sink)
            wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{verb}: {wall:.1f} s, {cpu:.1f} s of processor time, {after.ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
