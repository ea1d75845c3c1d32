"""What a run was made with: packages, code state, machine. Kept in the results, shown only on request."""

from __future__ import annotations

import platform
import socket
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mtbench.hashing import hash_of


@cache
def environment() -> dict[str, Any]:
    """Python, platform and every installed distribution with its version; ``id`` is their hash."""
    packages = sorted(
        {f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions() if d.metadata["Name"]},
        key=str.lower,
    )
    content = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": packages,
    }
    return {"id": hash_of(content)[:16], **content}


@cache
def git_commit() -> str:
    """The commit of the checkout that mtbench runs from, with ``+`` for local changes; empty when installed."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + ("+" if changes else "")


@cache
def host() -> str:
    """This machine's name."""
    return socket.gethostname()
