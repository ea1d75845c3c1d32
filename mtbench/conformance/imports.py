"""The cost of importing a plugin, measured in a copy of a process that has loaded nothing heavy."""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from mtbench.conformance.question import Question
from mtbench.conformance.verdict import FailedError
from mtbench.registry.discovery import load_one
from mtbench.registry.plugin import import_plugin_file

HEAVY = (
    "torch", "torchvision", "monai", "tensorflow", "jax", "scipy", "sklearn", "skimage", "pandas", "matplotlib", "cv2",
    "SimpleITK", "itk", "nibabel", "pydicom", "transformers", "diffusers", "lightning", "pyarrow", "plotly",
)  # fmt: skip
"""Modules that take tenths of a second or more to import, and memory in each process."""
SLOWEST, PATIENCE = 2.0, 30.0


def measure(question: Question) -> dict[str, Any]:
    """Import the plugin in a fork of this process: seconds, heavy modules by the module that imports them, and the
    problem if it failed.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            os.write(write, json.dumps(_import(question)).encode())
        finally:
            os._exit(0)
    os.close(write)
    try:
        if not select.select([read], [], [], PATIENCE)[0]:
            os.kill(child, signal.SIGKILL)
            return {"problem": f"it did not end within {PATIENCE:g} s"}
        text = os.read(read, 65536)
        return dict(json.loads(text)) if text else {"problem": "it ended the process"}
    finally:
        os.close(read)
        os.waitpid(child, 0)


def _import(question: Question) -> dict[str, Any]:
    before, started = set(sys.modules), time.perf_counter()
    result: dict[str, Any] = {}
    try:
        if question.plugin.path:
            module = import_plugin_file(question.plugin.path)
        else:
            module = importlib.import_module(question.plugin.module)
        result = {"seconds": time.perf_counter() - started, "heavy": _heavy(before)}
        if question.kind == "dataset":
            spec = load_one(question.plugin).get(question.kind, question.name).spec
            importlib.import_module(spec.factory.partition(":")[0] or module.__name__)
            result["class"] = [name for name in _heavy(before) if name in ("torch", "monai", "torchvision")]
    except BaseException as error:  # whatever an import raises is an answer
        result["problem"] = f"{type(error).__name__}: {error}"
    return result


def _heavy(before: set[str]) -> list[str]:
    return [name for name in HEAVY if name in sys.modules and name not in before]


def judge(measured: dict[str, Any], subject: None = None) -> str:
    """The measurements, in words.

    Raises:
        FailedError: the import is too slow or loads too much.
    """
    if "problem" in measured:
        raise FailedError(f"the import failed: {measured['problem']}", "Correct it")
    if heavy := measured["heavy"]:
        raise FailedError(
            f"the module with the hook imports {', '.join(heavy)}",
            "Import heavy modules where they are used, or move the class to a separate module: 'my_pkg.model:Class'",
        )
    if heavy := measured.get("class", ()):
        raise FailedError(
            f"the data set's class imports {', '.join(heavy)} at the top of its module",
            "Import them within prepare(): planning creates the object",
        )
    text = f"{measured['seconds']:.2g} s"
    if measured["seconds"] > SLOWEST:
        raise FailedError(
            f"its import takes {text}", "Every mtbench command waits for it: do the work only when it is needed"
        )
    return text
