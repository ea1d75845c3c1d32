"""How many functions of the core a reader passes from ``mtbench run`` to the printed table.

    python benchmarks/hops.py [--list] [SUITE [OPTION OF mtbench run]...]        (default: quickstart)
    python benchmarks/hops.py quickstart -t identity -t histogram --set 'segmenters.*.params.epochs=1'    (a minute)

Runs the suite with the executor ``inline`` in an empty store and counts, by ``sys.setprofile``, the distinct named
functions of the package ``mtbench`` that the core calls, and the files they are in; the executor counts as core. What
other plugins call (the training loop, images, files) is counted apart. Comprehensions, lambdas and the methods that
``dataclass`` writes do not count.
``--list`` prints every function with its file.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType


class Counter:
    """Notes which functions of the core are called, and whether a plugin is among their callers."""

    def __init__(self, core: str, plugins: str) -> None:
        self._core, self._plugins, self._executors = core, plugins, f"{plugins}executors/"
        self._inside = 0
        self.by_core: set[CodeType] = set()
        self.by_plugins: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        """The profiler's hook."""
        file = frame.f_code.co_filename
        if file.startswith(self._plugins) and not file.startswith(self._executors):
            self._inside += {"call": 1, "return": -1}.get(event, 0)
        elif event == "call" and file.startswith(self._core):
            (self.by_plugins if self._inside else self.by_core).add(frame.f_code)

    def functions(self, codes: set[CodeType]) -> dict[str, list[str]]:
        """Names by file; class bodies, module bodies and nameless functions excluded."""
        named: dict[str, set[str]] = defaultdict(set)
        for code in codes:
            if (
                code.co_flags & inspect.CO_NEWLOCALS
                and code.co_flags & inspect.CO_OPTIMIZED
                and "<" not in code.co_name
            ):
                named[code.co_filename.removeprefix(self._core)].add(code.co_qualname)
        return {file: sorted(names) for file, names in sorted(named.items())}


def main() -> None:
    """Run, count, print."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--list"]
    suite, *options = arguments or ["quickstart"]
    import mtbench
    import mtbench.cli
    import mtbench_plugins

    counter = Counter(f"{Path(mtbench.__file__).parent}/", f"{Path(next(iter(mtbench_plugins.__path__)))}/")
    with tempfile.TemporaryDirectory() as folder:
        folders = ["--out", f"{folder}/out", "--store", f"{folder}/store"]
        words = ["run", suite, "--executor", "inline", *folders, "-q", *options]
        sys.setprofile(counter)
        try:
            mtbench.cli.main(words)
        except SystemExit as ending:
            code = ending.code
        finally:
            sys.setprofile(None)
    road = counter.functions(counter.by_core)
    if "--list" in sys.argv:
        for file, names in road.items():
            print(f"{file}: {', '.join(names)}")
    every = counter.functions(counter.by_core | counter.by_plugins)
    print(f"{suite} (exit code {code}): the core calls {_size(road)}; including calls from plugins, {_size(every)}")


def _size(functions: dict[str, list[str]]) -> str:
    return f"{sum(map(len, functions.values()))} functions in {len(functions)} files"


if __name__ == "__main__":
    main()
