"""The dataset ``folder``: what it finds, how it prepares, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from mtbench.compute.context import Context
from mtbench.data import Sample, Task
from mtbench.errors import DataError, MtbenchError, ParamError
from mtbench.formats import put_back, read
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.registry.params import complete
from mtbench.store.hashes import Hashes
from mtbench_plugins.datasets.folder import mtbench_datasets
from mtbench_plugins.datasets.folder.cases import percentiles_of
from mtbench_plugins.datasets.folder.dataset import Folder

SPEC = next(iter(mtbench_datasets()))
EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
REAL = os.environ.get("MTBENCH_TEST_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="MTBENCH_TEST_DATA is not set")
PNG = {"images": "{}/images/*.png", "masks": "{}/masks/*.png", "patient": r"(\d+)_\d+\.png"}


def png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def side(name: str, /, **changes: Any) -> dict[str, Any]:
    """The parameters of one domain of the PNG layout below."""
    keys = {key: text.format(name) for key, text in PNG.items()} | {"normalise": "none"} | changes
    return {key: value for key, value in keys.items() if value is not None}


def build(root: Path) -> dict[str, Any]:
    """Two domains of two patients with two 12 x 10 slices each; the parameters that read them."""
    rng = np.random.default_rng(0)
    for domain in ("a", "b"):
        for patient in (1, 2):
            for index in (9, 10):
                name = f"{patient}_{index}.png"
                png(root / domain / "images" / name, rng.integers(0, 256, (12, 10)).astype(np.uint8))
                mask = np.zeros((12, 10), np.uint8)
                mask[2:5, 3:7], mask[7:9, 3:7] = 1, 4
                png(root / domain / "masks" / name, mask)
    return {"source": side("a"), "target": side("b"), "labels": {"organ": 1, "lesion": 4}, "resize": "none"}


def prepare(root: Path, params: Mapping[str, Any]) -> list[Sample]:
    values = complete(params, SPEC.params, "dataset 'folder'")
    return list(Folder(**values).prepare(root, Context()))


def task(params: Mapping[str, Any]) -> Task:
    return SPEC.task(complete(params, SPEC.params, "dataset 'folder'"), "mine")


def of(samples: list[Sample], domain: str) -> list[Sample]:
    return [sample for sample in samples if sample.domain == domain]


class TestPlainImages:
    def test_slices_masks_and_records(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        samples = prepare(tmp_path, params)
        source = of(samples, "source")
        assert [s.slice.slice_id for s in source] == ["1_9", "1_10", "2_9", "2_10"]  # natural order
        assert [s.slice.patient_id for s in source] == ["1", "1", "2", "2"]
        assert [s.slice.index for s in source] == [0, 1, 0, 1]
        assert len(of(samples, "target")) == 4
        first = source[0]
        np.testing.assert_array_equal(first.image, read(tmp_path / "a/images/1_9.png").array)
        assert first.image.dtype == np.uint8
        assert (first.slice.file, first.slice.window) == ("a/images/1_9.png", (0.0, 255.0))
        assert first.mask is not None
        assert (first.mask[3, 4], first.mask[8, 4], first.mask[0, 0]) == (1, 2, 0)  # 4 in the file is label 2

    def test_the_task_follows_the_parameters(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        result = task(params | {"source": side("a", name="GE"), "target": side("b", masks=None)})
        assert (result.source, result.target) == ("GE", "target")
        assert result.labels == {1: "organ", 2: "lesion"}
        assert result.masks == {"source"}

    def test_files_are_exactly_those_that_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        params = build(tmp_path)
        (tmp_path / "table.csv").write_text("file,patient\n1_9.png,1\n1_10.png,1\n2_9.png,2\n2_10.png,2\n")
        (tmp_path / "a/images/notes.txt").write_text("not an image")
        params["source"] = side("a", patient=None, table="table.csv")
        opened: set[str] = set()
        plain = Path.open
        monkeypatch.setattr(Path, "open", lambda p, *a, **k: (opened.add(str(p)), plain(p, *a, **k))[1])
        prepare(tmp_path, params)
        files = list(Folder(**complete(params, SPEC.params, "")).files(tmp_path))
        assert {str(f) for f in files} == {name for name in opened if name.startswith(str(tmp_path))}
        assert len(files) == 17

    def test_percentiles_are_those_of_the_patient(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        params["source"] = side("a", normalise="percentile", percentiles=[10, 90])
        samples = of(prepare(tmp_path, params), "source")
        both = np.stack([read(tmp_path / f"a/images/1_{i}.png").array for i in (9, 10)]).astype(float)
        low, high = np.percentile(both, [10, 90])
        assert samples[0].slice.window == samples[1].slice.window == (pytest.approx(low), pytest.approx(high))
        expected = np.rint(np.clip((both[0] - low) / (high - low), 0, 1) * 255)
        assert np.abs(samples[0].image - expected).max() <= 1

    @pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32"])
    @pytest.mark.parametrize("wanted", [(0.5, 99.5), (0, 100), (33.3, 50)])
    def test_percentiles_are_those_of_numpy(self, kind: str, wanted: tuple[float, float]) -> None:
        drawn = np.random.default_rng(0).normal(100, 40, (7, 9, 11)) * (1000 if kind == "int32" else 1)
        for values in (
            drawn,
            drawn[:, ::-1, ::-1],
            drawn.transpose(2, 0, 1)[::-1],
            drawn[:1, :1, :1],
            drawn[:1, :1, :2],
        ):
            typed = values.clip(0, 255).astype(kind) if kind == "uint8" else values.astype(kind)
            expected = np.percentile(typed.astype(np.float64), wanted)
            np.testing.assert_allclose(percentiles_of(typed, wanted), expected, rtol=1e-12)

    @pytest.mark.parametrize(
        ("normalise", "more", "window"),
        [("image", {}, (100.0, 300.0)), ("window", {"window": [0, 400]}, (0.0, 400.0)), ("none", {}, (0.0, 65535.0))],
    )
    def test_other_ways_to_normalise(
        self, tmp_path: Path, normalise: str, more: dict[str, Any], window: tuple[float, float]
    ) -> None:
        params = build(tmp_path)
        ramp = np.linspace(100, 300, 120).reshape(12, 10).astype(np.uint16)
        for file in (tmp_path / "a/images").iterdir():
            Image.fromarray(ramp).save(file)
        params["source"] = side("a", normalise=normalise, **more)
        sample = of(prepare(tmp_path, params), "source")[0]
        assert sample.slice.window == window
        low, high = window
        np.testing.assert_allclose(sample.image, np.clip((ramp - low) / (high - low), 0, 1) * 255, atol=0.51)

    def test_a_constant_image_is_black(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        for file in (tmp_path / "a/images").iterdir():
            png(file, np.full((12, 10), 77, np.uint8))
        params["source"] = side("a", normalise="percentile")
        assert all(s.image.max() == 0 for s in of(prepare(tmp_path, params), "source"))

    def test_resizing_to_one_size(self, tmp_path: Path) -> None:
        params = build(tmp_path) | {"resize": "plain", "size": 32}
        png(tmp_path / "a/images/1_9.png", np.zeros((50, 70), np.uint8))
        png(tmp_path / "a/masks/1_9.png", np.ones((50, 70), np.uint8))
        for sample in prepare(tmp_path, params):
            assert sample.mask is not None
            assert sample.image.shape == sample.mask.shape == (32, 32)

    def test_every_and_slices_choose_within_a_patient(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        params["source"] = side("a", every=2)
        params["target"] = side("b", slices=[1, 1])
        samples = prepare(tmp_path, params)
        assert [s.slice.slice_id for s in of(samples, "source")] == ["1_9", "2_9"]
        assert [s.slice.slice_id for s in of(samples, "target")] == ["1_10", "2_10"]

    def test_from_below_ranks_instances_over_the_whole_patient(self, tmp_path: Path) -> None:
        params = build(tmp_path) | {"labels": {"body": "nonzero"}}
        for name, ids in {"1_9": (3, 1, 2), "1_10": (3, 1, 0), "2_9": (1, 2, 3), "2_10": (1, 2, 3)}.items():
            mask = np.zeros((12, 10), np.uint8)
            for place, value in enumerate(ids):  # from the top downwards
                mask[4 * place : 4 * place + 3] = value
            png(tmp_path / f"a/masks/{name}.png", mask)
        params["source"] = side("a", from_below=[2, 3])
        rows = [
            np.flatnonzero(s.mask.any(axis=1)).tolist()
            for s in of(prepare(tmp_path, params), "source")
            if s.mask is not None
        ]
        # In 1_10 the lowest instance of the patient is out of sight; the one above it must still be kept.
        assert rows == [[0, 1, 2, 4, 5, 6]] * 4


class TestFinding:
    def test_wildcards_match_masks_to_images(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        for patient in (1, 2):
            for index in (9, 10):
                for kind in ("images", "masks"):
                    old = tmp_path / "a" / kind / f"{patient}_{index}.png"
                    new = tmp_path / f"cases/p{patient}/{index}_{'t2' if kind == 'images' else 'seg'}.png"
                    new.parent.mkdir(parents=True, exist_ok=True)
                    old.rename(new)
        params["source"] = side("a", images="cases/*/*_t2.png", masks="cases/*/*_seg.png", patient="(p[0-9])/")
        source = of(prepare(tmp_path, params), "source")
        assert [s.slice.slice_id for s in source] == ["p1_9", "p1_10", "p2_9", "p2_10"]
        assert {s.slice.patient_id for s in source} == {"p1", "p2"}

    def test_a_folder_is_searched_below(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        (tmp_path / "a/images/deep").mkdir()
        (tmp_path / "a/images/1_9.png").rename(tmp_path / "a/images/deep/1_9.png")
        params["source"] = side("a", images="a/images", masks=None)
        params["target"] = side("b", masks=None)
        assert [s.slice.slice_id for s in of(prepare(tmp_path, params), "source")] == [
            "1_10",
            "deep_1_9",  # of patient 1, so it comes before patient 2
            "2_9",
            "2_10",
        ]

    @pytest.mark.parametrize("separator", [",", ";"])
    def test_patients_splits_and_pixel_size_from_a_table(self, tmp_path: Path, separator: str) -> None:
        params = build(tmp_path) | {"resize": "spacing", "mm": 1.0, "size": 16}
        rows = [("domain", "name", "who", "part", "mm", "machine")]
        for domain, mm in (("a", "2.0"), ("b", "1.0")):
            rows += [
                (domain, f"{p}_{i}.png", f"{domain}{p}", "train" if p == 1 else "val", mm, "Aera")
                for p in (1, 2)
                for i in (9, 10)
            ]
        text = "\n".join(separator.join(row) for row in rows)
        (tmp_path / "t.csv").write_text("\ufeff" + text + "\n", encoding="utf-8")
        for name, domain in (("source", "a"), ("target", "b")):
            table = {
                "file": "t.csv",
                "image": "name",
                "patient": "who",
                "split": "part",
                "mm": "mm",
                "scanner": "machine",
                "where": {"domain": domain},
            }
            params[name] = side(domain, patient=None, table=table)
        samples = prepare(tmp_path, params)
        records = [s.slice for s in of(samples, "source")]
        assert [(r.patient_id, r.split) for r in records] == [
            ("a1", "train"),
            ("a1", "train"),
            ("a2", "validation"),
            ("a2", "validation"),
        ]
        assert records[0].spacing == (1.0, 1.0)
        assert records[0].scanner == "Aera"
        target = of(samples, "target")[0]
        assert target.image[:2].max() == 0  # 12 mm in 16 pixels: two rows of padding
        assert target.image[2:14, 3:13].max() > 0

    def test_the_plugin_is_light(self) -> None:
        code = (
            "import sys, mtbench_plugins.datasets.folder as f; import mtbench_plugins.datasets.folder.dataset;"
            "heavy = {'torch', 'monai', 'nibabel', 'pydicom', 'nrrd', 'tifffile', 'PIL', 'scipy'} & set(sys.modules);"
            "sys.exit(', '.join(sorted(heavy)) or 0)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr

    def test_it_is_registered(self) -> None:
        registry = discover(third_party=False)
        assert registry.get("dataset", "folder").spec.needs_root


def left_out(root: Path, params: Mapping[str, Any], case: str, *words: str) -> list[Sample]:
    """What is prepared without ``case``, the one that is left out, for a reason with these words."""
    context = Context()
    samples = list(Folder(**complete(params, SPEC.params, "dataset 'folder'")).prepare(root, context))
    assert [name for name, _ in context.left_out] == [case]
    for word in words:
        assert word in context.left_out[0][1]
    assert "\n" not in context.left_out[0][1]
    return samples


def _toml(value: Any) -> str:
    """Texts and tables of them as TOML writes them in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(of)}" for key, of in value.items()) + "}"
    return json.dumps(value)


class TestBadInput:
    """Each message names the file, or both files."""

    def refused(self, root: Path, params: Mapping[str, Any], *words: str) -> None:
        with pytest.raises(DataError) as caught:
            prepare(root, params)
        for word in words:
            assert word in str(caught.value)

    def test_the_rest_is_prepared_and_strict_refuses(self, tmp_path: Path, run_cli: Any) -> None:
        params = build(tmp_path)
        whole = prepare(tmp_path, params)
        file = tmp_path / "a/images/2_10.png"
        file.write_bytes(file.read_bytes()[:50])
        rest = left_out(tmp_path, params, "source 2", "a/images/2_10.png", "cannot be read")
        kept = [s for s in whole if (s.domain, s.slice.patient_id) != ("source", "2")]
        assert [s.slice for s in rest] == [s.slice for s in kept]
        suite = tmp_path / "suite.toml"
        sides = "".join(f"params.{name} = {_toml(params[name])}\n" for name in ("source", "target", "labels"))
        suite.write_text(
            'translators = ["identity"]\nmetrics = ["swd"]\n[[datasets]]\nname = "own"\nplugin = "folder"\n'
            f'root = "."\nsplit = "demo"\nparams.resize = "none"\n{sides}'
        )
        strict = run_cli("data", "prepare", suite, "--strict")
        assert strict.code == 1
        assert "1 case unusable: source 2:" in strict.err
        ran = run_cli("data", "prepare", suite)
        assert ran.code == 0, ran.err
        assert "2 source slices of 1 patient" in ran.out
        assert "1 case left out" in ran.out
        assert "skipped: source 2: " in ran.out

    def test_another_size(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        for kind in ("images", "masks"):
            png(tmp_path / f"b/{kind}/2_9.png", np.ones((12, 11), np.uint8))
        # One that differs from the others of its patient, then a patient that differs from the first.
        left_out(tmp_path, params, "target 2", "b/images/2_10.png", "12 x 10", "12 x 11", "b/images/2_9.png")
        for kind in ("images", "masks"):
            png(tmp_path / f"b/{kind}/2_10.png", np.ones((12, 11), np.uint8))
        left_out(tmp_path, params, "target 2", "b/images/2_9.png", "12 x 11", "12 x 10", "a/images/1_9.png")

    def test_nan(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        for patient in (1, 2):
            image = np.ones((12, 10), np.float32)
            image[3, 3] = np.nan if patient == 2 else 0
            np.save(tmp_path / f"a/images/{patient}_9.npy", image)
        params["source"] = side("a", images="a/images/*.npy", masks=None, patient="([0-9])_", normalise="image")
        self.refused(tmp_path, params, "2_9.npy", "NaN")

    def test_three_channels(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        colour = np.random.default_rng(0).integers(0, 255, (12, 10, 3)).astype(np.uint8)
        png(tmp_path / "a/images/1_10.png", colour)
        left_out(tmp_path, params, "source 1", "1_10.png", "3 channels")

    def test_three_equal_channels_are_grey(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        grey = read(tmp_path / "a/images/1_10.png").array
        png(tmp_path / "a/images/1_10.png", np.stack([grey] * 3, axis=-1))
        np.testing.assert_array_equal(of(prepare(tmp_path, params), "source")[1].image, grey)

    @pytest.mark.parametrize("kind", ["images", "masks"])
    def test_truncated_and_zero_bytes(self, tmp_path: Path, kind: str) -> None:
        params = build(tmp_path)
        file = tmp_path / f"a/{kind}/2_10.png"
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        left_out(tmp_path, params, "source 2", f"{kind}/2_10.png", "cannot be read")
        file.write_bytes(b"")
        left_out(tmp_path, params, "source 2", f"{kind}/2_10.png", "empty")

    def test_a_mask_without_an_image(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        (tmp_path / "b/images/1_9.png").unlink()
        assert len(left_out(tmp_path, params, "target b/masks/1_9.png", "No image has the name")) == 7

    def test_an_image_without_a_mask(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        (tmp_path / "b/masks/1_9.png").unlink()
        assert len(left_out(tmp_path, params, "target 1_9", "b/images/1_9.png", "no mask", "b/masks/*.png")) == 7

    def test_a_mask_of_another_size(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        png(tmp_path / "a/masks/1_9.png", np.ones((10, 12), np.uint8))
        left_out(tmp_path, params, "source 1", "a/masks/1_9.png", "10 x 12", "a/images/1_9.png", "12 x 10")

    def test_fewer_than_two_images(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        params["target"] = side("b", images="b/images/1_9.png", masks=None)
        self.refused(tmp_path, params, "target domain has 1 image", "b/images/1_9.png")

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of another system")
    def test_a_root_and_a_file_without_permission(
        self, tmp_path: Path, run_cli: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Refusals of the system stand for permissions, since tests may run as root, who may read everything."""
        params = build(tmp_path)
        plain = Path.open

        def refuse(path: Path, *args: Any, **named: Any) -> Any:
            if path.name == "1_9.png" and path.parts[-3] == "a":
                raise PermissionError(13, "Permission denied", str(path))
            return plain(path, *args, **named)

        monkeypatch.setattr(Path, "open", refuse)
        left_out(tmp_path, params, "source 1", "a/images/1_9.png", "Permission denied")
        with closing(Hashes(tmp_path / "hashes.sqlite")) as hashes:
            files = [tmp_path / "a/images/1_9.png", tmp_path / "a/images/2_9.png"]
            without = hashes.fingerprint(tmp_path, files)
            monkeypatch.undo()
            assert hashes.fingerprint(tmp_path, files) != without
        monkeypatch.setattr(
            Path, "iterdir", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
        )
        self.refused(tmp_path, params, "the folder cannot be read: Permission denied", str(tmp_path))

    def test_nothing_matches(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        params["target"] = side("b", images="b/pictures/*.png")
        self.refused(tmp_path, params, "no target images match 'b/pictures/*.png'", str(tmp_path))

    def test_two_files_of_one_name(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        np.save(tmp_path / "a/images/1_9.npy", np.zeros((12, 10), np.uint8))
        params["source"] = side("a", images=["a/images/*.png", "a/images/*.npy"], masks=None, patient="([0-9])_")
        self.refused(tmp_path, params, "a/images/1_9.png", "a/images/1_9.npy")

    def test_no_patient(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        params["source"] = side("a", patient=None)
        self.refused(tmp_path, params, "a/images/1_9.png", "the patient of this image")
        params["source"] = side("a", patient="case([0-9]+)")
        self.refused(tmp_path, params, "a/images/", "case([0-9]+)")

    def test_tables_that_do_not_fit(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        rows = [f"{p}_{i}.png,{p},train" for p in (1, 2) for i in (9, 10)]
        for name, lines, values, words in (
            ("column.csv", ["file,pateint,side", *rows], {}, ("no column 'patient'", "pateint")),
            ("split.csv", ["file,patient,side", *rows, "x,7,train"], {"split": "patient"}, ("the split of", "'1'")),
        ):
            (tmp_path / name).write_text("\n".join(lines))
            params["source"] = side("a", patient=None, table={"file": name, **values})
            self.refused(tmp_path, params, name, *words)
        for name, lines, case, text in (
            ("row.csv", rows[:-1], "source 2_10", "names no patient for a/images/2_10.png"),
            ("twice.csv", [*rows, "1_9.png,7,train"], "source 1_9", "several rows"),
        ):
            (tmp_path / name).write_text("\n".join(["file,patient,side", *lines]))
            params["source"] = side("a", patient=None, table={"file": name})
            assert len(left_out(tmp_path, params, case, name, text)) == 7

    def test_a_label_that_no_mask_shows(self, tmp_path: Path) -> None:
        params = build(tmp_path) | {"labels": {"organ": 1, "lesion": 3}}
        self.refused(tmp_path, params, "no source mask shows 'lesion'")

    def test_floats_without_a_window(self, tmp_path: Path) -> None:
        params = build(tmp_path)
        for patient in (1, 2):
            np.save(tmp_path / f"a/images/{patient}_9.npy", np.ones((12, 10), np.float32))
        params["source"] = side("a", images="a/images/*.npy", masks=None, patient="([0-9])_")
        self.refused(tmp_path, params, "1_9.npy", "float32", "normalise")

    def test_spacing_that_is_not_known(self, tmp_path: Path) -> None:
        self.refused(tmp_path, build(tmp_path) | {"resize": "spacing", "mm": 1.0}, "1_9.png", "spacing")


class TestParameters:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"source": {"image": "a/*.png"}}, ("params.source", "'images' is missing")),
            ({"source": {"images": "a/*.png", "mask": "b"}}, ("no key 'mask'", "'masks'")),
            ({"target": None}, ("params.target",)),
            ({"source": {"images": "../a/*.png"}}, ("leads out of the root",)),
            ({"source": side("a", normalise="percentiles")}, ("normalise", "'percentile'")),
            ({"source": side("a", normalise="window")}, ("window = [low, high]",)),
            ({"source": side("a", normalise="window", window=[5, 5])}, ("window", "low below high")),
            ({"source": side("a", plane="sagital")}, ("plane", "'sagittal'")),
            ({"source": side("a", patient="[0-9]+")}, ("no group",)),
            ({"source": side("a", patient="(")}, ("regular expression",)),
            ({"source": side("a", table="t.csv")}, ("both 'patient' and 'table'",)),
            ({"source": side("a", patient=None, table={"file": "t", "pateint": "x"})}, ("'patient'",)),
            ({"source": side("a", crop=[0, 1, 0.5, 0.5])}, ("crop",)),
            ({"source": side("a", slices=[3, 1])}, ("slices",)),
            ({"source": side("a", masks=None, min_area=5)}, ("min_area",)),
            ({"source": side("a", labels={"organ": 1})}, ("have no value for the label 'lesion'",)),
            ({"source": side("a", labels={"organs": 1, "lesion": 2})}, ("no label 'organs'", "'organ'")),
            ({"labels": {}}, ("masks are set, but no labels",)),
            ({"labels": {"a": 1, "b": [1, 2]}}, ("two labels",)),
            ({"labels": {"a": "any"}}, ("'any'", "nonzero")),
            ({"resize": "spacing"}, ("'mm' is missing",)),
            ({"resize": "plane"}, ("resize", "'plain'")),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]) -> None:
        with pytest.raises(ParamError) as caught:
            task(build(tmp_path) | change)
        for word in words:
            assert word in str(caught.value)


def volume(path: Path, axes: str, array: np.ndarray) -> None:
    """``array`` (R, A, S order) as a NIfTI file whose axes point to ``axes``, 1 x 1 x 2 mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ras = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]))
    wanted = nibabel.orientations.axcodes2ornt(tuple(axes))
    nibabel.save(
        ras.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(ras.affine), wanted)), path
    )


class TestVolumes:
    def params(self, root: Path, axes: str = "PIR") -> dict[str, Any]:
        """Two CT cases with two classes in files of their own, two MR cases with label maps in another folder."""
        rng = np.random.default_rng(1)
        for case in ("s1", "s2"):
            array = rng.integers(-1000, 1000, (8, 12, 10)).astype(np.int16)
            upper, lower = np.zeros((2, 8, 12, 10), np.uint8)
            upper[2:6, 3:9, 6:9], lower[3:5, 3:9, 1:4] = 1, 7
            volume(root / f"ct/{case}/ct.nii.gz", axes, array)
            volume(root / f"ct/{case}/segmentations/top.nii.gz", axes, upper)
            volume(root / f"ct/{case}/segmentations/low.nii.gz", axes, lower)
            volume(root / f"mr/{case}.nii.gz", axes, np.abs(array))
            volume(root / f"mr_masks/{case}.nii.gz", axes, upper)
        return {
            "source": {"images": "mr/*.nii.gz", "masks": "mr_masks", "plane": "sagittal", "labels": {"bone": 1}},
            "target": {
                "images": "ct/*/ct.nii.gz",
                "masks": {"bone": ["segmentations/top.nii.gz", "segmentations/low.nii.gz"]},
                "plane": "sagittal",
                "normalise": "window",
                "window": [-500, 500],
                "measure_unit": "HU",
            },
            "resize": "none",
        }

    @pytest.mark.parametrize("axes", ["RAS", "PIR", "LPS", "SLP"])
    def test_sagittal_slices_with_joined_masks(self, tmp_path: Path, axes: str) -> None:
        params = self.params(tmp_path, axes)
        params["source"]["masks"] = "mr_masks/*.nii.gz"
        assert task(params).labels == {1: "bone"}
        target = of(prepare(tmp_path, params), "target")
        assert [s.slice.slice_id for s in target[:2]] == ["s1_sagittal_000", "s1_sagittal_001"]
        assert len(target) == 16
        one = target[3]
        assert one.mask is not None
        assert one.image.shape == (10, 12)
        assert (one.slice.patient_id, one.slice.measure_unit, one.slice.window) == ("s1", "HU", (-500.0, 500.0))
        assert one.slice.spacing == (2.0, 1.0)
        assert one.slice.thickness == 1.0
        assert np.flatnonzero(one.mask.any(axis=1)).tolist() == [1, 2, 3, 6, 7, 8]  # superior at the top
        assert np.flatnonzero(one.mask.any(axis=0)).tolist() == [3, 4, 5, 6, 7, 8]

    def test_a_folder_of_masks_matches_by_name(self, tmp_path: Path) -> None:
        params = self.params(tmp_path)
        params["source"]["images"] = "mr"
        assert len(of(prepare(tmp_path, params), "source")) == 16

    def test_range_and_area_choose_slices(self, tmp_path: Path) -> None:
        params = self.params(tmp_path)
        params["source"] |= {"images": "mr", "slices": [1, 3]}
        params["target"]["min_area"] = 20
        samples = prepare(tmp_path, params)
        assert [s.slice.index for s in of(samples, "source")] == [1, 2, 3, 1, 2, 3]
        assert [s.slice.index for s in of(samples, "target")] == [3, 4, 3, 4]

    def test_slices_go_back_into_the_volume(self, tmp_path: Path) -> None:
        params = self.params(tmp_path)
        params["source"]["images"] = "mr"
        target = [s for s in of(prepare(tmp_path, params), "target") if s.slice.case_id == "s2"]
        back = put_back((s.image, s.slice) for s in target)
        original = read(tmp_path / "ct/s2/ct.nii.gz")
        assert (back.axes, back.measure_unit) == ("PIR", "HU")
        assert np.abs(back.array - np.clip(original.array, -500, 500)).max() <= 1000 / 255 / 2 + 1e-3
        masks = put_back(((s.mask, s.slice) for s in target if s.mask is not None), masks=True)
        joined = sum(read(tmp_path / f"ct/s2/segmentations/{n}.nii.gz").array != 0 for n in ("top", "low"))
        np.testing.assert_array_equal(masks.array, joined)

    def test_a_mask_that_lies_elsewhere(self, tmp_path: Path) -> None:
        params = self.params(tmp_path)
        params["source"]["images"] = "mr"
        moved = nibabel.load(tmp_path / "mr_masks/s2.nii.gz")
        nibabel.save(
            nibabel.Nifti1Image(np.asarray(moved.dataobj), np.diag([1, -1, 1, 1]) @ moved.affine),
            tmp_path / "mr_masks/s2.nii.gz",
        )
        left_out(tmp_path, params, "source s2", "mr_masks/s2.nii.gz", "mr/s2.nii.gz")

    def test_a_case_without_its_class_files(self, tmp_path: Path) -> None:
        params = self.params(tmp_path)
        params["source"]["images"] = "mr"
        (tmp_path / "ct/s2/segmentations/low.nii.gz").unlink()
        left_out(tmp_path, params, "target s2", "ct.nii.gz has no mask of 'bone'", "low")

    def test_a_volume_without_a_plane(self, tmp_path: Path) -> None:
        params = self.params(tmp_path)
        del params["target"]["plane"]
        params["source"]["images"] = "mr"
        with pytest.raises(DataError, match=r"ct/s1/ct\.nii\.gz.*no plane"):
            prepare(tmp_path, params)


@needs_data
class TestRealFiles:
    def example(self, name: str) -> tuple[list[Sample], Task]:
        path = EXAMPLES / f"{name}.toml"
        suite = parse_suite(path.read_text(), str(path), path.parent)
        entry = suite.datasets[0]
        return prepare(suite.path(str(entry.root)), entry.params), task(entry.params)

    def test_lumbar_t2_to_t1(self) -> None:
        samples, result = self.example("lumbar-t2-to-t1")
        assert result.labels == {1: "vertebra"}
        source, target = of(samples, "source"), of(samples, "target")
        assert len(source) == 172
        assert (len({s.slice.patient_id for s in source}), len({s.slice.patient_id for s in target})) == (17, 50)
        # Five bodies a side: the lowest row of a source mask is L5, well above the image's lower edge (S1).
        lowest = [int(np.flatnonzero(s.mask.any(axis=1)).max()) for s in source if s.mask is not None]
        assert max(lowest) < 59
        assert all(s.image.shape == (64, 64) and s.image.max() > 100 for s in samples)

    def test_lumbar_mr_to_ct(self) -> None:
        samples, result = self.example("lumbar-mr-to-ct")
        target = of(samples, "target")
        assert result.masks == {"source", "target"}
        assert len(target) == 18
        assert {s.slice.patient_id for s in target} == {"s0001"}
        for s in target:
            assert s.mask is not None
            # Upright, front to the left: bone lies in the back half, and is brighter than the rest.
            assert np.nonzero(s.mask)[1].mean() > 27
            assert s.image[s.mask == 1].mean() > s.image[s.mask == 0].mean() + 30

    def test_a_dicom_series(self) -> None:
        series = {"images": "dicom_mr_series", "plane": "coronal"}
        params = {"source": series, "target": series | {"plane": "axial", "every": 16}, "size": 64}
        samples = prepare(Path(str(REAL)) / "data", params)
        source = of(samples, "source")
        assert len(source) == 30
        assert source[0].slice.scanner == "SIEMENS Avanto"
        files = list(Folder(**complete(params, SPEC.params, "")).files(Path(str(REAL)) / "data"))
        assert len({f.name for f in files}) == 30

    def test_crops_in_another_orientation(self) -> None:
        side = {"masks": {"spine": "*seg-vert*.nii.gz"}, "plane": "sagittal"}
        params = {
            "source": {"images": "spine_crops/*/*_T2w.nii.gz", **side},
            "target": {"images": "spine_crops/*/*_ct.nii.gz", **side, "normalise": "window", "window": [-200, 800]},
            "resize": "spacing",
            "mm": 1.5,
            "size": 80,
        }
        for s in of(prepare(Path(str(REAL)) / "data", params), "target"):
            assert s.mask is not None
            if s.mask.sum() > 100:
                assert s.image[s.mask == 1].mean() > s.image[s.mask == 0].mean()


def test_errors_are_one_paragraph(tmp_path: Path) -> None:
    params = build(tmp_path)
    for mask in (tmp_path / "b/masks").iterdir():
        mask.write_bytes(b"")
    with pytest.raises(MtbenchError) as caught:
        prepare(tmp_path, params)
    assert "\n" not in str(caught.value)


def test_ct_has_a_window_and_mr_percentiles_where_nothing_is_said() -> None:
    from mtbench_plugins.datasets.folder.config import CT_WINDOW, Config

    volumes = {"images": "*.nii.gz", "plane": "axial"}
    params = {"source": volumes, "resize": "plain", "size": 64}
    ct = Config.of({**params, "target": {**volumes, "measure_unit": "HU"}})
    assert (ct.target.normalise, ct.target.window) == ("window", CT_WINDOW)
    assert (ct.source.normalise, ct.source.window) == ("percentile", None)
    narrow = Config.of({**params, "target": {**volumes, "window": [-200, 800]}})
    assert (narrow.target.normalise, narrow.target.window) == ("window", (-200, 800))
