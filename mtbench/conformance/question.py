"""What the process that tries a plugin is asked. Light: it is read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from mtbench.registry.plugin import PluginReference
from mtbench.typed import Record


@dataclass(frozen=True)
class Question(Record):
    """What is to be examined, as it is sent to the process that does it.

    Attributes:
        plugin: where it is.
        kind, name: which of its specs.
        params: complete.
        refused: why the parameters are none; then nothing can be tried.
        root: of a dataset that reads files.
        sheet: where a dataset's contact sheets go; empty for nowhere.
        beside: the other plugins that are loaded before it.
        passed: the checks that have passed already, for one that hung or crashed and goes on behind it.
        done: those that have been tried, whatever came of it.
        only: the checks to try; empty for all.
    """

    plugin: PluginReference
    kind: str
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    root: str = ""
    sheet: str = ""
    beside: list[PluginReference] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """The question that :meth:`to_json` wrote."""
        question = super().from_json({**raw, "beside": []})
        return replace(question, beside=[PluginReference.from_json(each) for each in raw.get("beside", ())])
