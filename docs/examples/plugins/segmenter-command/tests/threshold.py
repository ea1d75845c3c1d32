"""A stand-in for a segmentation program: value 10 above 0.3, value 20 above 0.6.

python threshold.py INPUT OUTPUT
"""

import sys
from pathlib import Path

import nibabel
import numpy as np


def main() -> None:
    inputs, outputs = map(Path, sys.argv[1:])
    for file in sorted(inputs.glob("*_0000.nii.gz")):
        image = nibabel.load(file)
        grey = np.asarray(image.dataobj)
        found = np.where(grey > 0.6, 20, np.where(grey > 0.3, 10, 0)).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(found, image.affine), outputs / file.name.replace("_0000", ""))


if __name__ == "__main__":
    main()
