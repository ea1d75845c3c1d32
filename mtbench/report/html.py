"""The report: one HTML file that holds everything it shows and loads nothing."""

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
        content: what the template shows; all of it is escaped.
        charts: by id, what the script draws; the drawing library is put in only where there are some.

    Raises:
        RequestError: the installed Plotly cannot be put into a page.
    """
    library = _library() if charts else ""
    script, style = _file("report.js"), _file("report.css")
    environment = Environment(
        loader=PackageLoader("mtbench.report", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.jinja").render(
        **content,
        charts=script_json(charts),
        library=library,
        script=script,
        style=style,
        policy=_policy([text for text in (library, script) if text]),
        finite=math.isfinite,
    )


def script_json(value: Any) -> str:
    """JSON that may stand inside a script element, whatever names it holds; what is not finite becomes null."""
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
    """A policy under which nothing is loaded, and no script runs but these."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    sources = " ".join(f"'sha256-{value}'" for value in hashes)
    return f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:"


def _library() -> str:
    text: str = get_plotlyjs()
    if "</script" in text.lower() or "<!--" in text:
        raise RequestError(
            "this version of Plotly cannot be put into a page", remedy="Install another version of plotly"
        )
    return text


def _file(name: str) -> str:
    return resources.files("mtbench.report").joinpath("page", name).read_text(encoding="utf-8")
