"""``Folder``: reads the files of both domains once, case by case on all cores, and yields prepared slices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import mtbench
from mtbench.errors import DataError
from mtbench.formats import Cut, Volume
from mtbench.preparation import prepare_cases
from mtbench_plugins.datasets.folder.cases import Group, cut_of, samples_of
from mtbench_plugins.datasets.folder.channels import samples_with_channels
from mtbench_plugins.datasets.folder.config import Config, DomainConfig
from mtbench_plugins.datasets.folder.listing import ImageEntry, files_of, groups, items, raw_files, table_files
from mtbench_plugins.datasets.folder.pairs import pairs_of, samples_of_pair


class Folder:
    """A task from folders; the parameters are described in ``config.py``."""

    def __init__(self, **params: Any) -> None:
        self._config = Config.of(params)

    def files(self, root: Path) -> Iterable[Path]:
        """The raw files that ``prepare`` opens.

        Raises:
            DataError: as :meth:`prepare`, for problems that show in the file names.
        """
        if not self._config.paired:
            return [file for domain in self._config.domains for file in raw_files(root, domain, _silent)]
        tables = [file for domain in self._config.domains for file in table_files(root, domain)]
        sources, targets = (items(root, domain, _silent) for domain in self._config.domains)
        pairs = pairs_of(self._config, sources, targets, _silent)
        return [*tables, *(file for pair in pairs for group in pair.groups for file in files_of(group.items))]

    def prepare(self, root: Path | None, context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Source slices, then target slices, or both of each pair; unusable cases are skipped.

        Raises:
            DataError: a domain has no usable case, a table cannot be used, no mask shows a label, or no source image
                of a paired task has a partner.
        """
        if root is None:
            raise DataError("the parameter 'root' is missing", where="dataset 'folder'", remedy='Set root = "..."')
        listed = [
            items(root, domain, partial(_left_out, context, domain.domain), context.log.append)
            for domain in self._config.domains
        ]
        labels = set(self._config.labels.values())
        missing: dict[str, set[int]] = {d.domain: set(labels) if d.masks else set() for d in self._config.domains}
        count = dict.fromkeys(missing, 0)
        for sample in self._of_one_size(self._samples(listed, context), context):
            count[sample.domain] += 1
            if missing[sample.domain] and sample.mask is not None:
                missing[sample.domain].difference_update(np.unique(sample.mask).tolist())
            yield sample
        for domain in self._config.domains:
            self._check(domain, count[domain.domain], missing[domain.domain], root, context)

    def cut(self, volume: Volume) -> Cut:
        """How a new source image or volume is cut into slices.

        Raises:
            DataError: it cannot be cut in the same way as the source files.
        """
        return cut_of(volume, self._config)

    def _samples(self, listed: Sequence[list[ImageEntry]], context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """The slices of these images, which are ``listed`` by domain."""
        series = any(item.image.is_dir() for entries in listed for item in entries)
        if self._config.paired:
            pairs = {pair.name: pair for pair in pairs_of(self._config, listed[0], listed[1], context.leave_out)}
            convert = partial(samples_of_pair, config=self._config)
            return prepare_cases(pairs, convert, context, processes=series)
        cases = {
            f"{domain.domain} {group[0].name if len(group) == 1 else group[0].patient}": Group(tuple(group), domain)
            for domain, entries in zip(self._config.domains, listed, strict=True)
            for group in groups(entries)
        }
        convert = partial(samples_with_channels if self._config.channels else samples_of, config=self._config)
        return prepare_cases(cases, convert, context, processes=series)

    def _of_one_size(self, samples: Iterator[mtbench.Sample], context: mtbench.Context) -> Iterator[mtbench.Sample]:
        """Without resizing, the first case sets the size of all slices."""
        first: mtbench.Sample | None = None
        odd: set[str] = set()
        for sample in samples:
            first = first or sample
            if sample.image.shape[-2:] == first.image.shape[-2:]:
                yield sample
                continue
            name = f"{sample.domain} {sample.slice.case_id}"
            if name not in odd:
                odd.add(name)
                size, first_size = (f"{s.image.shape[-2]} x {s.image.shape[-1]}" for s in (sample, first))
                error = DataError(
                    f"it is {size} pixels",
                    where=sample.slice.file,
                    expected=f"{first_size}, as {first.slice.file}",
                    remedy="Set params.resize to 'plain' or 'spacing'",
                )
                context.leave_out(name, str(error))

    def _check(self, domain: DomainConfig, count: int, missing: set[int], root: Path, context: mtbench.Context) -> None:
        if count < 2:
            mine = (domain.domain, "pair ")
            first = next((f"{name}: {why}" for name, why in context.left_out if name.startswith(mine)), "")
            raise DataError(
                f"the {domain.domain} domain has {count} image{'s' if count != 1 else ''} ({', '.join(domain.images)})",
                where=str(root),
                expected="at least two images in each domain",
                remedy=f"Unusable cases were skipped; the first, {first}"
                if first
                else f"Widen params.{domain.domain}.images, slices or min_area",
            )
        names = [name for name, value in self._config.labels.items() if value in missing]
        if names:
            raise DataError(
                f"no {domain.domain} mask shows '{names[0]}'",
                where=str(root),
                expected="each label in at least one mask of each domain",
                remedy="Correct the values under 'labels'",
            )


def _silent(case: str, reason: str) -> None:
    return None


def _left_out(context: mtbench.Context, domain: str, case: str, reason: str) -> None:
    context.leave_out(f"{domain} {case}", reason)
