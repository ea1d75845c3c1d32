"""What the user asked for, as a results directory keeps it: enough to ask for it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtbench.store.artefacts import hash_of
from mtbench.store.files import write_whole


def request(
    suite: str, results: Path, options: Mapping[str, Sequence[Any]], flags: Mapping[str, bool]
) -> dict[str, Any]:
    """The command of a run as words, and the name of the suite's copy in the results directory.

    Args:
        suite: a file or a registered name. The text of a file is kept as ``suite-HASH.toml``.
        results: the results directory.
        options: option to its values.
        flags: option to whether it was given.
    """
    path = Path(suite).expanduser()
    copy = ""
    if path.is_file():
        text = path.read_bytes()
        copy = f"suite-{hash_of(text.decode(errors='replace'))[:8]}.toml"
        if not (results / copy).exists():
            write_whole(results / copy, lambda file: file.write(text))
        suite = str(path.resolve())
    words = [word for option, values in options.items() for value in values for word in (option, str(value))]
    return {"suite": suite, "copy": copy, "options": [*words, *(flag for flag, given in flags.items() if given)]}
