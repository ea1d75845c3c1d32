"""The layers of Inception v3, as a table from which the network is built and weight files are checked.

Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016. Names are those of the
published state dicts. Every convolution is followed by batch normalisation (eps 1e-3) and ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Pooling = Literal["average", "maximum"]


@dataclass(frozen=True)
class Conv:
    """One convolution.

    Attributes:
        name: within its block.
        outputs: channels.
        kernel, padding: rows and columns; zeros are padded.
    """

    name: str
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Branch:
    """One path through a block.

    Attributes:
        convs: one after the other.
        fork: convolutions that all read the output of ``convs``; their outputs are concatenated.
    """

    convs: tuple[Conv, ...]
    fork: tuple[Conv, ...] = ()


@dataclass(frozen=True)
class Block:
    """Branches whose outputs are concatenated along the channels.

    Attributes:
        branches: in the order of the concatenated channels.
        pooled: a 1x1 convolution behind a 3x3 pooling of stride 1 (the last branch), in blocks that keep the
            image's size; blocks that halve it end with a bare 3x3 maximum of stride 2 instead.
        pooling: of the pooled branch.
    """

    name: str
    branches: tuple[Branch, ...]
    pooled: Conv | None = None
    pooling: Pooling = field(default="average")


def _same(name: str, outputs: int, rows: int, columns: int) -> Conv:
    return Conv(name, outputs, (rows, columns), 1, (rows // 2, columns // 2))


def _halving(name: str, outputs: int) -> Conv:
    return Conv(name, outputs, (3, 3), 2)


def _a(name: str, pooled: int) -> Block:
    return Block(
        name,
        (
            Branch((Conv("branch1x1", 64),)),
            Branch((Conv("branch5x5_1", 48), _same("branch5x5_2", 64, 5, 5))),
            Branch(
                (
                    Conv("branch3x3dbl_1", 64),
                    _same("branch3x3dbl_2", 96, 3, 3),
                    _same("branch3x3dbl_3", 96, 3, 3),
                )
            ),
        ),
        Conv("branch_pool", pooled),
    )


def _b(name: str) -> Block:
    return Block(
        name,
        (
            Branch((_halving("branch3x3", 384),)),
            Branch(
                (
                    Conv("branch3x3dbl_1", 64),
                    _same("branch3x3dbl_2", 96, 3, 3),
                    _halving("branch3x3dbl_3", 96),
                )
            ),
        ),
    )


def _c(name: str, inner: int) -> Block:
    return Block(
        name,
        (
            Branch((Conv("branch1x1", 192),)),
            Branch(
                (
                    Conv("branch7x7_1", inner),
                    _same("branch7x7_2", inner, 1, 7),
                    _same("branch7x7_3", 192, 7, 1),
                )
            ),
            Branch(
                (
                    Conv("branch7x7dbl_1", inner),
                    _same("branch7x7dbl_2", inner, 7, 1),
                    _same("branch7x7dbl_3", inner, 1, 7),
                    _same("branch7x7dbl_4", inner, 7, 1),
                    _same("branch7x7dbl_5", 192, 1, 7),
                )
            ),
        ),
        Conv("branch_pool", 192),
    )


def _d(name: str) -> Block:
    return Block(
        name,
        (
            Branch((Conv("branch3x3_1", 192), _halving("branch3x3_2", 320))),
            Branch(
                (
                    Conv("branch7x7x3_1", 192),
                    _same("branch7x7x3_2", 192, 1, 7),
                    _same("branch7x7x3_3", 192, 7, 1),
                    _halving("branch7x7x3_4", 192),
                )
            ),
        ),
    )


def _e(name: str, pooling: Pooling) -> Block:
    return Block(
        name,
        (
            Branch((Conv("branch1x1", 320),)),
            Branch(
                (Conv("branch3x3_1", 384),),
                (_same("branch3x3_2a", 384, 1, 3), _same("branch3x3_2b", 384, 3, 1)),
            ),
            Branch(
                (Conv("branch3x3dbl_1", 448), _same("branch3x3dbl_2", 384, 3, 3)),
                (_same("branch3x3dbl_3a", 384, 1, 3), _same("branch3x3dbl_3b", 384, 3, 1)),
            ),
        ),
        Conv("branch_pool", 192),
        pooling,
    )


FIRST_STEM: tuple[Conv, ...] = (
    Conv("Conv2d_1a_3x3", 32, (3, 3), 2),
    Conv("Conv2d_2a_3x3", 32, (3, 3)),
    _same("Conv2d_2b_3x3", 64, 3, 3),
)
SECOND_STEM: tuple[Conv, ...] = (Conv("Conv2d_3b_1x1", 80), Conv("Conv2d_4a_3x3", 192, (3, 3)))
"""Each stem is followed by a 3x3 maximum of stride 2."""


def blocks(last_pooling: Pooling) -> tuple[Block, ...]:
    """The mixed blocks in order.

    Args:
        last_pooling: of Mixed_7c: "maximum" in the FID network, "average" in torchvision's.
    """
    return (
        _a("Mixed_5b", 32),
        _a("Mixed_5c", 64),
        _a("Mixed_5d", 64),
        _b("Mixed_6a"),
        _c("Mixed_6b", 128),
        _c("Mixed_6c", 160),
        _c("Mixed_6d", 160),
        _c("Mixed_6e", 192),
        _d("Mixed_7a"),
        _e("Mixed_7b", "average"),
        _e("Mixed_7c", last_pooling),
    )


def conv_shapes() -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Full name and weight shape (out, in, rows, columns) of each of the 94 convolutions."""
    channels = 3
    for conv in (*FIRST_STEM, *SECOND_STEM):
        yield conv.name, (conv.outputs, channels, *conv.kernel)
        channels = conv.outputs
    for block in blocks("average"):
        outputs = 0
        for branch in block.branches:
            inner = channels
            for conv in branch.convs:
                yield f"{block.name}.{conv.name}", (conv.outputs, inner, *conv.kernel)
                inner = conv.outputs
            for conv in branch.fork:
                yield f"{block.name}.{conv.name}", (conv.outputs, inner, *conv.kernel)
            outputs += sum(conv.outputs for conv in branch.fork) or inner
        if block.pooled is not None:
            yield f"{block.name}.{block.pooled.name}", (block.pooled.outputs, channels, 1, 1)
            outputs += block.pooled.outputs
        else:
            outputs += channels
        channels = outputs
