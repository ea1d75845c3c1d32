"""From a suite file to a validated ``Suite``. Runs no plugin code, reads no pixels and imports no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from mtbench.errors import RequestError, SuiteError, close_matches, shorten
from mtbench.integers import LARGEST, Seed, check_seed, check_whole, too_large, whole
from mtbench.paths import expand
from mtbench.registry.params import parse_call
from mtbench.registry.registry import Registry
from mtbench.registry.specs import SuiteSpec
from mtbench.registry.tomltext import Lines, override
from mtbench.stages.table import SPLIT_WAYS, SplitOptions, SplitWay
from mtbench.toml import parse, read_text
from mtbench.typed import Rule, Wording, read

ProtocolName = Literal["segment-translated", "train-on-translated"]
PROTOCOLS: tuple[ProtocolName, ...] = get_args(ProtocolName)
Precision = Annotated[Literal["fp32", "tf32", "bf16"], Rule(what="precision is {value!r}")]
Seeds = Annotated[
    tuple[Annotated[int, whole(0, name="a seed of 'seeds'")], ...], Rule("a list of whole numbers, at least one", bool)
]

LONGEST_NAME = 100
_NAME = Rule(
    f"one line of at most {LONGEST_NAME} visible characters",
    lambda name: len(name) <= LONGEST_NAME and (name.isprintable() or not name),
    "'name' is {value!r}",
    of_type=False,
)
_FOLDER_NAME = Rule(
    "a valid folder name: no / or \\, and no dot or space at the beginning",
    lambda name: re.match(r"[^\s./\\][^/\\]*\Z", name) and len(name.encode("utf-8", "replace")) <= 200,
    "'name' is {value!r}",
    of_type=False,
)
"""The name of a suite is also that of its results directory in mtbench-results."""

_SECTIONS = ("datasets", "translators", "segmenters", "metrics")
_NEEDS = ("datasets", "translators", "metrics")
_ENTRY_KEYS = {
    "datasets": ("name", "plugin", "params", "root", "split", "paired_fraction", "note"),
    "translators": ("name", "plugin", "params", "seeds", "keep", "target_patients"),
    "segmenters": ("name", "plugin", "params", "seeds"),
    "metrics": ("name", "plugin", "params"),
}


def _listed(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else [value]


def _once(value: object) -> object:
    return [each for at, each in enumerate(value) if each not in value[:at]] if isinstance(value, list) else value


_FRACTION = Rule("a number from 0 to 1", lambda part: 0 <= part <= 1, "'paired_fraction' is {value!r}")
Fractions = Annotated[
    tuple[Annotated[float, _FRACTION], ...], _listed, _once, Rule("a number from 0 to 1, or a list of them", bool)
]


@dataclass(frozen=True)
class Entry:
    """One plugin as a suite names it.

    Attributes:
        name: its name in tables.
        plugin: the plugin's name.
        params: as written; a list for a parameter with a single value is a grid.
        positional: values without a name (``swd:karras``).
        where: file and line, for messages.
        cli_params: names of the parameters, and values without a name, that come from the command line. Their paths
            are relative to the working folder, those in the file to the suite's folder.
        seeds: of a translator or segmenter, if they differ from the suite's.
        keep: how many checkpoints of a translator's training are kept and scored, the final one included; each has
            trained half as long as the next.
        target_patients: of a translator that trains: how many training patients of the target domain its fit reads;
            if it trains on pairs, of how many patients it receives the pairs. 0: all.
        root, split, note: for datasets only.
        paired_fraction: of a data set with paired training slices: the fraction of the training patients whose pairs
            translators that train on pairs receive; a list is a grid.
    """

    name: Annotated[str, str, _NAME]
    plugin: Annotated[str, str, _NAME]
    params: Annotated[Mapping[str, Any], Rule("params.NAME = VALUE", what="'params' must be a table")] = field(
        default_factory=dict
    )
    positional: tuple[str, ...] = ()
    where: str = ""
    cli_params: frozenset[str] = frozenset()
    seeds: Seeds | None = None
    keep: Annotated[int, whole(1, 16)] = 1
    target_patients: Annotated[int, whole(0)] = 0
    root: Annotated[str | None, Rule("text")] = None
    split: SplitOptions | None = None
    note: Annotated[str, Rule("text")] = ""
    paired_fraction: Fractions = (1.0,)

    @staticmethod
    def of(call: str, where: str, *, typed: bool = False) -> Entry:
        """The entry for ``NAME`` or ``NAME:p=v,...``, from a suite's list of names or ``typed`` on the command line."""
        name, params, positional = parse_call(call)
        return Entry(name, name, params, positional, where, frozenset((*params, *positional) if typed else ()))


@dataclass(frozen=True)
class Suite:
    """The content of a suite file.

    Attributes:
        folder: the folder that relative paths start from.
        seeds: of the translators' fits and sampling.
        segmenter_seed, sampling_seed: of the fits of segmenters and extractors; of the N = min draws and, for metrics
            that draw, of resampling.
        draws: how often N = min images are drawn if the two sides differ; the mean is reported (the paper: 1).
        references: whether to compute truth, ceiling, floor and oracle rows.
        protocols: assignments of image sets to roles; some of ``PROTOCOLS``.
        trusted: whether the suite file may name programs (``--trust-suite``).
    """

    name: Annotated[str, _NAME, _FOLDER_NAME]
    folder: Path
    datasets: tuple[Entry, ...]
    translators: tuple[Entry, ...]
    segmenters: tuple[Entry, ...] = ()
    metrics: tuple[Entry, ...] = ()
    description: str = ""
    protocols: Annotated[
        tuple[Annotated[ProtocolName, Rule(what="protocol is {value!r}")], ...],
        _once,
        Rule("some of " + ", ".join(PROTOCOLS)),
        Rule("some of " + ", ".join(PROTOCOLS), bool, "'protocols' is empty"),
    ] = PROTOCOLS[:1]
    seeds: Seeds = (0,)
    precision: Precision = "fp32"
    threads: Annotated[int, whole(1, 1024)] = 2
    references: bool = True
    segmenter_seed: Seed = 0
    sampling_seed: Seed = 0
    draws: Annotated[int, whole(1, 1_000_000)] = 5
    trusted: bool = False

    @property
    def keeps(self) -> bool:
        """Whether checkpoints of a training are kept: then every translator is scored on validation patients too."""
        return any(entry.keep > 1 for entry in self.translators)

    def path(self, location: str, from_cli: bool = False) -> Path:
        """A path with ``~`` and ``$VARIABLES`` expanded, relative to the suite's folder.

        Args:
            location: as the suite or the user writes it.
            from_cli: whether it comes from the command line and is relative to the working folder.

        Raises:
            SuiteError: it uses an environment variable that is not set.
        """
        path = os.path.expandvars(location)
        missing = re.findall(r"\$\{?(\w+)\}?", path)
        if missing:
            raise SuiteError(
                f"the path '{location}' uses the environment variable {missing[0]}, which is not set",
                where=f"suite '{self.name}'",
                remedy=f"Set it with `export {missing[0]}=FOLDER`",
            )
        return ((Path.cwd() if from_cli else self.folder) / expand(path)).resolve()

    def select(
        self,
        *,
        translators: Sequence[str] = (),
        datasets: Sequence[str] = (),
        segmenters: Sequence[str] = (),
        metrics: Sequence[str] = (),
        seeds: Sequence[int] = (),
        precision: Precision | None = None,
    ) -> Suite:
        """This suite, restricted to the selection on the command line.

        Each item is ``name`` or ``name:p=v``. These parameters override the suite's, and a plugin that the suite does
        not name takes part with its defaults. Datasets must be in the suite or need no files.
        """
        entries = _narrow(self.translators, translators)
        if seeds and not translators:
            entries = tuple(replace(entry, seeds=None) for entry in entries)
        return replace(
            self,
            translators=entries,
            datasets=_narrow(self.datasets, datasets),
            segmenters=_narrow(self.segmenters, segmenters),
            metrics=_narrow(self.metrics, metrics),
            seeds=tuple(check_seed(seed, "--seed") for seed in seeds) or self.seeds,
            precision=precision or self.precision,
        )


def _narrow(entries: tuple[Entry, ...], items: Sequence[str]) -> tuple[Entry, ...]:
    narrowed = []
    for item in items:
        option = Entry.of(item, f"option '{item}'", typed=True)
        matches = [entry for entry in entries if entry.name == option.name]
        for entry in matches or [option]:
            if option.cli_params:
                params, positional = {**entry.params, **option.params}, option.positional or entry.positional
                where, typed = option.where, option.cli_params
                entry = replace(entry, params=params, positional=positional, where=where, cli_params=typed)
            narrowed.append(entry)
    return tuple(narrowed) if items else entries


def load_suite(name: str, registry: Registry, settings: Sequence[str] = (), *, needs: Sequence[str] = _NEEDS) -> Suite:
    """Read a suite file, or a suite that a plugin registered under that name.

    Args:
        name: a path, or a registered name.
        registry: for the lookup of registered suites.
        settings: ``key=value`` texts that override the file's ("seeds=[0,1]", "datasets.*.params.size=64").
        needs: sections that must have an entry.

    Raises:
        RequestError: the file or suite does not exist.
        SuiteError: the file is not a valid suite; the text names the key and the line.
    """
    path = expand(name)
    if os.path.isdir(path):
        raise RequestError(f"{name} is a folder", expected="a suite file (.toml) or the name of a registered suite")
    if path.suffix != ".toml" and name in registry.names("suite"):
        package, _, inside = registry.get(SuiteSpec, name).spec.resource.partition(":")
        with resources.as_file(resources.files(package) / inside) as file:
            return parse_suite(file.read_text(encoding="utf-8"), name, file.parent, settings, needs=needs)
    if not os.path.lexists(path):
        names = registry.names("suite")
        raise RequestError(
            f"unknown suite '{shorten(name)}'",
            matches=close_matches(name, names),
            expected="a suite file (.toml)" + (f" or one of {', '.join(names)}" if names else ""),
        )
    return parse_suite(read_text(path, name, SuiteError), name, path.resolve().parent, settings, needs=needs)


def parse_suite(
    text: str, where: str, folder: Path, settings: Sequence[str] = (), *, needs: Sequence[str] = _NEEDS
) -> Suite:
    """Check the text of a suite file. ``where`` names it in messages; see :func:`load_suite`."""
    raw = parse(text, where, SuiteError)
    for setting in settings:
        override(raw, setting)
    lines = Lines(text, where)
    for path, number in too_large(raw):
        name = ".".join(key for key in path if isinstance(key, str))
        minimum = 0 if "seed" in name else -LARGEST - 1
        check_whole(number, lines.at(path), name=f"'{name}'", minimum=minimum, error=SuiteError)
    _wording("the suite").check_keys(raw, ("suite", *_SECTIONS), lambda key: lines.at((key,)))
    head = raw.get("suite", {})
    if not isinstance(head, dict):
        raise SuiteError("'suite' must be a table", where=lines.at(("suite",)), expected="a section [suite]")
    sections = {section: _entries(section, raw.get(section, []), lines) for section in _SECTIONS}
    for section in needs:
        if not sections[section]:
            raise SuiteError(f"the suite names no {section}", where=where, expected=f"at least one [[{section}]] entry")
    keys = [key.name for key in fields(Suite) if key.name not in ("folder", "trusted", *_SECTIONS)]
    head = {"name": Path(where).stem, **head}
    return read(Suite, head, _wording("[suite]"), lambda key: lines.at(("suite", key)), keys, folder=folder, **sections)


def _wording(section: str) -> Wording:
    return Wording(SuiteError, f"unknown key '{{name}}' in {section}", "'{name}' is {value!r}")


def _entries(section: str, raw: object, lines: Lines) -> tuple[Entry, ...]:
    if not isinstance(raw, list):
        raise SuiteError(
            f"'{section}' must be a list",
            where=lines.at((section,)),
            expected=f"[[{section}]] entries or a list of names",
        )
    entries = tuple(_entry(section, position, item, lines) for position, item in enumerate(raw))
    first: dict[str, Entry] = {}
    for entry in entries:
        earlier = first.setdefault(entry.name, entry)
        # Entries of one plugin may share a name: their parameters distinguish them.
        if earlier is not entry and (section == "datasets" or earlier.plugin != entry.plugin):
            raise SuiteError(
                f"two {section} are called '{entry.name}'", where=entry.where, expected="a different name for each"
            )
    return entries


def _entry(section: str, position: int, item: object, lines: Lines) -> Entry:
    where, keys = lines.at((section, position)), _ENTRY_KEYS[section]
    if isinstance(item, str):
        return Entry.of(item, lines.at((section,)))
    if not isinstance(item, dict):
        raise SuiteError(f"an entry of '{section}' is {item!r}", where=where, expected="a table or a name")

    def at(key: str) -> str:
        # An error in a parameter names its entry.
        return (
            lines.at((section, position, key))
            if key in ("seeds", "keep", "target_patients", "paired_fraction") or key not in keys
            else where
        )

    split = _split(item["split"], lines.at((section, position, "split"))) if "split" in item else None
    name = item.get("name", item.get("plugin", ""))
    raw = {"name": name, "plugin": name, **item}
    entry = read(Entry, raw, _wording(f"[{section}]"), at, keys, where=where, split=split)
    if not entry.name:
        raise SuiteError(f"an entry of '{section}' has no name", where=where, expected='name = "..."')
    plugin, params, positional = parse_call(entry.plugin)
    return replace(
        entry,
        name=entry.name if "plugin" in item else plugin,
        plugin=plugin,
        params={**params, **entry.params},
        positional=positional,
    )


def _split(value: object, where: str) -> SplitOptions:
    table = {"by": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or "by" not in table:
        raise SuiteError(f"'split' is {value!r}", where=where, expected='split = {by = "seed", ...}')
    by: SplitWay = Wording(SuiteError).value(table["by"], SplitWay, "split", where)
    wording = Wording(SuiteError, f"split by {by} has no setting '{{name}}'", "split setting '{name}' is {value!r}")
    defaults = SPLIT_WAYS[by]
    settings = {**defaults, **{key: setting for key, setting in table.items() if key != "by"}}
    options = read(SplitOptions, settings, wording, lambda key: where, defaults, by=by)
    parts = {name: getattr(options, name) for name in ("validation", "test") if name in defaults}
    if sum(parts.values()) >= 1:
        what = " and ".join(f"{name} = {part}" for name, part in parts.items()) + " leave nothing to train on"
        raise SuiteError(f"split: {what}", where=where, expected="fractions with a sum below 1")
    return options
