"""Slices out as NIfTI files, label maps in, and the program's values as labels of the task."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import mtbench
from mtbench.data import Task

WHERE = "segmenter 'segmenter-command'"


class SegmenterCommand:
    """The segmenter ``segmenter-command``; the parameters are described in its declaration.

    The program is trained already. ``fit`` only matches its values with the labels of the task, so every row is judged
    by the same program, whatever it was trained on.
    """

    def __init__(
        self, name: str, run: str, labels: Mapping[str, Any], channel: str, revision: str, timeout: float
    ) -> None:
        self.command, self.labels, self.channel, self.timeout = shlex.split(run), labels, channel, timeout
        self.values: dict[int, int] = {}

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        """Match values with labels; no image is read.

        Raises:
            DataError: a label of the task has no value, or a value belongs to no label of the task.
        """
        self.values = _match(self.labels, data.task)

    def save(self, folder: Path) -> None:
        """Write the values."""
        (folder / "values.json").write_text(json.dumps(self.values))

    def load(self, folder: Path) -> None:
        """Read the values."""
        self.values = {int(key): value for key, value in json.loads((folder / "values.json").read_text()).items()}

    def segment(self, images: Tensor, context: mtbench.Context) -> Tensor:
        """Labels of the task, int64, B x H x W, of images float32, B x 1 x H x W in [0, 1].

        Values without a label become 0. The program runs once for each batch.

        Raises:
            PluginError: the program cannot be started, fails, takes too long, or leaves a label map out.
        """
        import nibabel

        with tempfile.TemporaryDirectory(dir=context.scratch) as name:
            inputs, outputs = Path(name, "input"), Path(name, "output")
            inputs.mkdir()
            outputs.mkdir()
            for index, image in enumerate(images[:, 0].float().cpu().numpy()):
                # Columns, rows, one slice: NIfTI's order. Slices come without their records, so the pixels are 1 mm.
                file = inputs / f"{index:05d}{self.channel}.nii.gz"
                nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(image.T[..., None]), np.eye(4)), file)
            self._run(inputs, outputs, context)
            maps = [self._labels(outputs / f"{index:05d}.nii.gz", images.shape[2:]) for index in range(len(images))]
        return torch.from_numpy(np.stack(maps)).to(images.device)

    def _labels(self, file: Path, size: tuple[int, ...]) -> NDArray[np.int64]:
        import nibabel

        if not file.is_file():
            raise mtbench.PluginError(
                f"the program wrote no {file.name}", where=WHERE, expected="a label map of the name of each input"
            )
        found = np.asarray(nibabel.load(file).dataobj)[..., 0].T
        if found.shape != size:
            raise mtbench.PluginError(
                f"the program wrote {file.name} of {found.shape}", where=WHERE, expected=f"{size}, as its input"
            )
        result = np.zeros(found.shape, np.int64)
        for value, label in self.values.items():
            result[found == value] = label
        return result

    def _run(self, inputs: Path, outputs: Path, context: mtbench.Context) -> None:
        names = {"{input}": str(inputs), "{output}": str(outputs), "{device}": context.device.partition(":")[0]}
        # Split before it is filled in, so that a blank in a path makes no new argument.
        command = [re.sub(r"\{\w+\}", lambda match: names.get(match[0], match[0]), part) for part in self.command]
        variables = {**os.environ, "OMP_NUM_THREADS": str(context.threads)}
        try:
            done = subprocess.run(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.timeout,
                check=False,
            )
        except OSError as error:
            raise mtbench.PluginError(
                f"'{command[0]}' cannot be started: {error.strerror}", where=WHERE, expected="a program in PATH"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise mtbench.PluginError(
                f"the program was stopped after {self.timeout:g} s", where=WHERE, remedy="Raise its timeout"
            ) from error
        if done.returncode:
            raise mtbench.PluginError(
                f"the program ended with code {done.returncode}",
                where=WHERE,
                remedy=f"It wrote: {done.stdout[-2000:].decode(errors='replace')}",
            )


def _match(labels: Mapping[str, Any], task: Task) -> dict[int, int]:
    """Value of the program to label of the task; without ``labels``, the values are those of the task."""
    if not labels:
        return {value: value for value in task.labels}
    names = {name: value for value, name in task.labels.items()}
    if set(labels) != set(names):
        raise mtbench.DataError(
            f"labels names {', '.join(labels)}", where=WHERE, expected=f"all labels of the task: {', '.join(names)}"
        )
    pairs = [
        (int(value), names[name])
        for name, values in labels.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return dict(pairs)
