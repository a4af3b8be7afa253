"""The order of pixels: a permutation every epoch, from any position. Plain numpy, no Taichi."""

import numpy as np
import pytest

from taichi_rf.training.samplers.pixel_order import PixelOrder


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 100, 1023, 1024, 1025, 4097])
def test_every_epoch_is_a_permutation(count):
    order = PixelOrder(count, seed=3)
    for epoch in range(3):
        np.testing.assert_array_equal(np.sort(order.batch(epoch * count, count)), np.arange(count))


def test_epochs_and_seeds_differ():
    orders = [PixelOrder(1000, 0).batch(start, 1000) for start in (0, 1000, 2000)] + [
        PixelOrder(1000, 1).batch(0, 1000)
    ]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert (a == b).sum() < 20  # one of a thousand by chance, give or take


def test_any_batch_is_the_same_piece_of_one_endless_sequence():
    order = PixelOrder(777, seed=5)
    endless = order.batch(0, 4000)
    rng = np.random.default_rng(0)
    for start, size in zip(rng.integers(0, 3000, 50), rng.integers(1, 1000, 50)):
        np.testing.assert_array_equal(order.batch(int(start), int(size)), endless[start : start + size])
    assert endless.dtype == np.int64


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", [0, 1, 2, 12345, 2**31 - 1])
def test_no_seed_makes_the_order_warn(seed):
    assert len(PixelOrder(100, seed).batch(0, 250)) == 250


def test_a_batch_is_spread_over_all_pixels():
    """No pixel region is favoured, and neighbours in the sequence are no neighbours in the image."""
    batch = PixelOrder(1_000_000, seed=1).batch(0, 50_000)
    counts = np.histogram(batch, 100, (0, 1_000_000))[0]
    assert np.abs(counts - 500).max() < 6 * np.sqrt(500)
    assert abs(np.corrcoef(batch[1:], batch[:-1])[0, 1]) < 0.02
    assert len(np.unique(batch)) == len(batch)
