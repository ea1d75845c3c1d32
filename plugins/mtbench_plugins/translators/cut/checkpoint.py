"""CUT's weight files."""

from __future__ import annotations

from functools import partial

from mtbench_plugins.translators._shared.checkpoint import CheckpointLayout
from mtbench_plugins.translators._shared.resnet import ResnetGenerator
from mtbench_plugins.translators.cyclegan.checkpoint import adapt, infer_with

LAYOUT = CheckpointLayout(
    "a CUT generator", adapt, partial(infer_with, beside_blocks=21), partial(ResnetGenerator, antialias=True)
)
