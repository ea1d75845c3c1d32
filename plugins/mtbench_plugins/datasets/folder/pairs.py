"""Paired tasks: a source and a target image of the same name show the same anatomy and are read together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mtbench.data import Sample
from mtbench.errors import DataError
from mtbench.formats import Volume, check_same_place
from mtbench_plugins.datasets.folder.cases import Case, Group, cases, image_of, kept_slices, samples_of_slices
from mtbench_plugins.datasets.folder.channels import with_channels
from mtbench_plugins.datasets.folder.config import Config
from mtbench_plugins.datasets.folder.frames import Frames
from mtbench_plugins.datasets.folder.listing import ImageEntry, LeaveOut, groups


@dataclass(frozen=True)
class Pair:
    """A volume, or the plain images of one patient, in both domains; the items are in the same order."""

    source: Group
    target: Group

    @property
    def groups(self) -> tuple[Group, Group]:
        """Source, then target."""
        return self.source, self.target

    @property
    def name(self) -> str:
        """Its name in messages."""
        items = self.source.items
        return f"pair {items[0].name if len(items) == 1 else items[0].patient}"


def pairs_of(
    config: Config, sources: Sequence[ImageEntry], targets: Sequence[ImageEntry], leave_out: LeaveOut
) -> list[Pair]:
    """Match the images of both domains by name.

    Args:
        config: of the data set.
        sources, targets: the images of each domain.
        leave_out: called with the name and the reason for each image without a partner, or whose partner belongs to
            another patient.

    Raises:
        DataError: no image has a partner.
    """
    of_target = {item.name: item for item in targets}
    both: list[ImageEntry] = []
    for item in sources:
        partner = of_target.get(item.name)
        if partner is None:
            leave_out(f"source {item.name}", _alone(item, "target", config))
        elif (patient := item.patient or item.name) != (other := partner.patient or partner.name):
            fix = "Correct params.source.patient or params.target.patient"
            about = f"{item.relative} is of the patient '{patient}', its partner {partner.relative} of '{other}'"
            leave_out(f"source {item.name}", f"{about}. {fix}.")
        else:
            both.append(item)
    of_source = {item.name for item in sources}
    for item in targets:
        if item.name not in of_source:
            leave_out(f"target {item.name}", _alone(item, "source", config))
    if sources and targets and not of_source & of_target.keys():
        raise DataError(
            f"no source image has a partner: '{sources[0].name}' ({sources[0].relative}) is the first source image, "
            f"'{targets[0].name}' ({targets[0].relative}) the first target image",
            where="dataset 'folder', params.paired",
            expected="wildcards that match the same text in both, as in 'mr/*_mr.png' and 'ct/*_ct.png'",
        )
    return [
        Pair(Group(tuple(group), config.source), Group(tuple(of_target[item.name] for item in group), config.target))
        for group in groups(both)
    ]


def samples_of_pair(pair: Pair, config: Config) -> list[Sample]:
    """The slices of a pair that both domains keep; each target slice names its partner.

    Raises:
        DataError: a file cannot be read, two partners differ in size or position, or a mask and its image do.
    """
    # Images before masks: a mask on the grid of one image would else be blamed for the other.
    sources, targets = ({item.name: image_of(item) for item in group.items} for group in pair.groups)
    for item in pair.source.items:
        check_same_place(targets[item.name], sources[item.name], item.relative, what="target image", of="source image")
    frames = Frames(config.resize, config.size, config.mm)
    result: list[Sample] = []
    first: list[Case] = []
    # Images of the same size and order make the same cases.
    for source, target in zip(_cases(pair.source, sources), _cases(pair.target, targets), strict=True):
        first.append(source)
        ours = kept_slices(source, config.source, config.labels)
        theirs = {picture.index: (picture, mask) for picture, mask in kept_slices(target, config.target, config.labels)}
        ours = [kept for kept in ours if kept[0].index in theirs][:: config.source.every]
        result += samples_of_slices(source, ours, config.source, frames.of, config.depth)
        truths = [theirs[picture.index] for picture, _ in ours]
        for (picture, _), sample in zip(
            ours, samples_of_slices(target, truths, config.target, frames.of, config.depth), strict=True
        ):
            result.append(replace(sample, slice=replace(sample.slice, partner=picture.slice_id)))
    return with_channels(result, first, pair.source, config)


def _cases(group: Group, images: Mapping[str, Volume]) -> Iterator[Case]:
    return cases(group.items, group.domain, lambda item: images[item.name])


def _alone(item: ImageEntry, other: str, config: Config) -> str:
    patterns = ", ".join((config.target if other == "target" else config.source).images)
    return f"{item.relative} has no partner: no {other} image that matches '{patterns}' has the name '{item.name}'."
