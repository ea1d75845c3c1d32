"""The curve of the lumbar spine: where each vertebra of a patient lies and how it leans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtbench_plugins.datasets.phantoms.space import Floats, Slab

# T10 to S3: half the height and half the depth of the body, the disc below it (mm), the lean of its axis
# (degrees; positive leans forward going down).
_BODIES = (
    (11.0, 15.0, 4.5, 17.0),
    (11.5, 15.5, 5.0, 17.0),
    (12.0, 16.0, 6.0, 16.0),
    (12.8, 16.5, 7.5, 13.0),
    (13.2, 17.0, 8.5, 9.0),
    (13.5, 17.5, 9.5, 2.0),
    (13.5, 17.8, 10.5, -8.0),
    (13.2, 18.0, 10.0, -22.0),
    (13.5, 16.5, 2.0, -42.0),
    (11.0, 12.5, 1.5, -50.0),
    (10.0, 9.5, 1.5, -50.0),
)
_L3, _S1 = 5, 8


@dataclass(frozen=True)
class Level:
    """One vertebra's place in the slab, mm and radians, and its marrow's character."""

    side: float
    down: float
    across: float
    lean: float
    half_height: float
    half_depth: float
    disc: float
    marrow: float
    sacral: bool

    def at(self, along: float, back: float) -> tuple[float, float]:
        """(down, across) of a point that far below and behind the middle of the body."""
        return (
            self.down + along * float(np.cos(self.lean)) + back * float(np.sin(self.lean)),
            self.across - along * float(np.sin(self.lean)) + back * float(np.cos(self.lean)),
        )


def spine(rng: np.random.Generator) -> list[Level]:
    """Vertebrae from top to bottom, hung on L3."""
    scale = rng.uniform(0.9, 1.12)
    lordosis, tilt = rng.uniform(0.55, 1.25), np.radians(rng.normal(0.0, 3.0))
    marrow = rng.normal(0.0, 0.8)
    curve, phase = rng.uniform(0.0, 4.0), rng.uniform(0.0, 2 * np.pi)
    leans = [np.radians(lean * lordosis + rng.normal(0.0, 1.5)) + tilt for *_, lean in _BODIES]
    sizes = [tuple(scale * mm * rng.normal(1.0, 0.03) for mm in body[:3]) for body in _BODIES]
    centres: dict[int, tuple[float, float]] = {_L3: (rng.uniform(84.0, 104.0), rng.uniform(84.0, 98.0))}
    for step in (1, -1):
        for i in range(_L3 + step, len(_BODIES) if step == 1 else -1, step):
            upper = min(i, i - step)
            way = step * (sizes[i][0] + sizes[i - step][0] + sizes[upper][2])
            lean = (leans[i] + leans[i - step]) / 2
            down, across = centres[i - step]
            centres[i] = (down + way * float(np.cos(lean)), across - way * float(np.sin(lean)))
    return [
        Level(
            side=float(curve * np.sin(phase + 0.5 * i)),
            down=centres[i][0],
            across=centres[i][1],
            lean=float(leans[i]),
            half_height=sizes[i][0],
            half_depth=sizes[i][1],
            disc=sizes[i][2],
            marrow=float(marrow + 0.35 * rng.normal()),
            sacral=i >= _S1,
        )
        for i in range(len(_BODIES))
    ]


class SpinalColumn:
    """The column as a smooth curve: its middle (mm across) by height, and how far a point lies behind it.

    Attributes:
        middle: mm across, 1 x n x 1.
        behind: mm behind the middle of the column, 1 x n x n.
        half_depth: of the bodies, 1 x n x 1.
        side: mm from the column's own middle plane, slices x n x 1.
    """

    def __init__(self, slab: Slab, levels: list[Level]) -> None:
        heights = [level.down for level in levels]
        rows = slab.down[0, :, 0]

        def along(values: list[float]) -> Floats:
            return np.interp(rows, heights, values).astype(np.float32)[None, :, None]

        first, last = levels[0], levels[-1]
        # Beyond its ends the column continues in the direction of its last vertebra.
        above = np.minimum(slab.down - first.down, 0.0) * -np.tan(first.lean)
        below = np.maximum(slab.down - last.down, 0.0) * -np.tan(last.lean)
        self.middle: Floats = along([level.across for level in levels]) + above + below
        self.behind: Floats = (slab.across - self.middle) * np.cos(along([level.lean for level in levels]))
        self.half_depth = along([level.half_depth for level in levels])
        self.side: Floats = slab.side - along([level.side for level in levels])
