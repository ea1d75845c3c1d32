"""A built-in of an installed mtbench is known by its revision: its output changes only together with that."""

from __future__ import annotations

import json
from typing import Any

import pytest
import reference_outputs
import torch

RECORDED: dict[str, Any] = json.loads(reference_outputs.FILE.read_text())
OUTPUTS = {name: (revision, figures) for name, revision, figures in reference_outputs.outputs()}


def test_every_built_in_is_recorded() -> None:
    assert set(RECORDED) == set(OUTPUTS)


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_output_changes_only_with_the_revision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    revision, figures = OUTPUTS[name]
    assert revision == RECORDED[name]["revision"], "record the outputs anew: python tests/reference_outputs.py"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected = RECORDED[name]["figures"]
        assert figures() == {of: pytest.approx(value, rel=1e-4, abs=1e-6) for of, value in expected.items()}, (
            f"{name} puts out something else than before: raise its revision, then record the outputs anew"
        )
    finally:
        torch.set_num_threads(threads)
