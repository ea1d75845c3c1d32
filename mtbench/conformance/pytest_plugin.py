"""``pytest --mtbench NAME``: a test for each check of a plugin. Light: pytest loads it in every project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mtbench.conformance.verdict import Report, Verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--mtbench NAME``, which may be repeated."""
    group = parser.getgroup("mtbench")
    group.addoption("--mtbench", action="append", default=[], metavar="NAME|FILE", help="check a plugin of mtbench")


def pytest_collection(session: pytest.Session) -> None:
    """Run the checks before collection; no effect without ``--mtbench``."""
    if names := session.config.getoption("--mtbench"):
        from mtbench.conformance.examine import check

        session.config.stash[_REPORTS] = check(*names)


_REPORTS = pytest.StashKey[list["Report"]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add an item for each verdict."""
    for report in session.config.stash.get(_REPORTS, []):
        parent = _Plugin.from_parent(session, name=f"{report.kind} {report.name}", nodeid=f"mtbench::{report.name}")
        parent.report = report
        items += parent.collect()


class _Plugin(pytest.Collector):
    """The verdicts on one plugin."""

    report: Report

    def collect(self) -> Iterator[pytest.Item]:
        """One item each."""
        for verdict in self.report.verdicts:
            item = _Item.from_parent(self, name=verdict.check)
            item.verdict = verdict
            yield item


class _Item(pytest.Item):
    """One check."""

    verdict: Verdict

    def runtest(self) -> None:
        """Pass, fail or skip like the check."""
        if self.verdict.status == "untried":
            pytest.skip(self.verdict.text)
        if self.verdict.status == "failed":
            pytest.fail(f"{self.verdict.text}\nfix: {self.verdict.fix}", pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Its name."""
        return "mtbench", None, f"{self.parent.name if self.parent else ''}: {self.name}"
