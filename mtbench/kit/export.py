"""``mtbench kit RESULTS``: the protocol, hashes, features of the target images and segmenters of a result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mtbench.errors import RequestError
from mtbench.hashing import hash_of
from mtbench.kit.contents import Judge, Kit, Network
from mtbench.report.evidence import Evidence
from mtbench.results.directory import Results, last_states
from mtbench.results.identity import ROW
from mtbench.stages.table import ScoreOptions
from mtbench.stages.unit import Unit, unit_of
from mtbench.stages.work import arrays, positions
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.files import telling, whole_folder
from mtbench.store.images import read_contents, read_slices

Level = Literal["protocol", "features", "segmenter"]
LEVELS: Mapping[Level, str] = {
    "protocol": "names of tasks, metrics and parameters; sha256 of the source test slices and of their masks",
    "features": "also the features of each target test slice, with patients as numbers: no image can be viewed, but "
    "anyone who has an image can test whether it was among them",
    "segmenter": "also the weights of the segmenters, which were trained on target images and may have memorised some",
}
"""The shared contents of each level; each level includes the previous ones."""
_OF_ONE_ROW = (
    *(name for name in ROW if name != "role"),
    "conditional",
    "seed",
    "translator_note",
    "translator_weights_sha256",
    "fit_digest",
    "unit_key",
)


@dataclass(frozen=True)
class _Exporter:
    """Copies files of artefacts, each once."""

    folder: Path
    level: Level

    def copy(self, artefact: Artefact, file: str) -> str:
        """Copy a file of an artefact to ``features/``; return its name in the kit."""
        name = f"features/{artefact.digest[:16]}-{file}"
        (self.folder / "features").mkdir(exist_ok=True)
        shutil.copyfile(artefact.path / file, self.folder / name)
        return name

    def copy_fit(self, artefact: Artefact) -> str:
        """Copy the folder of a fit, without its log, to ``segmenters/``; return its name in the kit."""
        name = f"segmenters/{artefact.digest[:16]}"
        if not (self.folder / name).exists():
            for file in artefact.manifest["files"]:
                place = self.folder / name / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(artefact.path / file, place)
        return name


def export(results: Path, out: Path, store: Store, level: Level = "segmenter") -> Kit:
    """Write a kit of a results directory; the folder is written atomically.

    Args:
        results: a results directory whose artefacts are in ``store``.
        out: a folder that does not exist yet.
        store: the store of the artefacts.
        level: the shared contents; see :data:`LEVELS`.

    Raises:
        RequestError: ``out`` exists, or no translator's row can be exported.
        DamagedError: an artefact is damaged.
    """
    if out.exists():
        raise RequestError(f"{out} already exists", expected="a folder that does not exist yet")
    attempts, rows, order = last_states(Results.open(results).entries())
    evidence = Evidence((attempt.columns() for attempt in attempts), store)
    with telling(out), whole_folder(out) as folder:
        exporter = _Exporter(folder, level)
        judges: dict[str, Judge] = {}
        for name in sorted(rows, key=lambda row: order.get(row, len(order))):
            columns = rows[name].columns
            of_row = columns.get("role") == "translator" and columns.get("protocol") == "segment-translated"
            # Another laboratory adds final scores on test patients.
            of_row = of_row and not (columns.get("checkpoint") or columns.get("scored_on"))
            artefact = evidence.of_unit(columns.get("unit_key", "")) if rows[name].status == "measured" else None
            if not of_row or artefact is None:
                continue
            shared = {key: value for key, value in columns.items() if key not in _OF_ONE_ROW}
            if hash_of(shared) not in judges:
                judges[hash_of(shared)] = _judge(shared, artefact, evidence.inputs(artefact), exporter)
        if not judges:
            raise RequestError(
                "no translator's row can be exported",
                where=str(results),
                expected="measured rows whose artefacts are in the store",
                remedy="Rerun the suite with this store",
            )
        kit = Kit(level, tuple(judges.values()))
        kit.write(folder)
        (folder / "README.txt").write_text(_readme(kit), encoding="utf-8")
    return kit


def _judge(
    columns: Mapping[str, Any], artefact: Artefact, inputs: Mapping[str, Artefact], exporter: _Exporter
) -> Judge:
    unit = unit_of(artefact)
    options = unit.options
    assert isinstance(options, ScoreOptions)
    data, split = inputs["data"], inputs["split"]
    places = positions(split, options.candidate)
    contents = read_contents(data.path, options.candidate.domain)
    patients: tuple[int, ...] = ()
    if options.reference is not None:
        records = read_slices(data.path, options.reference.domain)
        names = [records[at].patient_id for at in positions(split, options.reference)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        patients = tuple(numbers[name] for name in names)
    features: dict[str, str] = {}
    extractors: dict[str, Network] = {}
    lacks = ""
    for need in options.features:
        if "fit" in unit_of(inputs[need.input]).inputs:
            # Its features would tell as much of the target images as its weights.
            lacks = "it reads features of a network that was trained on target images, which no kit contains"
        elif need.of == "candidate":
            extractors[need.input] = _network(unit_of(inputs[need.input]))
        elif need.of == "training":
            continue
        elif exporter.level == "protocol":
            lacks = "a kit of level 'protocol' contains no features of the target images"
        else:
            features |= {name: exporter.copy(inputs[need.input], f"{name}.npy") for name in need.arrays}
    segmenter = None
    if "predicted_masks" in options.roles:
        if exporter.level == "segmenter":
            segmenter = _network(unit_of(inputs["segmenter"]), exporter.copy_fit(inputs["segmenter"]))
        else:
            lacks = f"a kit of level '{exporter.level}' does not contain the segmenter"
    if set(options.roles) & {"reference", "paired"}:
        lacks = "it reads target images, which no kit contains"
    if options.training is not None:
        lacks = "it reads target training images, which no kit contains"
    images, _ = arrays(data, options.candidate.domain)
    return Judge(
        columns=columns,
        plugin=unit.plugin,
        params=_without_paths(unit),
        revision=unit.version.get("revision", ""),
        options=options,
        task=unit.task,
        size=(int(images.shape[1]), int(images.shape[2])),
        slices=tuple(contents[at][0] for at in places),
        masks=tuple(contents[at][1] for at in places) if "reference_masks" in options.roles else (),
        patients=patients,
        features=features,
        extractors=extractors,
        segmenter=segmenter,
        lacks=lacks,
    )


def _network(unit: Unit, folder: str = "") -> Network:
    return Network(unit.plugin, _without_paths(unit), unit.version.get("revision", ""), folder)


def _without_paths(unit: Unit) -> dict[str, Any]:
    return {name: value for name, value in unit.params.items() if name not in unit.paths}


def _readme(kit: Kit) -> str:
    lines = [
        "A kit of mtbench",
        "",
        f"Level: {kit.level}. Shared contents (each level includes the previous ones):",
        "",
    ]
    lines += [f"- {level}: {text}" for level, text in LEVELS.items()]
    lines += ["", "Scores that can be computed with it:", ""]
    lines += [f"- {judge.name}" + (f": no, {judge.lacks}" if judge.lacks else "") for judge in kit.judges]
    lines += [
        "",
        "Usage: `mtbench kit KIT -t TRANSLATOR --source EXPORT -o RESULTS`.",
        "",
    ]
    return "\n".join(lines)
