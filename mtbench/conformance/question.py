"""The questions to the process that tests a plugin. Light: it is read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from mtbench.registry.plugin import PluginReference
from mtbench.typed import Record


@dataclass(frozen=True)
class Question(Record):
    """One plugin to test, in the form that is sent to the process.

    Attributes:
        plugin: its location.
        kind, name: of its spec.
        params: complete.
        refused: why the parameters are invalid; then nothing can be tested.
        root: of a data set that reads files.
        sheet: folder for a data set's contact sheets; empty for none.
        beside: the other plugins that are loaded before it.
        passed: the checks that have passed, if an earlier process hung or crashed.
        done: those that have been run, with any result.
        only: the checks to run; empty for all.
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
