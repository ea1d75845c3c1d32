"""Checks of table formats, on a published table."""

from __future__ import annotations

from typing import Any

from mtbench.analysis.table import build_table
from mtbench.conformance import general
from mtbench.conformance.subject import Subject
from mtbench.conformance.verdict import Check, FailedError
from mtbench.results.published import published, published_scores

HOSTILE = 'a|b & <c> "d" \\e_{f} é %#$~^\tg'


def table(**options: Any) -> Any:
    """The first of the published tables."""
    return build_table(published_scores(next(iter(published()))), **options)


def _export(subject: Subject, content: Any) -> str:
    with subject.watched("export()"):
        text = subject.create().export(content)
    if not isinstance(text, str):
        raise FailedError(f"export() returns {type(text).__name__}", "Return the table as text")
    return text


def text(subject: Subject) -> str:
    """A text that contains the numbers of the table."""
    content = table()
    found = _export(subject, content)
    if not found.strip():
        raise FailedError("export() returns an empty text", "Return the table as text")
    cells = [
        cell for section in content.sections for row in section.rows for cell in row.cells if cell.value is not None
    ]
    absent = [cell.text for cell in cells if cell.text not in found and repr(cell.value) not in found]
    if absent:
        raise FailedError(
            f"{len(absent)} of {len(cells)} numbers are missing, such as '{absent[0]}'", "Write all of them"
        )
    if not found.endswith("\n"):
        raise FailedError("the text does not end with a newline", 'Add "\\n": it may be the content of a file')
    return f"{len(found)} characters, {len(cells)} numbers"


def determinism(subject: Subject) -> str:
    """The same table gives the same text."""
    one, other = (_export(subject, table()) for _ in range(2))
    if one != other:
        raise FailedError("the same table gives two texts", "Omit dates, and sort sets")
    return "equal"


def hostile(subject: Subject) -> str:
    """Names may contain any character."""
    rows = [row for section in table().sections for row in section.rows]
    plain = _export(subject, table(rename={rows[0].translator: "NAME"}))
    strange = _export(subject, table(rename={rows[0].translator: HOSTILE}))
    if "NAME" in plain and strange == plain.replace("NAME", HOSTILE) and subject.spec.ending not in (".txt",):
        raise FailedError(
            f"the name {HOSTILE!r} is not escaped",
            "Escape characters with a meaning in the format, such as | in a table",
        )
    return 'names with | & < > " \\ _ %'


def empty(subject: Subject) -> str:
    """A table without numbers can be exported."""
    content = build_table(published_scores(next(iter(published()))).slice(0, 0))
    _export(subject, content)
    return "a table without rows"


CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("text", text, beside=True),
    Check("determinism by seed", determinism, ("object", "text")),
    Check("strange names", hostile, ("object", "text")),
    Check("empty input", empty, ("object", "text")),
    general.STATE,
)
