"""``breast-siemens-ge`` on made copies of the collection's layout: series, spreadsheets, masks, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import replicas
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mtbench.compute.context import Context
from mtbench.data import Sample
from mtbench.errors import DataError, ParamError
from mtbench.formats import put_back, read, read_segmentation, write_nifti
from mtbench.registry.discovery import discover
from mtbench.registry.params import complete
from mtbench_plugins.datasets.breast_siemens_ge import mtbench_datasets, sheets
from mtbench_plugins.datasets.breast_siemens_ge.dataset import BreastSiemensGe
from mtbench_plugins.datasets.breast_siemens_ge.layout import CollectionLayout, Patient
from mtbench_plugins.datasets.breast_siemens_ge.patients import TRAINING, split_of_each

SPEC = next(iter(mtbench_datasets()))
IMAGES = "manifest-1/Duke-Breast-Cancer-MRI"
STUDY = "01-01-1990-MRI BREAST-98765"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of spreadsheets stays in the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def duke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole replica that no test changes."""
    root = tmp_path_factory.mktemp("duke")
    replicas.write_duke(root)
    return root


def dataset(**params: Any) -> BreastSiemensGe:
    values = complete({"size": 16, "percentiles": [0, 100], **params}, SPEC.params, "breast-siemens-ge")
    return BreastSiemensGe(**values)


def prepare(root: Path, **params: Any) -> tuple[list[Sample], Context]:
    context = Context()
    return list(dataset(**params).prepare(root, context)), context


def small(root: Path, *patients: str) -> Path:
    """A replica of a few patients, to be damaged."""
    names = patients or ("Breast_MRI_006", "Breast_MRI_021")
    replicas.write_duke(root, {name: replicas.DUKE[name] for name in names})
    return root


def series(root: Path, patient: str) -> Path:
    return root / IMAGES / patient / STUDY / replicas.PRE


def left_out(root: Path, **params: Any) -> dict[str, str]:
    return dict(prepare(root, **params)[1].left_out)


class TestWhole:
    def test_patients_domains_sides_and_series(self, duke: Path) -> None:
        samples, context = prepare(duke)
        assert (context.left_out, context.log) == ([], [])
        assert [s.domain for s in samples] == ["source"] * 24 + ["target"] * 24
        result = {s.slice.patient_id: (s.domain, s.slice.split) for s in samples}
        assert {p: domain for p, (domain, _) in result.items()} == {
            p: "target" if code == replicas.GE else "source" for p, code in replicas.DUKE.items()
        }
        assert {p for p, (_, split) in result.items() if split == "train"} == TRAINING & set(replicas.DUKE)
        for domain in ("source", "target"):
            assert sorted(split for of, split in result.values() if of == domain) == [
                "test",
                "train",
                "train",
                "validation",
            ]
        assert {s.slice.file.split("/")[-1] for s in samples} == {replicas.PRE}

    def test_records(self, duke: Path) -> None:
        first = prepare(duke)[0][0].slice
        assert first.slice_id == "Breast_MRI_003_axial_000"
        assert (first.spacing, first.thickness) == ((1.5, 1.5), 3.0)
        assert first.scanner == "SIEMENS Model"
        assert first.window is not None
        assert first.geometry

    def test_every_pixel_and_label_is_in_its_place(self, duke: Path) -> None:
        """Eight patients: prone or not, files ascending or descending, masks in one layer or in two."""
        samples = prepare(duke)[0]
        masks = replicas.breast_labels()
        expected = np.where(masks["Dense"], 2, np.where(masks["Breast"], 1, 0))
        for number, patient in enumerate(replicas.DUKE):
            ras = replicas.body(number)
            own = [s for s in samples if s.slice.patient_id == patient]
            grey = (ras - ras.min()) / (ras.max() - ras.min()) * 255
            assert np.abs(np.stack([s.image for s in own]) - replicas.axial(grey)).max() <= 0.51, patient
            np.testing.assert_array_equal(np.stack([s.mask for s in own]), replicas.axial(expected), patient)

    def test_a_series_goes_back_into_its_geometry(self, duke: Path, tmp_path: Path) -> None:
        own = [s for s in prepare(duke)[0] if s.slice.patient_id == "Breast_MRI_021"]
        write_nifti(put_back((s.image, s.slice) for s in own), tmp_path / "back.nii.gz")
        ras = nibabel.as_closest_canonical(nibabel.load(tmp_path / "back.nii.gz"))
        number = list(replicas.DUKE).index("Breast_MRI_021")
        assert np.abs(np.asarray(ras.dataobj) - replicas.body(number)).max() <= 800 / 255 / 2 + 0.01
        corner = replicas.ORIGIN
        np.testing.assert_allclose(ras.affine[:3, 3], corner, atol=1e-4)

    def test_size_and_percentiles(self, duke: Path) -> None:
        samples, _ = prepare(duke, size=32, percentiles=[1, 99])
        assert samples[0].image.shape == (32, 32)
        low, high = np.percentile(replicas.body(list(replicas.DUKE).index("Breast_MRI_003")), [1, 99])
        assert samples[0].slice.window == (pytest.approx(low), pytest.approx(high))
        with pytest.raises(ParamError, match="percentiles"):
            dataset(percentiles=[99, 1])

    def test_files_are_those_that_are_read(self, tmp_path: Path) -> None:
        duke = tmp_path / "duke"
        replicas.write_duke(duke)  # a spreadsheet that this process has read before is not read again
        opened: set[str] = set()

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and active:
                opened.add(str(arguments[0]))

        active = True
        sys.addaudithook(watch)
        prepare(duke)
        active = False
        files = {str(path) for path in dataset().files(duke)}
        assert files == {path for path in opened if path.startswith(str(duke)) and Path(path).is_file()}
        assert len(files) == 2 + 8 * (6 + 2)

    def test_the_spec_is_light_and_says_what_nobody_tried(self) -> None:
        code = "import mtbench_plugins.datasets.breast_siemens_ge.dataset, sys; print(sorted(sys.modules))"
        modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert not [name for name in ("torch", "monai", "openpyxl", "pydicom", "nrrd") if f"'{name}'" in modules]
        assert SPEC.unverified
        assert SPEC.licence == "CC BY-NC 4.0"
        assert SPEC.published["source"] == {"train": 4096, "validation": 432, "test": 688}
        assert SPEC.published["target"] == {"train": 7900, "validation": 1978, "test": 1890}

    def test_no_personal_tag_is_copied(self, duke: Path) -> None:
        text = repr(prepare(duke)[0])
        for personal in (replicas.NAME, "Doe", replicas.BIRTH, "MRN-4711"):
            assert personal not in text


class TestSplit:
    def test_there_are_seventy_published_training_patients(self) -> None:
        assert len(TRAINING) == 70
        assert "Breast_MRI_002" not in TRAINING  # released as one of the 30 others

    def test_the_other_thirty_are_halved_in_each_domain(self) -> None:
        patients = {f"Breast_MRI_{n:03d}": "GE" if n % 3 else "Siemens" for n in range(1, 31)}
        result = split_of_each(patients, None)
        for maker in ("GE", "Siemens"):
            own = [result[p] for p in patients if patients[p] == maker and p not in TRAINING]
            assert abs(own.count("validation") - own.count("test")) <= 1
        fewer = split_of_each({p: m for p, m in patients.items() if p != "Breast_MRI_018"}, None)
        assert fewer == {
            p: split for p, split in result.items() if p != "Breast_MRI_018"
        }  # one that trains moves nobody

    def test_a_file_goes_over_it(self, tmp_path: Path, duke: Path) -> None:
        file = tmp_path / "split.csv"
        rows = [f"{p},{'test' if p == 'Breast_MRI_006' else 'val'}" for p in replicas.DUKE if p != "Breast_MRI_004"]
        file.write_text("patient,split\n" + "\n".join([*rows, "Breast_MRI_004,"]) + "\n")
        samples, _ = prepare(duke, split=str(file))
        result = {s.slice.patient_id: s.slice.split for s in samples}
        assert result["Breast_MRI_006"] == "test"
        assert result["Breast_MRI_021"] == "validation"
        assert "Breast_MRI_004" not in result
        file.write_text("patient,split\nBreast_MRI_006,train\n")
        with pytest.raises(DataError, match="7 patients are not in the split file"):
            prepare(duke, split=str(file))

    def test_the_note_says_which_split_it_is(self) -> None:
        assert "drawn by seed" in SPEC.task(complete({}, SPEC.params, ""), "breast").note
        assert SPEC.task(complete({"split": "x.csv"}, SPEC.params, ""), "breast").note == ""


class TestMasks:
    """Header names and values in any order, one layer or two: the published reader of the masks handles all these."""

    def image(self, tmp_path: Path, *, prone: bool, descending: bool) -> tuple[Patient, Path]:
        folder = tmp_path / "series"
        replicas.write_series(folder, replicas.body(), prone=prone, descending=descending)
        paths = [tmp_path / f"m/p/Segmentation_p_{kind}.seg.nrrd" for kind in ("Breast", "Dense_and_Vessels")]
        return Patient("p", "source", "Siemens", "train", folder, "series", *paths), tmp_path / "m"

    def labels(self, patient: Patient, by_index: bool = False) -> Any:
        from mtbench_plugins.datasets.breast_siemens_ge.dataset import labels_of

        image = read(patient.series)
        return labels_of(patient, image, by_index=by_index)

    def expected(self) -> Any:
        masks = replicas.breast_labels()
        return np.where(masks["Dense"], 2, np.where(masks["Breast"], 1, 0))

    @pytest.mark.parametrize("space", [True, False], ids=["header", "no header"])
    @pytest.mark.parametrize("by_index", [False, True], ids=["by header", "by index"])
    @pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
    @pytest.mark.parametrize("prone", [False, True], ids=["supine", "prone"])
    def test_the_landmark_survives_every_orientation(
        self, tmp_path: Path, prone: bool, descending: bool, by_index: bool, space: bool
    ) -> None:
        patient, masks = self.image(tmp_path, prone=prone, descending=descending)
        replicas.write_masks(masks, "p", prone=prone, space=space)
        np.testing.assert_array_equal(self.labels(patient, by_index), self.expected())

    @pytest.mark.parametrize("layers", [False, True], ids=["one layer", "two layers"])
    @pytest.mark.parametrize("order", [("Vessels", "Dense"), ("Dense", "Vessels")], ids=" ".join)
    @pytest.mark.parametrize("values", [(1, 2), (2, 1), (7, 3)], ids=str)
    def test_names_and_values_in_any_order(
        self, tmp_path: Path, layers: bool, order: tuple[str, str], values: tuple[int, int]
    ) -> None:
        patient, masks = self.image(tmp_path, prone=False, descending=False)
        replicas.write_masks(masks, "p")
        result = replicas.breast_labels()
        result["Vessels"] &= ~result["Dense"]
        replicas.write_segments(patient.tissue, {name: result[name] for name in order}, layers=layers, values=values)
        np.testing.assert_array_equal(self.labels(patient), self.expected())

    def test_where_layers_overlap_it_is_dense_tissue(self, tmp_path: Path) -> None:
        patient, masks = self.image(tmp_path, prone=True, descending=True)
        replicas.write_masks(masks, "p", prone=True, layers=True)
        result = replicas.breast_labels()
        overlap = result["Dense"] & result["Vessels"]
        assert overlap.any()
        assert (self.labels(patient)[overlap] == 2).all()

    def test_segments_are_read_once_for_all(self, tmp_path: Path) -> None:
        path = tmp_path / "a.seg.nrrd"
        replicas.write_segments(path, {"Dense": replicas.breast_labels()["Dense"]})
        result = read_segmentation(path)
        assert result.segments == {"Dense": (0, 1)}
        with pytest.raises(DataError, match=r"no segment named 'Vessels'.*among Dense"):
            result.inside("Vessels")

    @pytest.mark.parametrize(
        ("header", "text"),
        [
            ({"Segment0_Name": "Fat"}, "no segment named 'Vessels'"),
            ({"Segment1_LabelValue": "one"}, "the header of segment 'Dense' cannot be read"),
            ({"Segment1_Layer": "4"}, "segment 'Dense' is in layer 4 of 1"),
            ({"Segment1_LabelValue": "1"}, "two segments have the same layer and value"),
            ({"space": "scanner-xyz"}, "its space is 'scanner-xyz'"),
        ],
    )
    def test_headers_that_make_no_sense(self, tmp_path: Path, header: dict[str, str], text: str) -> None:
        patient, masks = self.image(tmp_path, prone=False, descending=False)
        replicas.write_masks(masks, "p", header=header)
        with pytest.raises(DataError, match=text):
            self.labels(patient)


class TestSheets:
    def test_header_rows_may_be_shifted(self, tmp_path: Path) -> None:
        for above in (0, 1, 4):
            path = tmp_path / f"{above}.xlsx"
            replicas.write_clinical(
                path, {"Breast_MRI_001": 0, "Breast_MRI_002": "2", "Breast_MRI_003": 1.0}, above=above
            )
            assert sheets.manufacturers(path) == {
                "Breast_MRI_001": "GE",
                "Breast_MRI_002": "Siemens",
                "Breast_MRI_003": "1",
            }

    def test_a_column_of_another_name_is_refused(self, tmp_path: Path) -> None:
        replicas.write_clinical(tmp_path / "a.xlsx", {"Breast_MRI_001": 0}, manufacturer="Manufacturers")
        with pytest.raises(DataError, match=r"no column is called 'Manufacturer'.*Did you mean 'Manufacturers'"):
            sheets.manufacturers(tmp_path / "a.xlsx")

    def test_headers_too_far_down_are_not_taken_for_headers(self, tmp_path: Path) -> None:
        replicas.write_clinical(tmp_path / "a.xlsx", {"Breast_MRI_001": 0}, above=12)
        with pytest.raises(DataError, match="no column is called 'Patient ID'"):
            sheets.manufacturers(tmp_path / "a.xlsx")

    def test_a_legend_that_swaps_the_codes_is_refused(self, tmp_path: Path) -> None:
        import openpyxl

        replicas.write_clinical(tmp_path / "a.xlsx", {"Breast_MRI_001": 0})
        book = openpyxl.load_workbook(tmp_path / "a.xlsx")
        book.worksheets[0]["C3"] = "SIEMENS=0, GE MEDICAL SYSTEMS=2"
        book.save(tmp_path / "a.xlsx")
        with pytest.raises(DataError, match="its legend says that 0 is SIEMENS"):
            sheets.manufacturers(tmp_path / "a.xlsx")

    def test_not_a_spreadsheet(self, tmp_path: Path) -> None:
        (tmp_path / "a.xlsx").write_text("<html>log in</html>")
        with pytest.raises(DataError, match="the spreadsheet cannot be read"):
            sheets.manufacturers(tmp_path / "a.xlsx")

    def test_the_mapping_names_the_series_and_is_remembered(self, tmp_path: Path) -> None:
        path = tmp_path / "mapping.xlsx"
        replicas.write_mapping(path, {"Breast_MRI_001": "3.000000-ax-77"})
        expected = {"Breast_MRI_001": ["3.000000-ax-77", "1.4.1", "1.4.2"]}
        assert sheets.precontrast(path) == expected
        # Another process does not read it again: it would find no spreadsheet.
        before = path.stat()
        path.write_bytes(bytes(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        code = f"import json, pathlib; from {sheets.__name__} import precontrast as read; "
        code += f"print(json.dumps(read(pathlib.Path({str(path)!r}))))"
        again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert json.loads(again.stdout) == expected

    def test_the_mapping_saved_as_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "mapping.csv"
        path.write_text(
            "original_path_and_filename,descriptive_path\n"
            "DICOM_Images/Breast_MRI_001/pre/1.dcm,Duke/Breast_MRI_001/study//3.0-ax-1/1-1.dcm\n"
        )
        assert sheets.precontrast(path) == {"Breast_MRI_001": ["3.0-ax-1"]}
        path.write_text("original_path_and_filename,path\n")
        with pytest.raises(DataError, match="no column is called 'descriptive_path'"):
            sheets.precontrast(path)

    def test_without_mapping_the_name_of_the_folder_decides(self, tmp_path: Path) -> None:
        root = small(tmp_path, "Breast_MRI_006", "Breast_MRI_021", "Breast_MRI_003")
        (root / "Breast-Cancer-MRI-filepath_filename-mapping.xlsx").unlink()
        for patient in ("Breast_MRI_006", "Breast_MRI_021"):
            series(root, patient).rename(series(root, patient).with_name("6.000000-ax dyn PRE-12345"))
        samples, context = prepare(root)
        assert {s.slice.patient_id for s in samples} == {"Breast_MRI_006", "Breast_MRI_021"}
        assert "0 of 2 series are the pre-contrast one" in dict(context.left_out)["Breast_MRI_003"]
        assert "identified by folder name" in context.log[0]


def alter(root: Path, patient: str, change: Callable[[int, Dataset], None]) -> None:
    """Rewrite the files of a patient's pre-contrast series."""
    for index, path in enumerate(sorted(series(root, patient).iterdir())):
        item = pydicom.dcmread(path)
        change(index, item)
        item.save_as(path)


def no_pixels(index: int, item: Dataset) -> None:
    if index == 2:
        del item.PixelData


def spacing(index: int, item: Dataset) -> None:
    item.PixelSpacing = [1.5 + 0.5 * (index == 3), 1.5]


def two_series(index: int, item: Dataset) -> None:
    if index == 4:
        item.SeriesInstanceUID = generate_uid()


def compressed(index: int, item: Dataset) -> None:
    item.file_meta.TransferSyntaxUID = replicas.JPEG_LS
    item.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7" + b"\0" * 64])
    item["PixelData"].VR = "OB"
    item["PixelData"].is_undefined_length = True


def other_maker(index: int, item: Dataset) -> None:
    item.Manufacturer = "SIEMENS"


class TestBadInput:
    """Each is left out by name and reason, the other patient is prepared."""

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (no_pixels, "has no PixelData"),
            (spacing, "its size, spacing or direction differs"),
            (two_series, "this folder holds 2 DICOM series"),
            (compressed, "its pixels cannot be decoded"),
            (other_maker, "the DICOM header says 'SIEMENS Model' and the clinical spreadsheet GE"),
        ],
    )
    def test_series(self, tmp_path: Path, change: Callable[[int, Dataset], None], text: str) -> None:
        root = small(tmp_path)
        alter(root, "Breast_MRI_006", change)
        samples, context = prepare(root)
        assert list(dict(context.left_out)) == ["Breast_MRI_006"]
        assert text in dict(context.left_out)["Breast_MRI_006"]
        assert {s.slice.patient_id for s in samples} == {"Breast_MRI_021"}

    def test_a_missing_slice(self, tmp_path: Path) -> None:
        root = small(tmp_path)
        sorted(series(root, "Breast_MRI_006").iterdir())[2].unlink()
        assert "Look for a missing slice" in left_out(root)["Breast_MRI_006"]

    def test_a_truncated_dicom(self, tmp_path: Path) -> None:
        root = small(tmp_path)
        path = sorted(series(root, "Breast_MRI_006").iterdir())[0]
        path.write_bytes(path.read_bytes()[:-100])
        assert "1-001.dcm" in left_out(root)["Breast_MRI_006"]

    def test_masks_of_another_shape(self, tmp_path: Path) -> None:
        root = small(tmp_path)
        path = CollectionLayout.find(root).mask_files("Breast_MRI_006")[0]
        replicas.write_segments(path, {"Breast": np.ones((16, 16, 5), bool)})
        assert "the mask is 16 x 16 x 5" in left_out(root)["Breast_MRI_006"]
        assert "the mask is 5 x 16 x 16" in left_out(root, masks_by="index")["Breast_MRI_006"]

    def test_masks_of_another_orientation(self, tmp_path: Path) -> None:
        """Refused by their header; taken by index where the user says that the header is wrong."""
        root = small(tmp_path)
        path = CollectionLayout.find(root).mask_files("Breast_MRI_006")[0]
        breast = {"Breast": replicas.breast_labels()["Breast"]}
        replicas.write_segments(path, breast, prone=True)  # other axes, told by the header: the same place
        assert left_out(root) == {}
        replicas.write_segments(path, breast, header={"space origin": np.zeros(3)})
        assert "are at different positions" in left_out(root)["Breast_MRI_006"]
        assert left_out(root, masks_by="index") == {}

    def test_empty_and_truncated_masks(self, tmp_path: Path) -> None:
        root = small(tmp_path)
        nothing = {"Breast": np.zeros(replicas.SHAPE, bool)}
        breast, tissue = CollectionLayout.find(root).mask_files("Breast_MRI_006")
        replicas.write_segments(breast, nothing)
        replicas.write_segments(tissue, {"Vessels": nothing["Breast"], "Dense": nothing["Breast"]})
        assert "the masks are empty" in left_out(root)["Breast_MRI_006"]
        tissue.write_bytes(tissue.read_bytes()[:-30])
        assert "Dense_and_Vessels.seg.nrrd: this file cannot be read" in left_out(root)["Breast_MRI_006"]
        tissue.write_bytes(b"")
        assert "this file is empty (0 bytes)" in left_out(root)["Breast_MRI_006"]

    def test_an_unknown_manufacturer(self, tmp_path: Path) -> None:
        root = small(tmp_path)
        replicas.write_clinical(root / "Clinical_and_Other_Features.xlsx", {"Breast_MRI_006": 1})
        result = left_out(root)
        assert "its manufacturer is 1. Expected 0 (GE) or 2 (Siemens)" in result["Breast_MRI_006"]
        assert "its manufacturer is nothing" in result["Breast_MRI_021"]

    def test_a_patient_without_masks_or_images(self, tmp_path: Path) -> None:
        root = small(tmp_path, "Breast_MRI_006", "Breast_MRI_021", "Breast_MRI_003")
        layout = CollectionLayout.find(root)
        layout.mask_files("Breast_MRI_006")[1].unlink()
        for path in layout.mask_files("Breast_MRI_021"):
            path.unlink()
        layout.mask_files("Breast_MRI_021")[0].parent.rmdir()
        (layout.images / "Breast_MRI_003").rename(layout.images / "elsewhere")
        result = left_out(root)
        assert "Dense_and_Vessels.seg.nrrd: this mask is missing" in result["Breast_MRI_006"]
        assert "Breast.seg.nrrd: this mask is missing" in result["Breast_MRI_021"]  # a published training patient
        assert "this patient has masks and no images" in result["Breast_MRI_003"]

    def test_patients_outside_the_hundred_take_no_part(self, tmp_path: Path) -> None:
        root = small(tmp_path)
        replicas.write_series(series(root, "Breast_MRI_999"), replicas.body())
        samples, context = prepare(root)
        assert "Breast_MRI_999" not in {s.slice.patient_id for s in samples}
        assert context.left_out == []

    def test_what_is_missing_is_named_with_where_to_get_it(self, tmp_path: Path) -> None:
        (tmp_path / "Duke-Breast-Cancer-MRI").mkdir()
        with pytest.raises(DataError, match=r"missing: the masks .*, the spreadsheet Clinical.*cancerimagingarchive"):
            list(dataset().files(tmp_path))

    @pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of another system")
    def test_a_root_without_permission(self, tmp_path: Path) -> None:
        """As nobody, where the tests run as root, who may read everything."""
        (tmp_path / "root").mkdir()
        (tmp_path / "root").chmod(0)
        code = (
            "import os, sys; from pathlib import Path; from mtbench.errors import DataError\n"
            "from mtbench_plugins.datasets.breast_siemens_ge.layout import CollectionLayout\n"
            "os.geteuid() or os.seteuid(65534)\n"
            "try: CollectionLayout.find(Path(sys.argv[1]))\n"
            "except DataError as error: print(error)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "root")]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "the folder cannot be read: Permission denied. Correct its permissions" in ran.stdout


def test_it_is_registered() -> None:
    assert "breast-siemens-ge" in discover(third_party=False).names("dataset")
