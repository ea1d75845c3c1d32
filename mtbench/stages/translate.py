"""translate: source slices to target slices; check, clamp, round to the stored depth, store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.inference import in_batches
from mtbench.compute.kept import weights_folder
from mtbench.compute.placement import placed_by
from mtbench.compute.weights import sha256
from mtbench.data import WHITE, Batch, ImageSet
from mtbench.errors import PluginError
from mtbench.registry.contracts import Trainable, Translator, WholeSetTranslator
from mtbench.registry.registry import Registration
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.table import TranslateOptions
from mtbench.stages.work import Work
from mtbench.store.images import GrowingArray

if TYPE_CHECKING:
    import torch

    from mtbench.compute.context import Context
    from mtbench.compute.pipeline import Arrays

LOW, HIGH = -1e-6, 1 + 1e-6
"""Values further outside [0, 1] count as clamped; nearer ones are rounding errors."""


def run(work: Work[TranslateOptions, Registration[TranslatorSpec]], folder: Path) -> dict[str, Any]:
    """Write ``images.npy``, N x H x W, in the order of the source slices.

    Raises:
        PluginError: the translator returned a wrong shape or number, or NaN or infinite values.
    """
    images = work.images(work.options.candidate)
    spec, unit, context = work.registration.spec, work.unit, work.context
    translator = work.registration.create(unit.arguments)
    fit = work.inputs.get("fit")
    if fit is not None:
        assert isinstance(translator, Trainable), "one that trains can load"
        translator.load(weights_folder(fit.path, work.options.part, unit.name))
    chunks = translate(
        translator,
        images,
        context,
        conditional=work.options.conditional,
        depth=images.images.dtype.name,
        blame=work.registration.blame,
    )
    with closing(GrowingArray(folder / "images.npy", np.zeros(images.size, images.images.dtype))) as array:
        for chunk in chunks:
            for image in chunk:
                array.add(image)
    remarks = [
        work.registration.ask(spec.note, unit.arguments),
        *(fit.info.get("remarks", ()) if fit is not None else ()),
        *context.remarks,
    ]
    files = [
        Path(unit.paths[name]) for name, param in spec.params.items() if param.kind == "path" and unit.paths.get(name)
    ]
    step = fit.info.get("steps", {}).get(str(work.options.part)) if fit is not None else None
    return {
        "images": len(images),
        **({} if step is None else {"step": step}),
        # For every row of this translator.
        "translator": {
            "note": " ".join(dict.fromkeys(filter(None, remarks))),
            "weights_sha256": ",".join(sha256(file) for file in files if file.is_file()),
        },
        "weights": sorted(set(context.weights_used)),
        "clamped": context.clamped,
    }


def translate(
    translator: Translator | WholeSetTranslator,
    images: ImageSet,
    context: Context,
    *,
    conditional: bool,
    depth: str,
    blame: str,
) -> Iterator[NDArray[Any]]:
    """The translations of ``images``, in order; ``context.log`` records how many were clamped.

    ``context.clamped`` is set at the end.

    Args:
        translator: trained or loaded; has ``translate``, or ``translate_all`` for all slices at once.
        images: the source slices.
        context: device, batch size and so on.
        conditional: whether the translator receives the masks.
        depth: the stored type of translations: "uint8", "uint16" or "float32".
        blame: the plugin, for messages.

    Yields:
        B x H x W of dtype ``depth``, for any B.

    Raises:
        PluginError: the translator returned a wrong shape or number, NaN or infinite values, or values of another
            range than [0, 1]: above 2, or the range of tanh (below -0.9, up to 1.05).
    """
    if isinstance(translator, WholeSetTranslator):
        name, chunks = "translate_all", _all(translator, images, context, conditional, blame, depth)
    else:
        name, chunks = "translate", _by_batches(translator, images, context, conditional, blame, depth)
    images_outside = pixels_outside = position = 0
    low, high = np.inf, -np.inf
    for chunk in chunks:
        if not chunk["finite"].all():
            bad = images.slices[position + int(np.argmin(chunk["finite"]))]
            raise PluginError(
                f"{name}() returned NaN or infinite values for slice '{bad.slice_id}'",
                where=blame,
                expected="finite values in [0, 1]",
            )
        images_outside += int((chunk["outside"] > 0).sum())
        pixels_outside += int(chunk["outside"].sum())
        low, high = min(low, float(chunk["low"].min())), max(high, float(chunk["high"].max()))
        position += len(chunk["pixels"])
        if high > 2:
            break
        yield chunk["pixels"].astype(depth, copy=False)
    fix = "Divide it by its largest possible value" if high > 2 else "Return (x + 1) / 2 where the network ends in tanh"
    if high > 2 or (low < -0.9 and high <= 1.05):
        raise PluginError(
            f"{name}() returned values from {low:.4g} to {high:.4g}", where=blame, expected="[0, 1]", remedy=fix
        )
    if images_outside:
        context.log.append(f"{images_outside} of {len(images)} images had values outside [0, 1], which were clamped")
    context.clamped = pixels_outside / (position * images.size[0] * images.size[1]) if position else 0.0


def _by_batches(
    translator: Translator, images: ImageSet, context: Context, conditional: bool, blame: str, depth: str
) -> Iterator[Arrays]:
    import torch

    def step(rows: range, source: torch.Tensor) -> dict[str, torch.Tensor]:
        span = slice(rows.start, rows.stop)
        masks = images.mask_tensor(span, context.device) if conditional else None
        with placed_by(blame, context.device):
            result = translator.translate(Batch(source, images.slices[span], masks), context)
        if not isinstance(result, torch.Tensor):
            raise PluginError(f"translate() returned {type(result).__name__}", where=blame, expected="a torch tensor")
        expected = (len(rows), 1, *images.size)
        if tuple(result.shape) != expected:
            raise PluginError(
                f"translate() returned shape {tuple(result.shape)}",
                where=blame,
                expected=f"{expected}, one target channel of the size of the source",
            )
        return _stored(result[:, 0].float(), depth)

    for _, results in in_batches(images, context, step):
        yield results


def _stored(values: torch.Tensor, depth: str) -> dict[str, torch.Tensor]:
    """Translations in their stored form, and statistics about them; does not wait for the device.

    Args:
        values: float32, B x H x W.
        depth: dtype of storage.

    Returns:
        ``pixels`` (B x H x W: clamped, scaled, rounded half to even, as by :func:`mtbench.data.encode`; uint16 as
        int32), and by image: ``low`` and ``high``, ``finite`` (whether all values are), ``outside`` (the number of
        values outside [0, 1]).
    """
    import torch

    pixels = values.clamp(0, 1)
    if depth != "float32":
        # PyTorch has no rounding to uint16.
        stored = torch.uint8 if depth == "uint8" else torch.int32
        pixels = pixels.mul_(WHITE[depth]).round_().to(stored)
    images = values.flatten(1)
    low, high = images.amin(1), images.amax(1)  # NaN if one value is NaN
    outside = torch.zeros(len(images), dtype=torch.int32, device=values.device)
    # The CPU skips the count if no value is outside; on a GPU this check would have to wait.
    if values.is_cuda or low.min() < LOW or high.max() > HIGH:
        outside = (images.clamp(LOW, HIGH) != images).sum(1, dtype=torch.int32)
    return {"pixels": pixels, "finite": low.isfinite() & high.isfinite(), "outside": outside, "low": low, "high": high}


def _all(
    translator: WholeSetTranslator, images: ImageSet, context: Context, conditional: bool, blame: str, depth: str
) -> Iterator[Arrays]:
    import torch

    count = 0
    context.start_batch()
    visible = images if conditional else replace(images, masks=None)
    for image in translator.translate_all(visible, context):
        if count == len(images):
            raise PluginError("translate_all() yielded more images than it received", where=blame)
        values = np.array(image, np.float32)
        if values.shape != images.size:
            raise PluginError(
                f"translate_all() yielded shape {values.shape} for slice '{images.slices[count].slice_id}'",
                where=blame,
                expected=f"{images.size}, the height and width of the source slice",
            )
        count += 1
        yield {name: tensor.numpy() for name, tensor in _stored(torch.from_numpy(values[None]), depth).items()}
    if count != len(images):
        raise PluginError(
            f"translate_all() yielded {count} images", where=blame, expected=f"{len(images)}, one for each slice"
        )
