"""--box, --near, --far, --scale and --up: what they do to a scene, and that a model is judged in the world it knows."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest

import scenes
from scenes.origin import load_to_judge
from scenes.registry import FORMATS
from taichi_rf.core.errors import UserError
from taichi_rf.storage.metadata import origin
from taichi_rf.storage.placement import KEY as PLACEMENT
from taichi_rf.storage.placement import Placement
from taichi_rf.storage.world import KEY, Format, World
from tests.capture_files import poses, write_colmap, write_nerfstudio
from tests.scene_files import refused
from tests.scenes.readers.test_captures import WRITERS, positions

AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1), "-x": (-1, 0, 0), "-y": (0, -1, 0), "-z": (0, 0, -1)}


def load(folder, **said):
    return scenes.load(str(folder), world=World(**said))


def test_every_format_can_be_named():
    assert get_args(Format) == tuple(FORMATS)


@pytest.mark.parametrize("name", WRITERS)
def test_a_box_near_and_far_are_taken_as_they_are_and_move_nothing(name, tmp_path):
    WRITERS[name](tmp_path)
    usual = load(tmp_path)
    scene = load(tmp_path, box=(-1, -0.5, -0.25, 1, 0.5, 0.25), near=0.3, far=5.5)
    assert scene.box.tolist() == [[-1, -0.5, -0.25], [1, 0.5, 0.25]]
    assert (scene.near, scene.far) == (0.3, 5.5)
    np.testing.assert_array_equal(positions(scene), positions(usual))


def test_a_box_beside_what_cameras_look_at_is_a_persons_to_choose_but_one_that_none_sees_is_not(tmp_path):
    write_nerfstudio(tmp_path)
    assert "outside the box" in "\n".join(load(tmp_path, box=(0.3, -1, -1, 1, 1, 1)).warnings)
    assert "miss the box" in refused(tmp_path, world=World(box=(50, 50, 50, 51, 51, 51)))


@pytest.mark.parametrize("name", ["nerfstudio", "colmap"])
def test_scale_moves_cameras_and_points_but_not_the_box(name, tmp_path):
    WRITERS[name](tmp_path)
    usual, half = load(tmp_path), load(tmp_path, scale=0.5)
    np.testing.assert_allclose(positions(half)[:, :, 3], 0.5 * positions(usual)[:, :, 3], rtol=1e-6)
    np.testing.assert_array_equal(half.box, usual.box)
    if usual.points is not None:
        np.testing.assert_allclose(half.points, 0.5 * usual.points, rtol=1e-5)


@pytest.mark.parametrize("up", AXES)
def test_the_axis_that_is_said_comes_to_be_up_and_nothing_is_mirrored(up, tmp_path):
    write_nerfstudio(tmp_path)
    scene, expected = load(tmp_path, up=up), poses()
    turn = positions(scene)[0, :, :3] @ expected[0, :, :3].T
    np.testing.assert_allclose(turn @ AXES[up], (0, 0, 1), atol=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(positions(scene)[:, :, :3], turn @ expected[:, :, :3], atol=1e-6)


def test_depth_images_are_scaled_with_their_world(tmp_path):
    data = write_nerfstudio(tmp_path)
    depth = np.full((16, 24), 5.0, np.float32)
    np.save(tmp_path / "depth.npy", depth)
    for frame in data["frames"]:
        frame["depth_file_path"] = "depth.npy"
    (tmp_path / "transforms.json").write_text(json.dumps(data))
    for said in ({}, {"scale": 0.5}):
        scene = load(tmp_path, **said)
        a, b = positions(scene)[:, :, 3], poses()[:, :, 3]
        scale = np.linalg.norm(a[0] - a[8]) / np.linalg.norm(b[0] - b[8])
        np.testing.assert_allclose(scene.train.depths, 5.0 * scale, rtol=1e-5)


@pytest.mark.parametrize("said", [{}, {"scale": 0.5}, {"up": "-x"}])
@pytest.mark.parametrize("name", ["nerfstudio", "colmap"])
def test_a_scene_and_its_models_know_the_way_back_to_the_coordinates_of_the_files(name, said, tmp_path):
    WRITERS[name](tmp_path)
    scene = load(tmp_path, **said)
    there = positions(scene).astype(np.float64)
    placement = Placement.of(origin(scene))
    assert placement is not None
    np.testing.assert_allclose(placement.back(there[:, :, 3]), poses()[:, :, 3], atol=1e-4)
    ahead = placement.directions_back(there[:, :, :3].swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_allclose(ahead, poses()[:, :, :3], atol=1e-5)


def test_a_scene_that_was_not_moved_says_nothing_of_it():
    assert PLACEMENT not in origin(scenes.load("lantern", downscale=16, max_test_views=1))


def test_a_scene_that_is_no_folder_takes_no_such_option():
    with pytest.raises(UserError, match="--up goes with a folder; 'lantern' is a built-in scene"):
        scenes.load("lantern", world=World(up="y"))


def test_rays_that_would_end_before_they_begin_are_refused(tmp_path):
    write_nerfstudio(tmp_path)
    assert "--near" in refused(tmp_path, world=World(near=1e4))


def test_a_model_is_judged_in_the_world_that_it_was_trained_in(tmp_path):
    write_colmap(tmp_path)
    said = World(up="x", scale=0.8)
    learnt = load(tmp_path, **said.said())
    metadata = origin(learnt) | {"downscale": 1, KEY: said.said()}
    judge = {"source": str(tmp_path), "model": tmp_path / "model.trf", "metadata": metadata, "downscale": 1}
    scene, complaint = load_to_judge(**judge, world=World())
    assert complaint is None
    np.testing.assert_array_equal(scene.test.cameras.poses, learnt.test.cameras.poses)
    _, complaint = load_to_judge(**judge, world=World(up="y"))
    assert "does not hold what this model was trained on" in complaint
