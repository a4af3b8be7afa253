"""Depth back to where it came from: spheres seen by synthetic cameras, real captures, and depth in wrong units."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import scenes
from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.geometry import depth_points as depths
from taichi_rf.geometry.depth_points import bounds, surface_points
from taichi_rf.geometry.visual_hull import carve
from taichi_rf.kernels.rays import Cameras, look_at
from tests.places import DATA

BOX = np.array([[-1.5, -1.5, -1.5], [1.5, 1.5, 1.5]], np.float32)
CENTRE = np.array([0.3, -0.2, 0.1])
RADIUS = 0.6
WIDTH, HEIGHT = 60, 40
INTRINSICS = [70.0, 80.0, 27.0, 22.5]  # neither square pixels nor a centred principal point


def real(name: str) -> str:
    folder = DATA / name
    assert folder.is_dir(), f"test data '{folder}' is missing: set TAICHI_RF_DATA to the folder that holds {name}"
    return str(folder)


def sphere_split(views: int = 12, *, distance: float = 4.0) -> SimpleNamespace:
    """Exact z-depth of one sphere from all round: at t = b - sqrt(b^2 - c) of a unit ray, times the ray's cosine."""
    eyes = np.random.default_rng(1).standard_normal((views, 3))
    eyes *= distance / np.linalg.norm(eyes, axis=1, keepdims=True)
    poses = np.stack([look_at(eye, (0, 0, 0)) for eye in eyes])
    cameras = Cameras(poses, np.tile(INTRINSICS, (views, 1)), WIDTH, HEIGHT)
    images = np.zeros((views, HEIGHT, WIDTH), np.float32)
    for i, camera in enumerate(cameras):
        origins, directions = camera.rays()
        to_centre = CENTRE - origins
        b = (to_centre * directions).sum(1)
        below = b**2 - (to_centre**2).sum(1) + RADIUS**2
        distance_along = b - np.sqrt(np.maximum(below, 0))
        depth = distance_along * (directions @ -camera.pose[:, 2])
        images[i] = np.where(below > 0, depth, 0).reshape(HEIGHT, WIDTH)
    return SimpleNamespace(depths=images, cameras=cameras)


def scaled(split: SimpleNamespace, factor: float) -> SimpleNamespace:
    return SimpleNamespace(depths=split.depths * np.float32(factor), cameras=split.cameras)


def world(points: np.ndarray, box: np.ndarray = BOX) -> np.ndarray:
    return box[0] + points * (box[1] - box[0])


def refused(split: SimpleNamespace, box: np.ndarray = BOX) -> str:
    with pytest.raises(UserError) as caught:
        surface_points(split, box)
    with pytest.raises(UserError) as as_well:
        bounds(split, box)
    assert str(caught.value).split(" lies")[1] == str(as_well.value).split(" lies")[1]
    return str(caught.value)


# Points


def test_one_pixel_goes_where_a_pencil_puts_it():
    """From (0, 0, 4), looking down -z, fx 2 and fy 4: pixel (2, 0), whose centre is (2.5, 0.5), is 1.5 right of
    cx = 1 and 0.5 above cy = 1. At depth 3 that is x = 3 * 1.5 / 2 = 2.25, y = 3 * 0.5 / 4 = 0.375, z = 4 - 3 = 1."""
    pose = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]], np.float32)
    cameras = Cameras(pose[None], np.array([[2.0, 4.0, 1.0, 1.0]]), 3, 2)
    images = np.zeros((1, 2, 3), np.float32)
    images[0, 0, 2] = 3
    box = np.array([[0.25, -0.625, 0], [4.25, 1.375, 4]])
    points = surface_points(SimpleNamespace(depths=images, cameras=cameras), box)
    assert points is not None
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, [[0.5, 0.5, 0.25]], rtol=1e-6)


def test_the_depth_of_a_sphere_gives_the_sphere():
    split = sphere_split()
    points = surface_points(split, BOX)
    assert points is not None
    assert len(points) == (split.depths > 0).sum() > 1000
    np.testing.assert_allclose(np.linalg.norm(world(points) - CENTRE, axis=1), RADIUS, atol=1e-5)


def test_a_box_of_unequal_sides_is_the_unit_box_all_the_same():
    box = np.array([[-1, -2, -0.7], [1.5, 1.5, 1]], np.float32)
    points = surface_points(sphere_split(), box)
    assert points is not None
    np.testing.assert_allclose(np.linalg.norm(world(points, box) - CENTRE, axis=1), RADIUS, atol=1e-5)


def test_points_beyond_the_box_are_left_out_if_they_are_few():
    split = sphere_split()
    box = BOX.copy()
    box[0, 0] = CENTRE[0] - 0.3 * RADIUS  # of a sphere's surface, 35 % lie below a plane so far from its centre
    points = surface_points(split, box)
    assert points is not None
    assert (points >= 0).all()
    assert (points <= 1).all()
    assert 0.5 < len(points) / (split.depths > 0).sum() < 0.8


def test_of_too_many_pixels_some_of_every_view_are_taken():
    split = sphere_split()
    points = surface_points(split, BOX, most=500)
    assert points is not None
    assert 400 < len(points) <= 500
    low, high = world(points).min(0), world(points).max(0)
    np.testing.assert_allclose(low, CENTRE - RADIUS, atol=0.1)
    np.testing.assert_allclose(high, CENTRE + RADIUS, atol=0.1)


def test_pixels_of_no_finite_depth_are_passed_over():
    split = sphere_split(2)
    count = int((split.depths > 0).sum())
    split.depths[0, 0, :4] = [np.nan, np.inf, -1, -np.inf]
    points = surface_points(split, BOX)
    assert points is not None
    assert len(points) == count


def test_a_split_without_depth_has_no_surface():
    split = SimpleNamespace(depths=None, cameras=sphere_split(2).cameras)
    assert surface_points(split, BOX) is None
    assert bounds(split) is None


def test_depth_images_without_any_depth_are_refused():
    with pytest.raises(UserError, match=r"all 12 views hold no depth.*16-bit grey"):
        surface_points(scaled(sphere_split(), 0), BOX)
    with pytest.raises(UserError, match="hold no depth"):
        bounds(scaled(sphere_split(), 0))


# Bounds


def test_the_bounds_of_a_sphere_are_its_box_and_a_small_margin():
    found = bounds(sphere_split(40))
    assert found is not None
    assert found.shape == (2, 3)
    assert found.dtype == np.float32
    slack = 2 * RADIUS * depths.MARGIN
    exact = np.stack([CENTRE - RADIUS, CENTRE + RADIUS])
    np.testing.assert_allclose(found, exact + [[-slack] * 3, [slack] * 3], atol=0.02)
    assert (found[0] <= exact[0]).all()
    assert (found[1] >= exact[1]).all()


def test_depth_that_only_one_view_claims_does_not_widen_the_bounds():
    split = sphere_split()
    exact = bounds(split)
    rng = np.random.default_rng(3)
    stray = rng.random(split.depths.shape) < 0.003
    split.depths[stray] = rng.uniform(0.5, 3, stray.sum())
    split.depths[3, 5, 5] = 1e6
    found = bounds(split)
    assert exact is not None
    assert found is not None
    np.testing.assert_allclose(found, exact, atol=0.1)


def test_the_bounds_keep_what_is_thin_but_seen_by_many():
    """A spike of a few pixels on the sphere is far less than what :data:`TRIMMED` leaves out."""
    split = sphere_split(20)
    tip = CENTRE + [0, 0, 2 * RADIUS]
    for i, camera in enumerate(split.cameras):
        pixel, depth = camera.project(tip)
        x, y = np.floor(pixel).astype(int)
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            split.depths[i, y, x] = depth
    found = bounds(split)
    assert found is not None
    assert found[1, 2] >= tip[2] - 0.03


def test_one_view_alone_has_bounds_too():
    found = bounds(sphere_split(1))
    assert found is not None
    assert (found[0] < found[1]).all()


def test_the_bounds_stay_in_the_box_that_is_known():
    box = BOX.copy()
    box[1, 0] = CENTRE[0] + 0.5 * RADIUS
    found = bounds(sphere_split(), box)
    assert found is not None
    assert found[1, 0] == box[1, 0]
    assert (found >= box[0]).all()
    assert (found <= box[1]).all()


# Wrong units


@pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e-3, 0.1, 10, 100, 1e3, 1e6])
def test_depth_off_by_a_power_of_ten_is_refused_with_the_scale_that_fits(factor):
    message = refused(scaled(sphere_split(), factor))
    scale = re.search(r"'depth_unit_scale_factor' is likely wrong: (\S+) times as much would bring 100%", message)
    assert scale is not None, message
    assert float(scale[1]) == pytest.approx(1 / factor)
    assert "(-1.5, -1.5, -1.5) to (1.5, 1.5, 1.5)" in message


@pytest.mark.parametrize("factor", [0.3048, 1.7, 39.37])
def test_depth_off_by_another_factor_is_refused_with_one_close_to_it(factor):
    message = refused(scaled(sphere_split(), factor))
    scale = re.search(r"is likely wrong: (\S+) times as much", message)
    assert scale is not None, message
    assert float(scale[1]) == pytest.approx(1 / factor, rel=0.02)


def test_the_message_says_where_the_surface_was_found():
    """A camera at (0, 0, 4) that looks down -z: everything at depth 7 is at z = -3."""
    pose = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]], np.float32)
    cameras = Cameras(pose[None], np.array([[2.0, 2.0, 1.0, 1.0]]), 2, 2)
    split = SimpleNamespace(depths=np.full((1, 2, 2), 7, np.float32), cameras=cameras)
    message = refused(split)
    # Pixel centres are 0.5 either side of the principal point: x and y = 7 * 0.5 / 2 = 1.75.
    assert "between (-1.75, -1.75, -3) and (1.75, 1.75, -3), so that 0% of it" in message


def test_cameras_that_look_away_are_told_that_no_scale_fits():
    split = sphere_split()
    split.depths[...] = 2
    away = split.cameras.poses * np.array([-1, 1, -1, 1], np.float32)  # turned round, still a rotation
    message = refused(SimpleNamespace(depths=split.depths, cameras=Cameras(away, np.tile(INTRINSICS, (12, 1)), 60, 40)))
    assert "No other scale brings half of it in" in message
    assert "transform_matrix" in message


def test_cameras_inside_the_box_are_told_the_scale_nearest_to_one():
    """From so close to the sphere, depth of next to nothing is inside the box too."""
    message = refused(scaled(sphere_split(distance=1.4), 10))
    assert "likely wrong: 0.1 times as much" in message


@pytest.mark.parametrize(("unit", "right"), [(1.0, "0.001"), (1e-6, "1000")])
def test_a_scene_of_millimetres_read_in_another_unit_is_refused(tmp_path, unit, right):
    """From files: 16-bit depth of 1 / 1000, said to be something else in the json."""
    split = sphere_split(6)
    data: dict = {"fl_x": 70.0, "fl_y": 80.0, "cx": 27.0, "cy": 22.5, "frames": []}
    (tmp_path / "train").mkdir()
    for i, camera in enumerate(split.cameras):
        image = Image.new("RGBA", (WIDTH, HEIGHT), (200, 100, 50, 255))
        image.paste((50, 100, 200, 255), (0, 0, WIDTH // 2, HEIGHT))  # images of one colour would be refused
        image.save(tmp_path / f"train/r_{i}.png")
        Image.fromarray(np.round(split.depths[i] * 1000).astype(np.uint16)).save(tmp_path / f"train/d_{i}.png")
        pose = np.vstack([camera.pose, [0, 0, 0, 1]]).tolist()
        data["frames"].append(
            {"file_path": f"train/r_{i}", "depth_file_path": f"train/d_{i}.png", "transform_matrix": pose}
        )

    def load(unit: float | None) -> scenes.base.Scene:
        units = {} if unit is None else {"depth_unit_scale_factor": unit}
        (tmp_path / "transforms_train.json").write_text(json.dumps(data | units))
        return scenes.load(str(tmp_path))

    scene = load(None)
    points = surface_points(scene.train, scene.box)
    assert points is not None
    np.testing.assert_allclose(np.linalg.norm(world(points) - CENTRE, axis=1), RADIUS, atol=1e-3)
    scene = load(unit)
    with pytest.raises(UserError, match=rf"'depth_unit_scale_factor' is likely wrong: {right} times as much"):
        surface_points(scene.train, scene.box)


# Real captures


@pytest.mark.parametrize("name", ["rgbd/duck", "rgbd/bike"])
def test_the_surface_of_a_real_capture_lies_in_its_visual_hull(name):
    """Depth against the silhouettes of the same images, which know nothing of each other."""
    scene = scenes.load(real(name), views=48, downscale=2, max_test_views=0)
    hull = carve(scene.train, scene.box).hull
    assert hull is not None
    points = surface_points(scene.train, scene.box)
    assert points is not None
    x, y, z = np.minimum((points * 64).astype(int), 63).T
    assert hull.cells[z, y, x].mean() > 0.995  # not all: a pixel that the object covers in part has a depth
    found = bounds(scene.train, scene.box)
    assert found is not None
    carved = hull.bounds()
    cell = (scene.box[1] - scene.box[0]) / 64
    assert (found[0] >= carved[0] - cell).all()
    assert (found[1] <= carved[1] + cell).all()
    assert (np.abs(found - carved) <= 4 * cell).all()
    inside = surface_points(scene.train, found)
    assert inside is not None
    assert len(inside) > 0.997 * len(points)
    tree = Octree.from_points(inside, 7, 5)
    half = surface_points(scene.train, found, most=len(inside) // 2)
    assert half is not None
    again = Octree.from_points(half, 7, 5)
    assert set(again.layers[-1].cells.tolist()) < set(tree.layers[-1].cells.tolist())
