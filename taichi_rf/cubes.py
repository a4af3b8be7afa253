"""The occupancy grid as it is, cube by cube: what the marcher takes for solid and therefore samples.

The first occupied cell that each ray meets is found exactly, face by face (Amanatides and Woo 1987), not sample by
sample: samples may step over the corner of a cell, and the picture would show that instead of the grid.
"""

import numpy as np

from taichi_rf.backend import ti
from taichi_rf.device import F32, I32, Scratch, Vec3, Vec3s, copy_rows
from taichi_rf.march import Occupancy, box_interval

FACES = (0.62, 0.78, 1.0)
"""Shades of faces across x, y and z: neighbours differ at every edge, and up is light."""
CREASE = 0.45
"""How dark the inmost crease is, where three neighbours stand over a corner (0 is black)."""
EDGE = 0.72
"""How dark the edges of a cube are drawn."""
EDGE_PIXELS = 1.2
"""How wide, in pixels of the picture."""
EDGES_FROM = (5.0, 12.0)
"""Pixels across a cube between which its edges fade in: smaller ones would be all edges."""


def shade_cubes(
    scratch: Scratch,
    origins: np.ndarray,
    directions: np.ndarray,
    *,
    box: np.ndarray,
    near: float,
    far: float,
    occupancy: Occupancy,
    radians: float,
) -> tuple[np.ndarray, np.ndarray]:
    """How light each ray's first cube is where the ray enters it, and how far away.

    Args:
        scratch: lends the arrays.
        origins, directions: (n, 3) world units; directions of unit length.
        box: (2, 3) of the grid, world units.
        near, far: world units along a ray. A ray that starts inside a cube has hit it there and then.
        occupancy: over the box.
        radians: that a pixel covers, for the width of drawn edges.

    Returns:
        Shades (n,) in [0, 1] and distances (n,) in world units, negative where nothing is hit.
    """
    n, get = len(origins), scratch.get
    o, d = get("cube origins", Vec3, n), get("cube directions", Vec3, n)
    copy_rows(origins, o)
    copy_rows(directions, d)
    shades, distances = get("cube shades", ti.f32, n), get("cube distances", ti.f32, n)
    low, high = ti.math.vec3(*map(float, box[0])), ti.math.vec3(*map(float, box[1]))
    grid = (*occupancy.cells, occupancy.words, occupancy.bits)
    _shade(n, o, d, low, high, near, far, radians, *grid, shades, distances)
    return shades.to_numpy()[:n], distances.to_numpy()[:n]


@ti.func
def occupied(bits: ti.template(), cell, nx, ny, nz, words):
    """1 where the cell is marked, 0 where it is not or lies outside."""
    found = 0
    if 0 <= cell[0] < nx and 0 <= cell[1] < ny and 0 <= cell[2] < nz:
        found = (bits[(cell[2] * ny + cell[1]) * words + cell[0] // 32] >> (cell[0] % 32)) & 1
    return found


@ti.func
def unit(axis, sign):
    """The integer vector with ``sign`` along ``axis``."""
    result = ti.Vector.zero(ti.i32, 3)
    for a in ti.static(range(3)):
        if a == axis:
            result[a] = sign
    return result


@ti.func
def along(v, axis):
    """v[axis], for an axis that is known at run time only."""
    result = v[0]
    if axis == 1:
        result = v[1]
    if axis == 2:
        result = v[2]
    return result


@ti.kernel
def _shade(
    n: int,
    origins: Vec3s,
    directions: Vec3s,
    low: ti.math.vec3,
    high: ti.math.vec3,
    near: float,
    far: float,
    radians: float,
    nx: int,
    ny: int,
    nz: int,
    words: int,
    bits: I32,
    shades: F32,
    distances: F32,
):
    for r in range(n):
        o, d = origins[r], directions[r]
        t, t1 = box_interval(o, d, low, high, near, far)
        cells = ti.Vector([nx, ny, nz])
        size = (high - low) / ti.cast(cells, ti.f32)
        # the face by which the ray came in: the box's latest one, or, from inside, the one most across the ray
        axis = 0
        latest = -1e30
        for a in ti.static(range(3)):
            enter = -ti.abs(1.0 / ti.select(ti.abs(d[a]) < 1e-9, 1e-9, d[a])) * 1e6
            if t > near:
                edge = ti.select(d[a] > 0, low[a], high[a])
                enter = (edge - o[a]) / ti.select(ti.abs(d[a]) < 1e-9, 1e-9, d[a])
            if enter > latest:
                latest, axis = enter, a
        g = (o + d * t - low) / size
        cell = ti.Vector.zero(ti.i32, 3)
        step = ti.Vector.zero(ti.i32, 3)
        across = ti.Vector.zero(ti.f32, 3)  # of t from face to face
        next_face = ti.Vector.zero(ti.f32, 3)  # t at which the next face is reached
        for a in ti.static(range(3)):
            cell[a] = ti.math.clamp(ti.cast(ti.floor(g[a]), ti.i32), 0, cells[a] - 1)
            step[a] = ti.select(d[a] > 0, 1, -1)
            speed = ti.max(ti.abs(d[a]) / size[a], 1e-9)
            across[a] = 1.0 / speed
            ahead = ti.select(d[a] > 0, cell[a] + 1 - g[a], g[a] - cell[a])
            next_face[a] = t + ahead / speed
        found = 0
        while t < t1 and found == 0:
            if occupied(bits, cell, nx, ny, nz, words) != 0:
                found = 1
            else:
                axis = 0
                for a in ti.static(range(1, 3)):
                    if next_face[a] < along(next_face, axis):
                        axis = a
                t = along(next_face, axis)
                for a in ti.static(range(3)):
                    if a == axis:
                        cell[a] += step[a]
                        next_face[a] += across[a]
                        if cell[a] < 0 or cell[a] >= cells[a]:
                            t = t1
        distances[r] = -1.0
        shades[r] = 0.0
        if found != 0:
            distances[r] = t
            # u, v: where on the face, 0..1 along the two axes beside the ray's
            first, second = (axis + 1) % 3, (axis + 2) % 3
            place = (o + d * t - low) / size - ti.cast(cell, ti.f32)
            u = ti.math.clamp(along(place, first), 0.0, 1.0)
            v = ti.math.clamp(along(place, second), 0.0, 1.0)
            front = cell - unit(axis, along(step, axis))
            light = ti.Matrix.zero(ti.f32, 2, 2)
            for i, j in ti.static(ti.ndrange(2, 2)):
                beside = unit(first, 2 * i - 1)
                above = unit(second, 2 * j - 1)
                a = occupied(bits, front + beside, nx, ny, nz, words)
                b = occupied(bits, front + above, nx, ny, nz, words)
                c = occupied(bits, front + beside + above, nx, ny, nz, words)
                hidden = ti.select(a + b == 2, 3, a + b + c)
                light[i, j] = 1.0 - (1.0 - CREASE) * hidden / 3.0
            shade = (
                (1.0 - u) * ((1.0 - v) * light[0, 0] + v * light[0, 1])
                + u * ((1.0 - v) * light[1, 0] + v * light[1, 1])
            )  # fmt: skip
            for a in ti.static(range(3)):
                if a == axis:
                    shade *= FACES[a]
            width = radians * t  # of a pixel there, world units
            edge = ti.min(
                ti.min(u, 1.0 - u) * along(size, first) / width, ti.min(v, 1.0 - v) * along(size, second) / width
            )
            drawn = ti.math.smoothstep(EDGES_FROM[0], EDGES_FROM[1], size.min() / width)
            line = ti.math.clamp(0.5 * EDGE_PIXELS + 0.5 - edge, 0.0, 1.0)
            shades[r] = shade * (1.0 - (1.0 - EDGE) * drawn * line)
