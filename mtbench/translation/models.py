"""A translator that is ready to use, and how it is built from a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench.data import Task
from mtbench.errors import MtbenchError, RequestError, WeightsError
from mtbench.paths import expand
from mtbench.registry.contracts import Trainable, Translator, WholeSetTranslator
from mtbench.registry.registry import Registration, Registry
from mtbench.registry.specs import TranslatorSpec
from mtbench.stages.unit import Unit
from mtbench.store.artefacts import MANIFEST, Artefact
from mtbench.store.files import read_regular


@dataclass(frozen=True)
class Model:
    """A translator that is ready to be built.

    Attributes:
        registration, params: its plugin and parameters, paths resolved.
        conditional: whether it needs masks.
        fit: a folder that its ``save`` wrote.
        seed, precision, threads: of its computation.
        task, data: the task and data set of its training, if it comes from results.
        notes: for the user.
    """

    registration: Registration[TranslatorSpec]
    params: Mapping[str, Any]
    conditional: bool
    fit: Path | None = None
    seed: int = 0
    precision: str = "fp32"
    threads: int = 2
    task: Task | None = None
    data: Artefact | None = None
    notes: tuple[str, ...] = ()

    def make(self) -> Translator | WholeSetTranslator:
        """The plugin's object, its fit loaded.

        Raises:
            WeightsError: the fit cannot be loaded.
        """
        translator = self.registration.create(self.params)
        if self.fit is not None:
            try:
                assert isinstance(translator, Trainable), "it has no load()"
                translator.load(self.fit)
            except MtbenchError:
                raise
            except Exception as error:
                raise WeightsError(
                    f"it cannot be loaded: {type(error).__name__}: {error}",
                    where=str(self.fit),
                    expected=f"a folder that save() of '{self.registration.spec.name}' wrote",
                ) from error
        return translator


def from_checkpoint(registry: Registry, call: str, checkpoint: Path | None, precision: str) -> Model:
    """A translator with a weight file or a saved fit, or one that needs neither.

    Raises:
        RequestError, ParamError: the translator or file does not exist, or no file is named.
    """
    registration, params = registry.call(TranslatorSpec, call)
    spec = registration.spec
    file_param = spec.param_for("checkpoint")
    fit = None
    if checkpoint is not None:
        checkpoint = expand(checkpoint).resolve()
        if not checkpoint.exists():
            raise RequestError(
                f"the file {checkpoint} does not exist", where="--checkpoint", expected="a weight file or a fit"
            )
        if checkpoint.is_dir():
            fit = checkpoint
            params = {**_params_of(fit, registration), **params}
        elif file_param is not None:
            params[file_param] = str(checkpoint)
        else:
            raise RequestError(
                f"translator '{spec.name}' takes no weight file",
                where="--checkpoint",
                expected="a folder that its save() wrote (the folder of a fit in the store)" if spec.trains else None,
                remedy=None if spec.trains else "It needs no training: omit --checkpoint",
            )
    full = _absolute_paths(registration, registration.complete(params))
    trains = registration.ask(spec.whether, "trains", full)
    if fit is None and trains:
        raise RequestError(
            f"translator '{spec.name}' needs a trained model",
            expected="--checkpoint FILE, or --from RESULTS of a run that trained it",
        )
    if fit is not None and not trains:
        raise RequestError(f"translator '{spec.name}' needs no training", remedy="Omit --checkpoint")
    note = registration.ask(spec.note, full)
    conditional = registration.ask(spec.whether, "conditional", full)
    return Model(registration, full, conditional, fit, precision=precision, notes=(note,) if note else ())


def _params_of(fit: Path, registration: Registration[TranslatorSpec]) -> dict[str, Any]:
    """The parameters of a fit in the store."""
    name = registration.spec.name
    try:
        unit = Unit.from_json(json.loads(read_regular(fit / MANIFEST))["unit"])
    except (OSError, ValueError, KeyError):
        return {}
    if (unit.kind, unit.plugin) != ("translator", name):
        raise RequestError(
            f"this is a fit of {unit.kind} '{unit.plugin}'",
            where=str(fit),
            expected=f"one of translator '{name}'",
        )
    return recorded_params(unit, registration)


def recorded_params(unit: Unit, registration: Registration[TranslatorSpec]) -> dict[str, Any]:
    """The parameters of a recorded unit that the plugin still has, without those that run a program: a store from
    elsewhere could contain any command.
    """
    specs = registration.spec.params
    return {k: v for k, v in unit.arguments.items() if k in specs and not specs[k].runs_program}


def _absolute_paths(registration: Registration[TranslatorSpec], params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with absolute paths in place of relative ones."""
    specs = registration.spec.params
    return {
        name: str(expand(value).resolve()) if specs[name].kind == "path" and value else value
        for name, value in params.items()
    }
