"""What each built-in plugin puts out on small fixed inputs: no output changes without a new revision.

``python tests/reference_outputs.py`` writes ``tests/reference_outputs.json`` anew; do that after raising a plugin's
revision. Networks are judged with weights from a formula, never with fitted ones: the losses of a first step, and what
translating or segmenting gives.
"""

from __future__ import annotations

import json
import math
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from mtbench import Batch, ImageSet, MetricInputs, Slice, Task, TrainingData
from mtbench.compute.context import Context
from mtbench.compute.statedicts import read_state
from mtbench.registry.discovery import discover
from mtbench.registry.specs import DatasetSpec, ExtractorSpec, MetricSpec, SegmenterSpec, TranslatorSpec

FILE = Path(__file__).with_suffix(".json")
TASK = Task("toy", labels={1: "disc"}, masks=frozenset({"source", "target"}), paired=True, paired_training=True)
REGISTRY = discover(third_party=False)
Figures = dict[str, float]
SIMPLE = ("identity", "histogram", "pointwise-map", "monotone-map")

NETWORKS: dict[str, dict[str, Any]] = {
    "cyclegan": {"ngf": 4, "n_blocks": 1, "ndf": 4},
    "maskgan": {"ngf": 4, "n_blocks": 1, "ndf": 4, "n_attentions": 3, "batch_size": 2},
    "unsb": {"ngf": 4, "n_blocks": 1, "ndf": 4, "netF_nc": 8, "num_patches": 16},
    "spade": {"ngf": 2, "ndf": 4, "nhidden": 8},
    "cut": {"ngf": 4, "n_blocks": 1, "ndf": 4, "netF_nc": 8, "num_patches": 16},
    "fastcut": {"ngf": 4, "n_blocks": 1, "ndf": 4, "netF_nc": 8, "num_patches": 16},
    "pix2pix": {"ngf": 4, "ndf": 4},
    "regression-unet": {"width": 4, "levels": 3},
    "contourdiff": {"width": 8, "levels": 2, "denoise_step": 3},
    "unet": {"filters": 4, "levels": 3, "epochs": 1, "batch_size": 4},
    "unet-lab": {"filters": 4, "levels": 3, "epochs": 1, "batch_size": 4},
    "self-supervised": {"size": 32, "width": 4, "steps": 1, "batch_size": 4},
}

SINGLE_DOMAIN = ("unet", "unet-lab", "self-supervised")


def images(domain: Any, n: int = 4, side: int = 64, split: Any = "train") -> ImageSet:
    """Discs on a wavy background, with their masks; two slices a patient."""
    rows, columns = np.mgrid[:side, :side] / side
    stored, masks = [], []
    for i in range(n):
        mask = (rows - 0.4 - 0.03 * i) ** 2 + (columns - 0.6 + 0.02 * i) ** 2 < (0.2 + 0.02 * i) ** 2
        waves = 30 * np.sin(9 * rows + i) * np.cos(7 * columns - 2 * i) + 40
        stored.append(waves + np.where(mask, 120 if domain == "source" else 70, 0) + (20 if domain == "paired" else 0))
        masks.append(mask)
    slices = tuple(Slice(f"{domain}{split}{i}", f"{domain}{i // 2}", f"c{i // 2}", i % 2) for i in range(n))
    pixels = np.array(stored).round().astype(np.uint8)
    return ImageSet(pixels, slices, np.array(masks, np.uint8), TASK, domain, split)


def training_data(kind: type[Any]) -> TrainingData:
    """Four training and two validation slices a domain; of the target domain alone for segmenters and extractors."""
    if kind is not TranslatorSpec:
        return TrainingData(
            TASK, target_train=images("target"), target_validation=images("target", 2, split="validation")
        )
    return TrainingData(
        TASK,
        source_train=images("source"),
        source_validation=images("source", 2, split="validation"),
        target_train=images("target"),
        target_validation=images("target", 2, split="validation"),
        paired_train=truth(4, "train"),
        paired_validation=truth(2, "validation"),
    )


def truth(n: int, split: Any) -> ImageSet:
    """The target images of the source slices."""
    return replace(images("paired", n, split=split), slices=images("source", n, split=split).slices)


def context() -> Context:
    """One thread, one seed."""
    return Context(task=TASK, seed=3, threads=1, batch_size=4, scratch=Path(tempfile.mkdtemp()))


def summary(name: str, values: Any) -> Figures:
    """Mean, spread, and two weighted sums that notice where values moved."""
    array = np.asarray(values, np.float64).ravel()
    ramp = np.arange(1, array.size + 1) / array.size
    return {
        f"{name} size": float(array.size),
        f"{name} mean": float(array.mean()),
        f"{name} std": float(array.std()),
        f"{name} moment": float((array * ramp).mean()),
        f"{name} wave": float((array * np.sin(50 * ramp)).mean()),
    }


def by_formula(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Weights of the right size for their fan-in, from the tensor's name alone."""
    if not tensor.is_floating_point():
        return tensor
    waves = np.sin(np.arange(tensor.numel()) * 1.7 + zlib.crc32(name.encode()) % 1000).reshape(tensor.shape)
    if tensor.ndim < 2:
        return torch.tensor((0.05 * waves + (name.rpartition(".")[2] in ("weight", "running_var"))), dtype=tensor.dtype)
    return torch.tensor(waves * math.sqrt(2 / tensor[0].numel()), dtype=tensor.dtype)


def replaced(state: Any, name: str = "") -> Any:
    """A saved state with all of its weights by formula."""
    if isinstance(state, torch.Tensor):
        return by_formula(name, state)
    if isinstance(state, dict):
        return {key: replaced(value, f"{name}.{key}") for key, value in state.items()}
    return state


def network(kind: type[Any], name: str) -> Figures:
    """The losses of the first step from seeded weights, and the output with weights by formula."""
    registration = REGISTRY.get(kind, name)
    steps = {"steps": 1} if kind is TranslatorSpec else {}
    params = registration.complete({**NETWORKS[name], **steps})
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        fitted = registration.create(params)
        fitted.fit(training_data(kind), replace(context(), params=params))
        fitted.save(Path(folder))
        losses = pq.read_table(Path(folder) / "losses.parquet").to_pylist()
        first = min(row["step"] for row in losses)
        for row in losses:
            if row["step"] == first and row["phase"] == "train":
                figures[f"loss {row['fit']} {row['name']}"] = float(row["value"])
        for file in Path(folder).glob("*.p*t*"):
            if file.suffix in (".pt", ".pth"):
                torch.save(replaced(torch.load(file, weights_only=True)), file)
        for file in Path(folder).rglob("*.safetensors"):
            torch.save(replaced(read_state(file)), file.with_suffix(".bin"))
            file.unlink()
        loaded = registration.create(params)
        loaded.load(Path(folder))
    test = images("source", 2, split="test")
    here = replace(context(), params=params)
    with torch.inference_mode():
        if kind is SegmenterSpec:
            # Labels jump where two logits are equal but for rounding.
            for part in loaded.networks:
                figures |= summary(f"logits {part}", loaded.logits(part, test.tensor()))
        if kind is not TranslatorSpec:
            return figures | summary("features", loaded.extract(test.tensor(), here)["features"])
        return figures | summary("image", loaded.translate(Batch(test.tensor(), test.slices, test.mask_tensor()), here))


def simple_translator(name: str) -> Figures:
    """A translator without a network."""
    registration = REGISTRY.get(TranslatorSpec, name)
    params = registration.complete({})
    model: Any = registration.create(params)
    here = replace(context(), params=params)
    if registration.ask(registration.spec.whether, "trains", params):
        model.fit(training_data(TranslatorSpec), here)
    test = images("source", 2, split="test")
    return summary("image", model.translate(Batch(test.tensor(), test.slices, test.mask_tensor()), here))


def from_folder(name: str) -> Figures:
    """A translator that reads images which somebody made, or has a program make them."""
    import imageio.v3 as iio

    test = images("source", 2, split="test")
    with tempfile.TemporaryDirectory() as folder:
        params: dict[str, Any] = {"folder": folder}
        for pixels, record in zip(255 - test.images, test.slices, strict=True):
            iio.imwrite(Path(folder) / f"{record.slice_id}.png", pixels)
        if name == "command":
            params = {"run": "cp -r {input}/. {output}"}
        registration = REGISTRY.get(TranslatorSpec, name)
        complete = registration.complete(params)
        model: Any = registration.create(complete)
        here = replace(context(), params=complete)
        return summary("image", np.array(list(model.translate_all(test, here))))


def extractor(name: str) -> Figures:
    """Features of two slices; a network's with weights by formula in place of its file."""
    registration = REGISTRY.get(ExtractorSpec, name)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        weights = {}
        if "weights" in registration.spec.params:
            from mtbench_plugins.extractors.inception_weights import random_state

            state = dict(random_state(0))
            if name == "inception-imagenet":
                state["fc.weight"], state["fc.bias"] = state["fc.weight"][:1000], state["fc.bias"][:1000]
            weights["weights"] = f"{folder}/weights.pth"
            torch.save(state, weights["weights"])
        params = registration.complete(weights)
        model: Any = registration.create(params)
        arrays = model.extract(images("source", 2, split="test").tensor(), replace(context(), params=params))
    figures: Figures = {}
    for array, values in arrays.items():
        figures |= summary(array, np.nan_to_num(np.asarray(values, np.float64)))
    return figures


_SHIFT = {"candidate": 0.0, "reference": 1.0, "training": 2.0}
"""Of the features by formula, by side."""


def pretrained(name: str) -> Figures:
    """A small form of a network whose weights are the user's file, with weights by formula; input and features."""
    import transformer_layouts as small

    from mtbench_plugins.extractors import pretrained_extractors as networks

    image = images("source", 2, split="test").tensor()
    cls = {each.name: each for each in (networks.DinoV2, networks.Clip, networks.RadImageNet)}[name]
    figures = summary("input", cls(None, True).prepare(image))
    if name == "radimagenet-resnet50":
        return figures
    form, published = {
        "dinov2-vitl14": (small.SMALL_DINO, small.published_dino),
        "clip-vitl14-336": (small.SMALL_CLIP, small.published_clip),
    }[name]
    model = type(cls.__name__, (cls,), {"form": form, "side": form.side})(None, True)
    net = model.build().eval()
    state = {key: small.formula(key, shape) for key, shape in published(form).items()}
    net.load_state_dict(model.named(state))
    with torch.inference_mode():
        return figures | summary("features", model.finish(net(model.prepare(image))))


def metric(name: str) -> Figures:
    """The values on discs, with features from a formula."""
    registration = REGISTRY.get(MetricSpec, name)
    params = registration.complete({})
    side = 176 if name == "ms-ssim" else 64
    candidate, reference = images("source", 12, side, "test"), images("target", 12, side, "test")
    predicted = np.roll(candidate.masks, 3, axis=2) if candidate.masks is not None else None
    features: dict[str, dict[str, Any]] = {"candidate": {}, "reference": {}, "training": {}}
    for need in registration.ask(registration.spec.needs_for, params):
        if not isinstance(need, str):
            for array in need.arrays:
                grid = np.arange(12)[:, None] * 1.3 + np.arange(24)[None] * 0.7 + _SHIFT[need.of]
                features[need.of][array] = (np.sin(grid**1.5) + 1.5).astype(np.float32)
    inputs = MetricInputs(
        TASK,
        candidate,
        reference,
        images("paired", 12, side, "test"),
        images("target", 12, side, "test"),
        images("target", 12, side),
        predicted,
        candidate.masks,
        features,
    )
    scores = registration.create(params).compute(inputs, replace(context(), params=params))
    listed: Any = scores if isinstance(scores, list | tuple) else [scores]
    return {f"value {score.label}": float(score.value) for score in listed}


def phantom(name: str) -> Figures:
    """Few small slices of a phantom."""
    registration = REGISTRY.get(DatasetSpec, name)
    params = registration.complete({"size": 48, "patients_source": 2, "patients_target": 2, "slices": 2})
    return samples(registration.create(params).prepare(None, replace(context(), params=params)))


def from_files(name: str) -> Figures:
    """Slices of a small replica of the data set's files."""
    import replicas

    registration = REGISTRY.get(DatasetSpec, name)
    with tempfile.TemporaryDirectory() as folder:
        root, params = Path(folder), dict[str, Any](size=32)
        if name == "lumbar-mri-ct":
            replicas.write_lumbar(root)
        elif name == "breast-siemens-ge":
            replicas.write_duke(root, replicas.DUKE)
        elif name == "synthrad2023":
            replicas.write_synthrad(root / "Task1/pelvis", ("1PA001", "1PC002"))
        elif name == "synthrad2025":
            replicas.write_synthrad(root / "Task1/AB", ("1ABA001", "1ABB002"), ending=".mha")
        else:
            import imageio.v3 as iio

            for domain in ("source", "target"):
                for patient in ("a", "b"):
                    (root / domain / patient).mkdir(parents=True)
                    for index, pixels in enumerate(images(domain, 2).images):
                        iio.imwrite(root / domain / patient / f"{index}.png", pixels)
            params = {domain: {"images": f"{domain}/*/*.png", "patient": "/([ab])/"} for domain in ("source", "target")}
        complete = registration.complete(params)
        return samples(registration.create(complete).prepare(root, replace(context(), params=complete)))


def samples(prepared: Iterable[Any]) -> Figures:
    """Images and masks by domain."""
    pixels: dict[str, list[Any]] = {}
    for sample in prepared:
        pixels.setdefault(f"{sample.domain} images", []).append(np.asarray(sample.image, np.float64).ravel())
        if sample.mask is not None:
            pixels.setdefault(f"{sample.domain} masks", []).append(np.asarray(sample.mask, np.float64).ravel())
    figures: Figures = {}
    for name, arrays in sorted(pixels.items()):
        figures |= summary(name, np.concatenate(arrays))
    return figures


def outputs() -> Iterator[tuple[str, str, Callable[[], Figures]]]:
    """Every built-in whose output is part of a result: its name, its revision, and how to get its figures."""
    for kind in (DatasetSpec, TranslatorSpec, SegmenterSpec, ExtractorSpec, MetricSpec):
        for name in REGISTRY.names(kind.kind):
            revision = REGISTRY.get(kind, name).spec.revision
            yield f"{kind.kind} {name}", revision, partial(_ways[kind.kind, name], name)


FROM_FILES = ("folder", "lumbar-mri-ct", "breast-siemens-ge", "synthrad2023", "synthrad2025")
_ways: Mapping[tuple[str, str], Callable[[str], Figures]] = {
    **{("dataset", name): phantom for name in REGISTRY.names("dataset") if name.startswith("phantom-")},
    **{("dataset", name): from_files for name in FROM_FILES},
    **{("translator", name): partial(network, TranslatorSpec) for name in NETWORKS if name not in SINGLE_DOMAIN},
    **{("translator", name): simple_translator for name in SIMPLE},
    **{("translator", name): from_folder for name in ("precomputed", "command")},
    **{("segmenter", name): partial(network, SegmenterSpec) for name in REGISTRY.names("segmenter")},
    **{("extractor", name): extractor for name in REGISTRY.names("extractor")},
    **{("extractor", name): pretrained for name in ("dinov2-vitl14", "clip-vitl14-336", "radimagenet-resnet50")},
    ("extractor", "self-supervised"): partial(network, ExtractorSpec),
    ("extractor", "segmenter-bottleneck"): lambda name: {},  # the segmenters' features are among their own figures
    **{("metric", name): metric for name in REGISTRY.names("metric")},
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    recorded = {name: {"revision": revision, "figures": get()} for name, revision, get in outputs()}
    FILE.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
