"""Computes a translator's rows with the kit of another laboratory, on your own copy of the source data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.context import Context
from mtbench.compute.devices import resolve_device
from mtbench.compute.inference import prepare_torch
from mtbench.compute.weights import find
from mtbench.data import ImageSet, MetricInputs, Slice
from mtbench.errors import DataError, RequestError
from mtbench.hashing import canonical, hash_of
from mtbench.kit.contents import Judge, Kit, Network
from mtbench.plan.choices import choices
from mtbench.plan.suite import Entry, Suite
from mtbench.preparation.exchange import MANIFEST, ExportedSlice, Manifest
from mtbench.registry.registry import Registry
from mtbench.registry.specs import ExtractorSpec, MetricSpec, SegmenterSpec, TranslatorSpec
from mtbench.results.directory import Results
from mtbench.results.entries import Attempt, CaseValues, Order, RowState
from mtbench.stages.extract import extract
from mtbench.stages.scoring import Scoring
from mtbench.stages.scoring import score as score_inputs
from mtbench.stages.segment import segment
from mtbench.stages.translate import translate
from mtbench.store.images import content_of


@dataclass
class Tally:
    """The result of an addition.

    Attributes:
        rows: number of scores.
        left_out: scores that cannot be computed with this kit, with the reason.
    """

    rows: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def score(
    kit: Path,
    translator: str,
    source: Path,
    out: Path,
    registry: Registry,
    *,
    device: str | None = None,
    batch_size: int = 8,
    say: Callable[[str], None] = lambda text: None,
) -> Tally:
    """Translate your own copy of the kit's source slices, and write the rows as a results directory.

    Args:
        kit: the folder of the kit.
        translator: ``NAME`` or ``NAME:p=v,...``; it must not need training.
        source: the output of ``mtbench data export --side all`` for your copy of the source data, as PNG or NPY.
        out: a results directory, for ``mtbench results merge``.
        registry: the plugins.
        device, batch_size: of the computation.
        say: called with progress messages.

    Raises:
        RequestError: the translator needs training.
        DataError: the kit cannot be read, a source slice of the kit is missing, or a plugin has another revision.
    """
    content = Kit.read(kit)
    own = _Source.read(source)
    scorer = _Scorer(kit, own, registry, resolve_device(device), batch_size, translator)
    tally = Tally()
    results = Results.create(out, str(content.judges[0].columns["suite"]) if content.judges else "kit")
    with results.writing():
        order = []
        for judge in content.judges:
            reason = judge.lacks
            if not reason and not any(sha in own.slices for sha in judge.slices):
                reason = f"none of its {len(judge.slices)} source test slices are in {source}"
            if reason:
                tally.left_out.append((judge.name, reason))
                continue
            say(judge.name)
            attempt, row = scorer.entries(judge)
            results.append(attempt)
            results.append(row)
            order.append(row.row)
            tally.rows += 1
        if not order:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in tally.left_out)
            raise DataError(
                f"no score can be computed ({reasons})",
                where=str(kit),
                expected="an export of the same source data, prepared with the same parameters",
                remedy="Export with --side all, and compare the parameters with `dataset_params` in kit.json",
            )
        results.append(Order(rows=order))
        results.rebuild()
    return tally


@dataclass(frozen=True)
class _Source:
    """An export of source slices, indexed by the sha256 of the slice."""

    folder: Path
    slices: Mapping[str, ExportedSlice]

    @classmethod
    def read(cls, folder: Path) -> _Source:
        manifest = Manifest.read(folder / MANIFEST)
        if manifest.form == "nifti" or manifest.domain != "source":
            raise DataError(
                f"the export contains {manifest.domain} slices as {manifest.form}",
                where=str(folder),
                expected="source slices as png or npy: `mtbench data export DATASET --side all`",
            )
        return cls(folder, {item.sha256: item for item in manifest.slices})

    def images(self, judge: Judge) -> ImageSet:
        """The slices of a judge in its order, with masks if there are any.

        Raises:
            DataError: a slice is missing, or its mask differs.
        """
        absent = [sha for sha in judge.slices if sha not in self.slices]
        if absent:
            what = f"{len(absent)} of the {len(judge.slices)} source test slices of '{judge.columns['dataset']}'"
            raise DataError(
                f"{what} are missing",
                where=str(self.folder),
                expected="all of them",
                remedy="Export with --side all",
            )
        items = [self.slices[sha] for sha in judge.slices]
        pixels = np.stack([self._array(item.image) for item in items])
        masks = None
        if all(item.mask for item in items):
            masks = np.stack([self._array(item.mask) for item in items]).astype(np.uint8)
        for item, image, sha in zip(items, pixels, judge.slices, strict=True):
            if content_of(image) != sha:
                raise DataError("the file was altered after the export", where=str(self.folder / item.image))
        if judge.masks and (masks is None or tuple(content_of(mask) for mask in masks) != judge.masks):
            raise DataError(
                f"the masks of '{judge.columns['dataset']}' differ from those of the kit",
                where=str(self.folder),
                expected="the same masks and labels of the source slices",
            )
        records = tuple(item.record for item in items)
        return ImageSet(pixels, records, masks, judge.task, "source", "test")

    def _array(self, name: str) -> NDArray[Any]:
        path = self.folder / name
        if path.suffix == ".npy":
            array: NDArray[Any] = np.load(path, allow_pickle=False)
            return array
        from PIL import Image

        return np.asarray(Image.open(path))


@dataclass
class _Scorer:
    """Computes rows; translations, features and label maps are computed once for all scores that share them."""

    kit: Path
    source: _Source
    registry: Registry
    device: str
    batch_size: int
    translator: str
    _made: dict[str, Any] = field(default_factory=dict)

    def entries(self, judge: Judge) -> tuple[Attempt, RowState]:
        """The journal entries of one score."""
        begun = datetime.now(UTC)
        spec = self._same(MetricSpec, Network(judge.plugin, judge.params, judge.revision)).spec
        candidate, about = self._once(["translate", judge.slices], lambda: self._translated(judge))
        inputs = MetricInputs(
            task=judge.task,
            candidate=candidate,
            reference=_reference(judge),
            predicted_masks=self._predicted(judge, candidate),
            source=self.source.images(judge) if "source" in judge.options.roles else None,
            reference_masks=candidate.masks if "reference_masks" in judge.options.roles else None,
            features=self._features(judge, candidate),
        )
        metric = self.registry.get(MetricSpec, judge.plugin)
        scoring = score_inputs(
            metric.create(metric.complete(judge.params)),
            spec,
            inputs,
            self._context(judge, params=judge.params),
            seed=judge.options.sampling_seed,
            draws=judge.options.draws,
            blame=metric.blame,
        )
        digest = hash_of([content_of(image) for image in np.asarray(candidate.images)])
        columns = {**judge.columns, **about, "input_digest": digest, "fit_digest": "", "status": "measured"}
        key = hash_of([columns, judge.options.to_json()])
        columns["unit_key"] = key
        seconds = (datetime.now(UTC) - begun).total_seconds()
        attempt = _attempt(judge, key, digest, begun, seconds, self.device, len(candidate))
        return attempt, _row(columns, scoring, candidate, inputs.reference)

    def _once(self, key: object, make: Callable[[], Any]) -> Any:
        name = hash_of(key)
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _context(self, judge: Judge, **more: Any) -> Context:
        precision, threads = str(judge.columns["precision"]), int(judge.columns["threads"])
        prepare_torch(precision, threads)
        return Context(
            task=judge.task,
            device=self.device,
            precision=precision,
            threads=threads,
            batch_size=self.batch_size,
            find_weights=find,
            **more,
        )

    def _same(self, kind: Any, network: Network) -> Any:
        registration = self.registry.get(kind, network.plugin)
        if registration.spec.revision != network.revision:
            raise DataError(
                f"the installed {kind.kind} '{network.plugin}' has revision {registration.spec.revision}",
                where=str(self.kit),
                expected=f"{network.revision}, the revision of the kit",
                remedy="Install that version of its distribution",
            )
        return registration

    def _translated(self, judge: Judge) -> tuple[ImageSet, dict[str, Any]]:
        entry = Entry.of(self.translator, "-t", typed=True)
        suite = Suite(name="kit", folder=Path.cwd(), datasets=(), translators=(entry,))
        (choice,) = choices(TranslatorSpec, (entry,), suite, self.registry)
        spec, params = choice.spec, choice.params
        if spec.whether("trains", params):
            raise RequestError(
                f"translator '{spec.name}' needs training, and a kit contains no training images",
                expected="a translator trained elsewhere: its checkpoint, its program, or its images",
            )
        images = self.source.images(judge)
        if images.channels > 1 and not spec.several_channels:
            raise RequestError(
                f"'{spec.name}' translates one source channel, and '{judge.task.dataset}' has {images.channels}",
                expected="a translator declared with several_channels=True",
            )
        conditional = spec.whether("conditional", params)
        with tempfile.TemporaryDirectory(prefix="mtbench-") as scratch:
            context = self._context(judge, params=params, scratch=Path(scratch))
            plugin = choice.registration.create({**params, **choice.paths})
            depth, blame = images.images.dtype.name, choice.registration.blame
            chunks = translate(plugin, images, context, conditional=conditional, depth=depth, blame=blame)
            pixels = np.concatenate(list(chunks))
        about = {
            "translator_note": " ".join(dict.fromkeys(filter(None, [spec.note(params), *context.remarks]))),
            "translator": entry.name,
            "translator_params": canonical(choice.changes),
            "translator_version": canonical(dict(choice.version)),
            "training_sha256": "",
            "conditional": conditional,
            "seed": None,
        }
        return ImageSet(pixels, images.slices, images.masks, images.task, "source", "test"), about

    def _features(self, judge: Judge, candidate: ImageSet) -> dict[str, dict[str, NDArray[Any]]]:
        reference = {name: np.load(self.kit / file, allow_pickle=False) for name, file in judge.features.items()}
        own: dict[str, NDArray[Any]] = {}
        for network in judge.extractors.values():
            key = ["extract", judge.slices, network.to_json()]
            own |= self._once(key, partial(self._extracted, judge, candidate, network))
        return {side: arrays for side, arrays in (("candidate", own), ("reference", reference)) if arrays}

    def _extracted(self, judge: Judge, candidate: ImageSet, network: Network) -> dict[str, NDArray[Any]]:
        registration = self._same(ExtractorSpec, network)
        extractor = registration.create(registration.complete(network.params))
        names = registration.spec.arrays
        with tempfile.TemporaryDirectory(prefix="mtbench-") as folder:
            extract(candidate, extractor, names, self._context(judge), Path(folder), registration.blame)
            return {name: np.load(Path(folder) / f"{name}.npy", allow_pickle=False) for name in names}

    def _predicted(self, judge: Judge, candidate: ImageSet) -> NDArray[np.uint8] | None:
        network = judge.segmenter
        if network is None:
            return None
        masks: NDArray[np.uint8] = self._once(
            ["segment", judge.slices, network.to_json()], lambda: self._segmented(judge, candidate, network)
        )
        return masks

    def _segmented(self, judge: Judge, candidate: ImageSet, network: Network) -> NDArray[np.uint8]:
        registration = self._same(SegmenterSpec, network)
        segmenter = registration.create(registration.complete(network.params))
        segmenter.load(self.kit / network.folder)
        return np.concatenate(list(segment(segmenter, candidate, self._context(judge), registration.blame)))


def _reference(judge: Judge) -> ImageSet | None:
    """The target slices without their images: their number and their patients."""
    if not judge.patients:
        return None
    records = tuple(Slice(f"t{at:05d}", str(n), str(n)) for at, n in enumerate(judge.patients))
    nothing = np.broadcast_to(np.zeros((), np.uint8), (len(records), *judge.size))
    return ImageSet(nothing, records, None, judge.task, "target", "test")


def _attempt(judge: Judge, key: str, digest: str, begun: datetime, seconds: float, device: str, images: int) -> Attempt:
    return Attempt(
        run="kit",
        suite=str(judge.columns["suite"]),
        unit_key=key,
        stage="score",
        name=f"score {judge.name} with a kit",
        attempt=1,
        status="ok",
        started=begun.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        images=images,
        device=device,
        executor="kit",
        digest=digest,
    )


def _row(columns: Mapping[str, Any], scoring: Scoring, candidate: ImageSet, reference: ImageSet | None) -> RowState:
    record = scoring.record()
    common = {
        "n": record["n"],
        "draws": record["draws"],
        "n_translated": len(candidate),
        "n_target": len(reference) if reference else None,
        "n_patients_translated": len(set(candidate.patients)),
        "n_patients_target": len(set(reference.patients)) if reference else None,
    }
    scores = [{**common, **score} for score in record["scores"]]
    return RowState(
        run="kit",
        row=hash_of({**columns, "kit": True}),
        status="measured",
        mark=hash_of([columns, scores]),
        columns=dict(columns),
        scores=scores,
        cases=tuple(CaseValues.from_json(raw) for raw in record["cases"]),
    )
