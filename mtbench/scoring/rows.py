"""The rows of ``mtbench.score``: a list of dictionaries that a notebook shows as a table."""

from __future__ import annotations

from html import escape
from typing import Any


class ScoreRows(list[dict[str, Any]]):
    """A list of rows. Printed, and in a notebook, a table of name, value, interval and numbers of images."""

    def table(self) -> list[tuple[str, str, str, str]]:
        """Name, value, 95 % interval and N of each row, as text; a skipped row shows the reason instead."""
        lines = []
        for row in self:
            name = row.get("title") or row["metric"]
            name += f"[{row['variant']}]" if row.get("variant") else ""
            name += f" {row['label']}" if row.get("label") else ""
            if row["status"] != "measured":
                lines.append((name, "–", str(row.get("note") or ""), ""))
                continue
            digits = ".4g" if row.get("decimals") is None else f".{row['decimals']}f"
            low, high = row.get("ci_low"), row.get("ci_high")
            interval = "" if low is None or high is None else f"{low:{digits}} to {high:{digits}}"
            value = f"{row['value']:{digits}} {row.get('measure_unit') or ''}".strip()
            arrow = " ↑" if row.get("higher_is_better") else " ↓"
            lines.append((name + arrow, value, interval, str(row.get("n") or row.get("n_translated") or "")))
        return lines

    def __str__(self) -> str:
        lines = [("metric", "value", "95 % interval", "N"), *self.table()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ([f"{text:<{width}}" for text, width in zip(line, widths, strict=True)] for line in lines)
        return "\n".join("  ".join(texts).rstrip() for texts in padded)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("metric", "value", "95 % interval", "N"))
        body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in self.table())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
