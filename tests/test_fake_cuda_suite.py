"""The whole small suite on the stand-in for a GPU: every unit ends well, with the CPU's scores."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import mtbench
from mtbench import run
from mtbench.conformance.fake_cuda import fake_cuda

# Steps so small that the last digits of gradients, of which Adam makes whole steps, do not grow.
SMALL = "ngf = 4, ndf = 4, steps = 2, lr = 1e-6"
SUITE = f"""
[suite]
name = "device"
threads = 1
[[datasets]]
name = "phantom-lumbar"
params = {{ size = 64, patients_source = 6, patients_target = 6, slices = 2 }}
[[translators]]
name = "identity"
[[translators]]
name = "histogram"
[[translators]]
name = "cyclegan"
params = {{ {SMALL}, n_blocks = 1 }}
[[translators]]
name = "maskgan"
params = {{ {SMALL}, n_blocks = 1, batch_size = 2 }}
[[translators]]
name = "unsb"
params = {{ {SMALL}, n_blocks = 1, netF_nc = 8, num_patches = 16 }}
[[translators]]
name = "spade"
params = {{ {SMALL}, nhidden = 8, lambda_vgg = 0.0 }}
[[segmenters]]
name = "unet"
params = {{ epochs = 2, filters = 4, levels = 3 }}
[[metrics]]
name = "dice"
[[metrics]]
name = "hd95"
[[metrics]]
name = "nsd"
[[metrics]]
name = "swd"
[[metrics]]
name = "fid"
params = {{ extractor = "inception-random" }}
[[metrics]]
name = "kid"
params = {{ extractor = "inception-random" }}
[[metrics]]
name = "is"
params = {{ extractor = "inception-random", splits = 1 }}
"""
TRAINED = ("cyclegan", "maskgan", "unsb", "spade")


def scores(root: Path, device: str) -> dict[tuple[Any, ...], float]:
    """Every score of the suite, made in this process on a device."""
    with fake_cuda() if device == "cuda" else nullcontext():
        done = run(
            str(root / "suite.toml"),
            out=str(root / device),
            store=str(root / f"store-{device}"),
            device=device,
            executor="inline",
            quiet=True,
        )
    assert not done.summary.failures, done.summary.failures
    rows = mtbench.load(root / device).to_pylist()
    assert {row["status"] for row in rows} == {"measured"}
    names = ("translator", "role", "segmenter", "metric", "variant", "label", "n")
    return {tuple(row.get(name) for name in names): row["value"] for row in rows}


def test_every_unit_of_the_suite(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    cpu, gpu = scores(tmp_path, "cpu"), scores(tmp_path, "cuda")
    assert cpu.keys() == gpu.keys()
    assert len(cpu) > 40
    for key, value in cpu.items():
        if key[0] in TRAINED:
            # Not bit by bit: instance norm and borders are other sums on a GPU, and grey levels are rounded.
            assert gpu[key] == pytest.approx(value, rel=1e-2, abs=1e-3), key
        else:
            # Whatever is not trained is the CPU's bit by bit, segmented by networks that are.
            assert gpu[key] == pytest.approx(value, rel=1e-6), key
