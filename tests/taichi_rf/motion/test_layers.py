"""Colour with alpha, depth and normals, and the files in which other programs read them."""

from __future__ import annotations

import importlib
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taichi_rf.core import backend
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.motion.bands import quantise
from taichi_rf.motion.free_view import render_from_anywhere
from taichi_rf.motion.layers import farthest, linear, save_depth, save_exr, save_normals, see, write_png16
from taichi_rf.motion.orbit import Orbit
from taichi_rf.motion.recording import sweep
from taichi_rf.motion.spiral import HIGHEST, LOWEST, spiral
from taichi_rf.rendering.model import Model
from taichi_rf.storage.model_file import load_model

DATA = Path(__file__).resolve().parents[2] / "data"
CAMERA = Camera(look_at((3.2, 1.5, 1.2), (0, 0, -0.2), (0, 0, 1)), 40.0, 40.0, 20.0, 16.0, 40, 32)


@pytest.fixture(scope="module")
def model() -> Model:
    backend.init("cpu")
    return load_model(DATA / "tensor.trf")


def test_a_picture_with_alpha_over_the_background_is_the_picture(model):
    picture = render_from_anywhere(model, CAMERA, level=4, mode="colour")
    np.testing.assert_array_equal(see(model, CAMERA, ["colour"], level=4).colour, picture)
    rgba = see(model, CAMERA, ["colour"], level=4, alpha=True).colour
    assert rgba is not None
    assert 0.05 < (rgba[..., 3] > 0.9).mean() < 0.9
    over = rgba[..., :3] * rgba[..., 3:] + np.array(model.background, np.float32) * (1 - rgba[..., 3:])
    np.testing.assert_allclose(over, picture, atol=2e-3)
    stored = quantise(rgba).astype(float) / 255
    over = stored[..., :3] * stored[..., 3:] + np.array(model.background) * (1 - stored[..., 3:])
    assert np.abs(over - picture).max() < 3 / 255


def test_depth_is_along_the_view_axis_and_normals_face_the_camera(model, monkeypatch):
    seen = see(model, CAMERA, ["depth", "normals"], level=4)
    assert seen.colour is None
    assert seen.depth is not None
    assert seen.normals is not None
    hit = seen.depth > 0
    assert 0.05 < hit.mean() < 0.9
    origins, directions = CAMERA.rays()
    along = directions @ -CAMERA.pose[:, 2]
    points = origins + directions * (seen.depth.reshape(-1) / along)[:, None]
    inside = ((points > model.box[0] - 0.05) & (points < model.box[1] + 0.05)).all(axis=1)
    assert inside[hit.reshape(-1)].mean() > 0.99
    faces = -(seen.normals.reshape(-1, 3) * directions).sum(axis=1)
    assert (faces[hit.reshape(-1)] > 0).mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(seen.normals[hit], axis=1), 1, atol=1e-4)
    assert not seen.normals[~hit].any()
    monkeypatch.setattr("taichi_rf.motion.layers.BAND", 3 * CAMERA.width)
    banded = see(model, CAMERA, ["depth", "normals"], level=4)
    np.testing.assert_array_equal(banded.depth, seen.depth)
    np.testing.assert_array_equal(banded.normals, seen.normals)


def test_no_depth_is_beyond_the_farthest(model):
    depth = see(model, CAMERA, ["depth"], level=4).depth
    assert depth is not None
    assert depth.max() <= farthest([CAMERA], model.world_box) * (1 + 1e-6)
    pulled = replace(CAMERA, pose=look_at((6.4, 3, 2.4), (0, 0, -0.2), (0, 0, 1)))
    assert farthest([CAMERA, pulled], model.world_box) > farthest([CAMERA], model.world_box) + 1


def test_sixteen_bits_are_read_back_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 1 << 16, (5, 7), dtype=np.uint16)
    buffer = io.BytesIO()
    write_png16(buffer, grey)
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), grey)
    depth = np.array([[0, 0.5], [2.0, 1e9]], np.float32)
    save_depth(tmp_path / "depth.png", depth, 1e-4)
    assert np.asarray(Image.open(tmp_path / "depth.png")).tolist() == [[0, 5000], [20000, 65534]]
    normals = np.array([[[0, 0, 0], [0, 0, 1]], [[-1, 0, 0], [0.6, 0, -0.8]]], np.float32)
    save_normals(tmp_path / "normals.png", normals)
    read = np.asarray(Image.open(tmp_path / "normals.png"))  # pillow keeps the upper eight bits
    assert read.tolist() == [[[128, 128, 128], [128, 128, 255]], [[0, 128, 128], [204, 128, 25]]]


def test_an_exr_holds_everything_in_linear_light(tmp_path):
    openexr = importlib.import_module("OpenEXR")
    from taichi_rf.motion.layers import Seen

    colour = np.zeros((2, 3, 4), np.float32)
    colour[..., :3], colour[..., 3] = 0.5, 0.25
    save_exr(tmp_path / "x.exr", Seen(colour, np.full((2, 3), 7.25, np.float32), np.zeros((2, 3, 3), np.float32)))
    channels = openexr.File(str(tmp_path / "x.exr"), separate_channels=True).channels()
    assert {"R", "G", "B", "A", "Z", "N.X", "N.Y", "N.Z"} == set(channels)
    assert channels["R"].pixels[0, 0] == pytest.approx(0.21404 * 0.25, rel=1e-2)
    assert channels["Z"].pixels[1, 2] == 7.25
    np.testing.assert_allclose(linear(np.array([0, 0.04045, 1], np.float32)), [0, 0.0031308, 1], atol=1e-6)


def test_a_sweep_goes_either_way_and_stays_at_each_level_as_long():
    assert sweep(4, 8) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert sweep(4, 6, 2) == [2, 2, 3, 3, 4, 4]
    assert sweep(2, 6, 4) == [4, 4, 3, 3, 2, 2]
    assert sweep(3, 2, 3) == [3, 3]


def test_a_spiral_goes_up_and_down_around_what_is_looked_at_and_ends_where_it_began():
    view = Orbit.around([[-1, -1, -1], [1, 1, 1]])
    path = spiral(view, seconds=2, fps=20, width=32, height=24)
    eyes = np.array([frame.pose[:, 3] for frame in path.frames]) - view.target
    heights = np.arcsin(eyes[:, 2] / np.linalg.norm(eyes, axis=1))
    assert heights.min() == pytest.approx(LOWEST, abs=1e-3)
    assert heights.max() == pytest.approx(HIGHEST, abs=1e-3)
    turns = np.unwrap(np.arctan2(eyes[:, 1], eyes[:, 0]))
    assert turns[-1] - turns[0] == pytest.approx(4 * math.pi * 39 / 40, abs=1e-3)
    ahead = spiral(view, ahead=True, seconds=2, fps=20, width=32, height=24)
    start = view.camera(32, 24).pose.astype(np.float64)
    moved = np.array([frame.pose[:, 3] - start[:, 3] for frame in ahead.frames])
    assert np.abs(moved @ -start[:, 2]).max() < 0.1 * view.distance
    assert np.linalg.norm(moved, axis=1).max() < 0.2 * view.distance
