"""The visual hull never cuts into what is there."""

from types import SimpleNamespace

import numpy as np
import pytest

from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.geometry.silhouettes import cleared, grid, tables
from taichi_rf.geometry.visual_hull import CELLS, carve
from taichi_rf.kernels.rays import Cameras, look_at

BOX = np.array([[-1.5, -1.5, -1.5], [1.5, 1.5, 1.5]], np.float32)
SIZE = 64
RADIUS = 0.6
CENTRE = np.array([0.3, -0.2, 0.1])


def sphere_split(
    views: int = 12, *, opaque: bool = False, spheres: tuple[tuple[np.ndarray, float], ...] = ((CENTRE, RADIUS),)
) -> SimpleNamespace:
    """Silhouettes of ``spheres``, one unless told otherwise, from all round, exact up to the pixel grid."""
    rng = np.random.default_rng(1)
    eyes = rng.standard_normal((views, 3))
    eyes *= 4 / np.linalg.norm(eyes, axis=1, keepdims=True)
    poses = np.stack([look_at(eye, (0, 0, 0)) for eye in eyes])
    cameras = Cameras(poses, np.tile([80.0, 80.0, SIZE / 2, SIZE / 2], (views, 1)), SIZE, SIZE)
    images = np.zeros((views, SIZE, SIZE, 4), np.float16)
    for i, camera in enumerate(cameras):
        origins, directions = camera.rays()
        for centre, radius in spheres:
            nearest = np.linalg.norm(np.cross(centre - origins, directions), axis=1)
            images[i, ..., 3] += (nearest < radius).reshape(SIZE, SIZE)
        images[i, ..., 3].clip(0, 1, out=images[i, ..., 3])
    if opaque:
        images[..., 3] = 1
    return views_of(images, cameras)


def views_of(images: np.ndarray, cameras: Cameras, **more: object) -> SimpleNamespace:
    """Images (N, H, W, 4) that can be painted, and the pixels of the same memory."""
    return SimpleNamespace(images=images, pixels=PixelPool.of(images), cameras=cameras, **more)


def spoilt(split: SimpleNamespace, index: int, how: str) -> SimpleNamespace:
    """The same views, one of which is wrong."""
    images, poses = split.images.copy(), split.cameras.poses.copy()
    if how == "blank":
        images[index] = 0
    elif how == "inverted":
        images[index, ..., 3] = 1 - images[index, ..., 3]
    elif how == "half":
        images[index, :, : SIZE // 2] = 0
    elif how == "opening":
        images[index, 28:36, 28:36] = 0
    elif how == "pose":
        poses[index] = poses[(index + 5) % len(poses)]
    cameras = Cameras(poses, split.cameras.intrinsics, SIZE, SIZE)
    return views_of(images, cameras, names=[f"r_{i}.png" for i in range(len(poses))])


def cell_of(points: np.ndarray, box: np.ndarray, cells: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    place = ((points - box[0]) / (box[1] - box[0]) * cells).astype(int)
    x, y, z = np.clip(place, 0, np.array(cells) - 1).T
    return z, y, x


@pytest.fixture(scope="module")
def hull():
    hull = carve(sphere_split(), BOX).hull
    assert hull is not None
    return hull


@pytest.fixture(scope="module")
def inside() -> np.ndarray:
    rng = np.random.default_rng(2)
    directions = rng.standard_normal((20_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return CENTRE + directions * RADIUS * 0.98 * rng.random((20_000, 1)) ** (1 / 3)


def test_everything_inside_the_object_is_kept(hull, inside):
    assert hull.cells[cell_of(inside, BOX, (CELLS, CELLS, CELLS))].all()


def test_most_of_the_box_is_cut_away(hull):
    ball = 4 / 3 * np.pi * RADIUS**3 / 27
    assert ball < hull.cells.mean() < 4 * ball


def test_the_bounds_hold_the_object_and_lie_in_the_box(hull):
    low, high = hull.bounds()
    assert (low <= CENTRE - RADIUS).all()
    assert (high >= CENTRE + RADIUS).all()
    assert (low >= BOX[0]).all()
    assert (high <= BOX[1]).all()
    assert (high - low < 2).all()


@pytest.mark.parametrize("cells", [(64, 64, 64), (17, 40, 90), (127, 33, 5)])
def test_on_any_grid_over_any_box_everything_inside_is_kept(hull, inside, cells):
    box = hull.bounds()
    on_grid = hull.on_grid(cells, box)
    assert on_grid.shape == cells[::-1]
    assert on_grid[cell_of(inside, box, cells)].all()
    assert not on_grid.all()


def test_images_without_alpha_have_no_hull():
    assert carve(sphere_split(4, opaque=True), BOX).hull is None


def test_what_no_view_sees_is_kept():
    """Two cameras close to the box, looking past its corners: only what they see can be carved."""
    split = sphere_split(2)
    split.images[...] = 0
    narrow = Cameras(split.cameras.poses, np.tile([400.0, 400.0, SIZE / 2, SIZE / 2], (2, 1)), SIZE, SIZE)
    hull = carve(views_of(split.images, narrow), BOX).hull
    assert hull is not None
    assert hull.cells[0, 0, 0]
    assert not hull.cells[CELLS // 2, CELLS // 2, CELLS // 2]


@pytest.mark.parametrize("views", [12, 40])
@pytest.mark.parametrize("how", ["blank", "inverted", "half", "opening", "pose"])
def test_one_wrong_view_takes_nothing_away(inside, views, how):
    """By the word of each single view this hull had lost the whole object, or some of it."""
    carving = carve(spoilt(sphere_split(views), 3, how), BOX)
    assert carving.hull is not None
    kept = carving.hull.cells[cell_of(inside, BOX, (CELLS, CELLS, CELLS))]
    assert kept.mean() > 0.999
    low, high = carving.hull.bounds()
    assert (low <= CENTRE - 0.95 * RADIUS).all()
    assert (high >= CENTRE + 0.95 * RADIUS).all()


def test_one_view_that_lacks_a_small_part_does_not_take_it_away():
    """Thinner than what one view may empty alone, and too little of the object for the view to be left out."""
    part = (np.array([-0.9, 0.6, 0.5]), 0.12)
    split = sphere_split(40, spheres=((CENTRE, RADIUS), part))
    split.images[3] = sphere_split(40).images[3]
    carving = carve(split, BOX)
    assert carving.left_out == ()
    assert carving.hull is not None
    rng = np.random.default_rng(4)
    points = part[0] + part[1] * rng.uniform(-0.55, 0.55, (2000, 3))
    assert carving.hull.cells[cell_of(points, BOX, (CELLS, CELLS, CELLS))].all()
    low, high = carving.hull.bounds()
    assert (low <= part[0] - part[1]).all()
    assert (high >= part[0] + part[1]).all()


def test_where_all_views_are_right_each_has_its_say():
    """As good as the hull of every view's veto: a fuller one costs quality, because rays and grid go to waste."""
    split = sphere_split(60)
    carving = carve(split, BOX)
    assert carving.hull is not None
    centres, radius = grid(BOX, CELLS)
    found = [cleared(split, i, centres, radius, table) for i, table in enumerate(tables(split, range(60)))]
    kept = ~np.any(found, axis=0)
    np.testing.assert_array_equal(carving.hull.cells.reshape(-1), kept)


@pytest.mark.parametrize("how", ["blank", "half", "pose"])
def test_a_view_that_contradicts_the_others_is_named_and_left_out(how):
    carving = carve(spoilt(sphere_split(40), 3, how), BOX)
    assert carving.left_out == (3,)
    assert len(carving.warnings) == 1
    assert "'r_3.png'" in carving.warnings[0]


def test_good_views_are_left_alone():
    for views in (2, 3, 6, 12, 40):
        carving = carve(sphere_split(views), BOX)
        assert carving.left_out == ()
        assert carving.warnings == ()


def test_half_of_the_views_may_be_blank(inside):
    split = sphere_split(20)
    split.images[::2] = 0
    carving = carve(split, BOX)
    assert carving.left_out == tuple(range(0, 20, 2))
    assert carving.hull is not None
    assert carving.hull.cells[cell_of(inside, BOX, (CELLS, CELLS, CELLS))].all()
    assert "and 5 more" in carving.warnings[0]


def test_a_blank_view_that_looks_away_is_no_mistake():
    split = sphere_split(12)
    poses = split.cameras.poses.copy()
    poses[4] = look_at((4, 0, 0), (8, 0, 0))
    split.images[4] = 0
    away = views_of(split.images, Cameras(poses, split.cameras.intrinsics, SIZE, SIZE))
    carving = carve(away, BOX)
    assert carving.left_out == ()
    assert carving.hull is not None


def test_silhouettes_that_agree_on_nothing_are_said_and_not_used():
    """Each view's picture belongs to another one."""
    split = sphere_split(24)
    order = np.random.default_rng(5).permutation(24)
    carving = carve(views_of(split.images[order], split.cameras), BOX)
    assert carving.hull is None
    assert carving.left_out == ()
    assert "contradict" in carving.warnings[0]
