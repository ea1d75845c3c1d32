"""How training treats a GPU: what it waits for, which layout it keeps, what repeats, and what it does without memory.

On the stand-in; tests/test_gpu.py has what only a card can say.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from test_segmenters import context as segmenter_context
from test_segmenters import data as segmenter_data
from test_segmenters import discs, small, small_lab
from test_translator_training import SMALL, TASK, data, spec, translator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches
from mtbench.compute.memory import out_of_memory
from mtbench.compute.precision import tf32
from mtbench.conformance.fake_cuda import Seen, fake_cuda
from mtbench.engine.worker import failure
from mtbench.errors import TrainingError
from mtbench.training import Budget, PairedSampler, Recipe, Step, no_grad, numerics, train
from mtbench_plugins.extractors.resizing import resize
from mtbench_plugins.translators._shared import layers
from mtbench_plugins.translators._shared.blur import BlurDown, BlurUp

DEVICE = "cuda:0"
STEPS = 10
CEILING = 0.5
"""Waits a training step: the losses are read every ten steps, and a strip of samples is taken now and then."""


def costly(name: str) -> list[pytest.MarkDecorator]:
    """The marks of a translator: contourdiff, which takes at least twice as long as any other, is slow."""
    return [pytest.mark.slow] if name == "contourdiff" else []


def waits_a_step(first: Seen, more: Seen) -> tuple[float, Counter[tuple[str, str]]]:
    """Of two fits, the second ``STEPS`` longer; what both wait for at start and end does not count."""
    between = Counter(more.waits)
    between.subtract(first.waits)
    return sum(between.values()) / STEPS, +between


@pytest.mark.parametrize(
    ("name", "channels"), [*(pytest.param(name, 1, marks=costly(name)) for name in SMALL), ("cyclegan", 3)]
)
def test_translators_wait_for_nothing_and_lose_no_layout(name: str, channels: int) -> None:
    seen = []
    for steps in (2, 2 + STEPS):
        with fake_cuda() as here:
            # One epoch or two: samples are taken ten times a fit, however long it is.
            fields = {"channels": channels} if "channels" in spec(name).params else {}
            translator(name, steps=steps, **fields).fit(
                data(name, n=steps), Context(task=TASK, seed=1, threads=1, device=DEVICE)
            )
        seen.append(here)
    waits, where = waits_a_step(*seen)
    assert waits <= CEILING, where.most_common(5)
    assert seen[1].convolutions > 100
    assert not seen[1].layouts
    assert not seen[1].unrepeatable


@pytest.mark.parametrize("make", [small, lambda **k: small(per="region", **k), small_lab])
def test_segmenters_wait_for_nothing_and_lose_no_layout(make: Any) -> None:
    seen = []
    for epochs in (1, 1 + STEPS // 2):
        with fake_cuda() as here:
            # Without validation: at each better one the weights are copied.
            made = make(epochs=epochs, batch_size=2)
            made.fit(segmenter_data(discs(8), discs(2).subset([])), segmenter_context(device=DEVICE))
        seen.append(here)
    steps = len(made.networks)
    waits, where = waits_a_step(*seen)
    assert waits / steps <= CEILING, where.most_common(5)
    assert seen[1].convolutions > 20
    assert not seen[1].layouts
    # torch counts the gradient of its max pooling among those that do not repeat.
    assert {name for name, _ in seen[1].unrepeatable} <= {"max_pool2d"}


def gradients(call: Any, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = call(x)
    (y * weight).sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_layers_of_a_gpu_compute_what_torchs_own_do(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 7, 6, dtype=dtype) * 5 + 3
    pairs: dict[str, tuple[Any, Any, Tensor]] = {
        "instance norm": (layers.instance_norm, F.instance_norm, torch.rand_like(x))
    }
    for n in (1, 3):
        ours, theirs = partial(layers.reflect, pad=n), partial(F.pad, pad=(n,) * 4, mode="reflect")
        pairs[f"border of {n}"] = (ours, theirs, torch.rand(2, 3, 7 + 2 * n, 6 + 2 * n))
    for name, (ours, theirs, weight) in pairs.items():
        expected = gradients(theirs, x, weight)
        with fake_cuda():
            there = x.to(DEVICE).contiguous(memory_format=torch.channels_last)
            found = [t.cpu() for t in gradients(ours, there, weight.to(DEVICE))]
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, atol=2e-6, rtol=2e-5, msg=lambda text, name=name: f"{name}: {text}")
            assert one.is_contiguous(memory_format=torch.channels_last), name
        # On the CPU it is torch's own, bit by bit.
        assert all(torch.equal(a, b) for a, b in zip(gradients(ours, x, weight), expected, strict=True))


def test_group_norm_keeps_the_layout_and_computes_what_torchs_own_does() -> None:
    torch.manual_seed(0)
    x, weight = torch.rand(2, 6, 7, 5) * 5 + 3, torch.rand(2, 6, 7, 5)
    norm, own = nn.GroupNorm(3, 6, eps=1e-5), layers.GroupNorm(3, 6, eps=1e-5)
    for parameter, other in zip(norm.parameters(), own.parameters(), strict=True):
        nn.init.uniform_(parameter)
        other.data.copy_(parameter.data)
    expected = gradients(norm, x, weight)
    assert all(torch.equal(a, b) for a, b in zip(gradients(own, x, weight), expected, strict=True))
    own.zero_grad()
    with fake_cuda():
        there = x.to(DEVICE).contiguous(memory_format=torch.channels_last)
        found = [t.cpu() for t in gradients(own.to(DEVICE), there, weight.to(DEVICE))]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=5e-6, rtol=5e-5)
        assert one.is_contiguous(memory_format=torch.channels_last)
    assert own.weight.grad is not None
    assert norm.weight.grad is not None
    torch.testing.assert_close(own.weight.grad.cpu(), norm.weight.grad, atol=1e-4, rtol=1e-4)


def test_blurs_keep_the_layout() -> None:
    x = torch.rand(2, 4, 9, 8)
    for blur in (BlurDown(4), BlurUp(4)):
        expected = blur(x.requires_grad_())
        with fake_cuda():
            there = x.detach().to(DEVICE).contiguous(memory_format=torch.channels_last).requires_grad_()
            found = blur.to(DEVICE)(there)
            assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.detach(), expected.detach())


class Precision(TorchFunctionMode):
    """Whether each matrix product was in TF32."""

    def __init__(self) -> None:
        self.products: list[bool] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__ in ("matmul", "__matmul__"):
            self.products.append(torch.get_float32_matmul_precision() != "highest")
        return func(*args, **(kwargs or {}))


def test_tf32_leaves_the_resize_alone() -> None:
    with tf32(True), fake_cuda(), Precision() as seen:
        image = torch.rand(1, 1, 8, 8, device=DEVICE)
        resize(image, "clean", 12)
        image[0, 0] @ image[0, 0]
    assert seen.products == [False, False, True]


@pytest.mark.parametrize("name", [pytest.param(name, marks=costly(name)) for name in SMALL])
def test_bf16_trains_what_fp32_trains(name: str) -> None:
    """Casts that autocast made without gradients must not serve what is trained after them."""
    still: dict[str, set[str]] = {}
    for precision in ("fp32", "bf16"):
        with fake_cuda():
            fits = []
            for steps in (1, 4):
                made = translator(name, steps=steps)
                made.fit(data(name), Context(task=TASK, seed=1, threads=1, device=DEVICE, precision=precision))
                fits.append({key: value.cpu() for key, value in made.network.named_parameters()})
        still[precision] = {key for key in fits[0] if torch.equal(fits[0][key], fits[1][key])}
    assert still["bf16"] <= still["fp32"]


def test_what_is_cast_without_gradients_is_not_kept() -> None:
    layer, x = nn.Linear(3, 2), torch.rand(1, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with no_grad():
            assert not layer(x).requires_grad
            assert not torch.is_autocast_cache_enabled()
        assert torch.is_autocast_cache_enabled()
        layer(x).sum().backward()
    assert layer.weight.grad is not None


def test_a_fit_on_a_gpu_repeats_or_says_what_does_not() -> None:
    here = Context(device=DEVICE, threads=torch.get_num_threads())
    with fake_cuda(), numerics(here):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic
        for _ in range(2):
            warnings.warn(
                "max_pool2d_with_indices_backward_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True, warn_only=True)'.",
                stacklevel=1,
            )
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", stacklevel=1)
    (line,) = here.log
    assert line.startswith("max_pool2d_with_indices_backward_cuda has no deterministic kernel on this device")
    assert not torch.are_deterministic_algorithms_enabled()
    with numerics(Context(threads=torch.get_num_threads())):
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("name", ["cyclegan", "unsb"])
def test_noise_and_order_do_not_depend_on_the_device(name: str) -> None:
    """The first losses of a fit, before rounding has grown, are those of the CPU."""

    def losses(device: str) -> Mapping[str, float]:
        made = translator(name, steps=1)
        made.fit(data(name), Context(task=TASK, seed=4, threads=1, device=device))
        return {entry.name: entry.value for entry in made.history.entries}

    expected = losses("cpu")
    with fake_cuda():
        found = losses(DEVICE)
    assert found == pytest.approx(expected, rel=1e-3)


ERRORS = {
    "torch's own": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "the processor's": RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    "Python's": MemoryError(),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cuDNN 9": RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    "cuBLAS": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "the accelerator's": getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: out of memory"),
}


class Hungry(Recipe):
    """Has room for so many images a part."""

    def __init__(self, error: Exception, room: int) -> None:
        net = nn.Conv2d(1, 1, 1)
        super().__init__({"net": net}, {"net": torch.optim.SGD(net.parameters(), 0.1)})
        self.error, self.room = error, room

    def step(self, step: Step) -> None:
        def loss(part: dict[str, Any]) -> dict[str, Tensor]:
            if len(part["image"]) > self.room:
                raise self.error
            return {"mse": self.networks["net"](part["image"]).square().mean()}

        step.update("net", loss)


@pytest.mark.parametrize("kind", ERRORS)
def test_want_of_memory_is_known_by_all_its_names(kind: str) -> None:
    error = ERRORS[kind]
    assert out_of_memory(error)
    assert failure("k", error).status == "oom"
    here = Context(threads=1)
    train(Hungry(error, 1), PairedSampler(discs(4)), here, Budget(steps=1), batch_size=4)
    assert "4 parts" in here.log[-1]
    with pytest.raises(TrainingError, match="out of memory") as ended:
        train(Hungry(error, 0), PairedSampler(discs(4)), Context(threads=1), Budget(steps=1), batch_size=4)
    outcome = failure("k", ended.value)
    assert (outcome.status, "Free memory and rerun" in outcome.reason) == ("oom", True)

    def work(rows: range, images: Tensor) -> dict[str, Tensor]:
        if len(images) > 2:
            raise error
        return {"first": images[:, 0, 0, 0]}

    here = Context(threads=1, batch_size=4)
    sizes = [len(rows) for rows, _ in in_batches(discs(5), here, work)]
    assert (sizes, here.log) == ([2, 2, 1], ["out of memory: batch halved to 2"])


def test_other_errors_are_no_want_of_memory() -> None:
    for error in (RuntimeError("CUDA error: an illegal memory access was encountered"), ValueError("out of memory")):
        assert not out_of_memory(error)
        assert failure("k", error).status == "error"
        with pytest.raises(type(error)):
            train(Hungry(error, 0), PairedSampler(discs(2)), Context(threads=1), Budget(steps=1), batch_size=2)
