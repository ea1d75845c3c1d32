"""The explanations of the page's headings, marks and rows, which it shows on hover and on keyboard focus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from mtbench.analysis.columns import FAMILIES, ROLES, conditional_input
from mtbench.analysis.legend import SPREADS
from mtbench.analysis.model import ResultsTable, TableColumn, TableRow
from mtbench.errors import MtbenchError
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry

MARKS = {
    "best": "Bold: the best ranked score of this column. Scores that are equal as printed share the rank.",
    "second": "Underlined: the runner-up of this column. Scores that are equal as printed share the rank.",
    "failed": "A unit that this score needs failed. See Failures.",
    "skipped": "Not computed: an earlier unit failed, or the metric does not apply. See Failures.",
    "method": "Translators and, below the rule, reference rows that give the scale. Reference rows are not ranked.",
    "runner-up": "The second-best ranked translator.",
    "winner": "The best ranked translator. Without a significance test, a small lead may be due to chance.",
    "n": "Number of translators: one point each, seeds and folds averaged.",
    "r": "Pearson's correlation over translators; positive means that both metrics prefer the same translators.",
    "range": "Range of r when each translator is left out in turn. A wide range means that one translator decides.",
    "p": "Two-sided p of a permutation test over translators.",
    "p_holm": "p adjusted by Holm's method for all pairs of metrics of these tasks.",
    "rho": "Spearman's rank correlation, oriented as r.",
    "tau": "Kendall's rank correlation tau-b, oriented as r.",
    "checkpoint": "The first 16 digits of the SHA-256 of the fit: files with other weights have another one.",
    "budget": "Steps or epochs as requested, and the last training step with a recorded loss.",
    "seconds": "Training time of the run that computed the fit; 'reused' if the fit was already in the store.",
}
"""Texts that are the same on every page."""


@dataclass
class Explanations:
    """The texts that a page uses, each once; the template refers to them by id."""

    texts: dict[str, str] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        """The id of a text, for ``aria-describedby``."""
        return self.texts.setdefault(text, f"x-{len(self.texts) + 1}")

    def items(self) -> list[tuple[str, str]]:
        """Id and text of everything that was explained so far."""
        return [(name, text) for text, name in self.texts.items()]


@cache
def _built_ins() -> Registry:
    return discover(third_party=False)


class Glossary:
    """Explanations of one table's columns and rows, from its records and the descriptions of built-in plugins."""

    def __init__(self, table: ResultsTable) -> None:
        self._table = table
        self._registry = _built_ins()
        protocols = {str(c.details.get("protocol") or "") for s in table.sections for c in s.columns}
        ranked = "ranked like the others" if table.rule == "paper" else "shown, but not ranked"
        self.marks = {
            **MARKS,
            "dagger": f"†: conditional translator ({conditional_input(protocols)}); {ranked}.",
            "interval": f"{SPREADS['interval']}.",
        }

    def column(self, column: TableColumn) -> str:
        """What a column measures, its direction and its settings."""
        details = column.details
        # Segmentation metrics with a region are grouped by metric instead.
        group = column.group if column.group in (*FAMILIES.values(), "Other metrics") else FAMILIES["segmentation"]
        parts = [
            f"{group}: {self._description('metric', column.metric) or column.metric}",
            f"{'Higher' if column.higher_is_better else 'Lower'} is better",
            f"Unit: {column.measure_unit}" if column.measure_unit else "",
            f"Region: {column.label}" if column.label else "",
            f"Variant: {column.variant}" if column.variant else "",
            f"Feature network: {details['extractor']}" if details.get("extractor") else "",
            f"Segmenter: {details['segmenter']}" if details.get("segmenter") else "",
            f"Not ranked: {column.caveat}" if column.caveat else "",
            *self._marks(column),
            *self._notes(column.notes),
        ]
        return _sentences(parts)

    def row(self, row: TableRow) -> str:
        """What a row stands for."""
        notes = self._notes(row.notes)
        if row.role != "translator":
            return _sentences([f"{row.role.capitalize()}: {ROLES.get(row.role, '')}", "Not ranked", *notes])
        params = ", ".join(f"{name} {value}" for name, value in row.params.items())
        what = self._description("translator", row.translator) or row.translator
        return _sentences([what[:1].upper() + what[1:], f"Parameters: {params}" if params else "", *notes])

    def role(self, role: str) -> str:
        """What a reference row stands for."""
        return _sentences([f"{role.capitalize()}: {ROLES[role]}", "Not ranked"])

    def stale(self, row: TableRow) -> bool:
        """Whether the scores of a row are out of date."""
        return any(self._table.footnotes[n - 1].startswith("Stale") for n in row.notes)

    def _marks(self, column: TableColumn) -> list[str]:
        """The legend's lines about the mark in a heading ("* FID: fewer than 2048 images")."""
        texts = []
        for remark in self._table.remarks:
            head, _, text = remark.partition(": ")
            mark, _, name = head.partition(" ")
            if text and name and mark and not mark.isalnum() and column.title.startswith(name + mark):
                texts.append(f"{mark}: {text}")
        return texts

    def _notes(self, numbers: Sequence[int]) -> list[str]:
        return [self._table.footnotes[n - 1] for n in numbers]

    def _description(self, kind: str, name: str) -> str:
        try:
            return str(self._registry.get(kind, name).spec.description)
        except MtbenchError:
            return ""  # a third-party plugin: its code is not loaded to show a page


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)
