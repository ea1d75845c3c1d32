"""A suite file in, a checked ``Suite`` out. Pure: no plugin code, no pixels, no torch."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError, SuiteError, close_matches
from mtbench.integers import LARGEST, check_seed, check_whole, too_large
from mtbench.registry.discovery import Registry
from mtbench.registry.params import parse_call
from mtbench.registry.tomltext import Lines, override

PRECISIONS = ("fp32", "tf32", "bf16")
PROTOCOLS = ("segment-translated", "train-on-translated")
SPLIT_KEYS: Mapping[str, Mapping[str, Any]] = {
    "own": {"seed": 0, "validation": 0.15, "same_people": True},
    "seed": {"seed": 0, "validation": 0.15, "test": 0.2, "same_people": True},
    "file": {"seed": 0, "file": "", "same_people": True},
    "folds": {"seed": 0, "folds": 5, "validation": 0.15, "same_people": True},
    "demo": {"seed": 0, "validation": 0.2, "test": 0.3},
}
"""The ways to divide patients, and the settings of each with their defaults.

``same_people``: a patient id that both domains hold is one person, see ``mtbench/stages/people.py``.
"""

_SUITE_KEYS = {
    "name": str,
    "description": str,
    "protocols": list,
    "seeds": list,
    "precision": str,
    "references": bool,
}
_WHOLE_NUMBERS = {
    "threads": (1, 1024),
    "segmenter_seed": (0, LARGEST),
    "sampling_seed": (0, LARGEST),
    "draws": (1, LARGEST),
}
"""More keys of [suite], with the least and the largest value of each."""
_SECTIONS = ("datasets", "translators", "segmenters", "metrics")
_NEEDED = ("datasets", "translators", "metrics")
_ENTRY_KEYS = {
    "datasets": ("name", "plugin", "params", "root", "split", "note"),
    "translators": ("name", "plugin", "params", "seeds"),
    "segmenters": ("name", "plugin", "params"),
    "metrics": ("name", "plugin", "params"),
}


@dataclass(frozen=True)
class Entry:
    """One plugin as a suite asks for it.

    Attributes:
        name: how tables call it.
        plugin: the plugin's name.
        params: as written; a list where the plugin wants one value is a grid.
        positional: values without a name (``swd:karras``).
        where: file and line, for messages.
        typed: names of the parameters, and values without a name, that were typed on the command line; their
            paths start from the working folder, those of the file from the suite's folder.
        seeds: a translator's own seeds, where they differ from the suite's.
        root, split, note: of a dataset.
    """

    name: str
    plugin: str
    params: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[str, ...] = ()
    where: str = ""
    typed: frozenset[str] = frozenset()
    seeds: tuple[int, ...] | None = None
    root: str | None = None
    split: Mapping[str, Any] | None = None
    note: str = ""


@dataclass(frozen=True)
class Suite:
    """What a suite file asks for.

    Attributes:
        folder: what relative paths in it start from.
        seeds: of the translators' fits and sampling.
        segmenter_seed, sampling_seed: of the segmenters' fits; of the N = min draw, and of resampling where
            a metric draws.
        draws: how often N = min images are drawn where the two sides differ; the mean is reported (the paper: 1).
        references: whether ceiling, floor and oracle rows are made.
        protocols: which image sets play which roles; some of ``PROTOCOLS``.
        trusted: whether the suite file may name programs (``--trust-suite``).
    """

    name: str
    folder: Path
    datasets: tuple[Entry, ...]
    translators: tuple[Entry, ...]
    segmenters: tuple[Entry, ...] = ()
    metrics: tuple[Entry, ...] = ()
    description: str = ""
    protocols: tuple[str, ...] = PROTOCOLS[:1]
    seeds: tuple[int, ...] = (0,)
    precision: str = "fp32"
    threads: int = 2
    references: bool = True
    segmenter_seed: int = 0
    sampling_seed: int = 0
    draws: int = 5
    trusted: bool = False

    def path(self, written: str, typed: bool = False) -> Path:
        """A path with ``~`` and ``$VARIABLES`` expanded, relative to the suite's folder.

        Args:
            written: as the suite or the user writes it.
            typed: it came from the command line and starts from the working folder.

        Raises:
            SuiteError: it uses an environment variable that is not set.
        """
        expanded = os.path.expandvars(os.path.expanduser(written))
        missing = re.findall(r"\$\{?(\w+)\}?", expanded)
        if missing:
            raise SuiteError(
                f"the path '{written}' uses the environment variable {missing[0]}, which is not set",
                where=f"suite '{self.name}'",
                remedy=f"Set it: export {missing[0]}=FOLDER",
            )
        return ((Path.cwd() if typed else self.folder) / expanded).resolve()

    def select(
        self,
        *,
        translators: Sequence[str] = (),
        datasets: Sequence[str] = (),
        segmenters: Sequence[str] = (),
        metrics: Sequence[str] = (),
        seeds: Sequence[int] = (),
        precision: str | None = None,
    ) -> Suite:
        """This suite narrowed by what was asked for on the command line.

        Each item is ``name`` or ``name:p=v``; parameters given here go over the suite's, and a plugin that the
        suite does not name takes part with its defaults. Datasets must be in the suite or need no files.
        """
        chosen: dict[str, Any] = {}
        for section, items in (
            ("translators", translators),
            ("datasets", datasets),
            ("segmenters", segmenters),
            ("metrics", metrics),
        ):
            if items:
                chosen[section] = tuple(e for item in items for e in _selected(getattr(self, section), item))
        if seeds:
            chosen["seeds"] = tuple(check_seed(seed, "--seed") for seed in seeds)
            if "translators" not in chosen:
                chosen["translators"] = tuple(replace(t, seeds=None) for t in self.translators)
        if precision:
            chosen["precision"] = precision
        return replace(self, **chosen)


def _selected(entries: Iterable[Entry], item: str) -> list[Entry]:
    name, params, positional = parse_call(item)
    known = [e for e in entries if e.name == name]
    typed = frozenset((*params, *positional))
    if not known:
        return [Entry(name, name, params, positional, where=f"option '{item}'", typed=typed)]
    return [
        replace(
            e,
            params={**e.params, **params},
            positional=positional or e.positional,
            where=f"option '{item}'",
            typed=typed,
        )
        if params or positional
        else e
        for e in known
    ]


def load_suite(name: str, registry: Registry, settings: Sequence[str] = (), *, needs: Sequence[str] = _NEEDED) -> Suite:
    """Read a suite file, or a suite that a plugin registered under that name.

    Args:
        name: a path, or a registered name.
        registry: where registered suites are looked up.
        settings: ``key=value`` texts that go over the file's ("seeds=[0,1]", "datasets.*.params.size=64").
        needs: sections of which there must be an entry.

    Raises:
        RequestError: there is no such file or suite.
        SuiteError: the file is not a valid suite; the text names the key and the line.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        raise RequestError(f"{name} is a folder", expected="a suite file (.toml) or the name of a registered suite")
    if path.suffix != ".toml" and name in registry.names("suite"):
        package, _, inside = registry.get("suite", name).spec.resource.partition(":")
        with resources.as_file(resources.files(package) / inside) as found:
            return parse_suite(found.read_text(encoding="utf-8"), name, found.parent, settings, needs=needs)
    if not path.is_file():
        names = registry.names("suite")
        raise RequestError(
            f"there is no suite '{name}'",
            matches=close_matches(name, names),
            expected="a suite file (.toml)" + (f" or one of {', '.join(names)}" if names else ""),
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"the file cannot be read: {error}", where=name) from error
    return parse_suite(text, name, path.resolve().parent, settings, needs=needs)


def parse_suite(
    text: str, where: str, folder: Path, settings: Sequence[str] = (), *, needs: Sequence[str] = _NEEDED
) -> Suite:
    """Check the text of a suite file. ``where`` names it in messages; see :func:`load_suite`."""
    try:
        raw = tomllib.loads(text)
    except ValueError as error:  # of a number of thousands of digits it is no TOMLDecodeError
        raise SuiteError(f"this is not valid TOML: {error}", where=where) from error
    for setting in settings:
        override(raw, setting)
    finder = Lines(text, where)
    for path, number in too_large(raw):
        name = ".".join(key for key in path if isinstance(key, str))
        minimum = 0 if "seed" in name else -LARGEST - 1
        check_whole(number, finder.at(path), name=f"'{name}'", minimum=minimum, error=SuiteError)
    _known(raw, ("suite", *_SECTIONS), finder, ())
    head = raw.get("suite", {})
    if not isinstance(head, dict):
        raise SuiteError("'suite' must be a table", where=finder.at(("suite",)), expected="a section [suite]")
    _known(head, (*_SUITE_KEYS, *_WHOLE_NUMBERS), finder, ("suite",))
    for key, value in head.items():
        place = finder.at(("suite", key))
        if key in _WHOLE_NUMBERS:
            minimum, maximum = _WHOLE_NUMBERS[key]
            check_whole(value, place, name=f"'{key}'", minimum=minimum, maximum=maximum, error=SuiteError)
        elif not isinstance(value, _SUITE_KEYS[key]):
            expected = f"a value of type {_SUITE_KEYS[key].__name__}"
            raise SuiteError(f"'{key}' is {value!r}", where=place, expected=expected)
    seeds = _seeds(head.get("seeds", [0]), finder.at(("suite", "seeds")))
    precision = head.get("precision", "fp32")
    _one_of("precision", precision, PRECISIONS, finder.at(("suite", "precision")))
    protocols = tuple(dict.fromkeys(map(str, head.get("protocols", PROTOCOLS[:1]))))
    for protocol in protocols:
        _one_of("protocol", protocol, PROTOCOLS, finder.at(("suite", "protocols")))
    if not protocols:
        raise SuiteError(
            "'protocols' is empty",
            where=finder.at(("suite", "protocols")),
            expected="some of " + ", ".join(PROTOCOLS),
        )
    sections: dict[str, Any] = {section: _entries(section, raw.get(section, []), finder) for section in _SECTIONS}
    for section in needs:
        if not sections[section]:
            raise SuiteError(f"the suite names no {section}", where=where, expected=f"at least one [[{section}]] entry")
    given = {key: value for key, value in head.items() if key not in ("seeds", "protocols", "name")}
    return Suite(
        name=head.get("name", Path(where).stem),
        folder=folder,
        seeds=seeds,
        protocols=protocols,
        **sections,
        **given,
    )


def _entries(section: str, raw: Any, finder: Lines) -> tuple[Entry, ...]:
    if not isinstance(raw, list):
        raise SuiteError(
            f"'{section}' must be a list",
            where=finder.at((section,)),
            expected=f"[[{section}]] entries or a list of names",
        )
    entries = []
    for position, item in enumerate(raw):
        where = finder.at((section, position))
        if isinstance(item, str):
            name, params, positional = parse_call(item)
            entries.append(Entry(name, name, params, positional, where=finder.at((section,))))
            continue
        if not isinstance(item, dict):
            raise SuiteError(f"an entry of '{section}' is {item!r}", where=where, expected="a table or a name")
        _known(item, _ENTRY_KEYS[section], finder, (section, position))
        name = str(item.get("name", item.get("plugin", "")))
        if not name:
            raise SuiteError(f"an entry of '{section}' has no name", where=where, expected='name = "..."')
        plugin, call_params, positional = parse_call(str(item.get("plugin", name)))
        if "plugin" not in item:
            name = plugin
        params = item.get("params", {})
        if not isinstance(params, dict):
            raise SuiteError("'params' must be a table", where=where, expected="params.NAME = VALUE")
        split = _split(item["split"], finder.at((section, position, "split"))) if "split" in item else None
        for key in ("root", "note"):
            if not isinstance(item.get(key, ""), str):
                raise SuiteError(f"'{key}' is {item[key]!r}", where=where, expected="text")
        entries.append(
            Entry(
                name,
                plugin,
                {**call_params, **params},
                positional,
                where=where,
                seeds=_seeds(item["seeds"], finder.at((section, position, "seeds"))) if "seeds" in item else None,
                root=item.get("root"),
                split=split,
                note=item.get("note", ""),
            )
        )
    first: dict[str, Entry] = {}
    for entry in entries:
        known = first.setdefault(entry.name, entry)
        # Entries of one plugin may share a name: their parameters tell them apart.
        if known is not entry and (section == "datasets" or known.plugin != entry.plugin):
            raise SuiteError(
                f"two {section} are called '{entry.name}'", where=entry.where, expected="a name of its own for each"
            )
    return tuple(entries)


def _split(value: Any, where: str) -> dict[str, Any]:
    given = {"by": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or "by" not in given:
        raise SuiteError(f"'split' is {value!r}", where=where, expected='split = {by = "seed", ...}')
    _one_of("split", given["by"], tuple(SPLIT_KEYS), where)
    defaults = SPLIT_KEYS[given["by"]]
    for key, setting in given.items():
        if key == "by":
            continue
        if key not in defaults:
            raise SuiteError(
                f"split by {given['by']} has no setting '{key}'",
                where=where,
                matches=close_matches(key, defaults),
                expected="one of " + ", ".join(defaults),
            )
        kind = type(defaults[key])
        if kind is int:
            minimum, maximum = (0, LARGEST) if key == "seed" else (2, 1000)
            name = f"split setting '{key}'"
            check_whole(setting, where, name=name, minimum=minimum, maximum=maximum, error=SuiteError)
            continue
        fits = isinstance(setting, kind) or (kind is float and isinstance(setting, int))
        if not fits or (isinstance(setting, bool) and kind is not bool):
            raise SuiteError(
                f"split setting '{key}' is {setting!r}",
                where=where,
                expected=f"a value of type {kind.__name__}",
            )
        if kind is float and not 0 < setting < 1:
            raise SuiteError(f"split setting '{key}' is {setting}", where=where, expected="a fraction between 0 and 1")
    if given["by"] == "file" and not given.get("file"):
        raise SuiteError("a split by file names no file", where=where, expected='file = "split.csv"')
    return {**defaults, **given}


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise SuiteError(f"'seeds' is {value!r}", where=where, expected="a list of whole numbers, at least one")
    return tuple(check_seed(seed, where, name="a seed of 'seeds'", error=SuiteError) for seed in value)


def _one_of(what: str, value: Any, allowed: Sequence[str], where: str) -> None:
    if value not in allowed:
        raise SuiteError(
            f"{what} is {value!r}",
            where=where,
            expected="one of " + ", ".join(allowed),
            matches=close_matches(str(value), allowed),
        )


def _known(table: Mapping[str, Any], allowed: Sequence[str], finder: Lines, path: tuple[str | int, ...]) -> None:
    for key in table:
        if key not in allowed:
            section = "the suite" if not path else f"[{path[0]}]"
            raise SuiteError(
                f"unknown key '{key}' in {section}",
                where=finder.at((*path, key)),
                matches=close_matches(key, allowed),
                expected="one of " + ", ".join(allowed),
            )
