"""The stand-in for a GPU is as strict as one, and counts what makes a processor wait."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mtbench.conformance.fake_cuda import Seen, fake_cuda


def kinds(seen: Seen) -> dict[str, int]:
    """Waits by kind."""
    counted: Counter[str] = Counter()
    for (kind, _), count in seen.waits.items():
        counted[kind] += count
    return dict(counted)


def test_a_tensor_says_where_it_is() -> None:
    with fake_cuda(2):
        here, there = torch.ones(2), torch.ones(2, device="cuda")
        for tensor in (
            there,
            there * 2,
            here.to("cuda:0"),
            here.cuda(),
            torch.zeros_like(there),
            there[:1],
            here.to(there),
        ):
            assert (str(tensor.device), tensor.is_cuda, tensor.is_cpu) == ("cuda:0", True, False)
        assert str(there.to("cuda:1").device) == str(here.cuda(1).device) == "cuda:1"
        for tensor in (here, there.cpu(), there.to(here), there.to("cpu", torch.float64)):
            assert (str(tensor.device), tensor.is_cuda) == ("cpu", False)
        assert there.to("cpu", torch.float64).dtype == torch.float64
        assert (there + here.to("cuda") * 2).cpu().tolist() == [3, 3]
        assert there.to("cuda") is there
        assert (torch.cuda.is_available(), torch.cuda.device_count()) == (True, 2)
    assert torch.cuda.device_count() == 0 or torch.cuda.get_device_name() != "stand-in GPU"


def test_two_devices_do_not_meet() -> None:
    with fake_cuda(2):
        here, there, further = torch.ones(2), torch.ones(2, device="cuda"), torch.ones(2, device="cuda:1")
        network = nn.Linear(2, 1)
        mixed: list[Callable[[], Any]] = [
            lambda: there + here,
            lambda: there + further,
            lambda: network(there),
            lambda: torch.stack([here, there]),
            lambda: torch.stack([there[0], here[0]]),
            lambda: there.add_(here),
            lambda: here.add_(there),
            lambda: F.mse_loss(there, here),
            lambda: here[there.long()],
        ]
        for call in mixed:
            with pytest.raises(RuntimeError, match=r"same device|on the CPU"):
                call()
        # A number of the CPU may go along, and so may positions.
        assert (there * here[0]).cpu().tolist() == [1, 1]
        assert there[torch.tensor([1, 0])].device.type == "cuda"


def test_what_must_be_on_the_cpu() -> None:
    with fake_cuda():
        there = torch.ones(2, device="cuda")
        leaving: list[Callable[[], Any]] = [
            there.numpy,
            lambda: np.asarray(there),
            lambda: torch.save(there, io.BytesIO()),
            lambda: torch.save({"weight": nn.Parameter(there)}, io.BytesIO()),
            lambda: torch.save(nn.Linear(2, 1).to("cuda").state_dict(), io.BytesIO()),
        ]
        for call in leaving:
            with pytest.raises(RuntimeError, match="device type tensor"):
                call()
        with pytest.raises(RuntimeError, match="device type for generator"):
            torch.randn(2, device="cuda", generator=torch.Generator())


def test_a_saved_network_is_the_one_that_never_left_the_cpu() -> None:
    saved = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        network = nn.Linear(2, 1)
        with fake_cuda():
            network.to(device).to("cpu")
            file = io.BytesIO()
            torch.save(network.state_dict(), file)
        saved.append(file.getvalue())
    assert saved[0] == saved[1]


def test_training_is_the_cpus() -> None:
    def fit(device: str) -> list[float]:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 1))
        optimiser = torch.optim.Adam(network.parameters(), foreach=False)
        images = torch.rand(4, 1, 8, 8)
        network.to(device)
        for _ in range(3):
            optimiser.zero_grad()
            network(images.to(device)).square().mean().backward()
            optimiser.step()
        for weight in network.parameters():
            assert weight.grad is not None
            assert weight.device.type == weight.grad.device.type == device
        return [w for p in network.parameters() for w in p.detach().cpu().flatten().tolist()]

    expected = fit("cpu")
    with fake_cuda():
        assert fit("cuda") == expected


def test_the_device_draws_from_its_own_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    with fake_cuda():
        torch.manual_seed(3)
        first = torch.rand(4, device="cuda").cpu()
        assert torch.equal(torch.rand(4), expected)
        assert not torch.equal(first, expected)
        torch.manual_seed(3)
        assert torch.equal(torch.rand(4, device="cuda").cpu(), first)
        with torch.random.fork_rng(devices=[0]):
            torch.rand(4, device="cuda")
        again = torch.rand(4, device="cuda").cpu()
        torch.manual_seed(3)
        torch.rand(4, device="cuda")
        assert torch.equal(torch.rand(4, device="cuda").cpu(), again)


def test_waits_are_counted_by_line() -> None:
    with fake_cuda() as seen:
        there = torch.arange(4.0).pin_memory().to("cuda", non_blocking=True)
        more = torch.full((4,), 2.0, device="cuda")
        there = (there * more).sum() + torch.zeros(3, device="cuda")
        assert not seen.waits
        asks: dict[str, Callable[[], Any]] = {
            "item": lambda: there[0].item(),
            "tolist": there.tolist,
            "__bool__": lambda: bool(there[0]),
            "__float__": lambda: float(there[0]),
            "nonzero": there.nonzero,
            "equal": lambda: torch.equal(there, there),
            "unique": lambda: torch.unique(there),
            "copy back": there.cpu,
            "index by a mask": lambda: there[there > 0],
            "index from the CPU": lambda: there[[0, 1]],
            "copy of memory that is not pinned": lambda: torch.ones(2).to("cuda", non_blocking=True),
            "synchronize": torch.cuda.synchronize,
        }
        for kind, call in asks.items():
            seen.clear()
            call()
            assert kinds(seen) == {kind: 1}
        assert all(line.startswith("tests/test_fake_cuda.py:") for _, line in seen.waits)
        seen.clear()
        torch.tensor([1, 2], device="cuda")
        torch.ones(2).pin_memory().to("cuda")
        assert kinds(seen) == {"copy of memory that is not pinned": 2}


def test_reading_before_the_copy_is_there() -> None:
    with fake_cuda() as seen:
        there = torch.ones(3, device="cuda")
        back = torch.zeros(4).pin_memory()
        assert back.is_pinned()
        assert back[:3].is_pinned()
        back[:3].copy_(there, non_blocking=True)
        late = there.to("cpu", non_blocking=True)
        for call in (back.sum, back[:3].numpy, late.tolist):
            with pytest.raises(RuntimeError, match="nothing waited"):
                call()
        done = torch.cuda.Event()
        done.record()
        assert not seen.waits
        done.synchronize()
        assert (back.tolist(), late.tolist()) == ([1, 1, 1, 0], [1, 1, 1])
        assert kinds(seen) == {"synchronize": 1}


def test_lost_layouts() -> None:
    last = torch.channels_last
    network = nn.Conv2d(3, 4, 3).to(memory_format=last)
    images = torch.rand(2, 3, 8, 8)
    with fake_cuda() as seen:
        network.to("cuda")
        network(images.to("cuda").contiguous(memory_format=last))
        assert (seen.convolutions, seen.layouts.total()) == (1, 0)
        network(images.to("cuda"))
        # The GPU's reflection padding gives NCHW, whatever it is given.
        network(F.pad(images.to("cuda").contiguous(memory_format=last), (1, 1, 1, 1), mode="reflect"))
        assert (seen.convolutions, seen.layouts.total(), len(seen.layouts)) == (3, 2, 2)


def test_gradients_without_a_deterministic_kernel() -> None:
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    with fake_cuda() as seen:
        F.pad(images.to("cuda"), (1, 1, 1, 1), mode="reflect")
        F.cross_entropy(images.to("cuda"), torch.zeros(2, 8, 8, dtype=torch.int64, device="cuda"))
        F.pad(images.detach().to("cuda"), (1, 1, 1, 1), mode="reflect")
        assert {name: count for (name, _), count in seen.unrepeatable.items()} == {"pad": 1, "cross_entropy": 1}


def test_autocast_is_the_cpus() -> None:
    with fake_cuda(), torch.autocast("cuda", dtype=torch.bfloat16):
        there = torch.ones(2, 2, device="cuda")
        assert ((there @ there).dtype, (there @ there).device.type) == (torch.bfloat16, "cuda")
