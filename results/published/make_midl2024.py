"""Write midl2024.parquet: every number of Table 1 of Konz et al., MIDL 2024, as rows of the scores table.

    python results/published/make_midl2024.py

What the paper does not state is left open, never guessed:

- ``variant`` is empty: Table 1 prints "SWD" and "Dice" and says neither which implementation of SWD made it
  nor whether Dice is a mean over slices or over volumes. (Its SWD values lie on the scale of what mtbench
  calls ``swd[koshian2]``, about fifteen times that of ``swd[karras]``; that is presumed, and said in a note.)
- ``extractor`` and ``precision`` are "unknown": the paper says "an ImageNet-pretrained Inception network".
- numbers of patients and seeds are null.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.results.schema import SCHEMA_VERSION, SCORES, table

SOURCE = (
    "Konz N, Chen Y, Gu H, Dong H, Mazurowski MA. Rethinking Perceptual Metrics for Medical Image "
    "Translation. Medical Imaging with Deep Learning (MIDL), 2024. Table 1"
)
SWD_NOTE = "The paper does not name its implementation; the values lie on the scale of swd[koshian2] (presumed)"
FID_NOTE = "N < 2048: the feature covariance is not of full rank"

NOTHING = {field.name: "" for field in SCORES if field.type == pa.string()}

TRANSLATORS = ("identity", "cyclegan", "maskgan", "unsb", "spade")
"""The paper's None, CycleGAN, MaskGAN, UNSB and SPADE."""

# metric: title, family, higher is better, decimals, mark, note
METRICS: dict[str, tuple[str, str, bool, int, str, str]] = {
    "dice": ("Dice", "segmentation", True, 3, "", ""),
    "fid": ("FID", "perceptual", False, 0, "*", FID_NOTE),
    "kid": ("KID", "perceptual", False, 3, "", ""),
    "swd": ("SWD", "perceptual", False, 0, "", SWD_NOTE),
    "is": ("IS", "perceptual", True, 2, "", ""),
}

# dataset: source, target, test images of each, and the columns of the table from top (None) to bottom (SPADE)
TASKS: dict[str, tuple[str, str, int, int, dict[tuple[str, str], tuple[float, ...]]]] = {
    "breast-siemens-ge": (
        "Siemens",
        "GE",
        688,
        1890,
        {
            ("dice", "Breast"): (0.927, 0.934, 0.865, 0.934, 0.950),
            ("dice", "FGT"): (0.651, 0.529, 0.277, 0.646, 0.707),
            ("fid", ""): (144, 107, 118, 156, 119),
            ("kid", ""): (0.069, 0.049, 0.089, 0.079, 0.067),
            ("swd", ""): (705, 556, 1037, 756, 500),
            ("is", ""): (2.58, 2.73, 3.00, 2.46, 2.91),
        },
    ),
    "lumbar-mri-ct": (
        "MRI",
        "CT",
        158,
        458,
        {
            ("dice", "Bone"): (0.007, 0.229, 0.158, 0.138, 0.942),
            ("fid", ""): (323, 210, 248, 208, 251),
            ("kid", ""): (0.300, 0.161, 0.217, 0.172, 0.242),
            ("swd", ""): (1553, 960, 1114, 932, 1359),
            ("is", ""): (2.93, 2.29, 2.22, 2.14, 2.29),
        },
    ),
}


def rows() -> Iterator[dict[str, Any]]:
    """One row for each number of the table."""
    for dataset, (source, target, n_source, n_target, columns) in TASKS.items():
        for (metric, label), values in columns.items():
            title, family, higher, decimals, mark, note = METRICS[metric]
            distance = metric in ("fid", "kid", "swd")
            for translator, value in zip(TRANSLATORS, values, strict=True):
                yield {
                    **NOTHING,
                    "schema_version": SCHEMA_VERSION,
                    "suite": "published:midl2024",
                    "protocol": "segment-translated",
                    "role": "translator",
                    "status": "published",
                    "dataset": dataset,
                    "dataset_revision": "as published",
                    "source_domain": source,
                    "target_domain": target,
                    "split": "as published",
                    "translator": translator,
                    "conditional": translator == "spade",
                    "segmenter": "unknown" if metric == "dice" else "",
                    "metric": metric,
                    "title": title,
                    "family": family,
                    "extractor": "unknown" if metric in ("fid", "kid", "is") else "",
                    "precision": "unknown",
                    "label": label,
                    "value": float(value),
                    # "we randomly sample N = min(N_trans, N_tgt) images from each set"
                    "n": min(n_source, n_target) if distance else n_source,
                    "n_translated": n_source,
                    "n_target": n_target if distance else None,
                    "higher_is_better": higher,
                    "decimals": decimals,
                    "mark": mark,
                    "note": note,
                    "source": SOURCE,
                }


if __name__ == "__main__":
    pq.write_table(table(rows(), SCORES), Path(__file__).with_name("midl2024.parquet"))
