"""The network of a TorchScript file between mtbench's images and its own."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.nn import functional

import mtbench


class TorchScript:
    """The translator ``torchscript``; the parameters are described in its declaration.

    Raises:
        WeightsError: no file is named, or it is not TorchScript.
    """

    def __init__(self, file: str | None, signed: bool, multiple: int) -> None:
        where = "translator 'torchscript'"
        if file is None:
            raise mtbench.WeightsError("no file is named", where=where, remedy="Write torchscript:file=FILE")
        try:
            with warnings.catch_warnings():
                # PyTorch advises torch.export for new files; the user of an existing file has no choice.
                warnings.filterwarnings("ignore", r".*torch\.jit\.load", FutureWarning)
                self.network = torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise mtbench.WeightsError(
                f"{file} is not a TorchScript file",
                where=where,
                expected="a file written by torch.jit.save; for a state_dict use `mtbench new --wrap checkpoint`",
            ) from error
        self.signed, self.multiple = signed, multiple

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Tensor:
        """float32, B x 1 x H x W in [0, 1], of source slices of the same shape and range."""
        network = self.network.to(batch.source.device)
        height, width = batch.source.shape[2:]
        padding = (0, -width % self.multiple, 0, -height % self.multiple)
        images = functional.pad(batch.source, padding, mode="replicate")
        with context.autocast():
            result: Tensor = network(images * 2 - 1 if self.signed else images)
        result = result.float()[..., :height, :width]
        return ((result + 1) / 2 if self.signed else result).clamp(0, 1)
