"""Batches on a GPU: the CPU's numbers, in order, and nobody waits. On a stand-in, so it needs no GPU."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import toy_suite

import mtbench
from mtbench import run
from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches
from mtbench.compute.placement import placed_by
from mtbench.conformance.fake_cuda import fake_cuda
from mtbench.data import Batch, ImageSet, Slice, Task
from mtbench.stages.extract import extract
from mtbench.stages.table import STAGES
from mtbench.stages.translate import translate

COUNT = 7


def images(dtype: Any = np.uint8, count: int = COUNT, channels: int = 0) -> ImageSet:
    rng = np.random.default_rng(0)
    shape = (count, channels, 8, 6) if channels else (count, 8, 6)
    if dtype == np.float32:
        stored = rng.random(shape, np.float32)
    else:
        stored = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    slices = tuple(Slice(f"s{i}", f"p{i}", f"p{i}") for i in range(count))
    return ImageSet(stored, slices, None, Task("toy"), "target", "test")


def on(device: str) -> Any:
    return fake_cuda() if device == "cuda:0" else nullcontext()


def collect(given: ImageSet, device: str, step: Callable[..., Any], batch_size: int = 3) -> tuple[Any, Any, list[str]]:
    """The positions of the batches, all that came of them, and the notes."""
    context = Context(device=device, batch_size=batch_size)
    with on(device):
        made = [(rows, {n: a.copy() for n, a in out.items()}) for rows, out in in_batches(given, context, step)]
    together = {name: np.concatenate([out[name] for _, out in made]) for name in made[0][1]}
    return [rows for rows, _ in made], together, context.log


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 0), (np.uint16, 0), (np.float32, 0), (np.uint8, 2)])
def test_images_are_the_cpus(dtype: Any, channels: int, scattered: bool, tmp_path: Path) -> None:
    given = images(dtype, 70, channels)
    np.save(tmp_path / "images.npy", given.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    given = ImageSet(mapped, given.slices, None, given.task, "target", "test")
    given = given.subset([5, 3, 60, 3, *range(20, 40), 0]) if scattered else given

    def step(rows: range, source: Any) -> Any:
        assert source.shape == (len(rows), channels or 1, 8, 6)
        return {"images": source, "sums": source.sum((1, 2, 3))}

    here, there = (collect(given, device, step, 8) for device in ("cpu", "cuda:0"))
    assert here[0] == there[0]
    for name in ("images", "sums"):
        np.testing.assert_array_equal(here[1][name], there[1][name])
    np.testing.assert_array_equal(here[1]["images"], given.floats())


def test_the_gpu_computes_while_others_read_and_write() -> None:
    order: list[str] = []

    class Watched:
        def __init__(self, array: Any) -> None:
            self.array, self.dtype, self.shape, self.ndim = array, array.dtype, array.shape, array.ndim

        def __getitem__(self, rows: Any) -> Any:
            order.append(f"read {rows.start}")
            return self.array[rows]

    def step(rows: range, source: Any) -> Any:
        order.append(f"begin {rows.start}")
        return {"sums": source.sum((1, 2, 3))}

    given = images()
    given = ImageSet(Watched(given.images), given.slices, None, given.task, "target", "test")  # type: ignore[arg-type]
    with fake_cuda() as seen:
        for rows, _ in in_batches(given, Context(device="cuda:0", batch_size=3), step):
            order.append(f"write {rows.start}")
    assert order == [
        *("read 0", "begin 0", "read 3"),
        *("begin 3", "read 6", "write 0"),
        *("begin 6", "write 3", "write 6"),
    ]
    kinds = Counter(kind for kind, _ in seen.waits.elements())
    # For each batch: its buffer, long since free, and its results, at a moment when the next batch is at work.
    assert kinds == {"synchronize": 6}


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize(
    "error", [lambda: torch.OutOfMemoryError("CUDA out of memory."), lambda: MemoryError("no room")]
)
def test_too_large_batches_are_halved_and_nothing_is_lost(device: str, error: Callable[[], Exception]) -> None:
    tries = []

    def step(rows: range, source: Any) -> Any:
        tries.append(rows)
        # The first batch fits: that there is less room later must not cost what is on its way.
        if rows.start >= 6 and len(rows) > 2:
            raise error()
        return {"sums": source.sum((1, 2, 3))}

    given = images(count=13)
    rows, made, notes = collect(given, device, step, 6)
    assert rows == [range(6), *(range(i, i + 1) for i in range(6, 13))]
    np.testing.assert_allclose(made["sums"], given.floats().sum((1, 2, 3)), rtol=1e-6)
    assert notes == ["out of memory: batch halved to 3", "out of memory: batch halved to 1"]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_single_image_that_does_not_fit(device: str) -> None:
    def step(rows: range, source: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        collect(images(), device, step)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("keeps", ["cpu", "cuda:0"])
def test_a_plugin_that_uses_its_output_again(device: str, keeps: str) -> None:
    """As one with a CUDA graph does; some give their results on the CPU."""
    kept = []

    def step(rows: range, source: Any) -> Any:
        place = "cpu" if device == "cpu" else keeps
        if not kept:
            kept.append(torch.zeros(8, device=place))
        sums = source.sum((1, 2, 3)).to(place)
        kept[0][: len(rows)] = sums
        return {"sums": kept[0][: len(rows)]}

    _, made, _ = collect(images(), device, step)
    np.testing.assert_allclose(made["sums"], images().floats().sum((1, 2, 3)), rtol=1e-6)


def test_whoever_stops_early_leaves_nothing_behind() -> None:
    with fake_cuda():
        batches = in_batches(images(), Context(device="cuda:0", batch_size=2), lambda rows, source: {"x": source})
        next(batches)
        batches.close()  # type: ignore[attr-defined]


class Brighter:
    """A translator: leaves [0, 1] on both sides, and noise that belongs to each slice."""

    def translate(self, batch: Batch, context: Context) -> Any:
        return batch.source * 1.2 - 0.1 + 0.01 * context.noise(batch, (1, 8, 6))


@pytest.mark.parametrize("depth", ["uint8", "uint16", "float32"])
def test_translations_are_the_cpus(depth: str) -> None:
    made, contexts = [], []
    for device in ("cpu", "cuda:0"):
        context = Context(device=device, batch_size=3, seed=4)
        with on(device):
            chunks = translate(Brighter(), images(), context, conditional=False, depth=depth, blame="toy")
            made.append(np.concatenate(list(chunks)))
        contexts.append(context)
    assert made[0].dtype == made[1].dtype == np.dtype(depth)
    np.testing.assert_array_equal(made[0], made[1])
    assert contexts[0].clamped == contexts[1].clamped > 0
    assert contexts[0].log == contexts[1].log == ["7 of 7 images had values outside [0, 1], which were clamped"]
    # By hand, in the way that is written down: clamped, scaled, rounded half to even.
    noise = Context(seed=4).noise(images().slices, (1, 8, 6)).numpy()[:, 0]
    values = np.clip(images().floats()[:, 0] * np.float32(1.2) - np.float32(0.1) + np.float32(0.01) * noise, 0, 1)
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[depth]
    expected = values if depth == "float32" else np.rint(values * np.float32(white)).astype(depth)
    np.testing.assert_allclose(
        made[0].astype(float), expected.astype(float), atol=0 if depth == "uint8" else 1e-6 * white
    )


class Spoilt:
    def __init__(self, value: float) -> None:
        self.value = value

    def translate(self, batch: Batch, context: Context) -> Any:
        spoils = torch.full((), self.value, device=batch.source.device)
        wanted = torch.zeros(batch.source.shape, dtype=torch.bool)
        wanted[[n for n, each in enumerate(batch.slices) if each.slice_id == "s4"], 0, 2, 3] = True
        return torch.where(wanted.to(batch.source.device), spoils, batch.source)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "returned NaN or infinite values for slice 's4'"),
        (float("inf"), "returned NaN or infinite values for slice 's4'"),
        (255.0, "returned values from 0 to 255. Expected [0, 1]. Divide it by its largest possible value"),
    ],
)
def test_translations_that_cannot_be(device: str, value: float, message: str) -> None:
    with on(device):
        context = Context(device=device, batch_size=3)
        chunks = translate(Spoilt(value), images(), context, conditional=False, depth="uint8", blame="toy")
        with pytest.raises(mtbench.PluginError) as caught:
            list(chunks)
    assert message in str(caught.value)


def test_features_are_the_cpus(tmp_path: Path) -> None:
    class Net:
        def extract(self, source: Any, context: Context) -> Any:
            return {"a": source.mean((2, 3)).to(torch.bfloat16), "b": source.flatten(1)[:, :5]}

    for device in ("cpu", "cuda:0"):
        folder = tmp_path / device
        folder.mkdir()
        with on(device) as seen:
            extract(images(), Net(), ["a", "b"], Context(device=device, batch_size=2), folder, "toy")
        if seen:
            assert {kind for kind, _ in seen.waits} == {"synchronize"}
    for name in ("a.npy", "b.npy"):
        here, there = (np.load(tmp_path / device / name) for device in ("cpu", "cuda:0"))
        assert (len(here), here.dtype) == (COUNT, np.float32)
        np.testing.assert_array_equal(here, there)


# -- batch sizes, and whose fault it is

PLUGINS = """
import torch
import mtbench

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("forgetful", ":Forgetful")
    yield mtbench.TranslatorSpec("sloppy", ":Sloppy")
    yield mtbench.TranslatorSpec("greedy", ":Greedy")
    yield mtbench.TranslatorSpec("counting", ":Counting")

class Forgetful:
    def __init__(self):
        self.network = torch.nn.Conv2d(1, 1, 1)

    def translate(self, batch, context):
        return self.network(batch.source)

class Sloppy:
    def translate(self, batch, context):
        return torch.from_numpy(batch.source.numpy())

class Greedy:
    def translate(self, batch, context):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

class Counting:
    def translate(self, batch, context):
        print("in batches of", context.batch_size)
        return batch.source
"""


def outcomes(tmp_path: Path, toys: Path, *translators: str, device: str = "cuda") -> dict[str, dict[str, Any]]:
    """The attempts at translating, by translator."""
    (tmp_path / "faulty.py").write_text(PLUGINS)
    (tmp_path / "s.toml").write_text(toy_suite("threads = 1", translators=translators, metrics=("toy-mean",)))
    plugins = [str(toys), str(tmp_path / "faulty.py")]
    out = tmp_path / "out"
    run(str(tmp_path / "s.toml"), plugin_files=plugins, device=device, executor="inline", out=str(out), quiet=True)
    attempts = mtbench.load(out, "attempts").to_pylist()
    return {a["name"].split()[-1]: a for a in attempts if a["stage"] == "translate"}


@pytest.mark.slow
def test_a_model_left_on_the_cpu_is_the_plugins_fault(tmp_path: Path, toys: Path) -> None:
    with fake_cuda():
        found = outcomes(tmp_path, toys, "forgetful", "sloppy")
    for name, line in (("forgetful", "line 17"), ("sloppy", "line 21")):
        reason = found[name]["reason"]
        assert (found[name]["status"], found[name]["error_type"]) == ("error", "PluginError")
        assert reason.startswith(f"translator '{name}' of ")
        assert f"tensors are on two devices (faulty.py, {line}): " in reason
        assert "Move its networks, tensors and generators to context.device (here cuda:0)" in reason


@pytest.mark.slow
def test_who_holds_the_memory_is_said(tmp_path: Path, toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cuda():
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device=None: (10**9, 80 * 10**9))
        monkeypatch.setattr("torch.cuda.memory_reserved", lambda device=None: 3 * 10**9)
        found = outcomes(tmp_path, toys, "greedy")["greedy"]
    assert found["status"] == "oom"
    assert found["reason"].endswith(
        "Of the 80.0 GB of cuda:0, 1.0 GB are free; this unit holds 3.0 GB and other processes hold 76.0 GB. "
        "End those processes, or choose another GPU."
    )


@pytest.mark.parametrize(("device", "size"), [("cpu", 8), ("cuda", 32)])
def test_batches_where_nobody_says(
    tmp_path: Path, toys: Path, device: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with on("cuda:0" if device == "cuda" else "cpu"):
        assert outcomes(tmp_path, toys, "counting", device=device)["counting"]["status"] == "ok"
    assert f"in batches of {size}\n" in capsys.readouterr().out
    assert (STAGES["extract"].batch_size("cuda:1"), STAGES["segment"].batch_size("cuda:1")) == (256, 32)


@pytest.mark.parametrize(
    ("text", "misplaced"),
    [
        (
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (when ...)",
            True,
        ),
        ("Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same", True),
        ("Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input", True),
        ("Input type (CUDABFloat16Type) and weight type (CPUBFloat16Type) should be the same", True),
        ("Expected a 'cuda' device type for generator but found 'cpu'", True),
        ("Tensor for argument #2 'mat2' is on CPU, but expected it to be on GPU (while checking arguments)", True),
        ("indices should be either on cpu or on the same device as the indexed tensor (cpu)", True),
        ("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory", True),
        ("Input type (float) and weight type (c10::BFloat16) should be the same", False),
        ("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", False),
        ("CUDA error: device-side assert triggered", False),
    ],
)
def test_what_pytorch_says_of_two_devices(text: str, misplaced: bool) -> None:
    expected = mtbench.PluginError if misplaced else RuntimeError
    with pytest.raises(expected, match=re.escape(text[:30])), placed_by("translator 'x' of y", "cuda:0"):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match=re.escape(text[:30])), placed_by("translator 'x' of y", "cpu"):
        raise RuntimeError(text)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_and_translations_on_a_gpu_are_the_cpus(dtype: Any) -> None:
    given = images(dtype, 70)
    depth = np.dtype(dtype).name
    made = []
    for device in ("cpu", "cuda:0"):
        batches = in_batches(given, Context(device=device, batch_size=8), lambda rows, source: {"x": source})
        translations = translate(
            Same(), given, Context(device=device, batch_size=8), conditional=False, depth=depth, blame="toy"
        )
        made.append((np.concatenate([out["x"] for _, out in batches]), np.concatenate(list(translations))))
    for here, there in zip(*made, strict=True):
        np.testing.assert_array_equal(here, there)


class Same:
    def translate(self, batch: Batch, context: Context) -> Any:
        return batch.source
