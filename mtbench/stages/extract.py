"""extract: features of an image set, computed once and shared by all metrics and suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mtbench.compute.context import Context
from mtbench.compute.inference import in_batches
from mtbench.compute.placement import placed_by
from mtbench.data import ImageSet
from mtbench.errors import PluginError
from mtbench.registry.contracts import Extractor, Trainable, WeightsRecord
from mtbench.registry.registry import Registration
from mtbench.registry.specs import ExtractorSpec, SegmenterSpec
from mtbench.stages.table import ImageOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray


def run(
    work: Work[ImageOptions, Registration[ExtractorSpec] | Registration[SegmenterSpec]], folder: Path
) -> dict[str, Any]:
    """Write one ``NAME.npy`` for each array of the extractor, or of a segmenter that offers features."""
    images = work.images(work.options.candidate, "images")
    extractor = work.registration.create(work.unit.arguments)
    assert isinstance(extractor, Extractor)  # by the requirements of its spec
    if "fit" in work.inputs:
        assert isinstance(extractor, Trainable)
        extractor.load(work.inputs["fit"].path)
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
        PluginError: the extractor's output does not match its spec.
    """
    import torch

    shapes: dict[str, tuple[int, ...]] = {}

    def step(rows: range, source: torch.Tensor) -> dict[str, torch.Tensor]:
        with placed_by(blame, context.device):
            features = extractor.extract(source, context)
        _check(features, names, rows, shapes, blame)
        blocks = {name: values.float() for name, values in features.items()}
        # Infinite values give NaN here; isfinite() takes five times as long on a CPU.
        finite = {f"{name} is finite": (block * 0).sum() == 0 for name, block in blocks.items()}
        return blocks | finite

    with ExitStack() as files:
        arrays: dict[str, GrowingArray] = {}
        for rows, results in in_batches(images, context, step):
            for name in names:
                block = results[name]
                if not results[f"{name} is finite"]:
                    raise PluginError(
                        f"extract() returned '{name}' of shape {block.shape} with NaN or infinite values",
                        where=blame,
                        expected=f"{len(rows)} finite rows",
                    )
                if name not in arrays:
                    arrays[name] = GrowingArray(folder / f"{name}.npy", block[0])
                    files.callback(arrays[name].close)
                for row in block:
                    arrays[name].add(row)


def _check(features: Any, names: Sequence[str], rows: range, shapes: dict[str, tuple[int, ...]], blame: str) -> None:
    """Check types and shapes; a check of values would have to wait for the GPU."""
    import torch

    if not isinstance(features, Mapping) or set(features) != set(names):
        is_dictionary = isinstance(features, Mapping)
        gave = ", ".join(sorted(map(str, features))) if is_dictionary else type(features).__name__
        raise PluginError(
            f"extract() returned {gave or 'nothing'}", where=blame, expected="a dictionary of " + ", ".join(names)
        )
    for name, values in features.items():
        if not isinstance(values, torch.Tensor) or not values.ndim:
            raise PluginError(
                f"extract() returned '{name}' as {type(values).__name__} {values!r:.40}",
                where=blame,
                expected=f"a torch tensor of {len(rows)} rows",
            )
        shape = tuple(values.shape)
        if len(values) != len(rows):
            raise PluginError(
                f"extract() returned '{name}' of shape {shape}", where=blame, expected=f"{len(rows)} finite rows"
            )
        if shape[1:] != shapes.setdefault(name, shape[1:]):
            raise PluginError(
                f"extract() returned '{name}' with rows of shape {shape[1:]}",
                where=blame,
                expected=f"{shapes[name]}, as for the previous images",
            )
