"""Devices: the meaning of a device name, the available GPUs, and the properties of the current one."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError

_DRIVER = (Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version"))
"""The file in which Linux names the loaded NVIDIA driver."""


def check_device(name: str) -> None:
    """Refuse invalid device names without checking this machine, because another one may do the work.

    Raises:
        RequestError: it is neither "cpu" nor a GPU of CUDA.
    """
    if re.fullmatch(r"(mps|xpu)(:[0-9]+)?", name):
        raise RequestError(
            f"the device '{name}' is not supported: mtbench supports CPUs and CUDA only",
            where="--device",
            expected="cpu, cuda, cuda:1, ...",
        )
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9][0-9]*))?", name):
        raise RequestError(f"unknown device '{name}'", where="--device", expected="cpu, cuda, cuda:1, ...")


def resolve_device(name: str | None) -> str:
    """The device ``name`` with its number; without a name "cuda:0" if there is a GPU, "cpu" otherwise.

    Raises:
        RequestError: it is not a device, or a GPU that this machine does not have.
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
    """The numbers of the GPUs that a device stands for, out of ``count``: "cuda:1" one, "cuda" all of them.

    Raises:
        RequestError: there are fewer.
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
        f"this machine has no GPU '{name}': {visible_count} visible to PyTorch{limited}",
        where="--device",
        expected=alternatives if count else "cpu",
    )


def gpu_names(name: str, count: int, visible: str | None) -> list[str]:
    """The GPUs that a device stands for, as values of CUDA_VISIBLE_DEVICES for processes with one GPU each.

    Only GPUs in ``visible``, and by the names it uses: numbers of the machine, UUIDs, parts of GPUs.

    Args:
        name: "cuda" or "cuda:1", counted among the visible ones; "cpu" stands for none.
        count: the number that PyTorch sees.
        visible: CUDA_VISIBLE_DEVICES of this process; ``None`` if it is not set.

    Raises:
        RequestError: there are fewer.
    """
    if name == "cpu":
        return []
    names = [each.strip() for each in visible.split(",")] if visible else [str(number) for number in range(count)]
    return [names[number] for number in gpu_numbers(name, count)]


def peak_memory_mb(device: str) -> float:
    """The peak memory of this process: of the GPU if it runs on one, else of the machine."""
    if not device.startswith("cuda"):
        return host_memory_mb()
    import torch

    return float(torch.cuda.max_memory_allocated(device)) / 2**20


def host_memory_mb() -> float:
    """The peak memory of this process on the machine."""
    import resource

    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)


def forget_peak() -> None:
    """Restart the count of a GPU's peak memory, so that a unit does not include earlier units in the same process."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)


def describe_gpu(device: str) -> dict[str, str]:
    """``name``, ``driver``, ``cuda`` and ``cudnn`` of the current GPU, for the record; empty on the CPU."""
    if not device.startswith("cuda"):
        return {}
    import torch

    facts = {"name": "", "driver": "", "cuda": torch.version.cuda or f"ROCm {torch.version.hip}", "cudnn": ""}
    with suppress(Exception):  # A failed GPU may not even report its name, and the record must not fail the unit.
        facts["name"] = str(torch.cuda.get_device_name(device))
        number = torch.backends.cudnn.version() or 0  # type: ignore[no-untyped-call]
        facts["cudnn"] = f"{number // 10000}.{number // 100 % 100}.{number % 100}" if number else ""
    for file in _DRIVER:
        with suppress(OSError):
            version = re.search(r"\b\d+\.[\d.]*\d\b", file.read_text())
            facts["driver"] = facts["driver"] or (version[0] if version else "")
    return facts


def memory_report(device: str) -> str:
    """A sentence on the use of a GPU's memory; empty on the CPU, or if the GPU does not report it."""
    if device.startswith("cuda"):
        import torch

        with suppress(Exception):
            free, total = torch.cuda.mem_get_info(device)
            return memory_sentence(device, free, total, torch.cuda.memory_reserved(device))
    return ""


def memory_sentence(device: str, free: int, total: int, own: int) -> str:
    """The use of a GPU's memory.

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
