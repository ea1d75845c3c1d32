"""Volumes as cases: per slice, volume and patient in all metrics that have ``per``, and volumes that are not as they
should be. Distances are compared with all pairs of voxels, structural similarity with scikit-image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import convolve
from scipy.spatial.distance import cdist, pdist
from skimage.measure import marching_cubes, mesh_surface_area, regionprops
from skimage.metrics import structural_similarity

from mtbench import Context, DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench_plugins.metrics.agreement import RadiomicAgreement, concordance, shape
from mtbench_plugins.metrics.overlap import Dice
from mtbench_plugins.metrics.paired_metrics import Mae, MsSsim, PairedMetric, Psnr, Ssim
from mtbench_plugins.metrics.surface_distances import Hausdorff95, SurfaceDice, surface
from mtbench_plugins.metrics.tissues import TissueError

TASK = Task("toy", labels={1: "bone", 3: "disc"}, paired=True)
STEP = (4.0, 0.5, 0.8)
Layout = tuple[tuple[str, str, int], ...]
"""Patient, case and number of slices of each volume, in the order of the slices."""
TWO_PATIENTS: Layout = (("a", "a1", 6), ("a", "a2", 3), ("b", "b1", 5))


def records(layout: Layout, step: tuple[float, ...] | None = STEP, **more: Any) -> tuple[Slice, ...]:
    return tuple(
        Slice(f"{case}-{i}", patient, case, i, step and (step[1], step[2]), step and step[0], (0.0, 100.0), **more)
        for patient, case, count in layout
        for i in range(count)
    )


def scene(layout: Layout = TWO_PATIENTS, size: tuple[int, int] = (14, 12), **more: Any) -> MetricInputs:
    """Random images and ragged masks of two labels; slices in a shuffled order, as nothing depends on it."""
    slices = records(layout, **more)
    rng = np.random.default_rng(5)
    shape = (len(slices), *size)
    true = rng.uniform(0.1, 0.9, shape)
    made = np.clip(true + rng.normal(0, 0.1, shape), 0, 1)
    masks = np.zeros(shape, np.uint8)
    masks[:, 2:6, 2:9], masks[:, 8:12, 3:10] = 1, 3
    found = np.where(rng.uniform(size=shape) < 0.2, 0, masks).astype(np.uint8)
    for mask, columns in zip(found, rng.integers(2, 8, len(found)), strict=True):
        mask[:, :columns] = 0
    order = np.random.default_rng(6).permutation(len(slices))
    slices = tuple(slices[i] for i in order)
    sets = [ImageSet(v[order].astype(np.float32), slices, None, TASK, "source", "test") for v in (made, true)]
    return MetricInputs(TASK, sets[0], paired=sets[1], predicted_masks=found[order], reference_masks=masks[order])


def volume(inputs: MetricInputs, case: str) -> list[int]:
    """Positions of a case's slices in the order of their index."""
    assert inputs.candidate is not None
    at = [i for i, s in enumerate(inputs.candidate.slices) if s.case_id == case]
    return sorted(at, key=lambda i: inputs.candidate.slices[i].index)  # type: ignore[union-attr]


def by_case(score: Score) -> dict[str, float]:
    assert score.cases is not None
    return dict(zip(score.cases.ids, score.cases.values.tolist(), strict=True))


METRICS: dict[str, Any] = {
    "dice": Dice,
    "hd95": Hausdorff95,
    "nsd": SurfaceDice,
    "mae": Mae,
    "psnr": Psnr,
    "tissue-error": TissueError,
}


@pytest.mark.parametrize("name", METRICS)
def test_a_patient_is_the_mean_of_its_volumes_and_a_volume_does_not_depend_on_the_others(name: str) -> None:
    inputs = scene()
    per = {}
    for kind in ("volume", "patient"):
        score = METRICS[name](per=kind).compute(inputs, Context())
        per[kind] = score if isinstance(score, Score) else score[0]
        assert per[kind].cases.by == kind
    volumes, patients = by_case(per["volume"]), by_case(per["patient"])
    assert set(volumes) == {"a1", "a2", "b1"}
    assert patients == pytest.approx({"a": (volumes["a1"] + volumes["a2"]) / 2, "b": volumes["b1"]})
    assert per["volume"].value == pytest.approx(sum(volumes.values()) / 3)
    assert per["patient"].value == pytest.approx(sum(patients.values()) / 2) != pytest.approx(per["volume"].value)
    alone = METRICS[name](per="volume").compute(inputs.select(volume(inputs, "a2")), Context())
    assert (alone if isinstance(alone, Score) else alone[0]).value == pytest.approx(volumes["a2"])


def test_patients_that_share_case_ids_keep_separate_volumes() -> None:
    score = Mae(per="volume").compute(scene((("a", "mr", 2), ("b", "mr", 3))), Context())
    assert set(by_case(score)) == {"a/mr", "b/mr"}


def test_overlap_and_errors_of_a_volume_are_those_of_all_its_voxels() -> None:
    inputs = scene()
    at = volume(inputs, "a1")
    assert inputs.predicted_masks is not None
    assert inputs.reference_masks is not None
    found, true = inputs.predicted_masks[at] == 3, inputs.reference_masks[at] == 3
    disc = Dice(per="volume", smooth=0.0).compute(inputs, Context())[1]
    assert by_case(disc)["a1"] == pytest.approx(2 * (found & true).sum() / (found.sum() + true.sum()))
    made, truth = (100 * images.floats(at)[:, 0].astype(float) for images in (inputs.candidate, inputs.paired))  # type: ignore[union-attr]
    assert by_case(Mae(per="volume").compute(inputs, Context()))["a1"] == pytest.approx(np.abs(made - truth).mean())
    errors = TissueError("bias", "volume").compute(inputs, Context())[1]
    assert by_case(errors)["a1"] == pytest.approx(abs((made - truth)[true].mean()))


def test_surface_distances_of_a_volume_are_in_mm_between_all_voxels() -> None:
    inputs = scene()
    at = volume(inputs, "b1")
    assert inputs.predicted_masks is not None
    assert inputs.reference_masks is not None
    points = [np.argwhere(surface(m[at] == 1)) * STEP for m in (inputs.predicted_masks, inputs.reference_masks)]
    apart = cdist(*points)
    directed = [apart.min(axis=1), apart.min(axis=0)]
    expected = max(np.percentile(d, 95) for d in directed)
    assert by_case(Hausdorff95(per="volume").compute(inputs, Context())[0])["b1"] == pytest.approx(expected)
    near = sum((d <= 0.6).sum() for d in directed) / sum(map(len, directed))
    share = SurfaceDice(per="volume", count="voxels", tolerance=0.6).compute(inputs, Context())[0]
    assert by_case(share)["b1"] == pytest.approx(near)


# -- structural similarity in three dimensions


def smooth(shape: tuple[int, ...], noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(9)
    grids = np.meshgrid(*(np.linspace(0, 5, n) for n in shape), indexing="ij")
    truth = 0.5 + 0.2 * np.sin(sum(grids)) + 0.1 * np.cos(2 * grids[1])
    return np.clip(truth + rng.normal(0, noise, shape), 0, 1), truth


def pair_of(made: NDArray[np.float64], true: NDArray[np.float64], body: Any = None) -> MetricInputs:
    slices = records((("a", "a1", len(made)),))
    sets = [ImageSet(v.astype(np.float32), slices, body, TASK, "source", "test") for v in (made, true)]
    return MetricInputs(TASK, sets[0], paired=sets[1])


def test_ssim_of_a_volume_is_that_of_scikit_image_with_a_window_of_three_dimensions() -> None:
    made, true = smooth((15, 20, 24), 0.05)
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    made, true = made.astype(np.float32).astype(float), true.astype(np.float32).astype(float)
    expected, full = structural_similarity(true, made, full=True, **gauss)
    score = Ssim(per="volume").compute(pair_of(made, true), Context())
    assert score.value == pytest.approx(expected, rel=1e-9)
    slices = Ssim().compute(pair_of(made, true), Context())
    assert abs(slices.value - score.value) > 0.01
    body = np.zeros(made.shape, np.uint8)
    body[3:12, 8:16, 2:20] = 1
    inside = body[5:-5, 5:-5, 5:-5] > 0
    score = Ssim(per="patient", body="masks").compute(pair_of(made, true, body), Context())
    assert score.value == pytest.approx(full[5:-5, 5:-5, 5:-5][inside].mean(), rel=1e-9)


def test_ms_ssim_of_a_volume_is_that_of_a_full_convolution() -> None:
    made, true = (v.astype(np.float32).astype(float) for v in smooth((22, 24, 26), 0.1))
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = line[:, None, None] * line[:, None] * line / line.sum() ** 3
    expected = 1.0
    for scale, weight in enumerate(np.array([0.0448, 0.2856]) / 0.3304):
        mx, my, xx, yy, xy = (convolve(v, window, "valid") for v in (made, true, made**2, true**2, made * true))
        similarity = (2 * (xy - mx * my) + 0.0009) / (xx - mx**2 + yy - my**2 + 0.0009)
        if scale == 1:
            similarity *= (2 * mx * my + 0.0001) / (mx**2 + my**2 + 0.0001)
        else:
            made, true = (v.reshape(11, 2, 12, 2, 13, 2).mean(axis=(1, 3, 5)) for v in (made, true))
        expected *= similarity.mean() ** weight
    given = pair_of(*smooth((22, 24, 26), 0.1))
    assert MsSsim(per="volume", scales=2).compute(given, Context()).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", [Ssim(per="volume"), MsSsim(per="patient", scales=1)])
def test_volumes_thinner_than_the_window_are_refused_and_one_slice_is_an_image(metric: PairedMetric) -> None:
    with pytest.raises(DataError, match=r"volumes of 6 x 14 x 12 are too small.*at least 11 pixels.*per=slice"):
        metric.compute(scene((("a", "a1", 6),)), Context())
    score = metric.compute(scene((("a", "a1", 1), ("b", "b1", 1))), Context())
    assert "2 of 2 volumes have one slice: window of two dimensions" in score.note
    assert score.value == pytest.approx(Ssim().compute(scene((("a", "a1", 1), ("b", "b1", 1))), Context()).value)


# -- radiomic features


def test_shape_of_a_volume_is_that_of_scikit_image_and_of_an_ellipsoid() -> None:
    z, y, x = np.mgrid[:30, :40, :50]
    mask = ((z - 14) / 9.0) ** 2 + ((y - 19 - 0.3 * z) / 13.0) ** 2 + ((x - 24 + 0.2 * y) / 18.0) ** 2 < 1
    (region,) = regionprops(mask.astype(np.uint8))
    found = shape(mask, (1.0, 1.0, 1.0))
    assert found["volume"] == region.area
    axes = [found["major axis"], found["minor axis"], found["least axis"]]
    moments = np.linalg.eigvalsh(np.cov(np.argwhere(mask).T, bias=True))[::-1]
    assert axes == pytest.approx(4 * np.sqrt(moments))
    assert (found["elongation"], found["flatness"]) == pytest.approx(np.sqrt(moments[1:] / moments[0]))
    vertices, faces, *_ = marching_cubes(np.pad(mask, 1).astype(float), 0.5)
    assert found["surface area"] == pytest.approx(mesh_surface_area(vertices, faces), rel=0.01)
    voxels = np.argwhere(surface(mask))
    assert found["maximum diameter"] == pytest.approx(pdist(voxels).max())
    # A ball of 20 mm on an anisotropic grid.
    z, y, x = np.ogrid[-6:7, -14:15, -24:25]
    ball = shape((z * 2.0) ** 2 + (y * 0.8) ** 2 + (x * 0.45) ** 2 <= 100, (2.0, 0.8, 0.45))
    assert ball["volume"] == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)
    assert [ball["major axis"], ball["flatness"]] == pytest.approx([4 * 10 / 5**0.5, 1], rel=0.03)
    assert ball["maximum diameter"] == pytest.approx(20, rel=0.03)


def test_shape_of_flat_and_single_voxels() -> None:
    plate = np.zeros((3, 40, 40), bool)
    plate[1] = True
    found = shape(plate, (2.0, 1.0, 1.0))
    assert (found["least axis"], found["flatness"]) == pytest.approx((0, 0), abs=1e-6)
    assert found["maximum diameter"] == pytest.approx(39 * 2**0.5)
    one = shape(plate[:, :1, :1], (2.0, 1.0, 1.0))
    assert (one["volume"], one["maximum diameter"], one["elongation"], one["flatness"]) == (2.0, 0.0, 1.0, 1.0)


def test_agreement_over_volumes_and_over_patients() -> None:
    layout: Layout = (("a", "a1", 4), ("a", "a2", 2), ("b", "b1", 3), ("c", "c1", 5), ("d", "d1", 2))
    inputs = scene(layout)
    assert inputs.predicted_masks is not None
    assert inputs.reference_masks is not None
    cases = [case for _, case, _ in layout]
    pixel = float(np.prod(STEP))
    sizes = np.array(
        [
            [(m[volume(inputs, c)] == 1).sum() * pixel for c in cases]
            for m in (inputs.predicted_masks, inputs.reference_masks)
        ]
    )
    scores = {s.label: s for s in RadiomicAgreement("shape", "volume").compute(inputs, Context())}
    assert len(scores) == 16
    assert scores["bone: volume"].value == pytest.approx(concordance(*sizes))
    assert scores["bone: volume"].note == "N = 5 volumes"
    by_patient = np.stack([sizes[:, :2].mean(axis=1), *sizes[:, 2:].T], axis=1)
    metric = RadiomicAgreement("shape", "patient")
    bone = {s.label: s for s in metric.compute(inputs, Context())}["bone: volume"]
    assert (bone.value, bone.note) == (pytest.approx(concordance(*by_patient)), "N = 4 patients")
    # Of some patients' slices, as intervals use it.
    chosen = np.sort(np.concatenate([volume(inputs, c) for c in cases[:4]]))
    expected = [s.value for s in metric.compute(inputs.select(chosen), Context())]
    assert np.asarray(metric.resample(inputs, Context())(chosen, None)).tolist() == pytest.approx(expected)
    means = np.array(
        [
            [
                100
                * v.floats(volume(inputs, c))[:, 0][inputs.reference_masks[volume(inputs, c)] == 3].mean(dtype=float)
                for c in cases
            ]
            for v in (inputs.candidate, inputs.paired)
        ]  # type: ignore[union-attr]
    )
    first_order = {s.label: s for s in RadiomicAgreement("first-order", "volume").compute(inputs, Context())}
    assert first_order["disc: mean"].value == pytest.approx(concordance(*means), rel=1e-6)
    with pytest.raises(DataError, match="without gaps"):
        RadiomicAgreement("shape", "volume").compute(without(inputs, "c1", 2), Context())
    gap = RadiomicAgreement("first-order", "volume").compute(without(inputs, "c1", 2), Context())[0]
    assert gap.note == "N = 5 volumes; 1 of 5 volumes lack slices"
    with pytest.raises(DataError, match="2 patients have a value"):
        metric.compute(inputs.select(np.concatenate([volume(inputs, c) for c in ("a1", "a2", "b1")])), Context())


# -- volumes that are not as they should be


def without(inputs: MetricInputs, case: str, index: int) -> MetricInputs:
    assert inputs.candidate is not None
    slices = inputs.candidate.slices
    return inputs.select([i for i, s in enumerate(slices) if (s.case_id, s.index) != (case, index)])


@pytest.mark.parametrize("name", METRICS)
def test_missing_slices_are_refused_where_distances_need_them_and_noted_elsewhere(name: str) -> None:
    gap = without(scene(), "b1", 2)
    if name in ("hd95", "nsd"):
        with pytest.raises(DataError, match=r"'b1': its slices are numbers 0, 1, 3, 4.*without gaps.*per=slice"):
            METRICS[name](per="volume").compute(gap, Context())
        return
    for kind in ("volume", "patient"):
        score = METRICS[name](per=kind).compute(gap, Context())
        assert (score if isinstance(score, Score) else score[0]).note.endswith("1 of 3 volumes lack slices")
    score = METRICS[name](per="slice").compute(gap, Context())
    assert "lack" not in (score if isinstance(score, Score) else score[0]).note
    # Without its last slice a volume is merely shorter.
    short = METRICS[name](per="volume").compute(without(scene(), "b1", 4), Context())
    assert "lack" not in (short if isinstance(short, Score) else short[0]).note


def test_ssim_of_a_volume_with_a_gap_is_refused() -> None:
    gap = without(scene((("a", "a1", 14),)), "a1", 7)
    with pytest.raises(DataError, match="without gaps"):
        Ssim(per="volume").compute(gap, Context())


@pytest.mark.parametrize("metric", [Hausdorff95, SurfaceDice])
def test_a_volume_of_one_slice_is_measured_by_its_contour(metric: Any) -> None:
    inputs = scene((("a", "a1", 1), ("b", "b1", 4)))
    bone, _ = metric(per="volume").compute(inputs, Context())
    assert "1 of 2 volumes have one slice, whose contour is measured" in bone.note
    contour, _ = metric().compute(inputs.select(volume(inputs, "a1")), Context())
    assert by_case(bone)["a1"] == pytest.approx(contour.value)


def test_a_label_that_the_task_does_not_have_is_refused_by_name() -> None:
    for masks in ("predicted_masks", "reference_masks"):
        inputs = scene()
        strange = np.array(getattr(inputs, masks))
        strange[0, 0, :2] = 7
        for metric in (Dice(per="volume"), Hausdorff95(), SurfaceDice(per="patient")):
            with pytest.raises(DataError, match=r"the value 7, in 2 pixels.*1 \(bone\), 3 \(disc\)"):
                metric.compute(replace(inputs, **{masks: strange}), Context())


def test_masks_that_are_empty_on_one_side_or_both() -> None:
    inputs = scene((("a", "a1", 3), ("b", "b1", 3), ("c", "c1", 3), ("d", "d1", 3)))
    assert inputs.predicted_masks is not None
    assert inputs.reference_masks is not None
    found, true = np.array(inputs.predicted_masks), np.array(inputs.reference_masks)
    for case, sides in (("a1", [found]), ("b1", [true]), ("c1", [found, true])):
        for masks in sides:
            masks[volume(inputs, case)] = 0
    inputs = replace(inputs, predicted_masks=found, reference_masks=true)
    dice = by_case(Dice(per="volume").compute(inputs, Context())[0])
    assert dice["a1"] == pytest.approx(0, abs=1e-4) == dice["b1"]
    assert dice["c1"] == 1.0
    hd95 = Hausdorff95(per="volume").compute(inputs, Context())[0]
    diagonal = np.linalg.norm([2 * STEP[0], 13 * STEP[1], 11 * STEP[2]])
    assert [by_case(hd95)[case] for case in ("a1", "b1", "c1")] == pytest.approx(
        [diagonal, diagonal, np.nan], nan_ok=True
    )
    assert "1 of 4 cases have no value" in hd95.note
    nsd = by_case(SurfaceDice(per="volume").compute(inputs, Context())[0])
    assert (nsd["a1"], nsd["b1"], nsd["c1"]) == (0.0, 0.0, 1.0)
    bone = TissueError(per="volume").compute(inputs, Context())[0]
    assert "2 of 4 cases skipped: without bone" in bone.note


@pytest.mark.parametrize("field", ["spacing", "thickness"])
def test_a_pair_of_different_geometry_is_refused(field: str) -> None:
    inputs = scene()
    assert inputs.paired is not None
    other = {"spacing": (0.5, 1.0), "thickness": 3.0}
    changed = tuple(replace(s, **{field: other[field]}) for s in inputs.paired.slices)
    inputs = replace(inputs, paired=replace(inputs.paired, slices=changed))
    for metric in (Mae(per="volume"), TissueError(per="volume")):
        with pytest.raises(DataError, match=r"mm apart, its truth .*same geometry"):
            metric.compute(inputs, Context())
    unknown = tuple(replace(s, **{field: None}) for s in inputs.paired.slices)
    Mae(per="volume").compute(replace(inputs, paired=replace(inputs.paired, slices=unknown)), Context())


def test_distances_need_the_spacing_of_every_axis() -> None:
    inputs = scene(step=None)
    with pytest.raises(DataError, match="14 of 14 slices have no spacing"):
        Hausdorff95(per="volume").compute(inputs, Context())
    assert Dice(per="volume").compute(inputs, Context())[0].value > 0.5
