"""What a run was made with: packages, code state, machine. Kept in the results, shown only on request."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from mtbench.hashing import hash_of


@dataclass(frozen=True)
class Environment:
    """Python, platform and every installed distribution with its version; ``id`` is their hash."""

    id: str
    python: str
    platform: str
    machine: str
    packages: list[str]


@cache
def environment() -> Environment:
    """That of this process."""
    packages = sorted(
        {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions() if d.metadata["Name"]},
        key=str.lower,
    )
    about = Environment("", platform.python_version(), platform.platform(), platform.machine(), packages)
    content = {name: value for name, value in vars(about).items() if name != "id"}
    return replace(about, id=hash_of(content)[:16])


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
