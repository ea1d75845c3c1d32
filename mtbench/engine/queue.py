"""The units of a plan in the order of their inputs: which can run, which run, and which wait for what."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping

from mtbench.stages.unit import Unit


class Queue:
    """Hands out units, each once its inputs have ended.

    Args:
        units: of a plan, by key.

    Attributes:
        running: keys of those that are at work.
        elsewhere: keys of those that another process is at work on.
    """

    def __init__(self, units: Mapping[str, Unit]) -> None:
        self.running: set[str] = set()
        self.elsewhere: list[str] = []
        self._waiting = {key: set(unit.inputs.values()) for key, unit in units.items()}
        self._users: defaultdict[str, list[str]] = defaultdict(list)
        for key, inputs in self._waiting.items():
            for before in inputs:
                self._users[before].append(key)
        self._ready = deque(key for key, inputs in self._waiting.items() if not inputs)
        self._ended: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._ready or self.running or self.elsewhere)

    def next(self, has_room: Callable[[str], bool] = lambda key: True) -> str | None:
        """The next unit whose inputs are there and for which there is room; ``None`` where there is none now."""
        place = next((place for place, key in enumerate(self._ready) if has_room(key)), None)
        if place is None:
            return None
        key = self._ready[place]
        del self._ready[place]
        return key

    def end(self, keys: Iterable[str]) -> None:
        """These units have ended, well or not.

        Depth first: what has become possible comes before what was possible already, so that rows are finished one
        by one and not all at the end.
        """
        for key in keys:
            self._ended.add(key)
            for user in self._users[key]:
                self._waiting[user].discard(key)
            self._ready.extendleft(user for user in reversed(self._users[key]) if self._can_run(user))

    def look_again(self) -> None:
        """Let those that are made elsewhere be tried again."""
        self._ready.extend(self.elsewhere)
        self.elsewhere = []

    def put_back(self, key: str, inputs: Collection[str]) -> None:
        """A unit that was at work has to be done again, after these of its inputs, which have to be looked up again.

        Whatever has not ended and needs one of them waits too.
        """
        lost = self._ended & set(inputs)
        self._ended -= lost
        for before in lost:
            for user in self._users[before]:
                self._waiting[user].add(before)
        self._waiting[key] |= set(inputs)
        self._ready = deque(other for other in self._ready if not self._waiting[other])
        self.elsewhere = [other for other in self.elsewhere if not self._waiting[other]]
        self._ready.extendleft(other for other in (key, *lost) if self._can_run(other))

    def _can_run(self, key: str) -> bool:
        return not self._waiting[key] and key not in self._ended and key not in self.running
