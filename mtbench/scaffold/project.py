"""A new plugin: its names, its files, and checks before they are written."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from string import Template

from mtbench import childprocess
from mtbench.errors import RequestError, close_matches
from mtbench.registry.plugin import OWN_DISTRIBUTION
from mtbench.registry.registry import Registry
from mtbench.scaffold.merging import merged

KINDS = ("translator", "dataset", "segmenter", "extractor", "metric", "exporter", "executor", "challenge", "observer")
WRAPS = ("checkpoint", "command", "folder")
_TEMPLATES = Path(__file__).with_name("templates")
_NAME = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*")
_ABOUT = {
    "translator": "turns source slices into target slices",
    "dataset": "a task with two domains",
    "segmenter": "predicts the labels of a task",
    "extractor": "features of images",
    "metric": "the distance between two sets of images",
    "exporter": "a table format",
    "executor": "runs units",
    "challenge": "scores submissions and ranks teams",
    "observer": "is notified of finished units",
}


def _template(name: str) -> Template:
    # With another extension, so that no tool treats them as modules or settings of mtbench.
    return Template((_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8"))


def _exists(name: str) -> bool:
    return (_TEMPLATES / f"{name}.txt").exists()


@dataclass(frozen=True)
class Project:
    """The plugin to write.

    Attributes:
        kind, name: of the plugin.
        wrap: for a translator, what it wraps ("checkpoint", "command", "folder"); otherwise empty.
        minimal: write one file instead of a distribution.
    """

    kind: str
    name: str
    wrap: str = ""
    minimal: bool = False

    @property
    def package(self) -> str:
        """The name of the Python package."""
        return re.sub(r"[^a-z0-9]+", "_", self.name) + ("" if self.is_program else "_mtbench")

    @property
    def is_program(self) -> bool:
        """Whether a built-in plugin does the work, so that no package is needed."""
        return self.wrap in ("command", "folder")

    def words(self, folder: Path) -> dict[str, str]:
        """The values of the names in templates."""
        stem = re.sub(r"[^a-z0-9]+", " ", self.name)
        return {
            "kind": self.kind,
            "name": self.name,
            "package": self.package,
            "distribution": f"mtbench-{re.sub(r'[._]', '-', self.name)}",
            "cls": "".join(map(str.capitalize, stem.split())),
            "title": stem.capitalize(),
            "about": _ABOUT[self.kind],
            "call": self.name,
            "variable": self.package.upper() + "_FILE",
            "file": f"{self.name}.py",
            "folder": folder.resolve().as_posix(),
            "core": OWN_DISTRIBUTION,
            "python": Path(childprocess.command()[0]).as_posix(),
        }

    def files(self, folder: Path) -> dict[str, str]:
        """The text of each file, by its path below ``folder``."""
        words = self.words(folder)

        def of(name: str) -> str:
            return _template(name).substitute(words)

        if self.minimal:
            return {f"{self.name}.py": self._one_file(words)}
        ignored = {".gitignore": of("project/gitignore")}
        if self.wrap == "command":
            texts = {name: of(f"wrap-command/{name}") for name in ("infer.py", "mtbench.toml", "README.md")}
            return {**texts, **self._test(of, "wrap-command"), **ignored}
        if self.wrap == "folder":
            texts = {name: of(f"wrap-folder/{name}") for name in ("suite.toml", "README.md")}
            return {**texts, **self._test(of, "wrap-folder"), "translated/.gitkeep": ""}
        room = f"wrap-{self.wrap}" if self.wrap else self.kind
        package = {"__init__.py": f'"""The {self.kind} ``{self.name}`` for mtbench."""\n', "py.typed": ""}
        for file, template in (("plugin.py", "hook.py"), ("model.py", "body.py"), ("network.py", "network.py")):
            if _exists(f"{room}/{template}"):
                package[file] = of(f"{room}/{template}")
        return {
            "pyproject.toml": of("project/pyproject.toml"),
            "README.md": of("project/README.md"),
            ".github/workflows/tests.yml": of("project/ci.yml"),
            **ignored,
            **self._test(of, room if _exists(f"{room}/test.py") else "project"),
            **{f"{self.package}/{name}": text for name, text in package.items()},
        }

    def _test(self, of: Callable[[str], str], room: str) -> dict[str, str]:
        return {"tests/test_conformance.py": of(f"{room}/test.py")}

    def _one_file(self, words: Mapping[str, str]) -> str:
        parts = ["minimal.py"] if _exists(f"{self.kind}/minimal.py") else ["hook.py", "body.py"]
        texts = [_template(f"{self.kind}/{part}") for part in parts if _exists(f"{self.kind}/{part}")]
        filled = [text.substitute({**words, "package": "", "call": words["file"]}) for text in texts]
        return merged([text.replace('".model:', '":') for text in filled])


def new(project: Project, registry: Registry, folder: Path | None = None) -> list[Path]:
    """Write a new plugin.

    Args:
        project: the plugin.
        registry: the existing plugins.
        folder: the output folder; by default a new folder NAME in the current one, for one file the current folder.

    Returns:
        The files that were written.

    Raises:
        RequestError: the name is taken or not valid, a file exists already, or the folder is not writable.
    """
    _check_names(project, registry)
    folder = folder or (Path() if project.minimal else Path(project.name))
    files = {folder / name: text for name, text in project.files(folder).items()}
    taken = [path for path in files if os.path.lexists(path)]
    if taken or (not project.minimal and folder.exists() and any(folder.iterdir())):
        raise RequestError(
            f"{taken[0] if taken else folder} already exists",
            where="mtbench new",
            remedy="Choose another name, or another place with --folder",
        )
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            if path.name == "mtbench.toml":
                path.chmod(0o600)  # it names programs, so nobody else may write it
    except OSError as error:
        where = error.filename or folder
        raise RequestError(
            f"the folder is not writable: {error.strerror}", where=str(where), remedy="Choose another --folder"
        ) from error
    return list(files)


def _check_names(project: Project, registry: Registry) -> None:
    if not _NAME.fullmatch(project.name) or keyword.iskeyword(project.name):
        raise RequestError(
            f"'{project.name}' is not a usable name",
            where="mtbench new",
            expected="lower case letters and digits, with '-', '_' or '.' between them, such as my-model",
        )
    if project.name in registry.names(project.kind) and not project.is_program:
        origin = registry.get(project.kind, project.name).plugin.origin
        raise RequestError(
            f"the {project.kind} '{project.name}' already exists, in {origin}",
            where="mtbench new",
            expected="a different name, because the second plugin of a name is rejected",
            matches=[
                match for match in close_matches(project.name, registry.names(project.kind)) if match != project.name
            ],
        )
    if project.minimal or project.is_program:
        return
    distribution = project.words(Path())["distribution"]
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = ""
    if version:
        raise RequestError(
            f"a distribution '{distribution}' ({version}) is already installed",
            where="mtbench new",
            remedy="Choose another name, because the new one would replace it",
        )
    if util.find_spec(project.package) is not None:
        raise RequestError(
            f"the Python package '{project.package}' already exists",
            where="mtbench new",
            remedy="Choose another name, because one of the two would hide the other",
        )
