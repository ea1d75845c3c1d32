"""Parameters: their types, their bounds and the text forms a person writes them in."""

from __future__ import annotations

import pytest

from mtbench import Param
from mtbench.errors import ParamError
from mtbench.registry.params import complete, format_call, parse_call

DECLARED = {
    name: each if isinstance(each, Param) else Param(each)
    for name, each in {
        "epochs": 20,
        "lr": 1e-4,
        "kind": Param("lsgan", choices=("lsgan", "wgan")),
        "flip": True,
        "levels": Param(8, minimum=2, maximum=64),
        "folder": Param(None, kind="path"),
        "sizes": [1, 2],
        "extra": {"a": 1},
    }.items()
}


def one(name: str, value: object) -> object:
    return complete({name: value}, DECLARED, "translator 'net'")[name]


def test_defaults_are_filled_in() -> None:
    values = complete({"epochs": 3}, DECLARED, "translator 'net'")
    assert values["epochs"] == 3
    assert (values["lr"], values["flip"], values["folder"]) == (1e-4, True, None)
    assert list(values) == list(DECLARED)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 5.0, 5),
        ("epochs", "5", 5),
        ("lr", 1, 1.0),
        ("lr", "1e-3", 1e-3),
        ("flip", "false", False),
        ("folder", "images/007", "images/007"),
        ("sizes", (3, 4), [3, 4]),
        ("extra", {"b": 2}, {"b": 2}),
    ],
)
def test_values_become_the_declared_type(name: str, value: object, expected: object) -> None:
    result = one(name, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("epochs", 5.5, "'epochs' is 5.5. Expected a value of type int"),
        ("epochs", True, "'epochs' is True. Expected a value of type int"),
        ("epochs", "many", "'epochs' is 'many'. Expected a value of type int"),
        ("epochs", None, "'epochs' may not be empty"),
        ("lr", "nan", "'lr' is 'nan'"),
        ("flip", 1, "'flip' is 1. Expected a value of type bool"),
        ("kind", "wgam", "'kind' is 'wgam'. Did you mean 'wgan'? Expected one of 'lsgan', 'wgan'"),
        ("levels", 1, "'levels' is 1. Expected at least 2"),
        ("levels", 65, "'levels' is 65. Expected at most 64"),
        ("sizes", "12", "'sizes' is '12'. Expected a value of type list"),
        ("extra", [1], "'extra' is [1]. Expected a value of type table"),
        ("epoch", 3, "unknown parameter 'epoch'. Did you mean 'epochs'? Expected one of epochs, lr"),
    ],
)
def test_what_does_not_fit_names_the_parameter_and_its_owner(name: str, value: object, text: str) -> None:
    with pytest.raises(ParamError) as caught:
        one(name, value)
    assert text in str(caught.value)
    assert str(caught.value).startswith("translator 'net': ")


def test_a_parameter_without_default_must_say_its_type() -> None:
    with pytest.raises(TypeError, match="needs kind="):
        Param(None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cyclegan", ("cyclegan", {}, ())),
        ("cyclegan:epochs=5,lr=1e-4", ("cyclegan", {"epochs": 5, "lr": 1e-4}, ())),
        ("cyclegan[epochs=5, flip=true]", ("cyclegan", {"epochs": 5, "flip": True}, ())),
        ("swd:karras", ("swd", {}, ("karras",))),
        ("net:kind='wgan'", ("net", {"kind": "wgan"}, ())),
    ],
)
def test_the_typed_form(text: str, expected: object) -> None:
    assert parse_call(text) == expected


@pytest.mark.parametrize("text", ["2024_01", "007", "1_000", "1.50", "inf", "nan", "+5", "0x10"])
def test_text_that_only_resembles_a_number_stays_as_it_was_typed(text: str) -> None:
    _, params, _ = parse_call(f"precomputed:folder={text}")
    assert one("folder", params["folder"]) == text


def test_the_printed_form_reads_back() -> None:
    params = {"epochs": 5, "lr": 1e-4, "flip": False, "kind": "wgan"}
    printed = format_call("net", params)
    assert printed == "net[epochs=5,flip=false,kind=wgan,lr=0.0001]"
    assert parse_call(printed)[:2] == ("net", params)
    assert format_call("net", {}) == "net"
    assert parse_call(format_call("net", {"lr": 0.00012345678}))[1] == {"lr": 0.00012345678}
