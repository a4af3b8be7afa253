"""Rays of many pixels, made by kernels: what ``Cameras.pixel_rays`` makes in numpy, which is the slow twin; and rays
from numpy on their way to the device.

Kernels compute in double precision, as numpy does. Where a device has none, and for cameras with a lens, the rays are
numpy's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import copy_rows
from taichi_rf.kernels.rays import Camera, Cameras, sound

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Rays = npt.NDArray[np.float32]

BLOCK = 8
"""Pixels of a side of the blocks of which corners are asked first, where rays are numpy's."""
ASKED = 1 << 18
"""Rays that numpy makes at once."""
SURE = 4e-7
"""Of a distance, by which single precision may have a ray meet a plane elsewhere: six units in the last place."""

Vec3d: Any = ti.types.vector(3, ti.f64)
Directions: Any = ti.types.ndarray(dtype=ti.f32, ndim=2)
Numbers: Any = ti.types.ndarray(dtype=ti.i32, ndim=1)
Verdicts: Any = ti.types.ndarray(dtype=ti.i32, ndim=1)

_MISSES, _MEETS, _CLOSE = 0, 1, 2


def copy_rays(origins: np.ndarray, directions: np.ndarray, box: np.ndarray, o: Any, d: Any) -> None:
    """Copy rays (n, 3), (n, 3) to the first n elements of two arrays of Vec3. Those that mean nothing miss ``box``."""
    origins, directions = sound(origins, directions, box)
    copy_rows(origins, o)
    copy_rows(directions, d)


def doubles() -> bool:
    """Whether the running device computes in double precision: Metal never does, and Vulkan need not."""
    return current().arch in ("cpu", "cuda")


def image_rays(cameras: Cameras, view: int, places: Places) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Origins and unit directions (n, 3), (n, 3) through the pixels ``places`` (n,) of one view, counted row by row.

    Directions are NaN where a lens has no inverse.
    """
    camera = cameras[view]
    if camera.lens is not None or not doubles():
        y, x = np.divmod(places.astype(np.int64), camera.width)
        return cameras.pixel_rays(np.full(len(places), view), x, y)
    return _by_kernel(camera, places)


def camera_rays(camera: Camera) -> tuple[Rays, Rays]:
    """Origins and unit directions (H*W, 3), (H*W, 3) of all pixels: :meth:`taichi_rf.kernels.rays.Camera.rays`."""
    if camera.lens is not None or not doubles():
        return camera.rays()
    return _by_kernel(camera, np.arange(camera.width * camera.height, dtype=np.int32))


def _by_kernel(camera: Camera, places: Places) -> tuple[Rays, Rays]:
    directions = np.empty((len(places), 3), np.float32)
    _directions(len(places), camera.width, *_numbers(camera), places, directions)
    return np.broadcast_to(camera.position, directions.shape), directions


def meets_box(cameras: Cameras, view: int, box: npt.NDArray[np.float32], near: float, far: float) -> Flags:
    """(pixels of the view,) whether each pixel's ray meets ``box`` (2, 3) between ``near`` and ``far``, world units.

    Pixels of which the kernel's rounding and numpy's could tell different things are left to numpy.
    """
    camera = cameras[view]
    count = camera.width * camera.height
    if camera.lens is not None or not doubles():
        return _by_lattice(cameras, view, lambda o, d: _meets(o, d, box, near, far))
    verdicts = np.empty(count, np.int32)
    low, high = (Vec3d(*map(float, corner)) for corner in box)
    eye = Vec3d(*map(float, camera.position))
    _judge(count, camera.width, *_numbers(camera), eye, low, high, float(near), float(far), verdicts)
    meets = verdicts == _MEETS
    close = np.flatnonzero(verdicts == _CLOSE)
    if len(close):
        y, x = np.divmod(close, camera.width)
        meets[close] = _meets(*cameras.pixel_rays(np.full(len(close), view), x, y), box, near, far)
    return meets


def all_real(cameras: Cameras, view: int, rays: Callable[[Rays, Rays], tuple[Rays, Rays]]) -> Flags:
    """(pixels of the view,) whether each pixel has a ray, and ``rays`` (origins, directions) makes one of it: no number
    of it is NaN."""
    return _by_lattice(cameras, view, lambda o, d: np.asarray(np.isfinite(rays(o, d)[1]).all(axis=1)))


def _by_lattice(cameras: Cameras, view: int, test: Callable[[Rays, Rays], Flags]) -> Flags:
    """(pixels of the view,) what ``test`` tells of each pixel's ray (n, 3), (n, 3), where that is alike all over large
    regions. Asked are the corners of blocks, and all pixels of blocks whose corners, or whose neighbours', differ."""
    camera = cameras[view]

    def ask(x: Indices, y: Indices) -> Flags:
        found = np.empty(len(x), bool)
        for first in range(0, len(x), ASKED):
            part = slice(first, first + ASKED)
            found[part] = test(*cameras.pixel_rays(np.full(len(x[part]), view), x[part], y[part]))
        return found

    columns, rows = (np.append(np.arange(0, side, BLOCK), side) for side in (camera.width, camera.height))
    x, y = np.meshgrid(np.minimum(columns, camera.width - 1), np.minimum(rows, camera.height - 1))
    corners = ask(x.reshape(-1), y.reshape(-1)).reshape(x.shape)
    four = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]])
    whole = np.asarray(four.all(axis=0))
    differ = four.any(axis=0) != whole
    if not corners.any():
        differ[...] = True  # what is there may be smaller than a block
    padded = np.pad(differ, 1)
    asked = np.asarray(np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).any(axis=(2, 3)))

    def spread(blocks: Flags) -> Flags:
        return np.repeat(np.repeat(blocks, np.diff(rows), axis=0), np.diff(columns), axis=1).reshape(-1)

    result, places = spread(whole), np.flatnonzero(spread(asked))
    y, x = np.divmod(places, camera.width)
    result[places] = ask(x, y)
    return result


def _meets(
    origins: npt.NDArray[np.float32],
    directions: npt.NDArray[np.float32],
    box: npt.NDArray[np.float32],
    near: float,
    far: float,
) -> Flags:
    low, high = box
    safe = np.where(np.abs(directions) < 1e-9, np.float32(1e-9), directions)
    a, b = (low - origins) / safe, (high - origins) / safe
    entry = np.maximum(np.minimum(a, b).max(1), near)
    leave = np.minimum(np.maximum(a, b).min(1), far)
    found: Flags = entry < leave
    return found


def _numbers(camera: Any) -> tuple[Any, ...]:
    """What the kernels know of a pinhole: fx, fy, cx, cy and the rows of its rotation."""
    return camera.fx, camera.fy, camera.cx, camera.cy, *(Vec3d(*map(float, row)) for row in camera.pose[:, :3])


@ti.func
def _direction(x, y, fx, fy, cx, cy, r0, r1, r2):
    """The unit direction of a pixel's ray in the world, in single precision."""
    half = ti.cast(0.5, ti.f64)
    local = Vec3d((ti.cast(x, ti.f64) + half - cx) / fx, -(ti.cast(y, ti.f64) + half - cy) / fy, -1.0)
    local /= ti.sqrt(local.dot(local))
    return ti.Vector([ti.cast(r0.dot(local), ti.f32), ti.cast(r1.dot(local), ti.f32), ti.cast(r2.dot(local), ti.f32)])


@ti.kernel
def _directions(
    n: int,
    width: int,
    fx: ti.f64,
    fy: ti.f64,
    cx: ti.f64,
    cy: ti.f64,
    r0: Vec3d,
    r1: Vec3d,
    r2: Vec3d,
    places: Numbers,
    directions: Directions,
):
    for i in range(n):
        d = _direction(places[i] % width, places[i] // width, fx, fy, cx, cy, r0, r1, r2)
        for a in ti.static(range(3)):
            directions[i, a] = d[a]


@ti.kernel
def _judge(
    n: int,
    width: int,
    fx: ti.f64,
    fy: ti.f64,
    cx: ti.f64,
    cy: ti.f64,
    r0: Vec3d,
    r1: Vec3d,
    r2: Vec3d,
    eye: Vec3d,
    low: Vec3d,
    high: Vec3d,
    near: ti.f64,
    far: ti.f64,
    verdicts: Verdicts,
):
    # entry and exit of each ray, and by how much numpy's single precision may have them elsewhere
    for i in range(n):
        d = _direction(i % width, i // width, fx, fy, cx, cy, r0, r1, r2)
        sure = ti.cast(SURE, ti.f64)
        entry, early = near, near * (1 - sure)
        leave, late = far, far * (1 + sure)
        entry_late, leave_early = near * (1 + sure), far * (1 - sure)
        for a in ti.static(range(3)):
            along = ti.cast(ti.select(ti.abs(d[a]) < 1e-9, 1e-9, d[a]), ti.f64)
            ta, tb = (low[a] - eye[a]) / along, (high[a] - eye[a]) / along
            first, last = ti.min(ta, tb), ti.max(ta, tb)
            entry, leave = ti.max(entry, first), ti.min(leave, last)
            early = ti.max(early, first - sure * ti.abs(first))
            entry_late = ti.max(entry_late, first + sure * ti.abs(first))
            late = ti.min(late, last + sure * ti.abs(last))
            leave_early = ti.min(leave_early, last - sure * ti.abs(last))
        verdict = _CLOSE
        if entry_late < leave_early:
            verdict = _MEETS
        elif early > late:
            verdict = _MISSES
        verdicts[i] = verdict
