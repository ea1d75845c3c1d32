"""Specs, protocols and records of the plugin interface, from their docstrings and signatures."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from docstrings import body, cell, markdown, split

import mtbench
from mtbench.registry import contracts
from mtbench.registry.basespec import Spec
from mtbench.registry.contracts import methods
from mtbench.registry.specs import KINDS

OPTIONAL = {
    "translator": (contracts.Trainable, contracts.WholeSetTranslator),
    "dataset": (contracts.FileListing, contracts.VolumeCutting),
    "extractor": (contracts.WeightsRecord,),
    "metric": (contracts.Resampling,),
    "executor": (contracts.Placement,),
    "challenge": (contracts.RankingRule, contracts.ResultsFile, contracts.ExampleSubmission),
}
"""Optional protocols of the objects of a kind."""

RECORDS = ("Param", "Features", "Slice", "Sample", "Task", "ImageSet", "Batch", "TrainingData", "MetricInputs", "Score",
           "Cases", "Context", "ChallengeMetric", "Submission", "ChallengeCase", "Inspection", "CaseScores", "Team",
           "Ranking", "Standing")  # fmt: skip
INTRODUCTION = (
    "Generated from the docstrings of `mtbench.registry.specs`, `mtbench.registry.contracts`, `mtbench.data` "
    "and `mtbench.challenges.records`. "
    "How to write a plugin, with examples: [Writing a plugin](../plugins.md)."
)
FUNCTIONS = ("run", "load", "score", "translate")


def plugin_page() -> str:
    """The page "Plugin interface"."""
    parts = [
        "# Plugin interface",
        INTRODUCTION,
        "## Fields of all specs",
        _record(Spec),
    ]
    for kind, spec in KINDS.items():
        parts += [f"## {kind.capitalize()}", f"### `{spec.__name__}`", _record(spec)]
        if issubclass(spec, Spec):
            parts.append(_contract(spec.contract))
            parts += [_contract(each) for each in OPTIONAL.get(kind, ())]
    parts.append("## Records")
    for name in RECORDS:
        parts += [f"### `{name}`", _record(getattr(mtbench, name))]
    return "\n\n".join(parts) + "\n"


def python_page() -> str:
    """The page "Python interface"."""
    parts = [
        "# Python interface",
        "The functions for notebooks and scripts. Errors derive from `mtbench.MtbenchError`.",
    ]
    for name in FUNCTIONS:
        function = getattr(mtbench, name)
        parts += [f"## `mtbench.{name}`", f"```text\n{signature(name, function)}\n```", markdown(function.__doc__)]
    return "\n\n".join(parts) + "\n"


def _contract(contract: type) -> str:
    parts = [f"### `{contract.__name__}`", markdown(contract.__doc__)]
    for name in methods(contract):
        method = getattr(contract, name)
        parts.append(f"`{signature(name, method, skip_self=True)}`\n:   {cell(method.__doc__ or '')}")
    notes = [f"`{name}: {annotation}`" for name, annotation in vars(contract).get("__annotations__", {}).items()]
    if notes:
        parts.append("Attributes: " + ", ".join(notes) + ".")
    return "\n\n".join(parts)


def _record(record: type[Any]) -> str:
    """A class: its text, then its fields with types, defaults and meanings; then its public methods."""
    text, sections = split(record.__doc__)
    about = {**sections.get("Args", {}), **sections.get("Attributes", {})}
    parts = [body(text)]
    if is_dataclass(record):
        shared = {f.name for f in fields(Spec)} if record is not Spec and issubclass(record, Spec) else set()
        own = [each for each in fields(record) if each.name not in shared]
        rows = [f"| `{each.name}` | {_type(each.type)} | {_default(each)} | {cell(about.get(each.name, ''))} |"
                for each in own if each.init]  # fmt: skip
        if rows:
            parts.append("| field | type | default | |\n|---|---|---|---|\n" + "\n".join(rows))
    elif about:
        rows = [f"| `{name}` | {cell(meaning)} |" for name, meaning in about.items()]
        parts.append("| field | |\n|---|---|\n" + "\n".join(rows))
    if not issubclass(record, Spec):
        for name, member in vars(record).items():
            if (
                not name.startswith("_")
                and member.__doc__
                and (inspect.isfunction(member) or isinstance(member, property))
            ):
                shown = signature(name, member, skip_self=True) if inspect.isfunction(member) else name
                parts.append(f"`{shown}`\n:   {cell(split(member.__doc__)[0])}")
    return "\n\n".join(parts)


def signature(name: str, function: Any, *, skip_self: bool = False) -> str:
    """``name(a: int, b: str = '') -> bool`` as in the source."""
    found = inspect.signature(function)
    given = [param for param in found.parameters.values() if not (skip_self and param.name == "self")]
    text = str(found.replace(parameters=given)).replace("'", "")
    return name + text


def _type(hint: object) -> str:
    text = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    text = text.removeprefix("Annotated[").partition(", Rule")[0] if "Annotated" in text else text
    text = " ".join(text.replace("\n", " ").split()).strip().rstrip(",")
    return f"`{text}`"


def _default(each: Any) -> str:
    if each.default is not MISSING:
        return f"`{each.default!r}`"
    if each.default_factory is not MISSING:
        return "empty"
    return "required"
