"""How often the 95 % intervals and bounds hold, and how often the paired test rejects a true null hypothesis.

    python benchmarks/coverage.py                            # under two minutes on one core
    python benchmarks/coverage.py --runs 2000 --only dice mae
    python benchmarks/coverage.py --runs 200 --only swd      # minutes; not part of the default

Each run draws patients anew, with 4 to 12 slices each, and makes the interval as the harness does. ICC is the
intra-class correlation, the share of the variance that lies between patients. The truth is the expected value: of
a mean that of 400,000 patients, of a distance the mean over all runs (at the same number of patients and slices).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtbench import Cases, ImageSet, MetricInputs, Slice, Task
from mtbench.analysis.paired import paired_difference
from mtbench.compute.context import Context
from mtbench.compute.seeds import generator
from mtbench.stages.intervals import Measure, cases_interval, jackknife
from mtbench_plugins.metrics.resampling import class_spread_measure, frechet_measure, kernel_measure
from mtbench_plugins.metrics.sliced_wasserstein import SlicedWasserstein

Floats = NDArray[np.float64]
Owners = NDArray[np.int64]
Rng = np.random.Generator
Ends = tuple[float, float]
CORRELATIONS = (0.2, 0.5, 0.85)


@dataclass(frozen=True)
class Setting:
    """One line of the table.

    Attributes:
        name: the simulation.
        run: one run's value and the intervals that it gives, for a number of patients.
        truth: what they should cover; ``None`` for the mean of the values.
        patients: the numbers of patients.
        asked_for: only run where ``--only`` names it.
    """

    name: str
    run: Callable[[int, Rng], tuple[float, Mapping[str, Ends]]]
    truth: float | None = None
    patients: tuple[int, ...] = (10, 20, 50)
    asked_for: bool = False

    def coverage(self, patients: int, runs: int, seed: int = 0) -> dict[str, float]:
        """The share of runs in which each interval holds."""
        results = [self.run(patients, generator(self.name, patients, seed, run)) for run in range(runs)]
        truth = float(np.mean([value for value, _ in results])) if self.truth is None else self.truth
        return {
            name: float(np.mean([ends[name][0] <= truth <= ends[name][1] for _, ends in results]))
            for name in results[0][1]
        }


def owners(patients: int, rng: Rng) -> Owners:
    return np.repeat(np.arange(patients), rng.integers(4, 13, patients))


def correlated(owner: Owners, icc: float, rng: Rng, tails: float = np.inf) -> Floats:
    """Values of variance 1 (heavier with ``tails``, Student's degrees of freedom), correlated within patients."""

    def draw(count: int) -> Floats:
        return rng.standard_normal(count) if np.isinf(tails) else rng.standard_t(tails, count)

    return np.asarray(np.sqrt(icc) * draw(owner.max() + 1)[owner] + np.sqrt(1 - icc) * draw(len(owner)))


# Means over patients. A law gives the values of all slices.

Law = Callable[[Owners, Rng], Floats]


def dice(icc: float, failures: float = 0.0) -> Law:
    def law(owner: Owners, rng: Rng) -> Floats:
        values = 1 / (1 + np.exp(-2.2 - correlated(owner, icc, rng)))
        return np.where((rng.random(owner.max() + 1) < failures)[owner], 0.0, values)

    return law


def mae(icc: float, tails: float = np.inf) -> Law:
    def law(owner: Owners, rng: Rng) -> Floats:
        values = correlated(owner, icc, rng, tails)
        return 20 * np.exp(0.8 * values) if np.isinf(tails) else np.abs(50 + 10 * values)

    return law


def mean_setting(name: str, law: Law, bounds: Ends) -> Setting:
    def run(patients: int, rng: Rng) -> tuple[float, Mapping[str, Ends]]:
        owner = owners(patients, rng)
        values = law(owner, rng)
        names = tuple(map(str, owner))
        interval = cases_interval(Cases("slice", names, names, values), bounds=bounds)
        assert interval.low is not None
        assert interval.high is not None
        ends = {"interval": (interval.low, interval.high)}
        return float(values.mean()), ends | ({"bound": interval.bound} if interval.bound else {})

    # One slice of a patient has the same expected value as all of them.
    return Setting(name, run, float(law(np.arange(400_000), np.random.default_rng(0)).mean()))


# The paired test, where the true difference is 0.


def null_setting(name: str, law: Law) -> Setting:
    """Differences whose expected value is 0: how often p < 0.05, and how often the interval excludes 0."""

    def run(patients: int, rng: Rng) -> tuple[float, Mapping[str, Ends]]:
        owner = owners(patients, rng)
        differences = law(owner, rng)
        comparison = paired_difference(differences.tolist(), owner.astype(str).tolist())
        assert comparison is not None
        assert comparison.p is not None
        assert comparison.low is not None
        assert comparison.high is not None
        # What "covers" here is a rejection, so that its share is counted.
        rejected = (0.0, 0.0) if comparison.p < 0.05 else (1.0, 1.0)
        return comparison.value, {"rejects": rejected, "interval": (comparison.low, comparison.high)}

    return Setting(f"null, {name}", run, 0.0)


def symmetric(tails: float) -> Law:
    return lambda owner, rng: 0.05 * correlated(owner, 0.5, rng, tails)


def skewed(owner: Owners, rng: Rng) -> Floats:
    return np.exp(0.8 * correlated(owner, 0.5, rng)) - np.exp(0.32)


def failing(share: float, sides: int) -> Law:
    """One side, or both, fails completely in a share of patients; the mean difference is still 0."""

    def law(owner: Owners, rng: Rng) -> Floats:
        count = owner.max() + 1
        failed = (rng.random(count) < share) * 1.0 - ((rng.random(count) < share) if sides == 2 else share)
        return 0.05 * correlated(owner, 0.5, rng) - 0.85 * failed[owner]

    return law


# Functions of whole sets.


def features(owner: Owners, icc: float, rng: Rng, width: int, decay: float) -> Floats:
    """Gaussian features whose spectrum falls like k^-decay: few directions count where it falls fast."""
    spread = np.arange(1, width + 1) ** -decay
    person, single = rng.standard_normal((owner.max() + 1, width)), rng.standard_normal((len(owner), width))
    values = np.sqrt(icc) * person[owner] + np.sqrt(1 - icc) * single
    return np.asarray(values * spread / np.sqrt(np.mean(spread**2)))


def set_ends(measure: Measure, *sides: Owners) -> tuple[float, Mapping[str, Ends]]:
    names = [[f"{side}{patient}" for patient in owner] for side, owner in enumerate(sides)]
    (interval,) = jackknife(measure, *names)
    assert interval.value is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.value, {"interval": (interval.low, interval.high)}


def distance_setting(
    name: str, distance: Callable[[Floats, Floats], Measure], icc: float, decay: float, shift: float
) -> Setting:
    width = 32

    def run(patients: int, rng: Rng) -> tuple[float, Mapping[str, Ends]]:
        first, second = owners(patients, rng), owners(patients, rng)
        x = features(first, icc, rng, width, decay) * (1.15 if shift else 1.0)
        y = features(second, icc, rng, width, decay)
        return set_ends(distance(x + shift * np.sign(np.sin(1.7 * np.arange(width))), y), first, second)

    kind = f"{'apart' if shift else 'same'}, {'steep' if decay == 1 else 'flat'}"
    return Setting(f"{name}, {kind}, ICC {icc}", run, patients=(10, 20))


def inception_setting(splits: int) -> Setting:
    weights = 3 * np.random.default_rng(0).standard_normal((64, 20)) / 8

    def run(patients: int, rng: Rng) -> tuple[float, Mapping[str, Ends]]:
        owner = owners(patients, rng)
        logits = features(owner, 0.5, rng, 64, 0.5) @ weights
        split = rng.permutation(len(logits)) * splits // len(logits)
        return set_ends(class_spread_measure(logits, split), owner)

    return Setting(f"is, {splits} split{'s' * (splits > 1)}", run, patients=(10, 20))


def swd_setting(variant: str) -> Setting:
    def textures(patients: int, rng: Rng, prefix: str, smooth: float) -> tuple[Owners, ImageSet]:
        """64 x 64: a patient's own brightness, contrast and grain."""
        from scipy.ndimage import uniform_filter

        owner = owners(patients, rng)
        noise = rng.standard_normal((len(owner), 64, 64))
        soft = uniform_filter(noise, (0, 5, 5), mode="constant") * 5
        grain = (np.exp(0.5 * rng.standard_normal(patients)) * smooth)[owner, None, None]
        gain = np.exp(0.3 * rng.standard_normal(patients))[owner, None, None]
        disc = np.hypot(*np.mgrid[-32:32, -32:32]) < rng.uniform(20, 30, (len(owner), 1, 1))
        images = np.clip(np.rint((100 + 25 * gain * (grain * soft + noise)) * disc), 0, 255).astype(np.uint8)
        slices = tuple(Slice(f"{prefix}{i}", f"{prefix}{p}", f"{prefix}{p}") for i, p in enumerate(owner))
        return owner, ImageSet(images, slices, None, Task("toy"), "target", "test")

    def run(patients: int, rng: Rng) -> tuple[float, Mapping[str, Ends]]:
        (first, candidate), (second, reference) = (
            textures(patients, rng, prefix, smooth) for prefix, smooth in (("c", 1.0), ("r", 1.3))
        )
        # A quarter of the patches: their noise is small beside the patients'.
        metric = SlicedWasserstein(variant, patches=32)  # type: ignore[arg-type]
        inputs = MetricInputs(Task("toy"), candidate=candidate, reference=reference)
        return set_ends(metric.resample(inputs, Context(threads=1)), first, second)

    return Setting(f"swd[{variant}]", run, patients=(10, 20), asked_for=True)


def settings() -> Iterator[Setting]:
    for icc in CORRELATIONS:
        yield mean_setting(f"dice, ICC {icc}", dice(icc), (0.0, 1.0))
    for share in (0.04, 0.12):
        yield mean_setting(f"dice, {share:.0%} of patients fail", dice(0.5, share), (0.0, 1.0))
    for icc in CORRELATIONS:
        yield mean_setting(f"mae, skewed, ICC {icc}", mae(icc), (0.0, np.inf))
    yield mean_setting("mae, heavy tails, ICC 0.5", mae(0.5, 3), (0.0, np.inf))
    yield null_setting("normal", symmetric(np.inf))
    yield null_setting("heavy tails", symmetric(3))
    yield null_setting("skewed", skewed)
    yield null_setting("both fail in 8%", failing(0.08, 2))
    for share in (0.04, 0.12, 0.25):
        yield null_setting(f"one fails in {share:.0%}", failing(share, 1))
    for name, distance in (("kid", kernel_measure), ("fid", frechet_measure)):
        for decay, shift in ((0.5, 0.3), (0.5, 0.0), (1.0, 0.3)):
            for icc in CORRELATIONS:
                yield distance_setting(name, distance, icc, decay, shift)
    yield inception_setting(1)
    yield inception_setting(10)
    yield swd_setting("karras")
    yield swd_setting("koshian2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="settings whose names begin so")
    options = parser.parse_args()
    print("| setting | patients | holds (rejects) in % of runs |\n|---|---|---|")
    started = time.perf_counter()
    for setting in settings():
        if setting.name.startswith(tuple(options.only)) if options.only else not setting.asked_for:
            for patients in setting.patients:
                shares = setting.coverage(patients, options.runs, options.seed)
                texts = [f"{name} {100 * share:.1f}" for name, share in shares.items()]
                print(f"| {setting.name} | {patients} | {', '.join(texts)} |", flush=True)
    print(f"\n{options.runs} runs each, {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
