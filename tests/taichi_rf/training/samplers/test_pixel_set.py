"""Sets of pixels at a bit each, against plain arrays of flags. Plain numpy, no Taichi."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taichi_rf.training.samplers.pixel_set import PixelSet


@given(st.integers(1, 3000), st.floats(0, 1), st.integers(1, 700), st.integers(0, 9))
def test_a_set_is_what_its_flags_say(total, share, part, seed):
    rng = np.random.default_rng(seed)
    flags = rng.random(total) < share
    pixels = PixelSet.packed(total, (flags[first : first + part] for first in range(0, total, part)))
    there = np.flatnonzero(flags)
    assert len(pixels) == len(there)
    ranks = rng.permutation(len(there))
    np.testing.assert_array_equal(pixels.at(ranks), there[ranks])
    np.testing.assert_array_equal(pixels.has(np.arange(total)), flags)
    first, end = sorted(rng.integers(0, total + 1, 2).tolist())
    np.testing.assert_array_equal(pixels.flags(first, end), flags[first:end])
    np.testing.assert_array_equal(pixels.bits(), np.packbits(flags))
    gone = np.unique(rng.integers(0, total, 5))
    left = flags.copy()
    left[gone] = False
    np.testing.assert_array_equal(pixels.without(gone).flags(0, total), left)


def test_all_pixels_take_no_memory_however_many_they_are():
    pixels = PixelSet(3_600_000_000)
    assert len(pixels) == 3_600_000_000
    np.testing.assert_array_equal(pixels.at(np.array([0, 3_599_999_999])), [0, 3_599_999_999])
    assert pixels.has(np.array([7])).all()
    assert pixels.flags(5, 9).tolist() == [True] * 4
    assert len(PixelSet.packed(27, (np.ones(9, bool) for _ in range(3)))) == 27


@pytest.mark.parametrize("total", [1, 7, 8, 9, 515])
def test_bits_beyond_the_last_pixel_do_not_count(total):
    assert len(PixelSet(total, np.full(-(-total // 8), 0xFF, np.uint8))) == total
