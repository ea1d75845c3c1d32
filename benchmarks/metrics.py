"""Speed of FID, KID and IS, and agreement with other libraries, side by side in one run with the same weights.

    pip install -e '.[bench]'
    python benchmarks/metrics.py [--n 512] [--repeats 5] [--threads 2] [--peers torch-fidelity torchmetrics]

Two folders of n grey 256 x 256 PNGs (drawn, or --images TRANSLATED TARGET) are scored from disk to the three
numbers by every library in turn, each with its own defaults but for KID's subsets (100 of at most half the
images), on random weights in the FID network. Times are medians; ratios are to mtbench in float32. CPU seconds
are of this process alone: on a machine that does other work they, with --threads 1, are the fairer measure.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from mtbench.compute.context import Context
from mtbench_plugins.extractors.inception_extractors import InceptionFid
from mtbench_plugins.extractors.inception_weights import random_state
from mtbench_plugins.metrics.class_spread import split_scores
from mtbench_plugins.metrics.frechet import frechet_distance, moments, root_trace
from mtbench_plugins.metrics.kernel_distance import discrepancy, subset_discrepancies

Numbers = dict[str, float]
Arrays = dict[str, NDArray[np.float32]]

SIDE = 256
SUBSETS = 100
BATCH = 16
"""Images at once: the default of `mtbench score`. Peers get 16 or their own default."""


def draw_images(folder: Path, count: int, seed: int) -> None:
    """Smooth random grey images, about as hard to decode as slices."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 200, (24, 24)).astype(np.uint8))
        image = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.float32)
        noisy = image + random.normal(0, 4, image.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{index:05d}.png")


def batches(files: list[Path], size: int, threads: int) -> Iterator[NDArray[np.uint8]]:
    """Decoded images B x H x W; the next batches are decoded while the network processes one."""

    def decode(file: Path) -> NDArray[np.uint8]:
        return np.asarray(Image.open(file).convert("L"))

    with ThreadPoolExecutor(threads) as pool:
        pending = [pool.submit(decode, file) for file in files[: 2 * size]]
        for start in range(0, len(files), size):
            batch = [pending.pop(0).result() for _ in files[start : start + size]]
            pending += [pool.submit(decode, file) for file in files[start + 2 * size : start + 3 * size]]
            yield np.stack(batch)


def extract(files: list[Path], weights: Path, precision: str, threads: int) -> Arrays:
    """Our features of a folder."""
    extractor = InceptionFid("tf1", "tf", True, str(weights))
    context = Context(precision=precision)
    parts: dict[str, list[NDArray[np.float32]]] = {"pool": [], "logits": []}
    for batch in batches(files, BATCH, threads):
        result = extractor.extract(torch.from_numpy(batch)[:, None].float() / 255, context)
        for name, values in result.items():
            parts[name].append(values.numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}


def ours(folders: list[Path], weights: Path, subset_size: int, threads: int, precision: str = "fp32") -> Numbers:
    """FID, KID as in torch-fidelity, and IS, from files."""
    first, second = (extract(sorted(f.glob("*.png")), weights, precision, threads) for f in folders)
    return {
        "fid": frechet_distance(first["pool"], second["pool"]),
        "kid": float(subset_discrepancies(first["pool"], second["pool"], SUBSETS, subset_size, 2020).mean()),
        "is": float(split_scores(first["logits"], 10).mean()),
    }


def torch_fidelity(folders: list[Path], weights: Path, subset_size: int) -> Numbers:
    """The same three from torch-fidelity."""
    import torch_fidelity as library

    got = library.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        feature_extractor_weights_path=str(weights),
        fid=True,
        kid=True,
        isc=True,
        kid_subset_size=subset_size,
        cuda=False,
        cache=False,
        verbose=False,
    )
    return {
        "fid": got["frechet_inception_distance"],
        "kid": got["kernel_inception_distance_mean"],
        "is": got["inception_score_mean"],
    }


def torchmetrics(folders: list[Path], weights: Path, subset_size: int) -> Numbers:
    """The same three from torchmetrics: three metrics with a network each, by its defaults."""
    from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    def network(feature: str) -> Any:
        return NoTrainInceptionV3("inception-v3-compat", [feature], str(weights))

    fid = FrechetInceptionDistance(network("2048"))
    kid = KernelInceptionDistance(network("2048"), subsets=SUBSETS, subset_size=subset_size)
    score = InceptionScore(network("logits_unbiased"))
    for folder, real in ((folders[0], False), (folders[1], True)):
        files = sorted(folder.glob("*.png"))
        for start in range(0, len(files), 16):
            images = [np.asarray(Image.open(file).convert("RGB")) for file in files[start : start + 16]]
            # Contiguous, as its documentation's examples and a loader's batches are.
            batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
            fid.update(batch, real=real)
            kid.update(batch, real=real)
            if not real:
                score.update(batch)
    started = time.process_time()
    found = {"fid": float(fid.compute()), "kid": float(kid.compute()[0]), "is": float(score.compute()[0])}
    # At few images a side its 2048 x 2048 eigenvalues are much of the whole: stated, so that nobody is misled.
    print(f"torchmetrics: {time.process_time() - started:.2f} CPU seconds of it behind the networks", flush=True)
    return found


def pytorch_fid(folders: list[Path], weights: Path, subset_size: int) -> Numbers:
    """FID alone, from pytorch-fid."""
    from pytorch_fid import fid_score, inception

    state = torch.load(weights, weights_only=True)
    inception.load_state_dict_from_url = lambda *args, **options: state
    value = fid_score.calculate_fid_given_paths([str(f) for f in folders], 50, "cpu", 2048, num_workers=0)
    return {"fid": float(value)}


PEERS: dict[str, Callable[[list[Path], Path, int], Numbers]] = {
    "torch-fidelity": torch_fidelity,
    "torchmetrics": torchmetrics,
    "pytorch-fid": pytorch_fid,
}


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Median seconds, and the last result."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), result


def end_to_end(folders: list[Path], weights: Path, size: int, arguments: argparse.Namespace) -> None:
    """Every library in turn, repeatedly, so that all are exposed to the same disturbances."""
    ways: dict[str, Callable[[], Numbers]] = {
        "mtbench fp32": lambda: ours(folders, weights, size, arguments.threads),
        "mtbench bf16": lambda: ours(folders, weights, size, arguments.threads, "bf16"),
    }
    for name in arguments.peers:
        try:
            importlib.import_module(name.replace("-", "_"))
        except ImportError:
            print(f"{name} is not installed: skipped")
            continue
        ways[name] = lambda peer=PEERS[name]: peer(folders, weights, size)  # type: ignore[misc]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    numbers: dict[str, Numbers] = {}
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            processor = time.process_time()
            wall, numbers[name] = timed(way)
            seconds[name].append((wall, time.process_time() - processor))
    walls = {name: statistics.median(wall for wall, _ in values) for name, values in seconds.items()}
    processors = {name: statistics.median(cpu for _, cpu in values) for name, values in seconds.items()}
    base, exact = "mtbench fp32", numbers["mtbench fp32"]
    print(f"\nFID + KID + IS of {arguments.n} + {arguments.n} images, median of {arguments.repeats}")
    print(f"{'':16}{'seconds':>9}{'ratio':>7}{'CPU s':>9}{'ratio':>7}{'images/s':>10}{'FID':>12}{'KID':>12}{'IS':>12}")
    for name in ways:
        row = "".join(f"{numbers[name][m]:12.6g}" if m in numbers[name] else f"{'':12}" for m in exact)
        print(
            f"{name:16}{walls[name]:9.2f}{walls[name] / walls[base]:7.2f}{processors[name]:9.2f}"
            f"{processors[name] / processors[base]:7.2f}{2 * arguments.n / walls[name]:10.1f}{row}"
        )
        if name != base:
            apart = "".join(
                f"{numbers[name][m] / exact[m] - 1:+12.1e}" if m in numbers[name] else f"{'':12}" for m in exact
            )
            print(f"{'  to ours':58}{apart}")


def forward(folders: list[Path], weights: Path, arguments: argparse.Namespace) -> None:
    """CPU milliseconds an image of each library's network with its resize, on the same decoded 16 images, in turn.

    Cheap and steady where the end-to-end run is neither: FID + KID + IS of N + N images are 2 N such passes here and
    in torch-fidelity, and 5 N in torchmetrics, whose three metrics have a network each.
    """
    files = sorted(folders[0].glob("*.png"))[:16]
    grey = next(batches(files, len(files), arguments.threads))
    rgb = torch.from_numpy(np.repeat(grey[:, None], 3, 1))
    extractor, context = InceptionFid("tf1", "tf", True, str(weights)), Context()
    images = torch.from_numpy(grey)[:, None].float() / 255
    ways: dict[str, Callable[[], Any]] = {"mtbench": lambda: extractor.extract(images, context)}
    if "torch-fidelity" in arguments.peers:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        fidelity = FeatureExtractorInceptionV3("peer", ["2048", "logits_unbiased"], str(weights))
        ways["torch-fidelity"] = lambda: fidelity(rgb)
    if "torchmetrics" in arguments.peers:
        from torchmetrics.image.fid import NoTrainInceptionV3

        tm = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights))
        ways["torchmetrics"] = lambda: tm(rgb)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for repeat in range(arguments.repeats + 1):
            for name, way in ways.items():
                started = time.process_time()
                way()
                if repeat:
                    spent[name].append((time.process_time() - started) * 1000 / len(files))
    print(f"\nthe network alone, CPU ms an image, batches of 16, median of {arguments.repeats}")
    for name, values in spent.items():
        ratio = statistics.median(a / b for a, b in zip(values, spent["mtbench"], strict=True))
        print(f"{name:16}{statistics.median(values):9.1f}{ratio:7.2f}    {min(values):.1f} to {max(values):.1f}")


def device_speed(weights: Path, device: str) -> None:
    """Images a second on a device, and what share of the speed of its own matrix product that is."""
    gpu = device != "cpu"
    name, batch, side, rounds = (torch.cuda.get_device_name(0), 256, 8192, 20) if gpu else ("CPU", 16, 2048, 2)

    def a_second(work: Callable[[], Any]) -> float:
        for measured in (False, True):
            started = time.perf_counter()
            for _ in range(rounds if measured else 1):
                work()
            if gpu:
                torch.cuda.synchronize()
        return rounds / (time.perf_counter() - started)

    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))[: 2 if gpu else 1]:
        extractor, context = InceptionFid("tf1", "tf", True, str(weights)), Context(device=device, precision=precision)
        images = torch.rand(batch, 1, SIDE, SIDE)
        images = images.pin_memory() if gpu else images
        square = torch.rand(side, side, device=device, dtype=dtype)

        def network(extractor: Any = extractor, context: Context = context, images: torch.Tensor = images) -> None:
            extractor.extract(images.to(device, non_blocking=True), context)

        # A batch is divided among threads, which the counter does not see; one image stays in this thread.
        with FlopCounterMode(display=False) as counter:
            extractor.extract(images[:1].to(device), context)
        peak = a_second(lambda factor=square: factor @ factor) * 2 * side**3  # type: ignore[misc]
        rate = a_second(network)
        done = rate * batch * counter.get_total_flops()
        print(
            f"{name}, {precision}: {batch * rate:.1f} images/s, {done / 1e12:.2f} TFLOP/s, {100 * done / peak:.0f} % "
            f"of the {peak / 1e12:.2f} TFLOP/s of its {side} x {side} matrix product"
        )


def kernels(folders: list[Path], weights: Path, arguments: argparse.Namespace) -> None:
    """The parts behind the network: FID's trace and KID."""
    first, second = (extract(sorted(f.glob("*.png")), weights, "fp32", arguments.threads)["pool"] for f in folders)
    print(f"\nFID's trace at N = {arguments.n}")
    trace, mine = timed(lambda: root_trace(moments(first), moments(second)), 5)
    print(f"{'mtbench':16}{trace:9.3f} s")
    from scipy.linalg import sqrtm

    covariances = [np.cov(f.astype(float), rowvar=False) for f in (first, second)]
    root, theirs = timed(lambda: float(np.trace(sqrtm(covariances[0] @ covariances[1])).real))
    print(f"{'scipy sqrtm':16}{root:9.3f} s{root / trace:7.0f} x    value {theirs / mine - 1:+.1e} to ours")

    size = min(1000, arguments.n // 2)
    print(f"\nKID at N = {arguments.n}")
    full, estimate = timed(lambda: discrepancy(first, second), 5)
    subsets, values = timed(lambda: subset_discrepancies(first, second, SUBSETS, size, 2020), 5)
    print(f"{'mtbench, all':16}{full:9.3f} s    {estimate.value:.8g}, standard error {estimate.stderr:.2g}")
    print(f"{'mtbench, subsets':16}{subsets:9.3f} s    {values.mean():.8g}")
    try:
        from torch_fidelity.metric_kid import kid_features_to_metric
    except ImportError:
        print("torch-fidelity is not installed: skipped")
        return
    both = torch.from_numpy(first), torch.from_numpy(second)
    peer, got = timed(lambda: kid_features_to_metric(*both, kid_subset_size=size, verbose=False))
    mean = got["kernel_inception_distance_mean"]
    print(f"{'torch-fidelity':16}{peer:9.3f} s    {mean:.8g}, {mean / values.mean() - 1:+.1e} to ours")
    print(f"{'':16}{peer / full:9.1f} x the time of all, {peer / subsets:.1f} x that of our subsets")


def features_apart(folders: list[Path], weights: Path, arguments: argparse.Namespace) -> None:
    """The largest difference of features from torch-fidelity's, relative to the largest feature."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        return
    files = sorted(folders[0].glob("*.png"))[:16]
    mine = extract(files, weights, "fp32", arguments.threads)["pool"]
    net = FeatureExtractorInceptionV3("peer", ["2048"], str(weights))
    rgb = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    theirs = net(torch.from_numpy(rgb).permute(0, 3, 1, 2))[0].numpy()
    print(f"\nfeatures: {np.abs(mine - theirs).max() / theirs.max():.1e} from torch-fidelity's, relative")


def main() -> None:
    """Run everything and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=512, help="images a side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=sorted(PEERS), default=["torch-fidelity", "torchmetrics"])
    parser.add_argument("--images", nargs=2, type=Path, metavar=("TRANSLATED", "TARGET"))
    parser.add_argument("--only", choices=("forward", "end-to-end", "kernels"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folders = arguments.images or [Path(temporary) / "translated", Path(temporary) / "target"]
        if not arguments.images:
            for seed, folder in enumerate(folders):
                draw_images(folder, arguments.n, seed)
        weights = Path(temporary) / "random.pth"
        torch.save(random_state(0), weights)
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, random weights")
        features_apart(folders, weights, arguments)
        if arguments.only in (None, "forward"):
            forward(folders, weights, arguments)
            for device in ("cpu", *(["cuda:0"] if torch.cuda.is_available() else [])):
                device_speed(weights, device)
        if arguments.only in (None, "end-to-end"):
            end_to_end(folders, weights, min(1000, arguments.n // 2), arguments)
        if arguments.only in (None, "kernels"):
            kernels(folders, weights, arguments)


if __name__ == "__main__":
    main()
