"""``mtbench.score`` with a challenge as its preset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mtbench.challenges.records import Submission
from mtbench.challenges.scoring import Report, rows, score_submission, write_document
from mtbench.errors import RequestError
from mtbench.paths import expand
from mtbench.registry.challenges import ChallengeSpec
from mtbench.registry.registry import Registry
from mtbench.scoring.rows import ScoreRows


def is_challenge(registry: Registry, preset: str | None) -> bool:
    """Whether a preset is a challenge, and not a convention of metrics."""
    return preset is not None and preset.partition(":")[0] in registry.names("challenge")


def score_as_challenge(
    registry: Registry,
    preset: str,
    submission: Submission,
    settings: Mapping[str, object],
    document: str | Path | None,
    report: Report,
) -> ScoreRows:
    """The rows of a submission that a challenge scores.

    Args:
        registry: the plugins.
        preset: the challenge, ``NAME`` or ``NAME:p=v,...``.
        submission: its folders.
        settings: options that a challenge decides itself, by name; those with a value are refused.
        document: where to write the challenge's own JSON, if anywhere.
        report: called with the activity, the number of cases done and their total.

    Raises:
        RequestError: an option does not apply, or a folder does not exist.
        DataError: the submission cannot be scored; the text lists every problem.
    """
    if named := [name for name, value in settings.items() if value]:
        raise RequestError(
            f"--preset {preset} scores as the challenge does, and {named[0]} would change that",
            expected="a challenge without options of single metrics",
            remedy=f"Omit {named[0]}",
        )
    registration, params = registry.call(ChallengeSpec, preset)
    scored = score_submission(registration, registration.complete(params), submission, report)
    if document is not None:
        write_document(scored.document, expand(document))
    return ScoreRows(rows(scored))
