"""``mtbench translate`` and ``mtbench.translate``: new images through a translator, written back as they came."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from replicas import write_nifti, write_series

import mtbench
from mtbench import run
from mtbench.errors import DataError, MtbenchError, RequestError, StoreError, WeightsError
from mtbench.formats import read
from mtbench.registry.discovery import discover
from mtbench.store.artefacts import Store
from mtbench.translation import translate

ODD = """
import mtbench

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("negative", ":Negative")
    yield mtbench.TranslatorSpec("paint", ":Paint")

class Negative:
    def translate(self, batch, context):
        return 1 - batch.source

class Paint:
    def translate(self, batch, context):
        painted = batch.source * 0.5
        painted[:, :, :2, :1] = 1
        return painted
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / "odd.py"
    path.write_text(ODD)
    return path


def volume(shape: tuple[int, ...] = (5, 7, 4), top: int = 900) -> np.ndarray[Any, Any]:
    """Every voxel another value, without any symmetry."""
    values = np.random.default_rng(3).permutation(int(np.prod(shape))).reshape(shape)
    return (values * (top / values.max())).round()


# -- formats


def save(kind: str, folder: Path) -> Path:
    """A file of that kind; its values are asymmetric."""
    path = folder / f"image.{kind.partition(':')[0]}"
    array = volume()
    affine = np.array([[0.2, -1.4, 0, 3], [0, 0.3, 2.5, -7], [1.9, 0, 0.4, 11], [0, 0, 0, 1]])
    match kind:
        case "png:8":
            Image.fromarray(volume((6, 9), 255).astype(np.uint8)).save(path)
        case "png:16":
            Image.fromarray(volume((6, 9), 60000).astype(np.uint16)).save(path)
        case "tif:stack":
            tifffile.imwrite(path, array.astype(np.uint16), photometric="minisblack")
        case "npy":
            np.save(path, (array / 900).astype(np.float32))
        case "npz":
            np.savez(path, image=volume((6, 9), 255).astype(np.uint8), other=np.arange(3))
        case "nii":
            nibabel.save(nibabel.Nifti1Image(array.astype(np.int16), affine), path)
        case "nii.gz":
            image = nibabel.Nifti1Image((array / 7)[..., None].astype(np.float32), affine)
            image.header["descrip"] = b"kept"
            nibabel.save(image, path)
        case "nrrd":
            header = {
                "space": "left-posterior-superior",
                "space directions": affine[:3, :3].T,
                "space origin": [1, 2, 3],
            }
            nrrd.write(str(path), array.astype(np.int32), {**header, "patient": "kept"})
        case "nrrd:stack":
            nrrd.write(str(path), array.astype(np.uint16))
        case "mha":
            text = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = True\n"
            text += "TransformMatrix = 0 1 0 0 0 -1 -1 0 0\nOffset = 1 2 3\nElementSpacing = 1 2 3\nDimSize = 5 7 4\n"
            text += "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
            path.write_bytes(text.encode() + array.astype(">i2").tobytes(order="F"))
        case "dicom":
            path = folder / "image"
            write_series(path, array, descending=True)
    return path


KINDS = ["png:8", "png:16", "tif:stack", "npy", "npz", "nii", "nii.gz", "nrrd", "nrrd:stack", "mha", "dicom"]
PLAIN = ("png", "tif", "npy", "npz", "nrrd:stack")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_comes_back_with_its_geometry(kind: str, odd: Path, tmp_path: Path) -> None:
    """The negative of an asymmetric image, value by value, in the same place; and the negative of that is the image."""
    path = save(kind, tmp_path)
    before = read(path)
    low, high = (0.0, 1.0) if kind == "npy" else (0.0, 255.0 if before.array.dtype == np.uint8 else 65535.0)
    options: dict[str, Any] = {}
    if not kind.startswith(PLAIN) or kind == "nrrd:stack":
        low, high = -100.0, 1000.0
        options = {"window": (low, high), "plane": None if kind == "nrrd:stack" else "coronal"}
    copy = tmp_path / "made" / path.name
    report = translate("negative", path, copy, plugin_files=[str(odd)], **options)
    assert report.files == (copy,)
    after = read(copy)
    assert (after.axes, after.array.shape, after.spacing) == (before.axes, before.array.shape, before.spacing)
    assert after.array.dtype == before.array.dtype or kind == "dicom"
    if before.file_affine is not None:
        assert after.file_affine is not None
        np.testing.assert_allclose(after.file_affine, before.file_affine, atol=1e-9)
    exact = 1e-3 * (high - low) / 1000 if before.array.dtype.kind == "f" else 0.51
    np.testing.assert_allclose(after.array, low + high - before.array.astype(float), atol=exact)
    again = tmp_path / "again" / path.name
    translate("negative", copy, again, plugin_files=[str(odd)], **options)
    np.testing.assert_allclose(read(again).array, before.array.astype(float), atol=2 * exact)
    assert not list(tmp_path.rglob(".tmp-*"))


def test_what_a_header_says_beside_the_geometry_is_kept(odd: Path, tmp_path: Path) -> None:
    for kind in ("nii.gz", "nrrd", "dicom"):
        options: Any = {"plane": "axial", "window": (0, 900), "plugin_files": [str(odd)]}
        translate("negative", save(kind, tmp_path), tmp_path / ("series" if kind == "dicom" else "out"), **options)
    image = nibabel.load(tmp_path / "out" / "image.nii.gz")
    assert image.shape == (5, 7, 4, 1)
    assert image.header["descrip"] == b"kept"
    assert nrrd.read_header(str(tmp_path / "out" / "image.nrrd"))["patient"] == "kept"
    old, new = (pydicom.dcmread(tmp_path / where / "1-001.dcm") for where in ("image", "series"))
    assert new.PatientID == old.PatientID == "MRN-4711"
    assert new.StudyInstanceUID == old.StudyInstanceUID
    assert new.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert new.SOPInstanceUID != old.SOPInstanceUID
    assert len({pydicom.dcmread(file).SeriesInstanceUID for file in (tmp_path / "series").glob("*.dcm")}) == 1


@pytest.mark.parametrize("axes", ["RAS", "PIR", "ASL"])
@pytest.mark.parametrize(
    ("plane", "place"),
    [
        # Rows and columns of upright slices: axial from the front and the patient's right, coronal from above and the
        # right, sagittal from above and the front. In RAS+ the right, the front and above are the high indices.
        ("axial", (slice(-1, None), slice(-2, None), slice(None))),
        ("coronal", (slice(-1, None), slice(None), slice(-2, None))),
        ("sagittal", (slice(None), slice(-1, None), slice(-2, None))),
    ],
)
def test_what_is_drawn_in_a_slice_lands_at_its_place_in_the_patient(
    plane: Any, place: Any, axes: str, odd: Path, tmp_path: Path
) -> None:
    write_nifti(tmp_path / "in.nii.gz", volume(), axes)
    options: Any = {"plane": plane, "window": (0, 1000), "plugin_files": [str(odd)]}
    translate("paint", tmp_path / "in.nii.gz", tmp_path / "out.nii.gz", **options)
    expected = volume() / 2
    expected[place] = 1000
    np.testing.assert_allclose(read(tmp_path / "out.nii.gz").array, expected, atol=0.51)


def test_slices_are_resized_for_the_translator_and_back(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:40, :60]
    smooth = (100 + rows + 1.5 * columns).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    translate("identity", tmp_path / "a.png", tmp_path / "b.png", size=32)
    output = read(tmp_path / "b.png").array
    assert output.shape == smooth.shape
    # Inside; at the rim a resized image is extended by its last pixel.
    assert np.abs(output[3:-3, 3:-3].astype(float) - smooth[3:-3, 3:-3]).max() <= 1.5


def test_a_folder_is_mirrored_whatever_its_sizes(odd: Path, tmp_path: Path) -> None:
    for name, size in (("p1/a.png", (8, 12)), ("p1/b.png", (16, 12)), ("p2/a.png", (8, 12))):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(volume(size, 255).astype(np.uint8)).save(tmp_path / "in" / name)
    write_nifti(tmp_path / "in" / "v.nii.gz", volume())
    report = translate(
        "negative", tmp_path / "in", tmp_path / "out", plane="axial", window=(0, 900), plugin_files=[str(odd)]
    )
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in report.files) == [
        "p1/a.png", "p1/b.png", "p2/a.png", "v.nii.gz",
    ]  # fmt: skip
    assert report.slices == 3 + 4


def test_the_target_has_values_of_its_own(tmp_path: Path) -> None:
    write_nifti(tmp_path / "mr.nii.gz", volume(), dtype=np.uint16)
    options: Any = {"plane": "axial", "window": (0, 900), "target_window": (-1000, 1000)}
    report = translate("identity", tmp_path / "mr.nii.gz", tmp_path / "ct.nii.gz", **options)
    output = read(tmp_path / "ct.nii.gz").array
    # Hounsfield units do not fit into unsigned integers, but into signed ones.
    assert output.dtype == np.int16
    np.testing.assert_allclose(output, volume() / 900 * 2000 - 1000, atol=0.51)
    assert report.values == "black is -1000 and white 1000"
    percentiles: Any = {"plane": "axial", "percentiles": (0, 100), "target_window": (0, 1)}
    translate("identity", tmp_path / "mr.nii.gz", tmp_path / "p.nii.gz", **percentiles)
    np.testing.assert_allclose(read(tmp_path / "p.nii.gz").array, volume() / 900, atol=1e-6)


# -- which translator


@pytest.fixture
def suite(toys: Path) -> Path:
    path = toys.with_name("suite.toml")
    path.write_text(
        """
        [suite]
        seeds = [0, 1]
        [[datasets]]
        name = "toy"
        [[datasets]]
        name = "other"
        plugin = "toy"
        params.size = 12
        [[translators]]
        name = "toy-same"
        [[translators]]
        name = "shifted"
        plugin = "toy-shift"
        params.by = [1.0, 2.0]
        [[metrics]]
        name = "toy-mean"
        """
    )
    return path


def trained(suite: Path, toys: Path, tmp_path: Path, **options: Any) -> dict[str, Any]:
    options = {"executor": "inline", "quiet": True, **options}
    finished = run(str(suite), out=str(tmp_path / "results"), plugin_files=[str(toys)], **options)
    assert not finished.summary.failed
    return {"results": finished.results.path, "plugin_files": [str(toys)]}


def test_a_trained_translator_makes_what_the_run_made(suite: Path, toys: Path, store: Path, tmp_path: Path) -> None:
    """The source slices of the run, as files, give the pixels that the run stored."""
    training = trained(suite, toys, tmp_path)
    attempts = mtbench.load(training["results"], "attempts").to_pylist()
    unit = next(a for a in attempts if a["name"] == "translate toy shifted[by=2] seed 1")
    artefact = Store(store).get("translate", unit["artefact"])
    assert artefact is not None
    data = next(a for a in attempts if a["name"] == "prepare toy")["artefact"]
    images = np.load(Store(store).path("prepare", data) / "images-source.npy")
    for index, image in enumerate(images):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "in" / f"{index:02d}.png")
    translate("shifted:by=2", tmp_path / "in", tmp_path / "out", dataset="toy", seed=1, **training)
    output = {read(path).array.tobytes() for path in (tmp_path / "out").iterdir()}
    assert {image.tobytes() for image in np.load(artefact.path / "images.npy")} <= output


def test_several_trainings_are_listed_and_one_is_chosen(suite: Path, toys: Path, tmp_path: Path, run_cli: Any) -> None:
    training = trained(suite, toys, tmp_path)
    Image.fromarray(volume((16, 16), 255).astype(np.uint8)).save(tmp_path / "a.png")
    arguments = (tmp_path / "a.png", tmp_path / "b.png", "--from", training["results"], "--plugin", toys)
    ran = run_cli("translate", "shifted", *arguments)
    assert ran.code == 2
    for text in (
        "8 of its translators match 'shifted'",
        "shifted, dataset toy, seed 0; ",
        "shifted[by=2], dataset other, seed 1",
        "Choose with --dataset, --fold, --seed or NAME:PARAMETER=VALUE",
    ):
        assert text in ran.err
    # By the entry's name or the plugin's.
    assert "2 of its" in run_cli("translate", "toy-shift:by=2", *arguments, "-d", "toy").err
    assert "none of its translators matches" in run_cli("translate", "shifted", *arguments, "--seed", "7").err
    assert "unknown parameter 'bye'" in run_cli("translate", "shifted:bye=2", *arguments).err
    ran = run_cli("translate", "shifted:by=2", *arguments, "-d", "toy", "--seed", "1")
    assert (ran.code, ran.err) == (0, "")
    assert "1 file, 1 slice translated to" in ran.out
    # One that needs no training is one, whatever it has translated, as long as the data are.
    assert run_cli("translate", "toy-same", *arguments, "-d", "toy", "--overwrite").code == 0


def test_folds_are_told_apart(suite: Path, toys: Path, tmp_path: Path, run_cli: Any) -> None:
    setting = ['datasets.toy.split={by="folds",folds=2}']
    training = trained(
        suite, toys, tmp_path, settings=setting, datasets=["toy"], translators=["shifted:by=1"], seeds=[0]
    )
    Image.fromarray(volume((16, 16), 255).astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(RequestError, match=r"2 of its .* dataset toy, fold 0, seed 0; .* fold 1"):
        translate("shifted", tmp_path / "a.png", tmp_path / "b.png", **training)
    translate("shifted", tmp_path / "a.png", tmp_path / "b.png", fold=1, **training)


def test_what_results_do_not_hold_is_told(suite: Path, toys: Path, store: Path, tmp_path: Path) -> None:
    training = trained(suite, toys, tmp_path, translators=["toy-same"], datasets=["toy"])
    image = tmp_path / "a.png"
    Image.fromarray(volume((16, 16), 255).astype(np.uint8)).save(image)

    def refused(name: str, **options: Any) -> str:
        with pytest.raises(MtbenchError) as error:
            translate(name, image, tmp_path / "b.png", **{**training, **options})
        assert not (tmp_path / "b.png").exists()
        return str(error.value)

    assert "no trained 'toy-shift'. Did you mean 'toy-same'? Expected one of toy-same" in refused("toy-shift")
    assert "unknown translator 'toy-sam'. Did you mean 'toy-same'" in refused("toy-sam")
    assert "the results directory does not exist" in refused("toy-same", results=tmp_path / "none")
    assert "both a checkpoint and results" in refused("toy-same", checkpoint=image)
    assert "--from RESULTS" in refused("toy-same", results=None, dataset="toy")
    with pytest.raises(StoreError, match=r"not in the store .*--store"):
        translate("toy-same", image, tmp_path / "b.png", store=str(tmp_path / "elsewhere"), **training)


def network(folder: Path, name: str = "latest_net_G_A.pth") -> Path:
    """A tiny CycleGAN generator, as its original would have saved it."""
    import torch

    from mtbench_plugins.translators._shared.resnet import ResnetGenerator

    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    torch.save(ResnetGenerator(1, 4, 1).state_dict(), folder / name)
    return folder / name


def test_an_official_checkpoint(tmp_path: Path, run_cli: Any) -> None:
    import torch

    from mtbench_plugins.translators._shared.resnet import ResnetGenerator

    weights = network(tmp_path / "w")
    image = volume((16, 20), 255).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    ran = run_cli("translate", "cyclegan", tmp_path / "a.png", tmp_path / "b.png", "--checkpoint", weights)
    assert ran.code == 0
    assert "sha256" in ran.err
    plain = ResnetGenerator(1, 4, 1)
    plain.load_state_dict(torch.load(weights, weights_only=True))
    with torch.inference_mode():
        signed = plain.eval()(torch.from_numpy(image / np.float32(127.5) - 1)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(read(tmp_path / "b.png").array, (signed / 2 + 0.5).clip(0, 1) * 255, atol=0.6)
    # The folder that save() writes does as well.
    translate("cyclegan", tmp_path / "a.png", tmp_path / "c.png", checkpoint=weights.parent)
    np.testing.assert_array_equal(read(tmp_path / "c.png").array, read(tmp_path / "b.png").array)


def test_a_wrong_checkpoint_is_told(suite: Path, toys: Path, store: Path, tmp_path: Path) -> None:
    weights = network(tmp_path / "w")
    image = tmp_path / "a.png"
    Image.fromarray(volume((64, 64), 255).astype(np.uint8)).save(image)

    def refused(name: str, checkpoint: Path | None, kind: type[MtbenchError], **options: Any) -> str:
        with pytest.raises(kind) as error:
            translate(name, image, tmp_path / "b.png", checkpoint=checkpoint, plugin_files=[str(toys)], **options)
        assert not (tmp_path / "b.png").exists()
        return str(error.value)

    assert "holds a CycleGAN generator. Expected a UNSB generator" in refused("unsb", weights, WeightsError)
    assert "none.pth does not exist" in refused("cyclegan", tmp_path / "none.pth", RequestError)
    assert "needs a trained model" in refused("cyclegan", None, RequestError)
    assert "takes no weight file" in refused("toy-shift", weights, RequestError)
    assert "needs no training" in refused("toy-same", weights, RequestError)
    assert "step.npy" in refused("toy-shift", weights.parent, WeightsError)
    training = trained(suite, toys, tmp_path, translators=["shifted:by=2"], datasets=["toy"], seeds=[0])
    attempts = mtbench.load(training["results"], "attempts").to_pylist()
    fit = Store(store).path("fit", next(a for a in attempts if a["stage"] == "fit")["artefact"])
    assert "this is a fit of translator 'toy-shift'" in refused("toy-fixed", fit, RequestError)
    # A fit of the store knows its parameters.
    translate("toy-shift", image, tmp_path / "b.png", checkpoint=fit, plugin_files=[str(toys)])
    shift = 2 * float(np.load(fit / "step.npy")) * 255
    expected = np.clip(read(image).array + shift, 0, 255)
    np.testing.assert_allclose(read(tmp_path / "b.png").array, expected, atol=0.51)


# -- as the data set of the run


FOLDER = """
datasets = [{{ name = "mr-ct", plugin = "folder", root = "{root}", params = {{ size = 24, labels = {{}}, \
source = {source}, target = {{ images = "ct/*.nii.gz", plane = "sagittal", measure_unit = "HU" }} }} }}]
translators = ["toy-same"]
metrics = ["toy-mean"]
"""
SOURCES = {
    "percentiles": '{ images = "mr/*.nii.gz", plane = "sagittal", crop = [0.0, 0.9, 0.1, 1.0] }',
    "each image": '{ images = "mr/*.nii.gz", plane = "sagittal", normalise = "image" }',
}


@pytest.mark.parametrize("how", SOURCES)
def test_images_are_cut_and_scaled_as_the_data_set_did(how: str, toys: Path, store: Path, tmp_path: Path) -> None:
    """A volume of the data set itself goes through the very slices that the run stored, and comes back in HU."""
    rng = np.random.default_rng(0)
    for patient in range(6):
        write_nifti(tmp_path / "data" / "mr" / f"m{patient}.nii.gz", rng.integers(0, 700, (6, 24, 20)), "PIR")
        write_nifti(tmp_path / "data" / "ct" / f"c{patient}.nii.gz", rng.integers(-900, 900, (6, 24, 20)), "LAS")
    suite = tmp_path / "suite.toml"
    suite.write_text(FOLDER.format(root=tmp_path / "data", source=SOURCES[how]).replace("labels = {}, ", ""))
    training = trained(suite, toys, tmp_path)
    image = tmp_path / "data" / "mr" / "m3.nii.gz"
    report = translate("toy-same", image, tmp_path / "out.nii.gz", **training)
    assert report.values == "black is -1000 and white 1000 HU"
    output = read(tmp_path / "out.nii.gz")
    assert output.array.dtype == np.int16
    # Cut again as the data set is, the result shows the stored slices, blurred by the way back and forth.
    attempts = mtbench.load(training["results"], "attempts").to_pylist()
    data = Store(store).path("prepare", next(a for a in attempts if a["stage"] == "prepare")["artefact"])
    slices = mtbench.store.images.read_slices(data, "source")
    stored = np.load(data / "images-source.npy")[[s.case_id == "m3" for s in slices]]
    params = json.loads((data / "manifest.json").read_text())["unit"]["params"]
    cut = discover().get("dataset", "folder").create(params).cut(read(image))
    np.testing.assert_array_equal(mtbench.data.encode(cut.images(read(image)), "uint8"), stored)
    back = cut.put_back(mtbench.data.decode(stored), read(image), (-1000.0, 1000.0))
    np.testing.assert_allclose(output.array, back.array, atol=0.51)
    assert not np.allclose(back.array[::-1], back.array, atol=50), "the check would see a mirrored volume"
    # What the user says goes over it; another plane does not go.
    with pytest.raises(RequestError, match=r"--plane axial\. Expected sagittal"):
        translate("toy-same", image, tmp_path / "b.nii.gz", plane="axial", **training)
    assert translate("toy-same", image, tmp_path / "b.nii.gz", target_window=(0, 255), **training).values.endswith(
        "255"
    )


def test_a_translator_of_plain_images_takes_a_volume_in_the_plane_that_is_said(toys: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for domain in ("mr", "ct"):
        (tmp_path / "data" / domain).mkdir(parents=True)
        for patient in range(6):
            Image.fromarray(rng.integers(0, 255, (24, 24), np.uint8)).save(
                tmp_path / "data" / domain / f"{patient}.png"
            )
    suite = tmp_path / "suite.toml"
    text = FOLDER.format(root=tmp_path / "data", source="{ images = 'mr/*.png', patient = '([^/]*)$' }").replace(
        "labels = {}, ", ""
    )
    suite.write_text(
        text.replace('"ct/*.nii.gz", plane = "sagittal", measure_unit = "HU"', """"ct/*.png", patient = '([^/]*)$' """)
    )
    training = trained(suite, toys, tmp_path)
    smooth = np.add.outer(np.add.outer(np.arange(6) * 30, np.arange(48)), 2 * np.arange(48)) * 3.0 - 100
    image = tmp_path / "new.nii.gz"
    write_nifti(image, smooth, "PIR")
    with pytest.raises(DataError, match=r"plane of its slices is not known.*--plane"):
        translate("toy-same", image, tmp_path / "out.nii.gz", **training)
    with pytest.raises(DataError, match=r"black and white are not known.*--window"):
        translate("toy-same", image, tmp_path / "out.nii.gz", plane="sagittal", **training)
    report = translate("toy-same", image, tmp_path / "out.nii.gz", plane="sagittal", percentiles=(0, 100), **training)
    before, after = read(image), read(report.files[0])
    np.testing.assert_allclose(after.file_affine, before.file_affine)
    # Made smaller to 24 x 24 pixels, and back.
    assert np.abs(after.array - before.array).mean() < 0.01 * np.ptp(before.array)


# -- conditional translators


def test_masks_for_a_conditional_translator(toys: Path, tmp_path: Path, run_cli: Any) -> None:
    labels = (volume() > 450).astype(np.uint8)
    for name in ("a", "b"):
        write_nifti(tmp_path / "in" / f"{name}.nii.gz", volume(), "PIR")
        write_nifti(tmp_path / "masks" / f"{name}.nii.gz", labels, "PIR", dtype=np.uint8)
    arguments = ("--plugin", toys, "--plane", "axial", "--window", "0,1000")
    ran = run_cli(
        "translate", "toy-masked", tmp_path / "in", tmp_path / "out", "--masks", tmp_path / "masks", *arguments
    )
    assert ran.code == 0
    np.testing.assert_allclose(read(tmp_path / "out" / "b.nii.gz").array, 1000 * (0.3 * labels + 0.5), atol=0.6)

    def refused(*more: Any, name: str = "toy-masked") -> str:
        ran = run_cli("translate", name, tmp_path / "in", tmp_path / "new", *arguments, *more)
        assert ran.code
        assert not (tmp_path / "new").exists()
        return ran.err

    masks = ("--masks", tmp_path / "masks")
    assert "needs label maps. Expected --masks" in refused()
    assert "does not use masks" in refused(*masks, name="toy-same")
    assert "is one file for 2 images" in refused("--masks", tmp_path / "masks" / "a.nii.gz")
    assert "the mask holds the value 1. Expected 0 or one of 2 (bone)" in refused(*masks, "--labels", "2=bone").replace(
        f"{tmp_path}/masks/a.nii.gz: ", ""
    )
    assert "--labels 2. Expected" in refused(*masks, "--labels", "2")
    write_nifti(tmp_path / "masks" / "b.nii.gz", labels, "PIR", dtype=np.uint8, offset=5)
    assert "the mask and its image b.nii.gz are at different positions" in refused(*masks)
    (tmp_path / "masks" / "b.nii.gz").rename(tmp_path / "masks" / "bb.nii.gz")
    assert "has no mask named 'b'" in refused(*masks)


# -- bad input


def test_nothing_is_written_when_an_input_cannot_be_used(tmp_path: Path, run_cli: Any) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(volume((8, 8), 255).astype(np.uint8)).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    ran = run_cli("translate", "identity", tmp_path / "in", tmp_path / "out")
    assert ran.code == 1
    assert "b.png: this file cannot be read" in ran.err
    assert not (tmp_path / "out").exists()
    ran = run_cli("translate", "identity", tmp_path / "in", tmp_path / "out", "--skip-unreadable")
    assert ran.code == 0
    assert "skipped: " in ran.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_a_series_with_a_missing_slice(tmp_path: Path) -> None:
    write_series(tmp_path / "in", volume((5, 7, 6)))
    (tmp_path / "in" / "1-003.dcm").unlink()
    with pytest.raises(DataError, match="missing slice"):
        translate("identity", tmp_path / "in", tmp_path / "out", plane="axial", window=(0, 900))
    assert not (tmp_path / "out").exists()


def test_outputs_are_not_replaced_unasked(tmp_path: Path, run_cli: Any) -> None:
    Image.fromarray(volume((8, 8), 255).astype(np.uint8)).save(tmp_path / "a.png")
    write_series(tmp_path / "series", volume())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("precious")
    for image, more in (("a.png", ()), ("series", ("--plane", "axial", "--window", "0,900"))):
        ran = run_cli("translate", "identity", tmp_path / image, tmp_path / "out", *more)
        assert ran.code == 2
        assert "exists already" in ran.err
        assert "--overwrite" in ran.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]
    assert (tmp_path / "out" / "a.png").read_text() == "precious"
    assert run_cli("translate", "identity", tmp_path / "a.png", tmp_path / "out", "--overwrite").code == 0
    np.testing.assert_array_equal(read(tmp_path / "out" / "a.png").array, read(tmp_path / "a.png").array)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["identity", "none", "out"], ["file or folder none"]),
        (["identity", "empty", "out"], ["holds no images"]),
        (["identity", "text.txt", "out"], ["text.txt is not in a supported image format"]),
        (["identity", "v.nii.gz", "out.png"], ["another format", ".nii.gz"]),
        (["identity", "folder", "folder/out"], ["lies in the input"]),
        (["identity", "folder", "a.png"], ["a.png is a file"]),
        (["identity", "v.nii.gz", "out"], ["plane of its slices is not known", "--plane"]),
        (["identity", "v.nii.gz", "out", "--plane", "axial"], ["range from 0 to 900", "--window"]),
        (["identity", "v.nii.gz", "out", "--plane", "axial", "--window", "5,5"], ["window 5,5 is empty"]),
        (["identity", "v.nii.gz", "out", "--plane", "axial", "--window", "5"], ["--window 5. Expected"]),
        (["identity", "v.nii.gz", "out", "--plane", "axial", "--window=-1%,99%"], ["between 0 and 100"]),
        (["identity", "stack.npy", "out", "--plane", "axial"], ["range from"]),
        (["identity:by=3", "folder", "out"], ["unknown parameter 'by'"]),
        (["identity:3", "folder", "out"], ["'3' has no name"]),
        (["idntity", "folder", "out"], ["Did you mean 'identity'"]),
        (["command:none", "folder", "out"], ["mtbench.toml"]),
        (["identity", "folder", "out", "--masks", "none"], ["does not use masks"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) > 2 else "",
)
def test_a_wrong_request_is_one_paragraph(
    arguments: list[str], texts: list[str], run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("text")
    write_nifti(tmp_path / "v.nii.gz", volume())
    np.save(tmp_path / "stack.npy", volume().astype(np.int32))
    for path in (tmp_path / "a.png", tmp_path / "folder" / "a.png"):
        Image.fromarray(volume((8, 8), 255).astype(np.uint8)).save(path)
    ran = run_cli("translate", *arguments)
    assert ran.code in (1, 2)
    assert ran.out == ""
    assert ran.err.startswith("Error: ")
    assert len(ran.err.strip().splitlines()) == 1
    for text in texts:
        assert text in ran.err
    assert not (tmp_path / "out").exists()


# -- the same by other roads


def test_a_program_is_run_once_for_all_images(tmp_path: Path, run_cli: Any) -> None:
    script = tmp_path / "copy.py"
    script.write_text(
        "import pathlib, shutil, sys\n"
        "with open(sys.argv[3], 'a') as calls: calls.write('called\\n')\n"
        "for file in pathlib.Path(sys.argv[1]).iterdir(): shutil.copy(file, sys.argv[2])\n"
    )
    config = tmp_path / "mine.toml"
    config.write_text(f"[commands.copy]\nrun = '{sys.executable} {script} {{input}} {{output}} {tmp_path}/calls'\n")
    for index in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(volume((8, 8), 255 - index).astype(np.uint8)).save(tmp_path / "in" / f"{index}.png")
    ran = run_cli("translate", "command:copy", tmp_path / "in", tmp_path / "out", "--config", config)
    assert ran.code == 0
    assert (tmp_path / "calls").read_text() == "called\n"
    for index in range(5):
        one, other = (read(tmp_path / where / f"{index}.png").array for where in ("in", "out"))
        np.testing.assert_array_equal(one, other)


def test_results_and_stores_bring_no_program_along(
    suite: Path, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run's program was is on record, and is not run from there: the user's own mtbench.toml says what is."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nowhere"))
    Image.fromarray(volume((16, 16), 255).astype(np.uint8)).save(tmp_path / "a.png")
    config = tmp_path / "mine.toml"
    copy = "import pathlib, shutil, sys; [shutil.copy(f, sys.argv[2]) for f in pathlib.Path(sys.argv[1]).iterdir()]"

    def program(mark: str) -> None:
        code = f"{copy}; open('{tmp_path}/{mark}', 'w')".replace('"', "'")
        config.write_text(f'''[commands.copy]\nrun = ["{sys.executable}", "-c", "{code}", "{{input}}", "{{output}}"]''')

    program("theirs")
    training = trained(suite, toys, tmp_path, translators=["command:copy"], datasets=["toy"], config=str(config))
    (tmp_path / "theirs").unlink()
    with pytest.raises(RequestError, match=r"mtbench\.toml"):
        translate("command", tmp_path / "a.png", tmp_path / "b.png", **training)
    program("mine")
    translate("command", tmp_path / "a.png", tmp_path / "b.png", config=str(config), **training)
    assert (tmp_path / "mine").exists()
    assert not (tmp_path / "theirs").exists()


def test_the_batch_size_changes_nothing_and_noise_goes_by_name(toys: Path, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(volume((8, 8), 255).astype(np.uint8)).save(tmp_path / "in" / f"{name}.png")
    shutil.copytree(tmp_path / "in", tmp_path / "one")
    (tmp_path / "one" / "a.png").unlink()
    outputs = []
    for image, out, options in (
        ("in", "o1", {"batch_size": 1}),
        ("in", "o2", {}),
        ("one", "o3", {}),
        ("in", "o4", {"seed": 1}),
    ):
        translate("toy-noisy", tmp_path / image, tmp_path / out, plugin_files=[str(toys)], **options)  # type: ignore[arg-type]
        outputs.append({p.name: read(p).array.tobytes() for p in (tmp_path / out).iterdir()})
    assert outputs[0] == outputs[1]
    assert outputs[2] == {name: outputs[0][name] for name in ("b.png", "c.png")}
    assert not set(outputs[3].values()) & set(outputs[0].values())
    assert len(set(outputs[0].values())) == 3


def test_the_command_line_and_python_have_the_same_names() -> None:
    from mtbench.cli.translate import command

    options = {parameter.name for parameter in command.params}
    assert options | {"percentiles", "report"} == set(inspect.signature(mtbench.translate).parameters)


def test_on_real_files(data_folder: Path, tmp_path: Path, odd: Path) -> None:
    for image, options in (
        ("spine_crops/sample_ct/sub-ct_label-22_ct.nii.gz", {"plane": "sagittal", "window": (-1100, 2000)}),
        ("dicom_mr_series", {"plane": "coronal", "percentiles": (0, 100)}),
    ):
        output = tmp_path / Path(image).name
        translate("negative", data_folder / image, output, plugin_files=[str(odd)], **options)  # type: ignore[arg-type]
        before, after = read(data_folder / image), read(output)
        total = before.array.astype(int) + after.array
        assert total.min() == total.max()
        np.testing.assert_array_equal(before.file_affine, after.file_affine)
