"""Whole numbers that a request may hold: a seed that the tables cannot keep is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mtbench
from mtbench.errors import ParamError, RequestError, SuiteError
from mtbench.integers import LARGEST, check_seed
from mtbench.plan.request import PlanRequest
from mtbench.plan.suite import load_suite
from mtbench.registry.discovery import discover
from mtbench.registry.params import Param, convert

SUITE = """
[suite]
name = "toy"
seeds = [3]
segmenter_seed = 3
sampling_seed = 3
draws = 3
[[datasets]]
name = "toy"
params.size = 16
split = { by = "seed", seed = 3, test = 0.34 }
[[translators]]
name = "toy-noisy"
seeds = [1, 3]
[[segmenters]]
name = "toy-threshold"
[[metrics]]
name = "toy-overlap"
[[metrics]]
name = "toy-gap"
"""
SEEDS = ["seeds = [3]", "segmenter_seed = 3", "sampling_seed = 3", "seed = 3,", "seeds = [1, 3]"]
TOO_LARGE = str(2**63)
HUGE = "0x1" + 5000 * "0"


def load(tmp_path: Path, toys: Path, old: str, new: str, *settings: str) -> Any:
    path = tmp_path / "s.toml"
    assert SUITE.count(old) == 1
    path.write_text(SUITE.replace(old, new))
    return load_suite(str(path), discover([str(toys)]), settings)


@pytest.mark.parametrize("line", SEEDS)
@pytest.mark.parametrize("seed", [TOO_LARGE, str(2**200), "-1", f"-{2**63}", "true", "1.0", '"1"'])
def test_what_cannot_be_a_seed(tmp_path: Path, toys: Path, line: str, seed: str) -> None:
    number = 1 + SUITE[: SUITE.index(line)].count("\n")
    with pytest.raises(SuiteError) as raised:
        load(tmp_path, toys, line, line.replace("3", seed))
    assert f"s.toml, line {number}: " in str(raised.value)
    assert "seed" in str(raised.value)
    assert f"Expected a whole number from 0 to {LARGEST}" in str(raised.value)
    if seed == TOO_LARGE:
        assert TOO_LARGE in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("draws = 3", "draws = 0", "line 7: 'draws' is 0. Expected a whole number from 1"),
        ("draws = 3", f"draws = {TOO_LARGE}", f"line 7: 'suite.draws' is {TOO_LARGE}"),
        ("draws = 3", "threads = 100000", "line 7: 'threads' is 100000. Expected a whole number from 1 to 1024"),
        (
            "size = 16",
            f"size = {TOO_LARGE}",
            f"line 10: 'datasets.params.size' is {TOO_LARGE}. Expected a whole number",
        ),
        ("size = 16", f"size = [16, -{2**63 + 1}]", "line 10: 'datasets.params.size' is -9223372036854775809"),
        ("size = 16", f"size = {HUGE}", "a number has 1000 digits or more"),
        ("size = 16", f"size = {5000 * '9'}", "a number has 1000 digits or more"),
        (
            'by = "seed", seed = 3, test = 0.34',
            'by = "folds", folds = 1000000000',
            "'folds' is 1000000000. .*2 to 1000",
        ),
    ],
)
def test_other_numbers(tmp_path: Path, toys: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load(tmp_path, toys, old, new)


def test_numbers_of_options(run_cli: Any, tmp_path: Path, toys: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE)
    for verb in ("run", "plan"):
        for options in (("--seed", TOO_LARGE), ("--seed=-1",), ("--set", f"seeds=[{TOO_LARGE}]"), ("--set=draws=0",)):
            ran = run_cli(verb, "s.toml", "--plugin", toys, *options)
            assert ran.code == 2
            assert "Expected a whole number from" in ran.err
            assert options[0].partition("=")[0] == "--set" or ran.err.startswith("Error: --seed: a seed is ")
        ran = run_cli(verb, "s.toml", "--plugin", toys, "--set", f"seeds={5000 * '9'}")
        assert (ran.code, "Expected a list of whole numbers, at least one" in ran.err) == (2, True)
    assert not (tmp_path / "mtbench-results").exists()
    for command in (("score", "a", "b"), ("translate", "identity", "a.png", "b.png")):
        ran = run_cli(*command, "--device", "cpu", "--seed", TOO_LARGE)
        assert (ran.code, f"--seed: a seed is {TOO_LARGE}. Expected" in ran.err) == (2, True)


def test_numbers_of_calls(toys: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(SUITE)
    registry = discover([str(toys)])
    odd: Any
    for odd in (2**63, -1, True, 1.0, "1", None, np.True_, np.float32(1)):
        with pytest.raises(RequestError, match="--seed: a seed is "):
            PlanRequest.of(str(tmp_path / "s.toml"), {"seeds": [0, odd]}).plan(registry)
        with pytest.raises(RequestError, match="--seed: a seed is "):
            mtbench.score("a", "b", device="cpu", seed=odd)
        if odd is not None:
            with pytest.raises(RequestError, match="--seed: a seed is "):
                mtbench.translate("identity", "a.png", "b.png", device="cpu", seed=odd)
    for odd in (0, True, 2.0):
        with pytest.raises(RequestError, match="--draws: the number of draws is "):
            mtbench.score("a", "b", device="cpu", draws=odd)
    seeds = PlanRequest.of(str(tmp_path / "s.toml"), {"seeds": list(np.arange(2))}).plan(registry).suite.seeds
    assert (seeds, {type(seed) for seed in seeds}) == ((0, 1), {int})
    assert check_seed(LARGEST, "here") == LARGEST


def test_the_largest_seed_goes_through_every_table(run_cli: Any, tmp_path: Path, toys: Path) -> None:
    text = SUITE
    for line in SEEDS:
        text = text.replace(line, line.replace("3", str(LARGEST)))
    (tmp_path / "s.toml").write_text(text)
    ran = run_cli("run", "s.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline", "--out", "out")
    assert ran.code == 0, ran.err
    rows = mtbench.load(tmp_path / "out").to_pylist()
    assert {row["seed"] for row in rows} == {None, 1, LARGEST}
    assert {row["segmenter_seed"] for row in rows} == {None, LARGEST}
    assert LARGEST in {row["seed"] for row in mtbench.load(tmp_path / "out", "cases").to_pylist()}
    assert run_cli("results", "show", "out").code == 0
    assert str(LARGEST) in json.dumps(rows)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**70, str(2**70), 1e300, 10**5000], ids=range(6))
def test_a_parameter_has_64_bits(value: Any) -> None:
    with pytest.raises(ParamError, match=r"parameter 'p' is .* Expected a whole number of 64 bits"):
        convert("p", value, Param(1), "translator 't'")


def test_parameters_at_the_bounds() -> None:
    for value in (LARGEST, -LARGEST - 1):
        assert convert("p", value, Param(1), "t") == value
        assert convert("p", str(value), Param(1), "t") == value
    with pytest.raises(ParamError, match=r"'p' is a number of more than 100 digits. Expected a value of type float"):
        convert("p", 10**5000, Param(1.0), "t")
    with pytest.raises(ParamError, match="Expected at most 4294967295"):
        convert("p", 2**32, Param(1, maximum=2**32 - 1), "t")


@pytest.mark.parametrize("metric", ["kid:seed", "is:seed"])
def test_seeds_that_numpy_cannot_take(run_cli: Any, tmp_path: Path, metric: str) -> None:
    # Their draws are those of other programs, from a generator that takes 32 bits.
    ran = run_cli("plan", "quickstart", "-m", f"{metric}={2**32}")
    assert (ran.code, "parameter 'seed' is 4294967296" in ran.err) == (2, True)
    assert run_cli("plan", "quickstart", "-m", f"{metric}={2**32 - 1}").code == 0
