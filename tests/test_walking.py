"""Links, loops, hidden names and files of other kinds, below every folder that mtbench looks through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mtbench
from mtbench.errors import DataError
from mtbench.formats.reading import is_series
from mtbench.formats.walking import entries_below, images_below, once, others_below
from mtbench_plugins.datasets.folder.config import Config
from mtbench_plugins.datasets.folder.listing import items


def images(folder: Path, names: str = "0 1 2", seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names.split()):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (64, 64)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def tangled(root: Path) -> Path:
    """Two patients and one on another disk; aliases of files and folders, and loops, lead to the same nine images."""
    images(root / "p1", seed=1)
    images(root / "p2", seed=2)
    images(root.with_name("disk"), seed=3)
    (root / "p3").symlink_to(root.with_name("disk"))
    (root / "also_p1").symlink_to(root / "p1")
    (root / "p1/loop").symlink_to(root)
    (root / "p2/up").symlink_to("..")
    (root / "p2/9.png").symlink_to("0.png")
    (root / "a.png").symlink_to(root / "p1/0.png")
    (root / "broken.png").symlink_to(root / "nowhere.png")
    (root / "itself").symlink_to(root / "itself")
    return root


EXPECTED = [f"p{p}/{i}.png" for p in (1, 2, 3) for i in range(3)]


def relative(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_each_real_image_counts_once_by_the_name_without_a_link(tmp_path: Path) -> None:
    root = tangled(tmp_path / "root")
    assert relative(images_below(root), root) == EXPECTED
    # Of masks each name counts, but nobody goes round in circles.
    names = relative(images_below(root, aliases=True), root)
    assert len(names) == len(set(names)) < 100
    assert {*EXPECTED, "a.png", "also_p1/0.png", "p2/9.png"} <= set(names)


@pytest.mark.parametrize("pattern", ["", "*/*.png", "**/*.png", "*/*"])
def test_the_folder_dataset_sees_the_same(tmp_path: Path, pattern: str) -> None:
    tangled(tmp_path / "data/root")
    domain = {"images": f"root/{pattern}" if pattern else "root", "patient": "([^/]*)/[^/]*$"}
    config = Config.of({"source": domain, "target": domain, "resize": "plain", "size": 64})
    left_out: list[tuple[str, str]] = []
    found = items(tmp_path / "data", config.source, lambda name, reason: left_out.append((name, reason)))
    assert not left_out
    assert sorted(item.relative for item in found) == [f"root/{name}" for name in EXPECTED]


def test_score_and_translate_see_the_same(tmp_path: Path) -> None:
    root = tangled(tmp_path / "root")
    target = images(tmp_path / "target", "a b c d")
    row = mtbench.score(root, target, metrics=["swd"], device="cpu", store=str(tmp_path / "store"))[0]
    assert row["n_translated"] == 9
    done = mtbench.translate("identity", root, tmp_path / "out", device="cpu")
    assert relative(sorted(done.files), tmp_path / "out") == EXPECTED


def test_masks_may_be_links_to_one_file(tmp_path: Path) -> None:
    images(tmp_path / "mr", "a b")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(64, dtype=np.uint8)).save(tmp_path / "masks/a.png")
    (tmp_path / "masks/b.png").symlink_to("a.png")
    domain = {"images": "mr/*", "masks": "masks/*", "patient": "([^/]*)$"}
    config = Config.of({"source": domain, "target": domain, "labels": {"line": 1}, "resize": "plain", "size": 64})
    found = items(tmp_path, config.source, lambda name, reason: pytest.fail(reason))
    assert [item.mask for item in found] == [tmp_path / "masks/a.png", tmp_path / "masks/b.png"]


def test_hidden_names_do_not_count(tmp_path: Path) -> None:
    images(tmp_path / "in", "a b")
    images(tmp_path / "in/.cache", "c d")
    (tmp_path / "in/._a.png").write_bytes(b"what a Mac leaves beside each file")
    (tmp_path / "in/.DS_Store").write_bytes(b"x")
    assert relative(images_below(tmp_path / "in"), tmp_path / "in") == ["a.png", "b.png"]
    assert others_below(tmp_path / "in") == ""
    domain = {"images": "in/**/*", "patient": "([^/]*)$"}
    config = Config.of({"source": domain, "target": domain, "resize": "plain", "size": 64})
    notes: list[str] = []
    assert len(items(tmp_path, config.source, lambda name, reason: None, notes.append)) == 2
    assert notes == []


def test_files_of_other_kinds_are_counted_and_named(tmp_path: Path) -> None:
    folder, target = images(tmp_path / "in", "a b"), images(tmp_path / "target")
    for name in ("c.jpg", "d.JPG", "e.bmp"):
        (folder / name).write_bytes(b"x")
    words = "3 files are in unsupported formats skipped: 2 .jpg, 1 .bmp (the first: c.jpg)"
    assert others_below(folder) == words
    row = mtbench.score(folder, target, metrics=["swd"], device="cpu", store=str(tmp_path / "store"))[0]
    assert row["other_files"] == [words]
    done = mtbench.translate("identity", folder, tmp_path / "out", device="cpu")
    assert words in done.notes
    domain = {"images": "in/*", "patient": "([^/]*)$"}
    config = Config.of({"source": domain, "target": domain, "resize": "plain", "size": 64})
    notes: list[str] = []
    items(tmp_path, config.source, lambda name, reason: None, notes.append)
    assert notes == [f"source images 'in/*': {words}"]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: the folder cannot be read"):
        list(entries_below(tmp_path / "nowhere"))


def test_a_folder_below_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = images(tmp_path / "in" / "closed", "a")
    real_scandir, real_listdir = os.scandir, os.listdir

    def guarded(real: Any) -> Any:
        def look(path: Any = ".") -> Any:
            if Path(path) == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        return look

    # Root may read everything.
    monkeypatch.setattr(os, "scandir", guarded(real_scandir))
    monkeypatch.setattr(os, "listdir", guarded(real_listdir))
    for ask in (images_below, is_series, others_below):
        with pytest.raises(DataError, match="closed: the folder cannot be read: Permission denied"):
            ask(closed if ask is is_series else tmp_path / "in")


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    folder = images(tmp_path / "in", "a b")
    (folder / "c.png").symlink_to("gone.png")
    assert relative(images_below(folder), folder) == ["a.png", "b.png"]
    assert others_below(folder) == "1 link leads nowhere (the first: c.png)"


def test_once_prefers_the_name_without_a_link(tmp_path: Path) -> None:
    images(tmp_path, "z")
    (tmp_path / "a.png").symlink_to("z.png")
    assert once([tmp_path / "a.png", tmp_path / "z.png"]) == [tmp_path / "z.png"]
    assert once([tmp_path / "a.png"]) == [tmp_path / "a.png"]
