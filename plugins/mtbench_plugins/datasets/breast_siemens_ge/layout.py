"""The files below the root: images, masks and spreadsheets, and which series is the pre-contrast one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtbench.errors import DataError
from mtbench.formats import is_series, once
from mtbench_plugins.datasets.breast_siemens_ge import OBTAIN
from mtbench_plugins.datasets.breast_siemens_ge.patients import TRAINING, split_of_each
from mtbench_plugins.datasets.breast_siemens_ge.sheets import PATIENT, manufacturers, precontrast
from mtbench_plugins.datasets.folder.listing import LeaveOut, inside

IMAGES = "Duke-Breast-Cancer-MRI"
MASKS = "Segmentation_Masks_NRRD"
CLINICAL = "Clinical_and_Other_Features.xlsx"
MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping"
_DEPTH = 3


@dataclass(frozen=True)
class Patient:
    """One patient and the files that are read.

    Attributes:
        name: "Breast_MRI_001".
        domain, maker: from the clinical spreadsheet.
        split: empty if the patient is not used.
        series: the folder of the pre-contrast series; ``relative`` the same from the root.
        breast, tissue: the mask files.
    """

    name: str
    domain: Literal["source", "target"]
    maker: str
    split: str
    series: Path
    relative: str
    breast: Path
    tissue: Path


@dataclass(frozen=True)
class CollectionLayout:
    """Where the parts of the collection lie below a root.

    Attributes:
        images, masks: the folders with one folder for each patient.
        clinical: the spreadsheet with the manufacturers.
        mapping: the spreadsheet with the series, or ``None``.
    """

    root: Path
    images: Path
    masks: Path
    clinical: Path
    mapping: Path | None

    @classmethod
    def find(cls, root: Path) -> CollectionLayout:
        """The parts, up to three folders below the root.

        Raises:
            DataError: a part is missing, or the root cannot be read; the text names every missing part.
        """
        inside(root)
        images, masks, clinical = (_find(root, name) for name in (IMAGES, MASKS, CLINICAL))
        mapping = _find(root, MAPPING + ".xlsx") or _find(root, MAPPING + ".csv")
        parts = {
            f"the images ({IMAGES})": images,
            f"the masks ({MASKS})": masks,
            f"the spreadsheet {CLINICAL}": clinical,
        }
        missing = [what for what, path in parts.items() if path is None]
        if images is None or masks is None or clinical is None:
            raise DataError("missing: " + ", ".join(missing), where=str(root), remedy=OBTAIN)
        return cls(root, images, masks, clinical, mapping)

    def patients(self, split: Path | None, leave_out: LeaveOut) -> list[Patient]:
        """The patients that are used: those with masks, and published training patients with images.

        Raises:
            DataError: a spreadsheet or the split file cannot be used.
        """
        makers = manufacturers(self.clinical)
        series = precontrast(self.mapping) if self.mapping else None
        with_masks, with_images = _patients(self.masks), _patients(self.images)
        series_and_maker: dict[str, tuple[Path, str]] = {}
        for name in sorted(with_masks | (with_images & TRAINING)):
            try:
                series_and_maker[name] = (self._series(name, series), _maker_of(name, makers, self.clinical))
                for path in self.mask_files(name):
                    if not path.is_file():
                        raise DataError("this mask is missing", where=self._relative(path), remedy=OBTAIN)
            except DataError as error:
                series_and_maker.pop(name, None)
                leave_out(name, str(error))
        split_of = split_of_each({name: maker for name, (_, maker) in series_and_maker.items()}, split)
        return [
            Patient(
                name,
                "source" if maker == "Siemens" else "target",
                maker,
                split_of[name],
                folder,
                self._relative(folder),
                *self.mask_files(name),
            )
            for name, (folder, maker) in series_and_maker.items()
        ]

    def mask_files(self, name: str) -> tuple[Path, Path]:
        """The masks of the breast, and of dense tissue and vessels."""
        folder = self.masks / name
        return (
            folder / f"Segmentation_{name}_Breast.seg.nrrd",
            folder / f"Segmentation_{name}_Dense_and_Vessels.seg.nrrd",
        )

    def _series(self, name: str, names_of: dict[str, list[str]] | None) -> Path:
        folder = self.images / name
        if not folder.is_dir():
            raise DataError("this patient has masks and no images", where=self._relative(folder), remedy=OBTAIN)
        series = once(path for path in folder.glob("*/*") if is_series(path))
        if names_of is not None:
            names = names_of.get(name, [])
            matches = [path for path in series if path.name in names]
            expected = "a folder called " + " or ".join(names) if names else f"{name} in the mapping spreadsheet"
        else:
            matches = [path for path in series if "pre" in path.name.lower()]
            expected = f"the spreadsheet {MAPPING}.xlsx, which identifies it, or one folder with 'pre' in its name"
        if len(matches) != 1:
            raise DataError(
                f"{len(matches)} of {len(series)} series are the pre-contrast one",
                where=self._relative(folder),
                expected=expected,
            )
        return matches[0]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _find(root: Path, name: str) -> Path | None:
    if root.name == name:
        return root
    patterns = ("/".join(["*"] * depth + [name]) for depth in range(_DEPTH))
    return next((path for pattern in patterns for path in sorted(root.glob(pattern))), None)


def _patients(folder: Path) -> set[str]:
    # A link to another patient's folder is that patient.
    folders = [path for path in folder.iterdir() if path.is_dir() and PATIENT.fullmatch(path.name)]
    return {path.name for path in once(folders)}


def _maker_of(name: str, makers: dict[str, str], sheet: Path) -> str:
    maker = makers.get(name, "nothing")
    if maker not in ("GE", "Siemens"):
        raise DataError(f"its manufacturer is {maker}", where=f"{sheet.name}, {name}", expected="0 (GE) or 2 (Siemens)")
    return maker
