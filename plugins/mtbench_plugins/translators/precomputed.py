"""The translator ``precomputed``: images that somebody else's model made, matched by file name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import mtbench
from mtbench.errors import close_matches

if TYPE_CHECKING:
    import torch

_ENDINGS = (".png", ".tif", ".tiff", ".npy")


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``precomputed``."""
    yield mtbench.TranslatorSpec(
        "precomputed",
        "mtbench_plugins.translators.precomputed:Precomputed",
        params={
            "folder": mtbench.Param(None, kind="path", help="PNG, TIFF or NPY images named like the source slices")
        },
        shorthand="folder",
        description="a folder of images that another program translated",
    )


class Precomputed:
    """Looks each slice up in a folder: by its id ("/" may be a sub-folder or "_"), then by its source file's name.

    8-bit files are read as 0..255, 16-bit ones as 0..65535, floating point as [0, 1].

    Args:
        folder: where the images are.

    Raises:
        DataError: no folder is given, it holds no image, or two images have one name.
    """

    def __init__(self, folder: str | None) -> None:
        if not folder:
            raise mtbench.DataError(
                "no folder is given", where="translator 'precomputed'", remedy="Write precomputed:folder=PATH"
            )
        self._folder = Path(folder)
        self._files: dict[str, Path] = {}
        from mtbench.formats import entries_below

        for path in sorted(entries_below(self._folder, aliases=True)) if self._folder.is_dir() else ():
            if path.suffix.lower() in _ENDINGS:
                name = path.relative_to(self._folder).with_suffix("").as_posix().replace("/", "_")
                if name in self._files:
                    raise mtbench.DataError(
                        f"two images are called '{name}'", where=folder, expected="one image a slice"
                    )
                self._files[name] = path
        if not self._files:
            raise mtbench.DataError("the folder holds no image", where=folder, expected=", ".join(_ENDINGS))

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> torch.Tensor:
        """The images of these slices.

        Raises:
            DataError: there is none for a slice, or it has another size.
        """
        import numpy as np
        import torch

        images = np.stack([self._image(item, tuple(batch.source.shape[2:])) for item in batch.slices])
        return torch.from_numpy(images[:, None]).to(batch.source.device)

    def _image(self, item: mtbench.Slice, size: tuple[int, ...]) -> Any:
        from mtbench.formats import read

        names = [item.slice_id.replace("/", "_"), PurePosixPath(item.file).stem]
        path = next((self._files[name] for name in names if name in self._files), None)
        if path is None:
            raise mtbench.DataError(
                f"there is no image for the slice '{item.slice_id}'",
                where=str(self._folder),
                expected=f"a file called {names[0]}.png",
                matches=close_matches(names[0], self._files),
            )
        image = read(path).array
        if image.ndim == 3 and image.shape[0] == 1:
            image = image[0]
        if image.shape != size:
            raise mtbench.DataError(
                f"the image is {' x '.join(map(str, image.shape))} pixels",
                where=str(path),
                expected=f"{size[0]} x {size[1]} like the prepared source slices",
            )
        return mtbench.data.decode(image) if image.dtype.name in ("uint8", "uint16") else image.astype("float32")
