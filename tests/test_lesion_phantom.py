"""The lesion phantom: sizes in mm, prevalence by training set, and edits of the anatomy before acquisition."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from mtbench import Context, Sample
from mtbench.compute.seeds import generator
from mtbench.errors import DataError, ParamError
from mtbench.registry.discovery import discover
from mtbench_plugins.datasets.phantoms.brain import DEPTH, FIELD_OF_VIEW, brain_anatomy
from mtbench_plugins.datasets.phantoms.brain_scanners import flair, t1
from mtbench_plugins.datasets.phantoms.lesions import LESION, draw_lesions, lesion_mask, with_lesions

SMALL = {"size": 48, "patients_source": 8, "patients_target": 8, "slices": 6}
PATIENT = (0, "source", 0)


def create(**changes: Any) -> Any:
    registered = discover(third_party=False).get("dataset", "phantom-lesions")
    return registered.create(registered.complete(SMALL | changes))


def draw(**changes: Any) -> list[Sample]:
    return list(create(**changes).prepare(None, Context()))


def diseased(samples: list[Sample], domain: str) -> dict[str, dict[str, bool]]:
    """Whether each patient has a labelled lesion, by split."""
    found: dict[str, dict[str, bool]] = {}
    for sample in samples:
        if sample.domain == domain:
            patients = found.setdefault(sample.slice.split, {})
            any_here = bool((np.asarray(sample.mask) == LESION).any())
            patients[sample.slice.patient_id] = patients.get(sample.slice.patient_id, False) or any_here
    return found


@pytest.fixture(scope="module")
def drawn() -> list[Sample]:
    return draw()


# -- geometry


def test_each_lesion_has_its_volume_and_lies_alone_in_the_brain() -> None:
    for number in range(3):
        names = (0, "source", number)
        plain = brain_anatomy(256, 12, *names)
        anatomy = with_lesions(plain, draw_lesions(*names))
        mm3 = anatomy.slab.spacing**2 * anatomy.slab.thickness
        assert (anatomy.slab.spacing, anatomy.slab.thickness) == (pytest.approx(220 / 256), pytest.approx(3.0))
        labelled, count = ndimage.label(anatomy.labels == LESION, np.ones((3, 3, 3)))
        volumes = sorted(np.bincount(labelled.ravel())[1:] * mm3)
        # Spheres of 5, 10 and 20 mm; a small one covers few voxels.
        wanted = [math.pi / 6 * d**3 for d in (5, 10, 20)]
        assert count == 3
        assert volumes == [pytest.approx(mm, rel=part) for mm, part in zip(wanted, (0.45, 0.12, 0.04), strict=True)]
        assert set(plain.labels[anatomy.labels == LESION]) == {1}, "a lesion replaces brain, never a ventricle"


def test_lesions_lie_outside_the_fissure_and_are_dark_in_t1() -> None:
    for number in range(12):
        names = (0, "source", number)
        plain = brain_anatomy(64, 12, *names)
        lesions = draw_lesions(*names)
        without, shown = (t1(with_lesions(plain, present), generator("dark", number)) for present in ((), lesions))
        for lesion in lesions:
            _, down, across = lesion.centre
            # The fissure lies in the middle, more than 30 mm before and behind the centre of the head.
            in_reach = abs(down - FIELD_OF_VIEW / 2) + max(lesion.radii) > 30.0
            assert not in_reach or abs(across - FIELD_OF_VIEW / 2) > max(lesion.radii) + 5.0
            inside = lesion_mask(plain, lesion)
            if inside.any():
                assert shown[inside].mean() < without[inside].mean() - 0.06


def test_the_extent_of_a_lesion_is_that_of_its_ellipsoid() -> None:
    anatomy = brain_anatomy(256, 12, *PATIENT)
    for lesion in draw_lesions(*PATIENT):
        assert lesion.diameter in (pytest.approx(5), pytest.approx(10), pytest.approx(20))
        assert max(lesion.radii) / min(lesion.radii) < 1.5
        places = np.argwhere(lesion_mask(anatomy, lesion))
        slab = anatomy.slab
        middle = places.mean(axis=0)
        mm = (
            (middle[0] + 0.5) * slab.thickness - DEPTH / 2,
            (middle[1] + 0.5) * slab.spacing,
            (middle[2] + 0.5) * slab.spacing,
        )
        assert np.allclose(mm, lesion.centre, atol=1.6)
        across = (np.ptp(places[:, 1:], axis=0) + 1) * slab.spacing
        assert np.all(across < 2 * max(lesion.radii) + 1.5 * slab.spacing)
        assert np.all(across > 2 * min(lesion.radii) - 2.5 * slab.spacing)
        assert abs(lesion.centre[0]) + lesion.radii[0] <= DEPTH / 2


def test_size_and_slices_change_the_grid_and_not_the_lesions() -> None:
    few, many = (with_lesions(brain_anatomy(*grid, *PATIENT), draw_lesions(*PATIENT)) for grid in ((64, 12), (256, 36)))
    # The middle one of three thin slices is at the place of a thick one.
    coarse, fine = few.labels == LESION, many.labels[1::3, 2::4, 2::4] == LESION
    assert 2 * (coarse & fine).sum() / (coarse.sum() + fine.sum()) > 0.85


def test_lesions_beside_others_keep_apart_and_no_room_is_an_error() -> None:
    known = draw_lesions(*PATIENT)
    more = draw_lesions(*PATIENT, "edit", besides=known)
    for lesion in more:
        for other in known:
            gap = math.dist(lesion.centre, other.centre) - max(lesion.radii) - max(other.radii)
            assert gap > 5.0
    with pytest.raises(DataError, match=r"no room for another lesion of 60 mm.*fewer or smaller"):
        draw_lesions(*PATIENT, diameters=(60.0,))


# -- edits before acquisition


@pytest.mark.parametrize(("scanner", "brighter"), [(flair, True), (t1, False)])
def test_an_edit_changes_the_image_at_the_lesion_only(scanner: Any, brighter: bool) -> None:
    plain = brain_anatomy(128, 12, *PATIENT)
    lesions = draw_lesions(*PATIENT)
    full, edited = with_lesions(plain, lesions), with_lesions(with_lesions(plain, lesions), lesions[1:])
    with_it, without = (scanner(anatomy, generator("scan")) for anatomy in (full, edited))
    place = lesion_mask(plain, lesions[0])
    change = (with_it - without)[place]
    assert (change.mean() > 0.1) if brighter else (change.mean() < -0.1)
    # The point spread reaches a few pixels beyond the lesion, and nothing reaches further.
    near = ndimage.binary_dilation(place, ndimage.generate_binary_structure(3, 1), iterations=5)
    assert np.array_equal(with_it[~near], without[~near])
    assert not edited.labels[place].tolist().count(LESION)
    assert np.array_equal(edited.labels[~place], full.labels[~place])


def test_removing_all_lesions_gives_the_patient_without_lesions() -> None:
    plain = brain_anatomy(64, 6, *PATIENT)
    cleared = with_lesions(with_lesions(plain, draw_lesions(*PATIENT)), ())
    assert np.array_equal(cleared.labels, plain.labels)
    assert np.array_equal(t1(cleared, generator("scan")), t1(plain, generator("scan")))


# -- the data set


def test_both_contrasts_show_one_anatomy(drawn: list[Sample]) -> None:
    truths = {s.slice.slice_id: s.image.astype(float) for s in drawn if s.domain == "paired"}
    sources = [s for s in drawn if s.domain == "source"]
    assert [s.slice.slice_id for s in sources] == list(truths)
    assert max((np.asarray(s.mask) == LESION).sum() for s in sources) > 8
    for sample in sources:
        mask, seen, truth = np.asarray(sample.mask), sample.image.astype(float), truths[sample.slice.slice_id]
        healthy = seen[mask == 1].mean(), truth[mask == 1].mean()
        if (mask == LESION).sum() > 4:
            assert seen[mask == LESION].mean() > 1.25 * healthy[0]
            assert truth[mask == LESION].mean() < 0.85 * healthy[1]
        if (mask == 2).sum() > 12:
            assert seen[mask == 2].mean() < 0.7 * healthy[0]
            assert truth[mask == 2].mean() < 0.7 * healthy[1]


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.3, 8), (0.5, 13), (1.0, 26)])
def test_prevalence_counts_training_patients_exactly(share: float, count: int) -> None:
    phantom = create(patients_source=40, patients_target=40, prevalence_target=share)
    for domain, expected in (("source", 13), ("target", count)):
        assert sum(phantom.has_lesions(domain, n) for n in range(26)) == expected
        # 4 validation and 10 test patients: half of them, always.
        assert sum(phantom.has_lesions(domain, n) for n in range(26, 30)) == 2
        assert sum(phantom.has_lesions(domain, n) for n in range(30, 40)) == 5


def test_masks_and_splits_follow_the_prevalence(drawn: list[Sample]) -> None:
    none = draw(prevalence_target=0.0, patients_source=1)
    every = draw(prevalence_target=1.0, patients_source=1)
    for samples, train in ((drawn, 3), (none, 0), (every, 5)):
        target = diseased(samples, "target")
        assert {split: len(patients) for split, patients in target.items()} == {"train": 5, "validation": 1, "test": 2}
        assert [sum(target[split].values()) for split in ("train", "validation", "test")] == [train, 1, 1]
    # Validation and test patients are the same slices at every prevalence, and so is a training patient with lesions.
    for before, after in zip(none, every, strict=True):
        if before.domain == "target" and before.slice.split != "train":
            assert np.array_equal(before.image, after.image)
            assert np.array_equal(before.mask, after.mask)
    half = {s.slice.slice_id: s for s in drawn if s.domain == "target"}
    with_lesion = [s for s in every if s.domain == "target" and s.slice.slice_id in half]
    same = [np.array_equal(s.image, half[s.slice.slice_id].image) for s in with_lesion]
    assert 0 < sum(same) < len(same)


def test_the_same_seed_draws_the_same_and_a_patient_ignores_the_others(drawn: list[Sample]) -> None:
    again, other = draw(patients_target=1), draw(patients_target=1, seed=1)
    sources = {s.slice.slice_id: s for s in drawn if s.domain == "source"}
    for sample in again:
        if sample.domain == "source":
            assert np.array_equal(sample.image, sources[sample.slice.slice_id].image)
            assert np.array_equal(sample.mask, sources[sample.slice.slice_id].mask)
    assert not np.array_equal(other[0].image, again[0].image)


@pytest.mark.parametrize(
    "wrong",
    [{"prevalence_target": 50}, {"prevalence_source": -0.1}, {"prevalence_target": "half"}, {"misalignment": 1}],
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParamError, match=next(iter(wrong))):
        create(**wrong)


# -- the benchmark's yardstick


@pytest.mark.slow
def test_the_yardstick_sees_what_is_there_whatever_the_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    yardstick = importlib.import_module("lesion_yardstick")
    scene = yardstick.Scene(1200)
    real, sham = scene.places[:3], scene.places[3:]
    for shown, in_real, in_sham in ((scene.real, 1, 0), (scene.without, 0, 0), (scene.full, 1, 1)):
        for scale, offset in ((1.0, 0.0), (0.6, 40.0)):
            images = scene.in_scale(scale * shown + offset)
            for places, expected in ((real, in_real), (sham, in_sham)):
                seen = [index for place in places if (index := scene.index(place, images)) is not None]
                assert seen
                assert seen == [pytest.approx(expected, abs=0.02)] * len(seen)


@pytest.mark.slow
def test_the_benchmark_counts_the_edits_of_a_perfect_segmenter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    lesions = importlib.import_module("lesions")
    patient = lesions.Patient.of(1000)
    every = (*patient.lesions, *patient.sham)
    mask = patient.anatomy(patient.lesions).labels
    volumes = {"unedited": patient.lesions, "added": every, "removed": ()}
    seen = {name: (patient.anatomy(shown).labels == LESION).astype(np.float32) for name, shown in volumes.items()}
    listed = {name: lesions.alarms(probability, mask, 0.5) for name, probability in seen.items()}
    counts = lesions.count(patient, listed, 0.0)
    assert len(counts.found) == 6
    assert all(counts.found.values())
    assert counts.false == {"added": 0, "removed": 0}
    # A lesion that nobody edited is a false alarm, and an edit below the smallest diameter is not found.
    wrong = lesions.count(patient, listed | {"unedited": listed["added"]}, 7.0)
    assert wrong.false == {"added": 2, "removed": 0}
    assert [d for (_, d), hit in wrong.found.items() if not hit] == [5.0, 5.0]
