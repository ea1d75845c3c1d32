"""extract: features of an image set, computed once and shared by every metric and suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches
from mtbench.data import ImageSet
from mtbench.errors import PluginError
from mtbench.registry.contracts import Extractor, WeightsRecord
from mtbench.registry.registry import Registration
from mtbench.registry.specs import ExtractorSpec
from mtbench.stages.table import ImageOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray


def run(work: Work[ImageOptions, Registration[ExtractorSpec]], folder: Path) -> dict[str, Any]:
    """Write one ``NAME.npy`` for each array of the extractor."""
    images = work.images(work.options.candidate, "images")
    extractor = work.registration.create(work.unit.arguments)
    extract(images, extractor, work.registration.spec.arrays, work.context, folder, work.registration.blame)
    return {
        "images": len(images),
        "weights_sha256": extractor.weights_sha256 if isinstance(extractor, WeightsRecord) else "",
    }


def extract(
    images: ImageSet, extractor: Extractor, names: Sequence[str], context: Context, folder: Path, blame: str
) -> None:
    """Write one ``NAME.npy`` for each array of the extractor, float32, first axis in the order of the slices.

    Raises:
        PluginError: the extractor does not give what its spec promises.
    """
    import torch

    with ExitStack() as files:
        arrays: dict[str, GrowingArray] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for batch, features in in_batches(images, context, images.tensor, extractor.extract):
            if not isinstance(features, Mapping) or set(features) != set(names):
                is_dictionary = isinstance(features, Mapping)
                gave = ", ".join(sorted(map(str, features))) if is_dictionary else type(features).__name__
                raise PluginError(
                    f"extract() gave {gave or 'nothing'}", where=blame, expected="a dictionary of " + ", ".join(names)
                )
            for name, values in features.items():
                if not isinstance(values, torch.Tensor) or not values.ndim:
                    raise PluginError(
                        f"extract() gave '{name}' as {type(values).__name__} {values!r:.40}",
                        where=blame,
                        expected=f"a torch tensor of {len(batch)} rows",
                    )
                block = values.float().cpu().numpy()
                finite = bool(np.isfinite(block).all())
                if len(block) != len(batch) or not finite:
                    raise PluginError(
                        f"extract() gave '{name}' of shape {block.shape}" + ("" if finite else " with NaN"),
                        where=blame,
                        expected=f"{len(batch)} finite rows",
                    )
                if name not in arrays:
                    arrays[name] = GrowingArray(folder / f"{name}.npy", block[0])
                    shapes[name] = block.shape[1:]
                    files.callback(arrays[name].close)
                if block.shape[1:] != shapes[name]:
                    raise PluginError(
                        f"extract() gave '{name}' with rows of shape {block.shape[1:]}",
                        where=blame,
                        expected=f"{shapes[name]}, as for the images before",
                    )
                for row in block:
                    arrays[name].add(row)
