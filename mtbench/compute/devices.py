"""Devices: which one a name stands for, which GPUs there are, and what is known of the one at work."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError

_DRIVER = (Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version"))
"""Where Linux says which NVIDIA driver is loaded."""


def check_device(name: str) -> None:
    """Refuse what is no device's name, without a look at the machine: the work may be done by another.

    Raises:
        RequestError: it is neither "cpu" nor a GPU of CUDA.
    """
    if re.fullmatch(r"(mps|xpu)(:[0-9]+)?", name):
        raise RequestError(
            f"the device '{name}' is not supported: mtbench is tested on CPUs and CUDA only",
            where="--device",
            expected="cpu, cuda, cuda:1, ...",
        )
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise RequestError(f"there is no device '{name}'", where="--device", expected="cpu, cuda, cuda:1, ...")


def resolve_device(name: str | None) -> str:
    """The device ``name`` with its number; without a name "cuda:0" if there is a GPU, "cpu" otherwise.

    Raises:
        RequestError: it is no device, or a GPU that is not here.
    """
    if name:
        check_device(name)
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not name:
        return "cuda:0" if count else "cpu"
    return f"cuda:{gpu_numbers(name, count)[0]}"


def gpu_numbers(name: str, count: int) -> list[int]:
    """The numbers of the GPUs that a device stands for, of ``count``: "cuda:1" one, "cuda" all of them.

    Raises:
        RequestError: there are not that many.
    """
    _, _, number = name.partition(":")
    numbers = [int(number)] if number else list(range(count))
    if numbers and numbers[-1] < count:
        return numbers
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    limited = "" if visible is None else f" with CUDA_VISIBLE_DEVICES={visible!r}"
    visible_count = f"{count} {'is' if count == 1 else 'are'}" if count else "none is"
    alternatives = f"cuda, or one of cuda:0 to cuda:{count - 1}" if count > 1 else "cuda or cuda:0"
    raise RequestError(
        f"there is no GPU '{name}' on this machine: {visible_count} visible to PyTorch{limited}",
        where="--device",
        expected=alternatives if count else "cpu",
    )


def gpu_names(name: str, count: int, visible: str | None) -> list[str]:
    """The GPUs that a device stands for, as CUDA_VISIBLE_DEVICES names them to a process that is given one of them.

    Never more than ``visible`` allows already, and by the names it uses: numbers of the machine, UUIDs, parts of GPUs.

    Args:
        name: "cuda" or "cuda:1", counted among the visible ones; "cpu" stands for none.
        count: how many PyTorch sees.
        visible: CUDA_VISIBLE_DEVICES of this process; ``None`` where it is not set.

    Raises:
        RequestError: there are not that many.
    """
    if name == "cpu":
        return []
    names = [each.strip() for each in visible.split(",")] if visible else [str(number) for number in range(count)]
    return [names[number] for number in gpu_numbers(name, count)]


def peak_memory_mb(device: str) -> float:
    """The most memory that this process has used: of the GPU, where it runs on one, else of the machine."""
    if not device.startswith("cuda"):
        return host_memory_mb()
    import torch

    return float(torch.cuda.max_memory_allocated(device)) / 2**20


def host_memory_mb() -> float:
    """The most memory of the machine that this process has had at once."""
    import resource

    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak() -> None:
    """Count a GPU's peak memory from here on: in one process a unit is not to answer for those before it."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)


def describe_gpu(device: str) -> dict[str, str]:
    """``name``, ``driver``, ``cuda`` and ``cudnn`` of the GPU at work, for the record; empty on the CPU."""
    if not device.startswith("cuda"):
        return {}
    import torch

    facts = {"name": "", "driver": "", "cuda": torch.version.cuda or f"ROCm {torch.version.hip}", "cudnn": ""}
    with suppress(Exception):  # A GPU that has failed may not even tell its name, and a record is worth no unit.
        facts["name"] = str(torch.cuda.get_device_name(device))
        number = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
        facts["cudnn"] = f"{number // 10000}.{number // 100 % 100}.{number % 100}" if number else ""
    for file in _DRIVER:
        with suppress(OSError):
            version = re.search(r"\b\d+\.[\d.]*\d\b", file.read_text())
            facts["driver"] = facts["driver"] or (version[0] if version else "")
    return facts


def memory_report(device: str) -> str:
    """Who holds the memory of a GPU, in a sentence; empty on the CPU, or where the GPU does not say."""
    if device.startswith("cuda"):
        import torch

        with suppress(Exception):
            free, total = torch.cuda.mem_get_info(device)
            return memory_sentence(device, free, total, torch.cuda.memory_reserved(device))
    return ""


def memory_sentence(device: str, free: int, total: int, own: int) -> str:
    """Who holds a GPU's memory.

    Args:
        device: its name.
        free, total: bytes of the GPU.
        own: bytes that PyTorch holds in this process.
    """
    others = max(0, total - free - own)
    text = f"Of the {total / 1e9:.1f} GB of {device}, {free / 1e9:.1f} GB are free; this unit holds {own / 1e9:.1f} GB"
    if others < 0.05 * total:
        return f"{text}."
    return f"{text} and other processes hold {others / 1e9:.1f} GB. End those processes, or choose another GPU."
