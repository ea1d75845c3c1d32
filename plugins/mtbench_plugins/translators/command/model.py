"""A program as a translator."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet
from mtbench_plugins.translators.command import exchange
from mtbench_plugins.translators.command.placeholders import arguments, placeholders_in
from mtbench_plugins.translators.command.process import run, tail


class Command:
    """Writes all slices to a folder, runs the program once, and reads the translations from another folder.

    Args:
        name: of the ``[commands.NAME]`` table, if any.
        run: the command line.
        env: variables to set.
        format: "auto", "png", "npy" or "nifti".
        timeout: seconds.
        revision: of the program; only changes the key.
    """

    def __init__(
        self, name: str | None, run: str, env: dict[str, str], format: str, timeout: float, revision: str
    ) -> None:
        self._command = run
        self._env = env
        self._format = format
        self._timeout = timeout
        self._label = f"translator 'command'{f' ({name})' if name else ''}"

    def translate_all(self, images: ImageSet, context: Context) -> Iterator[NDArray[np.float32]]:
        """H x W in [0, 1], for each slice in order.

        Raises:
            PluginError: the program cannot be started, fails or takes too long.
            DataError: its output is incomplete or cannot be used.
        """
        folder = Path(tempfile.mkdtemp(prefix="command-", dir=context.scratch))
        try:
            yield from self._translate(images, context, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _translate(self, images: ImageSet, context: Context, folder: Path) -> Iterator[NDArray[np.float32]]:
        form = self._format
        if form == "auto":
            form = "npy" if images.images.dtype.kind == "f" else "png"
        inputs, outputs, log = folder / "input", folder / "output", folder / "printed.txt"
        exchange.write(images.images, images.slices, inputs, form)
        outputs.mkdir()
        values: dict[str, Any] = {"input": inputs, "output": outputs, "device": context.device, "seed": context.seed}
        if "masks" in placeholders_in(self._command):
            if images.masks is None:
                raise DataError("the program needs masks, and there are none", where=self._label)
            values["masks"] = folder / "masks"
            exchange.write(images.masks, images.slices, folder / "masks", form)
        run(
            arguments(self._command, {key: str(value) for key, value in values.items()}),
            env={"OMP_NUM_THREADS": str(context.threads), **self._env},
            timeout=self._timeout,
            log=log,
            where=self._label,
            watch=lambda: context.progress(sum(1 for _ in outputs.iterdir()), len(images), {}),
        )
        yield from exchange.read_back(images, outputs, form, self._label, lambda: tail(log))
