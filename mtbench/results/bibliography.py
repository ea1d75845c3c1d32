"""The works behind a result as BibTeX: ``RESULTS/references.bib`` and ``mtbench plugins NAME --bibtex``.

A spec's ``citation`` is a sentence for people, ``Authors: Title. Venue YEAR`` or ``First et al., Title, Venue YEAR``;
several are separated by semicolons. Recognised parts become fields; the whole sentence is always in ``note``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from mtbench.errors import StoreError
from mtbench.store.files import read_regular, write_whole

FILE = "references.bib"
PAPER = "Konz, Chen, Gu, Dong, Mazurowski: Rethinking perceptual metrics for medical image translation. MIDL 2024"
"""The paper whose protocol mtbench follows."""
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_TAIL = r"(?P<venue>[^,]+?),? (?P<year>(?:19|20)\d\d)\b"
_FORMS = (
    re.compile(r"(?P<authors>[^:,]+? et al\.?), (?P<title>.+?), " + _TAIL),
    re.compile(r"(?P<authors>[^:.]+): (?P<title>.+?)\. " + _TAIL),
)
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s;,]*[^\s;,.)]")
_NOTE = re.compile(r"^  note = \{(.*)\},$", re.MULTILINE)


def split(citation: str) -> list[str]:
    """The works that a citation names: its parts between semicolons that contain a year, or else all of it."""
    # In "masks: Lew et al." the first word says what the work is cited for.
    parts = [re.sub(r"^[a-z]+: ", "", part.strip()) for part in citation.split("; ")]
    return parts if len(parts) > 1 and all(_YEAR.search(part) for part in parts) else [citation.strip()]


def bibtex(citations: Iterable[str]) -> str:
    """Each work once, in the order of first mention; empty if there are none."""
    works = dict.fromkeys(work for citation in citations for work in split(citation) if work)
    entries, keys = [], set[str]()
    for work in works:
        key = base = _key(work)
        for letter in "bcdefghijklmnopqrstuvwxyz":
            if key not in keys:
                break
            key = base + letter
        keys.add(key)
        entries.append(_entry(key, work))
    return "\n".join(entries)


def write(folder: Path, citations: Iterable[str]) -> None:
    """Add works to ``references.bib`` of a results directory.

    Raises:
        StoreError: the disk is full, or the folder cannot be written.
    """
    text = bibtex([*cited(folder), *citations])
    write_whole(folder / FILE, lambda file: file.write(text.encode()))


def cited(folder: Path) -> list[str]:
    """The works of a results directory, as sentences; empty without a ``references.bib``."""
    try:
        text = read_regular(folder / FILE).decode("utf-8", errors="replace")
    except (OSError, StoreError):
        return []
    return [re.sub(r"\\([&%$#_{}])", r"\1", note) for note in _NOTE.findall(text)]


def _entry(key: str, work: str) -> str:
    fields = {"note": work}
    match = next((match for form in _FORMS if (match := form.match(work))), None)
    if match:
        fields = {
            "author": _authors(match["authors"]),
            "title": f"{{{match['title']}}}",
            "howpublished": match["venue"].strip(),
            **fields,
        }
    if year := _YEAR.search(work[match.start("year") :] if match else work):
        fields["year"] = year[0]
    if doi := _DOI.search(work):
        fields["doi"] = doi[0]
    lines = [f"  {name} = {{{_escape(value) if name != 'doi' else value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _authors(text: str) -> str:
    names = re.sub(r"\s*et al\.?$", ", others", text)
    return " and ".join(name.strip() for name in names.split(",") if name.strip())


def _key(work: str) -> str:
    name = re.match(r"[^\W\d_]+(?:[ -][a-z]?[^\W\d_]+)?", work)
    first = re.sub(r"[^a-z]", "", (name[0] if name else "work").lower().split(" ")[0]) or "work"
    year = _YEAR.search(work)
    return first + (year[0] if year else "")


def _escape(text: str) -> str:
    return re.sub(r"([&%$#_])", r"\\\1", text.replace("\n", " "))
