"""The plugin under test, with the state that its checks share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtbench.compute.context import Context
from mtbench.compute.weights import find
from mtbench.conformance.question import Question
from mtbench.conformance.surroundings import AT_IMPORT, DRAWS, State, changes, kept, state
from mtbench.conformance.tasks import TASK
from mtbench.registry.registry import Registration

STEPS = 4
"""Steps of ``mtbench.training`` in a fit under test, whatever its budget."""


@dataclass
class Subject:
    """One spec under test.

    Attributes:
        question: of this test.
        registration: the spec and its plugin; of an observer, ``None``.
        module: of the plugin.
        changed: changes of the process state, with the fix, by activity.
        kept: results that one check passes to the next.
    """

    question: Question
    registration: Registration[Any] | None
    module: object = None
    changed: dict[tuple[str, str], str] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def of(self) -> Registration[Any]:
        """The registration."""
        assert self.registration is not None, "an observer has none"
        return self.registration

    @property
    def spec(self) -> Any:
        """The spec, of whatever kind."""
        return self.of.spec

    @property
    def params(self) -> dict[str, Any]:
        """The parameters, complete."""
        return dict(self.question.params)

    def create(self) -> Any:
        """A new object of the plugin's class."""
        if "imported" not in self.kept:
            self.kept["imported"] = True
            with self.watched("its import", AT_IMPORT):
                return self.of.create(self.params)
        with self.watched("__init__()", but=DRAWS):
            return self.of.create(self.params)

    def context(self, seed: int = 0, device: str = "cpu", batch_size: int = 4, **more: Any) -> Context:
        """A context like that of a unit."""
        import torch

        return Context(
            task=TASK,
            params=self.params,
            seed=seed,
            device=device,
            threads=torch.get_num_threads(),
            batch_size=batch_size,
            scratch=self.folder(),
            find_weights=find,
            steps_at_most=STEPS,
            **more,
        )

    def folder(self) -> Path:
        """A new folder, removed with the temporary folder of the tests."""
        return Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))

    @contextmanager
    def watched(self, what: str, names: Iterable[str] = (), but: Iterable[str] = ()) -> Iterator[None]:
        """At the end, record changes of the process state (of ``names``, all ``but`` some), and restore it."""
        with kept():
            before: State = state()
            try:
                yield
            finally:
                for change in changes(before, state(), names, but):
                    self.changed.setdefault(change, what)
