"""Pixels to rays: a camera, and many of them. Lenses are kept as they are: rays are bent, pictures never resampled.

A camera looks down -z with x right and y up (OpenGL, Blender). Pixel (x, y) has its centre at (x + 0.5, y + 0.5), and
row 0 is the top of the image. The classes here are plain numpy and need no running Taichi.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.lenses import Lens

Float32Array = npt.NDArray[np.float32]

FARTHEST = 1e9
"""Of the box's largest coordinate: single precision knows nothing of a box seen from farther away."""


@dataclass(frozen=True)
class Camera:
    """One camera.

    ``pose`` is (3, 4) float32, camera to world; ``fx``, ``fy``, ``cx`` and ``cy`` are in pixels of an image of
    ``width`` x ``height``. Without a ``lens`` it is a pinhole.

    Raises:
        ValueError: the pose is not (3, 4), or the image is empty.
    """

    pose: Float32Array
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    lens: Lens | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pose", np.ascontiguousarray(self.pose, dtype=np.float32))
        if self.pose.shape != (3, 4):
            raise ValueError(f"a pose is (3, 4), camera to world; got {self.pose.shape}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"an image is at least 1 x 1 pixel; got {self.width} x {self.height}")

    @property
    def position(self) -> Float32Array:
        """(3,) where the camera stands, in world units."""
        return self.pose[:, 3]

    def resized(self, width: int, height: int) -> Camera:
        """The same view on an image of ``width`` x ``height`` pixels; the edges of the image stay where they were."""
        across, down = width / self.width, height / self.height
        fx, fy, cx, cy = self.fx * across, self.fy * down, self.cx * across, self.cy * down
        return Camera(self.pose, fx, fy, cx, cy, width, height, self.lens)

    def rays(self) -> tuple[Float32Array, Float32Array]:
        """Origins (H*W, 3) and unit directions (H*W, 3) in the world, row by row from the top left pixel.

        Directions are NaN where the lens has no inverse.
        """
        x = np.arange(self.width, dtype=np.float64) + 0.5
        y = np.arange(self.height, dtype=np.float64) + 0.5
        directions = np.empty((self.height, self.width, 3))
        directions[..., 0] = (x - self.cx) / self.fx
        directions[..., 1] = -(y[:, None] - self.cy) / self.fy
        directions[..., 2] = -1.0
        if self.lens is not None:
            directions = _bent(self.lens, directions.reshape(-1, 3))
        directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
        world = directions.reshape(-1, 3) @ self.pose[:, :3].astype(np.float64).T
        origins = np.broadcast_to(self.position, world.shape)
        return np.ascontiguousarray(origins), world.astype(np.float32)

    def project(self, points: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """World ``points`` (..., 3) to pixel coordinates (..., 2) and z-depth (...), which is positive in front.

        Coordinates are NaN where the depth is not positive, or where the lens does not show the point. The inverse of
        :meth:`rays`: a pixel's centre comes back as (x + 0.5, y + 0.5).
        """
        pose = self.pose.astype(np.float64)
        local = (np.asarray(points, dtype=np.float64) - pose[:, 3]) @ pose[:, :3]
        depth = -local[..., 2]
        if self.lens is not None:
            places = self.lens.image((local * (1, -1, -1)).reshape(-1, 3)).reshape(*local.shape[:-1], 2)
            return places * (self.fx, self.fy) + (self.cx, self.cy), depth
        safe = np.where(depth > 0, depth, np.nan)
        x = self.cx + self.fx * local[..., 0] / safe
        y = self.cy - self.fy * local[..., 1] / safe
        return np.stack([x, y], axis=-1), depth


@dataclass(frozen=True)
class Cameras:
    """N cameras.

    ``poses`` is (N, 3, 4) float32, camera to world; ``intrinsics`` is (N, 4) float32: fx, fy, cx, cy in pixels.
    ``widths`` and ``heights`` are (N,) int64, the sizes of the images in pixels; one number is that of all.
    ``lenses`` has one entry a camera, None for a pinhole; it is empty where all are.

    Raises:
        ValueError: the shapes do not agree.
    """

    poses: Float32Array
    intrinsics: Float32Array
    widths: Any
    heights: Any
    lenses: tuple[Lens | None, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "poses", np.ascontiguousarray(self.poses, dtype=np.float32))
        object.__setattr__(self, "intrinsics", np.ascontiguousarray(self.intrinsics, dtype=np.float32))
        count = len(self.poses)
        if self.poses.shape != (count, 3, 4):
            raise ValueError(f"poses are (N, 3, 4); got {self.poses.shape}")
        if self.intrinsics.shape != (count, 4):
            raise ValueError(f"intrinsics of {count} cameras are ({count}, 4); got {self.intrinsics.shape}")
        for name in ("widths", "heights"):
            sizes = np.array(np.broadcast_to(np.asarray(getattr(self, name), np.int64), (count,)))
            object.__setattr__(self, name, sizes)
            if (sizes < 1).any():
                raise ValueError(f"an image is at least 1 x 1 pixel; got {name} down to {sizes.min()}")
        if self.lenses and len(self.lenses) != count:
            raise ValueError(f"{count} cameras have {count} lenses; got {len(self.lenses)}")

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: int) -> Camera:
        fx, fy, cx, cy = (float(value) for value in self.intrinsics[index])
        lens = self.lenses[index] if self.lenses else None
        return Camera(self.poses[index], fx, fy, cx, cy, int(self.widths[index]), int(self.heights[index]), lens)

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """(N + 1,) the number of each image's first pixel among those of all images, and of all pixels."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.widths * self.heights)])

    def locate(
        self, pixels: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """View, column and row, (n,) each, of the pixels with the numbers ``pixels`` (n,) among those of all images,
        which are counted image by image and row by row."""
        view = np.searchsorted(self.offsets, pixels, side="right") - 1
        y, x = np.divmod(pixels - self.offsets[view], self.widths[view])
        return view, x, y

    def __iter__(self) -> Iterator[Camera]:
        return (self[index] for index in range(len(self)))

    def pixel_rays(
        self, view: npt.NDArray[np.int64], x: npt.NDArray[Any], y: npt.NDArray[Any]
    ) -> tuple[Float32Array, Float32Array]:
        """Origins (n, 3) and unit directions (n, 3) through the centres of pixels (x, y) of the given views, each
        (n,); between centres where x and y are no whole numbers. Directions are NaN where a lens has no inverse."""
        fx, fy, cx, cy = self.intrinsics[view].T
        local = np.stack([(x + 0.5 - cx) / fx, -(y + 0.5 - cy) / fy, np.full(len(x), -1.0)], axis=1)
        if self.lenses:
            kinds = list(dict.fromkeys(self.lenses))
            kind = np.array([kinds.index(lens) for lens in self.lenses])[view]
            for index, lens in enumerate(kinds):
                if lens is not None and (chosen := kind == index).any():
                    local[chosen] = _bent(lens, local[chosen])
        local /= np.linalg.norm(local, axis=1, keepdims=True)
        poses = self.poses[view]
        directions = np.einsum("nij,nj->ni", poses[:, :, :3], local)
        return poses[:, :, 3], directions.astype(np.float32)


def _bent(lens: Lens, local: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Directions (n, 3) in the camera's axes, of which a pinhole has (x, y, -1) as ``local`` (n, 3), as ``lens`` has
    them."""
    return lens.directions(local[:, :2] * (1, -1)) * (1, -1, -1)


def look_at(eye: npt.ArrayLike, target: npt.ArrayLike, up: npt.ArrayLike = (0.0, 0.0, 1.0)) -> Float32Array:
    """The (3, 4) pose of a camera that stands at ``eye`` and looks at ``target`` with ``up`` upwards in its image.

    Looking along ``up`` itself leaves the roll open; then the world axis farthest from the view direction takes its
    place.

    Raises:
        ValueError: ``eye`` and ``target`` coincide, or ``up`` is zero.
    """
    eye, target, up = (np.asarray(value, dtype=np.float64) for value in (eye, target, up))
    backward = eye - target
    distance = float(np.linalg.norm(backward))
    if not distance > 0:
        raise ValueError("look_at: eye and target coincide, so there is no direction to look in")
    if not float(np.linalg.norm(up)) > 0:
        raise ValueError("look_at: up is zero; give a direction such as (0, 0, 1)")
    backward /= distance
    right = np.cross(up, backward)
    if np.linalg.norm(right) < 1e-6 * np.linalg.norm(up):
        right = np.cross(np.eye(3)[np.argmin(np.abs(backward))], backward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward, eye], axis=1).astype(np.float32)


def sound(origins: Float32Array, directions: Float32Array, box: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
    """Rays (n, 3), (n, 3) that kernels can follow: those that are not finite, have no direction, or begin too far away
    to know anything of ``box`` (2, 3), are replaced by one that misses it. The arrays given stay as they are."""
    low, high = np.asarray(box, np.float32)
    lengths = np.einsum("ni,ni->n", directions, directions)
    reach = FARTHEST * max(np.abs(low).max(), np.abs(high).max())
    if len(lengths) and np.abs(origins).max() < reach and lengths.min() > 1e-12 and lengths.max() < 1e12:
        return origins, directions
    near = np.abs(origins).max(axis=1, initial=0) < reach
    good = near & (lengths > 1e-12) & (lengths < 1e12)  # false for what is no number
    if good.all():
        return origins, directions
    outside = 2 * high - low
    return (
        np.where(good[:, None], origins, outside).astype(np.float32),
        np.where(good[:, None], directions, np.array([1, 0, 0])).astype(np.float32),
    )
