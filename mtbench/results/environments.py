"""The environment in which a unit was computed: code, packages, device, machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtbench.errors import DamagedError
from mtbench.hashing import hash_of
from mtbench.jsontext import LARGEST, parse
from mtbench.results.entries import Attempt
from mtbench.results.provenance import Environment, environment_id
from mtbench.store.files import read_regular


@dataclass(frozen=True)
class Provenance:
    """The environment in which a unit was computed, as far as a results directory records it.

    Attributes:
        folder: the results directory.
        environment: the id of Python, platform and packages.
        python, platform: of that environment.
        packages: name to version.
        plugins: distribution to version, for the plugins that took part.
        git_commit: of the checkout, with "+" for local changes.
        gpu: name, driver, CUDA and cuDNN; empty on the CPU.
        device, host, started, seconds, peak_memory_mb, host_memory_mb: of the attempt that computed it.
    """

    folder: str
    environment: str = ""
    python: str = ""
    platform: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    gpu: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    host: str = ""
    started: str = ""
    seconds: float | None = None
    peak_memory_mb: float | None = None
    host_memory_mb: float | None = None

    def summary(self) -> str:
        """A summary in one line."""
        parts = [
            f"Python {self.python}" if self.python else "",
            self.platform,
            f"on {gpu_text(self.gpu) or self.device}" if self.device else "",
            f"mtbench {self.plugins['mtbench']}" if "mtbench" in self.plugins else "",
            f"commit {self.git_commit[:10]}{'+' * self.git_commit.endswith('+')}" if self.git_commit else "",
            f"environment {self.environment}" if self.environment else "environment unknown",
        ]
        return ", ".join(filter(None, parts))

    def differences(self, other: Provenance) -> list[str]:
        """Packages that differ: ``numpy 1.26.4 / 2.1.0``."""
        names = sorted({*self.packages, *other.packages})
        return [
            f"{name} {self.packages.get(name, 'absent')} / {other.packages.get(name, 'absent')}"
            for name in names
            if self.packages.get(name) != other.packages.get(name)
        ]


def provenance_of(folder: Path, attempts: Sequence[Attempt]) -> Provenance:
    """The provenance of a unit: of its last attempt that computed it or reused it."""
    good = [a for a in attempts if a.status == "ok"] or [a for a in attempts if a.good]
    if not good and not attempts:
        return Provenance(str(folder))
    last = (good or list(attempts))[-1]
    about = environment(folder, last.environment_id)
    packages = (text.partition("==") for text in about.packages)
    return Provenance(
        folder=str(folder),
        environment=last.environment_id,
        python=about.python,
        platform=about.platform,
        packages={name: version for name, _, version in packages},
        plugins=json.loads(last.plugins or "{}"),
        git_commit=last.git_commit,
        gpu=about.gpu,
        device=last.device,
        host=last.host,
        started=last.started,
        seconds=last.seconds,
        peak_memory_mb=last.peak_memory_mb,
        host_memory_mb=last.host_memory_mb,
    )


def gpu_text(gpu: Mapping[str, str]) -> str:
    """A GPU as text: "NVIDIA H100, driver 580.65, CUDA 13.0, cuDNN 9.13.0"; empty without one."""
    words = {"driver": "driver", "cuda": "CUDA", "cudnn": "cuDNN"}
    parts = [f"{word} {gpu[name]}" for name, word in words.items() if gpu.get(name)]
    return ", ".join([gpu.get("name") or "a GPU", *parts]) if gpu else ""


def environment(folder: Path, name: str) -> Environment:
    """The description of an environment in a results directory; empty if there is none.

    Raises:
        StoreError: the file is a link, a pipe or a device.
    """
    try:
        return Environment.from_json(parse(read_regular(folder / environment_file(name), LARGEST)))
    except (OSError, ValueError):
        return Environment()


def environment_file(name: str) -> str:
    """The name of the file that describes an environment."""
    return f"environment-{Path(name).name}.json"


def suite_file(text: bytes) -> str:
    """The name of the copy of a suite."""
    return f"suite-{hash_of(text.decode(errors='replace'))[:8]}.toml"


def copies(folder: Path) -> list[Path]:
    """The files beside a journal that describe environments and hold suites."""
    return [file for pattern in ("environment-*.json", "suite-*.toml") for file in sorted(folder.glob(pattern))]


def read_copy(path: Path) -> bytes:
    """The content of such a file.

    Raises:
        DamagedError: its content does not match the hash in its name.
        StoreError: it is a link, a pipe or a device, or too large.
    """
    content = read_regular(path, LARGEST)
    expected = suite_file(content)
    if path.suffix == ".json":
        try:
            expected = environment_file(environment_id(parse(content)))
        except (ValueError, AttributeError):
            expected = ""
    if path.name != expected:
        raise DamagedError(
            "the file has changed since it was written: its name is a hash of its content",
            where=str(path),
            remedy="Restore it from a copy, or delete it; no score depends on it",
        )
    return content
