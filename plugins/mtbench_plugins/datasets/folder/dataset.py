"""``Folder``: reads the files of both domains once, case by case, and yields prepared slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mtbench
from mtbench.errors import DataError
from mtbench_plugins.datasets.folder.cases import cases, prepared
from mtbench_plugins.datasets.folder.config import Config, Domain
from mtbench_plugins.datasets.folder.frames import Frames
from mtbench_plugins.datasets.folder.listing import groups, items, raw_files


class Folder:
    """A task from folders; the parameters are described in ``config.py``."""

    def __init__(self, **params: Any) -> None:
        self._config = Config.of(params)

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files that ``prepare`` opens.

        Raises:
            DataError: as :meth:`prepare`, where names alone tell.
        """
        return [file for domain in self._config.domains for file in raw_files(root, domain)]

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Source slices, then target slices; one patient's images or one volume are in memory at a time.

        Raises:
            DataError: a file cannot be used, or does not go with the others; the text names it.
        """
        if root is None:
            raise DataError("no folder is named", where="dataset 'folder'", remedy='Set root = "..."')
        listed = [(domain, items(root, domain)) for domain in self._config.domains]
        total, done, count = sum(len(found) for _, found in listed), 0, 0
        frames = Frames(self._config.resize, self._config.size, self._config.mm)
        for domain, found in listed:
            wanted = set(self._config.labels.values()) if domain.has_masks else set()
            before = count
            for group in groups(found):
                for case in cases(group, domain):
                    for sample in prepared(case, domain, self._config.labels, frames.of):
                        count += 1
                        if wanted and sample.mask is not None:
                            wanted.difference_update(np.unique(sample.mask).tolist())
                        yield sample
                done += len(group)
                context.progress(done, total, {"slices": count})
            self._check(domain, count - before, wanted, root)

    def _check(self, domain: Domain, count: int, missing: set[int], root: Path) -> None:
        if count < 2:
            raise DataError(
                f"the {domain.domain} domain has {count} image{'s' if count != 1 else ''} ({', '.join(domain.images)})",
                where=str(root),
                expected="at least two images in each domain",
                remedy=f"Widen params.{domain.domain}.images, slices or min_area",
            )
        names = [name for name, value in self._config.labels.items() if value in missing]
        if names:
            raise DataError(
                f"no {domain.domain} mask shows '{names[0]}'",
                where=str(root),
                expected="each label in some mask of each domain",
                remedy="Correct the values under 'labels'",
            )
