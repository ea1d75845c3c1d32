"""``mtbench.score``: metrics for the images of two folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.challenges.records import Submission
from mtbench.compute.devices import resolve_device
from mtbench.compute.inference import prepare_torch
from mtbench.data import ImageSet, MetricInputs, Task
from mtbench.errors import DataError, MtbenchError, RequestError, WeightsError, close_matches
from mtbench.integers import check_seed, check_whole
from mtbench.paths import expand
from mtbench.registry.discovery import discover
from mtbench.registry.needs import Need, reads_side, two_sided
from mtbench.registry.params import format_call
from mtbench.registry.registry import Registration, Registry
from mtbench.registry.specs import ExtractorSpec, MetricSpec
from mtbench.rows import Rows
from mtbench.scoring.challenges import is_challenge, score_as_challenge
from mtbench.scoring.features import FeatureSource
from mtbench.scoring.pairing import positions
from mtbench.scoring.reading import FolderImages, ProgressReport, ReadOptions, read_folder
from mtbench.scoring.rows import ScoreRows
from mtbench.stages import STAGES
from mtbench.stages.scoring import score as score_inputs
from mtbench.store.artefacts import Store
from mtbench.store.folders import store_folder


def score(
    translated: str | Path,
    target: str | Path,
    *,
    metrics: Sequence[str] = (),
    preset: str | None = None,
    weights: Mapping[str, str] | None = None,
    masks: str | Path | None = None,
    predicted: str | Path | None = None,
    labels: Mapping[int, str] | None = None,
    paired: bool = False,
    body_mask: str | Path | None = None,
    plane: str | None = None,
    window: tuple[float, float] | None = None,
    patient: str | None = None,
    skip_unreadable: bool = False,
    device: str | None = None,
    precision: str = "fp32",
    batch_size: int | None = None,
    seed: int = 0,
    draws: int = 5,
    balance: bool | None = None,
    intervals: bool = True,
    store: str | None = None,
    challenge_json: str | Path | None = None,
    plugin_files: Iterable[str] = (),
    no_plugins: bool = False,
    report: ProgressReport = lambda what, done, total: None,
) -> ScoreRows:
    """Metrics for two folders of images.

    Args:
        translated, target: folders (or single volumes): PNG, TIFF, NPY, NPZ, NIfTI, NRRD, MHA, DICOM series.
        metrics: ``name`` or ``name:p=v``; without any, every metric that these inputs allow.
        preset: a challenge (a plugin of that kind), which then defines metrics and files; or a library whose
            conventions all metrics with this preset follow ("torch-fidelity", "pytorch-fid", "clean-fid").
        weights: extractor name to a weight file for this call; its sha256 is recorded in the row.
        masks, predicted: true label maps of the translated images' anatomy (for errors by region), and label maps that
            a segmenter predicted on them, for Dice and surface distances; matched to the translated images by name,
            slices of volumes by position.
        labels: mask value to name; by default every value that occurs, named by its number.
        paired: the target folder holds the true target image of each translated image, matched in the same way.
        body_mask: masks that restrict paired metrics, matched in the same way.
        plane, window, patient, skip_unreadable: see :class:`mtbench.scoring.reading.ReadOptions`.
        device, precision, batch_size: of feature extraction; the device and batch size (by default 16; 256 on a GPU)
            change results only by rounding.
        seed, draws: of the draw N = min(N translated, N target) and of resampling.
        balance: whether distances are computed at N = min; default: yes, except with a ``preset``, because those
            libraries use all images.
        intervals: whether to compute confidence intervals (patients must be known).
        store: cache of decoded images and features; the next call reuses the target's.
        challenge_json: with a challenge: the file for the JSON that the challenge's own program writes.
        plugin_files, no_plugins: as on the command line.
        report: called with the current activity, the number of items done and the total.

    Returns:
        A list that prints as a table, also in a notebook; one row per score:
        ``metric``, ``variant``, ``label``, ``value``, ``stderr``, ``ci_low``, ``ci_high``,
        ``n``, ``n_translated``, ``n_target``, ``n_patients_translated``, ``n_patients_target``, ``params``,
        ``extractor``, ``weights_sha256``, ``precision``, ``note``, ``caveat``, ``status`` ("measured" or
        "skipped", the reason in ``note``), ``unreadable`` (number of files skipped), ``other_files`` (a sentence on
        files of unsupported formats).

    Raises:
        RequestError, ParamError: the request is wrong.
        WeightsError: a metric named in ``metrics`` needs weights that are not installed.
        DataError: the folders cannot be used.
    """
    device = resolve_device(device)
    seed = check_seed(seed, "--seed")
    draws = check_whole(draws, "--draws", name="the number of draws", minimum=1)
    registry = discover(plugin_files, third_party=not no_plugins)
    if preset is not None and is_challenge(registry, preset):
        paths = (expand(folder) if folder is not None else None for folder in (masks, predicted, body_mask))
        settings: dict[str, object] = {
            "-m": metrics,
            "--weights": weights,
            "--labels": labels,
            "--paired": paired,
            "--plane": plane,
        }
        settings |= {"--window": window, "--patient": patient, "--skip-unreadable": skip_unreadable}
        submission = Submission(expand(translated), expand(target), *paths)
        return score_as_challenge(registry, preset, submission, settings, challenge_json, report)
    if challenge_json is not None:
        raise RequestError("--challenge-json needs a challenge", expected="--preset with the name of a challenge")
    selection = _metrics(registry, metrics, preset, dict(weights or {}))
    reading = ReadOptions(plane, window, patient, skip_unreadable)
    artefacts = Store(store_folder(store))
    pair = _FolderPair(artefacts, reading, report)
    pair.read(translated, target, masks, predicted, body_mask, paired, labels)
    prepare_torch(precision, 2)
    batch_size = batch_size or STAGES["extract"].batch_size(device, on_cpu=16)
    features = FeatureSource(registry, artefacts, device, precision, batch_size, report)
    sampling = _Sampling(seed, draws, preset is None if balance is None else balance, intervals)
    return ScoreRows(
        row for metric in selection for row in _rows(metric, pair, features, sampling, required=bool(metrics))
    )


@dataclass(frozen=True)
class _Sampling:
    """How images are drawn; see :func:`score`."""

    seed: int
    draws: int
    balance: bool
    intervals: bool


@dataclass(frozen=True)
class _Metric:
    registration: Registration[MetricSpec]
    params: Mapping[str, Any]
    weights: Mapping[str, str]

    @property
    def needs(self) -> tuple[Need, ...]:
        return self.registration.ask(self.registration.spec.needs_for, self.params)


def _metrics(registry: Registry, calls: Sequence[str], preset: str | None, weights: dict[str, str]) -> list[_Metric]:
    for name, file in weights.items():
        registry.get(ExtractorSpec, name)
        if not expand(file).is_file():
            raise WeightsError(f"the weight file {file} does not exist", where=f"--weights {name}=...")
    result = []
    presets: set[str] = set()
    for call in calls or registry.names("metric"):
        registration, params = registry.call(MetricSpec, call)
        preset_param = registration.spec.param_for("preset")
        choices = registration.spec.params[preset_param].choices or () if preset_param else ()
        presets.update(choices)
        if preset_param and preset in choices:
            params.setdefault(preset_param, preset)
        result.append(_Metric(registration, registration.complete(params), weights))
    if preset is not None and preset not in presets:
        known = sorted(presets) if calls else sorted({*presets, *registry.names("challenge")})
        raise RequestError(
            f"none of these metrics has a preset '{preset}'",
            expected="one of " + ", ".join(known) if known else None,
            matches=close_matches(preset, known),
        )
    return result


class _FolderPair:
    """Both folders and their masks, after reading and matching."""

    def __init__(self, store: Store, reading: ReadOptions, report: ProgressReport) -> None:
        self._store = store
        self._reading = reading
        self._report = report
        self.folders: dict[str, FolderImages] = {}
        self.paired: ImageSet | None = None
        self.predicted: NDArray[Any] | None = None
        self.reference_masks: NDArray[Any] | None = None
        self.task = Task("folders")

    def read(
        self,
        translated: str | Path,
        target: str | Path,
        masks: str | Path | None,
        predicted: str | Path | None,
        body: str | Path | None,
        paired: bool,
        labels: Mapping[int, str] | None,
    ) -> None:
        self.folders["candidate"] = self._folder(translated)
        self.folders["reference"] = self._folder(target)
        candidate, reference = self.folders["candidate"].images, self.folders["reference"].images
        if masks is None and predicted is not None:
            raise RequestError(
                "predicted masks are compared with reference masks", expected="--masks beside --predicted"
            )
        if masks is not None:
            self.reference_masks = self._masks_for(masks, candidate)
            self.predicted = self._masks_for(predicted, candidate) if predicted is not None else None
            there = (maps for maps in (self.reference_masks, self.predicted) if maps is not None)
            values = _labels_in(there)
            names = dict(labels or {v: str(v) for v in values if v})
            unknown = [v for v in values if v and v not in names]
            if unknown:
                raise DataError(
                    f"the masks hold the value {unknown[0]}", where="--labels", expected=f"one of {list(names)}"
                )
            self.task = Task("folders", labels=names)
        if paired or body is not None:
            truth = reference.subset(positions(candidate, reference, str(target)))
            bodies = self._masks_for(body, candidate) if body is not None else None
            self.paired = replace(truth, masks=bodies)

    def _folder(self, folder: str | Path) -> FolderImages:
        path = expand(folder)
        return read_folder(
            path,
            self._reading,
            self._store,
            progress=lambda done, total: self._report(f"reading {path.name}", done, total),
        )

    def _masks_for(self, folder: str | Path, images: ImageSet) -> NDArray[Any]:
        path = expand(folder)
        masks = read_folder(path, replace(self._reading, window=None), self._store, mask=True).images
        if masks.size != images.size:
            raise DataError(
                f"its masks are {masks.size}, its images {images.size}", where=str(path), expected="one size"
            )
        return Rows.of(masks.images, positions(images, masks, str(path)))


def _labels_in(masks: Iterable[NDArray[Any]]) -> list[int]:
    """The values of label maps, ascending."""
    seen = np.zeros(256, bool)
    for maps in masks:
        for labels in maps:
            seen[labels] = True
    return [int(value) for value in np.flatnonzero(seen)]


def _rows(
    metric: _Metric, pair: _FolderPair, source: FeatureSource, sampling: _Sampling, *, required: bool
) -> list[dict[str, Any]]:
    columns = _columns(metric, pair, source.precision, sampling.seed)
    try:
        inputs, weights, caveats = _inputs(metric, pair, source)
        patients_known = all(all(folder.images.patients) for folder in pair.folders.values())
        measurement = score_inputs(
            metric.registration.create(metric.params),
            metric.registration.spec,
            inputs,
            source.context(pair.task, metric.params),
            seed=sampling.seed,
            draws=sampling.draws,
            balance=sampling.balance,
            intervals=sampling.intervals and patients_known,
        )
    except MtbenchError as error:
        # A metric that the user did not name is skipped with a reason; a named one must be computed.
        if required:
            raise
        return [{**columns, "label": "", "status": "skipped", "value": None, "note": str(error)}]
    return [
        {
            **columns,
            "weights_sha256": weights,
            "caveat": caveats,
            "label": item.label,
            "status": "measured",
            "value": item.value,
            "stderr": item.stderr,
            "ci_low": item.ci[0] if item.ci else None,
            "ci_high": item.ci[1] if item.ci else None,
            "without_interval": reason,
            "bound_low": bound[0] if bound else None,
            "bound_high": bound[1] if bound else None,
            "n": measurement.n or None,
            "draws": measurement.draws,
            "mark": item.mark,
            "note": item.note,
        }
        for item, reason, bound in zip(measurement.scores, measurement.without, measurement.bounds, strict=True)
    ]


def _columns(metric: _Metric, pair: _FolderPair, precision: str, seed: int) -> dict[str, Any]:
    """The fields of a metric's rows that are known beforehand."""
    spec, needs_target = metric.registration.spec, two_sided(metric.needs)
    candidate, reference = pair.folders["candidate"].images, pair.folders["reference"].images
    extractors = sorted({need.extractor for need in metric.needs if not isinstance(need, str)})
    return {
        "metric": spec.name,
        "title": spec.title or spec.name,
        "variant": metric.registration.ask(spec.printed_variant, metric.params),
        "family": spec.family,
        "measure_unit": spec.measure_unit,
        "higher_is_better": spec.higher_is_better,
        "decimals": spec.decimals,
        "params": {k: v for k, v in metric.params.items() if spec.params[k].shown},
        "extractor": ",".join(extractors),
        "weights_sha256": "",
        "precision": precision if extractors else "fp32",
        "caveat": "",
        "n_translated": len(candidate),
        "n_target": len(reference) if needs_target else None,
        "n_patients_translated": _patients(candidate),
        "n_patients_target": _patients(reference) if needs_target else None,
        "seed": seed,
        "unreadable": sum(len(folder.unreadable) for folder in pair.folders.values()),
        "other_files": [folder.others for folder in pair.folders.values() if folder.others],
    }


def _patients(images: ImageSet) -> int | None:
    return len(set(images.patients)) if all(images.patients) else None


def _inputs(metric: _Metric, pair: _FolderPair, source: FeatureSource) -> tuple[MetricInputs, str, str]:
    needs = metric.needs
    name = format_call(metric.registration.spec.name, {})
    if "predicted_masks" in needs and pair.predicted is None:
        raise RequestError(f"'{name}' compares masks", remedy="Set --masks and --predicted")
    if "reference_masks" in needs and pair.reference_masks is None:
        raise RequestError(f"'{name}' reads the masks of the translated images", remedy="Set --masks")
    if "paired" in needs and pair.paired is None:
        raise RequestError(
            f"'{name}' needs the true target image of each translated image",
            remedy="Set --paired if the target folder holds them",
        )
    if "source" in needs:
        raise RequestError(f"'{name}' compares each image with its source slice", remedy="Run it in a suite")
    if reads_side(needs, "training"):
        raise RequestError(f"'{name}' reads the target's training images", remedy="Run it in a suite")
    features: dict[str, dict[str, Any]] = {}
    shas, caveats = set(), {metric.registration.spec.caveat}
    for need in needs:
        if not isinstance(need, str):
            folder = pair.folders[need.of]
            arrays, sha, caveat = source.get(need, folder.images, folder.fingerprint, metric.weights)
            features.setdefault(need.of, {}).update(arrays)
            shas.add(sha)
            caveats.add(caveat)
    inputs = MetricInputs(
        task=pair.task,
        candidate=replace(pair.folders["candidate"].images, task=pair.task),
        reference=pair.folders["reference"].images if two_sided(needs) else None,
        paired=pair.paired if "paired" in needs else None,
        predicted_masks=pair.predicted if "predicted_masks" in needs else None,
        reference_masks=pair.reference_masks if "reference_masks" in needs else None,
        features=features,
    )
    return inputs, ",".join(sorted(shas - {""})), "; ".join(sorted(caveats - {""}))
