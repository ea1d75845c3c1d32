"""The printed names of blocks, rows and columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from mtbench.jsontext import parse
from mtbench.registry.params import format_call
from mtbench.results.identity import BLOCK, DETAILS

ROLES = {
    "translator": "",
    "truth": "true target images of the same source test slices, by the target-trained segmenter",
    "ceiling": "target-trained segmenter on real target test images, in general of other patients; not a strict bound",
    "floor": "real target training images against real target test images",
    "oracle": "source-trained segmenter on real source test images",
}
"""The rows of a table, and what the reference rows are."""

FAMILIES = {"segmentation": "Segmentation", "perceptual": "Perceptual metrics", "paired": "Paired metrics"}

_PLAIN = {"precision": ("", "fp32", "unknown"), "protocol": ("", "segment-translated")}
"""The usual settings; a column's name states any other values."""

OF_TARGET = frozenset({"train-on-translated"})
"""Protocols whose translators are evaluated on real target images."""
_START = r"(?:~?/|[A-Za-z]:[\\/]|\\\\)"
_PATH = re.compile(
    rf"""(?<=(['"`])){_START}[^'"`\n]*[^'"`\n.:](?=\1)"""  # in quotes it may hold spaces
    rf"""|(?:(?<![^\s'"`(\[=,;|]){_START}|(?<=:)/(?!/)|(?<=file://)/)"""
    # A folder may contain spaces too, if a path follows it.
    r"""(?:[^\s'"`,;()\[\]/]+(?: [^\s'"`,;()\[\]/]+){0,3}/)*[^\s'"`,;()\[\]]*[^\s'"`,;()\[\].:]"""
)


def conditional_input(protocols: Collection[str]) -> str:
    """Why a conditional translator is not comparable with others, under these protocols; "" is an unknown one."""
    circular = "its input is the reference mask"
    learnt = "its input is the mask on which the segmenter is then trained, and its own training may read target masks"
    of_target = OF_TARGET.intersection(protocols)
    if not of_target:
        return circular
    return f"{circular}; under {', '.join(sorted(of_target))}, {learnt}" if set(protocols) - of_target else learnt


def anonymise(text: str) -> str:
    """``text`` without the folders of absolute paths, so that tables do not reveal their author."""
    return _PATH.sub(lambda match: "…/" + re.split(r"[\\/]", match[0])[-1], text)


def params(text: str | None) -> dict[str, Any]:
    """Parameters from their JSON column; text that is not a JSON object counts as one parameter."""
    if not text:
        return {}
    try:
        values = parse(text)
    except ValueError:
        values = text
    if not isinstance(values, dict):
        values = {"params": values}
    return {key: anonymise(value) if isinstance(value, str) else value for key, value in values.items()}


def row_label(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], rename: Mapping[str, str]) -> str:
    """The printed name of one of ``rows``, with the settings that distinguish translators of the same name.

    Reference rows are named by their role.
    """
    name = rename.get(row["translator"], row["translator"])
    stale = " (stale)" if row.get("currency") else ""
    if row["role"] != "translator":
        role = rename.get(row["role"], row["role"])
        return (f"{role} ({name})" if name else role) + stale
    siblings = [other for other in rows if (other["role"], other["translator"]) == ("translator", row["translator"])]
    distinctions: dict[str, Any] = {}
    for key in ("translator_version", "translator_params"):
        distinctions |= _distinctions(key, row[key], [sibling[key] for sibling in siblings])
    if row["training_sha256"]:
        distinctions["training data"] = row["training_sha256"][:_DIGITS]
    return format_call(name, distinctions) + stale


def block_titles(blocks: Sequence[Mapping[str, Any]], rename: Mapping[str, str]) -> list[str]:
    """``dataset: source → target``; differences are added if one dataset name stands for different data."""
    titles = []
    for block in blocks:
        name = rename.get(block["dataset"], block["dataset"])
        source, target = block["source_domain"], block["target_domain"]
        title = f"{name}: {source} → {target}" if source and target else name
        others = [b for b in blocks if b["dataset"] == block["dataset"]]
        differences = []
        for key in BLOCK[1:]:
            if key == "data_sha256":
                # Another revision, other parameters or another split already explain the difference.
                others = [b for b in others if all(b[k] == block[k] for k in BLOCK if k != key)]
            if any(b[key] != block[key] for b in others):
                differences.append(detail(key, block[key], [b[key] for b in others]))
        titles.append(f"{title} [{', '.join(d for d in differences if d)}]" if any(differences) else title)
    return number_duplicates(titles)


def column_names(columns: Sequence[Mapping[str, Any]], rename: Mapping[str, str]) -> list[str]:
    """``FID``, ``SWD[karras]``: the title with its variant and the settings that distinguish equal titles."""
    names = []
    for column in columns:
        namesakes = [c for c in columns if all(c[k] == column[k] for k in ("metric", "variant", "title", "label"))]
        details = [column["variant"]] if column["variant"] else []
        for key in DETAILS:
            value = column[key]
            if key in _PLAIN and value not in _PLAIN[key]:
                details.append(str(value))
            elif any(c[key] != value for c in namesakes):
                details.append(detail(key, value, [c[key] for c in namesakes]))
        if any(c["title"] == column["title"] and c["metric"] != column["metric"] for c in columns):
            details.insert(0, column["metric"])
        title = rename.get(column["metric"], column["title"] or column["metric"])
        details = [part for part in details if part]
        names.append(f"{title}[{', '.join(details)}]" if details else title)
    return names


_WORDS = {
    "dataset_revision": "revision",
    "data_sha256": "data",
    "metric_version": "metric",
    "masks_sha256": "test masks",
    "metric_training_sha256": "metric's training slices",
    "weights_sha256": "weights",
    "segmenter_version": "segmenter",
    "segmenter_training_sha256": "segmenter's training data",
    "segmenter_seed": "segmenter seed",
}
_WORDLESS = ("extractor", "precision", "protocol")
"""Columns whose values, like parameters, are printed without a word for them."""
_DIGITS = 8
"""The printed digits of a sha256."""


def detail(key: str, value: Any, values: Iterable[Any]) -> str:
    """The text that distinguishes the ``value`` of a column from all ``values``."""
    word = "" if key in _WORDLESS or key.endswith("_params") else _WORDS.get(key, key)
    if value in ("", None):
        return f"{word} not stated".strip() if word else "default"
    if isinstance(value, str) and value.startswith("{"):
        text = format_call("", _distinctions(key, value, values))[1:-1]
        return f"{word} {text}".strip() if text else ""
    return f"{word} {str(value)[:_DIGITS] if key.endswith('sha256') else value}".strip()


def _distinctions(key: str, value: str, values: Iterable[str]) -> dict[str, Any]:
    """The parameters of ``value`` that any of ``values`` lacks or sets otherwise; empty for an unknown version."""
    others = [params(other) for other in values if other or not key.endswith("_version")]
    return {name: setting for name, setting in params(value).items() if any(o.get(name) != setting for o in others)}


def number_duplicates(labels: list[str]) -> list[str]:
    """The same labels, numbered if two different things would be printed alike."""
    counts: dict[str, int] = {}
    for position, label in enumerate(labels):
        counts[label] = counts.get(label, 0) + 1
        if counts[label] > 1:
            labels[position] = f"{label} ({counts[label]})"
    return labels
