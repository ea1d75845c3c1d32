"""The report: one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from mtbench.errors import RequestError


def render(content: Mapping[str, Any], charts: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: the values of the template; all of them are escaped.
        charts: the charts by id; without charts, the drawing library is not embedded.

    Raises:
        RequestError: the installed Plotly cannot be embedded in a page.
    """
    library = _library() if charts else ""
    scripts, style = (
        [_file("report.js"), *([_file("ledger.js")] if any(task["cards"] for task in content["ledgers"]) else [])],
        _file("report.css"),
    )
    environment = Environment(
        loader=PackageLoader("mtbench.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.jinja").render(
        **content,
        charts=script_json(charts),
        library=library,
        scripts=scripts,
        style=style,
        policy=_policy([text for text in (library, *scripts) if text]),
        finite=math.isfinite,
    )


def script_json(value: Any) -> str:
    """JSON that is safe inside a script element; values that are not finite become null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def _policy(scripts: list[str]) -> str:
    """A policy that forbids loading anything and running any script but these."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    sources = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:"


def _library() -> str:
    text: str = get_plotlyjs()
    if "</script" in text.lower() or "<!--" in text:
        raise RequestError("cannot embed this version of Plotly in a page", remedy="Install another version of plotly")
    return text


def _file(name: str) -> str:
    return resources.files("mtbench.report").joinpath("page", name).read_text(encoding="utf-8")
