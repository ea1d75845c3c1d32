"""Leases on units, so that two runs on one store do not do the same work: numbered files and heartbeats, no server.

A lease on an address is the file ``leases/ADDRESS/N``, made exclusively; it holds the name of the run. The highest
number owns. A run shows that it is alive by changing ``leases/runs/RUN``. A lease has lapsed when its run's process
is known to be gone (same machine), or when that file has not changed for ``patience`` seconds of the observer's own
clock; then the next number may be taken. Whoever lost a lease finds out before the commit, see :func:`confirm`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path

from mtbench.errors import LeaseLostError
from mtbench.store.files import telling
from mtbench.store.owner import is_gone, owner

PATIENCE = 180.0
Lease = tuple[str, str]
"""A lease: its file, and what stands in it."""


class Leases:
    """The leases of one run.

    Args:
        store: the store's folder.
        patience: seconds after which a silent run's leases have lapsed.

    Attributes:
        run: the run's name: its process, and something of its own.
        beat: the file that shows that it is alive; it is made with the first lease and removed at the end.
    """

    def __init__(self, store: Path, patience: float = PATIENCE) -> None:
        self.run = f"{owner()}-{secrets.token_hex(4)}"
        self._root = store / "leases"
        self.beat = self._root / "runs" / self.run
        self._patience = patience
        self._files: dict[str, Path] = {}
        self._signs: dict[str, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def sweep(self) -> None:
        """Remove leases and signs of life of runs whose process is known to be gone."""
        for file in list(self._root.glob("*/*")):
            with contextlib.suppress(OSError):
                holder = file.name if file.parent.name == "runs" else file.read_text(encoding="utf-8")
                if is_gone(holder.rpartition("-")[0]):
                    file.unlink(missing_ok=True)
                    if file.parent.name != "runs":
                        file.parent.rmdir()

    def take(self, address: str) -> Lease | None:
        """Lease an address, or ``None`` while another run holds it."""
        folder = self._root / address
        while True:
            number, holder = _top(folder)
            if number and not self._has_lapsed(holder, folder / str(number)):
                return None
            with telling(folder):
                if self._thread is None:
                    self.beat.parent.mkdir(parents=True, exist_ok=True)
                    self.beat.write_text("0", encoding="utf-8")
                    self._thread = threading.Thread(target=self._go_on_beating, daemon=True)
                    self._thread.start()
                folder.mkdir(parents=True, exist_ok=True)
                mine = folder / str(number + 1)
                try:
                    with mine.open("x", encoding="utf-8") as file:
                        file.write(self.run)
                except (FileExistsError, FileNotFoundError):
                    continue
            for old in folder.iterdir():
                if old.name.isdigit() and int(old.name) <= number:
                    old.unlink(missing_ok=True)
            self._files[address] = mine
            return str(mine), self.run

    def release(self, address: str) -> None:
        """Give a lease back."""
        mine = self._files.pop(address, None)
        if mine is not None:
            with contextlib.suppress(OSError):
                if mine.read_text(encoding="utf-8") == self.run:
                    mine.unlink()
                mine.parent.rmdir()

    def close(self) -> None:
        """Give everything back and fall silent."""
        for address in list(self._files):
            self.release(address)
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            with contextlib.suppress(OSError):
                self.beat.unlink(missing_ok=True)

    def _has_lapsed(self, holder: str, file: Path) -> bool:
        now = time.monotonic()
        silent = is_gone(holder.rpartition("-")[0])
        if not silent:
            sign = f"{holder} "
            with contextlib.suppress(FileNotFoundError):
                sign += (self._root / "runs" / holder).read_text(encoding="utf-8") if holder else ""
            last, since = self._signs.get(str(file), ("", now))
            if last != sign:
                self._signs[str(file)] = (sign, now)
            silent = last == sign and now - since >= self._patience
        if silent and holder:
            with contextlib.suppress(OSError):
                (self._root / "runs" / holder).unlink(missing_ok=True)
        return silent

    def _go_on_beating(self) -> None:
        count = 0
        while not self._stop.wait(self._patience / 6):
            count += 1
            # A disk that is full for a while only makes this run look silent.
            with contextlib.suppress(OSError):
                self.beat.write_text(str(count), encoding="utf-8")


def confirm(lease: Lease | None) -> None:
    """Look at a lease once more before what was made under it is committed.

    Raises:
        LeaseLostError: another run has taken the unit over.
    """
    if lease is None:
        return
    file, holder = Path(lease[0]), lease[1]
    if _top(file.parent) != (int(file.name), holder):
        raise LeaseLostError(
            "another run took this unit over, since this one had shown no sign of life for too long",
            where=str(file.parent),
        )


def _top(folder: Path) -> tuple[int, str]:
    """The lease that owns an address: its number, and what stands in it; 0 where there is none."""
    while True:
        try:
            number = max((int(name) for name in os.listdir(folder) if name.isdigit()), default=0)
        except FileNotFoundError:
            return 0, ""
        with contextlib.suppress(FileNotFoundError):
            return number, (folder / str(number)).read_text(encoding="utf-8") if number else ""


def held(store: Path, patience: float) -> set[str]:
    """The addresses that a run holds which may be alive: it has beaten within ``patience`` seconds.

    Unlike a run that waits for a lease this trusts the clocks of the machines, so ``patience`` has to be generous.
    """
    addresses = set()
    for folder in (store / "leases").glob("*"):
        if folder.name != "runs" and folder.is_dir():
            _, run = _top(folder)
            with contextlib.suppress(OSError):
                beat = store / "leases" / "runs" / run
                if run and not over(run, beat) and time.time() - beat.stat().st_mtime < patience:
                    addresses.add(folder.name)
    return addresses


def over(run: str, beat: Path) -> bool:
    """Whether a run has ended, by its name and the file that it shows its life with."""
    return is_gone(run.rpartition("-")[0]) or not os.path.exists(beat)
