"""Results of strangers, read one after the other; a program of its own, so that memory and time can be watched.

    python tests/fuzz_journals.py RESULTS FOLDER FIRST COUNT

makes COUNT copies of RESULTS, a whole directory, with something wrong in each (seeds FIRST, FIRST + 1, ...), runs the
commands that read results on it, and prints a line of JSON for each that ended in another exception than mtbench's
own, or took too long; then the peak of memory, in bytes, and how many of each class there were.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_readers import SLOW, damaged, peak

from mtbench.cli import main as mtbench
from mtbench.results.directory import Results
from mtbench.results.journal import journal_line
from mtbench.results.tablefile import write_table

ODD: tuple[Any, ...] = (
    *(None, "x", "", [], ["x"], [1], {}, {"x": 1}, True, 5, -1, -3, 2**63 - 1, 2**63, 2**70, 10**9, 0.5, 1e308),
    *(float("inf"), float("nan"), "x" * 10**6, "\x00", "\x1b[2J", "{", "[" * 60000, "\ud800", "\udcff", "../../x"),
    *("é" * 300, "x" * 10**5),
)  # fmt: skip
FORMATS = ("md", "csv", "tex", "html", "json")
TEXTS = ("row_id", "status", "unit_key", "name", "label", "translator_params", "plugins", "segmenter_validation")


def journal(folder: Path) -> Path:
    return next((folder / "journal").iterdir())


def records(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in journal(folder).read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "sum"} for record in found]


def write(folder: Path, found: list[Any]) -> None:
    """The records as a journal whose checksums hold, without tables."""
    texts = [journal_line(r) if isinstance(r, dict) and r else json.dumps(r) + "\n" for r in found]
    journal(folder).write_text("".join(texts))
    for table in folder.glob("*.parquet"):
        table.unlink()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value of a record, and to each table and list in it."""
    if path:
        yield path
    for key, each in (
        value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    ):
        yield from places(each, (*path, key))


def put(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a record with another value at a place."""
    changed = copy.deepcopy(record)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def _values(folder: Path, chance: random.Random) -> None:
    found = records(folder)
    for _ in range(chance.choice((1, 1, 1, 3))):
        at = chance.randrange(len(found))
        found[at] = put(found[at], chance.choice(list(places(found[at]))), chance.choice(ODD))
    write(folder, found)


def _shapes(folder: Path, chance: random.Random) -> None:
    found = records(folder)
    at = chance.randrange(len(found))
    *above, last = chance.choice([path for path in places(found[at]) if not isinstance(path[-1], int)])
    changed = copy.deepcopy(found[at])
    inner = changed
    for key in above:
        inner = inner[key]
    match chance.randrange(3):
        case 0:
            del inner[last]
        case 1:
            inner[chance.choice(("new", "", "type", "at", "schema_version"))] = inner.pop(last)
        case 2:
            changed = {"type": found[at]["type"], **({"schema_version": chance.choice(ODD)} if at % 2 else {})}
    found[at] = changed
    write(folder, found)


def _lines(folder: Path, chance: random.Random) -> None:
    found: list[Any] = records(folder)
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(5):
            case 0:
                found.insert(chance.randrange(len(found)), chance.choice(ODD))
            case 1:
                del found[chance.randrange(len(found))]
            case 2:
                chance.shuffle(found)
            case 3:
                found += found[: chance.randrange(len(found))]
            case 4:
                found.append({**chance.choice([r for r in found if isinstance(r, dict)]), "type": chance.choice(ODD)})
    write(folder, found)


def _texts(folder: Path, chance: random.Random) -> None:
    """What is odd before it is JSON."""
    write(folder, records(folder))
    deep = chance.choice((40, 900, 60000))
    odd = chance.choice((
        b'{"type":"row","a":' + b"[" * deep + b"]" * deep + b"}", b'{"a":' * deep, b"9" * 5000, b'{"type": 1e999999}',
        b'{"type": "order", "rows": ["\\ud800"]}', b'{"type": "order", "rows": ["\xff"]}',
        b"x" * (33 << 20), b"\x00" * 99,
        b'{"type": "order", "rows": [], "rows": 5}', b'{"type": "order", "rows": [' + b'"a",' * 10**6 + b'"a"]}',
        b'"' + b'\\"' * 10**6,
        b'{"type": "order", "at": ' + b"9" * 10**5 + b".5}",
    ))  # fmt: skip
    lines = journal(folder).read_bytes().splitlines(keepends=True)
    lines.insert(chance.randint(0, len(lines)), odd + b"\n")
    journal(folder).write_bytes(b"".join(lines)[: -chance.randint(0, 3) or None])


def _bytes(folder: Path, chance: random.Random) -> None:
    path = journal(folder)
    path.write_bytes(damaged(path.read_bytes(), chance, [path.read_bytes()]))
    for table in folder.glob("*.parquet") if chance.random() < 0.5 else ():
        table.unlink()


def _tables(folder: Path, chance: random.Random) -> None:
    """Tables whose checksum holds, of a journal that has not changed."""
    path = folder / f"{chance.choice(('scores', 'attempts', 'cases'))}.parquet"
    table = pq.read_table(path)
    at = chance.randrange(table.num_columns)
    name = chance.choice([table.column_names[at], *(name for name in TEXTS if name in table.column_names)])
    at = table.column_names.index(name)
    rows = table.num_rows
    match chance.randrange(6):
        case 0:
            table = table.drop_columns([name])
        case 1:
            odd = chance.choice(([None], [b"\xff\xfe"], ["x"], [1], [2.5], [[1]], [{"a": 1}], [True], [b"x"]))
            table = table.set_column(at, name, pa.array(odd * rows))
        case 2:
            odd = chance.choice([value for value in ODD if value is None or isinstance(value, str | int | float)])
            with contextlib.suppress(ValueError, TypeError, OverflowError, pa.ArrowException):
                table = table.set_column(at, name, pa.array([odd] * rows, table.schema.field(name).type))
        case 3:
            table = pa.concat_tables([table] * chance.choice((3, 1000, 100_000 // max(rows, 1)))).slice(
                chance.choice((0, 1))
            )
        case 4:
            table = table.rename_columns([f"x{i}" if i == at else other for i, other in enumerate(table.column_names)])
        case 5:
            huge = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * 10**7]))
            table = table.set_column(at, name, huge.cast(pa.string()) if rows < 30 else huge)
    write_table(path, table, Results(folder).state())


def _pages(folder: Path, chance: random.Random) -> None:
    """Damaged Parquet whose checksum holds all the same."""
    import zlib

    path = folder / f"{chance.choice(('scores', 'attempts', 'cases'))}.parquet"
    content = damaged(path.read_bytes(), chance, [path.read_bytes()])
    start = content.rfind(b"crc32:") + 6
    before, after = content[:start], content[start + 8 :]
    path.write_bytes(before + f"{zlib.crc32(before + b'-' * 8 + after):08x}".encode() + after)


def _beside(folder: Path, chance: random.Random) -> None:
    """The marker, and the copies of environment and suite."""
    path = chance.choice([*folder.glob("*.json"), *folder.glob("*.toml")])
    if path.suffix == ".json" and chance.random() < 0.6:
        content = json.loads(path.read_text())
        path.write_text(json.dumps(put(content, chance.choice(list(places(content))), chance.choice(ODD))))
    else:
        odd = (b"", b"[]", b"5", b"null", b"[" * 60000, b"9" * 5000, path.read_bytes()[:-9], b"\xff", b"x" * (33 << 20))
        path.write_bytes(chance.choice(odd))


CLASSES: dict[str, Callable[[Path, random.Random], None]] = {
    "values": _values, "shapes": _shapes, "lines": _lines, "texts": _texts, "bytes": _bytes, "tables": _tables,
    "pages": _pages, "beside": _beside,
}  # fmt: skip


def commands(folder: Path, whole: Path, unit: str) -> dict[str, list[str]]:
    """What reads results, by name."""
    merged = folder.with_name(f"{folder.name}-merged")
    exports = {f"export {form}": ["export", str(folder), "--format", form] for form in FORMATS}
    shown = {f"show {option}".strip(): ["results", "show", str(folder), option] for option in ("--units", unit)}
    return {
        "show": ["results", "show", str(folder)],
        **shown,
        "show as JSON": ["results", "show", str(folder), unit, "--json"],
        "verify": ["results", "verify", str(folder)],
        **exports,
        "compare": ["compare", str(folder), str(whole)],
        "correlate": ["correlate", str(folder)],
        "report": ["report", str(folder), "-o", str(folder / "report.html")],
        "merge": ["results", "merge", str(folder), str(whole), "-o", str(merged)],
    }


def complaints(folder: Path, whole: Path, unit: str, names: Collection[str]) -> Iterator[str]:
    """What is wrong with how the commands of these names ended."""
    for name, words in commands(folder, whole, unit).items():
        if name not in names:
            continue
        begin = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                mtbench([*words, "--debug"])
            except SystemExit:
                pass
            except BaseException:
                yield f"{name}: {traceback.format_exc()}"
        if time.process_time() - begin > SLOW:
            yield f"{name}: it took {time.process_time() - begin:.0f} s"
    shutil.rmtree(folder.with_name(f"{folder.name}-merged"), ignore_errors=True)


def main(whole: Path, place: Path, first: int, count: int) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    unit = next(record["unit_key"] for record in records(whole) if record["type"] == "attempt")
    tried: Counter[str] = Counter()
    for seed in range(first, first + count):
        chance = random.Random(seed)
        kind = list(CLASSES)[seed % len(CLASSES)]
        tried[kind] += 1
        folder = place / str(seed)
        shutil.copytree(whole, folder)
        CLASSES[kind](folder, chance)
        # What reads the same table is tried by turns.
        always = ["show", "verify", "merge"]
        turns = [name for name in commands(folder, whole, unit) if name not in always]
        problems = list(complaints(folder, whole, unit, [*always, *chance.sample(turns, 2)]))
        for problem in problems:
            print(json.dumps({"seed": seed, "class": kind, "file": str(folder), "problem": problem}), flush=True)
        if not problems:
            shutil.rmtree(folder)
    print(json.dumps({"peak": peak(), "tried": tried}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
