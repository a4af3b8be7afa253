"""From depth images to points on the surface, in the box of an octree; find that box, and tell depth in a wrong unit.

View by view, so that memory follows the points that are asked for and not the images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

MOST_POINTS = 8_000_000
"""Points that are looked at: of more pixels with depth, every second, third, ... is taken. Takes 96 MB."""

INSIDE = 0.5
"""The least share of the points that lies in the box where the unit is right: a floor may reach beyond it."""

FITS = 0.9
"""A scale fits if it brings so much of what the best scale brings into the box."""

CELLS = 96
TRIMMED = 0.001
MARGIN = 0.02
"""For :func:`bounds`: cells along each axis in which points are counted, the share at either end that is left out to
find how large these are, and what is added all round, as a share of the longest side."""


def surface_points(split: Any, box: npt.ArrayLike, *, most: int = MOST_POINTS) -> Float32Array | None:
    """Where the depth images of ``split`` put the surface, in a box: (n, 3) float32 in [0, 1], or None without depths.

    Points outside the box are left out, as are pixels without depth.

    Args:
        split: depths (N, H, W), z-depth in world units, 0 for none; and cameras.
        box: (2, 3) world units.
        most: of more pixels with depth, use about so many, evenly spread.

    Raises:
        UserError: no pixel has depth, or more than half of the points lie outside the box, as they do when depth is in
            another unit than the cameras; then it says which scale would fit.
    """
    if split.depths is None:
        return None
    low, high = np.asarray(box, np.float64)
    found, count = [], 0
    for points, _, _ in _views(split, most):
        count += len(points)
        unit = ((points - low) / (high - low)).astype(np.float32)
        found.append(unit[((unit >= 0) & (unit <= 1)).all(axis=1)])
    inside = np.concatenate(found)
    if len(inside) < INSIDE * count:
        raise UserError(_wrong_unit(split, np.stack([low, high]), len(inside) / count))
    return inside


def bounds(split: Any, box: npt.ArrayLike | None = None) -> Float32Array | None:
    """The box (2, 3) around the surface in world units, a little margin included, or None without depths.

    Depth that no two views agree on, as at the edges of objects, does not count.

    Args:
        split: depths and cameras, as for :func:`surface_points`.
        box: (2, 3), what is known of the scene; the bounds are cut off at it, and depth in a wrong unit shows.

    Raises:
        UserError: no pixel has depth, or more than half of the points lie outside ``box``.
    """
    if split.depths is None:
        return None
    parts, owners = [], []
    for view, (points, _, _) in enumerate(_views(split, MOST_POINTS // 4)):
        parts.append(points.astype(np.float32))
        owners.append(np.full(len(points), view, np.int32))
    points, owner = np.concatenate(parts), np.concatenate(owners)
    if box is not None:
        known = np.asarray(box, np.float64)
        inside = ((points >= known[0]) & (points <= known[1])).all(axis=1)
        if inside.mean() < INSIDE:
            raise UserError(_wrong_unit(split, known, float(inside.mean())))
        points, owner = points[inside], owner[inside]
    agreed = points[_agreed(points, owner)]
    found = np.stack([agreed.min(axis=0), agreed.max(axis=0)]).astype(np.float64)
    margin = MARGIN * max(float((found[1] - found[0]).max()), 1e-6)
    found += np.array([[-margin], [margin]])
    if box is not None:
        found = np.clip(found, known[0], known[1])
    return found.astype(np.float32)


def _agreed(points: npt.NDArray[np.floating], owner: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """(n,) which ``points`` lie in a cell that a point of another view lies in too; all, if none does."""
    low, high = np.quantile(points, [TRIMMED, 1 - TRIMMED], axis=0)
    size = np.maximum(high - low, 1e-6)  # and as much on either side, so that nothing trimmed is lost
    cell = np.floor((points - (low - size)) / (3 * size) * CELLS)
    near = ((cell >= 0) & (cell < CELLS)).all(axis=1)
    number = (np.clip(cell, 0, CELLS - 1) @ (1.0, CELLS, CELLS**2)).astype(np.int64)
    first = np.full(CELLS**3, -1, np.int32)
    first[number[near]] = owner[near]
    shared = np.zeros(CELLS**3, bool)
    shared[number[near & (first[number] != owner)]] = True
    agreed = near & shared[number]
    return agreed if agreed.any() else np.ones(len(points), bool)


def _views(split: Any, most: int) -> Iterator[tuple[Float64Array, Float64Array, Float64Array]]:
    """View by view: points (n, 3), where the camera stands (3,), and each point as seen from there (n, 3).

    Raises:
        UserError: there is no depth in any view.
    """
    there = sum(int(np.count_nonzero(_known(depth))) for depth in split.depths)
    if there == 0:
        raise UserError(
            f"the depth images of all {len(split.depths)} views hold no depth: every pixel is 0 (none). 16-bit grey "
            "images of z-depth are expected; take 'depth_file_path' out of the frames to train without depth"
        )
    every = -(-there // max(1, most))
    for view, (camera, depth) in enumerate(zip(split.cameras, split.depths)):
        known = np.flatnonzero(_known(depth))[view % every :: every]
        origins, directions = camera.rays()
        towards = directions[known].astype(np.float64)
        along = towards @ -camera.pose[:, 2].astype(np.float64)  # of a unit ray, what it goes along the view axis
        offsets = towards * (depth.reshape(-1)[known] / along)[:, None]
        position = camera.position.astype(np.float64)
        yield position + offsets, position, offsets


def _known(depth: Float32Array) -> npt.NDArray[np.bool_]:
    return (depth > 0) & np.isfinite(depth)


def _wrong_unit(split: Any, box: Float64Array, share: float) -> str:
    """What to say when only ``share`` of the points are in the box: where they are, and the scale that would fit."""
    positions, offsets = [], []
    for points, position, seen in _views(split, 200_000):
        positions.append(np.broadcast_to(position, points.shape))
        offsets.append(seen)
    position, offset = np.concatenate(positions), np.concatenate(offsets)
    low, high = np.quantile(position + offset, [0.01, 0.99], axis=0)
    text = (
        f"the depth images put the surface between {_place(low)} and {_place(high)}, so that {share:.0%} of it "
        f"lies in the scene's box, {_place(box[0])} to {_place(box[1])}. "
    )
    scale, fits = _fitting_scale(position, offset, box)
    if fits < INSIDE:
        return text + (
            "No other scale brings half of it in: check that depth is distance along the view axis and that "
            "'transform_matrix' are the poses of the depth images' cameras too"
        )
    factor = f"{scale:.3g}" if scale < 1000 else f"{scale:.0f}"
    return text + (f"'depth_unit_scale_factor' is likely wrong: {factor} times as much would bring {fits:.0%} of it in")


def _fitting_scale(position: Float64Array, offset: Float64Array, box: Float64Array) -> tuple[float, float]:
    """The scale of depth that brings most points into the box, and the share it brings.

    Powers of ten are preferred, that nearest to 1 first. If none fits, it is the scale at which views agree best; and
    if no scale brings any point in, 1.

    Args:
        position: (n, 3) where the camera of a point stands.
        offset: (n, 3) from there to the point.
        box: (2, 3).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        slabs = (box[:, None] - position) / offset
    enter = np.fmax(np.fmin(slabs[0], slabs[1]).max(axis=1), 0)
    leave = np.fmax(slabs[0], slabs[1]).min(axis=1)
    starts, ends = np.sort(enter[enter < leave]), np.sort(leave[enter < leave])

    def share(scales: npt.NDArray[Any]) -> Float64Array:
        within = np.searchsorted(starts, scales, "right") - np.searchsorted(ends, scales, "left")
        return np.asarray(within / len(offset), np.float64)

    fine = 10 ** np.linspace(-18, 18, 14401)
    shares = share(fine)
    best = float(shares.max())
    if best == 0:
        return 1.0, 0.0
    tens = 10.0 ** np.arange(-18, 19)
    fitting = tens[(share(tens) >= FITS * best) & (tens != 1)]
    if len(fitting):
        scale = float(fitting[np.abs(np.log(fitting)).argmin()])
    else:
        candidates = fine[shares >= FITS * best]
        candidates = candidates[:: -(-len(candidates) // 100)]
        scale = float(candidates[int(np.argmin([_spread(position, offset, scale) for scale in candidates]))])
    return scale, float(share(np.array([scale]))[0])


def _spread(position: Float64Array, offset: Float64Array, scale: float) -> int:
    """In how many cells the points lie, cells that grow with the scale: fewest where views agree on one surface."""
    size = scale * float(np.median(np.linalg.norm(offset, axis=1))) / 128
    cells = np.floor(position / size + offset * (scale / size)).astype(np.int64)
    cells -= cells.min(axis=0)
    reach = cells.max(axis=0) + 1
    return len(np.unique((cells[:, 0] * reach[1] + cells[:, 1]) * reach[2] + cells[:, 2]))


def _place(point: Float64Array) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in point) + ")"
