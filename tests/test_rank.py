"""``mtbench rank``: the rules of challenges on results of several teams."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import challenge_submissions as submissions
import numpy as np
import pytest
from conftest import Ran
from scipy.stats import kendalltau

import mtbench
from mtbench.challenges.ranking import agreement
from mtbench.registry.discovery import discover
from mtbench_plugins.challenges.mean_rank import mean_rank

ORIGINALS: Mapping[str, Any] = json.loads(Path(__file__).with_name("challenge_originals.json").read_text())
Command = Callable[..., Ran]


def write_teams(folder: Path, challenge: str) -> None:
    """A results file for each team, as the challenge's program writes it."""
    folder.mkdir()
    for name, metrics in submissions.teams(challenge).items():
        results = [dict(zip(metrics, values, strict=True)) for values in zip(*metrics.values(), strict=True)]
        aggregates = {metric: {"mean": float(np.mean(values))} for metric, values in metrics.items()}
        (folder / f"{name}.json").write_text(json.dumps({"results": results, "aggregates": aggregates}))


def ranked(run_cli: Command, *arguments: str | Path) -> dict[str, Any]:
    ran = run_cli("rank", *arguments, "--json")
    assert ran.code == 0, ran.err
    record: dict[str, Any] = json.loads(ran.out)
    return record


def order(ranking: Mapping[str, Any]) -> list[list[Any]]:
    return [[each["team"], each["total"]] for each in ranking["standings"]]


@pytest.mark.parametrize(
    ("challenge", "rule"), [("synthrad2023", "synthrad2023"), ("synthrad2025", "synthrad2025:ranking=as-published")]
)
def test_the_order_of_rank_teams(challenge: str, rule: str, run_cli: Command, tmp_path: Path) -> None:
    write_teams(tmp_path / "teams", challenge)
    dose = ("--lower", "dvh_photon", "--higher", "gamma_photon") if challenge == "synthrad2023" else ()
    record = ranked(run_cli, "teams", "--rule", rule, *dose)
    for own, theirs in zip(order(record["rankings"][rule]), ORIGINALS["rank_teams"]["values"][challenge], strict=True):
        assert own[0] == theirs[0]
        assert own[1] == pytest.approx(theirs[1], abs=1e-9)


def test_the_reversed_directions_of_the_public_code_change_the_order(run_cli: Command, tmp_path: Path) -> None:
    write_teams(tmp_path / "teams", "synthrad2025")
    ran = run_cli("rank", "teams", "--rule", "synthrad2025", "--rule", "synthrad2025:as-published")
    assert ran.code == 0
    assert "ranks ms_ssim, DICE in the wrong direction, and so does this rule" in ran.out
    assert "Ranked without the dose metrics mae_target_photon" in ran.out
    record = ranked(run_cli, "teams", "--rule", "synthrad2025", "--rule", "synthrad2025:as-published")
    # Computed here from the definition: each mean scaled between the worst and the best team.
    totals = dict.fromkeys(submissions.teams("synthrad2025"), 0.0)
    for metric, higher in submissions.DIRECTIONS["synthrad2025"].items():
        means = {name: float(np.mean(each[metric])) for name, each in submissions.teams("synthrad2025").items()}
        low, high = min(means.values()), max(means.values())
        for name, mean in means.items():
            totals[name] += (mean - low) / (high - low) if higher else (high - mean) / (high - low)
    own = dict(order(record["rankings"]["synthrad2025"]))
    assert own == pytest.approx(totals)
    places = [record["rankings"][rule]["standings"] for rule in ("synthrad2025", "synthrad2025:ranking=as-published")]
    first, second = ({each["team"]: each["position"] for each in standings} for standings in places)
    expected = kendalltau(list(first.values()), [second[name] for name in first]).statistic
    assert record["kendall_tau"]["synthrad2025:ranking=as-published"] == pytest.approx(expected)
    assert expected < 1
    assert record["kendall_tau"]["synthrad2025"] == 1


def teams(*values: tuple[float, ...], metric: str = "SSIM") -> list[mtbench.Team]:
    return [mtbench.Team(f"t{k}", {metric: dict(zip("xyz", each, strict=False))}) for k, each in enumerate(values)]


def test_ranks_are_averaged_over_cases_and_ties_share_theirs() -> None:
    metrics = (mtbench.ChallengeMetric("SSIM", True),)
    ranking = mean_rank(teams((0.9, 0.1), (0.8, 0.1), (0.7, 0.3)), metrics)
    # Ranks by case: 1, 2, 3 and 2.5, 2.5, 1.
    assert {each.team: each.total for each in ranking.standings} == {"t0": 1.75, "t1": 2.25, "t2": 2.0}
    assert [each.team for each in ranking.standings] == ["t0", "t2", "t1"]


def test_equal_totals_share_a_position() -> None:
    ranking = mtbench.Ranking.of({"a": 1.0, "b": 3.0, "c": 3.0, "d": 2.0}, "x", higher_is_better=True)
    assert [(each.team, each.position) for each in ranking.standings] == [("b", 1), ("c", 1), ("d", 3), ("a", 4)]
    other = mtbench.Ranking.of({"a": 1.0, "b": 3.0, "c": 2.0, "d": 2.5}, "x", higher_is_better=True)
    assert agreement(ranking, other) == pytest.approx(kendalltau([4, 1, 1, 3], [4, 1, 3, 2]).statistic)
    same = mtbench.Ranking.of(dict.fromkeys("abcd", 1.0), "x", higher_is_better=True)
    assert agreement(ranking, same) is None


def test_field_strengths_by_the_sum_of_ranks_or_the_primary_score(run_cli: Command, tmp_path: Path) -> None:
    (tmp_path / "teams").mkdir()
    for name, *values in (("a", 0.1, 0.8, 0.9, 0.9), ("b", 0.2, 0.9, 0.7, 0.7), ("c", 0.3, 0.7, 0.8, 0.8)):
        metrics = zip(("nRMSE", "SSIM", "Dice", "Volume"), values, strict=True)
        document: dict[str, Any] = {f"Mean_of_all_subtasks_{metric}_adj": value for metric, value in metrics}
        document["Mean_of_all_subtasks_LPIPS_adj"] = None
        (tmp_path / f"teams/{name}.json").write_text(json.dumps({"submission_status": "SCORED", **document}))
    record = ranked(run_cli, "teams", "--rule", "mrixfields2026", "--rule", "mrixfields2026:primary")
    assert order(record["rankings"]["mrixfields2026"]) == [["a", 5], ["b", 9], ["c", 10]]
    assert record["rankings"]["mrixfields2026"]["remarks"] == ["Ranked without LPIPS"]
    assert order(record["rankings"]["mrixfields2026:ranking=primary"]) == [["b", 0.9], ["a", 0.8], ["c", 0.7]]


def test_rows_of_score_and_dose_from_a_table(run_cli: Command, tmp_path: Path) -> None:
    for name, mae in (("a", 50.0), ("b", 40.0)):
        row = {"metric": "mae", "label": "", "status": "measured", "value": mae, "higher_is_better": False}
        (tmp_path / f"{name}.json").write_text(json.dumps([{**row, "cases": {"1": mae - 1, "2": mae + 1}}]))
    (tmp_path / "dose.csv").write_text("team,dvh_photon\na,0.1\nb,0.9\n")
    assert (
        "the direction of 'dvh_photon' is not known. Add --higher"
        in run_cli("rank", "a.json", "b.json", "dose.csv").err
    )
    record = ranked(run_cli, "a.json", "b.json", "dose.csv", "--lower", "dvh_photon", "--rule", "synthrad2023")
    assert order(record["rankings"]["synthrad2023"]) == [["a", 1], ["b", 1]]
    record = ranked(run_cli, "a.json", "b.json", "dose.csv", "--without", "dvh_photon", "--rule", "synthrad2023")
    assert order(record["rankings"]["synthrad2023"]) == [["b", 1], ["a", 0]]


def test_a_long_table_with_cases(run_cli: Command, tmp_path: Path) -> None:
    with open(tmp_path / "all.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["team", "case", "metric", "value"])
        for team, values in {"a": (1, 5), "b": (2, 3)}.items():
            writer.writerows([team, case, "mae", value] for case, value in zip("xy", values, strict=True))
    record = ranked(run_cli, "all.csv", "--rule", "brasyn", "--rule", "synthrad2023")
    assert order(record["rankings"]["brasyn"]) == [["a", 1.5], ["b", 1.5]]
    assert order(record["rankings"]["synthrad2023"]) == [["b", 1], ["a", 0]]


def test_the_translators_of_published_results_are_teams(run_cli: Command) -> None:
    scores = [row for row in mtbench.load("published:midl2024").to_pylist() if row["role"] == "translator"]
    task = scores[0]["dataset"]
    assert "expected --dataset with one of" in run_cli("rank", "published:midl2024").err.lower()
    rows = [row for row in scores if row["dataset"] == task and row["metric"] == "fid" and row["value"] is not None]
    names = {(row["metric"], row["variant"], row["label"]) for row in rows}
    metric, variant, label = sorted(names)[0]
    name = f"{metric}[{variant}]" if variant else metric
    name += f" {label}" if label else ""
    values = {
        r["translator"]: r["value"]
        for r in rows
        if (r["variant"], r["label"]) == (variant, label) and not r["conditional"]
    }
    record = ranked(run_cli, "published:midl2024", "--dataset", task, "-m", name, "--rule", "synthrad2023")
    places = [each["team"] for each in record["rankings"]["synthrad2023"]["standings"]]
    assert places == sorted(values, key=values.__getitem__)


@pytest.mark.slow
def test_the_translators_of_a_results_directory_are_teams(run: Command, run_cli: Command, tmp_path: Path) -> None:
    assert run().code == 0
    folder = next((tmp_path / "mtbench-results").iterdir())
    record = ranked(run_cli, folder)
    scores = mtbench.load(folder).to_pylist()
    names = {row["translator"] for row in scores if row["role"] == "translator" and not row["conditional"]}
    assert {each["team"] for each in record["rankings"]["plain mean"]["standings"]} <= names


def test_results_that_cannot_be_ranked(run_cli: Command, tmp_path: Path) -> None:
    write_teams(tmp_path / "teams", "synthrad2025")
    file = tmp_path / "teams/team b.json"
    document = json.loads(file.read_text())
    document["results"] = [{k: v for k, v in each.items() if k != "DICE"} for each in document["results"][:-1]]
    document["results"][0]["psnr"] = float("inf")
    file.write_text(json.dumps(document))
    ran = run_cli("rank", "teams", "--rule", "synthrad2025")
    assert ran.code == 1
    for words in (
        "'team b' has no DICE",
        "'team b' has no mae for 5",
        "'team b' has a value of psnr that is not finite for 0",
        "--without NAME",
    ):
        assert words in ran.err
    assert "a ranking needs at least two teams" in run_cli("rank", file).err
    assert "the results do not exist" in run_cli("rank", "nowhere").err
    assert "no team has the metric 'fid'" in run_cli("rank", "teams", "-m", "fid").err
    (tmp_path / "other.json").write_text('{"a": [1]}')
    assert "mtbench does not recognise these results" in run_cli("rank", "other.json").err
    (tmp_path / "broken.json").write_text('{"a": ')
    assert "this JSON file cannot be read" in run_cli("rank", "broken.json").err
    (tmp_path / "wide.csv").write_text("name,mae\na,1\n")
    assert "no rows with a column 'team'" in run_cli("rank", "wide.csv").err
    (tmp_path / "words.csv").write_text("team,mae\na,good\n")
    assert "words.csv, line 2: 'mae' is 'good'" in run_cli("rank", "words.csv").err
    ran = run_cli("rank", "teams", "teams/team a.json")
    assert "'team a' has two values of 'mae' for the same case" in ran.err


def test_a_rule_that_a_plugin_registers(run_cli: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import mtbench\n"
        "@mtbench.hookimpl\n"
        "def mtbench_challenges():\n"
        "    yield mtbench.ChallengeSpec('worst-case', ':Worst', rule='by the worst case', description='x')\n"
        "class Worst:\n"
        "    def inspect(self, submission): ...\n"
        "    def measure(self, case): ...\n"
        "    def document(self, scores): ...\n"
        "    def rank(self, teams, metrics):\n"
        "        totals = {t.name: max(t.scores['mae'].values()) for t in teams}\n"
        "        return mtbench.Ranking.of(totals, 'worst MAE', higher_is_better=False)\n"
    )
    (tmp_path / "all.csv").write_text("team,case,mae\na,x,1\na,y,5\nb,x,4\nb,y,4\n")
    record = ranked(run_cli, "all.csv", "--rule", "worst-case", "--rule", "synthrad2023", "--plugin", "mine.py")
    assert order(record["rankings"]["worst-case"]) == [["b", 4], ["a", 5]]
    assert order(record["rankings"]["synthrad2023"]) == [["a", 1], ["b", 0]]
    assert record["kendall_tau"]["synthrad2023"] == -1
    ran = run_cli("score", ".", ".", "--preset", "worst-case", "--plugin", "mine.py")
    assert "ranks teams and scores nothing" in ran.err
    assert "challenge" in {kind for plugin in discover([tmp_path / "mine.py"]).plugins for kind, _ in plugin.specs}


def test_a_value_without_a_number_is_a_gap_of_its_metric_alone(run_cli: Command, tmp_path: Path) -> None:
    # JSON has no infinity: the PSNR of a perfect prediction is written as null.
    for team, error in (("a", 1.0), ("b", 2.0)):
        row = {"status": "measured", "label": "", "value": None}
        rows = [
            {**row, "metric": "mae", "higher_is_better": False, "cases": {"1": error, "2": error}},
            {**row, "metric": "psnr", "higher_is_better": True, "cases": {"1": 30.0, "2": None}},
        ]
        (tmp_path / "teams").mkdir(exist_ok=True)
        (tmp_path / f"teams/{team}.json").write_text(json.dumps(rows))
    ran = run_cli("rank", "teams", "--rule", "brasyn")
    assert ran.code == 1
    assert "'b' has a value of psnr that is not finite for 2.\nExpected the same metrics" in ran.err
    ran = run_cli("rank", "teams", "--rule", "brasyn", "--without", "psnr")
    assert ran.code == 0, ran.err
