"""The data set ``folder``: a translation task from two folders of images or volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import mtbench


def describe(params: Mapping[str, Any]) -> dict[str, Any]:
    """The ``Task`` fields that depend on the parameters."""
    from mtbench_plugins.datasets.folder.config import Config

    config = Config.of(params)
    masks = {d.domain for d in config.domains if d.masks}
    # The truth of a source slice is its target slice, with the mask of that.
    truth = {"paired"} if config.paired and config.target.masks else set()
    return {
        "source": config.source.name,
        "channels": config.channels,
        "target": config.target.name,
        "labels": {value: name for name, value in config.labels.items()},
        "masks": frozenset(masks | truth),
        "paired": config.paired,
        "paired_training": config.paired,
    }


@mtbench.hookimpl
def mtbench_datasets() -> Iterator[mtbench.DatasetSpec]:
    """The folder data set."""
    yield mtbench.DatasetSpec(
        "folder",
        "mtbench_plugins.datasets.folder.dataset:Folder",
        description="two folders of images (PNG, TIFF, NPY, NIfTI, NRRD, MHA or DICOM), masks optional",
        params={
            "source": mtbench.Param(
                kind="table",
                help="keys: name, images (of several channels: a pattern for each name), masks, labels, from_below, "
                "patient or table, plane, slices, every, min_area, crop, normalise, window, percentiles, measure_unit",
            ),
            "target": mtbench.Param(kind="table", help="the same keys for the target domain"),
            "paired": mtbench.Param(
                False,
                help="source and target images of the same name (the text that the wildcards match) show the same "
                "anatomy: pairs in every split",
            ),
            "labels": mtbench.Param({}, help='label names and their mask values, or "nonzero"'),
            "resize": mtbench.Param(
                "plain",
                choices=("plain", "spacing", "none"),
                help="plain: to size x size; spacing: to mm, then crop or pad; none: all images already have one size",
            ),
            "size": mtbench.Param(256, minimum=8, help="height and width of the prepared images"),
            "mm": mtbench.Param(kind="float", minimum=0.01, help="millimetres per pixel for resize = spacing"),
        },
        describe=describe,
        needs_root=True,
        access="private",
        obtain="Your own files: set 'root' to the folder that holds them",
    )
