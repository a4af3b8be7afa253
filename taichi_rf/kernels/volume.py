"""Volume rendering over packed samples (Max 1995; NeRF, Mildenhall et al. 2020), with its adjoint.

alpha_i = 1 - exp(-sigma_i delta), T_i = prod_{j<i} (1 - alpha_j), w_i = T_i alpha_i, pixel = sum w_i c_i + (1 - sum
w_i) b.
Only samples with w_i above a threshold are shaded (given a colour); the others count as colourless, as in TensoRF.
"""

from dataclasses import dataclass
from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Scratch, Vec3, Vec3s
from taichi_rf.kernels.march import STOP, Samples
from taichi_rf.kernels.scan import SCAN, prefix_sum

WEIGHT_THRESHOLD = 1e-4
"""Samples of smaller weight are not shaded: TensoRF's rayMarch_weight_thres, the default."""


@dataclass
class Shaded:
    """The samples worth shading, packed ray after ray."""

    count: int
    offsets: Any
    """(rays + 1,) where each ray's shaded samples begin."""
    positions: Any
    """(count, 3) in the unit box."""
    weights: Any
    """(count,)"""
    rays: Any
    """(count,) the ray of each."""
    index: Any
    """(count,) which sample of the batch each is."""


class Compositor:
    """Turns densities into weights and weights into pixels. Arrays it returns are valid until its next batch."""

    def __init__(self) -> None:
        self.scratch = Scratch()

    def weigh(
        self, samples: Samples, density: Any, distance_scale: float, threshold: float = WEIGHT_THRESHOLD
    ) -> tuple[Shaded, Any, Any]:
        """Weights of all samples; returns the shaded ones, opacity (rays,) and expected depth (rays,).

        Depth is sum w_i t_i, zero where nothing is hit.

        Args:
            density: (samples.count,) per world unit before ``distance_scale``.
            threshold: samples of smaller weight are not shaded.
        """
        n, get = samples.rays, self.scratch.get
        weights = get("weights", ti.f32, samples.count)
        opacity, depth = get("opacity", ti.f32, n), get("depth", ti.f32, n)
        counts, offsets = get("counts", ti.i32, n), get("offsets", ti.i32, n + 1)
        delta = samples.step * distance_scale
        _weights(n, delta, threshold, samples.offsets, samples.t, density, weights, opacity, depth, counts)
        count = prefix_sum(n, counts, offsets, get("sums", ti.i32, n // SCAN + 2))
        shaded = Shaded(
            count,
            offsets,
            get("shaded positions", Vec3, count),
            get("shaded weights", ti.f32, count),
            get("shaded rays", ti.i32, count),
            get("shaded index", ti.i32, count),
        )
        _gather(
            n, threshold, samples.offsets, weights, offsets, samples.positions,
            shaded.positions, shaded.weights, shaded.rays, shaded.index,
        )  # fmt: skip
        self.weights, self.opacity, self.depth, self.delta = weights, opacity, depth, delta
        return shaded, opacity, depth

    def pixels(self, samples: Samples, shaded: Shaded, colours: Any, background: Any) -> Any:
        """Pixel colours (rays, 3); ``colours`` (shaded.count, 3), ``background`` (rays, 3)."""
        pixels = self.scratch.get("pixels", Vec3, samples.rays)
        _pixels(samples.rays, shaded.offsets, shaded.weights, colours, self.opacity, background, pixels)
        return pixels

    def adjoint(
        self,
        samples: Samples,
        shaded: Shaded,
        density: Any,
        colours: Any,
        background: Any,
        d_pixels: Any,
        d_weights: Any = None,
    ) -> tuple[Any, Any]:
        """dL/d colours (shaded.count, 3) and dL/d density (samples.count,) from dL/d pixels (rays, 3), and from what
        else asks for other weights, ``d_weights`` (samples.count,)."""
        d_colours = self.scratch.get("d colours", Vec3, shaded.count)
        d_density = self.scratch.get("d density", ti.f32, samples.count)
        _adjoint(
            samples.rays, self.delta, samples.offsets, shaded.offsets, shaded.index, shaded.weights, self.weights,
            density, colours, background, d_pixels, d_colours, d_density,
            self.weights if d_weights is None else d_weights, d_weights is not None,
        )  # fmt: skip
        return d_colours, d_density


@ti.func
def attenuate(transmittance, density, delta):
    """Weight of a sample that ``transmittance`` of the light reaches, and what it lets through (Eq. 3, NeRF)."""
    keep = ti.exp(-density * delta)
    return transmittance * (1.0 - keep), transmittance * keep


@ti.kernel
def _weights(
    n: int,
    delta: float,
    threshold: float,
    offsets: I32,
    ts: F32,
    density: F32,
    weights: F32,
    opacity: F32,
    depth: F32,
    counts: I32,
):
    for r in range(n):
        transmittance = 1.0
        expected = 0.0
        shaded = 0
        for i in range(offsets[r], offsets[r + 1]):
            w = 0.0
            if transmittance > STOP:
                w, transmittance = attenuate(transmittance, density[i], delta)
            weights[i] = w
            expected += w * ts[i]
            if w > threshold:
                shaded += 1
        opacity[r] = 1.0 - transmittance
        depth[r] = expected
        counts[r] = shaded


@ti.kernel
def _gather(
    n: int,
    threshold: float,
    offsets: I32,
    weights: F32,
    shaded_offsets: I32,
    positions: Vec3s,
    shaded_positions: Vec3s,
    shaded_weights: F32,
    shaded_rays: I32,
    shaded_index: I32,
):
    for r in range(n):
        out = shaded_offsets[r]
        if shaded_offsets[r + 1] > out:
            for i in range(offsets[r], offsets[r + 1]):
                if weights[i] > threshold:
                    shaded_positions[out] = positions[i]
                    shaded_weights[out] = weights[i]
                    shaded_rays[out] = r
                    shaded_index[out] = i
                    out += 1


@ti.kernel
def _pixels(n: int, shaded_offsets: I32, weights: F32, colours: Vec3s, opacity: F32, background: Vec3s, pixels: Vec3s):
    for r in range(n):
        total = (1.0 - opacity[r]) * background[r]
        for s in range(shaded_offsets[r], shaded_offsets[r + 1]):
            total += weights[s] * colours[s]
        pixels[r] = total


@ti.kernel
def _adjoint(
    n: int,
    delta: float,
    offsets: I32,
    shaded_offsets: I32,
    shaded_index: I32,
    shaded_weights: F32,
    weights: F32,
    density: F32,
    colours: Vec3s,
    background: Vec3s,
    d_pixels: Vec3s,
    d_colours: Vec3s,
    d_density: F32,
    d_weights: F32,
    asked: ti.template(),
):
    # g_i = dL/dw_i = dL/dpixel . (c_i - b); dL/dsigma_i = delta (T_{i+1} g_i - sum_{j>i} w_j g_j); dL/dc_i = w_i
    # dL/dpixel.
    # Samples that are not shaded add no colour, only opacity: g_i = -dL/dpixel . b
    for r in range(n):
        g = d_pixels[r]
        empty = -g.dot(background[r])
        behind = 0.0  # sum of w_j g_j over the samples not walked yet
        s = shaded_offsets[r]
        s_end = shaded_offsets[r + 1]
        for i in range(offsets[r], offsets[r + 1]):
            gw = empty
            if s < s_end and shaded_index[s] == i:
                gw += g.dot(colours[s])
                d_colours[s] = shaded_weights[s] * g
                s += 1
            if ti.static(asked):
                gw += d_weights[i]
            behind += weights[i] * gw
        s = shaded_offsets[r]
        transmittance = 1.0
        for i in range(offsets[r], offsets[r + 1]):
            gradient = 0.0
            if transmittance > STOP:
                gw = empty
                if s < s_end and shaded_index[s] == i:
                    gw += g.dot(colours[s])
                    s += 1
                if ti.static(asked):
                    gw += d_weights[i]
                behind -= weights[i] * gw
                transmittance *= ti.exp(-density[i] * delta)
                gradient = delta * (transmittance * gw - behind)
            d_density[i] = gradient
