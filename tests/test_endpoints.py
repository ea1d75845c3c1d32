"""``mtbench correlate --against``: endpoints of the user's own, by translator or by case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from scipy import stats

from mtbench.analysis.correlation import correlate
from mtbench.analysis.endpoints import read_endpoints
from mtbench.errors import DataError, MtbenchError, RequestError
from mtbench.results.schema import SCORES, table
from tests.test_correlation import row

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
