"""How fast the trained translators are, against a plain float32 loop with one image at a time, as the originals run.

    OMP_NUM_THREADS=1 python benchmarks/translators.py --size 128 --images 8 --repeats 3 --threads 1

Both sides have the same weights and take turns; the ratio is the median over repeats. On a CPU processor seconds are
compared, which a busy machine disturbs little; on a GPU wall time after a synchronisation. "original" is the network in
plain memory order, one image a call, without autocast; on a GPU in the settings that the originals leave or set there,
TF32 convolutions and cuDNN's benchmark. UNSB's original also computes the convolution, the linear layers and the time
embedding that its output does not depend on; SPADE's divides its weights by their spectral norm in every call. In
training both sides run the same losses and optimisers; images a second are compared.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from mtbench import Batch, ImageSet, Slice, Task, TrainingData
from mtbench.compute.context import Context
from mtbench.compute.inference import prepare_torch
from mtbench.compute.precision import tf32
from mtbench.registry.params import complete
from mtbench.training import loop, signed, unsigned
from mtbench_plugins.segmenters.residual_unet import ResidualUNet
from mtbench_plugins.translators._shared.blur import BlurUp
from mtbench_plugins.translators.regression_unet.model import infer as regression_sizes
from mtbench_plugins.translators.spade.labels import Labels
from mtbench_plugins.translators.spade.spectral import SpectralConv2d
from mtbench_plugins.translators.unsb.bridge import Bridge
from mtbench_plugins.translators.unsb.generator import BridgeGenerator, ConditionalBlock
from mtbench_plugins.translators.unsb.layers import sinusoids

MODELS = ("cyclegan", "maskgan", "unsb", "spade", "cut", "fastcut", "pix2pix", "regression-unet")
TASK = Task("bench", labels={1: "disc"}, masks=frozenset({"source", "target"}), paired=True, paired_training=True)
LEVELS = 5
"""Of the regression U-Net."""


class ReleasedBlock(nn.Module):
    """UNSB's residual block with all computations of the released code, used or not."""

    def __init__(self, block: ConditionalBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, z: Tensor, time: Tensor) -> Tensor:
        self.block.style(z)
        self.block.conv_block(x) + self.block.Dense_time(time)[:, :, None, None]
        out: Tensor = self.block(x, z, None)
        return out


class ReleasedGenerator(BridgeGenerator):
    """UNSB's generator with the arithmetic of the released code."""

    def _embeddings(self, step: Tensor, z: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.z_transform(z), self.time_embed(sinusoids(step, self.ngf))


def as_released(network: nn.Module) -> nn.Module:
    """A copy that computes what the original computes, in the original's way."""
    made = copy.deepcopy(network)
    if isinstance(made, BridgeGenerator):
        made.__class__ = ReleasedGenerator
        made.model_res = nn.ModuleList(ReleasedBlock(block) for block in made.model_res)  # type: ignore[arg-type]
    if isinstance(made, ResidualUNet):
        return monai_unet(made)
    for module in made.modules():
        if isinstance(module, BlurUp):
            module.forward = module.convolved  # type: ignore[method-assign]
        if isinstance(module, SpectralConv2d):
            module.weight = module.normalised  # type: ignore[method-assign]
    return made


def monai_unet(network: ResidualUNet) -> nn.Module:
    """MONAI's network with the same weights."""
    sizes = regression_sizes(dict(network.state_dict()))
    widths = [sizes["width"] * 2**level for level in range(sizes["levels"])]
    peer = UNet(2, sizes["channels"], sizes["channels"], widths, [2] * (len(widths) - 1), num_res_units=2, norm="BATCH")
    peer.load_state_dict(network.state_dict())
    return peer.eval()


def images(domain: Any, count: int, side: int) -> ImageSet:
    rng = np.random.default_rng([len(domain), side])
    rows, columns = np.mgrid[:side, :side]
    masks = np.stack(
        [(rows - r) ** 2 + (columns - c) ** 2 < (side / 4) ** 2 for r, c in rng.uniform(0.4, 0.6, (count, 2)) * side]
    )
    stored = np.where(masks, 180, 40) + rng.integers(0, 30, masks.shape)
    slices = tuple(Slice(f"{domain}{i}", f"p{i // 4}", f"c{i // 4}", i % 4) for i in range(count))
    return ImageSet(stored.astype(np.uint8), slices, masks.astype(np.uint8), TASK, domain, "train")


def translator(name: str, **given: Any) -> Any:
    module = import_module(f"mtbench_plugins.translators.{name.removeprefix('fast').replace('-', '_')}")
    (spec,) = (each for each in module.mtbench_translators() if each.name == name)
    module, _, attribute = spec.factory.partition(":")
    return getattr(import_module(module), attribute)(**complete(given, spec.params, name))


def network(made: Any, name: str, filters: int, side: int) -> nn.Module:
    sizes: dict[str, Any] = {"ngf": filters}
    if name == "spade":
        sizes["label_nc"] = 2
    if name == "pix2pix":
        sizes |= {"inputs": 1, "netG": "unet", "n_downs": min(8, (side & -side).bit_length() - 1)}
    if name == "regression-unet":
        sizes = {"inputs": 1, "width": filters, "levels": LEVELS}
    found: nn.Module = made.layout.build(channels=1, **sizes)
    torch.manual_seed(0)
    for parameter in found.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return found.eval()


@contextmanager
def as_they_run(context: Context | None = None) -> Iterator[None]:
    """The originals' settings on a GPU: TF32 convolutions, cuDNN's benchmark, any kernels."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = True, False
    try:
        # Products stay in float32 by PyTorch's default; these models have almost none.
        with tf32(True):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


@contextmanager
def as_they_train(made: Any) -> Iterator[None]:
    """Train in those settings and in plain memory order, regardless of the context."""
    made.memory_format = lambda device: torch.contiguous_format
    with mock.patch.object(loop, "numerics", as_they_run):
        yield


class Clock:
    """Times turns of two sides; remembers the largest memory of each."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.cuda = device.startswith("cuda")

    def turn(self, call: Callable[[], Any]) -> tuple[float, float, Any]:
        """Seconds, peak memory in MB, and what ``call`` gave."""
        self._reset()
        started = self._now()
        found = call()
        return self._now() - started, self._peak(), found

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def _reset(self) -> None:
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        # This resets Linux's largest resident size.
        reset = Path("/proc/self/clear_refs")
        if reset.exists():
            reset.write_text("5")

    def _peak(self) -> float:
        if self.cuda:
            return torch.cuda.max_memory_allocated() / 2**20
        status = Path("/proc/self/status")
        if not status.exists():
            return float("nan")
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 2**10


def compare(
    clock: Clock, title: str, sides: dict[str, Callable[[], Any]], repeats: int, work: dict[str, int]
) -> dict[str, Any]:
    """Let the sides take turns; print images a second, ratios to the first and peaks. Returns the results of each."""
    made: dict[str, Any] = {}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    peaks: dict[str, float] = dict.fromkeys(sides, 0.0)
    for turn in range(repeats + 1):
        for name, call in sides.items():
            seconds, peak, made[name] = clock.turn(call)
            peaks[name] = max(peaks[name], peak)
            # The first turn warms up.
            if turn:
                rates[name].append(work[name] / seconds)
    first = next(iter(sides))
    for name in sides:
        ratios = [a / b for a, b in zip(rates[name], rates[first], strict=True)]
        print(
            f"{title:20} {name:22} {statistics.median(rates[name]):8.2f} images/s "
            f"{statistics.median(ratios):6.2f}x  ({min(ratios):.2f} to {max(ratios):.2f})  peak {peaks[name]:6.0f} MB",
            flush=True,
        )
    return made


def inference(name: str, args: argparse.Namespace, clock: Clock) -> None:
    given: dict[str, Any] = {"checkpoint": "given"}
    ours = translator(name, **given)
    ours.network = network(ours, name, args.filters, args.size).to(args.device)
    plain = as_released(ours.network)
    found = images("source", args.images, args.size)
    labels = Labels(TASK)

    def original() -> Tensor:
        with as_they_run():
            return one_by_one()

    def one_by_one() -> Tensor:
        context = Context(task=TASK, seed=1, device=args.device)
        out = []
        with torch.no_grad():
            for i in range(len(found)):
                one = found.subset([i])
                x = signed(one.tensor(device=args.device))
                if isinstance(plain, BridgeGenerator):
                    bridge = Bridge(5, 0.01, plain.z_width)
                    draw = lambda shape, one=one: context.noise(one.slices, shape)  # noqa: E731
                    *_, (_, y) = bridge.walk(plain, x, 5, draw)
                elif name == "spade":
                    y = plain(labels.one_hot(one.mask_tensor(device=args.device), "source"))
                else:
                    y = plain(x)
                out.append(unsigned(y.image if name == "maskgan" else y))
        return torch.cat(out)

    def batched(precision: str) -> Tensor:
        prepare_torch(precision, args.threads)
        context = Context(task=TASK, seed=1, device=args.device, precision=precision)
        out = []
        with torch.inference_mode():
            for first in range(0, len(found), args.batch):
                rows = slice(first, first + args.batch)
                context.start_batch()
                batch = Batch(found.tensor(rows, args.device), found.slices[rows], found.mask_tensor(rows, args.device))
                out.append(ours.translate(batch, context))
        return torch.cat(out)

    sides: dict[str, Callable[[], Any]] = {"original": original}
    sides |= {f"mtbench {p}": (lambda p=p: batched(p)) for p in args.precision}
    made = compare(clock, f"{name} inference", sides, args.repeats, dict.fromkeys(sides, len(found)))
    for side in list(sides)[1:]:
        apart = (made[side].float() - made["original"]).abs().mul(255)
        steps = (made[side].mul(255).round() - made["original"].mul(255).round()).abs()
        print(
            f"{'':20} {side:22} "
            f"largest difference {float(apart.max()):.2g} grey levels, mean {float(apart.mean()):.2g}, "
            f"stored pixels that differ {float((steps > 0).float().mean()):.2%}"
        )


def training(name: str, args: argparse.Namespace, clock: Clock) -> None:
    source = images("source", 16, args.size)
    data = TrainingData(
        TASK,
        source_train=source,
        source_validation=images("source", 1, args.size),
        target_train=images("target", 16, args.size),
        target_validation=images("target", 1, args.size),
        paired_train=replace(images("paired", 16, args.size), slices=source.slices),
    )
    widths = {"width": args.filters} if name == "regression-unet" else {"ngf": args.filters, "ndf": args.filters}

    def fit(batch: int, precision: str, plain: bool) -> Any:
        given = {**widths, "batch_size": batch, "steps": args.steps}
        made = translator(name, **given, **({"lambda_vgg": 0.0} if name == "spade" else {}))
        prepare_torch(precision, args.threads)
        with as_they_train(made) if plain else nullcontext():
            made.fit(data, Context(task=TASK, device=args.device, precision=precision, threads=args.threads))
        return made.history

    sides: dict[str, Callable[[], Any]] = {"original": lambda: fit(1, "fp32", True)}
    work = {"original": args.steps}
    for precision in args.precision:
        for batch in (1, args.train_batch):
            side = f"mtbench {precision}, batch {batch}"
            sides[side] = lambda precision=precision, batch=batch: fit(batch, precision, False)
            work[side] = args.steps * batch
    made = compare(clock, f"{name} training", sides, args.repeats, work)
    last = {side: sum(e.value for e in history.entries[-4:]) for side, history in made.items()}
    assert all(np.isfinite(value) for value in last.values()), last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=MODELS)
    parser.add_argument("--what", nargs="*", choices=("inference", "training"), default=("inference", "training"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--train-batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="*", default=("fp32", "bf16"))
    args = parser.parse_args()
    prepare_torch("fp32", args.threads)
    print(
        f"torch {torch.__version__}, {args.device}, {args.threads} threads, {args.size} x {args.size}, "
        f"{args.filters} filters, batches of {args.batch}"
    )
    clock = Clock(args.device)
    for name in args.models:
        if "inference" in args.what:
            inference(name, args, clock)
        if "training" in args.what:
            training(name, args, clock)


if __name__ == "__main__":
    main()
