"""The common part of metrics on network features: parameters, needs, printed names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import mtbench
from mtbench_plugins.extractors.conventions import DEFAULTS, PRESETS, RESIZINGS, SCALINGS

Params = Mapping[str, Any]

_CONVENTION = ("resize", "scaling", "quantise")


def parameters() -> dict[str, mtbench.Param]:
    """Parameters that select the features; omitted ones come from the preset, then from the extractor."""
    return {
        "extractor": mtbench.Param("inception-fid", help="the feature network"),
        "preset": mtbench.Param(
            None,
            kind="str",
            choices=tuple(PRESETS),
            role="preset",
            help="compute as this library does; other parameters override it",
        ),
        "resize": mtbench.Param(None, kind="str", choices=RESIZINGS, help="how images are resized to 299 x 299"),
        "scaling": mtbench.Param(
            None, kind="str", choices=SCALINGS, help="(x - 128) / 128, or x / 127.5 - 1, of levels 0..255"
        ),
        "quantise": mtbench.Param(None, kind="bool", help="round to 8-bit levels first"),
        "weights": mtbench.Param(None, kind="path", help="a state dict to use instead of the published weights"),
    }


def resolve(params: Params, defaults: Params, presets: Mapping[str, Params]) -> dict[str, Any]:
    """The settings named in ``defaults``: from the parameters, else the preset, else the default."""
    settings = {**defaults, **presets.get(params["preset"] or "", {})}
    return {name: value if params.get(name) is None else params[name] for name, value in settings.items()}


def need(params: Params, of: Literal["candidate", "reference"], array: str) -> mtbench.Features:
    """The features that these parameters ask for.

    A third-party extractor receives only parameters that the user set, so it need not know the others.
    """
    preset = PRESETS[params["preset"]] if params["preset"] else {}
    settings = {name: preset.get(name) if params[name] is None else params[name] for name in _CONVENTION}
    settings["weights"] = params["weights"]
    return mtbench.Features(
        of=of,
        extractor=params["extractor"],
        arrays=(array,),
        params={name: value for name, value in settings.items() if value is not None},
    )


def variant(params: Params, own_defaults: Params, own_presets: Mapping[str, Params]) -> str:
    """The variant in brackets after a metric's name: empty for the published definition.

    Args:
        params: the metric's, complete.
        own_defaults: the metric's own settings with their defaults.
        own_presets: those of each preset.
    """
    extractor = params["extractor"]
    defaults = {**DEFAULTS.get(extractor, {}), **own_defaults}
    presets = {name: {**convention, **own_presets.get(name, {})} for name, convention in PRESETS.items()}
    settings = resolve(params, defaults, presets)
    # A third-party extractor has defaults we do not know: name every parameter that the user set.
    request = need(params, "candidate", "").params
    settings.update({name: request[name] for name in _CONVENTION if name in request})
    parts = _differences(settings, defaults, presets)
    if params["weights"]:
        parts.append(f"weights={Path(params['weights']).stem}")
    if parts or extractor != "inception-fid":
        parts.insert(0, extractor)
    return ",".join(parts)


def _differences(settings: Params, defaults: Params, presets: Mapping[str, Params]) -> list[str]:
    if settings == defaults:
        return []
    for name, preset in presets.items():
        if settings == {**defaults, **preset}:
            return [name]
    return [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in settings.items()
        if value != defaults.get(name)
    ]
