"""Notifies observers of finished units. An exception of an observer is shown once, logged, and changes nothing."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mtbench.registry.registry import Registry

LOG = "observers.log"
"""The log in the results directory; it exists only if an observer has failed."""


@dataclass
class Observers:
    """The plugins that implement ``mtbench_unit_finished`` or ``mtbench_suite_finished``.

    Each is called even if another fails, and receives its own copy; the plugin registered last is called first.

    Args:
        registry: the plugins.
        folder: the results directory.
        say: prints a line for the user.
    """

    registry: Registry
    folder: Path
    say: Callable[[str], None]
    _last: dict[tuple[str, str], str] = field(default_factory=dict)

    def tell(self, hook: str, about: str = "", **facts: object) -> None:
        """Call ``hook`` with ``facts`` in every plugin that implements it; a failure is logged with ``about``."""
        manager = self.registry.manager
        for implementation in reversed(getattr(manager.hook, hook).get_hookimpls()):
            others = [plugin for plugin in manager.get_plugins() if plugin is not implementation.plugin]
            try:
                manager.subset_hook_caller(hook, others)(**copy.deepcopy(facts))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too: an observer does not end a run
                self._failed(hook, implementation.plugin_name, about, error)

    def _failed(self, hook: str, plugin: str, about: str, error: BaseException) -> None:
        # Not str(error), which may itself raise.
        trace = traceback.TracebackException.from_exception(error)
        path = self.folder / LOG
        text, before = "".join(trace.format()), self._last.get((hook, plugin))
        self._last[hook, plugin] = text
        where = f"The traceback is in {path}."
        try:
            with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {hook} of {plugin}: {about}\n")
                log.write("(as before)\n\n" if text == before else f"{text}\n")
        except OSError as refused:
            where = f"Its traceback cannot be written to {path}: {refused.strerror or refused}."
        if before is None:
            origin, _, name = plugin.rpartition(":")
            message = " ".join(f"{type(error).__name__}: {trace}".split())[:200].rstrip(".: ")
            self.say(f"The plugin '{name}' of {origin} failed in {hook}: {message}. The run continues. {where}")
