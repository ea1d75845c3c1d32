"""Are the phantoms worth translating? A target segmenter's Dice on source slices treated in four ways.

    python benchmarks/phantoms.py [--seeds 5] [--size 64] [--tasks phantom-lumbar phantom-breast]

ceiling: real target test slices. identity: source test slices as they are. histogram: each source value by
the quantiles of the training sets. pointwise: the best map from source to target values that there is, the
conditional mean of the paired truth in 256 bins, fitted on the test slices themselves. truth: the paired
truth. "recovered" is the share of the gap between identity and ceiling that the pointwise map closes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from numpy.typing import NDArray

from mtbench import Context, ImageSet, Sample, Task, TrainingData
from mtbench.data import Domain, Split, decode
from mtbench.registry.discovery import discover

TRAIN = 0.7
WAYS = ("ceiling", "truth", "identity", "histogram", "pointwise")
Row = dict[str, float]
Images = NDArray[np.uint8]
Segment = Callable[[Images], Images]


def image_set(samples: list[Sample], domain: Domain, split: Split, task: Task) -> ImageSet:
    """Samples of one domain as an image set; "train" takes the first patients, "test" the last."""
    chosen = [s for s in samples if s.domain == domain]
    patients = list(dict.fromkeys(s.slice.patient_id for s in chosen))
    cut = round(len(patients) * TRAIN)
    kept = set(patients[:cut] if split == "train" else patients[cut:])
    chosen = [s for s in chosen if s.slice.patient_id in kept]
    images, records = np.stack([s.image for s in chosen]), tuple(s.slice for s in chosen)
    masks = [s.mask for s in chosen if s.mask is not None]
    return ImageSet(images, records, np.stack(masks) if masks else None, task, domain, split)


def batches(stored: Images, size: int = 32) -> Iterator[torch.Tensor]:
    """uint8 images as float32 tensors in [0, 1], B x 1 x H x W."""
    for start in range(0, len(stored), size):
        yield torch.from_numpy(decode(stored[start : start + size])[:, None])


def train_segmenter(data: ImageSet, epochs: int, seed: int) -> Segment:
    """A small UNet; the function it returns labels uint8 images."""
    torch.manual_seed(seed)
    classes = max(data.task.labels) + 1
    net = UNet(2, 1, classes, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=1)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True)
    images, masks = data.tensor(), data.mask_tensor()[:, None]
    steps = epochs * -(-len(data) // 8)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(data))
        for start in range(0, len(data), 8):
            rows = order[start : start + 8]
            loss = loss_of(net(images[rows]), masks[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    net.eval()

    def segment(stored: Images) -> Images:
        with torch.inference_mode():
            labels = [net(part).argmax(1) for part in batches(stored)]
        return torch.cat(labels).numpy().astype(np.uint8)

    return segment


def plugin_segmenter(data: ImageSet, epochs: int, seed: int) -> Segment:
    """The ``unet`` plugin, as small as the net above; a quarter of the patients validate."""
    registered = discover(third_party=False).get("segmenter", "unet")
    context = Context(task=data.task, seed=seed, threads=torch.get_num_threads())
    segmenter = registered.create(registered.complete({"epochs": epochs, "filters": 16, "levels": 4}))
    patients = sorted(set(data.patients))
    held = set(patients[:: max(len(patients) // 4, 2)])
    inside = np.array([p in held for p in data.patients])
    train, validation = data.subset(np.flatnonzero(~inside)), data.subset(np.flatnonzero(inside))
    segmenter.fit(TrainingData(data.task, target_train=train, target_validation=validation), context)

    def segment(stored: Images) -> Images:
        labels = [np.asarray(segmenter.segment(part, context)) for part in batches(stored)]
        return np.concatenate(labels).astype(np.uint8)

    return segment


def dice(predicted: Images, truth: Images, values: tuple[int, ...]) -> float:
    """Mean Dice of the slices in which the region is present."""
    a, b = np.isin(predicted, values), np.isin(truth, values)
    present = b.any(axis=(1, 2))
    overlap, total = (a & b).sum(axis=(1, 2)), a.sum(axis=(1, 2)) + b.sum(axis=(1, 2))
    return float((2 * overlap[present] / total[present]).mean())


def match_histogram(images: Images, source: Images, target: Images) -> Images:
    """Values mapped so that ``source`` would take the distribution of ``target``."""
    rank = np.cumsum(np.bincount(source.ravel(), minlength=256)) / source.size
    goal = np.cumsum(np.bincount(target.ravel(), minlength=256)) / target.size
    return np.rint(np.interp(rank, goal, np.arange(256))).astype(np.uint8)[images]


def best_pointwise(source: Images, truth: Images) -> Images:
    """``source`` under the conditional mean of ``truth``: no map of single values has a smaller error."""
    count = np.bincount(source.ravel(), minlength=256)
    total = np.bincount(source.ravel(), weights=truth.ravel().astype(float), minlength=256)
    return np.rint(total / np.maximum(count, 1)).astype(np.uint8)[source]


def measure(name: str, seed: int, size: int, epochs: int, plugin: bool) -> tuple[dict[str, Row], float]:
    """Dice by region and by treatment, and the seconds that drawing the patients took."""
    registered = discover(third_party=False).get("dataset", name)
    params = registered.complete({"size": size, "seed": seed})
    task = registered.spec.task(params, name)
    dataset = registered.create(params)
    started = time.perf_counter()
    samples = list(dataset.prepare(None, Context()))
    seconds = time.perf_counter() - started
    source_train = image_set(samples, "source", "train", task)
    source = image_set(samples, "source", "test", task)
    target_train = image_set(samples, "target", "train", task)
    target = image_set(samples, "target", "test", task)
    truth = image_set(samples, "paired", "test", task)
    segment = (plugin_segmenter if plugin else train_segmenter)(target_train, epochs, seed)
    treated = {
        "ceiling": (target.images, target.masks),
        "truth": (truth.images, source.masks),
        "identity": (source.images, source.masks),
        "histogram": (match_histogram(source.images, source_train.images, target_train.images), source.masks),
        "pointwise": (best_pointwise(source.images, truth.images), source.masks),
    }
    rows: dict[str, Row] = {region: {} for region in task.regions}
    for way, (images, masks) in treated.items():
        predicted = segment(images)
        for region, values in task.regions.items():
            rows[region][way] = dice(predicted, np.asarray(masks), values)
    return rows, seconds


def shortcoming(region: str, row: Row) -> str:
    """The properties that a task lacks; empty if it has all."""
    gap = row["ceiling"] - row["identity"]
    if region == "bone" and row["ceiling"] < 0.85:
        return "expected a ceiling of at least 0.85"
    if region == "bone" and gap < 0.4:
        return "expected identity at least 0.4 below the ceiling"
    if region == "bone" and row["pointwise"] - row["identity"] > 0.5 * gap:
        return "expected the pointwise map to recover at most half of the gap"
    if region == "fgt" and not 0.03 <= gap <= 0.20:
        return "expected identity 0.03 to 0.20 below the ceiling"
    return ""


def main() -> None:
    """Print the table and whether each task has its properties."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plugin", action="store_true", help="segment with the `unet` plugin")
    parser.add_argument("--tasks", nargs="+", default=["phantom-lumbar", "phantom-breast"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    columns = ["task", "seed", "region", *WAYS, "gap", "recovered", "drawn in s"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    failed = []
    for name in given.tasks:
        for seed in range(given.seeds):
            rows, seconds = measure(name, seed, given.size, given.epochs, given.plugin)
            for region, row in rows.items():
                gap = row["ceiling"] - row["identity"]
                figures = [f"{row[way]:.3f}" for way in WAYS]
                figures += [
                    f"{gap:.3f}",
                    f"{(row['pointwise'] - row['identity']) / gap:.2f}",
                    f"{seconds:.1f}",
                ]
                print(f"| {name} | {seed} | {region} | " + " | ".join(figures) + " |", flush=True)
                if problem := shortcoming(region, row):
                    failed.append(f"{name}, seed {seed}, {region}: {problem}")
    print("\n" + ("\n".join(failed) or "every seed has the expected properties"))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
