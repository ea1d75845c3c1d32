"""The suites that come with mtbench."""

from __future__ import annotations

from collections.abc import Iterator

import mtbench

SUITES = {
    "smoke": "for testing a plugin: both phantom tasks, tiny, baselines, Dice and SWD; under a minute on two cores",
    "quickstart": "both phantom tasks, small: no data, no weights; a few minutes on two cores",
    "phantom": "both phantom tasks and all four models, small: no data; about an hour on two cores",
    "learning": "do the models learn? MR to CT on the lumbar phantom, three seeds; about an hour on two cores",
    "midl2024": "tasks, models and metrics of Konz et al. (MIDL 2024); needs the data and a GPU",
}


@mtbench.hookimpl
def mtbench_suites() -> Iterator[mtbench.SuiteSpec]:
    """The built-in suite files next to this module."""
    for name, description in SUITES.items():
        yield mtbench.SuiteSpec(name, f"mtbench_plugins:suites/{name}.toml", description)
