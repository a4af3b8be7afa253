"""Sphere tracing: where rays meet the surface of a signed distance, and which way it faces there.

A step along a ray is as long as the distance at its place, for nothing is nearer (Hart 1996). The distance is known in
a field's occupied cells only, so that a ray looks once more before it leaves them and then jumps over the empty ones,
wherever these lie. A ray has met the surface when it finds itself inside; the change of sign between the last two
steps is then narrowed down by false position. Inside after empty cells, it has just come in if it goes deeper from
there; if it is on its way out, it came in unnoticed where it left the cells before, for a fitted surface may lie a
little beside the cells that were made for it.

All rays that are still on their way take a step together: their places, packed, are looked up in one call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Scratch, Vec3, Vec3s
from taichi_rf.kernels.march import box_interval
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.kernels.pixel_rays import copy_rays
from taichi_rf.kernels.scan import SCAN, prefix_sum
from taichi_rf.kernels.traverse import NUDGE, cell_at, crossed, marked, seek, stay

SHORTEST = 0.1
"""Cells that a step spans at least: shorter and shorter ones would never get to the surface, nor along it."""
MOST_STEPS = 256
"""Of a ray; one that needs more has met nothing."""
NARROWINGS = 5
"""Of a change of sign."""
REACH = 0.5
"""Cells from the surface to the places where distances are compared for its normal."""
BEYOND = 0.01
"""Cells after the face by which a ray has come inside, where it is asked whether it goes deeper."""
UNKNOWN = 0.5
"""No distance is as large: a field gives 1 where it has no cell."""

Distance = Callable[[int, Any, Any], None]
"""``distance(n, positions, out)`` writes the distance at positions (n, 3) of the unit box to out (n,), on the device: a
field's ``density`` at one level."""

NONE, BRACKET, ENTRY = 0, 1, 2
"""What a ray has met: nothing, a change of sign between two places, the inside on entering a cell."""


@dataclass(frozen=True)
class Surface:
    """What n rays met."""

    hit: np.ndarray
    """(n,) bool."""
    t: np.ndarray
    """(n,) float32, world units along the ray; 0 where nothing was met."""
    normals: np.ndarray
    """(n, 3) float32, unit, out of the solid; 0 where nothing was met."""
    steps: np.ndarray
    """(n,) int32: how often the distance was asked for on the way."""


class Tracer:
    """Traces batches of rays."""

    def __init__(self) -> None:
        self.scratch = Scratch()

    def trace(
        self,
        distance: Distance,
        occupancy: Occupancy,
        origins: np.ndarray,
        directions: np.ndarray,
        *,
        box: np.ndarray,
        near: float,
        far: float,
        normals: bool = True,
    ) -> Surface:
        """Where rays (n, 3), (n, 3) of unit direction first meet the surface that ``distance`` describes.

        Args:
            distance: gives the signed distance in lengths of the unit box, negative inside; 1 outside its cells.
            occupancy: the cells in which the distance is known.
            box: (2, 3) of the field, world units. Distances are measured along its shortest side.
            near, far: world units.
            origins, directions: rays that are not finite, or have no direction, meet nothing.
            normals: whether they are wanted; zero otherwise.
        """
        n, get = len(origins), self.scratch.get
        o, d = get("origins", Vec3, n), get("directions", Vec3, n)
        low, high = (ti.math.vec3(*map(float, corner)) for corner in box)
        copy_rays(origins, directions, box, o, d)
        side = float(np.min(box[1] - box[0]))
        grid = (*occupancy.cells, occupancy.words, *occupancy.coarse_cells, occupancy.bits, occupancy.coarse)
        t, end, starts = (get(name, ti.f32, n) for name in ("t", "end", "starts"))
        before, before_value, value = (get(name, ti.f32, n) for name in ("before", "before value", "value"))
        left = get("left", ti.f32, n)
        state, steps, flags = (get(name, ti.i32, n) for name in ("state", "steps", "flags"))
        slots, sums = get("slots", ti.i32, n + 1), get("sums", ti.i32, n // SCAN + 2)
        ids, spare = get("ids", ti.i32, n), get("spare ids", ti.i32, n)
        _enter(n, low, high, near, far, o, d, starts, end)
        _begin(n, o, d, *grid, t, end, before_value, left, state, steps, flags, ids)
        active = prefix_sum(n, flags, slots, sums)
        waiting = n
        for _ in range(MOST_STEPS):
            if active == 0:
                break
            positions, distances = get("positions", Vec3, active), get("distances", ti.f32, active)
            _pack(waiting, flags, slots, ids, o, d, t, spare, positions)
            ids, spare, waiting = spare, ids, active
            distance(active, positions, distances)
            _advance(
                active, side, ids, o, d, *grid, end, distances, t, before, before_value, left, value, state, steps,
                flags,
            )  # fmt: skip
            active = prefix_sum(active, flags, slots, sums)
        self._seal(distance, n, grid[:3], o, d, t, left, value, state)
        self._narrow(distance, n, o, d, t, before, before_value, value, state)
        found = state.to_numpy()[:n] != NONE
        facing = np.zeros((n, 3), np.float32)
        if normals and found.any():
            facing = self._normals(distance, n, directions, box, grid, o, d, t, state)
        along = np.where(found, starts.to_numpy()[:n] + t.to_numpy()[:n], 0).astype(np.float32)
        return Surface(found, along, facing, steps.to_numpy()[:n])

    def _chosen(self, n: int, state: Any, least: int, most: int) -> tuple[int, Any]:
        """How many rays are in a state from ``least`` to ``most``, and which."""
        get = self.scratch.get
        flags, slots = get("flags", ti.i32, n), get("slots", ti.i32, n + 1)
        _flag(n, least, most, state, flags)
        count = prefix_sum(n, flags, slots, get("sums", ti.i32, n // SCAN + 2))
        ids = get("ids", ti.i32, n)
        if count:
            _choose(n, flags, slots, ids)
        return count, ids

    def _seal(
        self,
        distance: Distance,
        n: int,
        cells: tuple[Any, ...],
        o: Any,
        d: Any,
        t: Any,
        left: Any,
        value: Any,
        state: Any,
    ) -> None:
        count, ids = self._chosen(n, state, ENTRY, ENTRY)
        if not count:
            return
        positions = self.scratch.get("positions", Vec3, count)
        distances = self.scratch.get("distances", ti.f32, count)
        _beyond(count, *cells, ids, o, d, t, positions)
        distance(count, positions, distances)
        _seal(count, ids, distances, t, left, value)

    def _narrow(
        self, distance: Distance, n: int, o: Any, d: Any, t: Any, before: Any, before_value: Any, value: Any, state: Any
    ) -> None:
        count, ids = self._chosen(n, state, BRACKET, BRACKET)
        if not count:
            return
        positions = self.scratch.get("positions", Vec3, count)
        distances = self.scratch.get("distances", ti.f32, count)
        for _ in range(NARROWINGS):
            _between(count, ids, o, d, t, before, before_value, value, positions)
            distance(count, positions, distances)
            _narrow(count, ids, distances, t, before, before_value, value)
        _settle(count, ids, t, before, before_value, value)

    def _normals(
        self, distance: Distance, n: int, directions: np.ndarray, box: np.ndarray, grid: tuple[Any, ...], o: Any,
        d: Any, t: Any, state: Any,
    ) -> np.ndarray:  # fmt: skip
        count, ids = self._chosen(n, state, BRACKET, ENTRY)
        around = self.scratch.get("around", Vec3, 6 * count)
        distances = self.scratch.get("distances around", ti.f32, 6 * count)
        slopes = self.scratch.get("slopes", Vec3, count)
        _surround(count, *grid[:3], ids, o, d, t, around)
        distance(6 * count, around, distances)
        _slopes(count, *grid, around, distances, slopes)
        which = ids.to_numpy()[:count]
        slope = slopes.to_numpy()[:count] / (box[1] - box[0])  # per world unit
        length = np.linalg.norm(slope, axis=1, keepdims=True)
        normals = np.zeros((n, 3), np.float32)
        normals[which] = np.where(length > 1e-6, slope / np.maximum(length, 1e-6), -directions[which])
        return normals


@ti.kernel
def _enter(
    n: int, low: ti.math.vec3, high: ti.math.vec3, near: float, far: float, origins: Vec3s, directions: Vec3s,
    starts: F32, end: F32,
):  # fmt: skip
    # to the unit box, and on to where the ray enters it: t counts from there, still in world units. Counted from an eye
    # far away, a step of a fraction of a cell would be nothing beside it in single precision
    for r in range(n):
        o, d = (origins[r] - low) / (high - low), directions[r] / (high - low)
        t0, t1 = box_interval(o, d, ti.math.vec3(0.0), ti.math.vec3(1.0), near, far)
        starts[r], end[r] = t0, -1.0
        if t0 < t1:
            o += d * t0
            _, end[r] = box_interval(o, d, ti.math.vec3(0.0), ti.math.vec3(1.0), 0.0, far - t0)
        origins[r], directions[r] = o, d


@ti.kernel
def _begin(
    n: int, origins: Vec3s, directions: Vec3s,
    nx: int, ny: int, nz: int, words: int, cx: int, cy: int, cz: int, bits: I32, coarse: I32,
    ts: F32, end: F32, before_value: F32, left: F32, state: I32, steps: I32, flags: I32, ids: I32,
):  # fmt: skip
    cells, coarse_cells = ti.Vector([nx, ny, nz]), ti.Vector([cx, cy, cz])
    for r in range(n):
        o, d = origins[r], directions[r]
        t = seek(o, d, 0.0, end[r], NUDGE / crossed(d, cells), cells, coarse_cells, words, bits, coarse)
        ts[r] = t
        before_value[r], left[r] = -1.0, -1.0  # there is no place before
        state[r], steps[r], ids[r] = NONE, 0, r
        flags[r] = ti.cast(t < end[r], ti.i32)


@ti.kernel
def _pack(
    n: int, flags: I32, slots: I32, ids: I32, origins: Vec3s, directions: Vec3s, ts: F32, packed: I32, positions: Vec3s
):
    for i in range(n):
        if flags[i] != 0:
            r = ids[i]
            packed[slots[i]] = r
            positions[slots[i]] = origins[r] + directions[r] * ts[r]


@ti.kernel
def _advance(
    n: int, side: float, ids: I32, origins: Vec3s, directions: Vec3s,
    nx: int, ny: int, nz: int, words: int, cx: int, cy: int, cz: int, bits: I32, coarse: I32,
    end: F32, distances: F32, ts: F32, before: F32, before_value: F32, left: F32, value: F32,
    state: I32, steps: I32, flags: I32,
):  # fmt: skip
    cells, coarse_cells = ti.Vector([nx, ny, nz]), ti.Vector([cx, cy, cz])
    for i in range(n):
        r = ids[i]
        o, d = origins[r], directions[r]
        cell = 1.0 / crossed(d, cells)
        nudge = NUDGE * cell
        steps[r] += 1
        flags[i] = 0
        if distances[i] <= 0:
            value[r] = distances[i]
            state[r] = ti.select(before_value[r] > 0, BRACKET, ENTRY)
        else:
            t = ts[r]
            before[r], before_value[r] = t, distances[i]
            target = t + ti.max(distances[i] * side, SHORTEST * cell)
            leave = stay(o, d, t, ti.min(target, end[r]), nudge, cells, words, bits)
            if leave < target and leave > t + 3 * nudge:
                target = leave - nudge  # a last look before there is nothing to be seen
            elif leave < target:
                left[r] = t
                before_value[r] = -1.0  # there is no line through a value before empty cells
                target = seek(o, d, leave + nudge, end[r], nudge, cells, coarse_cells, words, bits, coarse)
            ts[r] = target
            flags[i] = ti.cast(target < end[r], ti.i32)


@ti.kernel
def _flag(n: int, least: int, most: int, state: I32, flags: I32):
    for r in range(n):
        flags[r] = ti.cast(least <= state[r] <= most, ti.i32)


@ti.kernel
def _choose(n: int, flags: I32, slots: I32, ids: I32):
    for r in range(n):
        if flags[r] != 0:
            ids[slots[r]] = r


@ti.kernel
def _beyond(n: int, nx: int, ny: int, nz: int, ids: I32, origins: Vec3s, directions: Vec3s, ts: F32, positions: Vec3s):
    cells = ti.Vector([nx, ny, nz])
    for i in range(n):
        r = ids[i]
        t = ts[r] + BEYOND / crossed(directions[r], cells)
        positions[i] = origins[r] + directions[r] * t


@ti.kernel
def _seal(n: int, ids: I32, distances: F32, ts: F32, left: F32, value: F32):
    for i in range(n):
        r = ids[i]
        if left[r] >= 0 and value[r] < distances[i] < UNKNOWN:
            ts[r] = left[r]


@ti.func
def crossing(t, before, before_value, value):
    """Where the line through two values of opposite sign is zero."""
    return before + (t - before) * before_value / ti.max(before_value - value, 1e-12)


@ti.kernel
def _between(
    n: int, ids: I32, origins: Vec3s, directions: Vec3s, ts: F32, before: F32, before_value: F32, value: F32,
    positions: Vec3s,
):  # fmt: skip
    for i in range(n):
        r = ids[i]
        t = crossing(ts[r], before[r], before_value[r], value[r])
        positions[i] = origins[r] + directions[r] * t


@ti.kernel
def _narrow(n: int, ids: I32, distances: F32, ts: F32, before: F32, before_value: F32, value: F32):
    # false position; the end that stays has its value halved, or it would stay for good (the Illinois rule)
    for i in range(n):
        r = ids[i]
        t = crossing(ts[r], before[r], before_value[r], value[r])
        if distances[i] > 0:
            before[r], before_value[r] = t, distances[i]
            value[r] *= 0.5
        else:
            ts[r], value[r] = t, distances[i]
            before_value[r] *= 0.5


@ti.kernel
def _settle(n: int, ids: I32, ts: F32, before: F32, before_value: F32, value: F32):
    for i in range(n):
        r = ids[i]
        ts[r] = crossing(ts[r], before[r], before_value[r], value[r])


@ti.kernel
def _surround(n: int, nx: int, ny: int, nz: int, ids: I32, origins: Vec3s, directions: Vec3s, ts: F32, around: Vec3s):
    # six places (n * 6) around each surface point: -x, +x, -y, +y, -z, +z
    cells = ti.Vector([nx, ny, nz])
    for i in range(n):
        r = ids[i]
        place = origins[r] + directions[r] * ts[r]
        for a, sign in ti.static(ti.ndrange(3, 2)):
            beside = place
            beside[a] += (2 * sign - 1) * REACH / cells[a]
            around[6 * i + 2 * a + sign] = beside


@ti.kernel
def _slopes(
    n: int, nx: int, ny: int, nz: int, words: int, cx: int, cy: int, cz: int, bits: I32, coarse: I32,
    around: Vec3s, distances: F32, slopes: Vec3s,
):  # fmt: skip
    # central differences; where one side lies in no cell, the surface itself (distance 0) takes its place
    cells = ti.Vector([nx, ny, nz])
    for i in range(n):
        slope = ti.Vector.zero(ti.f32, 3)
        for a in ti.static(range(3)):
            span = 0.0
            for sign in ti.static(range(2)):
                at = around[6 * i + 2 * a + sign]
                inside = at.min() >= 0.0 and at.max() <= 1.0
                if inside and marked(cell_at(at, cells), cells, words, bits):
                    slope[a] += (2 * sign - 1) * distances[6 * i + 2 * a + sign]
                    span += REACH / cells[a]
            slope[a] /= ti.max(span, 1e-12)
        slopes[i] = slope
