"""A plugin file: one translator that does harm in the way that ``does`` names. The images, where any, are its input."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import mtbench


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    yield mtbench.TranslatorSpec("hostile", ":Hostile", params={"does": "nothing"}, shorthand="does")


class Quit(BaseException):
    """No Exception."""


class Hostile:
    def __init__(self, does: str) -> None:
        self.does = getattr(self, does.replace("-", "_"))
        self.buffer: Any = None

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        output = self.does(batch, context)
        return batch.source if output is None else output

    def nothing(self, batch: Any, context: Any) -> None:
        """Its work only."""

    # -- it does not come back

    def hang(self, batch: Any, context: Any) -> None:
        time.sleep(600)

    def deaf(self, batch: Any, context: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(1)

    def stop(self, batch: Any, context: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def segfault(self, batch: Any, context: Any) -> None:
        ctypes.string_at(0)

    def abort(self, batch: Any, context: Any) -> None:
        os.abort()

    def exit(self, batch: Any, context: Any) -> None:
        os._exit(3)

    def pretend(self, batch: Any, context: Any) -> None:
        os._exit(0)

    def kill(self, batch: Any, context: Any) -> None:
        os.killpg(0, signal.SIGKILL)

    def eat(self, batch: Any, context: Any) -> None:
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * 2**24))
            time.sleep(0.005)

    # -- it raises, or gives something else

    def quit(self, batch: Any, context: Any) -> None:
        raise Quit("no more")

    def system_exit(self, batch: Any, context: Any) -> None:
        sys.exit(0)

    def interrupt(self, batch: Any, context: Any) -> None:
        raise KeyboardInterrupt

    def overflow(self, batch: Any, context: Any) -> None:
        self.overflow(batch, context)

    def shout(self, batch: Any, context: Any) -> None:
        for _ in range(40_000):
            print("shout " * 20)
        raise ValueError("hoarse")

    def huge(self, batch: Any, context: Any) -> Any:
        return batch.source.expand(len(batch.source), 100_000, *batch.source.shape[2:])

    def elsewhere(self, batch: Any, context: Any) -> Any:
        return batch.source.to("meta")

    def spoil(self, batch: Any, context: Any) -> None:
        import numpy as np

        def ruined(*arguments: Any, **named: Any) -> Any:
            raise RuntimeError("ruined")

        np.isfinite = np.load = np.save = np.mean = ruined  # type: ignore[assignment]

    def fill(self, batch: Any, context: Any) -> None:
        with (context.scratch / "full").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**16))

    def unplug(self, batch: Any, context: Any) -> None:
        os.closerange(0, 4096)

    # -- it leaves a mess, which is gone with its process

    def reuse(self, batch: Any, context: Any) -> Any:
        """The same memory for every batch."""
        if self.buffer is None:
            self.buffer = batch.source.clone()
        self.buffer[: len(batch.source)] = batch.source
        return self.buffer[: len(batch.source)]

    def change(self, batch: Any, context: Any) -> Any:
        """Memory that a thread goes on writing to."""
        import torch

        output = batch.source.clone()

        def write() -> None:
            with torch.inference_mode():
                while True:
                    output.uniform_(0, 1)

        threading.Thread(target=write, daemon=True).start()
        return output

    def patch(self, batch: Any, context: Any) -> None:
        import numpy as np

        np.mean = np.load = np.abs = lambda *arguments, **named: 0  # type: ignore[assignment]

    def seed(self, batch: Any, context: Any) -> None:
        import numpy as np
        import torch

        for each in (random, np.random):
            each.seed(1)
        torch.manual_seed(1)

    def settings(self, batch: Any, context: Any) -> None:
        import torch

        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(7)
        torch.backends.cudnn.deterministic = True
        torch.set_grad_enabled(True)
        torch.set_flush_denormal(True)

    def threads(self, batch: Any, context: Any) -> None:
        for _ in range(20):
            threading.Thread(target=time.sleep, args=(600,)).start()

    def children(self, batch: Any, context: Any) -> None:
        code = "import os,signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        code += "for _ in range(2):\n    if os.fork(): os._exit(0)\n    os.setsid()\n"
        for text in (code, "import time\n"):
            subprocess.Popen([sys.executable, "-c", text + "time.sleep(600)"])
        time.sleep(0.3)

    def litter(self, batch: Any, context: Any) -> None:
        for _ in range(50):
            tempfile.mkstemp()
            tempfile.mkdtemp()

    def sweep(self, batch: Any, context: Any) -> None:
        if context.scratch.exists():
            os.chdir(context.scratch)
            shutil.rmtree(context.scratch)
            shutil.rmtree(os.environ["TMPDIR"])

    def mute(self, batch: Any, context: Any) -> None:
        os.closerange(1, 3)

    def environment(self, batch: Any, context: Any) -> None:
        os.environ.clear()
        os.environ.update(MTBENCH_STORE="/nowhere", HOME="/nowhere", TMPDIR="/nowhere", OMP_NUM_THREADS="7")
