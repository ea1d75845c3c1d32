"""Raw values held against the annotations of a dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from mtbench.errors import RequestError
from mtbench.typed import MismatchError, Record, Rule, Wording, read

SAYS = Wording(RequestError, "no key '{name}'", "'{name}' is {value!r}")


def doubled(value: Any) -> Any:
    if value == "odd":
        raise MismatchError("something even", "this is odd")
    return value * 2 if isinstance(value, int) else value


@dataclass(frozen=True)
class Inner(Record):
    share: Annotated[float, Rule("a share", lambda part: 0 <= part <= 1)] = 0.5


@dataclass(frozen=True)
class Table(Record):
    name: str
    kind: Literal["plain", "fancy"] = "plain"
    size: Annotated[int, Rule("at least 1", lambda size: size > 0, of_type=False)] = 1
    span: Annotated[tuple[int, int], Rule("first and last", lambda span: span[0] <= span[1])] | None = None
    twice: Annotated[int, doubled] = 2
    words: tuple[Annotated[Literal["a", "b"], Rule(what="a word is {value!r}")], ...] = ()
    file: Path = Path()
    labels: Mapping[int, str] = field(default_factory=dict)
    sides: frozenset[str] = frozenset()
    ratio: float | None = None
    inner: Inner = Inner()


def table(**raw: Any) -> Table:
    return read(Table, {"name": "x", **raw}, SAYS, lambda key: f"file, {key}")


def test_raw_values_get_the_types_of_the_declaration() -> None:
    raw = {
        "span": [1, 2], "twice": 4, "words": ["a", "b"], "file": "x/y", "labels": {"3": "bone"}, "sides": ["s", "s"],
        "ratio": 2, "inner": {"share": 0.25},
    }  # fmt: skip
    record = table(**raw)
    assert record == Table(
        "x", span=(1, 2), twice=8, words=("a", "b"), file=Path("x/y"), labels={3: "bone"}, sides=frozenset({"s"}),
        ratio=2.0, inner=Inner(0.25),
    )  # fmt: skip
    assert isinstance(record.ratio, float)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"nam": "y"}, "file, nam: no key 'nam'. Did you mean 'name'? Expected one of name, kind, size"),
        ({"name": 3}, "file, name: 'name' is 3. Expected a value of type str."),
        ({"kind": "fancyy"}, "'kind' is 'fancyy'. Did you mean 'fancy'? Expected one of plain, fancy."),
        ({"size": 0}, "'size' is 0. Expected at least 1."),
        ({"size": "big"}, "'size' is 'big'. Expected a value of type int."),
        ({"size": True}, "'size' is True. Expected a value of type int."),
        ({"span": [2, 1]}, "'span' is [2, 1]. Expected first and last."),
        ({"span": "12"}, "'span' is '12'. Expected first and last."),
        ({"span": [1, 2, 3]}, "'span' is [1, 2, 3]. Expected first and last."),
        ({"twice": "odd"}, "file, twice: this is odd. Expected something even."),
        ({"words": ["a", "c"]}, "a word is 'c'. Expected one of a, b."),
        ({"labels": {"bone": "3"}}, "'labels' is {'bone': '3'}. Expected a value of type Mapping[int, str]."),
        ({"sides": "source"}, "'sides' is 'source'. Expected a value of type frozenset[str]."),
        ({"ratio": 10**400}, "Expected a value of type float | None."),
        ({"inner": {"share": 2}}, "file, inner: Inner.share is 2. Expected a share."),
        ({"inner": {"shore": 2}}, "file, inner: Inner has no field 'shore'."),
        ({"inner": 2}, "'inner' is 2. Expected a value of type Inner."),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        table(**raw)
    assert message in str(caught.value)


def test_only_some_fields_may_be_there() -> None:
    record = read(Table, {"name": "x"}, SAYS, lambda key: "file", ("name", "size"), ratio=0.5)
    assert record == Table("x", ratio=0.5)
    with pytest.raises(RequestError, match=r"no key 'kind'\. Expected one of name, size\."):
        read(Table, {"name": "x", "kind": "fancy"}, SAYS, lambda key: "file", ("name", "size"))


def test_records_come_back_from_json() -> None:
    record = Table("x", "fancy", span=(1, 2), labels={3: "bone"}, sides=frozenset("ab"), inner=Inner(0.75))
    written = record.to_json()
    assert written == {
        "name": "x", "kind": "fancy", "span": [1, 2], "labels": {"3": "bone"}, "sides": ["a", "b"],
        "inner": {"share": 0.75},
    }  # fmt: skip
    assert Table.from_json(written) == record
    for raw, message in (
        ({"name": "x", "nome": 1}, "Table has no field 'nome'"),
        ({"name": "x", "size": "1"}, "Table.size is '1', expected a value of type int"),
        ({"name": "x", "inner": {"share": "all"}}, "Inner.share is 'all', expected a share"),
        ({}, "Table: .*missing.*'name'"),
        ([], r"Table is \[\], expected a table"),
    ):
        with pytest.raises(ValueError, match=message):
            Table.from_json(raw)  # type: ignore[arg-type]
