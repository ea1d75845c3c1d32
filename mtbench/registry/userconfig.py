"""The user's own configuration, ``mtbench.toml``: programs and cluster settings, which no suite may contain.

It is read from the file that the user names, or from the user's configuration folder; never from the current folder or
the suite's folder, because a suite from somebody else could come with one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError, close_matches
from mtbench.paths import config_folder, expand, refuse_if_others_write
from mtbench.registry.tomltext import Lines
from mtbench.toml import parse, read_text
from mtbench.typed import Wording

NAME = "mtbench.toml"
VARIABLE = "MTBENCH_CONFIG"


def config_file() -> Path:
    """The default path of ``mtbench.toml``: in the user's configuration folder of the operating system."""
    return config_folder() / NAME


@dataclass(frozen=True)
class ConfigTable:
    """One table of the file.

    Attributes:
        values: the keys and values.
        where: file and line, for messages.
    """

    values: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class UserConfig:
    """The user's ``mtbench.toml``, read at its first use.

    Args:
        file: its path (``--config``); by default ``MTBENCH_CONFIG``, then :func:`config_file`. A file that is named
            must exist; the default file is optional.
    """

    file: str | os.PathLike[str] | None = field(default=None)

    @cached_property
    def path(self) -> Path:
        """The path of the file."""
        return expand(self._location).resolve() if self._location else config_file()

    @property
    def _location(self) -> str | os.PathLike[str] | None:
        return self.file or os.environ.get(VARIABLE)

    @property
    def plugin_files(self) -> tuple[str, ...]:
        """Plugin files and folders to load with every command (``[plugins] files``), relative to the file's folder.

        Raises:
            RequestError: it is not a list of texts.
        """
        table = self._tables.get("plugins", {})
        files = table.get("files", []) if isinstance(table, dict) else None
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files) or set(table) - {"files"}:
            raise RequestError(
                "'plugins' is not valid",
                where=self._lines.at(("plugins",)),
                expected='files = ["~/mynet"] in [plugins]',
            )
        return tuple(str(self.path.parent / expand(file)) for file in files)

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of the tables ``[kind.NAME]``."""
        tables = self._tables.get(kind, {})
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            where = self._lines.at((kind,))
            raise RequestError(f"'{kind}' is not a table of tables", where=where, expected=f"[{kind}.NAME]")
        return tuple(tables)

    def table(self, kind: str, name: str, keys: Iterable[str]) -> ConfigTable:
        """The table ``[kind.name]``.

        Args:
            kind, name: of the table.
            keys: the allowed keys.

        Raises:
            RequestError: the file cannot be read, the table does not exist, or it contains an unknown key.
        """
        names = self.names(kind)
        if name not in names:
            others = [top for top in self._tables if top != kind]
            raise RequestError(
                f"there is no [{kind}.{name}]" if self.path.exists() else "the file does not exist",
                where=str(self.path),
                matches=[f"{kind}.{match}" for match in close_matches(name, names)] or close_matches(kind, others),
                expected=f"a table [{kind}.{name}] in your own {NAME}"
                + (f", or one of {', '.join(names)}" if names else ""),
            )
        values = self._tables[kind][name]
        wording = Wording(RequestError, f"unknown key '{{name}}' in [{kind}.{name}]")
        wording.check_keys(values, keys, lambda key: self._lines.at((kind, name, key)))
        return ConfigTable(values, self._lines.at((kind, name)))

    @cached_property
    def _text(self) -> str:
        try:
            path = self.path
        except RequestError:
            if self._location:
                raise
            return ""  # no home folder, so no configuration
        if os.path.lexists(path):
            refuse_if_others_write(path)
            return read_text(path)
        if self._location:
            how = "--config" if self.file else VARIABLE
            raise RequestError(f"the file {self.path} does not exist", where=how, expected="your own mtbench.toml")
        return ""

    @cached_property
    def _tables(self) -> dict[str, Any]:
        return parse(self._text, str(self.path)) if self._text else {}

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self._text, str(self.path))
