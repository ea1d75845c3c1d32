"""Leases on units, so that two runs on one store do not compute the same unit: numbered files and heartbeats.

A lease on an address is the file ``leases/ADDRESS/N``, created exclusively; it contains the name of the run. The
highest number is valid. A run shows that it is alive by updating its heartbeat ``leases/runs/RUN``. A lease has expired
if the process of its run has ended (on the same machine), or if the heartbeat has not changed for ``patience`` seconds
by the observer's clock; then the next number may be taken. A run that lost a lease detects it before the commit
(:func:`confirm`).
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
"""A lease: its file and the content of that file."""


class Leases:
    """The leases of one run.

    Args:
        store: the store's folder.
        patience: seconds without a heartbeat after which a run's leases have expired.

    Attributes:
        run: the run's name: its process and a random part.
        beat: the heartbeat file, which is created with the first lease and removed at the end.
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
        """Remove leases and heartbeats of runs whose process has ended."""
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
        """Release a lease."""
        mine = self._files.pop(address, None)
        if mine is not None:
            with contextlib.suppress(OSError):
                if mine.read_text(encoding="utf-8") == self.run:
                    mine.unlink()
                mine.parent.rmdir()

    def close(self) -> None:
        """Release all leases and stop the heartbeat."""
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
            # While the disk is full, only the heartbeat is missing.
            with contextlib.suppress(OSError):
                self.beat.write_text(str(count), encoding="utf-8")


def confirm(lease: Lease | None) -> None:
    """Check a lease before the commit of the artefact that was computed under it.

    Raises:
        LeaseLostError: another run has taken the unit over.
    """
    if lease is None:
        return
    file, holder = Path(lease[0]), lease[1]
    if _top(file.parent) != (int(file.name), holder):
        raise LeaseLostError(
            "another run has taken over this unit, because the heartbeat of this run was missing for too long",
            where=str(file.parent),
        )


def _top(folder: Path) -> tuple[int, str]:
    """The valid lease on an address: its number and content; 0 if there is none."""
    while True:
        try:
            number = max((int(name) for name in os.listdir(folder) if name.isdigit()), default=0)
        except FileNotFoundError:
            return 0, ""
        with contextlib.suppress(FileNotFoundError):
            return number, (folder / str(number)).read_text(encoding="utf-8") if number else ""


def held(store: Path, patience: float) -> set[str]:
    """The addresses leased by runs that may be alive: their heartbeat is at most ``patience`` seconds old.

    Unlike a run that waits for a lease, this compares the clocks of machines, so ``patience`` must be generous.
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
    """Whether a run has ended, by its name and its heartbeat file."""
    return is_gone(run.rpartition("-")[0]) or not os.path.exists(beat)
