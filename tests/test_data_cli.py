"""``mtbench data``: listing, preparing as a run would, resuming, strictness, licences, and what ``check`` finds."""

from __future__ import annotations

import json
import os
import re
import shutil
import textwrap
import threading
import tomllib
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import replicas
from PIL import Image

from mtbench.compute.context import Context
from mtbench.data import ImageSet, Sample, Slice, Task
from mtbench.errors import DiskFullError
from mtbench.hashing import hash_of
from mtbench.preparation import prepare_cases
from mtbench.preparation.sheets import contact_sheet, spread
from mtbench.registry.discovery import discover
from mtbench.store.hashes import Hashes
from mtbench_plugins.datasets.breast_siemens_ge import dataset as breast
from mtbench_plugins.datasets.folder.config import DOMAIN_KEYS, Config

NAME = "breast-siemens-ge:size=16"
ACCEPT = "--accept-licence"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is remembered of spreadsheets stays in the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def duke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replica that no test changes."""
    root = tmp_path_factory.mktemp("duke")
    replicas.write_duke(root)
    return root


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """One to be damaged."""
    replicas.write_duke(tmp_path / "own")
    return tmp_path / "own"


def damage(root: Path, patient: str = "Breast_MRI_006") -> None:
    study = root / "manifest-1/Duke-Breast-Cancer-MRI" / patient / "01-01-1990-MRI BREAST-98765"
    sorted((study / replicas.PRE).iterdir())[2].unlink()


def artefacts(store: Path, stage: str) -> list[Path]:
    return sorted(path.parent for path in (store / "artefacts" / stage).glob("*/*/manifest.json"))


class TestList:
    def test_every_data_set_says_what_it_is(self, run_cli: Any) -> None:
        ran = run_cli("data", "list", "--no-plugins")
        assert ran.code == 0
        for text in (
            *("breast-siemens-ge: ", "lumbar-mri-ct: ", "phantom-lumbar: ", "folder: "),
            *("licence:    CC BY-NC 4.0", "access:     open", "cancerimagingarchive.net", "zenodo"),
            *("source slices: train 4096, validation 432, test 688", "target slices: train 1466"),
            *("unverified: Not tested on real spreadsheets", "unverified: Tested on one resampled subject"),
        ):
            assert text in ran.out, text

    def test_one_and_json(self, run_cli: Any) -> None:
        ran = run_cli("data", "list", "lumbar-mri-ct")
        assert "breast" not in ran.out
        (row,) = [row for row in json.loads(run_cli("data", "list", "--json").out) if row["name"] == "lumbar-mri-ct"]
        assert json.loads(run_cli("data", "list", "lumbar-mri-ct", "--json").out) == row
        assert row["published"]["source"]["train"] == 495
        assert len(row["unverified"]) == 3
        missing = run_cli("data", "list", "lumbar-mr-ct")
        assert missing.code == 2
        assert "'lumbar-mri-ct'" in missing.err


class TestPrepare:
    def test_a_run_finds_it_prepared(self, duke: Path, run_cli: Any, store: Path, tmp_path: Path) -> None:
        """Prepared by name with --root; the suite calls it otherwise and writes the root otherwise."""
        ran = run_cli("data", "prepare", NAME, "--root", duke, ACCEPT)
        assert ran.code == 0, ran.err
        assert "24 source slices of 4 patients, 24 target slices of 4 patients; 0 cases left out" in ran.out
        (prepared,) = artefacts(store, "prepare")
        os.environ["MTBENCH_DUKE_ROOT"] = str(duke)
        suite = tmp_path / "mine.toml"
        suite.write_text(
            'translators = ["identity"]\nmetrics = ["swd"]\n[[datasets]]\nname = "mine"\nplugin = "breast-siemens-ge"\n'
            'root = "${MTBENCH_DUKE_ROOT}"\nparams.size = 16\n'
        )
        try:
            run = run_cli("run", suite, "--device", "cpu", "--executor", "inline")
            again = run_cli("data", "prepare", suite)
        finally:
            del os.environ["MTBENCH_DUKE_ROOT"]
        assert "done prepare" not in run.err
        assert "prepare mine: computed" not in run.err
        assert "2 reused" in run.err
        assert artefacts(store, "prepare") == [prepared]
        assert "mine: already prepared; 24 source" in again.out

    def test_nothing_personal_reaches_the_store(self, duke: Path, run_cli: Any, store: Path) -> None:
        run_cli("data", "prepare", NAME, "--root", duke, ACCEPT)
        content = b"".join(path.read_bytes() for path in store.rglob("*") if path.is_file())
        assert b"Breast_MRI_006" in content
        for personal in (replicas.NAME, replicas.BIRTH, "MRN-4711"):
            assert personal.encode() not in content

    def test_the_first_batch_is_a_memory_map(self, duke: Path, run_cli: Any, store: Path) -> None:
        run_cli("data", "prepare", NAME, "--root", duke, ACCEPT)
        (folder,) = artefacts(store, "prepare")
        images = np.load(folder / "images-target.npy", mmap_mode="r")
        assert isinstance(images, np.memmap)
        assert (images.shape, images.dtype) == ((24, 16, 16), np.uint8)

    def test_each_raw_file_is_read_once(
        self, duke: Path, run_cli: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Hashed and decoded from the same bytes; a copied folder is hashed, not decoded again."""
        opened: Counter[str] = Counter()
        plain = Path.open

        def count(path: Path, *args: Any, **named: Any) -> Any:
            opened.update([str(path)] if path.suffix in (".dcm", ".nrrd") else [])
            return plain(path, *args, **named)

        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
        monkeypatch.setattr(Path, "open", count)
        assert run_cli("data", "prepare", NAME, "--root", duke, ACCEPT).code == 0
        assert len(opened) == len(replicas.DUKE) * (replicas.SHAPE[2] + 2)
        assert set(opened.values()) == {1}
        opened.clear()
        assert run_cli("data", "check", NAME, "--root", duke, "--out", tmp_path / "sheets").code == 0
        assert not opened
        (folder,) = artefacts(store, "prepare")
        shutil.copytree(duke, tmp_path / "copy")
        monkeypatch.setattr(breast, "read", None)
        assert "already prepared" in run_cli("data", "prepare", NAME, "--root", tmp_path / "copy").out
        assert set(opened.values()) == {1}
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["address"] == folder.name
        with closing(Hashes(tmp_path / "other.sqlite")) as hashes:
            files = [path for path in duke.rglob("*") if "1st pass" not in str(path) and path.is_file()]
            assert manifest["files_fingerprint"] == hash_of({"root": hashes.fingerprint(duke, files)})

    def test_raw_files_that_change_while_they_are_read(
        self, own: Path, run_cli: Any, store: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain = breast.read

        def changing(path: Path) -> Any:
            volume = plain(path)
            os.utime(sorted(path.iterdir())[0], (1, 1))
            return volume

        with monkeypatch.context() as patch:
            patch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
            patch.setattr(breast, "read", changing)
            ran = run_cli("data", "prepare", NAME, "--root", own, ACCEPT)
        assert ran.code == 1
        assert "raw files changed while they were read" in ran.err
        assert artefacts(store, "prepare") == []
        assert run_cli("data", "prepare", NAME, "--root", own).code == 0
        assert len(artefacts(store, "prepare")) == 1

    def test_bad_cases_are_listed_and_left_out_or_refused(self, own: Path, run_cli: Any, store: Path) -> None:
        damage(own)
        strict = run_cli("data", "prepare", NAME, "--root", own, ACCEPT, "--strict")
        assert strict.code == 1
        assert "1 case unusable: Breast_MRI_006:" in strict.err
        assert "Look for a missing slice" in strict.err
        assert artefacts(store, "prepare") == []
        ran = run_cli("data", "prepare", NAME, "--root", own)
        assert ran.code == 0
        assert "skipped: Breast_MRI_006:" in ran.out
        assert "18 target slices of 3 patients; 1 case left out" in ran.out
        again = run_cli("data", "prepare", NAME, "--root", own, "--strict")
        assert again.code == 1
        assert "prepared before: 1 case cannot be used: Breast_MRI_006" in again.err

    def test_the_licence_is_shown_once_and_recorded(self, duke: Path, run_cli: Any, store: Path) -> None:
        refused = run_cli("data", "prepare", NAME, "--root", duke)
        assert refused.code == 2
        assert "CC BY-NC 4.0" in refused.err
        assert "use --accept-licence" in refused.err
        assert artefacts(store, "prepare") == []
        accepted = run_cli("data", "prepare", NAME, "--root", duke, ACCEPT)
        assert "Licence of 'breast-siemens-ge': CC BY-NC 4.0" in accepted.err
        record = json.loads((store / "licences.json").read_text())["breast-siemens-ge"]
        assert record["licence"] == "CC BY-NC 4.0"
        assert record["accepted"].endswith("+00:00")
        assert "Licence" not in run_cli("data", "prepare", NAME, "--root", duke).err

    def test_what_is_missing_is_said_with_where_to_get_it(self, tmp_path: Path, run_cli: Any) -> None:
        (tmp_path / "empty").mkdir()
        ran = run_cli("data", "prepare", NAME, "--root", tmp_path / "empty", ACCEPT)
        assert ran.code == 1
        assert "missing: the images (Duke-Breast-Cancer-MRI), the masks" in ran.err
        assert "cancerimagingarchive.net" in ran.err
        no_root = run_cli("data", "prepare", NAME, ACCEPT)
        assert no_root.code == 2
        assert "has no 'root', the folder with its files" in no_root.err

    def test_wrong_requests(self, run_cli: Any, toys: Path, tmp_path: Path) -> None:
        for arguments, text in (
            (["data", "prepare", "breast-siemens"], "unknown dataset 'breast-siemens'"),
            (["data", "prepare", "quickstart", "--root", "x"], "--root is only for a data set named directly"),
            (["data", "prepare", "phantom-breast", "-d", "x"], "-d selects data sets of a suite"),
            (["data", "prepare", "phantom-breast:sise=3"], "unknown parameter 'sise'"),
            (["data", "check", "phantom-breast"], "Run `mtbench data prepare phantom-breast` first"),
        ):
            ran = run_cli(*arguments)
            assert ran.code in (1, 2)
            assert text in ran.err
            assert "Traceback" not in ran.err

    def test_a_suite_and_a_plugin_file(self, run_cli: Any, toys: Path, store: Path) -> None:
        suite = toys.with_name("s.toml")
        suite.write_text('datasets = ["toy", "toy-paired"]\ntranslators = ["toy-same"]\nmetrics = ["toy-mean"]\n')
        ran = run_cli("data", "prepare", suite, "-d", "toy", "--plugin", toys)
        assert ran.code == 0, ran.err
        assert len(artefacts(store, "prepare")) == len(artefacts(store, "split")) == 1
        assert "toy-paired" not in ran.out

    def test_too_few_patients_are_prepared_and_the_trouble_is_told(self, tmp_path: Path, run_cli: Any) -> None:
        replicas.write_duke(tmp_path / "two", {"Breast_MRI_006": replicas.GE, "Breast_MRI_021": replicas.SIEMENS})
        ran = run_cli("data", "prepare", NAME, "--root", tmp_path / "two", ACCEPT)
        assert ran.code == 0
        assert "not split yet" in ran.out
        check = run_cli("data", "check", NAME, "--root", tmp_path / "two")
        assert check.code == 1
        assert "leak:     The patients cannot be divided" in check.out


class TestResume:
    def test_a_full_disk_half_way(self, own: Path, run_cli: Any, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The disk is full after three patients (a flush that fails stands for it); the next try reads the others."""
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
        read: list[str] = []
        plain = breast.read
        monkeypatch.setattr(breast, "read", lambda path: (read.append(Path(path).parts[-3]), plain(path))[1])
        count = 0

        def full(handle: int) -> None:
            nonlocal count
            count += 1
            if count > 5:  # the record of licences, what is remembered of a spreadsheet, three patients
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            ran = run_cli("data", "prepare", NAME, "--root", own, ACCEPT)
        assert ran.code == 1
        assert ran.err.count("the disk is full") == 1
        assert "Traceback" not in ran.err
        kept = list((store / "partial").glob("*/*.case"))
        assert len(kept) == 3
        first = set(read[:3])
        read.clear()
        again = run_cli("data", "prepare", NAME, "--root", own)
        assert again.code == 0
        assert "24 source slices of 4 patients, 24 target slices of 4 patients" in again.out
        assert set(read) == set(replicas.DUKE) - first
        assert not list((store / "partial").iterdir())

    def test_resumed_and_uninterrupted_give_the_same(
        self, duke: Path, run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digests = []
        for name in ("whole", "resumed"):
            if name == "resumed":
                with monkeypatch.context() as patch:
                    patch.setattr(
                        breast, "samples_of_case", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt)
                    )
                    run_cli("data", "prepare", NAME, "--root", duke, ACCEPT, "--store", tmp_path / name)
            run_cli("data", "prepare", NAME, "--root", duke, ACCEPT, "--store", tmp_path / name)
            (folder,) = artefacts(tmp_path / name, "prepare")
            digests.append(json.loads((folder / "manifest.json").read_text())["digest"])
        assert digests[0] == digests[1]


class TestCases:
    names = (*(f"case{i}" for i in range(9)), "bad", "empty", "gone")

    @pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
    def test_in_order_with_what_cannot_be_used_left_out(self, tmp_path: Path, processes: bool) -> None:
        reports: list[tuple[int, int]] = []
        context = Context(progress=lambda done, total, figures: reports.append((done, total)))
        cases = {name: name for name in self.names}
        samples = list(
            prepare_cases(cases, partial(replicas.read_case, str(tmp_path)), context, processes=processes, workers=2)
        )
        assert [s.slice.slice_id for s in samples] == [f"case{i}_{j}" for i in range(9) for j in (0, 1)]
        assert samples[0].slice == replicas.sample("case0").slice
        np.testing.assert_array_equal(samples[1].image, np.full((4, 5), 6))
        np.testing.assert_array_equal(samples[0].mask, np.ones((4, 5)))
        assert context.left_out == [
            ("bad", "bad: it is damaged."),
            ("gone", "gone.dcm cannot be read: No such file."),
        ]
        assert context.log == ["1 case without a slice for the task: empty"]
        assert reports[-1] == (12, 12)
        workers = {path.name.partition("-")[2] for path in tmp_path.iterdir()}
        assert (str(os.getpid()) in workers) is not processes

    def test_a_pair_comes_back_as_it_was(self) -> None:
        """A source of two channels without a mask, and its truth with one."""
        source, target = replicas.sample("a"), replicas.sample("a", value=9)
        pair = [
            replace(source, image=np.stack([source.image, source.image + 1]), mask=None),
            replace(target, domain="target", mask=np.full((4, 5), 3, np.uint8)),
        ]
        samples = list(prepare_cases({"a": "a"}, lambda name: [*pair, *pair], Context()))
        assert [(s.domain, s.image[..., 0, 0].tolist()) for s in samples] == [("source", [7, 8]), ("target", 9)] * 2
        assert [None if s.mask is None else int(s.mask[0, 0]) for s in samples] == [None, 3] * 2

    def test_no_more_cases_in_memory_than_workers(self) -> None:
        """However many there are: readers are never ahead by more than the workers, and give back no pixels."""
        lock, at_work, most = threading.Lock(), 0, 0

        def read(name: str) -> list[Sample]:
            nonlocal at_work, most
            with lock:
                at_work += 1
                most = max(most, at_work)
            samples = [replicas.sample(name)]
            with lock:
                at_work -= 1
            return samples

        started: set[str] = set()

        def counting(name: str) -> list[Sample]:
            started.add(name)
            return read(name)

        stream = prepare_cases({str(i): str(i) for i in range(50)}, counting, Context(), workers=3)
        next(stream)
        assert len(started) <= 2 * 3
        assert len(list(stream)) == 49
        assert 1 <= most <= 3

    def test_a_bug_of_the_reader_is_not_a_bad_case(self) -> None:
        with pytest.raises(ZeroDivisionError):
            list(prepare_cases({"a": 0}, lambda case: [replicas.sample(str(1 / case))], Context()))

    @pytest.mark.slow
    def test_a_process_that_dies_is_a_bad_case_and_its_exceptions_come_back(self, tmp_path: Path) -> None:
        context = Context()
        names = [f"case{i}" for i in range(9)]
        cases = {name: name for name in ("dies", *names)}
        read = partial(replicas.read_case, str(tmp_path))
        assert len(list(prepare_cases(cases, read, context, processes=True, workers=2))) == 18
        assert context.left_out == [
            ("dies", "The process that read it died (exit code 9), possibly because memory ran out.")
        ]
        with pytest.raises(ZeroDivisionError):
            list(prepare_cases({name: name for name in ("bug", *names)}, read, Context(), processes=True, workers=2))

    def test_a_full_disk_is_no_bad_case(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="the disk is full"):
            list(prepare_cases({"a": "a"}, lambda case: [replicas.sample(case)], Context(partial=tmp_path)))


class TestCheck:
    def test_counts_and_sheets(self, duke: Path, run_cli: Any, tmp_path: Path) -> None:
        run_cli("data", "prepare", NAME, "--root", duke, ACCEPT)
        ran = run_cli("data", "check", NAME, "--root", duke, "--out", "sheets")
        assert ran.code == 0
        assert [line.split() for line in ran.out.splitlines() if line.startswith("source (Siemens)")] == [
            ["source", "(Siemens)", "train", "12", "4096", "2"],
            ["source", "(Siemens)", "validation", "6", "432", "1"],
            ["source", "(Siemens)", "test", "6", "688", "1"],
        ]
        assert "No leaks." in ran.out
        assert "source train: 2 of 12 masks are empty" in ran.out
        pages = sorted(path.name for path in (tmp_path / "sheets/breast-siemens-ge").iterdir())
        assert pages == [f"{d}-{s}.png" for d in ("source", "target") for s in ("test", "train", "validation")]
        record = json.loads(run_cli("data", "check", NAME, "--root", duke, "--json").out)
        assert record["counts"][3]["published"] == 7900
        assert (record["leaks"], record["left_out"]) == ([], [])

    def test_a_patient_that_a_demonstration_parts_is_no_leak(self, run_cli: Any, tmp_path: Path) -> None:
        """A split that declares itself no result is told as such."""
        (tmp_path / "demo.toml").write_text(
            '[[datasets]]\nname = "phantom-lumbar"\nsplit = "demo"\n'
            "params = { size = 32, patients_source = 3, patients_target = 1, slices = 6 }\n"
        )
        # Nothing but data sets is asked of a suite here.
        preparation = run_cli("data", "prepare", "demo.toml")
        assert preparation.code == 0, preparation.err
        assert "18 source slices of 3 patients, 6 target slices of 1 patient; 0 cases left out" in preparation.out
        ran = run_cli("data", "check", "demo.toml")
        assert ran.code == 0, ran.out
        assert "is in 3 splits: test, train, validation, because of split = 'demo': not a result" in ran.out
        assert "No leaks." in ran.out

    def test_the_same_patient_under_two_ids_is_a_leak(self, run_cli: Any, tmp_path: Path) -> None:
        """Found by the images' hashes, as the ids do not say it."""
        replicas.write_duke(tmp_path / "twice")
        images = tmp_path / "twice/manifest-1/Duke-Breast-Cancer-MRI"
        for patient in ("Breast_MRI_006", "Breast_MRI_002"):  # one trains, one does not
            replicas.write_series(
                images / patient / "01-01-1990-MRI BREAST-98765" / replicas.PRE, replicas.body(9), maker="GE MEDICAL"
            )
            replicas.write_masks(tmp_path / "twice/Segmentation_Masks_NRRD", patient)
        run_cli("data", "prepare", NAME, "--root", tmp_path / "twice", ACCEPT)
        ran = run_cli("data", "check", NAME, "--root", tmp_path / "twice")
        assert ran.code == 1
        assert "leak:     6 image(s) under the ids of several patients or domains: target" in ran.out
        assert "No leak" not in ran.out

    def test_left_out_cases_are_shown_again(self, own: Path, run_cli: Any) -> None:
        damage(own)
        run_cli("data", "prepare", NAME, "--root", own, ACCEPT)
        ran = run_cli("data", "check", NAME, "--root", own)
        assert "skipped:  Breast_MRI_006:" in ran.out

    def test_odd_images_missing_labels_and_shared_patients(self, run_cli: Any, tmp_path: Path) -> None:
        """A folder task with one black image, one far too bright, a patient without the label, shared ids."""
        rng = np.random.default_rng(0)
        for domain in ("a", "b"):
            for patient in range(6):
                for index in range(3):
                    image = rng.integers(40, 90, (16, 16)).astype(np.uint8)
                    mask = np.zeros((16, 16), np.uint8)
                    mask[4:8, 4:8] = 1
                    if domain == "a" and patient == 0:
                        mask[:] = 0
                    if domain == "a" and (patient, index) == (1, 0):
                        image[:] = 0
                    if domain == "b" and (patient, index) == (2, 1):
                        image += 150
                    for kind, array in (("images", image), ("masks", mask)):
                        path = tmp_path / "made" / domain / kind / f"p{patient}_{index}.png"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        Image.fromarray(array).save(path)
        side = '{{ images = "{0}/images/*.png", masks = "{0}/masks/*.png", patient = "(p[0-9])_", normalise = "none" }}'
        (tmp_path / "made.toml").write_text(
            'translators = ["identity"]\nmetrics = ["swd"]\n[[datasets]]\nname = "made"\nplugin = "folder"\n'
            'root = "made"\nsplit = { by = "seed", same_people = false }\n'
            f"[datasets.params]\nsize = 16\nlabels = {{ organ = 1 }}\nsource = {side.format('a')}\n"
            f"target = {side.format('b')}\n"
        )
        assert run_cli("data", "prepare", tmp_path / "made.toml").code == 0
        ran = run_cli("data", "check", tmp_path / "made.toml")
        assert ran.code == 0
        for text in (
            "slice (p1_0) of one grey level",
            "1 case (p0) without 'organ'",
            "3 of ",
            "target: 1 slice (p2_1) much brighter or darker than the others",
            "6 patient ids (p0, p1, p2, ...) in both domains",
            "in the training split of both domains, so training is not unpaired",
        ):
            assert text in ran.out, text
        suite = (tmp_path / "made.toml").read_text()
        (tmp_path / "made.toml").write_text(suite.replace(", same_people = false", ""))
        same = run_cli("data", "check", tmp_path / "made.toml")
        assert (
            "6 patients are in both domains, in the same split in both; of the training patients, 2 are source only"
            in same.out
        )
        assert "treated as different people" not in same.out
        assert "training is not unpaired" not in same.out


def test_a_sheet_shows_masks_where_they_are(tmp_path: Path) -> None:
    images = np.full((30, 32, 32), 90, np.uint8)
    masks = np.zeros((30, 32, 32), np.uint8)
    masks[:, 4:12, 20:28] = 1
    slices = tuple(Slice(f"s{i}", f"p{i // 6}", f"p{i // 6}", i) for i in range(30))
    task = Task("made", labels={1: "organ"}, masks=frozenset({"source"}))
    image_set = ImageSet(images, slices, masks, task, "source", "train")
    chosen = spread(image_set)
    assert len(chosen) == 24
    assert {i // 6 for i in chosen} == set(range(5))
    contact_sheet(image_set, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        page = np.asarray(sheet).astype(int)
    assert page.shape == (14 + 4 * (192 + 14), 6 * 192, 3)
    tile = page[14 : 14 + 192, :192]
    red = (tile[..., 0] - tile[..., 1]) > 60
    rows, columns = np.nonzero(red)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 71, 120, 167)
    assert not red[30:60, 130:160].any()  # an outline, so that the image can be seen


def test_a_sheet_of_few_images_without_masks(tmp_path: Path) -> None:
    image_set = ImageSet(
        np.zeros((2, 8, 20), np.uint8), (Slice("a", "a", "a"), Slice("b", "b", "b")), None, Task("x"), "target", "test"
    )
    contact_sheet(image_set, tmp_path / "deep/sheet.png")
    with Image.open(tmp_path / "deep/sheet.png") as sheet:
        assert sheet.size == (2 * 192, 14 + 192 + 14)


class TestGuide:
    """What docs/datasets.md shows works."""

    text = (Path(__file__).parent.parent / "docs/datasets.md").read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        return [textwrap.dedent(block) for block in re.findall(rf"```{language}\n(.*?)```", self.text, re.DOTALL)]

    def test_the_tables_of_folder_and_of_the_lumbar_task(self) -> None:
        folder, channels, plain, pairs, lumbar, synthrad = (tomllib.loads(block) for block in self.blocks("toml"))
        (entry,) = folder["datasets"]
        registry = discover(third_party=False)
        params = registry.get("dataset", "folder").complete(entry["params"])
        assert set(Config.of(params).labels) == {"femur", "tibia"}
        several = Config.of({**params, "labels": {}, **channels["datasets"]["params"], "target": {"images": "ct/*"}})
        assert list(several.source.channels) == ["T1", "T2", "FLAIR"]
        params["source"] = plain["datasets"]["params"]["source"]
        assert Config.of(params).source.from_below == (1, 5)
        assert Config.of(registry.get("dataset", "folder").complete(pairs["datasets"]["params"])).paired
        registry.get("dataset", "lumbar-mri-ct").create(
            registry.get("dataset", "lumbar-mri-ct").complete(lumbar["datasets"][0]["params"])
        )
        registry.get("dataset", "synthrad2023").create(
            registry.get("dataset", "synthrad2023").complete(synthrad["datasets"][0]["params"])
        )

    def test_every_parameter_of_folder_is_shown(self) -> None:
        for name in DOMAIN_KEYS:
            assert re.search(rf"^(# )?{name} = |\.{name}\]", "\n".join(self.blocks("toml")), re.MULTILINE), name

    def test_the_plugin_of_thirty_lines(self, tmp_path: Path, run_cli: Any) -> None:
        (code,) = self.blocks("python")
        (tmp_path / "knees.py").write_text(code)
        for contrast in ("t1", "t2"):
            for number in range(3):
                path = tmp_path / "knees" / contrast / f"{contrast[1]}p{number}.nii.gz"
                replicas.write_nifti(path, replicas.body(number))
                mask = replicas.bones()["vertebrae_L3"]
                replicas.write_nifti(path.with_name(f"{contrast[1]}p{number}_mask.nii.gz"), mask, dtype=np.uint8)
        (tmp_path / "knees/t1/1p1_mask.nii.gz").unlink()
        plugin = ("--plugin", tmp_path / "knees.py")
        ran = run_cli("data", "prepare", "knees", "--root", tmp_path / "knees", ACCEPT, *plugin)
        assert ran.code == 0, ran.err
        assert "32 source slices of 2 patients, 48 target slices of 3 patients; 1 case left out" in ran.out
        assert "skipped: t1 1p1.nii.gz: " in ran.out
