"""A smooth path through the poses of cameras: a Catmull-Rom spline of their positions and of their rotations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Float64Array = npt.NDArray[np.float64]


def spline(
    poses: npt.ArrayLike, values: npt.ArrayLike, times: npt.ArrayLike, *, loop: bool = False
) -> tuple[_Float64Array, _Float64Array]:
    """Poses (n, 3, 4) and values (n,) at ``times`` (n,), counted in keyframes from 0 at the first.

    A uniform Catmull-Rom spline, evaluated as Barry and Goldman (1988) do, from lines alone: positions and values along
    straight ones, orientations along great circles of the unit quaternions (Schlag 1991). It passes every keyframe,
    with a speed and a turn that never jump.

    Args:
        poses: (k, 3, 4) the keyframes, camera to world; two at least.
        values: (k,) a number that goes with each of them.
        times: 0 to k - 1, or to k for a loop.
        loop: after the last keyframe comes the first.
    """
    poses, values, times = (np.asarray(array, dtype=np.float64) for array in (poses, values, times))
    count = len(poses)
    q, p = _quaternions(poses[:, :, :3]), np.column_stack([poses[:, :, 3], values])
    if loop:  # keyframes of the other end, so that every span has a neighbour on both sides
        around = np.arange(-1, count + 2) % count
        q, p = _same_side(q[around]), p[around]
    else:  # beyond the ends it would go straight on
        q = _same_side(q)
        before, after = (_slerp(q[[a]], q[[b]], np.array([2.0])) for a, b in ((1, 0), (-2, -1)))
        q = np.concatenate([before, q, after])
        p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    span = np.clip(np.floor(times).astype(int), 0, count - (1 if loop else 2))
    t = times - span
    q = _catmull_rom([q[span + offset] for offset in range(4)], t, _slerp)
    p = _catmull_rom([p[span + offset] for offset in range(4)], t, _lerp)
    return np.concatenate([_rotations(q), p[:, :3, None]], axis=2), p[:, 3]


def _catmull_rom(points: list[_Float64Array], t: _Float64Array, line: Any) -> _Float64Array:
    """Catmull-Rom between points[1] at t = 0 and points[2] at t = 1; each (n, k), t (n,)."""
    p0, p1, p2, p3 = points
    a, b, c = line(p0, p1, t + 1), line(p1, p2, t), line(p2, p3, t - 1)
    return np.asarray(line(line(a, b, (t + 1) / 2), line(b, c, t / 2), t))


def _lerp(a: _Float64Array, b: _Float64Array, t: _Float64Array) -> _Float64Array:
    return a + (b - a) * t[:, None]


def _slerp(a: _Float64Array, b: _Float64Array, t: _Float64Array) -> _Float64Array:
    """Along the great circle from ``a`` (n, 4) to ``b``, and beyond for t outside [0, 1]."""
    angle = np.arccos(np.clip((a * b).sum(axis=1), -1.0, 1.0))
    close = np.sin(angle) < 1e-6
    safe = np.where(close, 1.0, np.sin(angle))
    of_a = np.where(close, 1 - t, np.sin((1 - t) * angle) / safe)
    of_b = np.where(close, t, np.sin(t * angle) / safe)
    mixed = of_a[:, None] * a + of_b[:, None] * b
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    return np.where(length > 1e-6, mixed / np.maximum(length, 1e-6), a)  # opposite ones have no way between them


def _same_side(quaternions: _Float64Array) -> _Float64Array:
    """``q`` and ``-q`` are one orientation: choose the signs so that each is the nearer one to its predecessor."""
    flips = (quaternions[1:] * quaternions[:-1]).sum(axis=1) < 0
    signs = np.concatenate([[1.0], np.where(np.cumsum(flips) % 2, -1.0, 1.0)])
    return quaternions * signs[:, None]


def _quaternions(rotations: _Float64Array) -> _Float64Array:
    """(n, 3, 3) to unit quaternions (n, 4), w first: the eigenvector that Bar-Itzhack (2000) gives, which needs no case
    distinction and is the nearest one for a matrix that is not quite a rotation."""
    m = rotations
    k = np.zeros((len(m), 4, 4))
    k[:, 1:, 1:] = m + m.transpose(0, 2, 1) - np.trace(m, axis1=1, axis2=2)[:, None, None] * np.eye(3)
    twist = np.stack([m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], axis=1)
    k[:, 0, 1:] = k[:, 1:, 0] = twist
    k[:, 0, 0] = np.trace(m, axis1=1, axis2=2)
    return np.asarray(np.linalg.eigh(k)[1][:, :, -1])


def _rotations(quaternions: _Float64Array) -> _Float64Array:
    """Unit quaternions (n, 4), w first, to (n, 3, 3)."""
    w, x, y, z = quaternions.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
