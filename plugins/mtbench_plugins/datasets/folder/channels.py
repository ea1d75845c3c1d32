"""Source slices of several channels: one file for each channel, on the same grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mtbench.data import Sample
from mtbench.formats import check_same_place
from mtbench_plugins.datasets.folder.cases import (
    Case,
    Group,
    cases,
    kept_slices,
    samples_of_case,
    samples_of_slices,
)
from mtbench_plugins.datasets.folder.config import Config
from mtbench_plugins.datasets.folder.frames import Frames


def samples_with_channels(group: Group, config: Config) -> list[Sample]:
    """The chosen slices of one group, as :func:`mtbench_plugins.datasets.folder.cases.samples_of`.

    Raises:
        DataError: as there, or a channel is on another grid than the first.
    """
    frames = Frames(config.resize, config.size, config.mm)
    first = list(cases(group.items, group.domain))
    samples = [each for case in first for each in samples_of_case(case, group.domain, config.labels, frames.of)]
    return with_channels(samples, first, group, config)


def with_channels(samples: Sequence[Sample], first: Sequence[Case], group: Group, config: Config) -> list[Sample]:
    """The source samples of a group with the other channels of each slice: C x H x W.

    Each channel has its own window: the percentiles of its own volume, or those of each image.

    Args:
        samples: of the first channel, with its masks; those of the target stay as they are.
        first: the cases that they come from.
        group: the items of the first channel.
        config: of the data set.

    Raises:
        DataError: a file cannot be read, or is on another grid than the first channel.
    """
    channels = list(_channels(first, group, config)) if group.domain.channels else []
    result = []
    for sample in samples:
        if sample.domain == "source" and channels:
            record = sample.slice
            every = [sample, *(of[record.slice_id] for of in channels)]
            windows = tuple(each.slice.window for each in every if each.slice.window is not None)
            record = replace(record, window=None, channel_windows=windows)
            sample = replace(sample, image=np.stack([each.image for each in every]), slice=record)
        result.append(sample)
    return result


def _channels(first: Sequence[Case], group: Group, config: Config) -> Iterator[dict[str, Sample]]:
    """The samples of each further channel, by slice id."""
    # All slices are read; the masks of the first channel have chosen among them.
    domain = replace(group.domain, masks=(), from_below=None, min_area=0, every=1)
    frames = Frames(config.resize, config.size, config.mm)
    pictures = {picture.item.name: picture for case in first for picture in case.pictures}
    for position, name in enumerate(list(config.channels)[1:]):
        of_channel: dict[str, Sample] = {}
        for case in cases([item.channels[position] for item in group.items], domain):
            for volume, item in {id(p.volume): (p.volume, p.item) for p in case.pictures}.values():
                other = pictures[item.name]
                what = f"channel '{name}'"
                check_same_place(volume, other.volume, other.item.relative, what=what, of="first channel")
            kept = kept_slices(case, domain, config.labels)
            of_channel |= {s.slice.slice_id: s for s in samples_of_slices(case, kept, domain, frames.of, config.depth)}
        yield of_channel
