"""Ranking teams by the rules of challenges, and how much the rule alone changes the order."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtbench.analysis.association import kendall
from mtbench.challenges.records import Ranking, Team
from mtbench.errors import MtbenchError, RequestError
from mtbench.registry.challenges import ChallengeMetric, ChallengeSpec
from mtbench.registry.contracts import RankingRule
from mtbench.registry.registry import Registration, Registry

PLAIN = "plain mean"


@dataclass(frozen=True)
class Rule:
    """A challenge's ranking rule with its parameters."""

    registration: Registration[ChallengeSpec]
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As the user writes it, with the parameters that differ from the defaults."""
        declared = self.registration.spec.params
        changed = [f"{name}={value}" for name, value in self.params.items() if value != declared[name].default]
        return self.registration.spec.name + (f":{','.join(changed)}" if changed else "")

    def rank(self, teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
        """The teams in order.

        Raises:
            RequestError: the results lack something that the rule needs.
            PluginError: the plugin fails.
        """
        challenge = self.registration.create(self.params)
        assert isinstance(challenge, RankingRule), "the spec has a rule"
        with self.registration.blaming("rank() failed"):
            return challenge.rank(teams, metrics)


@dataclass(frozen=True)
class Comparison:
    """The orders of the same teams by several rules.

    Attributes:
        teams, metrics: what was ranked.
        rankings: rule to ranking; the requested rule is the first, then other rules, ``PLAIN``, and each metric alone
            under its name.
        tau: Kendall's tau-b between the order of the first rule and each other; ``None`` if one of them ties all teams.
        skipped: rules that could not rank these results, with the reasons.
    """

    teams: tuple[Team, ...]
    metrics: tuple[ChallengeMetric, ...]
    rankings: Mapping[str, Ranking]
    tau: Mapping[str, float | None]
    skipped: Mapping[str, str]


def rules(registry: Registry, calls: Sequence[str]) -> list[Rule]:
    """The rules that a user names, or those of all challenges.

    Raises:
        RequestError: a challenge is unknown or has no ranking rule.
    """
    named = calls or [name for name in registry.names("challenge") if registry.get(ChallengeSpec, name).spec.rule]
    result = []
    for call in named:
        registration, params = registry.call(ChallengeSpec, call)
        if not registration.spec.rule:
            raise RequestError(f"the challenge '{registration.spec.name}' has no ranking rule")
        result.append(Rule(registration, registration.complete(params)))
    if not result:
        raise RequestError("no installed challenge has a ranking rule")
    return result


def compare(
    chosen: Sequence[Rule], teams: Sequence[Team], metrics: Sequence[ChallengeMetric], *, required: bool
) -> Comparison:
    """Rank by each rule, by the plain mean and by each metric alone.

    Args:
        chosen: the rules; the first one's order is compared with all others.
        teams, metrics: what is ranked; at least two teams.
        required: whether a rule that cannot rank these results is an error.

    Raises:
        RequestError: a required rule, or every rule, cannot rank these results.
    """
    rankings: dict[str, Ranking] = {}
    skipped: dict[str, str] = {}
    for rule in chosen:
        try:
            rankings[rule.name] = rule.rank(teams, metrics)
        except MtbenchError as error:
            if required:
                raise
            skipped[rule.name] = str(error)
    if not rankings:
        raise RequestError("no rule can rank these results: " + " ".join(skipped.values()))
    rankings[PLAIN] = plain_mean(teams, metrics)
    rankings |= {metric.name: by_metric(teams, metric) for metric in metrics}
    first = next(iter(rankings.values()))
    tau = {name: agreement(first, ranking) for name, ranking in rankings.items()}
    return Comparison(tuple(teams), tuple(metrics), rankings, tau, skipped)


def plain_mean(teams: Sequence[Team], metrics: Sequence[ChallengeMetric]) -> Ranking:
    """By the mean over metrics of each team's mean in standard deviations over teams; higher is better."""
    totals = {team.name: 0.0 for team in teams}
    for metric in metrics:
        means = [team.mean(metric.name) for team in teams]
        middle, spread = statistics.fmean(means), statistics.pstdev(means)
        sign = 1 if metric.higher_is_better else -1
        for team, mean in zip(teams, means, strict=True):
            totals[team.name] += sign * (mean - middle) / spread / len(metrics) if spread else 0.0
    names = tuple(metric.name for metric in metrics)
    return Ranking.of(totals, "mean in standard deviations", higher_is_better=True, metrics=names)


def by_metric(teams: Sequence[Team], metric: ChallengeMetric) -> Ranking:
    """By the mean of one metric."""
    totals = {team.name: team.mean(metric.name) for team in teams}
    better = metric.higher_is_better
    return Ranking.of(totals, f"mean {metric.name}", higher_is_better=better, metrics=(metric.name,))


def agreement(first: Ranking, second: Ranking) -> float | None:
    """Kendall's tau-b between two orders; ``None`` if one of them ties all teams."""
    names = list(first.positions)
    x, y = (np.array([[ranking.positions[name]] for name in names], np.float64) for ranking in (first, second))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return round(float(kendall(x, y)[0, 0]), 12)
