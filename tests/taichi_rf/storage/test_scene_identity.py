"""A scene is known again by its content: under another name and elsewhere, but not with another picture in it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

import scenes
from scenes.base import Scene
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.storage.scene_identity import compare, content, identity, look
from tests.capture_files import write_nerfstudio
from tests.tiny import tiny_scene


def changed(scene: Scene, **arrays: Any) -> Scene:
    return replace(scene, train=replace(scene.train, **arrays))


def painted(scene: Scene, views: list[int], value: float, rows: slice = slice(None)) -> Scene:
    images = scene.train.images.copy()
    for view in views:
        images[view, rows] = value
    return changed(scene, pixels=PixelPool.of(images))


def test_a_renamed_and_moved_scene_with_other_test_views_is_the_same():
    saved = identity(tiny_scene())
    moved = replace(tiny_scene(test=0), name="renamed", source="/elsewhere")
    assert compare(saved, moved, depth=False) == ()
    assert content(moved) == content(tiny_scene())


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda scene: painted(scene, list(range(8)), 1.0), "images: they have changed, 8 of 8, the first is 'view 0'"),
        (lambda scene: painted(scene, [3, 5], 0.0), "images: they have changed, 2 of 8, the first is 'view 3'"),
        (lambda scene: painted(scene, [7], 0.5, slice(0, 2)), "1 of 8, the first is 'view 7'"),
        (lambda scene: tiny_scene(train=7), "number of training images: 8 then, 7 now"),
        (lambda scene: turned(scene, 2), "cameras: they have changed, 1 of 8, the first is 'view 2'"),
    ],
)
def test_other_content_is_refused_and_named(other, says):
    saved, scene = identity(tiny_scene()), other(tiny_scene())
    with pytest.raises(UserError) as caught:
        compare(saved, scene, depth=False)
    assert says in str(caught.value)
    assert content(scene) != content(tiny_scene())


def turned(scene: Scene, view: int) -> Scene:
    cameras = scene.train.cameras
    intrinsics = cameras.intrinsics.copy()
    intrinsics[view, 0] *= 1.01
    return changed(scene, cameras=replace(cameras, intrinsics=intrinsics))


def test_pictures_that_another_decoder_made_are_the_same_and_said_to_differ():
    saved, scene = identity(tiny_scene()), tiny_scene()
    noise = np.random.default_rng(0).integers(-1, 2, scene.train.images.shape) / 255
    images = np.clip(scene.train.images + noise, 0, 1).astype(np.float16)
    (warning,) = compare(saved, changed(scene, pixels=PixelPool.of(images)), depth=False)
    assert "differ a little" in warning
    assert "8 of 8" in warning


def test_depths_count_where_they_are_learnt_from():
    saved, scene = identity(tiny_scene(depth=True)), tiny_scene(depth=True)
    assert scene.train.depths is not None
    nearer = changed(scene, depths=scene.train.depths * np.float32(0.5))
    assert compare(saved, nearer, depth=False) == ()
    with pytest.raises(UserError, match="depth images: they have changed$"):
        compare(saved, nearer, depth=True)
    with pytest.raises(UserError, match="there are none now"):
        compare(saved, changed(scene, depths=None), depth=True)


def test_what_version_0_1_0_noted_is_still_good_with_a_warning():
    scene = tiny_scene()
    cameras = scene.train.cameras
    digest = blake2b(cameras.poses.tobytes() + cameras.intrinsics.tobytes(), digest_size=8).hexdigest()
    saved = {"name": "balls", "images": 8, "size": [24, 24], "cameras": digest, "mesh": ""}
    (warning,) = compare(saved, replace(scene, name="renamed"), depth=False)
    assert "0.1.0" in warning
    with pytest.raises(UserError, match="cameras: they have changed"):
        compare(saved, turned(scene, 0), depth=False)


@pytest.mark.parametrize("spoilt", ["cameras", "pixels", "looks"])
@pytest.mark.parametrize("value", [None, 3, [], ["x"] * 7, {}])
def test_an_identity_that_is_none_is_an_error_that_the_checkpoint_answers(spoilt, value):
    saved = {**identity(tiny_scene()), spoilt: value}
    with pytest.raises((KeyError, TypeError, ValueError)):
        compare(saved, tiny_scene(), depth=False)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (24, 24), (300, 520)])
def test_a_look_is_the_means_of_blocks(size):
    image = np.full((*size, 4), 0.2, np.float16)
    image[size[0] // 2 :, :, 0] = 1.0
    means = look(PixelPool.of(image[None]), 0)
    assert means.shape == (min(4, size[0]), min(4, size[1]), 4)
    assert (means[..., 1:] == 51).all()
    assert (means[-1, :, 0] == 255).all()


def test_another_lens_is_another_scene(tmp_path):
    write_nerfstudio(tmp_path, k1=0.1)
    one = content(scenes.load(str(tmp_path)))
    write_nerfstudio(tmp_path, k1=0.2)
    assert content(scenes.load(str(tmp_path))) != one
    write_nerfstudio(tmp_path, k1=0.1)
    assert content(scenes.load(str(tmp_path))) == one
