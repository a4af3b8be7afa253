"""The distortion loss against its double sum and differences, alone and on its way to the densities."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Vec3, empty, upload
from taichi_rf.kernels.distortion import distortion_gradient
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.spaces import BEND
from taichi_rf.kernels.volume import Compositor
from tests import twins
from tests.arches import per_arch

COUNTS = [0, 1, 12, 30]
SPAN, STEP = (0.2, 3.9), 0.05


@per_arch
def compositor() -> Compositor:
    return Compositor()


def places(curved: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """u (count,), ascending on each ray, and t (count,)."""
    u = np.concatenate([np.sort(rng.uniform(*SPAN, n)) for n in COUNTS])
    return u, np.where(u <= BEND, u, BEND**2 / (2 * BEND - u)) if curved else u


def batch(t: np.ndarray, curved: bool) -> tuple[Samples, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum(COUNTS)])
    rays = len(COUNTS)
    samples = Samples(
        rays, len(t), upload(offsets, ti.i32), upload(np.zeros((len(t), 3)), Vec3), upload(t),
        upload(np.tile([0, 0, 1.0], (rays, 1)), Vec3), STEP, curved, SPAN,
    )  # fmt: skip
    return samples, offsets


def loss(weights: np.ndarray, u: np.ndarray, offsets: np.ndarray) -> float:
    """Eq. 15 of mip-NeRF 360 as it stands there, summed over rays."""
    total, length = 0.0, SPAN[1] - SPAN[0]
    for begin, end in zip(offsets[:-1], offsets[1:]):
        w, s = weights[begin:end], (u[begin:end] - SPAN[0]) / length
        total += (w[:, None] * w * np.abs(s[:, None] - s)).sum() + (w**2).sum() * STEP / length / 3
    return total


@pytest.mark.parametrize("curved", [False, True])
def test_the_gradient_is_that_of_the_double_sum(compositor, curved):
    rng = np.random.default_rng(0)
    u, t = places(curved, rng)
    samples, offsets = batch(t, curved)
    weights = rng.random(len(t)) * 0.1
    out = empty(ti.f32, len(t))
    distortion_gradient(samples, upload(weights), 3.0, out)
    w = weights.copy()
    gradient = out.to_numpy()[: len(t)] / 3.0
    twins.assert_gradient(lambda: loss(w, u, offsets), w, gradient, rng, tolerance=2e-3)


def test_it_reaches_the_densities(compositor):
    rng = np.random.default_rng(1)
    u, t = places(True, rng)
    samples, offsets = batch(t, True)
    density = rng.exponential(0.5, len(t))
    shaded, _, _ = compositor.weigh(samples, upload(density), 25.0)
    out = empty(ti.f32, len(t))
    distortion_gradient(samples, compositor.weights, 1.0, out)
    nothing = [upload(np.zeros((n, 3)), Vec3) for n in (max(shaded.count, 1), len(COUNTS), len(COUNTS))]
    colours, black, d_pixels = nothing
    _, d_density = compositor.adjoint(samples, shaded, upload(density), colours, black, d_pixels, out)
    d = density.copy()

    def of_densities() -> float:
        return loss(twins.weigh(offsets, t, d, STEP * 25.0).weights, u, offsets)

    twins.assert_gradient(of_densities, d, d_density.to_numpy()[: len(t)], rng, tolerance=5e-3)
