"""The plugin under examination, with what its checks share."""

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
"""Steps of ``mtbench.training`` that a fit under examination takes, whatever its budget."""


@dataclass
class Subject:
    """One spec under examination.

    Attributes:
        question: what was asked.
        registration: the spec and its plugin; of an observer, ``None``.
        module: of the plugin.
        changed: what of the process was altered while it was at work, with the fix, by what it did.
        kept: what one check leaves for the next.
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
        """Surroundings as a unit has them."""
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
        """A new folder; it goes with the examination's own temporary folder."""
        return Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))

    @contextmanager
    def watched(self, what: str, names: Iterable[str] = (), but: Iterable[str] = ()) -> Iterator[None]:
        """Note what of the process's state (of ``names``, all ``but`` some) has changed at the end, and put it back."""
        with kept():
            before: State = state()
            try:
                yield
            finally:
                for change in changes(before, state(), names, but):
                    self.changed.setdefault(change, what)
