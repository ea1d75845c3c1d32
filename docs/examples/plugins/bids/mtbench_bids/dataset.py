"""From volumes to slices. Planning may import this module, so it imports no torch."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import mtbench
from mtbench.formats import Cut, Frame, Geometry, Plane, Volume, check_same_place, read, read_mask, stem

Domain = Literal["source", "target"]
PERCENTILES = (0.5, 99.5)
"""Of the volume: the grey values that become 0 and 1."""


class Bids:
    """The data set ``bids``; the parameters are described in its declaration."""

    def __init__(
        self, source: str, target: str, labels: Mapping[str, int], pipeline: str, plane: Plane, size: int
    ) -> None:
        self.suffixes: dict[Domain, str] = {"source": source, "target": target}
        self.labels, self.pipeline, self.plane, self.size = [*labels.values()], pipeline, plane, size

    def files(self, root: Path) -> Iterator[Path]:
        """The raw files that ``prepare`` reads: their content identifies the data set."""
        for domain in get_args(Domain):
            for image in self._images(root, domain):
                yield image
                # A missing segmentation is for prepare() to report: what files() names must exist.
                if self.labels and (mask := self._mask_of(image, root, domain)).is_file():
                    yield mask
        if (table := root / "participants.tsv").is_file():
            yield table

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Every slice, uint8 depth, ``size`` x ``size``, source domain first.

        A volume that cannot be read, or whose segmentation is missing or lies elsewhere, is left out with the reason.

        Raises:
            DataError: a domain has no volume.
        """
        assert root is not None  # the spec says needs_root=True
        splits = _splits(root / "participants.tsv")
        for domain in get_args(Domain):
            images = self._images(root, domain)
            if not images:
                raise mtbench.DataError(
                    f"no file is called sub-*_{self.suffixes[domain]}.nii.gz", where=str(root), expected="BIDS layout"
                )
            for path in images:
                try:
                    yield from self._samples(path, root, domain, splits)
                except mtbench.DataError as error:
                    context.leave_out(path.name, str(error))

    def cut(self, volume: Volume) -> Cut:
        """How a volume becomes slices; `mtbench translate` uses it for volumes that are not part of the data set.

        Raises:
            DataError: the volume does not say how it lies in the patient.
        """
        low, high = (float(end) for end in np.percentile(volume.array, PERCENTILES))
        _, height, width = volume.slices(self.plane).shape
        return Cut(self.plane, Frame.plain((height, width), self.size), ((low, high),))

    def _samples(self, path: Path, root: Path, domain: Domain, splits: Mapping[str, str]) -> Iterator[mtbench.Sample]:
        volume = read(path)
        cut = self.cut(volume)
        masks = self._masks(path, root, domain, volume, cut) if self.labels else None
        patient = next(part for part in path.relative_to(root).parts if part.startswith("sub-"))
        spacing, thickness = volume.in_plane(self.plane)
        for index, image in enumerate(cut.images(volume)):
            record = mtbench.Slice(
                f"{stem(path)}/{index:03d}",
                patient_id=patient,  # splits go by person; both domains may show the same one
                case_id=stem(path),
                index=index,
                spacing=cut.frame.spacing(spacing),
                thickness=thickness,
                window=cut.windows[0],
                file=path.relative_to(root).as_posix(),
                # With it mtbench can put translated slices back into a volume.
                geometry=Geometry.of(volume, self.plane, index, cut.frame).to_json(),
                split=splits.get(patient, ""),
            )
            yield mtbench.Sample(domain, image, record, None if masks is None else masks[index])

    def _masks(self, path: Path, root: Path, domain: Domain, volume: Volume, cut: Cut) -> NDArray[np.uint8]:
        """Labels of the task, slices x size x size; 0 elsewhere."""
        mask = read_mask(self._mask_of(path, root, domain))
        check_same_place(mask, volume, path.name)
        labels = cut.masks(mask)
        return np.where(np.isin(labels, self.labels), labels, 0).astype(np.uint8)

    def _images(self, root: Path, domain: Domain) -> list[Path]:
        return sorted(root.glob(f"sub-*/**/*_{self.suffixes[domain]}.nii.gz"))

    def _mask_of(self, image: Path, root: Path, domain: Domain) -> Path:
        """derivatives/PIPELINE/sub-01/anat/sub-01_space-T1w_dseg.nii.gz of sub-01/anat/sub-01_T1w.nii.gz."""
        suffix = self.suffixes[domain]
        name = image.name.removesuffix(f"{suffix}.nii.gz") + f"space-{suffix}_dseg.nii.gz"
        return root / "derivatives" / self.pipeline / image.parent.relative_to(root) / name


def _splits(table: Path) -> Mapping[str, str]:
    """Patient to train, validation or test, by an optional column ``split`` of participants.tsv."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file, delimiter="\t"))
    return {row["participant_id"]: row.get("split") or "" for row in rows}
