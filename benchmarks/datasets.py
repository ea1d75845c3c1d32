"""How fast are data sets prepared, beside loops that only decode? And how soon does the first batch arrive?

    python benchmarks/datasets.py [--patients 24] [--size 320] [--slices 60] [--workers 2] [--rounds 3]

Makes DICOM series with masks in the layout of Duke-Breast-Cancer-MRI and measures, in rounds of all of these in turn,
with the files in the system's cache:

- a plain loop of pydicom: read and decode every DICOM file, nothing else;
- a loop that decodes what has to be decoded: the DICOM files and the compressed masks;
- `mtbench data prepare` as a user calls it, start-up, hashes, resizing and the writing of the result included, for
  half of the patients and for all, into an empty store.

Given are medians: MB of DICOM a second of wall time, and, which says more on a busy machine, a second of CPU time of
all processes together. Memory is the largest resident size of the process itself and of one of its workers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

PREPARE = """
import resource, sys
import mtbench.preparation.cases as cases
from mtbench.cli import main
root, workers, store = sys.argv[1:]
cases._cores = lambda: int(workers)
try:
    main(["data", "prepare", "breast-siemens-ge", "--root", root, "--store", store, "--accept-licence"])
except SystemExit as end:
    assert not end.code
print(*(resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""
LOOP = """
import sys
from pathlib import Path
import pydicom
import nrrd
root, part, of, masks = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "masks"
for path in sorted(root.rglob("*.dcm"))[part::of]:
    pydicom.dcmread(path).pixel_array
for path in sorted(root.rglob("*.nrrd"))[part::of] if masks else ():
    nrrd.read(str(path))
"""


def make(root: Path, patients: int, size: int, slices: int) -> int:
    """Write the series and masks; the bytes of DICOM in them."""
    import replicas

    shape = (size, size, slices)
    smooth = np.add.outer(np.add.outer(np.arange(size), np.arange(size)), np.arange(slices)) % 900
    masks = {name: np.zeros(shape, bool) for name in ("Breast", "Vessels", "Dense")}
    masks["Breast"][size // 8 : -size // 8, size // 2 :] = True
    masks["Dense"][size // 4 : -size // 4, size // 2 : -size // 4] = True
    masks["Vessels"][size // 4 : size // 3, size // 2 : -size // 4] = True
    names = [f"Breast_MRI_{number:03d}" for number in range(1, patients + 1)]
    makers = {name: replicas.GE if place % 2 else replicas.SIEMENS for place, name in enumerate(names)}
    for name, code in makers.items():
        folder = root / "Duke-Breast-Cancer-MRI" / name / "study" / replicas.PRE
        replicas.write_series(folder, smooth, maker="GE MEDICAL SYSTEMS" if code == replicas.GE else "SIEMENS")
        below = root / "Segmentation_Masks_NRRD" / name
        replicas.write_segments(below / f"Segmentation_{name}_Breast.seg.nrrd", {"Breast": masks["Breast"]})
        tissue = {key: masks[key] for key in ("Vessels", "Dense")}
        replicas.write_segments(below / f"Segmentation_{name}_Dense_and_Vessels.seg.nrrd", tissue)
    replicas.write_clinical(root / "Clinical_and_Other_Features.xlsx", makers)
    replicas.write_mapping(
        root / "Breast-Cancer-MRI-filepath_filename-mapping.xlsx", dict.fromkeys(names, replicas.PRE)
    )
    return sum(path.stat().st_size for path in root.rglob("*.dcm"))


def timed(commands: list[list[str]]) -> tuple[float, float, list[str]]:
    """Wall seconds and CPU seconds of commands that run in parallel, and their output."""
    before, started = os.times(), time.perf_counter()
    running = [subprocess.Popen([sys.executable, *c], stdout=subprocess.PIPE, text=True) for c in commands]
    printed = [process.communicate()[0] for process in running]
    wall, after = time.perf_counter() - started, os.times()
    if any(process.returncode for process in running):
        raise SystemExit("a command failed")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, printed


def loop(root: Path, processes: int, masks: bool) -> tuple[float, float, list[str]]:
    """A loop that decodes, in this many processes."""
    what = "masks" if masks else "images"
    return timed([["-c", LOOP, str(root), str(part), str(processes), what] for part in range(processes)])


def prepared(root: Path, workers: int, store: Path) -> tuple[float, float, list[str]]:
    """`mtbench data prepare` into an empty store."""
    # The cache of the mapping spreadsheet is in the store here.
    os.environ["XDG_CACHE_HOME"] = str(store)
    return timed([["-c", PREPARE, str(root), str(workers), str(store)]])


def first_batches(folder: Path, slices: int) -> dict[str, float]:
    """Milliseconds from nothing to 8 slices, as units of a run read them, for two orders of the patients' sides."""
    from mtbench.data import Slice, Task
    from mtbench.stages.work import read_set
    from mtbench.store.artefacts import Artefact
    from mtbench.store.images import write_index

    np.save(folder / "images-source.npy", np.zeros((slices, 256, 256), np.uint8))
    np.save(folder / "masks-source.npy", np.zeros((slices, 256, 256), np.uint8))
    records = [Slice(f"s{i}", f"p{i // 50}", f"p{i // 50}", i % 50, geometry="x" * 400) for i in range(slices)]
    write_index(folder / "index-source.parquet", records)
    found = {}
    for name, other in (
        ("sides in blocks", lambda i: i > slices * 0.7),
        ("sides patient by patient", lambda i: i // 50 % 3 == 2),
    ):
        sides = ["test" if other(i) else "train" for i in range(slices)]
        (folder / "split.json").write_text(json.dumps({"sides": {"source": sides}}))
        data, task = Artefact(folder, {}), Task("bench", labels={1: "a"}, masks=frozenset({"source"}))
        read_set(data, data, task, {"domain": "source", "split": "train"})
        started = time.perf_counter()
        images = read_set(data, data, task, {"domain": "source", "split": "train"})
        assert images.floats(range(8)).shape == (8, 1, 256, 256)
        found[name] = (time.perf_counter() - started) * 1000
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        whole, half = Path(name) / "whole", Path(name) / "half"
        size = make(whole, given.patients, given.size, given.slices) / 1e6
        size_of_half = make(half, given.patients // 2, given.size, given.slices) / 1e6
        rows: dict[str, list[tuple[float, float, list[str]]]] = {}
        for number in range(given.rounds):
            for workers in sorted({1, given.workers}):
                each = f"{workers} process{'es' if workers > 1 else ''}"
                for label, masks in (("pydicom loop", False), ("decode images and masks", True)):
                    rows.setdefault(f"{label}, {each}", []).append(loop(whole, workers, masks))
                for root, count in ((half, given.patients // 2), (whole, given.patients)):
                    store = Path(name) / f"store-{number}-{workers}-{count}"
                    made = prepared(root, workers, store)
                    rows.setdefault(f"prepare, {each}, {count} patients", []).append(made)
        print(f"{given.patients} patients, {given.slices} slices of {given.size} x {given.size}: {size:.0f} MB\n")
        print("| what | s | MB/s | MB/CPU s | MB resident, itself | MB resident, largest worker |")
        print("|---|---|---|---|---|---|")
        for label, found in rows.items():
            share = size_of_half if label.endswith(f" {given.patients // 2} patients") else size
            wall, cpu = (statistics.median(row[i] for row in found) for i in (0, 1))
            memory: list[Any] = found[-1][2][0].split()[-2:] if label.startswith("prepare") else ["", ""]
            print(f"| {label} | {wall:.1f} | {share / wall:.0f} | {share / cpu:.0f} | {memory[0]} | {memory[1]} |")
        for order, took in first_batches(Path(name), 2000).items():
            print(f"\nfirst batch of 2000 prepared slices, {order}: {took:.1f} ms")


if __name__ == "__main__":
    main()
