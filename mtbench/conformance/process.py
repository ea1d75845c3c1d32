"""The process that tests a plugin: ``python -P -m mtbench.conformance.process``.

It reads a JSON list of questions from standard input and writes a line for the beginning and one for the end of each
check. Their reader ends it if a check hangs.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtbench.conformance import imports
from mtbench.conformance.question import Question
from mtbench.conformance.verdict import Check, FailedError, UntriedError, Verdict
from mtbench.errors import MtbenchError

if TYPE_CHECKING:
    from mtbench.conformance.subject import Subject

IMPORT = "import cost"
Say = Callable[[dict[str, Any]], None]


def checks_of(kind: str) -> Sequence[Check]:
    """The checks of a kind, in order; those that others depend on come first."""
    from mtbench.conformance import (
        challenges,
        datasets,
        executors,
        exporters,
        extractors,
        metrics,
        observers,
        segmenters,
        translators,
    )

    table: Mapping[str, Sequence[Check]] = {
        "translator": translators.CHECKS,
        "dataset": datasets.CHECKS,
        "segmenter": segmenters.CHECKS,
        "extractor": extractors.CHECKS,
        "metric": metrics.CHECKS,
        "executor": executors.CHECKS,
        "exporter": exporters.CHECKS,
        "challenge": challenges.CHECKS,
        "suite": observers.SUITE,
        "observer": observers.OBSERVER,
    }
    return table[kind]


def answer(questions: Sequence[Question], say: Say) -> None:
    """Answer all questions."""
    costs = [None if IMPORT in question.done or question.only else imports.measure(question) for question in questions]
    for number, (question, cost) in enumerate(zip(questions, costs, strict=True)):

        def tell(number: int = number, **line: Any) -> None:
            say({"question": number, **line})

        if cost is not None:
            tell(begin=IMPORT)
            verdict = verdict_of(Check(IMPORT, partial(imports.judge, cost)), None)
            tell(verdict=verdict.to_json())
        _try(question, tell)
        tell(end=True)


def _try(question: Question, tell: Callable[..., None]) -> None:
    tell(begin="load")
    try:
        subject = _subject(question)
    except MtbenchError as error:
        tell(verdict=Verdict("load", "failed", error.what, error.remedy or "").to_json())
        return
    except Exception as error:
        text = f"{type(error).__name__}: {error}{_place(error)}"
        tell(verdict=Verdict("load", "failed", text, "Correct the import").to_json())
        return
    checks = [check for check in checks_of(question.kind) if not question.only or check.name in question.only]
    subject.kept["checks"] = {check.name for check in checks}
    passed = set(question.passed)
    for check in checks:
        if check.name in question.done:
            continue
        tell(begin=check.name)
        missing = [name for name in check.after if name in subject.kept["checks"] and name not in passed]
        if missing:
            verdict = Verdict(check.name, "untried", f"it needs '{missing[0]}', which did not pass")
        else:
            verdict = verdict_of(check, subject)
        if verdict.status == "passed":
            passed.add(check.name)
        tell(verdict=verdict.to_json())


def _subject(question: Question) -> Subject:
    import importlib

    from mtbench.conformance.subject import Subject
    from mtbench.registry.discovery import load_one
    from mtbench.registry.plugin import import_plugin_file

    for other in question.beside:
        import_plugin_file(other.path) if other.path else importlib.import_module(other.module)
    path = question.plugin.path
    if question.kind == "observer":
        module = import_plugin_file(path) if path else importlib.import_module(question.plugin.module)
        return Subject(question, None, module)
    registry = load_one(question.plugin)
    subject = Subject(question, registry.get(question.kind, question.name))
    subject.kept["registry"] = registry
    return subject


def verdict_of(check: Check, subject: Subject | None) -> Verdict:
    """Run one check."""
    started = time.perf_counter()

    def so(status: Any, text: str, fix: str = "") -> Verdict:
        return Verdict(check.name, status, text, fix, round(time.perf_counter() - started, 3))

    try:
        return so("passed", check.run(subject))
    except UntriedError as error:
        return so("untried", str(error))
    except FailedError as error:
        return so("failed", str(error), error.fix)
    except MtbenchError as error:
        return so("failed", str(error), error.remedy or "")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plugin raises is a verdict
        return so("failed", f"{type(error).__name__}: {error}{_place(error)}", "Correct it, or raise a mtbench error")


def _place(error: BaseException) -> str:
    """The place in the plugin's code where it was raised, or else in mtbench's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(Path(__file__).parents[1])
    frame = next((each for each in reversed(frames) if not each.filename.startswith(ours)), frames[-1])
    return f" ({Path(frame.filename).name}, line {frame.lineno})"


def main() -> None:
    """Answer the questions in standard input."""
    questions = [Question.from_json(each) for each in json.load(sys.stdin)]
    # The output of a plugin must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder = tempfile.mkdtemp(prefix="mtbench-check-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder

    def say(line: dict[str, Any]) -> None:
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    try:
        answer(questions, say)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Without waiting for threads that a plugin has started.
    os._exit(0)


if __name__ == "__main__":
    main()
