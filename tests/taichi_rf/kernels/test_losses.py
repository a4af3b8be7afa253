"""The photometric loss: its value in closed form, its gradient against differences of it."""

import numpy as np
import pytest

from taichi_rf.core.device import Vec3, upload
from taichi_rf.kernels.losses import PhotometricLoss
from tests.arches import per_arch
from tests.twins import assert_gradient


@per_arch
def loss() -> PhotometricLoss:
    return PhotometricLoss()


def test_two_pixels_by_hand(loss):
    # errors (0.5, 0, 0) and (0, -0.25, 1): squares 0.25, 0.0625, 1; their sum over 2 pixels x 3 channels
    pixels = np.array([[0.5, 0.2, 0.3], [0, 0.25, 1]])
    targets = np.array([[0, 0.2, 0.3], [0, 0.5, 0]])
    value, d_pixels = loss(2, upload(pixels, Vec3), upload(targets, Vec3))
    assert value == pytest.approx(1.3125 / 6, rel=1e-6)
    np.testing.assert_allclose(d_pixels.to_numpy()[:2], np.array([[0.5, 0, 0], [0, -0.25, 1]]) / 3, atol=1e-7)


@pytest.mark.parametrize("n", [1, 100, 3000])
def test_value_is_the_mean_squared_error_and_the_gradient_its_slope(loss, n):
    rng = np.random.default_rng(n)
    pixels, targets = rng.random((2, n, 3)).astype(np.float32)
    value, d_pixels = loss(n, upload(pixels, Vec3), upload(targets, Vec3))
    moved = pixels.astype(np.float64)
    assert value == pytest.approx(((moved - targets) ** 2).mean(), rel=1e-5)
    assert_gradient(lambda: ((moved - targets) ** 2).mean(), moved, d_pixels.to_numpy()[:n], rng)


def test_a_smaller_batch_after_a_larger_one_counts_its_own_pixels_only(loss):
    large = upload(np.ones((5000, 3)), Vec3), upload(np.zeros((5000, 3)), Vec3)
    assert loss(5000, *large)[0] == pytest.approx(1)
    same = upload(np.ones((10, 3)), Vec3)
    assert loss(10, same, same)[0] == 0
    assert loss(7, *large)[0] == pytest.approx(1)


def test_a_number_that_is_not_one_shows_in_the_loss(loss):
    pixels = np.zeros((4, 3))
    pixels[2, 1] = np.nan
    assert not np.isfinite(loss(4, upload(pixels, Vec3), upload(np.zeros((4, 3)), Vec3))[0])
