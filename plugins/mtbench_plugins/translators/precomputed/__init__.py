"""The translator ``precomputed``: images or volumes translated by another program."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench

PARAMS = {
    "folder": mtbench.Param(
        None, kind="path", help="folder with images named like the source slices, or volumes named like the cases"
    ),
    "manifest": mtbench.Param(
        None, kind="path", help="manifest.json of `mtbench data export` (default: the one in the folder, if any)"
    ),
    "window": mtbench.Param(
        "auto",
        help="the values of black and white: LOW..HIGH, LOW%..HIGH% of each file, source (each source slice's "
        "own), or auto (8 and 16 bits, floats in [0, 1], else the target's window from the manifest)",
    ),
    "resize": mtbench.Param(
        False, help="resize images whose size differs from the slices'; otherwise they are refused"
    ),
}


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``precomputed``."""
    yield mtbench.TranslatorSpec(
        "precomputed",
        "mtbench_plugins.translators.precomputed.model:Precomputed",
        params=PARAMS,
        shorthand="folder",
        several_channels=True,
        description="a folder of images or volumes translated by another program",
    )
