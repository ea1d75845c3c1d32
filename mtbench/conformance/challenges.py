"""Checks of challenges: on the plugin's own example submission, and on teams with known results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mtbench.challenges.records import CaseScores, Submission, Team
from mtbench.challenges.scoring import Scored, score_submission
from mtbench.conformance import general
from mtbench.conformance.subject import Subject
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.errors import DataError
from mtbench.registry.contracts import ExampleSubmission


def _example(subject: Subject) -> Submission:
    if not subject.spec.metrics:
        raise UntriedError("the challenge ranks teams and scores nothing")
    challenge = subject.create()
    if not isinstance(challenge, ExampleSubmission):
        raise UntriedError("the class writes no example: example(folder) would let this check run")
    with subject.watched("example()"):
        submission = challenge.example(subject.folder())
    if not isinstance(submission, Submission):
        raise FailedError(f"example() returns {type(submission).__name__}", "Return a mtbench.Submission")
    return submission


def _scored(subject: Subject, submission: Submission) -> Scored:
    with subject.watched("inspect(), measure() and document()"):
        return score_submission(subject.of, subject.params, submission)


def scores(subject: Subject) -> str:
    """The example is scored without a problem, in every metric that its spec declares, and gives a document."""
    result = _scored(subject, _example(subject))
    if len(result.cases) < 2:
        raise FailedError(f"the example has {len(result.cases)} case", "Write at least two cases")
    try:
        json.dumps(result.document)
    except (TypeError, ValueError) as error:
        fix = "Return plain dicts, lists, texts and numbers"
        raise FailedError(f"document() cannot be written as JSON: {error}", fix) from error
    computed = {name for case in result.cases for name in case.values}
    absent = [metric.name for metric in subject.spec.metrics if metric.name not in computed]
    text = f"{len(result.cases)} cases, {len(computed)} metrics"
    return f"{text}; not computed for the example: {', '.join(absent)}" if absent else text


def determinism(subject: Subject) -> str:
    """The same submission gives the same scores."""
    submission = _example(subject)
    one, other = (_scored(subject, submission) for _ in range(2))
    if _values(one.cases) != _values(other.cases):
        raise FailedError("the same submission gives two results", "Remove what is random")
    return "equal"


def missing(subject: Subject) -> str:
    """A submission without one of its predictions is refused, by the name of the case or of its file."""
    submission = _example(subject)
    case = subject.create().inspect(submission).cases[0]
    inside = [file for file in case.files.values() if submission.predictions in file.parents]
    if not inside:
        raise UntriedError("no file of a case is in the folder of predictions")
    inside[0].unlink()
    try:
        _scored(subject, submission)
    except DataError as error:
        if case.name in str(error) or inside[0].name in str(error):
            return "refused by name"
        raise FailedError(
            f"without the prediction of case '{case.name}' the problems name neither it nor its file",
            "Name the case in Inspection.problems",
        ) from error
    raise FailedError(
        f"a submission without the prediction of case '{case.name}' is scored as if it were complete",
        "Add a problem to the Inspection, because a mean over fewer cases is another number",
    )


def empty(subject: Subject) -> str:
    """An empty folder of predictions is refused."""
    submission = replace(_example(subject), predictions=subject.folder())
    try:
        _scored(subject, submission)
    except DataError as error:
        return str(error).splitlines()[0]
    raise FailedError("a submission without files is scored", "Add a problem to the Inspection for each missing case")


def ranks(subject: Subject) -> str:
    """Of two teams, the one that is better in every metric and case is first, whatever the order of the teams."""
    if not subject.spec.rule:
        raise UntriedError("the challenge has no ranking rule")
    if not subject.spec.metrics:
        raise UntriedError("the spec declares no metrics")
    teams = [Team("better", _results(subject, 0.9)), Team("worse", _results(subject, 0.4))]
    for order in (teams, teams[::-1]):
        with subject.watched("rank()"):
            ranking = subject.create().rank(order, subject.spec.metrics)
        names = [standing.team for standing in ranking.standings]
        if sorted(names) != ["better", "worse"]:
            raise FailedError(f"the ranking lists {names}", "Return a Standing for each team")
        if names[0] != "better":
            raise FailedError(
                "the team that is better in every metric and case is not first",
                "Compare the directions of the metrics with higher_is_better of the spec",
            )
    return str(ranking.total)


def _results(subject: Subject, quality: float) -> dict[str, dict[str, float]]:
    """Two cases; values in [0, 1] that get better with ``quality`` in every metric."""
    return {
        metric.name: {
            case: (quality + step if metric.higher_is_better else 1 - quality - step)
            for case, step in (("a", 0.0), ("b", 0.05))
        }
        for metric in subject.spec.metrics
    }


def _values(cases: Sequence[CaseScores]) -> list[Any]:
    return [(case.case.name, repr(dict(case.values))) for case in cases]


CHECKS = (
    general.SPEC,
    general.LICENCE,
    general.OBJECT,
    Check("scores", scores, beside=True),
    Check("determinism", determinism, ("object", "scores")),
    Check("a missing case", missing, ("object", "scores")),
    Check("empty input", empty, ("object", "scores")),
    Check("ranking", ranks),
    general.STATE,
)
