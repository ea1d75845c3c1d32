"""The units of a plan in the order of their inputs: which are ready, which run, and which wait for others."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping

from mtbench.stages.unit import Unit


class Queue:
    """Hands out units, each when its inputs have ended.

    Args:
        units: of a plan, by key.

    Attributes:
        running: keys of the running units.
        elsewhere: keys of the units that another process computes.
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
        """The next ready unit for which there is a slot; ``None`` if there is none now."""
        place = next((place for place, key in enumerate(self._ready) if has_room(key)), None)
        if place is None:
            return None
        key = self._ready[place]
        del self._ready[place]
        return key

    def end(self, keys: Iterable[str]) -> None:
        """Record that these units have ended, successfully or not.

        Depth first: units that have just become ready come before earlier ones, so that rows are completed one by one
        and not all at the end.
        """
        for key in keys:
            self._ended.add(key)
            for user in self._users[key]:
                self._waiting[user].discard(key)
            self._ready.extendleft(user for user in reversed(self._users[key]) if self._can_run(user))

    def look_again(self) -> None:
        """Make the units that another process computes ready again."""
        self._ready.extend(self.elsewhere)
        self.elsewhere = []

    def put_back(self, key: str, inputs: Collection[str]) -> None:
        """Queue a running unit again, after those of its inputs that must be looked up again.

        All other unfinished units that need one of these inputs wait too.
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
