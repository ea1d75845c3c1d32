"""Scoring a submission as a challenge does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mtbench.challenges.records import CaseScores, ChallengeCase, Inspection, Submission
from mtbench.data import Cases
from mtbench.errors import DataError, PluginError, RequestError
from mtbench.registry.challenges import ChallengeMetric, ChallengeSpec
from mtbench.registry.contracts import Challenge
from mtbench.registry.registry import Registration
from mtbench.stages.intervals import Interval, cases_interval

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Scored:
    """A submission that a challenge has scored.

    Attributes:
        spec: the challenge.
        params: its parameters, complete.
        cases: the scores, in the challenge's order.
        remarks: notes for readers about all scores.
        document: the content of the challenge's own JSON file.
    """

    spec: ChallengeSpec
    params: Mapping[str, Any]
    cases: tuple[CaseScores, ...]
    remarks: tuple[str, ...]
    document: Mapping[str, Any]


def score_submission(
    registration: Registration[ChallengeSpec],
    params: Mapping[str, Any],
    submission: Submission,
    report: Report = lambda what, done, total: None,
) -> Scored:
    """Check a submission, score each case and write the challenge's document.

    Args:
        registration: the challenge.
        params: complete.
        submission: its folders.
        report: called with the activity, the number of cases done and their total.

    Raises:
        RequestError: a folder does not exist, or the challenge scores nothing.
        DataError: the submission cannot be scored; the text lists every problem.
        PluginError: the plugin fails or returns values that are not floats.
    """
    spec = registration.spec
    if not spec.metrics:
        raise RequestError(f"the challenge '{spec.name}' ranks teams and scores nothing")
    _check_folders(submission)
    challenge: Challenge = registration.create(params)
    report("checking the submission", 0, 1)
    with registration.blaming("inspect() failed"):
        inspection = challenge.inspect(submission)
    _refuse(inspection, spec, submission)
    scores = []
    for done, case in enumerate(inspection.cases):
        report(f"scoring {case.name}", done, len(inspection.cases))
        with registration.blaming(f"measure() failed for case '{case.name}'"):
            scores.append(CaseScores(case, dict(challenge.measure(case))))
        _check_values(registration, scores[-1])
    report("scoring", len(scores), len(scores))
    with registration.blaming("document() failed"):
        document = challenge.document(tuple(scores))
    return Scored(spec, params, tuple(scores), (*spec.unavailable, *inspection.remarks), document)


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write the challenge's JSON as Python's ``json`` does: infinite and undefined values as Infinity and NaN.

    Raises:
        RequestError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=4) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"the file cannot be written: {error.strerror}", where=str(path)) from error


def rows(scored: Scored) -> list[dict[str, Any]]:
    """One row per metric, and per part of the results if the challenge has parts: the mean over cases.

    Confidence intervals resample patients. ``cases`` of a row maps each case to its value. Infinite values count, as in
    the challenge, so their mean is infinite; the note says so.
    """
    groups = list(dict.fromkeys(score.case.group for score in scored.cases))
    parts = ["", *groups] if groups != [""] else [""]
    return [_row(scored, metric, group) for metric in scored.spec.metrics for group in parts]


def _row(scored: Scored, metric: ChallengeMetric, group: str) -> dict[str, Any]:
    chosen = [score for score in scored.cases if group in ("", score.case.group)]
    scores = [score for score in chosen if metric.name in score.values]
    values = {_case(score.case): score.values[metric.name] for score in scores}
    remarks = dict.fromkeys(f"{_case(score.case)}: {text}" for score in chosen for text in score.case.remarks)
    interval = _interval(metric, values, {_case(score.case): _patient(score.case) for score in scores})
    patients = len({_patient(score.case) for score in chosen})
    notes = [*_notes(values, len(chosen)), *remarks, *scored.remarks]
    spec = scored.spec
    shown = {name: value for name, value in scored.params.items() if spec.params[name].shown}
    changed = [str(value) for name, value in shown.items() if value != spec.params[name].default]
    return {
        "metric": metric.name,
        "title": metric.title or metric.name,
        "variant": ",".join([spec.name, *changed]),
        "label": group,
        "family": "challenge",
        "measure_unit": metric.measure_unit,
        "higher_is_better": metric.higher_is_better,
        "decimals": metric.decimals,
        "params": shown,
        "extractor": "",
        "weights_sha256": "",
        "precision": "fp32",
        "caveat": "",
        "status": "measured" if values else "skipped",
        "value": sum(values.values()) / len(values) if values else None,
        "stderr": interval.stderr,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "without_interval": interval.reason,
        "bound_low": interval.bound[0] if interval.bound else None,
        "bound_high": interval.bound[1] if interval.bound else None,
        "n": len(values) or None,
        "draws": None,
        "mark": "",
        "note": " ".join(text if text.endswith(".") else f"{text}." for text in notes),
        "n_translated": len(chosen),
        "n_target": len(chosen),
        "n_patients_translated": patients,
        "n_patients_target": patients,
        "seed": None,
        "unreadable": 0,
        "other_files": [],
        "cases": values,
    }


def _case(case: ChallengeCase) -> str:
    return f"{case.group}/{case.name}" if case.group else case.name


def _interval(metric: ChallengeMetric, values: Mapping[str, float], patients: Mapping[str, str]) -> Interval:
    """The interval of the mean over cases, from the value and the patient of each."""
    if not all(map(math.isfinite, values.values())):
        return Interval(reason="not all values are finite")
    owners = tuple(patients[case] for case in values)
    cases = Cases("volume", tuple(values), owners, np.array(list(values.values())))
    return cases_interval(cases, bounds=metric.bounds)


def _patient(case: ChallengeCase) -> str:
    return case.patient or _case(case)


def _notes(values: Mapping[str, float], total: int) -> list[str]:
    """Sentences about unexpected values."""
    notes = []
    if not values:
        return ["not computed for this submission"]
    if len(values) < total:
        notes.append(f"mean of {len(values)} of {total} cases, because the others have no value")
    for word, strange in (("infinite", math.isinf), ("not a number", math.isnan)):
        if names := [case for case, value in values.items() if strange(value)]:
            notes.append(f"{word} for {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}, and so is the mean")
    return notes


def _check_folders(submission: Submission) -> None:
    named = {
        "the predictions": submission.predictions,
        "the truth": submission.truth,
        "--masks": submission.masks,
        "--predicted": submission.predicted,
        "--body-mask": submission.body,
    }
    for what, folder in named.items():
        if folder is not None and not folder.is_dir():
            raise RequestError(f"the folder of {what} does not exist", where=str(folder))


def _refuse(inspection: Inspection, spec: ChallengeSpec, submission: Submission) -> None:
    if not inspection.problems and inspection.cases:
        return
    problems: Sequence[str] = inspection.problems or [f"no case in {submission.truth}"]
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    lines = "".join(f"\n  {text}" for text in problems)
    raise DataError(
        f"the submission to {spec.title or spec.name} has {count}, and nothing was scored:{lines}.\n",
        where=str(submission.predictions),
        expected=spec.files or None,
    )


def _check_values(registration: Registration[ChallengeSpec], score: CaseScores) -> None:
    for name, value in score.values.items():
        if not isinstance(value, float):
            raise PluginError(
                f"measure() returns {name!r}: {value!r} for case '{score.case.name}'",
                where=registration.blame,
                expected="floats under the names of metrics",
            )
