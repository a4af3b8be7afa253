"""Draw the occupancy grid as cubes: the cells that the marcher takes samples in.

The first occupied cell that each ray meets is found exactly, face by face (Amanatides and Woo 1987), not sample by
sample: samples may step over the corner of a cell, and the picture would show that instead of the grid.
"""

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Scratch, Vec3, Vec3s
from taichi_rf.kernels.march import Samples, box_interval
from taichi_rf.kernels.occupancy import Occupancy, bit_at
from taichi_rf.kernels.pixel_rays import copy_rays

FACES = (0.62, 0.78, 1.0)
"""Shades of faces across x, y and z: neighbours differ at every edge, and up is light."""
CREASE = 0.45
"""How dark the inmost crease is, where three neighbours stand over a corner (0 is black)."""
EDGE = 0.72
"""How dark the edges of a cube are drawn."""
EDGE_PIXELS = 1.2
"""How wide, in pixels of the picture."""
BENT_EDGE = 0.06
"""How wide they are drawn where rays are bent, in cells."""
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
        near, far: world units along a ray. One that starts among cubes looks out of them, at the first beyond a gap.
        occupancy: over the box.
        radians: that a pixel covers, for the width of drawn edges.

    Returns:
        Shades (n,) in [0, 1] and distances (n,) in world units, negative where nothing is hit.
    """
    n, get = len(origins), scratch.get
    o, d = get("cube origins", Vec3, n), get("cube directions", Vec3, n)
    copy_rays(origins, directions, box, o, d)
    shades, distances = get("cube shades", ti.f32, n), get("cube distances", ti.f32, n)
    low, high = ti.math.vec3(*map(float, box[0])), ti.math.vec3(*map(float, box[1]))
    grid = (*occupancy.cells, occupancy.words, occupancy.bits)
    _shade(n, o, d, low, high, near, far, radians, *grid, shades, distances)
    return shades.to_numpy()[:n], distances.to_numpy()[:n]


def shade_bent_cubes(samples: Samples, cells: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """:func:`shade_cubes` where rays are bent: by the first sample of each ray that lies in a cube.

    Args:
        samples: of rays, in occupied cells only.
        cells: of the grid, along x, y and z.

    Returns:
        Shades (n,) in [0, 1] and distances (n,), negative where nothing is hit.
    """
    offsets = samples.offsets.to_numpy()[: samples.rays + 1]
    shades, distances = np.zeros(samples.rays, np.float32), np.full(samples.rays, -1, np.float32)
    met = np.flatnonzero(np.diff(offsets))
    if len(met):
        first = offsets[met]
        place = samples.positions.to_numpy()[first] * np.array(cells, np.float32) % 1
        aside = np.sort(np.minimum(place, 1 - place), axis=1)  # distances from the nearest faces, in cells
        face = np.argmin(np.minimum(place, 1 - place), axis=1)
        shades[met] = np.array(FACES, np.float32)[face] * np.where(aside[:, 1] < BENT_EDGE, EDGE, 1.0)
        distances[met] = samples.t.to_numpy()[first]
    return shades, distances


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
        cells = ti.Vector([nx, ny, nz])
        size = (high - low) / ti.cast(cells, ti.f32)
        entry, leave = box_interval(o, d, low, high, near, far)
        # t counts from where the ray enters the box: beside an eye far away a cell would be nothing
        start = ti.select(entry < leave, entry, 0.0)
        o += d * start
        t, axis, cell = first_cube(
            o, d, low, high, size, cells, leave - start, entry < leave, entry <= near, bits, words
        )
        distances[r] = ti.select(t >= 0, start + t, -1.0)
        shades[r] = 0.0
        if t >= 0:
            # u, v: where on the face, 0..1 along the two axes beside the ray's
            first, second = (axis + 1) % 3, (axis + 2) % 3
            place = (o + d * t - low) / size - ti.cast(cell, ti.f32)
            u = ti.math.clamp(along(place, first), 0.0, 1.0)
            v = ti.math.clamp(along(place, second), 0.0, 1.0)
            front = cell - unit(axis, ti.select(along(d, axis) > 0, 1, -1))
            shade = creases(front, first, second, u, v, cells, bits, words)
            for a in ti.static(range(3)):
                if a == axis:
                    shade *= FACES[a]
            pixel = ti.max(radians * (start + t), 1e-9)  # its width there, world units
            edge = ti.min(ti.min(u, 1.0 - u) * along(size, first), ti.min(v, 1.0 - v) * along(size, second)) / pixel
            drawn = ti.math.smoothstep(EDGES_FROM[0], EDGES_FROM[1], size.min() / pixel)
            line = ti.math.clamp(0.5 * EDGE_PIXELS + 0.5 - edge, 0.0, 1.0)
            shades[r] = shade * (1.0 - (1.0 - EDGE) * drawn * line)


@ti.func
def first_cube(o, d, low, high, size, cells, leave, meets, among, bits: ti.template(), words):
    """Distance (-1 for none) of the first occupied cell from 0 to ``leave``, the axis of the face by which the ray
    comes into it, and the cell. ``meets``: whether the ray meets the box at all. ``among``: it starts inside the box,
    so that cells count after a gap only."""
    t = 0.0
    cell = ti.Vector.zero(ti.i32, 3)
    step = ti.Vector.zero(ti.i32, 3)
    across = ti.Vector.zero(ti.f32, 3)  # of t from face to face
    following = ti.Vector.zero(ti.f32, 3)  # t of the next face
    axis = 0
    latest = -1e30
    g = (o + d * t - low) / size
    for a in ti.static(range(3)):
        direction = ti.select(ti.abs(d[a]) < 1e-9, 1e-9, d[a])
        enter = (ti.select(direction > 0, low[a], high[a]) - o[a]) / direction
        if enter > latest:
            latest, axis = enter, a
        cell[a] = ti.math.clamp(ti.cast(ti.floor(g[a]), ti.i32), 0, cells[a] - 1)
        step[a] = ti.select(direction > 0, 1, -1)
        across[a] = size[a] / ti.abs(direction)
        following[a] = t + ti.select(direction > 0, cell[a] + 1 - g[a], g[a] - cell[a]) * across[a]
    found = -1.0
    leaving = among
    looks, most = 0, cells[0] + cells[1] + cells[2]  # every look is at another cell, on and on along each axis
    while meets and t < leave and found < 0 and looks < most:
        looks += 1
        here = occupied(bits, cell, cells, words)
        leaving = leaving and here != 0
        if here != 0 and not leaving:
            found = t
        else:
            axis = 0
            for a in ti.static(range(1, 3)):
                if following[a] < along(following, axis):
                    axis = a
            t = along(following, axis)
            for a in ti.static(range(3)):
                if a == axis:
                    cell[a] += step[a]
                    following[a] += across[a]
                    if not 0 <= cell[a] < cells[a]:
                        t = leave
    return found, axis, cell


@ti.func
def creases(front, first, second, u, v, cells, bits: ti.template(), words):
    """How much light reaches (u, v) of a face whose free side is cell ``front``: bilinear between the corners, each
    darkened by the three cells around it that stand on the face's side (the ambient occlusion of block worlds)."""
    light = 0.0
    for i, j in ti.static(ti.ndrange(2, 2)):
        beside = unit(first, 2 * i - 1)
        above = unit(second, 2 * j - 1)
        a = occupied(bits, front + beside, cells, words)
        b = occupied(bits, front + above, cells, words)
        hidden = 3
        if a + b < 2:  # between two walls nothing is seen of what is behind them
            hidden = a + b + occupied(bits, front + beside + above, cells, words)
        weight = (u if i == 1 else 1.0 - u) * (v if j == 1 else 1.0 - v)
        light += weight * (1.0 - (1.0 - CREASE) * hidden / 3.0)
    return light


@ti.func
def occupied(bits: ti.template(), cell, cells, words):
    """1 where the cell is marked, 0 where it is not or lies outside."""
    found = 0
    if 0 <= cell[0] < cells[0] and 0 <= cell[1] < cells[1] and 0 <= cell[2] < cells[2]:
        found = bit_at(cell, cells[1], words, bits)
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
