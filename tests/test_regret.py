"""``mtbench checkpoints``: the table over training, and regret against values computed by hand."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from test_checkpoints import keeping

import mtbench
from mtbench.analysis.checkpoints import lines, over_training
from mtbench.analysis.regret import Regret, regrets
from mtbench.errors import DataError, RequestError
from mtbench.kit.contents import FILE
from mtbench.results.schema import SCHEMA_VERSION, SCORES

PARTS = ("1/4", "1/2", "")
FID = {"metric": "fid", "title": "FID", "family": "perceptual", "higher_is_better": False}
DICE = {"metric": "dice", "title": "Dice", "family": "segmentation", "higher_is_better": True, "segmenter": "unet"}
ERROR = {"metric": "mae", "title": "MAE", "family": "paired", "higher_is_better": False}

# By metric, translator and seed: the scores of the three checkpoints on validation and on test patients.
GAN: dict[tuple[str, int], Mapping[str, tuple[float, float, float]]] = {
    ("fid", 0): {"validation": (30.0, 20.0, 25.0), "test": (31.0, 21.0, 26.0)},
    ("fid", 1): {"validation": (30.0, 24.0, 22.0), "test": (31.0, 25.0, 23.0)},
    ("dice", 0): {"validation": (0.5, 0.6, 0.8), "test": (0.50, 0.60, 0.75)},
    ("dice", 1): {"validation": (0.7, 0.6, 0.6), "test": (0.70, 0.66, 0.64)},
    ("mae", 0): {"validation": (0.3, 0.2, 0.1), "test": (0.30, 0.10, 0.15)},
    ("mae", 1): {"validation": (0.2, 0.2, 0.2), "test": (0.20, 0.25, 0.30)},
}


def row(metric: Mapping[str, Any], side: str, value: float, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "row_id": "r",
        "role": "translator",
        "status": "measured",
        "protocol": "segment-translated",
        "dataset": "knees",
        "source_domain": "T1",
        "target_domain": "T2",
        "data_sha256": side,
        "scored_on": "" if side == "test" else side,
        "checkpoint": "",
        "label": "",
        "value": value,
        **metric,
        **more,
    }


def rows() -> Iterator[dict[str, Any]]:
    metrics = {"fid": FID, "dice": DICE, "mae": ERROR}
    for (metric, seed), sides in GAN.items():
        for side, values in sides.items():
            for part, step, value in zip(PARTS, (3, 5, 10), values, strict=True):
                about = {"translator": "gan", "seed": seed, "checkpoint": part, "step": step}
                yield row(metrics[metric], side, value, **about)
    for metric, value in (("fid", 27.0), ("dice", 0.72), ("mae", 0.16)):
        for side in ("test", "validation"):
            yield row(metrics[metric], side, value, translator="histogram")


def table(*records: Mapping[str, Any]) -> pa.Table:
    records = records or tuple(rows())
    columns = {field.name: pa.array([r.get(field.name) for r in records], field.type) for field in SCORES}
    return pa.table(columns, schema=SCORES)


def of(found: list[Regret], choice: str, by: str, against: str) -> Regret:
    (regret,) = (r for r in found if (r.choice, r.by, r.against) == (choice, by, against))
    return regret


def test_regrets_are_those_computed_by_hand() -> None:
    (task,) = over_training(table()).tasks
    found = regrets(task)
    expected = {
        # Checkpoints, best Dice 0.75 and 0.70. FID takes the second of seed 0 (0.60), the third of seed 1 (0.64).
        ("checkpoint", "FID", "Dice"): (0.15 + 0.06) / 2,
        ("checkpoint", "Dice", "Dice"): 0.0,
        # MAE takes the third of seed 0 (0.75); all of seed 1 are equal to it: the mean of 0.70, 0.66 and 0.64.
        ("checkpoint", "MAE", "Dice"): (0.0 + (0.70 - 2.0 / 3)) / 2,
        ("checkpoint", "random", "Dice"): ((0.75 - 1.85 / 3) + (0.70 - 2.0 / 3)) / 2,
        ("checkpoint", "last", "Dice"): (0.0 + 0.06) / 2,
        # The same choices in the true error, of which less is better: best 0.10 and 0.20.
        ("checkpoint", "FID", "MAE"): (0.0 + 0.10) / 2,
        ("checkpoint", "Dice", "MAE"): (0.05 + 0.0) / 2,
        ("checkpoint", "last", "MAE"): (0.05 + 0.10) / 2,
        # Fits: the final checkpoints of seeds 0 (Dice 0.75, FID 25) and 1 (0.64, 22).
        ("fit", "FID", "Dice"): 0.75 - 0.64,
        ("fit", "Dice", "Dice"): 0.0,
        ("fit", "random", "Dice"): (0.75 - 0.64) / 2,
        # Translators: gan has mean Dice 0.695, FID 23.5; histogram has 0.72 and 27.
        ("translator", "FID", "Dice"): 0.72 - 0.695,
        ("translator", "Dice", "Dice"): 0.0,
        ("translator", "random", "Dice"): (0.72 - 0.695) / 2,
        ("translator", "MAE", "MAE"): 0.225 - 0.16,
    }
    for (choice, by, against), value in expected.items():
        regret = of(found, choice, by, against)
        assert regret.value == pytest.approx(value, abs=1e-12), (choice, by, against)
        assert regret.pools == regret.of == (2 if choice == "checkpoint" else 1)
    assert of(found, "checkpoint", "FID", "Dice").best == pytest.approx((0.75 + 0.70) / 2)
    assert not [r for r in found if r.by == "last" and r.choice != "checkpoint"]


def test_a_pool_that_lacks_a_score_is_left_out_and_counted() -> None:
    records = [{**r} for r in rows()]
    lacks = {"metric": "fid", "seed": 0, "checkpoint": "1/4", "scored_on": "validation"}
    for record in records:
        if lacks.items() <= record.items():
            record.update(status="failed", value=None)
    (task,) = over_training(table(*records)).tasks
    regret = of(regrets(task), "checkpoint", "FID", "Dice")
    assert (regret.pools, regret.of) == (1, 2)
    assert regret.value == pytest.approx(0.06)
    assert of(regrets(task), "checkpoint", "random", "Dice").pools == 2
    # A checkpoint of which nothing could be scored is still a candidate: its pool has no best.
    gone = [
        {**r, "status": "failed", "value": None} if r["checkpoint"] == "1/4" and r.get("seed") == 0 else r
        for r in rows()
    ]
    (task,) = over_training(table(*gone)).tasks
    assert of(regrets(task), "checkpoint", "random", "Dice").pools == 1


def test_the_lines_are_means_over_seeds_and_say_what_they_lack() -> None:
    records = [r for r in rows() if (r["metric"], r.get("seed"), r["checkpoint"]) != ("dice", 1, "1/2")]
    (task,) = over_training(table(*records)).tasks
    first, second, last, histogram = lines(task, "test")
    assert [c.name for c in task.columns] == ["FID", "Dice", "MAE"]
    assert (first.model, first.part, first.step, first.runs) == ("gan", 4, 3, 2)
    assert first.values[0] == (31.0, 2)
    assert second.values[1] == (0.60, 1)
    assert last.values[1] == (pytest.approx(0.695), 2)
    assert (histogram.model, histogram.part, histogram.step) == ("histogram", 1, None)
    assert lines(task, "validation")[0].values[0] == (30.0, 2)


def test_regions_are_averaged_and_a_mean_of_fewer_is_missing() -> None:
    labelled = [
        {**r, "label": label, "value": r["value"] + add}
        for r in rows()
        for label, add in ((("a", 0.0), ("b", 0.2)) if r["metric"] != "fid" else (("", 0.0),))
    ]
    lacks = {"label": "b", "translator": "histogram", "metric": "dice"}
    lacking = [r for r in labelled if not lacks.items() <= r.items()]
    (task,) = over_training(table(*lacking)).tasks
    first, *_, histogram = lines(task, "test")
    assert first.values[1] == (pytest.approx((0.50 + 0.70) / 2 + 0.1), 2)
    assert histogram.values[1] is None


def test_labels_of_a_perceptual_metric_are_columns_of_their_own() -> None:
    labelled = [
        {**r, "label": label, "value": r["value"] * factor}
        for r in rows()
        for label, factor in ((("precision", 1.0), ("recall", 3.0)) if r["metric"] == "fid" else (("", 1.0),))
    ]
    (task,) = over_training(table(*labelled)).tasks
    assert [c.name for c in task.columns] == ["FID precision", "FID recall", "Dice", "MAE"]
    first = lines(task, "test")[0]
    assert (first.values[0], first.values[1]) == ((31.0, 2), (93.0, 2))


def test_conditional_translators_and_stale_rows_choose_nothing() -> None:
    records = [{**r, "conditional": r["translator"] == "histogram"} for r in rows()]
    (task,) = over_training(table(*records)).tasks
    assert not [r for r in regrets(task) if r.choice == "translator"]
    assert [r for r in regrets(task, conditional=True) if r.choice == "translator"]
    stale = [{**r, "stale": "the data changed" if r.get("seed") == 1 else ""} for r in rows()]
    result = over_training(table(*stale))
    assert {run.seed for run in result.tasks[0].runs} == {0, None}
    assert result.remarks[0].startswith("18 stale scores are excluded")


def test_what_cannot_be_shown_is_an_error() -> None:
    plain = [r for r in rows() if not r["checkpoint"] and not r["scored_on"]]
    with pytest.raises(
        RequestError, match=r"there are no scores of checkpoints\. Expected the results of a suite with `keep"
    ):
        over_training(table(*plain))
    two = [*rows(), {**next(rows()), "data_sha256": "other patients", "translator": "else"}]
    with pytest.raises(DataError, match="2 different sets of validation images"):
        over_training(table(*two))
    with pytest.raises(RequestError, match="no translator is called 'gam'"):
        over_training(table(), rows=["gam"])


# -- a suite


@pytest.fixture
def out(toys: Path, run_cli: Any) -> str:
    """Results of a suite in which the best checkpoint is not the last: 0.3 is to be added, and 13/32 is at last."""
    text = keeping("references = false", translators=("toy-same", "toy-steps"), metrics=("toy-overlap", "toy-error"))
    text = text.replace('"toy"\n[[translators]]', '"toy"\nplugin = "toy-paired"\n[[translators]]')
    (toys.parent / "toy.toml").write_text(text.replace("keep = 4", "keep = 4\nparams.steps = 13"))
    done = run_cli("run", "toy.toml", "--plugin", toys, "--device", "cpu", "--executor", "inline", "--out", "out")
    assert done.code == 0, done.err
    return "out"


def test_a_suite_gives_its_table_its_regret_and_its_report(out: str, run_cli: Any) -> None:
    done = run_cli("checkpoints", out)
    assert done.code == 0, done.err
    scores = {
        (r["checkpoint"] or "final", r["step"]): r["value"]
        for r in mtbench.load(out).to_pylist()
        if (r["metric"], r["translator"], r["scored_on"] or "") == ("toy-error", "toy-steps", "")
    }
    # The truth is 0.3 brighter: after n of 13 steps n/32 was added. Stored images have 255 steps.
    assert dict(scores.keys()) == {"1/8": 2, "1/4": 4, "1/2": 7, "final": 13}
    for (_, step), value in scores.items():
        assert value == pytest.approx(abs(0.3 - step / 32), abs=2 / 255)
    _check_table(done.out, scores)
    record = json.loads(run_cli("checkpoints", out, "--json").out)
    _check_regrets({(r["choice"], r["by"], r["against"]): r["value"] for r in record["regrets"]}, scores)
    _check_csv(run_cli("checkpoints", out, "--csv").out)
    assert run_cli("report", out).code == 0
    page = (Path(out) / "report.html").read_text()
    assert "Metrics over training" in page
    assert "regret in toy-error" in page
    assert run_cli("kit", out, "-o", "kit").code == 0
    # Of two translators and two metrics: final checkpoints on test patients.
    assert len(json.loads((Path("kit") / FILE).read_text())["judges"]) <= 4
    refused = run_cli("checkpoints", out, "--csv", "--json")
    assert refused.code == 2
    assert "two formats" in refused.err
    assert run_cli("checkpoints", out, "-m", "toy-eror").code == 2


def _check_table(text: str, scores: Mapping[tuple[str, int], float]) -> None:
    table = [line.split() for line in text.splitlines()]
    for (part, step), value in scores.items():
        (line,) = (words for words in table if part in words and str(step) in words)
        assert float(line[-1]) == pytest.approx(value, rel=0.01)
    assert "toy-overlap on validation" in text


def _check_regrets(regret: Mapping[tuple[str, str, str], float], scores: Mapping[tuple[str, int], float]) -> None:
    best, last = scores["1/2", 7], scores["final", 13]
    assert regret["checkpoint", "last", "toy-error"] == pytest.approx(last - best, abs=1e-9)
    assert regret["checkpoint", "toy-error", "toy-error"] == 0
    assert regret["checkpoint", "random", "toy-error"] == pytest.approx(sum(scores.values()) / 4 - best)


def _check_csv(text: str) -> None:
    """A line for every run, checkpoint, side and metric."""
    records = list(csv.DictReader(io.StringIO(text)))
    assert len(records) == 2 * (4 + 1) * 2
    assert {r["checkpoint"] for r in records} == {"1/8", "1/4", "1/2", "final"}


def many(translators: int, fits: int) -> list[dict[str, Any]]:
    """Translators whose regret by FID in Dice is 0.01, 0.02, ... in each of their fits."""
    records = []
    for number in range(translators):
        for seed in range(fits):
            about = {"translator": f"t{number}", "seed": seed}
            for part, step, fid, dice in (("1/2", 5, 1.0, 0.5), ("", 10, 2.0, 0.51 + number / 100)):
                for side in ("test", "validation"):
                    at = {**about, "checkpoint": part, "step": step}
                    records += [row(FID, side, fid, **at), row(DICE, side, dice, **at)]
    return records


def test_the_interval_resamples_translators_and_not_their_fits() -> None:
    def interval(translators: int, fits: int) -> tuple[float, float] | None:
        (task,) = over_training(table(*many(translators, fits))).tasks
        regret = of(regrets(task), "checkpoint", "FID", "Dice")
        assert regret.value == pytest.approx(sum(range(1, translators + 1)) / translators / 100)
        return regret.interval

    once = interval(6, 1)
    assert once is not None
    values = np.arange(1, 7) / 100
    half = stats.t.ppf(0.975, 5) * values.std(ddof=1) / 6**0.5
    assert once[0] <= values.mean() - half + 1e-12
    assert once[1] >= values.mean() + half - 1e-12
    # Four copies of each fit say no more than one.
    assert interval(6, 4) == pytest.approx(once)
    # Of one translator, fits are resampled; four translators are too few.
    assert interval(1, 5) == pytest.approx((0.01, 0.01))
    assert interval(1, 4) is None
    assert interval(4, 9) is None
