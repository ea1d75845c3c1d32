"""The environment of a run: packages, code version, machine. Recorded in the results, shown only on request."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from mtbench.hashing import hash_of
from mtbench.typed import Record


@dataclass(frozen=True)
class Environment(Record):
    """Python, platform, every installed distribution with its version, and the GPU; ``id`` is their hash.

    ``gpu`` holds ``name``, ``driver``, ``cuda`` and ``cudnn``; it is empty for a CPU.
    """

    id: str = ""
    python: str = ""
    platform: str = ""
    machine: str = ""
    packages: tuple[str, ...] = ()
    gpu: Mapping[str, str] = field(default_factory=dict)


def environment(gpu: Mapping[str, str] | None = None) -> Environment:
    """The environment of this process, with the GPU of a unit, which may be another machine's."""
    about = replace(_here(), gpu=dict(gpu or {}))
    return replace(about, id=environment_id(vars(about)))


def environment_id(content: Mapping[str, object]) -> str:
    """The name of an environment: the hash of its file's content, without this name and without an empty GPU."""
    return hash_of({name: value for name, value in content.items() if name != "id" and (value or name != "gpu")})[:16]


@cache
def _here() -> Environment:
    packages = sorted(
        {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions() if d.metadata["Name"]},
        key=str.lower,
    )
    return Environment("", platform.python_version(), platform.platform(), platform.machine(), tuple(packages))


@cache
def git_commit() -> str:
    """The commit of the checkout that mtbench runs from, with ``+`` for local changes; empty when installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        commit, changes = (
            subprocess.check_output(
                ["git", "-C", str(root), *words], stderr=subprocess.DEVNULL, text=True, timeout=10
            ).strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + ("+" if changes else "")
