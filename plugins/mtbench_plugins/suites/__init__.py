"""The suites that come with mtbench."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench


@mtbench.hookimpl
def mtbench_suites() -> Iterator[mtbench.SuiteSpec]:
    """The built-in suite files beside this module."""
    yield mtbench.SuiteSpec(
        "quickstart",
        "mtbench_plugins:suites/quickstart.toml",
        "both phantom tasks, small: no data, no weights, a few minutes on two cores",
    )
