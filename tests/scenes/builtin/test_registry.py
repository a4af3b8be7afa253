"""The built-in scenes: pictures, depths and poses that agree with each other, and a cache that survives anything."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import scenes
from scenes.base import Scene
from scenes.builtin import lantern, orrery
from scenes.builtin import registry as builtin
from taichi_rf.core import backend as taichi_backend
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Camera, look_at
from tests.places import ROOT

NAMES = scenes.builtin_names()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> dict[str, Scene]:
    """Every scene once, at 100 x 100, with its cache in a folder of this module."""
    taichi_backend.init("cpu")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAICHI_RF_CACHE", str(folder))
        return {name: scenes.load(name, downscale=4, views=4) for name in NAMES}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """Replaces the tracer by something quick; holds the size of every image that it was asked for."""
    sizes: list[int] = []

    def render(name, cameras, step):
        images = np.zeros((len(cameras), cameras[0].height, cameras[0].width, 4), np.float16)
        depths = np.zeros(images.shape[:3], np.float32)
        for index in range(len(cameras)):
            images[index] = (index + 1) / 256
            depths[index] = index + 1
            sizes.append(cameras[0].width)
            step()
        return images, depths

    monkeypatch.setattr(builtin, "_render", render)
    return sizes


def points(scene: Scene, index: int) -> tuple[np.ndarray, np.ndarray]:
    """World positions (M, 3) of the pixels of a test view that have depth, and which pixels (H*W,) these are."""
    camera = scene.test.cameras[index]
    assert scene.test.depths is not None
    depth = scene.test.depths[index].ravel().astype(np.float64)
    origins, directions = camera.rays()
    forward = -camera.pose[:, 2]
    there = depth > 0
    return (origins + directions * (depth / (directions @ forward))[:, None])[there], there


# What is rendered


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_has_what_was_asked_for(rendered, name):
    scene = rendered[name]
    assert scene.train.images.shape == (4, 100, 100, 4)
    assert scene.test.images.shape == (20, 100, 100, 4)
    assert (scene.name, scene.source, scene.near, scene.far) == (name, f"builtin:{name}", 2.0, 6.0)
    np.testing.assert_array_equal(scene.box, [[-1.5] * 3, [1.5] * 3])
    focal = 50 / np.tan(0.6911112 / 2)
    np.testing.assert_allclose(scene.train.cameras.intrinsics, [[focal, focal, 50, 50]] * 4, rtol=1e-5)
    for split in (scene.train, scene.test):
        np.testing.assert_allclose(np.linalg.norm(split.cameras.poses[:, :, 3], axis=1), 4, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_premultiplied_with_soft_edges_and_fit_the_frame(rendered, name):
    scene = rendered[name]
    images = np.concatenate([scene.train.images, scene.test.images]).astype(np.float32)
    colour, alpha = images[..., :3], images[..., 3]
    assert images.min() >= 0
    assert alpha.max() == 1
    assert (colour <= alpha[..., None] + 2e-3).all()
    assert 0.15 < (alpha > 0.5).mean() < 0.6
    assert ((alpha > 0.05) & (alpha < 0.95)).mean() > 0.01  # antialiased
    border = np.concatenate([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], axis=1)
    assert border.max() == 0
    opaque = colour[alpha == 1]
    assert opaque.std(axis=0).min() > 0.1  # neither flat nor washed out
    assert (opaque > 0.99).all(axis=1).mean() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_depth_is_there_where_the_pixel_centre_is_covered_and_lies_in_the_box(rendered, name):
    scene = rendered[name]
    alpha = scene.test.images[..., 3]
    assert (scene.test.depths[alpha == 1] > 0).mean() > 0.999
    assert (scene.test.depths[alpha == 0] == 0).all()
    for index in range(0, 20, 5):
        positions, _ = points(scene, index)
        assert (np.abs(positions) < 1.5).all()
        distance = np.linalg.norm(positions - scene.test.cameras[index].position, axis=1)
        assert distance.min() > scene.near
        assert distance.max() < scene.far


@pytest.mark.parametrize("name", NAMES)
def test_one_view_carried_into_the_next_by_its_depth_agrees_with_it(rendered, name):
    """Nothing that one view sees may float in front of what its neighbour sees; where both see it, colours match."""
    scene = rendered[name]
    floating, matched, differences, carried = 0, 0, [], 0
    for index in range(0, 19, 3):
        positions, there = points(scene, index)
        camera = scene.test.cameras[index + 1]
        pixels, depth = camera.project(positions)
        column, row = np.floor(pixels).astype(int).T
        # The nearest surface around the pixel, so that the edge of something thin counts as it.
        padded = np.pad(np.where(scene.test.depths[index + 1] > 0, scene.test.depths[index + 1], 9.0), 1, mode="edge")
        around = np.stack([padded[row + dy, column + dx] for dy in range(3) for dx in range(3)])
        floating += int((depth < around.min(axis=0) - 0.03).sum())
        same = np.abs(depth - around[4]) < 0.01
        matched += int(same.sum())
        carried += len(depth)
        here = scene.test.images[index].reshape(-1, 4)[there].astype(np.float32)
        near = scene.test.images[index + 1][row, column].astype(np.float32)
        smooth = same & (np.ptp(around, axis=0) < 0.15) & (here[:, 3] == 1) & (near[:, 3] == 1)  # not an edge's mixture
        differences.append(np.abs(here - near)[smooth, :3].mean(axis=1))
    assert floating < 0.002 * carried
    assert matched > 0.4 * carried
    difference = np.concatenate(differences)
    assert len(difference) > 2000
    assert np.median(difference) < 0.05


def test_the_sun_of_the_orrery_is_the_sphere_that_it_should_be(rendered):
    """Rays met in closed form with the sphere: never seen through it, and mostly ending on it."""
    scene = rendered["orrery"]
    centre = np.array(orrery.SUN_AT) * orrery.MODEL.scale
    radius = orrery.SUN_RADIUS * orrery.MODEL.scale
    errors = []
    for index, camera in enumerate(scene.test.cameras):
        origins, directions = (array.astype(np.float64) for array in camera.rays())
        half = np.einsum("ij,ij->i", directions, origins - centre)
        inside = half**2 - ((origins - centre) ** 2).sum(axis=1) + radius**2
        through = inside > 0.1 * radius**2
        meets = (-half - np.sqrt(np.maximum(inside, 0))) * (directions @ -camera.pose[:, 2].astype(np.float64))
        errors.append((scene.test.depths[index].ravel() - meets)[through])
    error = np.concatenate(errors)
    assert error.max() < 2e-3  # nothing is seen behind its surface
    assert (np.abs(error) < 2e-3).mean() > 0.7


def test_highlights_move_with_the_view(rendered):
    """Glossy surfaces: among points that two views share, some change far more than the median does."""
    scene = rendered["orrery"]
    positions, there = points(scene, 0)
    camera = scene.test.cameras[1]
    pixels, depth = camera.project(positions)
    column, row = np.floor(pixels).astype(int).T
    same = np.abs(depth - scene.test.depths[1][row, column]) < 0.01
    opaque = scene.test.images[0].reshape(-1, 4)[there][:, 3] == 1
    here = scene.test.images[0].reshape(-1, 4)[there][same & opaque].astype(np.float32)
    next_to = scene.test.images[1][row, column][same & opaque].astype(np.float32)
    change = np.abs(here - next_to)[:, :3].mean(axis=1)
    assert np.percentile(change, 95) > 0.08
    assert np.percentile(change, 95) > 3 * np.median(change)


def test_rendering_twice_gives_the_same_bits(rendered, cache):
    again = scenes.load("lantern", downscale=4, views=4, max_test_views=0)
    np.testing.assert_array_equal(again.train.images, rendered["lantern"].train.images)
    np.testing.assert_array_equal(again.train.depths, rendered["lantern"].train.depths)


# Views and options


def test_cameras_are_spread_over_the_upper_half_and_apart_from_the_test_cameras(cache, drawn):
    scene = scenes.load("lantern", downscale=25)
    assert len(scene.train) == 100
    eyes = scene.train.cameras.poses[:, :, 3].astype(np.float64) / 4
    between = eyes @ eyes.T - 2 * np.eye(len(eyes))
    nearest = np.degrees(np.arccos(between.max(axis=1)))
    assert nearest.min() > 8  # a hundred caps on half a sphere: 16 degrees apart at best
    assert eyes[:, 2].min() > -0.05
    assert len(scene.test) == 20
    test_eyes = scene.test.cameras.poses[:, :, 3].astype(np.float64) / 4
    assert np.degrees(np.arccos((test_eyes @ eyes.T).max(axis=1))).min() > 0.3
    for pose in scene.train.cameras.poses:
        np.testing.assert_allclose(pose[:, 3] / 4, pose[:, 2], atol=1e-6)  # looks at the centre


def test_views_downscale_and_progress(cache, drawn):
    seen = []
    scene = scenes.load(
        "builtin:orrery", downscale=8, views=5, max_test_views=3, progress=lambda *step: seen.append(step)
    )
    assert scene.train.images.shape == (5, 50, 50, 4)
    assert scene.test.images.shape == (3, 50, 50, 4)
    assert seen == [(done, 8) for done in range(1, 9)]
    seen.clear()
    scenes.load("orrery", downscale=8, views=5, max_test_views=3, progress=lambda *step: seen.append(step))
    assert seen == [(done, 8) for done in range(1, 9)]
    assert scenes.load("orrery", downscale=25, views=2, max_test_views=0, background="black").background == (0, 0, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"views": 1}, "--views 1"),
        ({"views": 100_000}, "2 to 1000"),
        ({"downscale": 0}, "--downscale 0"),
        ({"downscale": 100}, "1 to 25"),
        ({"background": "pink"}, "white, black"),
        ({"max_test_views": -1}, "0 (none) or more"),
    ],
)
def test_options_out_of_range_are_refused(cache, drawn, options, says):
    with pytest.raises(UserError) as caught:
        scenes.load("lantern", **options)
    assert says in str(caught.value)
    assert not drawn


# The cache


def load_small() -> Scene:
    return scenes.load("lantern", downscale=25, views=3, max_test_views=0)


def test_a_second_load_renders_nothing_and_is_the_same(cache, drawn):
    first = load_small()
    assert len(drawn) == 3
    second = load_small()
    assert len(drawn) == 3
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.train.depths, second.train.depths)
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "not a zip", "a folder", "pickle", "wrong shape"])
def test_a_damaged_cache_is_rendered_again_and_repaired(cache, drawn, damage):
    first = load_small()
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "not a zip":
        path.write_bytes(b"PK and then nonsense" * 100)
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    elif damage == "pickle":
        np.savez(path, images=np.array([{}], dtype=object), depths=np.zeros(3))
    else:
        np.savez(path, images=first.train.images[:1], depths=first.train.depths[:1])
    second = load_small()
    assert len(drawn) == 6
    np.testing.assert_array_equal(first.train.images, second.train.images)
    if damage != "a folder":
        load_small()
        assert len(drawn) == 6


def test_a_write_that_is_killed_leaves_nothing_that_looks_whole(cache):
    """A process dies hard in the middle of writing the cache; the next load renders and then has a cache."""
    code = """
import os, sys
import numpy as np
from scenes.builtin import registry as builtin
import scenes
builtin._render = lambda name, cameras, step: (
    np.ones((len(cameras), cameras[0].height, cameras[0].width, 4), np.float16),
    np.ones((len(cameras), cameras[0].height, cameras[0].width), np.float32))
def savez(file, **arrays):
    file.write(b"PK" * 1000)
    file.flush()
    os._exit(9)
if sys.argv[1] == "kill":
    np.savez = savez
scenes.load("lantern", downscale=25, views=3, max_test_views=0)
"""
    environment = {**os.environ, "TAICHI_RF_CACHE": str(cache), "PYTHONPATH": str(ROOT)}

    def run(how: str) -> int:
        return subprocess.run([sys.executable, "-c", code, how], env=environment, cwd=ROOT, timeout=120).returncode

    assert run("kill") == 9
    assert not list(cache.glob("*.npz"))
    assert run("finish") == 0
    (path,) = cache.glob("*.npz")
    with np.load(path) as archive:
        assert archive["images"].shape == (3, 16, 16, 4)


def test_what_a_killed_process_left_is_cleared_away_in_time(cache, drawn):
    cache.mkdir()
    for name, age in (("old", 7200), ("new", 60)):
        (cache / f"{name}.part").write_text("")
        os.utime(cache / f"{name}.part", (time.time() - age,) * 2)
    load_small()
    assert [path.name for path in cache.glob("*.part")] == ["new.part"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, drawn):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "file" / "below"))  # fails for root too
    assert len(load_small().train) == 3
    assert len(load_small().train) == 3
    assert len(drawn) == 6


def test_a_full_disk_leaves_no_cache_and_no_litter(cache, drawn, monkeypatch):
    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        assert len(load_small().train) == 3
    assert list(cache.iterdir()) == []


def test_the_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("TAICHI_RF_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert builtin.cache_folder() == Path("/own")
    monkeypatch.delenv("TAICHI_RF_CACHE")
    assert builtin.cache_folder() == Path("/xdg/taichi-rf")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert builtin.cache_folder() == Path("/home/someone/.cache/taichi-rf")


def test_without_a_home_nothing_is_kept(drawn, monkeypatch, tmp_path):
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("TAICHI_RF_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert builtin.cache_folder() is None
    assert len(load_small().train) == 3
    with pytest.raises(builtin.NotRendered):
        scenes.load("lantern", downscale=25, views=3, max_test_views=0, render=False)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert builtin.cache_folder() is None


def test_every_arch_draws_the_mosaic_where_it_lies(backend):
    """On each backend: the floor of the lantern against rays met with its plane in closed form."""
    from scenes.builtin.tracer import make_renderer

    focal = 32 / np.tan(0.35)
    camera = Camera(look_at((3.0, 1.5, 2.2), (0, 0, 0)), focal, focal, 32.0, 32.0, 64, 64)
    image, depth = make_renderer(lantern.MODEL)(camera)
    assert np.isfinite(image).all()
    origins, directions = (array.astype(np.float64) for array in camera.rays())
    reach = (lantern.FLOOR * lantern.MODEL.scale - origins[:, 2]) / directions[:, 2]
    radius = np.linalg.norm((origins + reach[:, None] * directions)[:, :2], axis=1) / lantern.MODEL.scale
    on_floor = (reach > 0) & (radius > 0.7) & (radius < 1.15)
    error = (depth.ravel() - reach * (directions @ -camera.pose[:, 2].astype(np.float64)))[on_floor]
    assert on_floor.sum() > 200
    assert error.max() < 3e-3  # nothing is seen through it
    assert (np.abs(error) < 3e-3).mean() > 0.7  # the rest is behind the lantern
