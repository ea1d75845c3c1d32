"""The translator ``identity``: unchanged source slices, the paper's row "None"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import mtbench

if TYPE_CHECKING:
    import torch


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``identity``."""
    yield mtbench.TranslatorSpec(
        "identity",
        "mtbench_plugins.translators.identity:Identity",
        description="no translation: the baseline that every model must beat",
    )


class Identity:
    """Returns its input."""

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> torch.Tensor:
        """The source slices."""
        return batch.source
