"""The declaration, which mtbench reads at start-up: it imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``torchscript``."""
    yield mtbench.TranslatorSpec(
        "torchscript",
        "mtbench_torchscript.model:TorchScript",
        params={
            # A path: the content of the file is part of every result's identity, its name is not. The role lets
            # `mtbench translate --checkpoint FILE` set it.
            "file": mtbench.Param(None, "path", role="checkpoint", help="written by torch.jit.save; required"),
            "signed": mtbench.Param(True, help="whether the network works in [-1, 1] (tanh) or in [0, 1]"),
            "multiple": mtbench.Param(4, minimum=1, help="height and width that the network takes are multiples of it"),
        },
        shorthand="file",
        description="a generator exported as TorchScript",
    )
