"""Datasets whose target shows an anatomy other than the spine, for the controls in benchmarks/learning.py.

``mixed-breast``: lumbar MR to breast MR, another part of the body and another modality.
``mixed-flank``: lumbar MR to CT of the flank: the lumbar CT phantom, scanner, contrast medium and all, cut beside the
spine, so that the psoas lies where the column would and nothing in it is bone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import mtbench

PARAMS = {"size": 64, "patients_source": 40, "patients_target": 40}


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """``mixed-breast`` and ``mixed-flank``."""
    for target, modality in (("breast", "MR"), ("flank", "CT")):
        yield mtbench.DatasetSpec(
            f"mixed-{target}",
            f":{target.capitalize()}",
            params=PARAMS,
            source="lumbar MR",
            target=f"{target} {modality}",
            access="generated",
        )


class _Mixed:
    """Source slices of the lumbar phantom, target slices of another phantom, no masks."""

    def __init__(self, **params: int) -> None:
        self._params = {**params, "slices": 8, "seed": 0}

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Samples of both."""
        from mtbench_plugins.datasets.phantoms.dataset import LumbarPhantom

        for phantom, domain in ((LumbarPhantom, "source"), (self.target(), "target")):
            for sample in phantom(**self._params).prepare(root, context):
                if sample.domain == domain:
                    yield replace(sample, mask=None)

    @staticmethod
    def target() -> type:
        """The phantom whose target slices are taken."""
        raise NotImplementedError


class Breast(_Mixed):
    """Lumbar MR, and MR slices of the breast."""

    @staticmethod
    def target() -> type:
        """The breast phantom."""
        from mtbench_plugins.datasets.phantoms.dataset import BreastPhantom

        return BreastPhantom


class Flank(_Mixed):
    """Lumbar MR, and CT slices of the flank."""

    @staticmethod
    def target() -> type:
        """The lumbar phantom with muscle where its column and canal are."""
        from mtbench_plugins.datasets.phantoms.dataset import LumbarPhantom
        from mtbench_plugins.datasets.phantoms.lumbar import LumbarTissue, lumbar_anatomy
        from mtbench_plugins.datasets.phantoms.space import Anatomy

        spinal = ("CORTEX", "MARROW", "ANNULUS", "NUCLEUS", "CSF", "NERVE", "LIGAMENT", "CALCIFICATION")

        def beside(*where: object) -> Anatomy:
            anatomy = lumbar_anatomy(*where)  # type: ignore[arg-type]
            column = np.isin(anatomy.tissue, [LumbarTissue[name] for name in spinal])
            # The fat behind it goes too: it fills the gaps between spinous processes and would show their outline.
            behind = np.logical_or.accumulate(column, axis=2) & (anatomy.tissue == LumbarTissue.DEEP_FAT)
            return replace(anatomy, tissue=np.where(column | behind, np.uint8(LumbarTissue.MUSCLE), anatomy.tissue))

        return type("FlankPhantom", (LumbarPhantom,), {"anatomy": staticmethod(beside)})
