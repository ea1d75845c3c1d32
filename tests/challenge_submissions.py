"""Small submissions to challenges, the same on every machine: for the challenges' own programs and for ours.

NumPy and nibabel only, so that it runs beside the programs of the challenges (:mod:`challenge_originals`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

Volume = NDArray[Any]
SHAPE = (26, 22, 18)
SPACING = (1.2, 0.9, 2.5)


def waves(seed: int, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """A smooth volume in [0, 1], another for each seed."""
    x, y, z = (np.arange(n) / n for n in shape)
    grid = np.sin(7 * x + seed)[:, None, None] + np.cos(9 * y - 2 * seed)[:, None] + np.sin(5 * z * (1 + seed % 3))
    return (grid - grid.min()) / np.ptp(grid)


def ball(centre: tuple[float, float, float], radius: float, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """A ball of voxels."""
    grid = np.indices(shape).transpose(1, 2, 3, 0) - np.array(centre)
    return np.asarray((grid**2).sum(-1) < radius**2)


def write_mha(
    path: Path, array: Volume, spacing: tuple[float, ...] = SPACING, origin: tuple[float, ...] = (0, 0, 0)
) -> None:
    """A MetaImage, axes x, y, z."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}[array.dtype.name]
    words = {"ElementSpacing": spacing, "DimSize": array.shape, "Offset": origin}
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    )
    header += "TransformMatrix = 1 0 0 0 1 0 0 0 1\n"
    header += "".join(f"{key} = {' '.join(map(str, values))}\n" for key, values in words.items())
    path.write_bytes(f"{header}ElementType = {kind}\nElementDataFile = LOCAL\n".encode() + array.tobytes(order="F"))


def write_nifti(path: Path, array: Volume, spacing: tuple[float, ...] = (1, 1, 1), flip: bool = False) -> None:
    """A NIfTI file; ``flip``: the first axis runs to the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-spacing[0] if flip else spacing[0], *spacing[1:], 1])
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def synthrad(folder: Path) -> None:
    """Four cases in the layout of SynthRAD2025's evaluation: ``input``, ``segmented`` and ``truth``.

    1ABA001: noise; a class lost and one invented. 1HNA002: floating point, values beyond the range, another header; no
    class of its anatomy. 1THB003: a constant box; every class lost. 1ABC004: the prediction equals the truth.
    """
    random = np.random.default_rng(7)
    for number, case in enumerate(("1ABA001", "1HNA002", "1THB003", "1ABC004")):
        truth = waves(number) * 2600 - 1000
        image = truth + random.normal(0, 60, SHAPE) + 40 * waves(number + 5)
        body = ball((12, 10, 9), 11 - number % 3)
        dtype, origin = (np.float32, (5.0, 0.0, 0.0)) if number == 1 else (np.int16, (0.0, 0.0, 0.0))
        if number == 1:
            truth, image = truth * 1.7, image * 1.7
        if number == 2:
            image[8:15, 6:14, 4:13] = 40
        if number == 3:
            image = truth
        write_mha(folder / f"truth/ct/{case}.mha", truth.astype(dtype))
        write_mha(folder / f"truth/mask/{case}.mha", body.astype(np.uint8))
        write_mha(folder / f"input/{case}.mha", image.astype(dtype), origin=origin)
        labels, predicted = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
        for label, centre, radius in ((5, (8, 8, 6), 4.0), (51, (17, 12, 9), 4.5), (26, (12, 16, 13), 3.0)):
            labels[ball(centre, radius)] = label if number != 1 else 60
            shifted = (centre[0] + 1, centre[1], centre[2] + number % 2)
            predicted[ball(shifted, radius - 0.5)] = label
        if number == 0:
            predicted[predicted == 26] = 0
            predicted[ball((4, 17, 4), 3)] = 116
        if number == 2:
            predicted[:] = 0
        if number == 3:
            predicted = labels
        write_mha(folder / f"truth/segmentation/{case}.mha", labels)
        write_mha(folder / f"segmented/{case}.mha", predicted)


def brasyn(folder: Path) -> None:
    """Four cases in the layout of BraSyn and BraTS: ``input``, ``segmented`` and ``truth``.

    001: two lesions, of which one is lost, fragments near each other, and one invented. 002: no tumour, and a small
    lesion invented. 003: a constant region; a tiny lesion, lost; other spacing. 004: the prediction equals the truth.
    """
    random = np.random.default_rng(3)
    shape = (30, 28, 26)
    for number, case in enumerate(f"BraTS-GLI-0000{k}-000" for k in range(1, 5)):
        sequence = ("t1n", "t2f", "t1c", "t2w")[number]
        head = ball((15, 14, 13), 12.5, shape)
        truth = np.where(head, 400 * waves(number, shape) + 90, 0)
        image = np.where(head, truth + random.normal(0, 25, shape), 0)
        labels, predicted = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        if number != 1:
            for value, radius in ((2, 5.0), (1, 3.5), (3, 2.2)):
                labels[ball((11, 11, 12), radius, shape)] = value
                predicted[ball((12, 11, 12), radius - 0.4, shape)] = value
        if number == 0:
            labels[ball((25, 22, 18), 3, shape)] = 3
            labels[11:13, 18:20, 12:14] = 2
            predicted[ball((24, 6, 22), 2.5, shape)] = 3
        if number == 1:
            predicted[20:22, 10:12, 10] = 2
        if number == 2:
            image[8:14, 8:14, 9:15] = 200
            labels[24:26, 20, 20] = 3
        if number == 3:
            image, predicted = truth, labels
        spacing = (1.0, 0.8, 1.5) if number == 2 else (1.0, 1.0, 1.0)
        dtype = np.int16 if number % 2 else np.float32
        name, flip = f"{case}/{case}", number == 0
        write_nifti(folder / f"truth/{name}-{sequence}.nii.gz", truth.astype(dtype), spacing, flip)
        write_nifti(folder / f"truth/{name}-seg.nii.gz", labels, spacing, flip)
        write_nifti(folder / f"input/{name}-{sequence}.nii.gz", image.astype(dtype), spacing, flip)
        write_nifti(folder / f"segmented/{case}.nii.gz", predicted, spacing, flip)


PAIRS = {"0.1T_to_7T": ("T1W", "T2W"), "3T_to_7T": ("T2FLAIR",)}
"""The pairs of fields, and the modalities of each, that the small MRIxFields submission contains."""


def mrixfields(folder: Path, segmented: bool = True) -> None:
    """Two subjects for each pair and modality of MRIxFields' task 1: ``input/task1`` and ``truth/task1``.

    One truth has slices without contrast; one structure is lost, one invented, most are absent on both sides.
    """
    random = np.random.default_rng(5)
    shape = (24, 20, 12)
    for pair, modalities in PAIRS.items():
        for place, modality in enumerate(modalities):
            for subject in (1, 2):
                seed = 10 * subject + place
                truth = (waves(seed, shape) * ball((12, 10, 6), 11, shape)).astype(np.float32)
                truth[..., -2:] = 0
                image = np.clip(truth + random.normal(0, 0.05, shape), 0, 1).astype(np.float32)
                if seed == 20:
                    image[6:12, 6:12, 3:9] = 0.4
                labels, predicted = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
                for label, centre in ((10, (8, 8, 5)), (49, (15, 9, 6)), (17, (9, 14, 6))):
                    labels[ball(centre, 3, shape)] = label
                    predicted[ball((centre[0], centre[1], centre[2] + subject % 2), 2.7, shape)] = label
                predicted[predicted == (17 if subject == 1 else 0)] = 0
                predicted[ball((18, 14, 5), 2, shape)] = 26
                name = f"P_{modality}_7T_{subject:04d}"
                there, flip = f"task1/{modality}/{pair}", subject == 2
                write_nifti(folder / f"truth/{there}/gt/{name}.nii.gz", truth, flip=flip)
                write_nifti(folder / f"truth/{there}/gt_seg/{name}_seg.nii.gz", labels, flip=flip)
                write_nifti(folder / f"input/{there}/pred/{name}.nii.gz", image, flip=flip)
                if segmented:
                    write_nifti(folder / f"input/{there}/seg/{name}_seg.nii.gz", predicted, flip=flip)


DIRECTIONS = {
    "synthrad2023": {"mae": False, "ssim": True, "psnr": True, "dvh_photon": False, "gamma_photon": True},
    "synthrad2025": {"mae": False, "psnr": True, "ms_ssim": True, "DICE": True, "HD95": False},
}
"""The metrics of :func:`teams`, and whether the higher value is better."""


def teams(challenge: str) -> dict[str, dict[str, list[float]]]:
    """Five teams: metric to the values of six cases. Teams that are good in one metric are not in another."""
    random = np.random.default_rng(len(challenge) + int(challenge[-1]))
    return {
        f"team {name}": {metric: random.uniform(0.2, 0.9, 6).round(4).tolist() for metric in DIRECTIONS[challenge]}
        for name in "abcde"
    }
