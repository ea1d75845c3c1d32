"""Reading and writing medical images with the usual libraries, in one orientation convention.

Heavy libraries (nibabel, pydicom, pynrrd, tifffile, Pillow) are imported by the functions that need them.
"""

from __future__ import annotations

from mtbench.formats.cutting import Cut
from mtbench.formats.framing import Frame
from mtbench.formats.geometry import Geometry
from mtbench.formats.impostors import impostor
from mtbench.formats.orientation import PLANES, Plane
from mtbench.formats.placing import is_window, lies_at, prepared, put_back, scaled
from mtbench.formats.reading import SUFFIXES, is_series, open_volume, read, read_mask, stem, suffix
from mtbench.formats.segmentation import Segmentation, read_segmentation
from mtbench.formats.stored import Stored
from mtbench.formats.volume import Volume, check_same_place
from mtbench.formats.walking import entries_below, images_below, once
from mtbench.formats.writing import write_like, write_nifti

__all__ = [
    "PLANES",
    "SUFFIXES",
    "Cut",
    "Frame",
    "Geometry",
    "Plane",
    "Segmentation",
    "Stored",
    "Volume",
    "check_same_place",
    "entries_below",
    "images_below",
    "impostor",
    "is_series",
    "is_window",
    "lies_at",
    "once",
    "open_volume",
    "prepared",
    "put_back",
    "read",
    "read_mask",
    "read_segmentation",
    "scaled",
    "stem",
    "suffix",
    "write_like",
    "write_nifti",
]
