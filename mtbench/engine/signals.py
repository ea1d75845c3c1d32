"""The first Ctrl-C finishes the running units, the second stops at once; SIGTERM stops at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from mtbench.errors import Terminated


@contextlib.contextmanager
def interrupts(finish: Callable[[], None]) -> Iterator[None]:
    """Within the block, the first SIGINT calls ``finish``; a second one, or SIGTERM, raises at once.

    Outside the main thread, where signals cannot be caught, this has no effect.

    Raises:
        KeyboardInterrupt: at the second SIGINT.
        Terminated: at SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopping = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise KeyboardInterrupt
        stopping = True
        finish()

    def terminate(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise Terminated

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
