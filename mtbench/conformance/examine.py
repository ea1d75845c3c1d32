"""Tests plugins in another process and collects the verdicts; a hang or crash there is a verdict too."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtbench import childprocess
from mtbench.conformance.question import Question
from mtbench.conformance.verdict import Report, Verdict
from mtbench.errors import RequestError, close_matches
from mtbench.paths import expand
from mtbench.registry.basespec import Spec
from mtbench.registry.discovery import discover
from mtbench.registry.params import parse_call
from mtbench.registry.plugin import Plugin
from mtbench.registry.registry import Registry
from mtbench.registry.specs import KINDS

PATIENCE = 120.0
"""Time limit of one check in seconds."""
BESIDE = "beside other plugins"
OBSERVER = "observer"
_OBSERVING = ("mtbench_unit_finished", "mtbench_suite_finished")
Watch = Callable[[Question, str], None]


def check(
    *wanted: str | os.PathLike[str],
    kind: str | None = None,
    plugin_files: Sequence[str | os.PathLike[str]] = (),
    third_party: bool = True,
    config: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    contact_sheet: str | os.PathLike[str] | None = None,
    timeout: float = PATIENCE,
    watch: Watch = lambda question, check: None,
) -> list[Report]:
    """Test plugins.

    Args:
        wanted: ``NAME`` or ``NAME:p=v,...`` of a plugin that is installed or in ``plugin_files``; or a plugin file or
            its folder, for everything that it registers.
        kind: of the plugins, if a name exists in several kinds.
        plugin_files: see ``--plugin``.
        third_party: whether to load plugins of other distributions.
        config: the user's own ``mtbench.toml``.
        root: the folder of a data set that reads files.
        contact_sheet: the folder for contact sheets of data sets.
        timeout: of one check, in seconds.
        watch: called with the name of each check as it starts.

    Raises:
        RequestError: there is no such plugin, or a parameter is wrong.
    """
    files = [os.fspath(name) for name in (*plugin_files, *filter(_is_file, wanted))]
    registry = discover(files, third_party=third_party, config=config, careful=True)
    reports, questions = [], []
    for name in wanted:
        if _is_file(name):
            found, broken = _of_file(registry, name, kind)
            reports += broken
        else:
            found = _of_name(registry, str(name), kind)
        questions += found
    root, sheet = (str(expand(path).resolve()) if path else "" for path in (root, contact_sheet))
    questions = [replace(question, root=root, sheet=sheet) for question in questions]
    return reports + _examine(questions, registry, timeout, watch)


def _is_file(name: str | os.PathLike[str]) -> bool:
    text = os.fspath(name)
    return text.endswith(".py") or os.sep in text.partition(":")[0] or os.path.isdir(text)


def _of_file(registry: Registry, name: str | os.PathLike[str], kind: str | None) -> tuple[list[Question], list[Report]]:
    """The registrations of a plugin file, and a report of those that are disabled."""
    place = expand(name).resolve()
    plugins = [plugin for plugin in registry.plugins if plugin.path and plugin.path in (place, *place.glob("*.py"))]
    questions, broken = [], []
    for plugin in plugins:
        if plugin.problem:
            verdict = Verdict("load", "failed", plugin.problem, plugin.remedy)
            broken.append(Report("plugin", plugin.name, plugin.origin, [verdict]))
        specs = [pair for pair in plugin.specs if kind in (None, pair[0])]
        questions += [_question(registry, of, spec, {}) for of, spec in specs]
        if _observes(registry, plugin) and kind in (None, OBSERVER):
            questions.append(Question(plugin.reference(), OBSERVER, plugin.name))
    if not questions and not broken:
        raise RequestError(f"it registers no {kind or 'plugin'}", where=str(name))
    return questions, broken


def _observes(registry: Registry, plugin: Plugin) -> bool:
    module = registry.manager.get_plugin(f"{plugin.origin}:{plugin.name}")
    return module is not None and any(name in vars(module) for name in _OBSERVING)


def _of_name(registry: Registry, text: str, kind: str | None) -> list[Question]:
    name = parse_call(text)[0]
    kinds = [each for each in KINDS if name in registry.names(each) and kind in (None, each)]
    observers = [plugin for plugin in registry.plugins if plugin.name == name and _observes(registry, plugin)]
    if observers and (kind == OBSERVER or not kinds):
        return [Question(plugin.reference(), OBSERVER, plugin.name) for plugin in observers]
    if not kinds:
        names = {spec for plugin in registry.plugins for _, spec in plugin.specs}
        raise RequestError(
            f"unknown {kind or 'plugin'} '{name}'",
            matches=close_matches(name, names),
            remedy=registry.problem_of(name) or "`mtbench plugins` lists what is installed; FILE.py stands for a file",
        )
    found = []
    for each in kinds:
        _, params = registry.call(each, text) if issubclass(KINDS[each], Spec) else (None, {})
        found.append(_question(registry, each, name, params))
    return found


def _question(registry: Registry, kind: str, name: str, params: dict[str, Any]) -> Question:
    registration = registry.get(kind, name)
    complete: dict[str, Any] = {}
    refused = ""
    if isinstance(registration.spec, Spec):
        declared = registration.spec.params
        try:
            complete = registration.complete(params)
        except RequestError as error:
            if params:
                raise
            refused = str(error)
            complete = {key: param.default for key, param in declared.items()}
        for key, param in declared.items():
            if param.kind == "path" and complete[key]:
                complete[key] = str(expand(complete[key]).resolve())
    return Question(registration.plugin.reference(), kind, name, complete, refused)


def _examine(questions: list[Question], registry: Registry, timeout: float, watch: Watch) -> list[Report]:
    from mtbench.conformance.process import checks_of

    verdicts = list(_Examination(questions, timeout, watch).run())
    others = {
        id(question): [
            plugin.reference()
            for plugin in registry.plugins
            if not plugin.built_in and plugin.specs and plugin.module != question.plugin.module
        ]
        for question in questions
    }
    crowded = []
    for question, found in zip(questions, verdicts, strict=True):
        good = {verdict.check for verdict in found if verdict.status == "passed"}
        names = []
        if others[id(question)]:
            names = [check.name for check in checks_of(question.kind) if check.beside and check.name in good]
        if names:
            crowded.append((found, replace(question, beside=others[id(question)], only=names)))
        else:
            why = "no other third-party plugin is installed or named by --plugin"
            found.append(Verdict(BESIDE, "untried", "no check passed alone" if others[id(question)] else why))
    # In another process, which imports the other plugins first: the order may matter.
    again = _Examination([question for _, question in crowded], timeout, watch).run()
    for (found, question), tried in zip(crowded, again, strict=True):
        found.append(_beside(question, tried))
    return [
        Report(question.kind, question.name, question.plugin.origin, found)
        for question, found in zip(questions, verdicts, strict=True)
    ]


def _beside(question: Question, found: list[Verdict]) -> Verdict:
    seconds = sum(verdict.seconds for verdict in found)
    names = ", ".join(sorted({other.name for other in question.beside}))
    for verdict in found:
        if verdict.status != "passed":
            text = f"'{verdict.check}' passes alone and fails together with {names}: {verdict.text}"
            fix = "Give helper modules unique names, and change no global state when a module is imported"
            return Verdict(BESIDE, "failed", text, fix, seconds)
    return Verdict(BESIDE, "passed", f"beside {names}", "", seconds)


@dataclass
class _Examination:
    """Questions, and the process that answers them."""

    questions: list[Question]
    timeout: float
    watch: Watch

    def run(self) -> Iterator[list[Verdict]]:
        """The verdicts on each question, in order."""
        verdicts: list[list[Verdict]] = [[] for _ in self.questions]
        first = 0
        while first < len(self.questions):
            first = self._once(first, verdicts)
        yield from verdicts

    def _once(self, first: int, verdicts: list[list[Verdict]]) -> int:
        """Send the questions from one on; returns the next to be sent."""
        questions = [
            replace(
                question,
                done=[verdict.check for verdict in found],
                passed=[verdict.check for verdict in found if verdict.status == "passed"],
            )
            for question, found in zip(self.questions[first:], verdicts[first:], strict=True)
        ]
        process = subprocess.Popen(
            childprocess.command("-m", "mtbench.conformance.process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=childprocess.environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        at, running = first, "start"
        with process.stdout:
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(json.dumps([question.to_json() for question in questions]).encode())
            lines = _Lines(process.stdout.fileno())
            while (line := lines.next(self.timeout)) is not None:
                at = first + line["question"]
                if "begin" in line:
                    running = line["begin"]
                    self.watch(self.questions[at], running)
                elif "verdict" in line:
                    verdicts[at].append(Verdict.from_json(line["verdict"]))
                    running = "the next check"
                elif at + 1 == len(self.questions):
                    at += 1
                    break
        if lines.ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        if at < len(self.questions):
            verdicts[at].append(self._lost(self.questions[at], running, lines.ended, code))
            # A process that ends before or between checks would end there again.
            return at if running not in ("start", "load", "the next check") else at + 1
        return at

    def _lost(self, question: Question, name: str, ended: bool, code: int) -> Verdict:
        what = f"{question.kind} '{question.name}'"
        if ended:
            return Verdict(name, "failed", f"the check '{name}' of {what} ended the process (exit code {code})")
        smaller = "Look for an endless loop, reduce the work (`mtbench check NAME:epochs=1`), or raise --timeout"
        text = f"the check '{name}' of {what} did not end within {self.timeout:g} s"
        return Verdict(name, "failed", text, smaller, self.timeout)


class _Lines:
    """The output lines of another process, each with a time limit."""

    def __init__(self, handle: int) -> None:
        self._handle, self._text = handle, b""
        self.ended = False

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next line; ``None`` if none arrives in time, or the process has ended."""
        until = time.monotonic() + seconds
        while b"\n" not in self._text:
            if not select.select([self._handle], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            data = os.read(self._handle, 65536)
            if not data:
                self.ended = True
                return None
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return dict(json.loads(line))
