"""Checkpoints along a training: which steps are kept, that keeping changes nothing, and rows of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training import Gan, context, same, unpaired, weights
from toys import toy_suite

import mtbench
from mtbench.compute.kept import KeptCheckpoints, kept_parts, kept_steps, weights_folder
from mtbench.errors import DataError, ParamError, SuiteError
from mtbench.plan import Plan, make_plan
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.training import Budget, train

KEEP = 'name = "toy-steps"\nkeep = 4'


def keeping(*settings: str, translators: tuple[str, ...] = ("toy-steps",), **more: Any) -> str:
    """A suite in which ``toy-steps`` keeps four checkpoints."""
    return toy_suite(*settings, translators=translators, **more).replace('name = "toy-steps"', KEEP)


def plan(toys: Path, text: str) -> Plan:
    return make_plan(parse_suite(text, "toy.toml", toys.parent), discover([toys]))


# -- the steps


def test_each_kept_checkpoint_has_trained_half_as_long_as_the_next() -> None:
    assert kept_parts(4) == (8, 4, 2)
    assert kept_parts(1) == ()
    assert kept_steps(4, 8) == (1, 2, 4, 8)
    assert kept_steps(4, 1000) == (125, 250, 500, 1000)
    assert kept_steps(3, 10) == (3, 5, 10)  # 2.5 steps are over after the third
    assert kept_steps(1, 5) == (5,)


def test_a_training_too_short_for_its_checkpoints_is_refused_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(ParamError, match=r"keep = 4 keeps a checkpoint after 1/8 .* has 5 steps. Expected at least 8"):
        kept_steps(4, 5)
    recipe = Gan(stop_at=0)
    here = context(kept=KeptCheckpoints(tmp_path, 4))
    with pytest.raises(ParamError, match="at least 8 steps"):
        train(recipe, unpaired(), here, Budget(steps=7), save=lambda folder: None)


def test_a_checkpoint_that_a_fit_has_not_kept_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "kept" / "4").mkdir(parents=True)
    assert weights_folder(tmp_path, 1, "translate") == tmp_path
    assert weights_folder(tmp_path, 4, "translate") == tmp_path / "kept" / "4"
    with pytest.raises(DataError, match=r"^translate: the fit has kept no checkpoint after 1/8 .*--fresh fit"):
        weights_folder(tmp_path, 8, "translate")


# -- the training


def trained(folder: Path, stop_at: int | None = None, state: Path | None = None) -> Gan:
    """A GAN of ten steps that keeps its generator after 3, 5 and 10."""
    import torch

    recipe, kept = Gan(norm=True, stop_at=stop_at), KeptCheckpoints(folder / "kept", 3)

    def save(place: Path) -> None:
        torch.save(recipe.networks["G"].state_dict(), place / "G.pt")

    train(recipe, unpaired(), context(state, kept=kept), Budget(steps=10), batch_size=2, save=save)
    return recipe


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_keeping_checkpoints_leaves_the_weights_bit_equal(tmp_path: Path) -> None:
    import torch

    plain = Gan(norm=True)
    train(plain, unpaired(), context(), Budget(steps=10), batch_size=2)
    assert same(plain, trained(tmp_path))
    assert KeptCheckpoints(tmp_path / "kept", 3).steps() == {"4": 3, "2": 5, "1": 10}
    for part, steps in ((4, 3), (2, 5)):
        # The learning rate follows the whole budget, so the comparison has the same one and is stopped.
        short = Gan(norm=True, stop_at=steps)
        with pytest.raises(KeyboardInterrupt):
            train(short, unpaired(), context(), Budget(steps=10), batch_size=2)
        there = torch.load(tmp_path / "kept" / str(part) / "G.pt", weights_only=True)
        expected = {name[2:]: value for name, value in weights(short).items() if name.startswith("G.")}
        assert there.keys() == expected.keys()
        assert all(torch.equal(there[name], expected[name]) for name in expected)


@pytest.mark.parametrize("stop_at", [2, 3, 4, 9])
def test_a_killed_training_resumes_and_has_the_same_kept_checkpoints(tmp_path: Path, stop_at: int) -> None:
    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", stop_at, tmp_path / "state")
    resumed = trained(tmp_path / "killed", state=tmp_path / "state")
    assert same(whole, resumed)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


# -- the plan


def test_without_keep_no_key_changes_and_with_it_only_those_of_the_fit_and_what_rests_on_it(toys: Path) -> None:
    translators = ("toy-same", "toy-steps")
    plain, kept = plan(toys, toy_suite(translators=translators)), plan(toys, keeping(translators=translators))
    changed = {unit.name for key, unit in plain.units.items() if key not in kept.units}
    assert {name for name in changed if "toy-steps" not in name} == set()
    assert {row.id for row in plain.rows} < {row.id for row in kept.rows}
    one = plan(toys, toy_suite(translators=translators).replace('name = "toy-steps"', 'name = "toy-steps"\nkeep = 1'))
    assert one.units.keys() == plain.units.keys()


def test_every_checkpoint_is_scored_on_test_and_on_validation_patients(toys: Path) -> None:
    graph = plan(toys, keeping("references = false", translators=("toy-same", "toy-steps"), metrics=("toy-gap",)))
    rows = [(r.columns["translator"], r.columns.get("checkpoint"), r.columns.get("scored_on")) for r in graph.rows]
    parts = ("1/8", "1/4", "1/2")
    assert rows == [
        ("toy-same", None, None),
        ("toy-same", None, "validation"),
        ("toy-steps", None, None),
        *(("toy-steps", part, side) for part in parts for side in (None, "validation")),
        ("toy-steps", None, "validation"),
    ]
    fits = {unit.key for unit in graph.units.values() if unit.stage == "fit"}
    assert len(fits) == 1
    row = graph.rows[rows.index(("toy-steps", "1/8", "validation"))]
    read = graph.units[row.unit].options
    assert (read.candidate.split, read.reference.split) == ("validation", "validation")  # type: ignore[attr-defined, union-attr]


@pytest.mark.parametrize(
    ("translator", "keep", "said"),
    [
        ("toy-same", "4", "keep = 4, but translator 'toy-same' does not train"),
        ("toy-shift", "4", "keep = 4, but translator 'toy-shift' keeps no checkpoints along the way"),
        ("toy-steps", "0", "'keep' is 0. Expected a whole number from 1 to 16"),
        ("toy-steps", '"all"', "'keep' is 'all'"),
    ],
)
def test_a_keep_that_cannot_be_is_refused_with_its_line(toys: Path, translator: str, keep: str, said: str) -> None:
    text = toy_suite(translators=(translator,)).replace(f'"{translator}"', f'"{translator}"\nkeep = {keep}')
    with pytest.raises(SuiteError, match=said) as refused:
        plan(toys, text)
    assert "toy.toml, line" in str(refused.value)


# -- a run


@pytest.fixture
def run(toys: Path, run_cli: Any) -> Callable[..., Any]:
    def call(text: str, *more: str) -> Any:
        (toys.parent / "toy.toml").write_text(text)
        return run_cli(
            "run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline", "--out", "out", *more
        )

    return call


def means(folder: str) -> dict[tuple[str, str], tuple[int, float]]:
    """Step and mean brightness by checkpoint and side."""
    return {
        (row["checkpoint"] or "", row["scored_on"] or ""): (row["step"], row["value"])
        for row in mtbench.load(folder).to_pylist()
        if row["metric"] == "toy-mean"
    }


def test_a_run_scores_every_checkpoint_with_its_own_weights_and_tables_show_the_final_ones(
    run: Callable[..., Any], run_cli: Any
) -> None:
    text = keeping("references = false", metrics=("toy-mean",))
    done = run(text)
    assert done.code == 0, done.err
    shown = run_cli("plan", "toy.toml", "--plugin", "toys.py").out
    assert all(f"toy-steps seed 0{at}" in shown for at in ("  ", " at 1/8  ", " at 1/8, validation", ", validation"))
    scores = means("out")
    assert {key: step for key, (step, _) in scores.items()} == {
        (part, side): step
        for part, step in (("1/8", 1), ("1/4", 2), ("1/2", 4), ("", 8))
        for side in ("", "validation")
    }
    # Nothing is clamped: images of the toys are below 0.6, and at most 8/32 is added.
    for side in ("", "validation"):
        start = scores["1/8", side][1] - 1 / 32
        for step, value in (value for key, value in scores.items() if key[1] == side):
            assert value == pytest.approx(start + step / 32, abs=0.5 / 255)
    assert scores["", ""][1] != scores["", "validation"][1]
    (table,) = json.loads(run_cli("export", "out", "--format", "json").out)["sections"]
    assert [row["label"] for row in table["rows"]] == ["toy-steps"]
    assert table["rows"][0]["cells"][0]["value"] == scores["", ""][1]
    again = run(text)
    assert again.code == 0
    assert means("out") == scores


def test_a_fit_killed_on_its_way_resumes_with_its_kept_checkpoints(
    run: Callable[..., Any], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = keeping("references = false", metrics=("toy-mean",)) + "\n"
    text = text.replace("keep = 4", "keep = 4\nparams.stop_at = 3")
    monkeypatch.setenv("TOY_KILL", "1")
    assert run(text).code == 130
    assert [path.name for path in sorted(store.glob("partial/*/kept/?"))] == ["4", "8"]
    monkeypatch.delenv("TOY_KILL")
    assert run(text).code == 0
    (fit,) = store.glob("artefacts/fit/*/*")
    added = {path.parent.name: float(np.load(path)[0]) for path in fit.rglob("added.npy")}
    assert added == {"8": 1 / 32, "4": 2 / 32, "2": 4 / 32, fit.name: 8 / 32}
    assert not list(store.glob("partial/*"))
