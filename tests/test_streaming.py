"""Volumes are read and scored block by block: the same values as from memory, in little memory."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

import mtbench
from mtbench import Context, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.errors import DataError
from mtbench.formats import Stored, open_volume, read, read_mask, stored
from mtbench.formats.limits import VOLUME
from mtbench.memory import memory, require_memory
from mtbench.rows import OnDisk
from mtbench.scoring import reading
from mtbench_plugins.metrics.lesion_scores import LesionScore
from mtbench_plugins.metrics.overlap import Dice
from mtbench_plugins.metrics.paired_metrics import Mae, MsSsim, Psnr, Ssim
from mtbench_plugins.metrics.structure_changes import Changes
from mtbench_plugins.metrics.surface_distances import Hausdorff95, SurfaceDice

SHAPE = (7, 6, 9)
PLANES = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
HOW: dict[str, Any] = {"plane": "axial", "window": (-1000, 1000), "device": "cpu", "paired": True}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / "store"))


def values(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-900, 900, shape)


def towards(axes: str) -> np.ndarray:
    """The affine of a file whose axes point to these directions, with a spacing of 1, 2 and 3 mm."""
    turn = ornt_transform(axcodes2ornt(tuple("RAS")), axcodes2ornt(tuple(axes)))
    return np.asarray(np.diag([1.0, 2.0, 3.0, 1.0]) @ inv_ornt_aff(turn, (1, 1, 1)))


def save(
    path: Path, array: np.ndarray, axes: str = "RAS", slope: tuple[float, float] | None = None, order: str = "<"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = nibabel.Nifti1Header(endianness=order)
    kind.set_data_dtype(array.dtype)
    image = nibabel.Nifti1Image(array, towards(axes), kind)
    if slope:
        image.header.set_slope_inter(*slope)
        image.header.set_data_dtype(array.dtype)
    nibabel.save(image, path)
    return path


def metaimage(path: Path, array: np.ndarray, **more: str) -> Path:
    """The file's axes as in the array, in the byte order of its dtype."""
    big = array.dtype.byteorder == ">"
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(big),
        "DimSize": " ".join(map(str, array.shape)),
        **more,
        "ElementType": {"i2": "MET_SHORT", "f4": "MET_FLOAT"}[array.dtype.str[1:]],
        "ElementDataFile": "LOCAL",
    }
    text = "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_bytes(text.encode() + array.tobytes(order="F"))
    return path


class TestStored:
    @pytest.mark.parametrize("plane", PLANES)
    @pytest.mark.parametrize(
        ("axes", "kind", "order", "slope"),
        [
            ("RAS", np.int16, "<", None),
            ("LPS", np.float32, "<", None),
            ("PIR", np.int16, ">", None),
            ("SLA", np.float64, ">", None),
            ("IRP", np.int16, "<", (0.37, -20.0)),
            ("ASL", np.uint8, ">", (3.0, 1000.0)),
        ],
    )
    def test_a_range_of_slices_is_that_of_the_library(
        self, tmp_path: Path, plane: Any, axes: str, kind: Any, order: str, slope: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = save(tmp_path / "a.nii", values().astype(kind), axes, slope, order)
        canonical = nibabel.as_closest_canonical(nibabel.load(path)).get_fdata(dtype=np.float32)
        expected = canonical.transpose(PLANES[plane])[:, ::-1, ::-1]
        for slab in (1, 100, stored._SLAB):
            monkeypatch.setattr(stored, "_SLAB", slab)
            stack = open_volume(path).slices(plane)
            assert isinstance(stack, Stored)
            assert stack.shape == expected.shape
            for start, stop in ((0, len(expected)), (2, 5), (4, 5), (5, 100), (3, 3)):
                np.testing.assert_array_equal(stack[start:stop], expected[start:stop])
            np.testing.assert_array_equal(stack[1:4, 2:, ::-1], expected[1:4, 2:, ::-1])
            np.testing.assert_array_equal(np.asarray(stack), expected)
        whole = read(path)
        np.testing.assert_array_equal(whole.slices(plane), expected)
        assert np.asarray(stack).dtype == whole.array.dtype

    @pytest.mark.parametrize("kind", ["<i2", ">f4"])
    @pytest.mark.parametrize("more", [{}, {"HeaderSize": "-1"}])
    def test_metaimages_too(self, tmp_path: Path, kind: str, more: dict[str, str]) -> None:
        array = values().astype(kind)
        path = metaimage(tmp_path / "a.mha", array, **more)
        stack = open_volume(path).slices("axial")
        assert isinstance(stack, Stored)
        # Its axes point left and posterior; upright slices run the same way.
        np.testing.assert_array_equal(stack[3:5], array.transpose(2, 1, 0)[3:5])
        np.testing.assert_array_equal(read(path).slices("axial"), array.transpose(2, 1, 0))

    @pytest.mark.parametrize("detached", [False, True])
    @pytest.mark.parametrize("oriented", [False, True])
    @pytest.mark.parametrize("kind", ["<i2", ">f4"])
    def test_nrrd_too(self, tmp_path: Path, kind: str, oriented: bool, detached: bool) -> None:
        array = values().astype(kind)
        header: dict[str, Any] = {"encoding": "raw", "endian": "big" if kind[0] == ">" else "little"}
        if oriented:
            header |= {"space": "left-posterior-superior", "space directions": np.diag([1.0, 2.0, 3.0])}
        path = tmp_path / ("a.nrrd" if not detached else "a.nhdr")
        nrrd.write(str(path), array, header)
        if detached:
            path = path.rename(tmp_path / "a.nrrd")
        stack = open_volume(path).slices("axial" if oriented else None)
        assert isinstance(stack, Stored)
        np.testing.assert_array_equal(stack[3:5], array.transpose(2, 1, 0)[3:5])
        np.testing.assert_array_equal(read(path).slices("axial" if oriented else None), array.transpose(2, 1, 0))

    def test_other_nrrd_files_are_read_as_a_whole(self, tmp_path: Path) -> None:
        array = np.stack([values()] * 3).astype(np.uint8)
        kinds = ["RGB-color", "domain", "domain", "domain"]
        nrrd.write(str(tmp_path / "a.nrrd"), array, {"encoding": "raw", "kinds": kinds})
        nrrd.write(str(tmp_path / "b.nrrd"), array[0], {"encoding": "gzip"})
        for name in "ab":
            stack = open_volume(tmp_path / f"{name}.nrrd").slices()
            assert isinstance(stack, np.ndarray)
            np.testing.assert_array_equal(stack, array[0].transpose(2, 1, 0))

    @pytest.mark.parametrize("kind", ["nii", "mha", "nrrd"])
    def test_the_limit_of_values_is_for_those_in_memory(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        array = values().astype("<i2")
        path = tmp_path / f"a.{kind}"
        if kind == "nii":
            save(path, array, "LPS")
        elif kind == "mha":
            metaimage(path, array)
        else:
            nrrd.write(str(path), array, {"encoding": "raw"})
        monkeypatch.setenv(VOLUME, "100")
        stack = open_volume(path).slices(None if kind == "nrrd" else "axial")
        np.testing.assert_array_equal(stack[3:5], array.transpose(2, 1, 0)[3:5])
        with pytest.raises(DataError, match=r"7 x 6 x 9 = 378 values\. .*at most 100"):
            read(path)

    def test_the_geometry_needs_no_values(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a.nii", values().astype(np.int16), "PIR")
        lazy, whole = open_volume(path), read(path)
        np.testing.assert_array_equal(np.asarray(lazy.affine), np.asarray(whole.affine))
        assert (lazy.file_shape, lazy.in_plane("sagittal")) == (whole.file_shape, whole.in_plane("sagittal"))

    def test_a_compressed_file_is_in_memory_with_the_same_values(self, tmp_path: Path) -> None:
        packed = open_volume(save(tmp_path / "a.nii.gz", values().astype(np.int16), "LAI", (2.0, 1.0)))
        plain = open_volume(save(tmp_path / "a.nii", values().astype(np.int16), "LAI", (2.0, 1.0)))
        np.testing.assert_array_equal(packed.slices("axial")[2:5], plain.slices("axial")[2:5])

    def test_labels_are_whole_numbers_in_every_block(self, tmp_path: Path) -> None:
        labels = np.abs(values()) % 5
        path = save(tmp_path / "a.nii", labels.astype(np.float32))
        np.testing.assert_array_equal(open_volume(path, label_map=True).array[2:4], labels[2:4])
        assert open_volume(path, label_map=True).array[2:4].dtype == read_mask(path).array.dtype
        labels = labels.astype(np.float32)
        labels[5, 0, 0] = 1.5
        volume = open_volume(save(tmp_path / "a.nii", labels), label_map=True)
        assert volume.array[:5].shape[0] == 5
        with pytest.raises(DataError, match=r"a\.nii: this mask holds values that are not integers"):
            volume.array[3:6]

    def test_values_that_are_not_finite_are_counted_in_the_whole_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stored, "_SLAB", 50)
        array = values().astype(np.float32)
        array[3, 3, 1] = np.nan
        array[0, 0, 7:] = np.inf
        volume = open_volume(save(tmp_path / "a.nii", array))
        assert volume.slices("axial")[2:7].shape[0] == 5
        with pytest.raises(DataError, match=r"a\.nii: 3 of its 378 values are NaN or infinite"):
            volume.slices("axial")[:2]

    def test_a_file_that_becomes_shorter_is_named(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a.nii", values().astype(np.int16))
        stack = open_volume(path).slices("axial")
        os.truncate(path, path.stat().st_size - 10)
        assert stack[:8].shape[0] == 8
        with pytest.raises(DataError, match=r"a\.nii: the file became shorter"):
            stack[8:9]
        with pytest.raises(DataError, match=r"a\.nii: the file is truncated: 746 of 756 bytes"):
            open_volume(path)


class TestScores:
    @pytest.mark.parametrize("block", [1, 3 * 20 * 24, 7 * 20 * 24 + 5])
    def test_neither_block_nor_file_changes_a_score(
        self, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "_BLOCK", block)
        shape = (24, 20, 17)
        truth, image = values(shape), values(shape, 1)
        true, found = (np.abs(values(shape, seed)) % 2 for seed in (2, 3))
        for name, array in (("truth", truth), ("image", image), ("true", true), ("found", found)):
            kind = np.int16 if name in ("truth", "image") else np.uint8
            save(tmp_path / name / "a.nii", array.astype(kind), "LPS", order=">")
            save(tmp_path / f"{name}-packed" / "a.nii.gz", array.astype(kind), "LPS")
        rows, packed = (
            mtbench.score(
                tmp_path / f"image{ending}",
                tmp_path / f"truth{ending}",
                masks=tmp_path / f"true{ending}",
                predicted=tmp_path / f"found{ending}",
                metrics=["mae", "psnr", "ssim", "dice"],
                **HOW,
            )
            for ending in ("", "-packed")
        )
        assert [row["value"] for row in rows] == [row["value"] for row in packed]
        got = {row["metric"]: row["value"] for row in rows}
        errors = (image - truth).astype(np.float64)
        assert got["mae"] == pytest.approx(np.abs(errors).mean(), abs=0.02)
        psnr = 10 * np.log10(2000**2 / np.square(errors).mean((0, 1)))
        assert got["psnr"] == pytest.approx(psnr.mean(), abs=1e-3)
        sums = [2 * (true & found).sum((0, 1)), true.sum((0, 1)) + found.sum((0, 1))]
        assert got["dice"] == pytest.approx((sums[0] / sums[1]).mean(), abs=1e-5)

    def test_a_file_with_a_bad_last_block_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "_BLOCK", 42)
        good, bad = values().astype(np.float32), values().astype(np.float32)
        bad[0, 0, 8] = np.nan
        for name, array in (("a", bad), ("b", good), ("c", bad), ("d", good)):
            save(tmp_path / "all" / f"{name}.nii", array)
        save(tmp_path / "good" / "b.nii", good)
        save(tmp_path / "good" / "d.nii", good)
        with pytest.raises(DataError, match=r"a\.nii: 1 of its 378 values are NaN .*2 of 4 files cannot be read"):
            mtbench.score(tmp_path / "all", tmp_path / "good", metrics=["mae"], **HOW)
        row = mtbench.score(tmp_path / "all", tmp_path / "good", metrics=["mae"], skip_unreadable=True, **HOW)[0]
        assert (row["value"], row["n_translated"], row["unreadable"]) == (0, 18, 2)

    def test_the_range_in_the_message_is_that_of_the_whole_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "_BLOCK", 42)
        array = np.zeros(SHAPE, np.float32)
        array[0, 0, 4], array[0, 0, 6] = 7, -2
        save(tmp_path / "a" / "a.nii", array)
        with pytest.raises(DataError, match=r"a\.nii: its values range from -2 to 7"):
            mtbench.score(tmp_path / "a", tmp_path / "a", metrics=["mae"], **{**HOW, "window": None})


@pytest.mark.slow
@pytest.mark.parametrize("plane", PLANES)
def test_memory_does_not_grow_with_the_volume(tmp_path: Path, plane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from streaming import measure

    peak = measure(tmp_path, 256, 1024, plane, ["mae", "psnr", "dice"])
    assert peak.above < 300 << 20, f"{peak.above >> 20} MiB"
    # The window is stored in 16 bits, in steps of 0.03.
    assert peak.scores["mae"] == pytest.approx(3, abs=0.02)
    assert peak.scores["psnr"] == pytest.approx(20 * np.log10(2000 / 3), abs=0.05)
    assert peak.scores["dice"] == pytest.approx(1)


def huge(side: int = 1 << 20, dtype: Any = np.uint8) -> MetricInputs:
    """Two slices of a volume that no memory holds: one value stands for all."""
    task = Task("toy", labels={1: "bone"}, paired=True)
    slices = tuple(Slice(f"a/{i}", "a", "a", i, (1.0, 1.0), 1.0, (0.0, 100.0), "HU") for i in range(2))
    array = np.broadcast_to(np.zeros((), dtype), (2, side, side))
    images = ImageSet(array, slices, None, task, "source", "test")
    return MetricInputs(task, images, paired=images, predicted_masks=array, reference_masks=array)


class TestMemory:
    @pytest.mark.parametrize(
        "metric",
        [
            Hausdorff95(per="volume"),
            SurfaceDice(per="patient"),
            Ssim(per="volume"),
            MsSsim(per="volume"),
            Mae(preset="synthrad2025-image"),
            LesionScore(),
            Changes(),
        ],
        ids=lambda metric: type(metric).__name__,
    )
    def test_metrics_that_hold_a_volume_refuse_one_that_memory_does_not(self, metric: Any) -> None:
        if memory() is None:
            pytest.skip("this system does not say how much memory is free")
        with pytest.raises(
            DataError,
            match=r"a volume of 2 slices of 1048576 x 1048576: this needs about [\d,.]+ GiB .*Use per=slice, or free",
        ):
            metric.compute(huge(), Context())

    @pytest.mark.parametrize("kind", [Mae, Psnr, Dice])
    def test_errors_and_overlap_of_a_volume_are_added_up_slice_by_slice(self, tmp_path: Path, kind: Any) -> None:
        rng = np.random.default_rng(0)
        slices = tuple(Slice(f"a/{i}", "a", "a", i, (1.0, 1.0), 1.0, (0.0, 100.0)) for i in range(128))
        task = Task("toy", labels={1: "bone"}, paired=True)
        arrays = {}
        for name in ("image", "truth", "found", "true"):
            array = rng.integers(0, 2 if name in ("found", "true") else 256, (128, 64, 64), np.uint8)
            np.save(tmp_path / f"{name}.npy", array)
            arrays[name] = OnDisk(tmp_path / f"{name}.npy").images
        image, truth = (ImageSet(arrays[n], slices, None, task, "source", "test") for n in ("image", "truth"))
        inputs = MetricInputs(
            task, image, paired=truth, predicted_masks=arrays["found"], reference_masks=arrays["true"]
        )
        kind(per="volume").compute(inputs, Context())
        tracemalloc.start()
        result = kind(per="volume").compute(inputs, Context())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # One float64 volume has 4 MiB.
        assert peak < 2 << 20
        value = (result if isinstance(result, Score) else result[0]).value
        whole = {name: np.asarray(array).astype(np.float64) for name, array in arrays.items()}
        errors = (whole["image"] - whole["truth"]) * 100 / 255
        expected = {
            Mae: np.abs(errors).mean(),
            Psnr: 10 * np.log10(100**2 / np.square(errors).mean()),
            Dice: 2 * (whole["found"] * whole["true"]).sum() / (whole["found"] + whole["true"]).sum(),
        }
        assert value == pytest.approx(expected[kind], rel=1e-6)

    def test_a_compressed_file_too_large_for_memory_is_refused_before_the_work(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(VOLUME, str(2**41))
        header = nibabel.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((16384, 16384, 4096))
        header["magic"], header["vox_offset"] = b"n+1", 352
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4)))
        with pytest.raises(
            DataError,
            match=r"a\.nii\.gz: this needs about 6,144\.0 GiB of memory, and [\d,.]+ [GM]iB is free.*decompress",
        ):
            open_volume(tmp_path / "a.nii.gz")

    def test_what_is_free_is_less_than_the_machine_has(self) -> None:
        there = memory()
        if there is None:
            pytest.skip("this system does not say how much memory is free")
        assert 0 < there.free <= there.total <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        require_memory(there.free // 2, "here", remedy="None")
        with pytest.raises(DataError, match=r"here: this needs about .* of memory, and .* is free\. .*Buy more"):
            require_memory(2 * there.total, "here", remedy="Buy more")
