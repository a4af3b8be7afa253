"""Pixels of images of several sizes: in arrays and in a file, as bytes and in half precision. No Taichi."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taichi_rf.core import pixel_file
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_file import PixelFile
from taichi_rf.core.pixel_pool import PixelPool

SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=6)


def images_of(sizes, channels, rng):
    if channels == 3:
        return [rng.integers(0, 256, (height, width, 3)).astype(np.uint8) for width, height in sizes]
    return [rng.random((height, width, 4)).astype(np.float16) for width, height in sizes]


def pool_of(images, folder=None):
    total, channels = sum(image.shape[0] * image.shape[1] for image in images), images[0].shape[2]
    stored = np.empty((total, channels), images[0].dtype)
    if folder is not None:
        stored = PixelFile(folder, total, channels, images[0].dtype)
    pool = PixelPool(stored, [image.shape[1] for image in images], [image.shape[0] for image in images])
    for index, image in enumerate(images):
        room = pool.blank(index)
        room[...] = image
        pool.put(index, room)
    return pool


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pixels")


@given(SIZES, st.sampled_from([3, 4]), st.booleans(), st.integers(0, 99))
def test_a_pool_gives_back_what_was_put_into_it(folder, sizes, channels, on_disk, seed):
    rng = np.random.default_rng(seed)
    images = images_of(sizes, channels, rng)
    pool = pool_of(images, folder if on_disk else None)
    whole = images
    if channels == 3:
        whole = [np.concatenate([image / np.float32(255), np.ones((*image.shape[:2], 1))], axis=2) for image in images]
        whole = [image.astype(np.float16) for image in whole]
    assert len(pool) == len(images)
    for index, image in enumerate(whole):
        np.testing.assert_array_equal(pool[index], image)
        np.testing.assert_array_equal(pool.raw(index), images[index])
        np.testing.assert_array_equal(pool.alpha(index), image[..., 3])
        assert pool.alpha_range(index) == (image[..., 3].min(), image[..., 3].max())
        np.testing.assert_array_equal(pool.thinned(index, 3), image[::3, ::3])
    flat = np.concatenate([image.reshape(-1, 4) for image in whole])
    chosen = rng.integers(0, pool.total, 50)
    np.testing.assert_array_equal(pool.take(chosen), flat[chosen].astype(np.float32))
    assert pool.take(chosen).dtype == np.float32
    assert pool.opaque == (channels == 3)
    assert list(folder.iterdir()) == []  # nothing that has a name


def test_shapes_that_disagree_are_refused():
    for stored, widths in (
        (np.zeros((5, 4), np.float16), [2, 2]), (np.zeros((4, 4), np.float32), [2, 2]),
        (np.zeros((4, 3), np.float16), [2, 2]), (np.zeros((4, 4), np.uint8), [2, 2]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="pixels"):
            PixelPool(stored, widths, [1, 1])
    with pytest.raises(ValueError, match="images are"):
        PixelPool.of(np.zeros((4, 4), np.float16))


def test_a_disk_without_the_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="GiB are free"):
        PixelFile(tmp_path, 1 << 50, 3, np.uint8)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be kept there"):
        PixelFile(tmp_path / "file", 10, 3, np.uint8)
    monkeypatch.setattr(pixel_file.os, "preadv", lambda *arguments: 0)
    with pytest.raises(UserError, match="cut short"):
        PixelFile(tmp_path, 10, 3, np.uint8)[0:3]


def test_a_system_without_preadv_reads_the_same(tmp_path, monkeypatch):
    for name in ("preadv", "pread"):
        monkeypatch.delattr(pixel_file.os, name)
    kept = PixelFile(tmp_path, 100, 3, np.uint8)
    values = np.arange(300).astype(np.uint8).reshape(100, 3)
    kept.write(0, values)
    np.testing.assert_array_equal(kept[np.array([99, 3, 50])], values[[99, 3, 50]])
    np.testing.assert_array_equal(kept[10:20], values[10:20])
