"""Networks and images meet on the device of the context, wherever they came from. Needs no GPU."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_segmenters import context, data, discs, small, small_lab
from test_translator_training import SMALL, TASK, batch, size, translator
from test_translator_training import data as both_domains

import mtbench
from mtbench import Batch, run
from mtbench.compute.context import Context
from mtbench.conformance.fake_cuda import fake_cuda
from mtbench.registry.discovery import discover
from mtbench.registry.params import complete
from mtbench.results.environments import environment
from mtbench.training.batches import split
from mtbench_plugins.extractors.resizing import resize

DEVICE = "cuda:0"


def test_batches_move_to_any_device() -> None:
    parts, _ = split({"image": torch.rand(2, 1, 4, 4), "mask": torch.ones(2, 4, 4)}, 2, "meta", torch.channels_last)
    assert {tensor.device.type for part in parts for tensor in part.values()} == {"meta"}


@pytest.mark.parametrize("make", [small, lambda **k: small(per="region", **k), small_lab])
def test_segmenters(make: Any, tmp_path: Path) -> None:
    images = discs(6, 2).tensor()
    with fake_cuda():
        fitted = make(epochs=1)
        fitted.fit(data(discs(8), discs(4, 1)), context(device=DEVICE))
        fitted.save(tmp_path)
        loaded = make()
        loaded.load(tmp_path)
        masks = loaded.segment(images.to(DEVICE), context(device=DEVICE))
        again = fitted.segment(images, context(device=DEVICE))
        assert (masks.device.type, again.device.type) == ("cuda", "cuda")
        masks, again = masks.cpu(), again.cpu()
    plain = make()
    plain.load(tmp_path)
    assert torch.equal(masks, plain.segment(images, context()))
    assert torch.equal(masks, again)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_translators(name: str, tmp_path: Path) -> None:
    inputs = batch(size(name))
    here = Context(task=TASK, seed=1, threads=1)
    with fake_cuda():
        there = replace(here, device=DEVICE)
        fitted = translator(name, steps=2)
        fitted.fit(both_domains(name), there)
        fitted.save(tmp_path)
        loaded = translator(name)
        loaded.load(tmp_path)
        masks = None if inputs.masks is None else inputs.masks.to(DEVICE)
        moved = Batch(inputs.source.to(DEVICE), inputs.slices, masks)
        there.start_batch()
        output = loaded.translate(moved, there)
        assert output.device.type == "cuda"
        output = output.cpu()
    plain = translator(name)
    plain.load(tmp_path)
    here.start_batch()
    torch.testing.assert_close(output, plain.translate(inputs, here), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["inception-random", "radiomics"])
def test_extractors(name: str) -> None:
    registration = discover().get("extractor", name)
    images, here = discs(2).tensor(), Context(threads=1)
    extractor = registration.create(complete({}, registration.spec.params, name))
    with fake_cuda():
        output = extractor.extract(images.to(DEVICE), replace(here, device=DEVICE))
        output = {key: value.cpu() for key, value in output.items()}
    # The same object again: what it keeps belongs to the device that it was used on.
    for key, value in extractor.extract(images, here).items():
        torch.testing.assert_close(output[key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["tf1", "bilinear", "clean"])
def test_resizing(kind: str) -> None:
    images = discs(1).tensor() * 255
    with fake_cuda():
        output = resize(images.to(DEVICE), kind, 40).cpu()
    torch.testing.assert_close(output, resize(images, kind, 40))


SUITE = """
[suite]
name = "devices"
threads = 1
[[datasets]]
name = "phantom-lumbar"
params = { size = 32, patients_source = 6, patients_target = 6, slices = 2 }
[[translators]]
name = "histogram"
[[translators]]
name = "unsb"
params = { steps = 1, ngf = 4, n_blocks = 1, ndf = 4, netF_nc = 8, num_patches = 16 }
[[segmenters]]
name = "unet"
params = { epochs = 1, filters = 4, levels = 2 }
[[metrics]]
name = "dice"
[[metrics]]
name = "swd"
"""


def test_a_run_and_new_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version").write_text("580.65.06\n")
    monkeypatch.setattr("mtbench.compute.devices._DRIVER", (tmp_path / "none", tmp_path / "version"))
    (tmp_path / "s.toml").write_text(SUITE)
    (tmp_path / "given").mkdir()
    for number, image in enumerate(discs(4).images):
        Image.fromarray(image).save(tmp_path / "given" / f"{number}.png")
    values = {}
    for device in ("cpu", "cuda"):
        with fake_cuda() if device == "cuda" else nullcontext():
            out, store = tmp_path / f"out-{device}", tmp_path / f"store-{device}"
            done = run(
                str(tmp_path / "s.toml"), out=str(out), store=str(store), device=device, executor="inline", quiet=True
            )
            assert not done.summary.failures, done.summary.failures
            images = tmp_path / f"new-{device}"
            mtbench.translate("unsb", tmp_path / "given", images, results=out, store=str(store), device=device)
            rows = mtbench.score(images, tmp_path / "given", metrics=["swd"], store=str(store), device=device)
        values[device] = [r["value"] for r in mtbench.load(out).to_pylist()] + [row["value"] for row in rows]
    assert values["cuda"] == pytest.approx(values["cpu"], rel=1e-2)
    on_cpu = ("cpu", None, None)
    stages = ("prepare", "split", "fit", "translate", "segment", "score")
    assert recorded(tmp_path / "out-cpu") == dict.fromkeys(stages, on_cpu)
    on_gpu = ("cuda:0", "stand-in GPU", "580.65.06")
    assert recorded(tmp_path / "out-cuda") == {
        **dict.fromkeys(("prepare", "split", "score"), on_cpu),
        **dict.fromkeys(("fit", "translate", "segment"), on_gpu),
    }


def recorded(out: Path) -> dict[str, tuple[str, str | None, str | None]]:
    """Of each stage its device, and its GPU and driver, if it has one."""
    found = {}
    for attempt in mtbench.load(out, "attempts").to_pylist():
        gpu = environment(out, attempt["environment_id"]).gpu
        found[attempt["stage"]] = (attempt["device"], gpu.get("name"), gpu.get("driver"))
        exact = attempt["stage"] in ("prepare", "split")
        assert (attempt["host_memory_mb"] is None) == exact
        assert exact or attempt["host_memory_mb"] > 50
    return found
