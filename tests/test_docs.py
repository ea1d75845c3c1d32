"""The documentation: links lead somewhere, code compiles, commands parse, and the site builds from itself alone."""

from __future__ import annotations

import ast
import copy
import importlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

import mtbench
from mtbench.cli import COMMANDS, cli
from mtbench.registry.discovery import discover
from mtbench.registry.specs import KINDS
from mtbench.results.schema import TABLES

ROOT = Path(mtbench.__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
ELSEWHERE = ("http://", "https://", "mailto:")


def generator(name: str) -> Any:
    """A module of docs/generate, where MkDocs finds it."""
    sys.path.insert(0, str(DOCS / "generate"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DOCS / "generate"))


@cache
def pages() -> dict[str, str]:
    """Every page of the site by its path, written and generated."""
    written = {p.relative_to(DOCS).as_posix(): p.read_text(encoding="utf-8") for p in DOCS.rglob("*.md")}
    return {**written, **generator("pages").pages()}


def sources() -> Iterator[tuple[str, str]]:
    """What people read: the pages of the site and the README."""
    yield from pages().items()
    yield "../README.md", (ROOT / "README.md").read_text(encoding="utf-8")


def fences(language: str) -> list[tuple[str, str]]:
    """Code blocks of a language with the page they are on."""
    return [
        (path, textwrap.dedent(code))
        for path, text in sources()
        for _, found, code in FENCE.findall(text)
        if found == language
    ]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as Markdown's toc extension makes them."""
    done: set[str] = set()
    for title in re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        number, name = 0, slug
        while name in done:
            number += 1
            name = f"{slug}_{number}"
        done.add(name)
    return done


def broken(path: str, text: str) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for link in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))):
        if link.startswith(ELSEWHERE):
            continue
        file, _, anchor = link.partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if target in pages():
            if anchor and anchor not in anchors(pages()[target]):
                wrong.append(f"{path}: {link}: no such heading")
        elif not (DOCS / target).is_file():
            wrong.append(f"{path}: {link}: no such file")
    return wrong


def test_links_and_anchors_lead_somewhere() -> None:
    assert [wrong for path, text in sources() for wrong in broken(path, text)] == []
    assert broken("start.md", "[a](nowhere.md) [b](suites.md#nowhere) [c](suites.md#splits)") == [
        "start.md: nowhere.md: no such file",
        "start.md: suites.md#nowhere: no such heading",
    ]


def test_python_blocks_compile_and_toml_blocks_parse() -> None:
    python, toml = fences("python"), fences("toml")
    assert len(python) > 10
    assert len(toml) > 10
    for path, code in python:
        try:
            ast.parse(code)
        except SyntaxError as error:
            pytest.fail(f"{path}: {error}\n{code}")
    for path, code in toml:
        try:
            tomllib.loads(code)
        except tomllib.TOMLDecodeError as error:
            pytest.fail(f"{path}: {error}\n{code}")


def commands() -> list[tuple[str, str]]:
    """Every call of mtbench in a shell block or in code, with its page."""
    found = []
    for path, code in fences("sh"):
        lines = re.sub(r" \[-[^]]*\]", "", code.replace("\\\n", " ")).splitlines()  # optional parts
        found += [(path, part.strip()) for line in lines for part in shlex.join(words(line)).split(" '&&' ")]
    return [(path, command) for path, command in found if command.startswith("mtbench ")]


def words(line: str) -> list[str]:
    """The words of a shell line, without its comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|")
    lexer.whitespace_split = True
    return list(lexer)


def parse(command: str) -> None:
    """Parse a command as click would, and run nothing.

    Raises:
        click.UsageError: there is no such verb or option, or an argument is missing.
    """
    arguments = shlex.split(command)[1:]
    current: click.Command = cli
    context = click.Context(cli, info_name="mtbench", **cli.context_settings)
    while isinstance(current, click.Group):
        word = next((a for a in arguments if not a.startswith("-")), None)
        if word is None:
            return
        arguments.remove(word)
        found = current.get_command(context, word)
        if found is None:
            raise click.UsageError(f"unknown command '{word}'")
        current, context = found, click.Context(found, info_name=word, parent=context)
    if not {"--help", "-h"} & set(arguments):
        # Files that an example names need not exist. The command itself stays as it is: other tests run it.
        copied = copy.copy(current)
        copied.params = [copy.copy(param) for param in current.params]
        for param in copied.params:
            if isinstance(param.type, click.Path):
                param.type = click.STRING
        copied.make_context(context.info_name, arguments, parent=context.parent)


def test_commands_of_the_pages_are_commands_of_mtbench() -> None:
    shown = commands()
    assert len(shown) > 40
    wrong = []
    for path, command in shown:
        try:
            parse(command)
        except click.UsageError as error:
            wrong.append(f"{path}: {command}: {error.format_message()}")
    assert wrong == []
    for command in ("mtbench run", "mtbench run quickstart --seeds 3", "mtbench result show"):
        with pytest.raises(click.UsageError):
            parse(command)


def test_the_reference_lists_every_command_option_plugin_parameter_and_column() -> None:
    reference = pages()
    for verb in COMMANDS:
        assert f"`mtbench {verb}`" in reference["reference/command-line.md"]
    assert "`--significant`" in reference["reference/command-line.md"]
    registry = discover(third_party=False)
    for kind in KINDS:
        for name in registry.names(kind):
            spec, page = registry.get(kind, name).spec, reference[f"reference/builtins/{kind}-{name}.md"]
            assert all(f"| `{param}` |" in page for param in getattr(spec, "params", {})), name
            for fact in (getattr(spec, "citation", ""), getattr(spec, "licence", "")):
                assert " ".join(fact.split()) in page
            assert f"({kind}-{name}.md)" in reference["reference/builtins/index.md"]
    for schema in TABLES.values():
        assert all(f"| `{column}` |" in reference["reference/results-tables.md"] for column in schema.names)


def test_differences_name_built_ins() -> None:
    registry = discover(third_party=False)
    named = {f"{kind} {name}" for kind in KINDS for name in registry.names(kind)}
    told = generator("builtin_pages").differences()
    assert set(told) <= named
    published = {
        f"{kind} {name}"
        for kind in ("translator", "metric")
        for name in registry.names(kind)
        if registry.get(kind, name).spec.citation
    }
    assert published - {"metric ssim"} <= set(told)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_figures_load_nothing_and_have_their_own_background() -> None:
    for file in (DOCS / "images").glob("*.svg"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?:href|src)=.https?:|url\(.?https?:|@import", text), file
        assert len(text) < 200_000, file


@pytest.mark.skipif(find_spec("mkdocs") is None or find_spec("material") is None, reason="MkDocs Material: '.[docs]'")
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    html = sorted((tmp_path / "site").rglob("*.html"))
    assert len(html) > 60
    for file in html:
        loaded = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"?(https?:[^\">\s]+)", file.read_text("utf-8")
        )
        assert loaded == [], file
    for file in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:|@import", file.read_text("utf-8")), file
