"""How fast are data sets prepared, beside a loop that only decodes? And how soon is the first batch there?

    python benchmarks/datasets.py [--patients 24] [--size 320] [--slices 60] [--workers 2]

Makes DICOM series with masks in the layout of Duke-Breast-Cancer-MRI, then times, in MB of DICOM a second with the
files in the system's cache: a plain loop of pydicom (read, decode, nothing else) in one process; ``breast-siemens-ge``
with one worker and with several (decode, masks, percentiles, resize, write). Memory is the largest resident size of
this process and of one worker, for half of the patients and for all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

PREPARE = """
import resource, sys
from pathlib import Path
import mtbench.preparation.cases as cases
from mtbench.compute.context import Context
from mtbench.params import complete
from mtbench_plugins.datasets.breast_siemens_ge import mtbench_datasets
from mtbench_plugins.datasets.breast_siemens_ge.dataset import BreastSiemensGe
root, workers, most, partial = sys.argv[1:]
cases._cores = lambda: int(workers)
spec = next(iter(mtbench_datasets()))
made = BreastSiemensGe(**complete({}, spec.params, ""))
plain = cases.prepare_cases
context = Context(partial=Path(partial))
import mtbench_plugins.datasets.breast_siemens_ge.dataset as dataset
dataset.prepare_cases = lambda found, *more, **how: plain(dict(list(found.items())[: int(most)]), *more, **how)
count = sum(1 for _ in made.prepare(Path(root), context))
own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(count, len(context.left_out), own // 1024, worker // 1024)
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
    for name in names:
        folder = root / "Duke-Breast-Cancer-MRI" / name / "study" / replicas.PRE
        replicas.write_series(folder, smooth, step=replicas.STEP)
        below = root / "Segmentation_Masks_NRRD" / name
        replicas.write_segments(below / f"Segmentation_{name}_Breast.seg.nrrd", {"Breast": masks["Breast"]})
        tissue = {key: masks[key] for key in ("Vessels", "Dense")}
        replicas.write_segments(below / f"Segmentation_{name}_Dense_and_Vessels.seg.nrrd", tissue)
    replicas.write_clinical(root / "Clinical_and_Other_Features.xlsx", dict.fromkeys(names, replicas.SIEMENS))
    replicas.write_mapping(
        root / "Breast-Cancer-MRI-filepath_filename-mapping.xlsx", dict.fromkeys(names, replicas.PRE)
    )
    return sum(path.stat().st_size for path in root.rglob("*.dcm"))


def plain_loop(root: Path) -> float:
    """Seconds of reading and decoding every file, nothing else."""
    import pydicom

    started = time.perf_counter()
    total = 0
    for path in root.rglob("*.dcm"):
        total += int(pydicom.dcmread(path).pixel_array[0, 0])
    return time.perf_counter() - started


def prepared(root: Path, workers: int, most: int) -> tuple[float, list[int]]:
    """Seconds of a whole preparation in a fresh process, and what it printed."""
    with tempfile.TemporaryDirectory() as partial:
        started = time.perf_counter()
        command = [sys.executable, "-c", PREPARE, str(root), str(workers), str(most), partial]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return time.perf_counter() - started, [int(text) for text in ran.stdout.split()]


def first_batch(folder: Path, slices: int) -> float:
    """Milliseconds from nothing to 8 slices of a prepared array of that length."""
    path = folder / "images.npy"
    np.save(path, np.zeros((slices, 256, 256), np.uint8))
    started = time.perf_counter()
    batch = np.load(path, mmap_mode="r", allow_pickle=False)[:8].astype(np.float32) / 255
    assert batch.shape == (8, 256, 256)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        size = make(root, given.patients, given.size, given.slices) / 1e6
        plain_loop(root)
        seconds = plain_loop(root)
        print(f"{given.patients} patients, {given.slices} slices of {given.size} x {given.size}: {size:.0f} MB\n")
        print("| what | s | MB/s | MB resident, parent | MB resident, largest worker |\n|---|---|---|---|---|")
        print(f"| pydicom loop, one process | {seconds:.1f} | {size / seconds:.0f} | | |")
        for workers in sorted({1, given.workers}):
            for most in (given.patients // 2, given.patients):
                took, (count, left_out, own, worker) = prepared(root, workers, most)
                if left_out or count != most * given.slices:
                    raise SystemExit(f"{count} slices, {left_out} patients left out")
                share = size * most / given.patients
                label = f"prepare, {workers} worker{'s' if workers > 1 else ''}, {most} patients"
                print(f"| {label} | {took:.1f} | {share / took:.0f} | {own} | {worker if workers > 1 else ''} |")
        print(f"\nfirst batch of a prepared array: {first_batch(root, 2000):.1f} ms")


if __name__ == "__main__":
    main()
