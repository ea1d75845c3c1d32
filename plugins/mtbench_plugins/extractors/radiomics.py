"""Radiomic features: the name and parameters of the extractor."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_extractors() -> Iterator[mtbench.ExtractorSpec]:
    """The extractor ``radiomics``."""
    yield mtbench.ExtractorSpec(
        "radiomics",
        "mtbench_plugins.extractors.radiomics_extractor:Radiomics",
        description="texture and histogram features of an image and its wavelet sub-bands; no weights",
        citation="van Griethuysen et al., Computational Radiomics System to Decode the Radiographic Phenotype, "
        "Cancer Research 2017",
        params={
            "laplacian": mtbench.Param(
                False, help="add features of Laplacian-of-Gaussian images, which frd-score omits in 2-D"
            ),
        },
        arrays=("features",),
    )
