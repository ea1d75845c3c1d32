"""``mtbench correlate --against``: endpoints of the user's own, by translator or by case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

import mtbench
from mtbench.analysis.casewise import correlate_cases
from mtbench.analysis.correlation import correlate
from mtbench.analysis.endpoints import read_endpoints
from mtbench.errors import DataError, MtbenchError, RequestError
from mtbench.results.schema import CASES, SCHEMA_VERSION, SCORES, table
from tests.test_correlation import row
from tests.test_plan import SUITE

FID = {"a": 10.0, "b": 20.0, "c": 40.0, "d": 50.0}
DICE = {"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.2}
RATING = {"a": 4.5, "b": 4.0, "c": 1.0, "d": 2.0}


def scores(**more: Any) -> Any:
    rows = [row(name, value, **more) for name, value in FID.items()]
    return table([*rows, *(row(name, value, "dice", **more) for name, value in DICE.items())], SCORES)


def written(folder: Path, text: str) -> Path:
    path = folder / "ratings.csv"
    path.write_text(text, encoding="utf-8")
    return path


def by_translator(folder: Path) -> Path:
    lines = [f"{name},{value},{10 - value}," for name, value in RATING.items()]
    return written(folder, "\n".join(["translator,rating,dose,comment", *lines[:-1], lines[-1] + "blurred"]) + "\n")


def test_every_metric_is_correlated_with_every_endpoint(tmp_path: Path) -> None:
    correlations = correlate(scores(), against=read_endpoints(by_translator(tmp_path), ["dose"]))
    assert [(i.metric, i.against) for i in correlations.items] == [
        ("DICE bone", "rating"),
        ("DICE bone", "dose"),
        ("FID", "rating"),
        ("FID", "dose"),
    ]
    for item, values in zip(correlations.items[::2], (DICE, FID), strict=True):
        expected = stats.pearsonr(list(values.values()), list(RATING.values())).statistic
        assert item.estimates["pearson"].value == pytest.approx(expected)
        assert item.translators == tuple("abcd")
    # FID: lower is better; so is dose, which falls as the rating rises.
    dice, _, fid, dose = (item.estimates["pearson"] for item in correlations.items)
    assert fid.agreement == pytest.approx(-(fid.value or 0))
    assert dose.agreement == pytest.approx(fid.agreement)
    assert dice.agreement == pytest.approx(dice.value)
    assert "Endpoints: ratings.csv; lower is better: dose." in correlations.remarks


def test_cases_are_averaged_and_all_translators_need_them(tmp_path: Path) -> None:
    lines = [f"{name};p{case};{value + case - 1}" for name, value in RATING.items() for case in (0, 1, 2)]
    path = written(tmp_path, "\n".join(["translator;case;rating", *lines]))
    correlations = correlate(scores(), against=read_endpoints(path))
    expected = stats.pearsonr(list(DICE.values()), list(RATING.values())).statistic
    assert correlations.items[0].estimates["pearson"].value == pytest.approx(expected)
    assert "Endpoints: ratings.csv, means over 3 cases." in correlations.remarks
    with pytest.raises(DataError, match="'rating' has no value of 'd' for 1 of 3 cases, such as 'p2'"):
        read_endpoints(written(tmp_path, "\n".join(["translator;case;rating", *lines[:-1]])))


def test_a_table_by_data_set(tmp_path: Path) -> None:
    both = pa.concat_tables([scores(dataset="d"), scores(dataset="e")])
    lines = [f"{name},{data},{value * sign}" for data, sign in (("d", 1), ("e", -1)) for name, value in RATING.items()]
    path = written(tmp_path, "\n".join(["translator,dataset,rating", *lines]))
    first, second = (i for i in correlate(both, against=read_endpoints(path)).items if i.metric == "FID")
    assert (first.dataset, second.dataset) == ("d", "e")
    assert first.estimates["pearson"].value == pytest.approx(-(second.estimates["pearson"].value or 0))


def test_translators_without_a_value_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "translator,rating\na,1\nb,2\nc,\n")
    correlations = correlate(scores(), against=read_endpoints(path))
    assert correlations.items[0].translators == ("a", "b")
    assert correlations.items[0].estimates["pearson"].value is None
    assert "Not in ratings.csv: d." in correlations.remarks


def test_translators_of_one_name_are_told_by_their_printed_names(tmp_path: Path) -> None:
    params = [json.dumps({"steps": steps}) for steps in (1, 2, 3)]
    several = table(
        [row("net", value, translator_params=p) for value, p in zip((3, 2, 1), params, strict=True)], SCORES
    )
    with pytest.raises(RequestError, match="'net' is the name of 3 translators"):
        correlate(several, against=read_endpoints(written(tmp_path, "translator,rating\nnet,1\n")))
    path = written(tmp_path, "translator,rating\nnet[steps=1],1\nnet[steps=2],2\nnet[steps=3],3\n")
    (item,) = correlate(several, against=read_endpoints(path)).items
    assert item.estimates["pearson"].agreement == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model,rating\na,1\n", "no column 'translator'"),
        ("translator,rating\n", "has no rows"),
        ("translator,comment\na,good\n", "no column of numbers"),
        ("translator,rating\na,1\nb,good\n", "line 3, column 'rating': 'good' is not a finite number"),
        ("translator,rating\na,1\nb,inf\n", "'inf' is not a finite number"),
        ("translator,rating\na,1\na,2\n", "lines 2 and 3 are both for a"),
        ("translator,rating\na,1,2\n", "line 2 has not as many cells as the heading"),
        ("translator,rating\naa,1\n", "the results have no translator 'aa'"),
        ("translator,dataset,rating\na,x,1\n", "the results have no dataset 'x'"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(MtbenchError, match=problem):
        correlate(scores(), against=read_endpoints(written(tmp_path, text)))


def test_the_command(tmp_path: Path, run_cli: Any) -> None:
    path = written(tmp_path, "translator,rating\nidentity,1\ncyclegan,3\nmaskgan,2\nunsb,4\n")
    ran = run_cli("correlate", "published:midl2024", "--against", path, "-d", "lumbar-mri-ct")
    assert ran.code == 0, ran.err
    assert "Endpoints: ratings.csv." in ran.out
    assert "Dice Bone" in ran.out
    assert run_cli("correlate", "published:midl2024", "--lower", "rating").code == 2
    ran = run_cli("correlate", "published:midl2024", "--against", path, "--lower", "ratng")
    assert (ran.code, "has no column 'ratng'" in ran.err, "rating" in ran.err) == (2, True, True)


# -- by case


def by_case(ratings: dict[tuple[str, str], float], levels: dict[str, float], **more: Any) -> tuple[Any, Any]:
    """Scores and per-case values: a translator's level, plus twice the rating of the case."""
    rows = [row(name, level, "ssim", row_id=name, **more) for name, level in levels.items()]
    cases = [
        {
            "schema_version": SCHEMA_VERSION,
            "row_id": name,
            "by": "slice",
            "case": f"{case}-{number}",
            "patient": case,
            "value": levels[name] + 2 * rating + number,
        }
        for (name, case), rating in ratings.items()
        for number in (0, 1)
    ]
    return table(rows, SCORES), table(cases, CASES)


def test_cases_are_correlated_within_translators(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = {"a": 0.0, "b": -50.0, "c": -100.0}
    ratings = {(name, f"p{i:02}"): float(rng.normal()) for name in levels for i in range(12)}
    noisy = {key: value + float(rng.normal()) for key, value in ratings.items()}
    # Over translators the ratings rise as the levels fall.
    lines = [f"{name},{case},{value - levels[name]}" for (name, case), value in noisy.items()]
    endpoints = read_endpoints(written(tmp_path, "\n".join(["translator,case,rating", *lines])))
    (item,) = correlate_cases(*by_case(ratings, levels), endpoints).items

    x, y = (np.array([of[key] for key in ratings]).reshape(3, 12) for of in (ratings, noisy))
    x, y = (each - each.mean(axis=1, keepdims=True) for each in (x, y))
    assert item.value == pytest.approx((x * y).sum() / ((x**2).sum() * (y**2).sum()) ** 0.5)
    assert item.agreement == pytest.approx(-(item.value or 0))  # the metric's lower scores are better
    assert (item.translators, item.cases, item.patients) == (3, 36, 12)
    assert item.interval is not None
    draws = []
    for _ in range(400):
        chosen = rng.choice(12, 12)
        a, b = (each[:, chosen] - each[:, chosen].mean(axis=1, keepdims=True) for each in (x, y))
        draws.append(-(a * b).sum() / ((a**2).sum() * (b**2).sum()) ** 0.5)
    assert item.interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.08)


def test_slices_of_their_own_names_few_patients_and_what_is_missing(tmp_path: Path) -> None:
    levels = {"a": 0.0, "b": 1.0}
    ratings = {(name, f"p{i}"): float(i) for name in levels for i in range(4)}
    scores, cases = by_case(ratings, levels, higher_is_better=True)
    lines = [f"{name},p{i}-{k},{2 * i + k}" for name in levels for i in range(4) for k in (0, 1)]
    endpoints = read_endpoints(written(tmp_path, "\n".join(["translator,case,rating", *lines])))
    (item,) = correlate_cases(scores, cases, endpoints).items
    assert (item.cases, item.patients, item.interval) == (16, 4, None)
    assert item.agreement == pytest.approx(1.0)
    with pytest.raises(RequestError, match="has no column 'case'"):
        correlate_cases(scores, cases, read_endpoints(written(tmp_path, "translator,rating\na,1\nb,2\n")))
    flat = [f"{name},p{i},3" for name in levels for i in range(4)]
    constant = read_endpoints(written(tmp_path, "\n".join(["translator,case,rating", *flat])))
    assert correlate_cases(scores, cases, constant).items[0].value is None
    # A conditional translator has seen the masks.
    seen, _ = by_case(ratings, levels, higher_is_better=True, conditional=True)
    found = correlate_cases(seen, cases, endpoints)
    assert not found.items
    assert any("a, b (conditional" in remark for remark in found.remarks)


def test_the_command_by_case(toys: Path, tmp_path: Path, run_cli: Any) -> None:
    (toys.parent / "toy.toml").write_text(SUITE)
    ran = run_cli("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline", "--out", "out")
    assert ran.code == 0, ran.err
    cases = [r for r in mtbench.load("out", "cases").to_pylist() if r["translator"] == "toy-same"]
    lines = {f"toy-same,{r['patient']},{number}" for number, r in enumerate(cases) if r["by"] == "patient"}
    lines = lines or {f"toy-same,{r['case']},{number}" for number, r in enumerate(cases)}
    path = written(tmp_path, "\n".join(["translator,case,rating", *sorted(lines)]))
    ran = run_cli("correlate", "out", "--against", path, "--per-case")
    assert ran.code == 0, ran.err
    assert "r within" in ran.out
    assert "none with fewer than 10" in ran.out
    ran = run_cli("correlate", "out", "--per-case")
    assert (ran.code, "--against, which is missing" in ran.err) == (2, True)
    ran = run_cli("correlate", "out", "--against", path, "--per-case", "--rule", "paper")
    assert (ran.code, "cannot be combined" in ran.err) == (2, True)
