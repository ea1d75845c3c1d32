"""Reading a report as a browser would, and results made of a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mtbench.results.directory import Results
from mtbench.results.entries import entry_of

OF_SCORES = ("value", "label", "note", "without_interval")


class Reader(HTMLParser):
    """Text by element, every attribute that would load something, and what is described: tag, id, can it have focus."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.said: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.unlabelled: list[str] = []
        self.described: list[tuple[str, str, bool]] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        self._inside.append(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.loads += [values[name] or "" for name in ("src", "srcset", "data", "poster") if name in values]
        if tag == "link":
            self.loads.append(values.get("href") or "")
        if tag == "a":
            self.links.append(values.get("href") or "")
        if "aria-describedby" in values:
            can_focus = tag in ("button", "input") or values.get("tabindex") == "0"
            self.described.append((tag, values["aria-describedby"] or "", can_focus))
        if tag == "img" and "alt" not in values:
            self.unlabelled.append(str(values)[:80])
        if tag in ("meta", "img", "input", "link", "br"):
            self._inside.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._inside):
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


def rows_into(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A results directory with these score rows."""
    results = Results.create(folder, "trial")
    shared = {"protocol": "segment-translated", "role": "translator", "dataset": "task", "translator_params": "{}"}
    with results.writing():
        for number, row in enumerate(rows):
            columns = {"suite": "trial", "status": "measured", "conditional": False, **shared, **row}
            values = {name: columns.pop(name) for name in OF_SCORES if name in columns}
            of_row = {"row": str(number), "mark": "", "status": "measured", "made_from": columns.pop("made_from", {})}
            results.append(entry_of({"type": "row", **of_row, "columns": columns, "scores": [values], "cases": []}))
    return folder


def dice(translator: str, value: float | None, **more: Any) -> dict[str, Any]:
    of = {"metric": "dice", "title": "Dice", "family": "segmentation", "higher_is_better": True, "label": "bone"}
    return {"translator": translator, "value": value, **of, **more}


def distance(translator: str, value: float | None, **more: Any) -> dict[str, Any]:
    of = {"metric": "far", "title": "Far", "family": "perceptual", "higher_is_better": False, "label": ""}
    return {"translator": translator, "value": value, **of, **more}
