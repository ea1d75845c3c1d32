"""What the metrics on features of any network have in common: their parameters, their needs, their printed names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import mtbench
from mtbench_plugins.extractors.conventions import DEFAULTS

Params = Mapping[str, Any]
Side = Literal["candidate", "reference", "training"]


def parameters(extractor: str = "inception-fid") -> dict[str, mtbench.Param]:
    """Parameters that say which features."""
    return {
        "extractor": mtbench.Param(extractor, help="the feature network, with its own defaults"),
        "array": mtbench.Param(
            None, kind="str", help="which of its arrays; pool of the Inception networks, features of others by default"
        ),
        "weights": mtbench.Param(None, kind="path", help="a weight file for the network"),
    }


def array_of(params: Params) -> str:
    """The name of the array that these parameters ask for."""
    return str(params["array"] or ("pool" if params["extractor"] in DEFAULTS else "features"))


def need(params: Params, of: Side) -> mtbench.Features:
    """The features that these parameters ask for."""
    settings = {"weights": params["weights"]} if params["weights"] else {}
    return mtbench.Features(of, params["extractor"], (array_of(params),), settings)


def needs(params: Params, *sides: Side) -> tuple[mtbench.Features, ...]:
    """The same features of several image sets."""
    return tuple(need(params, side) for side in sides)


def variant(params: Params, published: str, *more: str) -> str:
    """The text in brackets after a metric's name; empty for the published network without further parts."""
    parts = [params["extractor"]] if params["extractor"] != published or params["weights"] else []
    parts += [params["array"]] if params["array"] else []
    parts += [f"weights={Path(params['weights']).stem}"] if params["weights"] else []
    return ",".join([*parts, *more])
