"""Right or wrong on a real GPU: `pytest -m gpu`. With MTBENCH_FAKE_GPU=1 the same on the stand-in, to try the tests."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_segmenters import context as segmenter_context
from test_segmenters import data as segmenter_data
from test_segmenters import discs, small
from test_translator_training import SMALL, TASK, batch, data, size, translator

from mtbench import Batch
from mtbench.compute.checkpoints import Checkpoints
from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches, prepare_torch
from mtbench.conformance.fake_cuda import fake_cuda
from mtbench_plugins.extractors.inception_extractors import InceptionRandom
from mtbench_plugins.metrics.frechet import frechet_distance

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
FAKE = bool(os.environ.get("MTBENCH_FAKE_GPU"))


@pytest.fixture(autouse=True)
def gpu() -> Iterator[str]:
    if FAKE:
        with fake_cuda():
            yield "cuda:0"
    elif torch.cuda.is_available():
        yield "cuda:0"
    else:
        pytest.skip("has no GPU")


def context(device: str, precision: str = "fp32", **fields: Any) -> Context:
    prepare_torch(precision, 2)
    return Context(task=TASK, seed=5, threads=2, device=device, precision=precision, **fields)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu().clone() for key, value in model.network.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_a_loaded_segmenter(gpu: str, tmp_path: Path) -> None:
    made = small(epochs=2)
    made.fit(segmenter_data(discs(8), discs(4, 1)), segmenter_context(device=gpu))
    images = discs(6, 2).tensor()
    expected = made.segment(images.to(gpu), segmenter_context(device=gpu)).cpu()
    made.save(tmp_path)
    on_gpu, on_cpu = small(), small()
    on_gpu.load(tmp_path)
    on_cpu.load(tmp_path)
    assert torch.equal(on_gpu.segment(images.to(gpu), segmenter_context(device=gpu)).cpu(), expected)
    apart = on_cpu.segment(images, segmenter_context()) != expected
    assert float(apart.float().mean()) < 1e-3


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("name", SMALL)
def test_a_translator_fits(name: str, precision: str, gpu: str) -> None:
    model = translator(name, steps=3)
    model.fit(data(name), context(gpu, precision))
    assert model.history.steps == 3


@pytest.mark.parametrize("name", SMALL)
def test_translations_are_the_cpus_at_any_batch_size(name: str, gpu: str) -> None:
    model, inputs = translator(name, steps=3), batch(size(name), 4)
    model.fit(data(name), context(gpu))

    def translated(device: str, at_once: int) -> torch.Tensor:
        ours, here, out = copy.copy(model), context(device), []
        ours.network = copy.deepcopy(model.network).to(device)
        for first in range(0, 4, at_once):
            rows = slice(first, first + at_once)
            masks = None if inputs.masks is None else inputs.masks[rows].to(device)
            here.start_batch()
            with torch.inference_mode():
                part = Batch(inputs.source[rows].to(device), inputs.slices[rows], masks)
                out.append(ours.translate(part, here).cpu())
        return torch.cat(out) * 255

    whole = translated(gpu, 4)
    assert float((translated("cpu", 4) - whole).abs().max()) < 0.5
    assert float((translated(gpu, 1) - whole).abs().max()) < 0.1


class StoppedError(Exception):
    """Ends a fit in its middle."""


@pytest.mark.parametrize("name", SMALL)
def test_a_fit_repeats_and_resumes_bit_by_bit(name: str, gpu: str, tmp_path: Path) -> None:
    def stop(done: int, total: int, figures: Any) -> None:
        if done == 3:
            raise StoppedError

    fits = []
    for _ in range(2):
        model = translator(name, steps=6)
        model.fit(data(name), context(gpu))
        fits.append(weights(model))
    assert equal(*fits)
    here = context(gpu, checkpoints=Checkpoints(tmp_path, 0.0))
    with pytest.raises(StoppedError):
        translator(name, steps=6).fit(data(name), replace(here, progress=stop))
    model = translator(name, steps=6)
    model.fit(data(name), here)
    assert equal(weights(model), fits[0])
    assert not [line for line in here.log if "deterministic" in line]


@pytest.mark.parametrize("name", SMALL)
def test_training_does_not_wait(name: str, gpu: str) -> None:
    if FAKE:
        pytest.skip("only a real one tells")
    here = context(gpu)
    translator(name, steps=2).fit(data(name, n=30), here)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            translator(name, steps=30).fit(data(name, n=30), here)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    where = [f"{Path(w.filename).name}:{w.lineno}" for w in told if "synchroniz" in str(w.message).lower()]
    assert len(where) / 30 < 1, where


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("tf32", 1e-2), ("bf16", None)])
def test_features(precision: str, bound: float | None, gpu: str) -> None:
    """The GPU's features against the CPU's in fp32; in bf16 no farther from them than rounding takes the CPU's."""
    images = discs(16).tensor()

    def features(device: str, precision: str, at_once: int) -> torch.Tensor:
        extractor, here = InceptionRandom("tf1", "tf", True, 0), context(device, precision)
        with torch.inference_mode():
            parts = [extractor.extract(part.to(device), here)["pool"].cpu() for part in images.split(at_once)]
        return torch.cat(parts)

    cpu, on_gpu = features("cpu", "fp32", 8), features(gpu, precision, 8)

    def distances(other: torch.Tensor) -> tuple[float, float]:
        largest = float((other - cpu).abs().max() / cpu.abs().max())
        return largest, frechet_distance(other.numpy(), cpu.numpy())

    # The random filters nearly cancel, so that bf16 moves their features by a tenth on any device.
    bounds = (bound, bound) if bound is not None else [1.5 * each for each in distances(features("cpu", "bf16", 8))]
    assert all(each < most for each, most in zip(distances(on_gpu), bounds, strict=True))
    if precision == "fp32":
        one = features(gpu, precision, 1)
        assert float((on_gpu - one).abs().max() / cpu.abs().max()) < 1e-5


def test_the_resize_is_exact_in_tf32(gpu: str) -> None:
    image, extractor = discs(1).tensor(), InceptionRandom("clean", "tf", True, 0)
    context(gpu, "fp32")
    expected = extractor.prepare(image.to(gpu)).cpu()
    context(gpu, "tf32")
    assert torch.equal(extractor.prepare(image.to(gpu)).cpu(), expected)


def test_a_batch_that_does_not_fit_is_halved(gpu: str) -> None:
    if FAKE:
        pytest.skip("only a real one has an end")
    here = context(gpu, batch_size=8)
    images = discs(8)

    def work(rows: range, given: torch.Tensor) -> dict[str, torch.Tensor]:
        # 100 MB an image: eight do not fit into 500 MB, and two do.
        return {"first": torch.empty(len(given), 10**8, dtype=torch.uint8, device=gpu)[:, 0]}

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.5e9 / total))
    try:
        sizes = [len(rows) for rows, _ in in_batches(images, here, work)]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert sum(sizes) == 8
    assert any("halved" in line for line in here.log)
