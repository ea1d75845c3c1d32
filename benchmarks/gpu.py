"""How fast mtbench is on a GPU, against the originals as they run there, and what keeps the GPU waiting.

    python benchmarks/gpu.py [--what ceilings extract train translate run] [--precision fp32 tf32 bf16]

Prints figures, no verdicts: whether the numbers are right is for `pytest -m gpu`. "original" trains in the originals'
own settings: NCHW, TF32 convolutions (PyTorch's default), cuDNN's benchmark, kernels as they come, batch 1. Every side
gets its settings from `prepare_torch` and, in training, from the context, as a unit's process does. `--fake` runs tiny
versions of everything on the stand-in for a GPU: that tries the script, and says nothing of speed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from translators import MODELS, TASK, as_they_train, images, translator

import mtbench
from mtbench import Batch, TrainingData
from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches, prepare_torch
from mtbench.conformance.fake_cuda import fake_cuda
from mtbench_plugins.extractors.inception_extractors import InceptionRandom

DEVICE = "cuda:0"


def seconds_of(call: Callable[[], Any], repeats: int = 3) -> float:
    """Median wall seconds after one turn to warm up, the device's work included."""
    spent = []
    for turn in range(repeats + 1):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        if turn:
            spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def say(name: str, rate: float, unit: str = "images/s", more: str = "") -> None:
    print(f"{name:44} {rate:10.1f} {unit} {more}", flush=True)


def context(precision: str, **fields: Any) -> Context:
    prepare_torch(precision, 2)
    return Context(task=TASK, seed=1, threads=2, device=DEVICE, precision=precision, **fields)


def ceilings(args: argparse.Namespace) -> None:
    """The limits of the card: products, and copies from the processor's memory."""
    side = 64 if args.fake else 8192
    for precision in args.precision:
        prepare_torch(precision, 2)
        one = torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
        say(f"matrix product {precision}", 2 * side**3 / seconds_of(lambda one=one: one @ one) / 1e12, "TFLOP/s")
    size = 2**10 if args.fake else 2**28
    there = torch.empty(size, dtype=torch.uint8, device=DEVICE)
    for name, host in (
        ("pinned", torch.zeros(size, dtype=torch.uint8).pin_memory()),
        ("pageable", torch.zeros(size, dtype=torch.uint8)),
    ):
        say(
            f"copy there, {name}",
            size / seconds_of(lambda host=host: there.copy_(host, non_blocking=True)) / 1e9,
            "GB/s",
        )


def extract(args: argparse.Namespace) -> None:
    """Inception features: the way of a unit from stored images to arrays, and the network alone on images that are on
    the GPU.
    """
    count, side, size = (4, 32, 2) if args.fake else (4096, 256, args.batch)
    found = images("source", count, side)
    for precision in args.precision:
        extractor, here = InceptionRandom("tf1", "tf", True, 0), context(precision, batch_size=size)

        def road(extractor: Any = extractor, here: Context = here) -> None:
            for _ in in_batches(found, here, lambda rows, some: extractor.extract(some, here)):
                pass

        given = found.tensor(slice(0, size), DEVICE)

        def alone(extractor: Any = extractor, here: Context = here, given: Any = given) -> None:
            with torch.inference_mode():
                extractor.extract(given, here)

        best, rate = size / seconds_of(alone, 5), count / seconds_of(road, 2)
        say(f"extract {precision}, network alone", best)
        say(f"extract {precision}, as a unit does", rate, more=f"{rate / best:.0%} of the network alone")


def train(args: argparse.Namespace) -> None:
    """Training at the originals' size and batch."""
    side, steps, small = (64, 3, {"ngf": 4, "ndf": 4}) if args.fake else (256, 24, {})
    domains = {
        f"{d}_{s}": images(d, 4 if args.fake else 32, side)
        for d in ("source", "target")
        for s in ("train", "validation")
    }
    data = TrainingData(TASK, **domains)

    def fit(name: str, precision: str, batch: int, original: bool) -> float:
        made = translator(
            name, steps=steps, batch_size=batch, **small, **({"lambda_vgg": 0.0} if name == "spade" else {})
        )
        marks: list[float] = []

        def mark(done: int, total: int, figures: Any) -> None:
            if done in (steps // 3, steps):
                torch.cuda.synchronize()
                marks.append(time.perf_counter())

        with as_they_train(made) if original else nullcontext():
            made.fit(data, context(precision, progress=mark))
        return batch * (steps - steps // 3) / (marks[1] - marks[0])

    for name in args.models:
        first = fit(name, "fp32", 1, True)
        say(f"train {name}, original", first)
        for precision in args.precision:
            for batch in (1, 8):
                rate = fit(name, precision, batch, False)
                say(f"train {name}, {precision}, batch {batch}", rate, more=f"{rate / first:.2f} x original")


def translate(args: argparse.Namespace) -> None:
    """Translation in batches of images that are on the device."""
    side, size, small = (64, 2, {"ngf": 4}) if args.fake else (256, 32, {})
    found = images("source", size, side)
    for name in args.models:
        made = translator(name, checkpoint="given")
        sizes = {"label_nc": 2} if name == "spade" else {}
        made.network = made.layout.build(channels=1, **small, **sizes).eval().requires_grad_(False)
        batch = Batch(found.tensor(device=DEVICE), found.slices, found.mask_tensor(device=DEVICE))
        for precision in args.precision:
            here = context(precision)

            def one(made: Any = made, batch: Batch = batch, here: Context = here) -> None:
                here.start_batch()
                with torch.inference_mode():
                    made.translate(batch, here)

            say(f"translate {name}, {precision}, batch {size}", size / seconds_of(one))


class Busy(threading.Thread):
    """Asks the driver four times a second how busy the GPU is."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[float] = []
        self.ended = threading.Event()

    def run(self) -> None:
        asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self.ended.wait(0.25):
            told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
            self.samples += [float(told[0])] if told else []


def run(args: argparse.Namespace) -> None:
    """The suite ``quickstart``: wall seconds, seconds by stage, and how busy the GPU was."""
    if args.fake:
        return
    for jobs in (1, 4):
        root, busy, started = Path(tempfile.mkdtemp()), Busy(), time.monotonic()
        busy.start()
        done = mtbench.run(
            "quickstart", out=str(root / "out"), store=str(root / "store"), device="cuda", jobs=jobs, quiet=True
        )
        busy.ended.set()
        more = f"GPU busy {statistics.fmean(busy.samples or [0]):.0f} %, {len(done.summary.failures)} failures"
        say(f"quickstart, {jobs} jobs", time.monotonic() - started, "s", more)
        by: dict[str, list[float]] = {}
        for attempt in pq.read_table(root / "out" / "attempts.parquet").to_pylist():
            by.setdefault(attempt["stage"], []).append(attempt["seconds"])
        print("  " + ", ".join(f"{stage} {len(v)} x {statistics.median(v):.1f} s" for stage, v in by.items()))


WHAT = {"ceilings": ceilings, "extract": extract, "train": train, "translate": translate, "run": run}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="*", choices=WHAT, default=list(WHAT))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=MODELS)
    parser.add_argument("--precision", nargs="*", default=("fp32", "tf32", "bf16"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--fake", action="store_true")
    args = parser.parse_args()
    if not args.fake and not torch.cuda.is_available():
        parser.error("this machine has no GPU; --fake tests the script without one")
    with fake_cuda() if args.fake else nullcontext():
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name(0)}, cuDNN {torch.backends.cudnn.version()}")
        for name in args.what:
            WHAT[name](args)


if __name__ == "__main__":
    main()
