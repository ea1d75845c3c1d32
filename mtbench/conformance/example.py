"""Plugins that run instantly, as work for an executor under test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mtbench


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """A data set that works, and one that does not."""
    yield mtbench.DatasetSpec("conformance-slices", ":Slices", access="generated", description="grey images")
    yield mtbench.DatasetSpec("conformance-broken", ":Broken", access="generated", description="fails to prepare")


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``conformance-half``."""
    yield mtbench.TranslatorSpec("conformance-half", ":Half", description="half as bright")


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[mtbench.MetricSpec]:
    """The metric ``conformance-mean``."""
    yield mtbench.MetricSpec("conformance-mean", ":Mean", needs=("candidate",), description="the mean grey value")


class Slices:
    """Ten patients a domain with one slice each; the source is 100 of 255 everywhere, the target 200."""

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """The slices."""
        for patient in range(10):
            for domain, grey in (("source", 100), ("target", 200)):
                record = mtbench.Slice(f"{domain}{patient}", f"{domain}{patient}", f"{domain}{patient}")
                image = np.full((16, 16), grey, np.uint8)
                yield mtbench.Sample(domain, image, record)  # type: ignore[arg-type]  # one of the domains


class Broken:
    """Fails, in the one stage that imports no torch: a process for it costs a third of that for a translation."""

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Raises."""
        raise ValueError("this data set is made to fail")


class Half:
    """Half as bright."""

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> Any:
        """Half of each pixel."""
        return batch.source / 2


class Mean:
    """The mean grey value of the candidates, of 255."""

    def compute(self, inputs: mtbench.MetricInputs, context: mtbench.Context) -> mtbench.Score:
        """The mean."""
        assert inputs.candidate is not None
        return mtbench.Score(255 * float(inputs.candidate.floats().mean()))
