"""What is written of a GPU, and what torch.compile leaves. Needs no GPU."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

from mtbench.compute.compiling import compiled_within
from mtbench.compute.devices import describe_gpu, memory_sentence
from mtbench.results.environments import gpu_text
from mtbench.results.provenance import environment

GPU = {"name": "NVIDIA H100", "driver": "580.65.06", "cuda": "13.0", "cudnn": "9.13.0"}


def test_a_gpu_belongs_to_the_environment() -> None:
    assert environment().gpu == {}
    assert environment({}).id == environment().id
    other = environment(GPU)
    assert (other.gpu, other.packages) == (GPU, environment().packages)
    assert len({environment().id, other.id, environment({**GPU, "driver": "1"}).id}) == 3


def test_a_gpu_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert gpu_text(GPU) == "NVIDIA H100, driver 580.65.06, CUDA 13.0, cuDNN 9.13.0"
    assert gpu_text({"name": "", "cuda": "13.0"}) == "a GPU, CUDA 13.0"
    assert gpu_text({}) == ""
    module = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\nGCC version: 12.2.0\n"
    (tmp_path / "version").write_text(module)
    monkeypatch.setattr("mtbench.compute.devices._DRIVER", (tmp_path / "none", tmp_path / "version"))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA H100")
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: 91002)
    monkeypatch.setattr("torch.version.cuda", "13.0")
    assert describe_gpu("cuda:0") == {**GPU, "driver": "570.124.06", "cudnn": "9.10.2"}
    assert describe_gpu("cpu") == {}


def test_a_gpu_that_says_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: str) -> str:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("torch.cuda.get_device_name", broken)
    assert describe_gpu("cuda:0")["name"] == ""


def test_who_holds_the_memory() -> None:
    text = memory_sentence("cuda:0", 1_200_000_000, 80_000_000_000, 3_000_000_000)
    assert text == (
        "Of the 80.0 GB of cuda:0, 1.2 GB are free; this unit holds 3.0 GB and other processes hold 75.8 GB. "
        "End those processes, or choose another GPU."
    )
    # The driver's own share is nobody's fault.
    alone = memory_sentence("cuda:1", 1_000_000_000, 80_000_000_000, 78_400_000_000)
    assert alone == "Of the 80.0 GB of cuda:1, 1.0 GB are free; this unit holds 78.4 GB."


CACHING = """
import json, os
import mtbench

@mtbench.hookimpl
def mtbench_translators():
    for name in ("first", "second"):
        yield mtbench.TranslatorSpec(name, ":Caching")

class Caching:
    def translate(self, batch, context):
        from torch._inductor.runtime.cache_dir_utils import cache_dir
        with open("places", "a") as file:
            print(json.dumps([cache_dir(), os.environ["TRITON_CACHE_DIR"]]), file=file)
        return batch.source
"""


def test_compiled_code_goes_with_its_unit(
    run_cli: Any, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/mine")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    (tmp_path / "caching.py").write_text(CACHING)
    (tmp_path / "s.toml").write_text(toy_suite("threads = 1", translators=("first", "second"), metrics=("toy-mean",)))
    plugins = ("--plugin", toys, "--plugin", "caching.py")
    ran = run_cli("run", "s.toml", *plugins, "--executor", "inline", "--device", "cpu", "--out", "out")
    assert ran.code == 0, ran.err
    places = {tuple(json.loads(line)) for line in (tmp_path / "places").read_text().splitlines()}
    assert len(places) == 2
    assert not {"/mine"} & {place for pair in places for place in pair}
    assert not any(Path(place).exists() for pair in places for place in pair)
    assert (os.environ["TORCHINDUCTOR_CACHE_DIR"], "TRITON_CACHE_DIR" in os.environ) == ("/mine", False)


@pytest.mark.slow
def test_compiled_code_is_forgotten(tmp_path: Path) -> None:
    import torch

    compiled = torch.compile(lambda x: torch.sin(x) * 2)
    x = torch.arange(4.0)
    for name in ("a", "b"):
        with compiled_within(tmp_path / name):
            torch.testing.assert_close(compiled(x), torch.sin(x) * 2)
        # Compiled anew, so its files are there again.
        assert any((tmp_path / name).rglob("*.py"))
