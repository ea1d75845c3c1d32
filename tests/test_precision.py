"""TF32 goes on and off with each unit, whatever ran before it in the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mtbench
from mtbench import run
from mtbench.compute.context import Context
from mtbench.compute.inference import prepare_torch
from mtbench.compute.precision import set_tf32, tf32
from mtbench.training.scope import numerics

NEW = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    with tf32(False):
        yield


def state() -> set[Any]:
    """What matrix products, convolutions and recurrent networks compute in on a GPU."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if not NEW:
        return {"tf32" if on else "ieee" for on in (cuda.allow_tf32, cudnn.allow_tf32)}
    return {cuda.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision}  # type: ignore[attr-defined]


def old_flags() -> tuple[bool, bool, str]:
    """What other libraries may ask for; PyTorch raises where its two interfaces disagree."""
    flags = (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
    )
    with torch.backends.cudnn.flags(enabled=False):
        return flags


def step() -> None:
    """Products and convolutions, forward and backward, and an optimiser."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(72, 2))
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 1, 8, 8)).sum().backward()
    optimiser.step()


def old_tf32() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def new_tf32() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"  # type: ignore[attr-defined]
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


PLUGINS: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "the old flags": old_tf32,
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "the new settings": new_tf32 if NEW else old_tf32,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("precision", ["tf32", "fp32"])
def test_the_unit_after_a_plugin(plugin: str, precision: str) -> None:
    threads = torch.get_num_threads()
    for before in ("tf32", "fp32"):
        prepare_torch(before, threads)
        PLUGINS[plugin]()
        prepare_torch(precision, threads)
        with numerics(Context(precision=precision, threads=threads)):
            step()
            assert state() == {"tf32" if precision == "tf32" else "ieee"}
        assert state() == {"tf32" if precision == "tf32" else "ieee"}
        on = precision == "tf32"
        assert old_flags() == (on, on, "high" if on else "highest")
        if NEW:
            # The CPU computes in float32 again.
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]


def test_what_was_set_before_comes_back() -> None:
    set_tf32(True)
    with tf32(False):
        assert state() == {"ieee"}
    assert state() == {"tf32"}
    assert old_flags() == (True, True, "high")


SUITE = """
[suite]
name = "precision"
threads = 1
[[datasets]]
name = "phantom-lumbar"
params = { size = 32, patients_source = 6, patients_target = 6, slices = 2 }
[[translators]]
name = "cyclegan"
params = { steps = 1, ngf = 4, n_blocks = 1, ndf = 4 }
[[metrics]]
name = "swd"
"""


def test_a_suite_in_tf32_and_then_in_fp32(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE)
    values = []
    for precision, expected in (("fp32", "ieee"), ("tf32", "tf32"), ("fp32", "ieee")):
        done = run(
            str(tmp_path / "s.toml"),
            out=str(tmp_path / precision),
            precision=precision,
            device="cpu",
            executor="inline",
            rerun=["all"],
            quiet=True,
        )
        assert not done.summary.failures, done.summary.failures
        assert state() == {expected}
        values.append(mtbench.load(tmp_path / precision).column("value").to_pylist())
    assert values[0] == values[2]
