"""The declaration. The command line comes from the user's own ``mtbench.toml``, never from a suite."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import mtbench
from mtbench.registry.userconfig import UserConfig


@mtbench.hookimpl
def mtbench_segmenters() -> Iterator[mtbench.SegmenterSpec]:
    """The segmenter ``segmenter-command``."""
    yield mtbench.SegmenterSpec(
        "segmenter-command",
        "mtbench_segmenter_command.model:SegmenterCommand",
        params={
            "name": mtbench.Param("default", help="a table [segmenters.NAME] in your own mtbench.toml"),
            "run": mtbench.Param(None, "str", runs_program=True, help="or the command line, with {input} and {output}"),
            "labels": mtbench.Param({}, "table", help="label of the task = value or values that the program writes"),
            "channel": mtbench.Param("", help="end of the names of input files; nnU-Net wants _0000"),
            "revision": mtbench.Param("1", help="raise it when the program or its model has changed"),
            "timeout": mtbench.Param(3600.0, minimum=0.1, identity=False, help="seconds for a batch of slices"),
        },
        shorthand="name",
        configure=configure,
        description="a segmentation program: a folder of NIfTI images in, a folder of label maps out",
    )


def configure(params: Mapping[str, Any], config: UserConfig) -> Mapping[str, Any]:
    """The parameters, with command line and revision of ``[segmenters.NAME]``.

    Raises:
        RequestError: the table is missing or has another key.
        PluginError: the command line does not name both folders.
    """
    run, revision, where = params["run"], params["revision"], "segmenter 'segmenter-command'"
    if run is None:
        table = config.table("segmenters", params["name"], ("run", "revision"))
        run, where = table.values.get("run", ""), table.where
        run = shlex.join(map(str, run)) if isinstance(run, list) else str(run)
        revision = str(table.values.get("revision", revision))
    if "{input}" not in run or "{output}" not in run:
        raise mtbench.PluginError(
            f"run = '{run}' does not name both folders", where=where, expected="{input}, {output}"
        )
    return {**params, "run": run, "revision": revision}
