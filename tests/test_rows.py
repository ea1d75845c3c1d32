"""Rows of an array behave as the array they stand for, and read only what is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtbench.data import ImageSet, Slice, Task
from mtbench.rows import OnDisk, Rows
from mtbench.stages.table import Subset
from mtbench.stages.work import read_set
from mtbench.store.artefacts import Artefact
from mtbench.store.images import write_index

ARRAY = np.random.default_rng(0).integers(0, 255, (7, 4, 5)).astype(np.uint8)
CHOSEN = [6, 0, 3, 3]


class Watched(np.ndarray[Any, Any]):
    """An array that remembers which images were taken from it."""

    taken: list[int]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, np.ndarray | np.integer):
            self.taken.extend(np.atleast_1d(key).tolist())
        return np.asarray(self)[key]


@pytest.mark.parametrize(
    "key",
    [
        2,
        -1,
        slice(1, 3),
        slice(None, None, 2),
        [0, 2],
        range(3),
        np.array([True, False, True, True]),
        (1, slice(2)),
        (slice(1, 3), 0, 1),
        ([0, 1], slice(None), 2),
        ...,
        (..., 1),
        None,
    ],
    ids=str,
)
def test_indexing_is_that_of_the_array(tmp_path: Path, key: Any) -> None:
    np.testing.assert_array_equal(Rows(ARRAY, CHOSEN)[key], ARRAY[CHOSEN][key])
    on_disk = tmp_path / "a.npy"
    np.save(on_disk, ARRAY[CHOSEN])
    np.testing.assert_array_equal(OnDisk(on_disk).images[key], ARRAY[CHOSEN][key])


def test_all_else_is_that_of_the_array() -> None:
    rows, array = Rows(ARRAY, CHOSEN), ARRAY[CHOSEN]
    assert (rows.shape, rows.dtype, rows.ndim, len(rows), rows.size) == (array.shape, array.dtype, 3, 4, array.size)
    assert [image.tolist() for image in rows] == array.tolist()
    for got, expected in (
        (rows == 3, array == 3),
        (rows / 2.0, array / 2.0),
        (1 - rows.astype(int), 1 - array.astype(int)),
        (np.unique(rows), np.unique(array)),
        (np.concatenate([rows, rows]), np.concatenate([array, array])),
        (rows.mean((1, 2)), array.mean((1, 2))),
        (np.asarray(rows, dtype=np.float64), array.astype(np.float64)),
        (Rows.of(rows, [3, 0]), array[[3, 0]]),  # type: ignore[arg-type]
    ):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(IndexError):
        rows[4]
    with pytest.raises(TypeError):
        rows[0] = 1
    with pytest.raises(AttributeError, match="no_such"):
        _ = rows.no_such


def test_a_selection_of_a_file_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAY)
    images = OnDisk(tmp_path / "a.npy").images
    for chosen in ([2, 3, 4], [4, 1]):
        part = Rows.of(Rows.of(images, range(1, 7)), chosen)
        assert isinstance(part, Rows)
        np.testing.assert_array_equal(part, ARRAY[1:][chosen])
    (tmp_path / "a.npy").unlink()
    np.testing.assert_array_equal(images[3], ARRAY[3])


def test_only_what_is_asked_for_is_read() -> None:
    watched = ARRAY.view(Watched)
    watched.taken = []
    rows = Rows(watched, CHOSEN)
    assert rows.shape == (4, 4, 5)
    assert watched.taken == []
    _ = rows[1:3]
    assert watched.taken == [0, 3]
    _ = rows[0, 2]
    assert watched.taken == [0, 3, 6]


@pytest.mark.parametrize("test", [[4, 5, 6], [1, 4]])
def test_a_side_of_a_split_is_not_read_before_its_images_are_asked_for(tmp_path: Path, test: list[int]) -> None:
    np.save(tmp_path / "images-source.npy", ARRAY)
    np.save(tmp_path / "masks-source.npy", ARRAY % 3)
    write_index(tmp_path / "index-source.parquet", [Slice(f"s{i}", f"p{i}", f"p{i}") for i in range(7)])
    sides = ["test" if i in test else "train" for i in range(7)]
    (tmp_path / "split.json").write_text(json.dumps({"sides": {"source": sides}}))
    artefact, task = Artefact(tmp_path, {}), Task("t", labels={1: "a"}, masks=frozenset({"source"}))
    images = read_set(artefact, artefact, task, Subset("source", "test"))
    held = images.images
    assert isinstance(held.array if isinstance(held, Rows) else held, np.memmap)
    np.testing.assert_array_equal(images.images, ARRAY[test])
    assert images.masks is not None
    np.testing.assert_array_equal(images.masks[:2], (ARRAY % 3)[test][:2])
    assert [s.slice_id for s in images.subset([1, 0]).slices] == [f"s{test[1]}", f"s{test[0]}"]
    np.testing.assert_array_equal(images.subset([1, 0]).images, ARRAY[[test[1], test[0]]])


def test_images_of_several_channels_keep_them() -> None:
    stored = np.arange(3 * 2 * 4 * 5, dtype=np.uint8).reshape(3, 2, 4, 5)
    slices = tuple(Slice(str(i), "p", "c", partner=f"t{i}") for i in range(3))
    many = ImageSet(stored, slices, None, Task("t"), "source", "train")
    assert (many.channels, many.size) == (2, (4, 5))
    np.testing.assert_array_equal(many.floats([2, 0]), (stored[[2, 0]] / 255).astype(np.float32))
    assert tuple(many.subset([1]).tensor().shape) == (1, 2, 4, 5)
    one = ImageSet(stored[:, 0], slices, None, Task("t"), "source", "train")
    assert (one.channels, one.size, one.floats().shape) == (1, (4, 5), (3, 1, 4, 5))
    assert [record.partner for record in one.subset([2]).slices] == ["t2"]
