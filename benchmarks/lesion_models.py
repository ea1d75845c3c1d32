"""Patients of the lesion phantom with and without edits, and networks trained on it; used by ``lesions.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtbench import Batch, Context, ImageSet, Sample, Slice, Task, TrainingData
from mtbench.compute.seeds import generator
from mtbench.data import DOMAINS, SPLITS, Domain, Split, decode, encode
from mtbench.registry.discovery import discover
from mtbench_plugins.datasets.phantoms.brain import brain_anatomy
from mtbench_plugins.datasets.phantoms.brain_scanners import flair, t1
from mtbench_plugins.datasets.phantoms.lesions import Lesion, draw_lesions, with_lesions
from mtbench_plugins.datasets.phantoms.space import Anatomy

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
SLICES = 12
SEED = 0
LESION = 3
VALIDATION = range(1000, 1020)
TEST = range(1400, 1460)
"""Source patients beyond those of the data set; the even ones have lesions."""
SIZE = 256
"""Pixels per side of every image here."""


# 104 training patients, all with lesions; more of them cost nothing in a phantom.
SEGMENTER_DATA: dict[str, Any] = {"patients_source": 4, "patients_target": 160, "prevalence_target": 1.0}
SEGMENTER: dict[str, Any] = {"epochs": 8, "batch_size": 4, "filters": 16, "levels": 5, "augment": "shift+flip"}
PREVALENCES = (0.0, 0.5, 1.0)
"""Shares of training patients with lesions; a translator is trained with each."""
TRANSLATORS: dict[str, dict[str, Any]] = {
    "cyclegan": {
        "steps": 1500,
        "ngf": 16,
        "ndf": 16,
        "n_blocks": 3,
        "lr": 5e-4,
        "lambda_identity": 0.5,
        "load_size": SIZE,
        "crop_size": 96,
    },
    "regression-unet": {
        "steps": 4000,
        "batch_size": 4,
        "width": 16,
        "levels": 5,
        "load_size": SIZE,
        "crop_size": 128,
    },
}


@dataclass(frozen=True)
class Patient:
    """An evaluation patient.

    Attributes:
        number: its number among the source patients.
        lesions: those that it has: three or none.
        sham: three more places, of 20, 10 and 5 mm, where it has none.
    """

    number: int
    lesions: tuple[Lesion, ...]
    sham: tuple[Lesion, ...]

    @classmethod
    def of(cls, number: int) -> Patient:
        """The patient of that number."""
        lesions = draw_lesions(SEED, "source", number) if number % 2 == 0 else ()
        return cls(number, lesions, draw_lesions(SEED, "source", number, "sham", besides=lesions))

    def anatomy(self, lesions: Iterable[Lesion]) -> Anatomy:
        """The patient with these lesions in place of the real ones."""
        return with_lesions(_plain(self.number), lesions)

    def source(self) -> Images:
        """The source slices, SLICES x SIZE x SIZE."""
        return scanned(self.anatomy(self.lesions), flair, self.number)

    def truth(self, lesions: Iterable[Lesion]) -> Images:
        """The true translation of the patient with these lesions; the noise is the same with any."""
        return scanned(self.anatomy(lesions), t1, self.number)


@lru_cache(maxsize=4)
def _plain(number: int) -> Anatomy:
    return brain_anatomy(SIZE, SLICES, SEED, "source", number)


def scanned(anatomy: Anatomy, scanner: Callable[[Anatomy, np.random.Generator], Floats], number: int) -> Images:
    """uint8 slices as ``scanner`` sees the patient ``number``."""
    images: Images = encode(scanner(anatomy, generator("lesions", number, scanner.__name__)), "uint8")
    return images


def image_sets(**params: Any) -> tuple[Task, dict[tuple[Domain, Split], ImageSet]]:
    """The task and its slices by domain and split."""
    registered = discover(third_party=False).get("dataset", "phantom-lesions")
    complete = registered.complete({"size": SIZE, "slices": SLICES, "seed": SEED} | params)
    task = registered.spec.task(complete, "phantom-lesions")
    samples: list[Sample] = list(registered.create(complete).prepare(None, Context()))
    sets = {}
    for domain in DOMAINS:
        for split in SPLITS:
            chosen = [s for s in samples if s.domain == domain and s.slice.split == split]
            masks = None if domain == "paired" else np.stack([np.asarray(s.mask, np.uint8) for s in chosen])
            images, slices = np.stack([s.image for s in chosen]), tuple(s.slice for s in chosen)
            sets[domain, split] = ImageSet(images, slices, masks, task, domain, split)
    return task, sets


def plugin(kind: str, name: str, params: dict[str, Any]) -> Any:
    """A plugin with these parameters."""
    registered = discover(third_party=False).get(kind, name)
    return registered.create(registered.complete(params))


def segmenter(folder: Path) -> Any:
    """The segmenter of target slices, from ``folder`` or trained into it."""
    model = plugin("segmenter", "unet", SEGMENTER)
    place = folder / "segmenter"
    if (place / "seconds.txt").exists():
        model.load(place)
        return model
    task, sets = image_sets(**SEGMENTER_DATA)
    data = TrainingData(task, target_train=sets["target", "train"], target_validation=sets["target", "validation"])
    _fit(model, data, task, place)
    print(f"{place.name}: Dice on validation slices {model.validation}", flush=True)
    return model


def translator(folder: Path, name: str, prevalence: float) -> Any:
    """A translator trained with that prevalence, from ``folder`` or trained into it.

    Unpaired: the prevalence of the target's training patients; half of the source's have lesions. Paired: of the
    pairs.
    """
    model = plugin("translator", name, TRANSLATORS[name])
    place = folder / f"{name}-{prevalence:g}"
    if (place / "seconds.txt").exists():
        model.load(place)
        return model
    paired = name != "cyclegan"
    task, sets = image_sets(**{"prevalence_source" if paired else "prevalence_target": prevalence})
    other = {"paired_train": sets["paired", "train"]} if paired else {"target_train": sets["target", "train"]}
    _fit(model, TrainingData(task, source_train=sets["source", "train"], **other), task, place)
    return model


def _fit(model: Any, data: TrainingData, task: Task, place: Path) -> None:
    before = time.process_time()
    model.fit(data, Context(task=task, seed=SEED, threads=torch.get_num_threads()))
    seconds = time.process_time() - before
    place.mkdir(parents=True, exist_ok=True)
    model.save(place)
    # Written last: a folder with this file is complete.
    (place / "seconds.txt").write_text(f"{seconds:.0f}\n", encoding="utf-8")
    print(f"{place.name}: {seconds:.0f} CPU seconds", flush=True)


def translate(model: Any, source: Images) -> Images:
    """The translation of a volume, uint8, of the same shape."""
    records = tuple(Slice(f"{i}", "p", "p", i) for i in range(len(source)))
    with torch.inference_mode():
        images = model.translate(Batch(torch.from_numpy(decode(source))[:, None], records), Context())
    translated: Images = encode(images[:, 0].numpy(), "uint8")
    return translated


def translated(folder: Path, name: str, prevalence: float, number: int, source: Images) -> Images:
    """The translation of a patient's volume by a trained translator, from ``folder`` or written there."""
    file = folder / f"{name}-{prevalence:g}" / f"{number}.npy"
    if not file.exists():
        np.save(file, translate(_trained(folder, name, prevalence), source))
    images: Images = np.load(file)
    return images


@lru_cache
def _trained(folder: Path, name: str, prevalence: float) -> Any:
    return translator(folder, name, prevalence)


def lesion_probability(model: Any, images: Images) -> Floats:
    """The segmenter's probability of lesion at each pixel, N x H x W."""
    with torch.inference_mode():
        logits = model.logits("task", torch.from_numpy(decode(images))[:, None])
    probabilities: Floats = logits.float().softmax(1)[:, LESION].numpy()
    return probabilities
