"""What makes two numbers comparable: the keys of blocks, rows and columns, and their printed names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mtbench.params import format_call

BLOCK = ("dataset", "dataset_revision", "dataset_params", "split")
"""Numbers made on different data never share a block."""

ROW = ("role", "translator", "translator_params")

BASE = ("metric", "variant", "title", "label", "family", "unit", "caveat")
DETAILS = (
    "metric_params",
    "extractor",
    "weights_sha256",
    "precision",
    "segmenter",
    "segmenter_params",
    "segmenter_seed",
    "protocol",
)
COLUMN = BASE + DETAILS
"""Numbers that differ in any of these never share a column."""

ROLES = {
    "translator": "",
    "ceiling": "real target test images read by the target's segmenter, what a perfect translation reaches",
    "floor": "real target training images against the target's test images, at the same N",
    "oracle": "real source test images read by a segmenter trained on the source domain",
}
"""The rows of a table, and what the reference rows are."""

FAMILIES = {"segmentation": "Segmentation", "perceptual": "Perceptual metrics", "paired": "Paired metrics"}

_PLAIN = {"precision": ("", "fp32", "unknown"), "protocol": ("", "segment-translated")}
"""Settings that a column's name tells wherever they are not these."""

OF_TARGET = frozenset({"train-on-translated"})
"""Protocols whose translators are judged on real target images."""
_PATH = re.compile(
    r"""(?:(?<![^\s'"`(\[=,;|])(?:~?/|[A-Za-z]:[\\/]|\\\\)|(?<=:)/(?!/)|(?<=file://)/)"""
    r"""[^\s'"`,;()\[\]]*[^\s'"`,;()\[\].:]"""
)


def anonymous(text: str) -> str:
    """``text`` with the folders of absolute paths taken out, so that no table gives away who made it."""
    return _PATH.sub(lambda match: "…/" + re.split(r"[\\/]", match[0])[-1], text)


def params(text: str | None) -> dict[str, Any]:
    """Parameters from their JSON column; text that is no JSON object counts as one parameter."""
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    if not isinstance(found, dict):
        found = {"params": found}
    return {key: anonymous(value) if isinstance(value, str) else value for key, value in found.items()}


def row_labels(rows: Sequence[Mapping[str, Any]], rename: Mapping[str, str]) -> list[str]:
    """Printed names; parameters are shown where one translator appears with several sets of them.

    Reference rows are called by their role.
    """
    labels = []
    for row in rows:
        name = rename.get(row["translator"], row["translator"])
        if row["role"] != "translator":
            role = rename.get(row["role"], row["role"])
            labels.append(f"{role} ({name})" if name else role)
            continue
        given = params(row["translator_params"])
        siblings = [
            params(other["translator_params"])
            for other in rows
            if other["role"] == "translator" and other["translator"] == row["translator"]
        ]
        shown = {key: value for key, value in given.items() if any(s.get(key) != value for s in siblings)}
        labels.append(format_call(name, shown))
    return _distinct(labels)


def block_titles(blocks: Sequence[Mapping[str, Any]], rename: Mapping[str, str]) -> list[str]:
    """``dataset: source → target``; what differs is added where one dataset stands for different data."""
    titles = []
    for block in blocks:
        name = rename.get(block["dataset"], block["dataset"])
        source, target = block["source_domain"], block["target_domain"]
        title = f"{name}: {source} → {target}" if source and target else name
        others = [b for b in blocks if b["dataset"] == block["dataset"]]
        differences = []
        for key, word in (("dataset_revision", "revision"), ("dataset_params", ""), ("split", "split")):
            if any(b[key] != block[key] for b in others):
                differences.append(_detail(word, block[key], [b[key] for b in others]))
        titles.append(f"{title} [{', '.join(d for d in differences if d)}]" if any(differences) else title)
    return _distinct(titles)


def column_names(columns: Sequence[Mapping[str, Any]], rename: Mapping[str, str]) -> list[str]:
    """``FID``, ``SWD[karras]``: the title with its variant and whatever tells it from its namesakes."""
    names = []
    for column in columns:
        kin = [c for c in columns if all(c[k] == column[k] for k in ("metric", "variant", "title", "label"))]
        inside = [column["variant"]] if column["variant"] else []
        for key in DETAILS:
            value = column[key]
            if key in _PLAIN and value not in _PLAIN[key]:
                inside.append(str(value))
            elif any(c[key] != value for c in kin):
                inside.append(_detail(_WORDS.get(key, ""), value, [c[key] for c in kin]))
        if any(c["title"] == column["title"] and c["metric"] != column["metric"] for c in columns):
            inside.insert(0, column["metric"])
        title = rename.get(column["metric"], column["title"] or column["metric"])
        inside = [part for part in inside if part]
        names.append(f"{title}[{', '.join(inside)}]" if inside else title)
    return names


_WORDS = {"weights_sha256": "weights", "segmenter_seed": "segmenter seed", "segmenter": "segmenter"}


def _detail(word: str, value: Any, all_values: Iterable[Any]) -> str:
    """What sets ``value`` apart from ``all_values``, in words."""
    if isinstance(value, str) and value.startswith("{"):
        given = params(value)
        others = [params(v) for v in all_values]
        shown = {k: v for k, v in given.items() if any(o.get(k) != v for o in others)}
        return format_call("", shown)[1:-1]
    if word == "weights" and value:
        value = str(value)[:8]
    if value in ("", None):
        return f"{word} not stated".strip() if word else "default"
    return f"{word} {value}".strip()


def _distinct(labels: list[str]) -> list[str]:
    """The same labels, numbered where two different things would be printed alike."""
    seen: dict[str, int] = {}
    for position, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] > 1:
            labels[position] = f"{label} ({seen[label]})"
    return labels
