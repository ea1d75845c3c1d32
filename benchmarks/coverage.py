"""How often the 95 % intervals hold: simulated patients, the metrics' own code, intervals as the harness makes them.

    python benchmarks/coverage.py --runs 400 --only fid kid is dice
    python benchmarks/coverage.py --runs 200 --only swd
    python benchmarks/coverage.py --seed 100000 ...   # other patients: the rule was chosen on seed 0's

Each run draws patients anew, 8 slices each, computes the metric and its interval. The truth is the expected
value at the same number of patients and slices, estimated by the mean over all runs. An interval holds if it
covers the truth in 90 to 98 % of runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench import Cases, ImageSet, MetricInputs, Slice, Task
from mtbench.compute.context import Context
from mtbench.stages.intervals import Interval, Measure, cases_interval, jackknife, subsample
from mtbench_plugins.metrics.radiomic_distance import Frd
from mtbench_plugins.metrics.resampling import class_spread_measure, frechet_measure, kernel_measure
from mtbench_plugins.metrics.sliced_wasserstein import SlicedWasserstein

SLICES = 8
ALL_METHODS = False
CORRELATION = 0.5
"""Share of the variance of a feature that lies between patients."""

Floats = NDArray[np.float64]
Run = tuple[float, dict[str, Interval]]


@dataclass(frozen=True)
class Case:
    """One line of the table: a name, and what one run gives for a number of patients and a seed."""

    name: str
    run: Callable[[int, int], Run]
    patients: tuple[int, ...] = (10, 20, 50)


def owners(patients: int) -> list[str]:
    return [f"p{i}" for i in range(patients) for _ in range(SLICES)]


def both(measure: Measure, patients: int, seed: int, two_sided: bool = True) -> Run:
    """The value, and the intervals of every method that is open to functions of whole sets."""
    candidates = owners(patients)
    references = [f"r{name}" for name in candidates] if two_sided else None
    value = float(np.atleast_1d(measure(None, None))[0])
    found = {"jackknife": jackknife(measure, candidates, references, seed=seed)[0]}
    if ALL_METHODS:
        found["jackknife, uncorrected"] = jackknife(measure, candidates, references, pairs=0)[0]
        found["subsample"] = subsample(measure, candidates, references, seed=seed, draws=50)[0]
    return value, found


def features(rng: np.random.Generator, patients: int, width: int, shift: float, scale: float) -> Floats:
    """Gaussian features whose spectrum falls like 1 / k, with patients' own means."""
    spread = 1 / np.sqrt(np.arange(1, width + 1))
    spread /= np.sqrt(np.mean(spread**2))
    person = np.repeat(rng.standard_normal((patients, width)), SLICES, axis=0)
    single = rng.standard_normal((patients * SLICES, width))
    values = np.sqrt(CORRELATION) * person + np.sqrt(1 - CORRELATION) * single
    return np.asarray(values * spread * scale + shift * np.sign(np.sin(1.7 * np.arange(width))))


def distance_case(
    name: str, distance: Callable[[Floats, Floats], Measure], width: int, shift: float, scale: float
) -> Case:
    def run(patients: int, seed: int) -> Run:
        rng = np.random.default_rng(seed)
        x, y = features(rng, patients, width, shift, scale), features(rng, patients, width, 0.0, 1.0)
        return both(distance(x, y), patients, seed)

    far = "apart" if shift else "same"
    return Case(f"{name}, d={width}, {far}", run)


def radiomic_case(width: int, shift: float, scale: float) -> Case:
    """FRD's own code on features as they are: it standardises them by the references itself."""

    def run(patients: int, seed: int) -> Run:
        rng = np.random.default_rng(seed)
        x, y = (features(rng, patients, width, *how) for how in ((shift, scale), (0.0, 1.0)))
        sets = {"candidate": {"features": x}, "reference": {"features": y}}
        return both(Frd().resample(MetricInputs(Task("toy"), features=sets), Context(threads=1)), patients, seed)

    return Case(f"frd, d={width}, {'apart' if shift else 'same'}", run)


def inception_case(splits: int) -> Case:
    weights = 3 * np.random.default_rng(0).standard_normal((64, 20)) / 8

    def run(patients: int, seed: int) -> Run:
        rng = np.random.default_rng(seed)
        logits = features(rng, patients, 64, 0.0, 1.0) @ weights
        split = rng.permutation(len(logits)) * splits // len(logits)
        return both(class_spread_measure(logits, split), patients, seed, two_sided=False)

    return Case(f"is, {splits} split{'s' * (splits > 1)}", run)


def dice_case(name: str, mean: float, between: float, missed: float, empty: float) -> Case:
    """Per-slice values: logit-normal within and between patients, some slices missed (0) or empty (1)."""

    def run(patients: int, seed: int) -> Run:
        rng = np.random.default_rng(seed)
        # Slices per patient vary, as they do.
        owner = np.repeat(np.arange(patients), rng.integers(SLICES - 4, SLICES + 5, patients))
        logit = mean + between * rng.standard_normal(patients)[owner] + 0.5 * rng.standard_normal(len(owner))
        values = 1 / (1 + np.exp(-logit))
        luck = rng.random(len(owner))
        values[luck < missed] = 0.0
        values[luck > 1 - empty] = 1.0
        names = tuple(f"p{i}" for i in owner)
        cases = Cases("slice", tuple(map(str, range(len(owner)))), names, values)
        return float(values.mean()), {"cases": cases_interval(cases, seed=seed)}

    return Case(f"dice, {name}", run)


def swd_case(variant: str) -> Case:
    def textures(rng: np.random.Generator, patients: int, prefix: str, smooth: float) -> ImageSet:
        """64 x 64: a patient's own brightness, contrast and grain."""
        count = patients * SLICES
        noise = torch.from_numpy(rng.standard_normal((count, 1, 64, 64)))
        soft = torch.nn.functional.avg_pool2d(noise, 5, 1, 2).numpy()[:, 0] * 5
        grain = np.repeat(np.exp(0.5 * rng.standard_normal(patients)) * smooth, SLICES)[:, None, None]
        gain = np.repeat(np.exp(0.3 * rng.standard_normal(patients)), SLICES)[:, None, None]
        disc = np.hypot(*np.mgrid[-32:32, -32:32]) < rng.uniform(20, 30, (count, 1, 1))
        values = 100 + 25 * gain * (grain * soft + noise.numpy()[:, 0])
        images = np.clip(np.rint(values * disc), 0, 255).astype(np.uint8)
        names = [f"{prefix}{p}" for p in owners(patients)]
        slices = tuple(Slice(f"{prefix}{i}", name, name) for i, name in enumerate(names))
        return ImageSet(images, slices, None, Task("toy"), "target", "test")

    def run(patients: int, seed: int) -> Run:
        rng = np.random.default_rng(seed)
        inputs = MetricInputs(
            Task("toy"), candidate=textures(rng, patients, "c", 1.0), reference=textures(rng, patients, "r", 1.3)
        )
        # A quarter of the patches: their noise is small beside the patients'.
        metric = SlicedWasserstein(variant, patches=32)  # type: ignore[arg-type]
        return both(metric.resample(inputs, Context(threads=1)), patients, seed)

    return Case(f"swd[{variant}]", run, (10, 20))


def all_cases() -> Iterator[Case]:
    yield dice_case("mild", 1.5, 0.5, 0.0, 0.0)
    yield dice_case("some missed", 2.2, 0.9, 0.06, 0.15)
    yield dice_case("near 1", 3.0, 0.6, 0.01, 0.0)
    for width, shift in ((64, 0.3), (64, 0.0), (256, 0.2)):
        yield distance_case("fid", frechet_measure, width, shift, 1.15 if shift else 1.0)
    for width, shift in ((64, 0.3), (64, 0.0), (256, 0.2)):
        yield distance_case("kid", kernel_measure, width, shift, 1.15 if shift else 1.0)
    yield radiomic_case(64, 0.3, 1.15)
    yield radiomic_case(256, 0.2, 1.15)
    yield inception_case(1)
    yield inception_case(10)
    yield swd_case("karras")
    yield swd_case("koshian2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the others follow")
    parser.add_argument("--only", nargs="*", help="cases whose names begin so")
    parser.add_argument("--patients", type=int, nargs="*", help="numbers of patients, where a case has them")
    parser.add_argument("--all-methods", action="store_true", help="those beside that the harness does not use, too")
    options = parser.parse_args()
    global ALL_METHODS
    ALL_METHODS = options.all_methods
    torch.set_num_threads(1)
    print("| metric | patients | runs | truth | spread | interval | standard error | covers | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in all_cases():
        if options.only and not case.name.startswith(tuple(options.only)):
            continue
        for patients in case.patients:
            if options.patients and patients not in options.patients:
                continue
            started = time.perf_counter()
            runs = [case.run(patients, seed) for seed in range(options.seed, options.seed + options.runs)]
            seconds = time.perf_counter() - started
            values = np.array([value for value, _ in runs])
            truth = values.mean()
            for method in runs[0][1]:
                found = [intervals[method] for _, intervals in runs]
                hits = [i.low <= truth <= i.high for i in found if i.low is not None and i.high is not None]
                error = np.mean([i.stderr for i in found if i.stderr is not None])
                print(
                    f"| {case.name} | {patients} | {len(hits)} | {truth:.4g} | {values.std():.3g} | {method} "
                    f"| {error:.3g} | {100 * np.mean(hits):.1f} % | {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
