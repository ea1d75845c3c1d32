"""From a score to its inputs: those artefacts behind a results directory that are in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.data import Slice, decode, encode
from mtbench.errors import DamagedError, MtbenchError
from mtbench.stages.table import Subset
from mtbench.stages.work import positions
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.images import read_slices


class Evidence:
    """The artefacts that the attempts of a results directory name.

    Args:
        attempts: rows of ``mtbench.results.schema.ATTEMPTS``, oldest first.
        store: the artefact store; ``None`` to read nothing.
    """

    def __init__(self, attempts: Iterable[Mapping[str, Any]], store: Store | None) -> None:
        self._store = store
        self._of_unit: dict[str, tuple[str, str]] = {}
        self._of_digest: dict[str, tuple[str, str]] = {}
        self._read_before: dict[tuple[str, str], Artefact | None] = {}
        for row in attempts:
            if row["status"] in ("ok", "cached") and row["artefact"]:
                place = (row["stage"], row["artefact"])
                self._of_unit[row["unit_key"]] = self._of_digest[row["digest"]] = place

    def of_unit(self, key: str) -> Artefact | None:
        """The last artefact of a unit; ``None`` if it is not in the store or not readable."""
        try:
            return self._read(self._of_unit.get(key))
        except DamagedError:
            return None

    def inputs(self, artefact: Artefact) -> dict[str, Artefact]:
        """The inputs of an artefact, by role, without those that are no longer in the store.

        Raises:
            DamagedError: the content of an artefact was altered.
        """
        keys, digests = artefact.manifest["unit"]["inputs"], artefact.manifest["inputs"]
        artefacts = {}
        for role, digest in digests.items():
            # Another suite may have computed this artefact under other unit keys; then its digest identifies it.
            source = self._read(self._of_unit.get(keys.get(role, "")) or self._of_digest.get(digest))
            if source is not None:
                artefacts[role] = source
        return artefacts

    def _read(self, place: tuple[str, str] | None) -> Artefact | None:
        if self._store is None or place is None:
            return None
        try:
            if place not in self._read_before:
                artefact = self._store.get(*place)
                if artefact is not None:
                    with closing(self._store.hashes()) as hashes:
                        artefact.check(hashes)
                self._read_before[place] = artefact
            return self._read_before[place]
        except DamagedError:
            raise
        except (MtbenchError, OSError):
            return None


class Slices:
    """The slices of a subset; images are read one at a time.

    Args:
        data, split: the artefacts of the task.
        subset: which slices.
        pixels: the translate artefact to read instead of the real images.
    """

    def __init__(self, data: Artefact, split: Artefact, subset: Subset, pixels: Artefact | None = None) -> None:
        self._positions = positions(split, subset)
        self._folder, self._domain, self._pixels = data.path, subset.domain, pixels

    def __len__(self) -> int:
        return len(self._positions)

    @cached_property
    def slices(self) -> list[Slice]:
        """The records, in order."""
        records = read_slices(self._folder, self._domain)
        return [records[i] for i in self._positions]

    @cached_property
    def _images(self) -> NDArray[Any]:
        if self._pixels is not None:
            return array(self._pixels, "images.npy")
        images: NDArray[Any] = np.load(self._folder / f"images-{self._domain}.npy", mmap_mode="r", allow_pickle=False)
        return images

    def image(self, i: int) -> NDArray[np.uint8]:
        """The i-th image, H x W uint8, or C x H x W with several channels."""
        pixels = np.asarray(self._images[i if self._pixels is not None else self._positions[i]])
        return encode(decode(pixels), "uint8")

    def channels(self, i: int) -> tuple[NDArray[np.uint8], ...]:
        """The channels of the i-th image, each H x W uint8."""
        image = self.image(i)
        return tuple(image) if image.ndim == 3 else (image,)

    def mask(self, i: int) -> NDArray[np.uint8] | None:
        """The i-th label map, H x W uint8; ``None`` if the domain has no masks."""
        path = self._folder / f"masks-{self._domain}.npy"
        if not path.exists():
            return None
        masks = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(masks[self._positions[i]], dtype=np.uint8)


def array(artefact: Artefact, name: str) -> NDArray[Any]:
    """An array of an artefact, as a memory map."""
    values: NDArray[Any] = np.load(artefact.path / name, mmap_mode="r", allow_pickle=False)
    return values
