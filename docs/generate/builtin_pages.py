"""A page for each built-in plugin, from its spec and the docstrings of its class."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from docstrings import body, cell, split

from mtbench.registry.discovery import discover
from mtbench.registry.needs import Features
from mtbench.registry.params import Param
from mtbench.registry.registry import Registration
from mtbench.registry.specs import KINDS

DIFFERENCES = Path(__file__).parents[1] / "differences.md"
TITLES = {
    "translator": "Translators",
    "dataset": "Data sets",
    "segmenter": "Segmenters",
    "extractor": "Extractors",
    "metric": "Metrics",
    "executor": "Executors",
    "exporter": "Exporters",
    "challenge": "Challenges",
    "suite": "Suites",
}


def registrations() -> Iterator[Registration[Any]]:
    """Every built-in plugin, kind by kind."""
    registry = discover(third_party=False)
    for kind in KINDS:
        yield from (registry.get(kind, name) for name in registry.names(kind))


def file_name(kind: str, name: str) -> str:
    """Of a built-in's page, below ``reference/builtins/``."""
    return f"{kind}-{name}.md"


def index_page() -> str:
    """The list of all built-ins."""
    parts = [
        "# Built-in plugins",
        "Generated from the registry; `mtbench plugins` prints the same list, including your installed plugins.",
    ]
    for kind, title in TITLES.items():
        rows = [
            f"| [`{each.spec.name}`]({file_name(kind, each.spec.name)}) | {cell(each.spec.description)} |"
            for each in registrations()
            if each.spec.kind == kind
        ]
        parts.append(f"## {title}\n\n| name | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def page(each: Registration[Any]) -> str:
    """One built-in: facts, parameters, implementation, differences from the original."""
    spec = each.spec
    first = f"{spec.description[:1].upper()}{spec.description[1:]}."
    parts = [f"# {spec.name}", first]
    if spec.kind == "suite":
        package, _, inside = spec.resource.partition(":")
        text = (resources.files(package) / inside).read_text(encoding="utf-8")
        return "\n\n".join([*parts, f"```sh\nmtbench plan {spec.name}\n```", f"```toml\n{text.rstrip()}\n```"]) + "\n"
    facts = {"kind": spec.kind, "title in tables": getattr(spec, "title", ""), **_facts(spec)}
    facts |= {"citation": spec.citation, "licence of the original": spec.licence, "revision": spec.revision}
    rows = [f"| {name} | {cell(value)} |" for name, value in facts.items() if value]
    parts.append("| | |\n|---|---|\n" + "\n".join(rows))
    if spec.params:
        parts += ["## Parameters", _parameters(spec.params, spec.shorthand)]
    if implementation := _implementation(each):
        parts += ["## Definition and implementation", implementation]
    if text := differences().get(f"{spec.kind} {spec.name}"):
        parts += ["## Differences from the original", text.replace("](", "](../../").replace("](../../http", "](http")]
    return "\n\n".join(parts) + "\n"


def differences() -> Mapping[str, str]:
    """The sections of docs/differences.md, by kind and name."""
    chunks = re.split(r"^## (.+)\n", DIFFERENCES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {title.replace("`", ""): text.strip() for title, text in zip(chunks[::2], chunks[1::2], strict=True)}


def _facts(spec: Any) -> dict[str, object]:
    """The facts about a plugin of this kind."""
    if spec.kind == "metric":
        needs = spec.needs_for({name: param.default for name, param in spec.params.items()})
        intervals = {
            "cases": "bootstrap of patients over case values",
            "jackknife": "delete-one-patient jackknife",
            "subsample": "patients drawn without replacement",
            "none": "none",
        }
        low, high = spec.bounds or ("", "")
        return {
            "better": "higher" if spec.higher_is_better else "lower",
            "family": spec.family,
            "reads": ", ".join(_need(need) for need in needs),
            "interval": intervals[spec.interval],
            "range of a case": f"{low} to {high}" if spec.bounds else "",
            "images drawn to equal N": _yes(spec.draws({name: param.default for name, param in spec.params.items()})),
            "unit": spec.measure_unit,
        }
    if spec.kind == "translator":
        asked = {name: param.default for name, param in spec.params.items()}
        return {
            "trains": _yes(spec.whether("trains", asked)),
            "keeps checkpoints": _yes(spec.keeps_checkpoints),
            "draws noise": _yes(spec.whether("stochastic", asked)),
            "conditional (reads the reference mask)": _yes(spec.whether("conditional", asked)),
        }
    if spec.kind == "challenge":
        metrics = [
            f"{each.title or each.name} ({'higher' if each.higher_is_better else 'lower'})" for each in spec.metrics
        ]
        return {
            "metrics (better)": ", ".join(metrics),
            "files": spec.files,
            "ranking": spec.rule,
            "not computed": " ".join(f"{text}." for text in spec.unavailable),
        }
    if spec.kind == "dataset":
        return {
            "access": spec.access,
            "size": spec.size,
            "how to obtain": spec.obtain,
            "written from descriptions, not tested on real files": " ".join(spec.unverified),
        }
    if spec.kind == "extractor":
        return {"arrays": ", ".join(spec.arrays), "weights": ", ".join(spec.weights), "caveat": spec.caveat}
    return {}


def _need(need: str | Features) -> str:
    return need.replace("_", " ") if isinstance(need, str) else f"features of the {need.of} ({need.extractor})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _parameters(params: Mapping[str, Param], shorthand: str | None) -> str:
    rows = []
    for name, param in params.items():
        allowed = ", ".join(f"`{choice}`" for choice in param.choices or ())
        if param.minimum is not None or param.maximum is not None:
            allowed = " ".join(
                text
                for text in (
                    f"from {param.minimum:g}" if param.minimum is not None else "",
                    f"to {param.maximum:g}" if param.maximum is not None else "",
                )
                if text
            )
        default = "" if param.default is None else f"`{param.default}`"
        rows.append(f"| `{name}` | {param.kind} | {default} | {allowed} | {cell(param.help)} |")
    table = "| parameter | type | default | allowed | |\n|---|---|---|---|---|\n" + "\n".join(rows)
    return table + (f"\n\nA value without a name sets `{shorthand}`." if shorthand else "")


def _implementation(each: Registration[Any]) -> str:
    """The docstrings of the plugin's class and, if longer than a line, of its module. Imports no model."""
    module, _, name = each.spec.factory.partition(":")
    found = importlib.util.find_spec(module or each.plugin.module)
    if found is None or not found.origin:
        return ""
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    of_module = ast.get_docstring(tree) or ""
    texts = [split(ast.get_docstring(node))[0] for node in classes]
    if "\n\n" in of_module:
        texts.append(of_module)
    own = [text for text in texts if len(text.split()) > 8]
    return "\n\n".join(body(text) for text in own)
