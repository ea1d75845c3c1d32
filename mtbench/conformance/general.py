"""Checks for plugins of every kind."""

from __future__ import annotations

import inspect
import sys

from mtbench.conformance.subject import Subject
from mtbench.conformance.verdict import Check, FailedError, UntriedError
from mtbench.errors import MtbenchError, ParamError, RequestError
from mtbench.registry.basespec import Spec


def spec(subject: Subject) -> str:
    """The spec has a description, and the class accepts each parameter, which has help."""
    plugin = subject.of.plugin
    if plugin.problem:
        raise FailedError(plugin.problem, plugin.remedy)
    if not subject.spec.description:
        raise FailedError("it has no description", 'Describe it in one line: description="..."')
    if not isinstance(subject.spec, Spec):
        return str(subject.spec.description)
    silent = [name for name, param in subject.spec.params.items() if param.runs_program and not param.help]
    if silent:
        raise FailedError(
            f"the parameter '{silent[0]}' runs a program and has no help", "Describe what it runs: help=..."
        )
    unexplained = [name for name, param in subject.spec.params.items() if not param.help]
    count = len(subject.spec.params)
    text = f"{count} parameter{'s' if count != 1 else ''}"
    return f"{text}; without help: {', '.join(unexplained)}" if unexplained else text


def licence(subject: Subject) -> str:
    """Licence and citation, for publications that use it."""
    named = {name: getattr(subject.spec, name) for name in ("citation", "licence")}
    if subject.spec.weights and not named["licence"]:
        raise FailedError(
            "it uses weight files and does not state their licence", 'Set it in the spec: licence="CC BY 4.0"'
        )
    if subject.spec.kind == "dataset" and subject.spec.access != "generated" and not named["licence"]:
        raise UntriedError("the spec does not state the licence of the images; if there is one: licence=...")
    if not any(named.values()):
        raise UntriedError("the spec has neither; if it implements a publication: citation=..., licence=...")
    return "; ".join(f"{name}: {value}" for name, value in named.items() if value)


def make(subject: Subject) -> str:
    """The object can be created, twice, with all methods of its kind."""
    if not subject.spec.factory:
        raise UntriedError("it has no class: the suite's segmenter extracts, and its own check tests that")
    if subject.question.refused:
        raise UntriedError(f"it cannot be created with these parameters: {subject.question.refused}")
    try:
        subject.create()
        instance = subject.create()
    except (ParamError, RequestError) as error:
        raise UntriedError(f"it cannot be created with these parameters: {error}") from error
    except MtbenchError as error:
        empty = [name for name, param in subject.spec.params.items() if param.default is None]
        missing = [name for name in empty if subject.params.get(name) is None]
        if missing and error.__cause__ is None:
            raise UntriedError(f"it needs a parameter ({', '.join(missing)}): {error}") from error
        raise
    subject.kept["class"] = type(instance)
    return type(instance).__qualname__


def documented(subject: Subject) -> str:
    """The class has a docstring."""
    plugin_class = subject.kept["class"]
    if not inspect.getdoc(plugin_class) and not sys.flags.optimize:
        raise UntriedError("the class has no docstring; readers of your code will want one")
    return ""


def state(subject: Subject) -> str:
    """All checks before this one have left the process unchanged."""
    for (what, fix), where in subject.changed.items():
        raise FailedError(f"{where} changes {what}", fix)
    return "the state of the process is unchanged"


SPEC = Check("spec", spec, after=())
LICENCE = Check("licence and citation", licence, after=())
OBJECT = Check("object", make, after=(), beside=True)
STATE = Check("global state", state)
