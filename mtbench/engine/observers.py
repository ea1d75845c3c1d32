"""Tells observers what has ended. They only watch: what one raises is shown once, logged, and changes nothing."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mtbench.engine.job import Outcome
from mtbench.registry.registry import Registry
from mtbench.stages.unit import Unit

LOG = "observers.log"
"""In the results directory; there is one only if an observer has failed."""


class Observers:
    """The plugins that implement ``mtbench_unit_finished`` or ``mtbench_suite_finished``.

    Each is called, whatever happens in another, and gets a copy of its own; the plugin registered last comes first.

    Args:
        registry: the plugins.
        folder: the results directory.
        say: shows a line to the user.
    """

    def __init__(self, registry: Registry, folder: Path, say: Callable[[str], None]) -> None:
        self._registry = registry
        self._log = folder / LOG
        self._say = say
        self._last: dict[tuple[str, str], str] = {}

    def unit_finished(self, unit: Unit, outcome: Outcome) -> None:
        """A unit has ended, and its end is recorded."""
        self._call(
            "mtbench_unit_finished",
            lambda: copy.deepcopy({"unit": unit, "outcome": outcome}),
            unit.name,
        )

    def suite_finished(self, tables: Mapping[str, Any]) -> None:
        """The run is over, and its tables are written."""
        self._call("mtbench_suite_finished", lambda: {"tables": dict(tables)})

    def _call(self, hook: str, facts: Callable[[], dict[str, Any]], about: str = "") -> None:
        manager = self._registry.manager
        for implementation in reversed(getattr(manager.hook, hook).get_hookimpls()):
            others = [plugin for plugin in manager.get_plugins() if plugin is not implementation.plugin]
            try:
                manager.subset_hook_caller(hook, others)(**facts())
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too: an observer does not end a run
                self._failed(hook, implementation.plugin_name, about, error)

    def _failed(self, hook: str, plugin: str, about: str, error: BaseException) -> None:
        # Not str(error), which may itself raise.
        trace = traceback.TracebackException.from_exception(error)
        text, before = "".join(trace.format()), self._last.get((hook, plugin))
        self._last[hook, plugin] = text
        where = f"The traceback is in {self._log}."
        try:
            with self._log.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {hook} of {plugin}: {about}\n")
                log.write("(as before)\n\n" if text == before else f"{text}\n")
        except OSError as refused:
            where = f"Its traceback cannot be written to {self._log}: {refused.strerror or refused}."
        if before is None:
            origin, _, name = plugin.rpartition(":")
            message = " ".join(f"{type(error).__name__}: {trace}".split())[:200].rstrip(".: ")
            self._say(f"The plugin '{name}' of {origin} failed in {hook}: {message}. The run is not affected. {where}")
