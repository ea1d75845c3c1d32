"""Slices through a translator: batched, checked, clamped, rounded to the stored depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.inference import in_batches
from mtbench.data import Batch, ImageSet, encode
from mtbench.errors import PluginError

if TYPE_CHECKING:
    import torch

    from mtbench.compute.context import Context


def translate(
    translator: Any, images: ImageSet, context: Context, *, conditional: bool, depth: str, blame: str
) -> Iterator[NDArray[Any]]:
    """What a translator makes of ``images``, in order; ``context.log`` says how many had to be clamped.

    Args:
        translator: has ``translate``, or ``translate_all`` for all slices at once; fitted or loaded.
        images: the source slices.
        context: device, batch size and so on.
        conditional: whether the translator gets the masks.
        depth: how translations are stored: "uint8", "uint16" or "float32".
        blame: whose code runs, for messages.

    Yields:
        B x H x W of dtype ``depth``, whatever B.

    Raises:
        PluginError: the translator gave another shape or number, or NaN or infinite values.
    """
    name, chunks = ("translate_all", _all) if hasattr(translator, "translate_all") else ("translate", _batched)
    position = clamped = 0
    for values in chunks(translator, images, context, conditional, blame):
        if not np.isfinite(values).all():
            bad = images.slices[position + int(np.argmax(~np.isfinite(values).all(axis=(1, 2))))]
            raise PluginError(
                f"{name}() returned NaN or infinite values for slice '{bad.slice_id}'",
                where=blame,
                expected="finite values in [0, 1]",
            )
        clamped += int(((values < -1e-6) | (values > 1 + 1e-6)).any(axis=(1, 2)).sum())
        position += len(values)
        yield encode(values, depth)
    if clamped:
        context.log.append(f"{clamped} of {len(images)} images left [0, 1] and were clamped")


def _batched(
    translator: Any, images: ImageSet, context: Context, conditional: bool, blame: str
) -> Iterator[NDArray[np.float32]]:
    import torch

    def work(chosen: range) -> dict[str, torch.Tensor]:
        rows = slice(chosen.start, chosen.stop)
        batch = Batch(
            source=images.tensor(rows, context.device),
            slices=images.slices[rows],
            masks=images.mask_tensor(rows, context.device) if conditional else None,
        )
        context.start_batch()
        result = translator.translate(batch, context)
        if not isinstance(result, torch.Tensor):
            raise PluginError(f"translate() returned {type(result).__name__}", where=blame, expected="a torch tensor")
        if tuple(result.shape) != tuple(batch.source.shape):
            raise PluginError(
                f"translate() returned shape {tuple(result.shape)}",
                where=blame,
                expected=f"{tuple(batch.source.shape)}, that of the source batch",
            )
        return {"images": result}

    for _, result in in_batches(images, context, work):
        # A copy: the translator may go on writing to its memory after the check.
        yield np.array(result["images"].float().cpu().numpy()[:, 0])


def _all(
    translator: Any, images: ImageSet, context: Context, conditional: bool, blame: str
) -> Iterator[NDArray[np.float32]]:
    count = 0
    context.start_batch()
    given = images if conditional else replace(images, masks=None)
    made: Iterable[Any] = translator.translate_all(given, context)
    for image in made:
        if count == len(images):
            raise PluginError("translate_all() yields more images than it was given", where=blame)
        values = np.array(image, np.float32)
        if values.shape != images.size:
            raise PluginError(
                f"translate_all() yielded shape {values.shape} for slice '{images.slices[count].slice_id}'",
                where=blame,
                expected=f"{images.size}, height and width of the source slice",
            )
        count += 1
        yield values[None]
    if count != len(images):
        raise PluginError(
            f"translate_all() yielded {count} images", where=blame, expected=f"{len(images)}, one for each slice"
        )
