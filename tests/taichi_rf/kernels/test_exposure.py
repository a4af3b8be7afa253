"""Gain and offset a photograph against their formula, and the adjoint against differences."""

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Vec3, upload
from taichi_rf.kernels.exposure import NUMBERS, Exposure
from tests import twins
from tests.arches import per_arch

VIEWS, RAYS = 5, 70


@per_arch
def exposure() -> Exposure:
    return Exposure(VIEWS, 1e-3)


def exposed(values: np.ndarray, pixels: np.ndarray, view: np.ndarray) -> np.ndarray:
    return (1 + values[view, :3]) * pixels + values[view, 3:]


def test_forward_and_adjoint_are_those_of_the_formula(exposure):
    rng = np.random.default_rng(3)
    values, pixels = 0.2 * rng.standard_normal((VIEWS, NUMBERS)), rng.random((RAYS, 3))
    view, wanted = rng.integers(0, VIEWS, RAYS), rng.standard_normal((RAYS, 3))
    exposure.value.from_numpy(values.astype(np.float32).reshape(-1))
    exposure.gradient.fill(0)
    on_device, views = upload(pixels, Vec3), upload(view, ti.i32)
    found = exposure.forward(RAYS, on_device, views).to_numpy()[:RAYS]
    np.testing.assert_allclose(found, exposed(values, pixels, view), atol=1e-5)
    d_exposed = upload(wanted, Vec3)
    exposure.adjoint(RAYS, on_device, views, d_exposed)
    gradient = exposure.gradient.to_numpy().reshape(VIEWS, NUMBERS)
    x, p = values.copy(), pixels.copy()
    twins.assert_gradient(lambda: float((exposed(x, pixels, view) * wanted).sum()), x, gradient, rng)
    twins.assert_gradient(lambda: float((exposed(values, p, view) * wanted).sum()), p, d_exposed.to_numpy()[:RAYS], rng)


def test_the_regulariser_is_that_of_the_formula(exposure):
    rng = np.random.default_rng(4)
    values = rng.standard_normal((VIEWS, NUMBERS))
    exposure.value.from_numpy(values.astype(np.float32).reshape(-1))
    exposure.gradient.fill(0)
    exposure.regularise(0.3)
    x = values.copy()
    gradient = exposure.gradient.to_numpy().reshape(VIEWS, NUMBERS)
    twins.assert_gradient(lambda: 0.3 * float((x**2).sum()) / VIEWS, x, gradient, rng)
