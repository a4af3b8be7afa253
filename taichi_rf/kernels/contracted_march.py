"""Rays to packed samples in a contraction, where rays are bent: the twin of :mod:`taichi_rf.kernels.march`.

Sample k of a ray stands at u = u0 + (k + jitter) * step, with u as :func:`taichi_rf.kernels.spaces.curve` has it: steps
are equally long up to ``BEND`` from the camera, and beyond grow with the square of the distance, as the contraction
shrinks what is far away. So neighbouring samples are about as far from each other as the grid's nodes, everywhere.
"""

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Vec3s
from taichi_rf.kernels.jitter import jitter_of
from taichi_rf.kernels.occupancy import COARSE_BITS, bit_at
from taichi_rf.kernels.spaces import BEND


@ti.func
def contracted(x):
    """A point of the world (Eq. 10, mip-NeRF 360, by the L-infinity norm) in the unit box of a field within +-2."""
    largest = ti.max(ti.max(ti.abs(x[0]), ti.abs(x[1])), ti.max(ti.abs(x[2]), 1.0))
    return x * ((2.0 - 1.0 / largest) / largest * 0.25) + 0.5


@ti.func
def uncurved(u):
    """How far a ray has come at ``u``: the inverse of :func:`taichi_rf.kernels.spaces.curve`."""
    t = u
    if u > BEND:
        t = BEND * BEND / (2.0 * BEND - u)
    return t


@ti.kernel
def find_contracted(
    begin: int,
    behind: int,
    origins: Vec3s,
    directions: Vec3s,
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
    hits: I32,
    counts: I32,
):
    # bit k of a ray's hits: is its step k in an occupied cell. Of rays begin .. behind - 1
    for r in range(begin, behind):
        o, d, jitter = origins[r], directions[r], jitter_of(r, seed)
        cells = ti.Vector([ti.cast(nx, ti.f32), ti.cast(ny, ti.f32), ti.cast(nz, ti.f32)])
        last = ti.Vector([nx - 1, ny - 1, nz - 1])
        most = ti.cast(per_ray * 32, ti.f32)
        steps = ti.cast(ti.ceil(ti.math.clamp((far - near) / step - jitter, 0.0, most)), ti.i32)
        found = 0
        for w in range(per_ray):
            word = 0
            for k in range(w * 32, ti.min(w * 32 + 32, steps)):
                g = contracted(o + d * uncurved(near + (ti.cast(k, ti.f32) + jitter) * step)) * cells
                c = ti.max(ti.min(ti.cast(g, ti.i32), last), 0)
                block = c >> COARSE_BITS
                if coarse[(block[2] * cy + block[1]) * cx + block[0]] != 0:
                    bit = bit_at(c, ny, words, bits)
                    word |= bit << (k & 31)
                    found += bit
            hits[r * per_ray + w] = word
        counts[r] = found


@ti.kernel
def place_contracted(
    n: int,
    origins: Vec3s,
    directions: Vec3s,
    near: float,
    step: float,
    seed: int,
    per_ray: int,
    hits: I32,
    offsets: I32,
    positions: Vec3s,
    ts: F32,
):
    # the steps that hit, packed
    for r in range(n):
        out = offsets[r]
        if offsets[r + 1] > out:
            o, d, jitter = origins[r], directions[r], jitter_of(r, seed)
            for w in range(per_ray):
                word = hits[r * per_ray + w]
                if word != 0:
                    for b in range(32):
                        if (word >> b) & 1 != 0:
                            t = uncurved(near + (ti.cast(w * 32 + b, ti.f32) + jitter) * step)
                            positions[out] = contracted(o + d * t)
                            ts[out] = t
                            out += 1
