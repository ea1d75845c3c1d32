"""Do metrics see the scanner's vendor? Siemens against GE breast MR, and GE against GE split by patient.

At equal N and equal numbers of patients, over random patient splits, this counts how often the two vendors lie
further apart than two halves of one; as the images are, and after they are brought to one orientation, since in
these crops the side that shows air differs by vendor.

    MTBENCH_TEST_DATA=FOLDER python benchmarks/vendors.py [--splits 20] [--patients 20] [--weights FILE]

Without a weight file the feature metrics use the FID network with random weights: not FID, not comparable.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.compute.inference import prepare_torch
from mtbench.compute.seeds import generator
from mtbench.data import ImageSet, MetricInputs
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench.scoring.reading import ReadOptions, read_folder
from mtbench.stages.extract import extract
from mtbench.store.artefacts import Store

METRICS = ("fid", "kid", "swd:karras", "swd:koshian2")
VENDORS = ("siemens", "ge")


def upright(images: ImageSet) -> ImageSet:
    """Every patient with the air on top: flipped where the bottom quarter is darker than the top quarter."""
    pixels = np.array(images.images)
    patients = np.array(images.patients)
    quarter = pixels.shape[1] // 4
    flipped = 0
    for patient in np.unique(patients):
        own = patients == patient
        if pixels[own, -quarter:].mean() < pixels[own, :quarter].mean():
            pixels[own] = pixels[own, ::-1]
            flipped += 1
    print(f"  {flipped} of {len(np.unique(patients))} patients turned over")
    return replace(images, images=pixels)


def features(images: ImageSet, registry: Registry, extractor: str, params: dict[str, Any]) -> NDArray[Any]:
    """Pooled features of all images."""
    registered = registry.get("extractor", extractor)
    plugin = registered.create(registered.complete(params))
    with tempfile.TemporaryDirectory() as folder:
        extract(images, plugin, registered.spec.arrays, Context(batch_size=16), Path(folder), extractor)
        return np.load(Path(folder) / "pool.npy", allow_pickle=False)


def slices_of(images: ImageSet, patients: Any, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``count`` slices of these patients, as evenly over patients as there are slices."""
    own = [rng.permutation(np.flatnonzero(np.array(images.patients) == p)) for p in patients]
    rounds = [[s[i] for s in own if i < len(s)] for i in range(max(map(len, own)))]
    return np.sort(np.concatenate(rounds)[:count]).astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--patients", type=int, default=20, help="a group")
    parser.add_argument("--images", type=int, default=140, help="a group")
    parser.add_argument("--weights", help="the published FID weights")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare_torch("fp32", options.threads)
    registry = discover(third_party=False)
    extractor = "inception-fid" if options.weights else "inception-random"
    params = {"weights": options.weights} if options.weights else {}
    root = Path(os.environ["MTBENCH_TEST_DATA"]) / "data" / "breast_mr"
    with tempfile.TemporaryDirectory() as store:
        reading = ReadOptions(patient=r"(Breast_MRI_\d+)")
        sets = {v: read_folder(root / v, reading, Store(Path(store))).images for v in VENDORS}
        sets = {v: replace(s, images=np.array(s.images)) for v, s in sets.items()}
    for state in ("as they are", "one orientation"):
        print(f"{state}:")
        if state == "one orientation":
            sets = {v: upright(s) for v, s in sets.items()}
        pooled = {v: features(s, registry, extractor, params) for v, s in sets.items()}
        report(sets, pooled, registry, extractor, options)


def report(
    sets: dict[str, ImageSet], pooled: dict[str, NDArray[Any]], registry: Registry, extractor: str, options: Any
) -> None:
    """One line a metric: how often, and the medians."""

    def inputs(candidate: tuple[str, Any], reference: tuple[str, Any]) -> MetricInputs:
        return MetricInputs(
            task=sets["ge"].task,
            candidate=sets[candidate[0]].subset(candidate[1]),
            reference=sets[reference[0]].subset(reference[1]),
            features={
                "candidate": {"pool": pooled[candidate[0]][candidate[1]]},
                "reference": {"pool": pooled[reference[0]][reference[1]]},
            },
        )

    groups = []
    for split in range(options.splits):
        rng = generator("vendors", split)
        ge = rng.permutation(sorted(set(sets["ge"].patients)))
        siemens = rng.permutation(sorted(set(sets["siemens"].patients)))
        size = options.patients
        groups.append(
            (
                ("siemens", slices_of(sets["siemens"], siemens[:size], options.images, rng)),
                ("ge", slices_of(sets["ge"], ge[:size], options.images, rng)),
                ("ge", slices_of(sets["ge"], ge[size : 2 * size], options.images, rng)),
            )
        )
    for call in METRICS:
        registered, given = registry.call("metric", call)
        if "extractor" in registered.spec.params:
            given["extractor"] = extractor
        metric_params = registered.complete(given)
        metric = registered.create(metric_params)
        between, within = [], []
        for siemens_group, first, second in groups:
            between.append(metric.compute(inputs(siemens_group, first), Context()).value)
            within.append(metric.compute(inputs(second, first), Context()).value)
        further = sum(b > w for b, w in zip(between, within, strict=True))
        title = f"{registered.spec.title}[{registered.spec.printed_variant(metric_params)}]"
        print(
            f"  {title:28s} vendors further apart in {further:2d} of {len(groups)} splits; "
            f"median between vendors {np.median(between):8.4g}, between halves of GE {np.median(within):8.4g}"
        )


if __name__ == "__main__":
    main()
