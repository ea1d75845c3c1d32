"""The phantom tasks: what they yield, that it is reproducible, and (slow) that it is worth translating."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtbench import Context, Sample
from mtbench.errors import ParamError
from mtbench.registry.discovery import discover

NAMES = ("phantom-breast", "phantom-lumbar")
SMALL = {"size": 64, "patients_source": 2, "patients_target": 2, "slices": 3}


def draw(name: str, **changes: Any) -> list[Sample]:
    registry = discover(third_party=False)
    params = registry.get("dataset", name).complete(SMALL | changes)
    return list(registry.get("dataset", name).create(params).prepare(None, Context()))


def of(samples: list[Sample], domain: str) -> dict[str, Sample]:
    return {s.slice.slice_id: s for s in samples if s.domain == domain}


def same(a: Sample, b: Sample) -> bool:
    if a.mask is None or b.mask is None:
        return a.mask is b.mask and a.slice == b.slice and np.array_equal(a.image, b.image)
    return a.slice == b.slice and np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


@pytest.fixture(scope="module", params=NAMES)
def drawn(request: pytest.FixtureRequest) -> tuple[str, list[Sample]]:
    return request.param, draw(request.param)


def test_yields_both_domains_and_the_truth(drawn: tuple[str, list[Sample]]) -> None:
    _, samples = drawn
    assert [len(of(samples, d)) for d in ("source", "target", "paired")] == [6, 6, 6]
    assert len(samples) == 18
    patients = {d: {s.slice.patient_id for s in of(samples, d).values()} for d in ("source", "target")}
    assert len(patients["source"]) == len(patients["target"]) == 2
    assert not patients["source"] & patients["target"]


def test_shapes_types_and_ranges(drawn: tuple[str, list[Sample]]) -> None:
    _, samples = drawn
    for sample in samples:
        assert sample.image.shape == (64, 64)
        assert sample.image.dtype == np.uint8
        # Neither flat nor burnt out: most of the scale is used, little of it clipped.
        assert np.ptp(sample.image) > 140
        assert (sample.image == 255).mean() < 0.05
        assert 20 < sample.image.mean() < 140
        if sample.mask is not None:
            assert sample.mask.shape == (64, 64)
            assert sample.mask.dtype == np.uint8


def test_masks_hold_the_declared_labels(drawn: tuple[str, list[Sample]]) -> None:
    name, samples = drawn
    task = discover(third_party=False).get("dataset", name).spec.task({}, name)
    for sample in samples:
        if sample.domain == "paired":
            assert sample.mask is None
        else:
            assert sample.mask is not None
            assert sample.domain in task.masks
            assert set(np.unique(sample.mask)) == {0, *task.labels}
            assert 0.02 < (sample.mask > 0).mean() < 0.5


def test_the_same_seed_draws_the_same(drawn: tuple[str, list[Sample]]) -> None:
    name, samples = drawn
    again = draw(name)
    assert len(again) == len(samples)
    assert all(same(a, b) for a, b in zip(samples, again, strict=True))


def test_another_seed_draws_others(drawn: tuple[str, list[Sample]]) -> None:
    name, samples = drawn
    other = draw(name, seed=1)
    for before, after in zip(samples, other, strict=True):
        assert not np.array_equal(before.image, after.image)


def test_a_patient_does_not_depend_on_how_many_there_are(drawn: tuple[str, list[Sample]]) -> None:
    name, samples = drawn
    fewer = draw(name, patients_source=1, patients_target=1)
    more = draw(name, patients_source=3, patients_target=2)
    for domain in ("source", "target", "paired"):
        known = of(samples, domain)
        for other in (fewer, more):
            shared = known.keys() & of(other, domain).keys()
            assert len(shared) >= 3
            assert all(same(known[i], of(other, domain)[i]) for i in shared)


def test_patients_differ_and_neighbouring_slices_are_alike(drawn: tuple[str, list[Sample]]) -> None:
    name, _ = drawn
    samples = draw(name, slices=8, patients_target=3, patients_source=1)
    volumes: dict[str, list[Any]] = {}
    for sample in of(samples, "target").values():
        volumes.setdefault(sample.slice.case_id, []).append(np.asarray(sample.mask))

    def disagreement(a: Any, b: Any) -> float:
        return float((a != b).sum() / ((a > 0) | (b > 0)).sum())

    within = [disagreement(a, b) for v in volumes.values() for a, b in pairwise(v)]
    across = [disagreement(a, b) for x, y in pairwise(volumes.values()) for a, b in zip(x, y, strict=True)]
    assert min(within) > 0.0
    assert min(across) > 0.2
    assert np.mean(within) < 0.7 * np.mean(across)


def test_paired_truth_lies_on_the_source_masks() -> None:
    samples = draw("phantom-lumbar")
    source, paired = of(samples, "source"), of(samples, "paired")
    assert list(source) == list(paired)
    for slice_id, truth in paired.items():
        bone = np.asarray(source[slice_id].mask) == 1
        # The truth's window: 0 HU is at a quarter of the scale, and bone lies far above soft tissue.
        assert truth.image[bone].mean() > 1.6 * truth.image[~bone & (truth.image > 40)].mean()
        shifted = np.roll(bone, 6, axis=0)
        assert truth.image[bone].mean() > 1.15 * truth.image[shifted].mean()
        assert truth.slice.patient_id == source[slice_id].slice.patient_id


def test_the_vendors_of_the_breast_see_one_anatomy() -> None:
    samples = draw("phantom-breast")
    source, paired = of(samples, "source"), of(samples, "paired")
    assert list(source) == list(paired)
    for slice_id, truth in paired.items():
        image, mask = source[slice_id].image.astype(float), np.asarray(source[slice_id].mask)
        assert np.corrcoef(image.ravel(), truth.image.astype(float).ravel())[0, 1] > 0.8
        for view in (image, truth.image.astype(float)):
            assert view[mask == 2].mean() > 1.2 * view[mask == 1].mean()


def test_slices_know_their_volume(drawn: tuple[str, list[Sample]]) -> None:
    name, samples = drawn
    for sample in samples:
        record = sample.slice
        assert record.split == ""
        assert record.spacing is not None
        assert record.thickness is not None
        assert record.thickness > 0
        hounsfield = name == "phantom-lumbar" and sample.domain != "source"
        assert record.measure_unit == ("HU" if hounsfield else "")
        assert (record.window is not None) == hounsfield
    indices = [s.slice.index for s in of(samples, "source").values()]
    assert indices == [0, 1, 2, 0, 1, 2]


def test_size_changes_the_grid_and_not_the_patient(drawn: tuple[str, list[Sample]]) -> None:
    name, samples = drawn
    larger = of(draw(name, size=256, patients_source=1, patients_target=1), "target")
    for slice_id, big in larger.items():
        small = of(samples, "target")[slice_id]
        assert big.image.shape == (256, 256)
        assert small.slice.spacing is not None
        assert big.slice.spacing == tuple(mm / 4 for mm in small.slice.spacing)
        coarse = np.asarray(big.mask)[2::4, 2::4] > 0
        fine = np.asarray(small.mask) > 0
        assert 2 * (coarse & fine).sum() / (coarse.sum() + fine.sum()) > 0.85


def test_an_odd_size_and_a_single_slice_work() -> None:
    for name in NAMES:
        samples = draw(name, size=97, slices=1, patients_source=1, patients_target=1)
        assert [s.image.shape for s in samples] == [(97, 97)] * 3


@pytest.mark.parametrize("wrong", [{"size": 8}, {"slices": 0}, {"patients_source": 0}, {"seed": "x"}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParamError, match=next(iter(wrong))):
        draw("phantom-lumbar", **wrong)


def test_the_specs_are_light() -> None:
    code = (
        "import sys; import mtbench_plugins.datasets.phantoms as p; list(p.mtbench_datasets());"
        "heavy = {'torch', 'monai', 'scipy'} & sys.modules.keys(); assert not heavy, heavy;"
        "import mtbench_plugins.datasets.phantoms.dataset; assert not {'torch', 'monai'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


@pytest.mark.slow
def test_one_seed_of_the_benchmark_holds() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "phantoms.py"
    command = [sys.executable, str(script), "--seeds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| phantom-") == 3


def test_misalignment_shifts_the_truth_of_training_patients_by_whole_pixels() -> None:
    wanted = {"patients_source": 9, "patients_target": 3}
    aligned = of(draw("phantom-lumbar", misalignment=0, **wanted), "paired")
    shifted = of(draw("phantom-lumbar", misalignment=2, **wanted), "paired")
    directions = {}
    for slice_id, sample in shifted.items():
        true, image = aligned[slice_id].image, sample.image
        # What the image shows away from its edge is where the truth was before the shift.
        places = [(down, right) for down in range(-3, 4) for right in range(-3, 4)]
        match = [p for p in places if np.array_equal(np.roll(true, p, (0, 1))[3:-3, 3:-3], image[3:-3, 3:-3])]
        assert match in ([(0, 0)], [(2, 0)], [(-2, 0)], [(0, 2)], [(0, -2)])
        assert (match == [(0, 0)]) == (sample.slice.split != "train")
        assert directions.setdefault(sample.slice.patient_id, match) == match
    assert len({place for (place,) in directions.values()}) > 2


def test_misalignment_sets_one_split_and_changes_nothing_else() -> None:
    wanted = {"patients_source": 10, "patients_target": 4}
    plain, aligned, shifted = (draw("phantom-breast", misalignment=k, **wanted) for k in (None, 0, 3))
    splits = ["train"] * 7 + ["validation"] + ["test"] * 2
    for a, b, c in zip(plain, aligned, shifted, strict=True):
        assert np.array_equal(a.image, b.image)
        assert replace(a.slice, split=b.slice.split) == b.slice == c.slice
        assert b.domain == "paired" or np.array_equal(b.image, c.image)
        if b.domain == "source":
            assert b.slice.split == splits[int(b.slice.patient_id[-4:])]
    assert {s.slice.split for s in aligned if s.domain == "target"} == {"train", "test"}
