"""At which misregistration do paired metrics prefer a damaged translation to the true one?

    python benchmarks/misregistration.py

The truth of the lumbar phantom (256 x 256 pixels) is moved by 0.5 to 5 mm in a random direction for each slice, as by
an imperfect registration. The perfect translation and damaged ones are scored against it. Printed is the smallest
movement at which a metric scores the damaged set better; a dash if at none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mtbench.compute.context import Context
from mtbench.data import ImageSet, MetricInputs, Task
from mtbench.registry.discovery import discover
from mtbench.stress.bench import MetricChoice
from mtbench.stress.material import Material, damage
from mtbench.stress.operators import OPERATORS
from mtbench_plugins.datasets.phantoms.dataset import LumbarPhantom

SIZE, PATIENTS = 256, 20
METRICS = ("mae", "psnr", "ssim", "ms-ssim")
MOVED = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
DAMAGE = (("blur", 1.0), ("blur", 2.0), ("blur", 4.0), ("noise", 0.05), ("remove", 1.0), ("lesion", 10.0))


def truth(context: Context) -> ImageSet:
    """One true target slice of each source patient, with its mask."""
    samples = list(LumbarPhantom(SIZE, PATIENTS, 1, 1, 0).prepare(None, context))
    masks = [s.mask for s in samples if s.domain == "source" and s.mask is not None]
    shown = [s for s in samples if s.domain == "paired"]
    task = Task("phantom-lumbar", "MR", "CT", {1: "bone"}, paired=True)
    records = tuple(s.slice for s in shown)
    return ImageSet(np.stack([s.image for s in shown]), records, np.stack(masks), task, "paired", "test")


def after(images: ImageSet, name: str, strength: float) -> ImageSet:
    """The set after an operator; of a movement of the truth, the truth."""
    damaged = damage(Material(images.task, images, images, images, images, ""), OPERATORS[name], strength, 0)
    return damaged.truth if OPERATORS[name].family == "registration" else damaged.candidate


def table(context: Context) -> Iterator[str]:
    """The lines of a Markdown table."""
    registry, images = discover(), truth(context)
    moved = {mm: after(images, "misregister", mm) for mm in MOVED}
    metrics = [MetricChoice.of(registry, name) for name in METRICS]
    computed = [metric.registration.create(metric.params) for metric in metrics]

    def score(number: int, candidate: ImageSet, mm: float) -> float:
        inputs = MetricInputs(task=images.task, candidate=candidate, paired=moved[mm])
        (found,) = np.atleast_1d(np.asarray(computed[number].compute(inputs, context), dtype=object))
        return float(found.value) * (1 if metrics[number].spec.higher_is_better else -1)

    yield "| damage | " + " | ".join(metric.name for metric in metrics) + " |"
    yield "|---|" + "---|" * len(metrics)
    perfect = {(number, mm): score(number, images, mm) for number in range(len(metrics)) for mm in moved}
    for name, strength in DAMAGE:
        damaged, cells = after(images, name, strength), []
        for number in range(len(metrics)):
            first = next((mm for mm in MOVED if score(number, damaged, mm) > perfect[number, mm]), None)
            cells.append(f"{first:g} mm" if first else "–")
        yield f"| {name} {strength:g} | {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(table(Context(seed=0))))
