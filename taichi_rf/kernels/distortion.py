"""The distortion loss of mip-NeRF 360: each ray's weight is to lie in one place, so that nothing floats before it.

With s the place along the ray in [0, 1] and steps of equal length d there (Eq. 15, Barron et al. 2022):
L = sum_ij w_i w_j |s_i - s_j| + d / 3 sum_i w_i^2. Its gradient takes two passes over a ray, for all that it needs of
the other samples are the sums of w and of w s before and behind one (as in DVGOv2, Sun et al. 2022).
"""

from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.spaces import BEND


def distortion_gradient(samples: Samples, weights: Any, factor: float, out: Any) -> None:
    """Write dL/dw_i of every sample times ``factor`` to ``out`` (samples.count,).

    Args:
        samples: of a batch of rays.
        weights: (samples.count,) of each.
        factor: of the loss of each ray.
        out: receives the gradient.
    """
    begin, end = samples.span
    scale = 1.0 / max(end - begin, 1e-9)
    bent = int(samples.curved)
    step = samples.step * scale
    _distortion(samples.rays, begin, scale, step, factor, bent, samples.offsets, samples.t, weights, out)


@ti.func
def place(t, begin, scale, curved):
    """Where on its ray a sample stands, 0 to 1, in steps of equal length."""
    u = t
    if curved != 0 and t > BEND:
        u = 2.0 * BEND - BEND * BEND / t
    return (u - begin) * scale


@ti.kernel
def _distortion(
    n: int,
    begin: float,
    scale: float,
    step: float,
    factor: float,
    curved: int,
    offsets: I32,
    ts: F32,
    weights: F32,
    out: F32,
):
    # dL/dw_i = 2 (s_i (W_before - W_behind) - (S_before - S_behind)) + 2/3 d w_i
    for r in range(n):
        all_weight = 0.0
        all_place = 0.0
        for i in range(offsets[r], offsets[r + 1]):
            all_weight += weights[i]
            all_place += weights[i] * place(ts[i], begin, scale, curved)
        before_weight = 0.0
        before_place = 0.0
        for i in range(offsets[r], offsets[r + 1]):
            w = weights[i]
            s = place(ts[i], begin, scale, curved)
            behind_weight = all_weight - before_weight - w
            behind_place = all_place - before_place - w * s
            apart = s * (before_weight - behind_weight) - (before_place - behind_place)
            out[i] = factor * (2.0 * apart + (2.0 / 3.0) * step * w)
            before_weight += w
            before_place += w * s
