"""The side of mtbench: writes the slices to one file, starts the worker, reads what it wrote."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mtbench

# Imported for its path, and because mtbench takes the code of a plugin from its imports: an edit of the worker then
# gives other keys.
from mtbench_own_environment import worker

WHERE = "translator 'own-environment'"


class OwnEnvironment:
    """The translator ``own-environment``; the parameters are described in its declaration."""

    def __init__(self, name: str, python: str, revision: str, noise: float, timeout: float) -> None:
        self.python, self.noise, self.timeout = python, noise, timeout

    def translate_all(self, images: mtbench.ImageSet, context: mtbench.Context) -> Iterator[NDArray[np.float32]]:
        """float32, H x W in [0, 1], for each slice in order: the model is loaded once for all of them.

        Raises:
            PluginError: the worker cannot be started, fails, takes too long or writes another shape.
        """
        if not len(images):
            return
        with tempfile.TemporaryDirectory(dir=context.scratch) as name:
            folder = Path(name)
            stack = np.lib.format.open_memmap(folder / "source.npy", "w+", np.float32, (len(images), *images.size))
            for index in range(len(images)):
                stack[index] = images.floats([index])[0, 0]
            stack.flush()
            # One seed for each slice, from its id: a slice gets the same noise in any selection of slices.
            seeds = [context.rng("own-environment", each.slice_id).integers(2**32) for each in images.slices]
            np.save(folder / "seeds.npy", np.array(seeds, np.uint64))
            self._run(folder, context)
            result = np.load(folder / "translated.npy", mmap_mode="r")
            if result.shape != stack.shape:
                raise mtbench.PluginError(
                    f"the worker wrote {result.shape}", where=WHERE, expected=f"one image for each slice: {stack.shape}"
                )
            for image in result:
                yield np.array(image, np.float32)

    def _run(self, folder: Path, context: mtbench.Context) -> None:
        # -I: nothing of this environment (PYTHONPATH, user site) reaches the other one.
        command = [self.python, "-I", worker.__file__, str(folder), "--device", context.device]
        variables = {**os.environ, "OMP_NUM_THREADS": str(context.threads)}
        try:
            done = subprocess.run(
                [*command, "--noise", str(self.noise)],
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self.timeout,
                check=False,
            )
        except OSError as error:
            raise mtbench.PluginError(
                f"'{self.python}' cannot be started: {error.strerror}", where=WHERE, expected="a Python interpreter"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise mtbench.PluginError(
                f"the worker was stopped after {self.timeout:g} s", where=WHERE, remedy="Raise its timeout"
            ) from error
        if done.returncode:
            raise mtbench.PluginError(
                f"the worker ended with code {done.returncode}", where=WHERE, remedy=f"It wrote: {done.stderr[-2000:]}"
            )
