"""Rays to packed samples, skipping what the occupancy grid knows to be empty.

Samples of a batch lie in one flat list, ray after ray: ``offsets[r]`` to ``offsets[r + 1]`` are those of ray r.
Along a ray they stand at t = t_entry + (k + jitter) * step for k = 0, 1, ..., one jitter a ray (TensoRF).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Scratch, Vec3, Vec3s
from taichi_rf.kernels.contracted_march import find_contracted, place_contracted
from taichi_rf.kernels.jitter import jitter_of
from taichi_rf.kernels.occupancy import COARSE_BITS, Occupancy, bit_at
from taichi_rf.kernels.pixel_rays import copy_rays
from taichi_rf.kernels.scan import SCAN, prefix_sum

PARALLEL = 1e-9
"""Cells a step below which a ray does not move along an axis."""
ROUNDING = 1e-3
"""Cells by which rounding may hide where a ray leaves: more than places are ever wrong in a grid of 1,024 nodes."""
STOP = 1e-4
"""Transmittance under which a ray is finished: what is behind has no weight."""


@ti.func
def box_interval(o, d, low, high, near, far):
    """Entry and exit of a ray in the box, clamped to [near, far]; entry > exit where it misses."""
    t0 = near
    t1 = far
    for a in ti.static(range(3)):
        direction = ti.select(ti.abs(d[a]) < 1e-9, 1e-9, d[a])
        ta = (low[a] - o[a]) / direction
        tb = (high[a] - o[a]) / direction
        t0 = ti.max(t0, ti.min(ta, tb))
        t1 = ti.min(t1, ti.max(ta, tb))
    return t0, t1


@dataclass
class Samples:
    """Packed samples of a batch of rays, on the device."""

    rays: int
    count: int
    offsets: Any
    """(rays + 1,) int: where each ray's samples begin."""
    positions: Any
    """(count, 3) in the unit box."""
    t: Any
    """(count,) distance along the ray, world units."""
    directions: Any
    """(rays, 3) unit view directions."""
    step: float
    """Distance between neighbouring samples, in units of the box."""
    curved: bool = False
    """Whether steps are counted by :func:`taichi_rf.kernels.spaces.curve`."""
    span: tuple[float, float] = (0.0, 1.0)
    """Between which they lie."""


class TooManySamples(Exception):
    """A batch of several rays has more samples than it may have."""

    def __init__(self, counts: np.ndarray) -> None:
        super().__init__(f"{int(counts.sum(dtype=np.int64)):,} samples")
        self.counts = counts
        """(rays,) samples of each."""


class Marcher:
    """Marches batches of rays; the arrays it returns are valid until its next batch."""

    def __init__(self) -> None:
        self.scratch = Scratch()

    def march(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        *,
        box: np.ndarray,
        near: float,
        far: float,
        step: float,
        occupancy: Occupancy | Sequence[tuple[Occupancy, int]],
        seed: int | None = None,
        count_only: bool = False,
        meets_only: bool = False,
        most: int | None = None,
        curved: bool = False,
    ) -> Samples:
        """Samples of rays in occupied cells.

        Args:
            origins, directions: (n, 3) float32; directions of unit length.
            box: (2, 3) of the field, world units.
            near, far, step: world units.
            occupancy: over the same box; or several, each with the number of rays, one after the other, that it is for.
            seed: of one jitter a ray; None puts every sample at the middle of its step.
            count_only: fill the offsets and leave positions and t alone.
            meets_only: count no more than tells which rays have any sample.
            most: samples that a batch of several rays may have.
            curved: rays run through a contraction, see :mod:`taichi_rf.kernels.contracted_march`; near, far and step
                are counted by :func:`taichi_rf.kernels.spaces.curve`.

        Raises:
            TooManySamples: there are more than ``most``, before room is taken for any.
        """
        n = len(origins)
        get = self.scratch.get
        o, d = get("origins", Vec3, n), get("directions", Vec3, n)
        copy_rays(origins, directions, box, o, d)
        counts, sums = get("counts", ti.i32, n), get("sums", ti.i32, n // SCAN + 2)
        offsets = get("offsets", ti.i32, n + 1)
        per_ray = (max(int((far - near) / step), 0) + 1 if curved else most_steps(box, near, far, step)) // 32 + 1
        hits = get("hits", ti.i32, n * per_ray)
        low, high = ti.math.vec3(*map(float, box[0])), ti.math.vec3(*map(float, box[1]))
        ray = (o, d, low, high, near, far, step, -1 if seed is None else seed & 0x7FFFFFFF)
        bent = (o, d, near, far, step, ray[-1])
        parts = _parts(n, occupancy)
        for begin, end, its in parts:
            grid = (*its.cells, its.words, *its.coarse_cells, its.bits, its.coarse)
            if curved:
                find_contracted(begin, end, *bent, *grid, per_ray, hits, counts)
            else:
                _find(begin, end, *ray, *grid, per_ray, 1 if meets_only else per_ray * 32, hits, counts)
        count_only = count_only or meets_only
        count = prefix_sum(n, counts, offsets, sums)
        if most is not None and count > most and n > 1 and not count_only:
            raise TooManySamples(counts.to_numpy()[:n])
        positions, t = get("positions", Vec3, 1), get("t", ti.f32, 1)
        if count and not count_only:
            positions, t = get("positions", Vec3, count), get("t", ti.f32, count)
            if curved:
                place_contracted(n, o, d, near, step, ray[-1], per_ray, hits, offsets, positions, t)
            else:
                for begin, end, its in parts:
                    _place(begin, end, *ray, *its.cells, per_ray, hits, offsets, positions, t)
        return Samples(n, count, offsets, positions, t, d, step, curved, (near, far))


def _parts(n: int, occupancy: Occupancy | Sequence[tuple[Occupancy, int]]) -> list[tuple[int, int, Occupancy]]:
    """(first ray, last ray + 1, occupancy) of the parts of a batch of ``n`` rays."""
    if isinstance(occupancy, Occupancy):
        return [(0, n, occupancy)]
    ends = np.cumsum([0, *(rays for _, rays in occupancy)]).tolist()
    assert ends[-1] == n, "each ray has one occupancy"
    return [(begin, end, its) for begin, end, (its, _) in zip(ends, ends[1:], occupancy)]


def most_steps(box: np.ndarray, near: float, far: float, step: float) -> int:
    """How many steps a ray takes in the box at most."""
    diagonal = float(np.linalg.norm(np.asarray(box[1], np.float64) - box[0]))
    return int(np.ceil(max(min(diagonal, far - near), 0.0) / step * (1 + 1e-5))) + 1


@ti.func
def steps_of(o, d, t, step, low, high, nx, ny, nz):
    """Where a ray's first step stands, at t, and how far each is from the one before, in cells; and the box in cells.

    Samples are found by this and placed by it, so that each lies in the cell that it was found in.
    """
    cells = ti.Vector([ti.cast(nx, ti.f32), ti.cast(ny, ti.f32), ti.cast(nz, ti.f32)])
    scale = cells / (high - low)
    return (o + d * t - low) * scale, d * step * scale, cells


@ti.kernel
def _find(
    begin: int,
    behind: int,
    origins: Vec3s,
    directions: Vec3s,
    low: ti.math.vec3,
    high: ti.math.vec3,
    near: float,
    far: float,
    step: float,
    seed: int,
    nx: int,
    ny: int,
    nz: int,
    words: int,
    cx: int,
    cy: int,
    cz: int,
    bits: I32,
    coarse: I32,
    per_ray: int,
    enough: int,
    hits: I32,
    counts: I32,
):
    # bit k of a ray's hits: is its step k in an occupied cell. Coarse cell by coarse cell; in one that is not empty the
    # steps up to its far side are looked up one after the other without a branch
    for r in range(begin, behind):
        o, d, jitter = origins[r], directions[r], jitter_of(r, seed)
        t0, t1 = box_interval(o, d, low, high, near, far)
        for w in range(per_ray):
            hits[r * per_ray + w] = 0
        first, each, _ = steps_of(o, d, t0 + jitter * step, step, low, high, nx, ny, nz)
        inverse = ti.Vector([0.0, 0.0, 0.0])
        for a in ti.static(range(3)):
            inverse[a] = 1.0 / ti.select(ti.abs(each[a]) > PARALLEL, each[a], 1.0)
        last = ti.Vector([nx - 1, ny - 1, nz - 1])
        most = ti.cast(per_ray * 32, ti.f32)
        steps = ti.cast(ti.ceil(ti.math.clamp((t1 - t0) / step - jitter, 0.0, most)), ti.i32)  # t of each is below t1
        k = 0
        found = 0
        while k < steps and found < enough:
            g = first + each * k
            cell = ti.max(ti.min(ti.cast(g, ti.i32), last), 0) >> COARSE_BITS
            leave = 1e6  # steps to the nearest face of the coarse cell along the ray, less what rounding may hide
            for a in ti.static(range(3)):
                if ti.abs(each[a]) > PARALLEL:
                    face = ti.cast((cell[a] + ti.cast(each[a] > 0.0, ti.i32)) << COARSE_BITS, ti.f32)
                    leave = ti.min(leave, (face - g[a]) * inverse[a] - ROUNDING * ti.abs(inverse[a]))
            end = ti.min(k + ti.cast(ti.max(leave, 0.0), ti.i32) + 1, steps)
            if coarse[(cell[2] * cy + cell[1]) * cx + cell[0]] != 0:
                while k < end and found < enough:
                    word = 0
                    stop = ti.min(ti.min(end, (k | 31) + 1), k + 8 * enough)
                    at = r * per_ray + (k >> 5)
                    for j in range(k, stop):
                        c = ti.max(ti.min(ti.cast(first + each * j, ti.i32), last), 0)
                        bit = bit_at(c, ny, words, bits)
                        word |= bit << (j & 31)
                        found += bit
                    hits[at] = hits[at] | word
                    k = stop
            k = end
        counts[r] = found


@ti.kernel
def _place(
    begin: int,
    behind: int,
    origins: Vec3s,
    directions: Vec3s,
    low: ti.math.vec3,
    high: ti.math.vec3,
    near: float,
    far: float,
    step: float,
    seed: int,
    nx: int,
    ny: int,
    nz: int,
    per_ray: int,
    hits: I32,
    offsets: I32,
    positions: Vec3s,
    ts: F32,
):
    # the steps that hit, packed
    for r in range(begin, behind):
        out = offsets[r]
        if offsets[r + 1] > out:
            o, d, jitter = origins[r], directions[r], jitter_of(r, seed)
            t0, _ = box_interval(o, d, low, high, near, far)
            first, each, cells = steps_of(o, d, t0 + jitter * step, step, low, high, nx, ny, nz)
            for w in range(per_ray):
                word = hits[r * per_ray + w]
                if word != 0:
                    for b in range(32):
                        if (word >> b) & 1 != 0:
                            k = w * 32 + b
                            positions[out] = (first + each * k) / cells
                            ts[out] = t0 + (ti.cast(k, ti.f32) + jitter) * step
                            out += 1
