"""A mesh as a scene: a solid to fit a signed distance to, and pictures of it to compare with.

The mesh is moved and scaled so that its largest side spans ``SPAN`` of the box [-1, 1]^3. Its pictures show the
triangles themselves, shaded as the model's surface is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from scenes.base import Progress, Scene, Split, background_colour, empty_split, spread
from scenes.solids.obj import read_obj
from scenes.solids.tidy import tidied
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.kernels.rays import Cameras, look_at
from taichi_rf.sdf.mesh import Shape, libigl
from taichi_rf.sdf.shading import shade
from taichi_rf.storage.placement import Placement

SUFFIXES = (".obj",)
SPAN = 0.9
"""Of the box's side, what the mesh's largest side spans: distances need room around the surface."""
BOX = np.array([[-1.0] * 3, [1.0] * 3], np.float32)
SIZE = 400  # pixels a side of a picture
ANGLE_OF_VIEW = math.radians(40)
DISTANCE = 3.4  # of the cameras from the centre
TRAIN_VIEWS, TEST_VIEWS = 4, 12
MIN_VIEWS, MAX_VIEWS = 1, 100
SMALLEST = 1e-30
SMALLEST_SHARE = 1e-12
"""Of the largest coordinate: a mesh that is smaller has lost its form to rounding."""


@dataclass(frozen=True)
class MeshScene(Scene):
    """A scene of one solid. ``train`` and ``test`` are pictures of the mesh; what is learnt from is ``shape``."""

    shape: Shape
    """In the unit box; the box's corners are (0, 0, 0) and (1, 1, 1)."""
    centre: tuple[float, float, float]
    """Of the mesh's bounds, in the file's own units."""
    scale: float
    """Lengths of the unit box in one unit of the file."""
    shows: ClassVar[str] = "mesh"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the mesh: its warnings, without the file's name."""
        return self.warnings

    def describe(self) -> str:
        """The mesh in a line."""
        shape = self.shape
        return f"{self.name}: a mesh of {len(shape.vertices):,} vertices and {len(shape.faces):,} triangles"


def load(
    source: str,
    *,
    downscale: int = 1,
    views: int | None = None,
    background: str = "white",
    max_test_views: int | None = None,
    progress: Progress | None = None,
) -> MeshScene:
    """The mesh in the file ``source`` as a scene; arguments as :func:`scenes.load`.

    Raises:
        UserError: the file is no mesh, is empty, broken or too large, encloses nothing, or libigl is missing.
    """
    if views is not None and not MIN_VIEWS <= views <= MAX_VIEWS:
        raise UserError(f"--views {views}: {MIN_VIEWS} to {MAX_VIEWS} is expected for the pictures of a mesh")
    path = Path(source)
    libigl()  # complains before the file is read
    vertices, faces, passed_over = read_obj(path)
    vertices, faces, open_edges, put_right = tidied(path, vertices, faces)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre, extent = (low + high) / 2, float((high - low).max())
    if not extent > max(SMALLEST, SMALLEST_SHARE * float(np.abs([low, high]).max())):
        raise UserError(
            f"{path}: all its triangles lie in one point, or nearly so: the mesh spans {extent:g} around "
            f"({centre[0]:g}, {centre[1]:g}, {centre[2]:g})"
        )
    scale = SPAN / extent
    shape = Shape((vertices - centre) * scale + 0.5, faces)
    warnings = (*passed_over, *put_right, *_check_inside(path, shape, open_edges))

    size = max(1, SIZE // downscale)
    train, test = views or TRAIN_VIEWS, spread(TEST_VIEWS, max_test_views)
    total = train + len(test)
    splits, done = [], 0
    for name, poses in (("train", _poses(np.arange(train), train, 0.0)), ("test", _poses(test, TEST_VIEWS, 0.5))):
        if not len(poses):
            splits.append(empty_split())
            continue
        cameras = _cameras(poses, size)
        images = np.empty((len(cameras), size, size, 4), np.float16)
        for index in range(len(cameras)):
            images[index] = _picture(shape, cameras, index)
            done += 1
            if progress is not None:
                progress(done, total)
        splits.append(Split(PixelPool.of(images), cameras, tuple(f"{name} {index}" for index in range(len(cameras)))))
    reach = math.sqrt(3.0)
    return MeshScene(
        path.stem, splits[0], splits[1], BOX.copy(), DISTANCE - reach, DISTANCE + reach, background_colour(background),
        str(path.resolve()), shape, (float(centre[0]), float(centre[1]), float(centre[2])), scale,
        warnings=warnings, downscale=downscale,
        placement=Placement(np.eye(3), -np.asarray(centre, np.float64), 2 * scale),
    )  # fmt: skip


def _check_inside(path: Path, shape: Shape, open_edges: int) -> tuple[str, ...]:
    """A sentence about open edges, if there are any. UserError for a mesh that encloses nothing."""
    if not open_edges:
        return ()
    probe, _ = shape.surface(2000, np.random.default_rng(0))
    around = np.random.default_rng(1).normal(0, 0.01, probe.shape)
    inside = shape.contains(probe + around).mean()
    if inside < 0.02:
        raise UserError(
            f"{path} encloses nothing: its surface is open ({open_edges:,} edges without a partner), so it has no "
            "inside; close it first"
        )
    return (f"the mesh is not watertight ({open_edges:,} open edges): what is inside is decided by the winding number",)


def _poses(order: npt.ArrayLike, count: int, shift: float) -> npt.NDArray[np.float32]:
    """Cameras once round, up and down three times; the first from a little above the front, left or right of it."""
    azimuth = 2 * math.pi * (np.asarray(order, np.float64) + shift) / count + 0.3
    height = 0.15 + 0.55 * np.sin(3 * azimuth - 1.2)
    flat = np.sqrt(1 - height**2)
    eyes = DISTANCE * np.stack([flat * np.sin(azimuth), height, flat * np.cos(azimuth)], axis=1)
    poses = [look_at(eye, (0, 0, 0), (0, 1, 0)) for eye in eyes]
    return np.array(poses, np.float32).reshape(-1, 3, 4)


def _cameras(poses: npt.NDArray[np.float32], size: int) -> Cameras:
    focal = size / 2 / math.tan(ANGLE_OF_VIEW / 2)
    intrinsics = np.tile(np.array([focal, focal, size / 2, size / 2], np.float32), (len(poses), 1))
    return Cameras(poses, intrinsics, size, size)


def _picture(shape: Shape, cameras: Cameras, index: int) -> npt.NDArray[np.float32]:
    """(height, width, 4) RGBA of the triangles, one ray a pixel."""
    origins, directions = cameras[index].rays()
    side = float(BOX[1, 0] - BOX[0, 0])
    hits = shape.rays((origins - BOX[0]) / side, directions / side)
    image = np.zeros((len(origins), 4), np.float32)
    image[hits.hit, :3] = shade(hits.normals[hits.hit], directions[hits.hit])
    image[hits.hit, 3] = 1
    return image.reshape(cameras[index].height, cameras[index].width, 4)
