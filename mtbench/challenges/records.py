"""The records that challenge plugins receive and return."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Submission:
    """The folders that a user names.

    Attributes:
        predictions: the submitted images (or, for some challenges, a folder of folders).
        truth: the true images; a challenge may expect masks and label maps below it.
        masks: reference label maps (``--masks``), if the user names a folder.
        predicted: label maps that a segmenter predicted on the submitted images (``--predicted``).
        body: masks that restrict the image metrics (``--body-mask``).
    """

    predictions: Path
    truth: Path
    masks: Path | None = None
    predicted: Path | None = None
    body: Path | None = None


@dataclass(frozen=True)
class ChallengeCase:
    """One case of a submission.

    Attributes:
        name: the case's ID, as in the names of its files.
        files: role ("prediction", "truth", ...) to file; the challenge chooses the roles.
        group: the part of the results that it belongs to, for challenges that report parts (a modality).
        remarks: notes for readers of its scores, one sentence each ("scored without ...").
        patient: the patient's ID, for confidence intervals; empty if every case is of a different patient.
    """

    name: str
    files: Mapping[str, Path]
    group: str = ""
    remarks: tuple[str, ...] = ()
    patient: str = ""


@dataclass(frozen=True)
class Inspection:
    """What a submission contains, and every reason why it cannot be scored.

    Attributes:
        cases: the cases that can be scored, in order.
        problems: why the submission cannot be scored, one sentence for each file or case: all, not only the first.
        remarks: notes for readers about things that do not prevent scoring.
    """

    cases: tuple[ChallengeCase, ...]
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseScores:
    """The scores of one case.

    Attributes:
        case: the case.
        values: metric name to value, in the challenge's order; a metric that has no value for this case is absent.
    """

    case: ChallengeCase
    values: Mapping[str, float]


@dataclass(frozen=True)
class Team:
    """The results of one team.

    Attributes:
        name: of the team.
        scores: metric name to the values by case. If only means are known, there is one case, named "".
    """

    name: str
    scores: Mapping[str, Mapping[str, float]]

    def mean(self, metric: str) -> float:
        """The mean over cases."""
        return statistics.fmean(self.scores[metric].values())


@dataclass(frozen=True)
class Standing:
    """The place of one team.

    Attributes:
        team: its name.
        position: from 1; teams with equal totals share one.
        total: the value by which the rule ranks.
    """

    team: str
    position: int
    total: float


@dataclass(frozen=True)
class Ranking:
    """The teams in order.

    Attributes:
        standings: best first.
        total: what ``Standing.total`` is ("sum of normalised metrics").
        higher_is_better: the direction of the total.
        metrics: the metrics that the rule has used.
        remarks: notes for readers, one sentence each ("without dose scores").
    """

    standings: tuple[Standing, ...]
    total: str
    higher_is_better: bool
    metrics: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        totals: Mapping[str, float],
        total: str,
        *,
        higher_is_better: bool,
        metrics: tuple[str, ...] = (),
        remarks: tuple[str, ...] = (),
    ) -> Ranking:
        """Order teams by their totals; teams with equal totals share a position and keep their order.

        Args:
            totals: team to total.
            total, higher_is_better, metrics, remarks: as above.
        """
        order = sorted(totals, key=lambda name: -totals[name] if higher_is_better else totals[name])
        position = {value: order.index(name) + 1 for name in reversed(order) for value in [totals[name]]}
        standings = tuple(Standing(name, position[totals[name]], totals[name]) for name in order)
        return cls(standings, total, higher_is_better, metrics, remarks)

    @property
    def positions(self) -> Mapping[str, int]:
        """Team to position."""
        return {standing.team: standing.position for standing in self.standings}
