"""The two data sets: cases by the layout of a challenge, pairs and slices by the rules of the data set ``folder``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import mtbench
from mtbench.errors import DataError
from mtbench.formats import Cut, Geometry, Volume
from mtbench.preparation import prepare_cases
from mtbench_plugins.datasets.folder.cases import Group, cut_of
from mtbench_plugins.datasets.folder.config import Config, DomainConfig
from mtbench_plugins.datasets.folder.listing import ImageEntry
from mtbench_plugins.datasets.folder.pairs import Pair, samples_of_pair
from mtbench_plugins.datasets.synthrad import OBTAIN, SOURCES
from mtbench_plugins.datasets.synthrad.layout import LAYOUTS, TARGET, Case, Found, find


class Synthrad:
    """One task and region of a challenge; the parameters are described in the spec."""

    year: ClassVar[int]

    def __init__(self, **params: Any) -> None:
        self._task, self._region = int(params["task"]), str(params["region"])
        self._layout = LAYOUTS[self.year]
        self._source = SOURCES[self._task].lower()
        self._config = self._configure(params)

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files that ``prepare`` opens.

        Raises:
            DataError: the folder of the region is missing.
        """
        for case in self._find(root).cases.values():
            yield from (case.source, case.target, case.mask)

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Axial slices that show the body, each source slice with its truth; unusable cases are skipped.

        Raises:
            DataError: the folder of the region is missing, or no case has a truth.
        """
        if root is None:
            raise DataError(
                "the parameter 'root' is missing", where=f"dataset 'synthrad{self.year}'", remedy='Set root = "..."'
            )
        found = self._find(root)
        for case, reason in found.unusable.items():
            context.leave_out(case, reason)
        ending = self._layout.ending
        if found.hidden:
            context.log.append(
                f"{_cases(found.hidden)} without {TARGET}{ending} not used: "
                "the truth of the challenge's validation and test cases is hidden"
            )
        if not found.cases:
            first = next((f" The first unusable case, {c}: {why}" for c, why in found.unusable.items()), "")
            raise DataError(
                f"no case of Task{self._task}/{self._region} has a {TARGET}{ending}",
                where=str(root),
                expected="the training archive; the truth of validation and test cases is hidden",
                remedy=OBTAIN[self.year] + "." + first,
            )
        pairs = {name: self._pair(name, case, root) for name, case in found.cases.items()}
        convert = partial(samples_of_pair, config=self._config)
        cropped: dict[str, None] = {}
        for sample in prepare_cases(pairs, convert, context, processes=True):
            if sample.domain == "target" and _cuts_body(sample):
                cropped[sample.slice.case_id] = None
            yield sample
        if cropped:
            side = self._config.size * (self._config.mm or 1.0)
            context.log.append(
                f"warning: the body of {_cases(list(cropped))} is larger than the field of {side:g} mm and is cropped; "
                "increase 'size' or 'mm'"
            )

    def cut(self, volume: Volume) -> Cut:
        """How a new MR or CBCT volume is cut into slices.

        Raises:
            DataError: it cannot be cut in the same way as the source files.
        """
        return cut_of(volume, self._config)

    def _find(self, root: Path) -> Found:
        return find(root, self._layout, self._task, self._region, self._source, OBTAIN[self.year])

    def _configure(self, params: dict[str, Any]) -> Config:
        folder, ending = f"Task{self._task}/{self._region}/*", self._layout.ending
        shared = {"masks": {"body": f"mask{ending}"}, "plane": "axial", "min_area": 1, "every": params["every"]}
        in_hu = {"normalise": "window", "window": params["window"], "measure_unit": "HU"}
        in_no_unit = {"normalise": "percentile", "percentiles": params["percentiles"]}
        grey = in_no_unit if self._source == "mr" else in_hu
        source = {"name": SOURCES[self._task], "images": f"{folder}/{self._source}{ending}", **shared, **grey}
        target = {"name": "CT", "images": f"{folder}/{TARGET}{ending}", **shared, **in_hu}
        mm = params["mm"] or (1.0 if self._region == "brain" else 2.0)
        frame = {"resize": "spacing", "size": params["size"], "mm": mm, "paired": True}
        return replace(Config.of({"source": source, "target": target, **frame}), depth="uint16")

    def _pair(self, name: str, case: Case, root: Path) -> Pair:
        def group(image: Path, domain: DomainConfig) -> Group:
            masks = {"body": (case.mask,)}
            return Group((ImageEntry(name, image, image.relative_to(root).as_posix(), None, masks, name),), domain)

        return Pair(group(case.source, self._config.source), group(case.target, self._config.target))


class Synthrad2023(Synthrad):
    """Brain and pelvis, NIfTI."""

    year = 2023


class Synthrad2025(Synthrad):
    """Abdomen, head and neck, thorax, MetaImage."""

    year = 2025


def _cuts_body(sample: mtbench.Sample) -> bool:
    """Whether the frame has cut off a part of the body: it reaches an edge at which the slice goes on."""
    if sample.mask is None:
        return False
    frame = Geometry.from_json(sample.slice.geometry).frame
    edges = (sample.mask[[0, -1]], sample.mask[:, [0, -1]])
    return any(
        scaled > size and bool(np.any(edge)) for scaled, size, edge in zip(frame.scaled, frame.size, edges, strict=True)
    )


def _cases(names: list[str]) -> str:
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} case{'s' if len(names) != 1 else ''} ({some})"
