"""Streams of b-bit numbers: against Python's own big integers, back again, and what no writer of ours makes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taichi_rf.coding.arrays import pack_arrays
from taichi_rf.coding.bits import (
    MAX_BITS,
    aligned,
    pack_aligned,
    pack_bits,
    packed_bytes,
    unpack_aligned,
    unpack_bits,
)
from taichi_rf.core.errors import UserError

ALL_BITS = range(1, MAX_BITS + 1)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.integers(1, MAX_BITS))
    return draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=40)), bits


def as_one_integer(values: list[int], bits: int) -> bytes:
    """The definition: the numbers are the digits of one integer in base 2^b, written with its lowest byte first."""
    whole = sum(value << (i * bits) for i, value in enumerate(values))
    return whole.to_bytes(-(-len(values) * bits // 8), "little")


@given(streams())
def test_a_stream_is_the_numbers_as_digits_of_one_integer_and_comes_back(stream):
    values, bits = stream
    packed = pack_bits(np.array(values, np.int64), bits)
    assert packed.dtype == np.uint8
    assert packed.tobytes() == as_one_integer(values, bits)
    assert unpack_bits(packed, len(values), bits).tolist() == values


@pytest.mark.parametrize("bits", ALL_BITS)
def test_every_number_of_bits_and_every_remainder_of_a_byte(bits):
    rng = np.random.default_rng(bits)
    for count in (*range(18), 1000, 4097):
        values = rng.integers(0, 1 << bits, count, endpoint=False)
        values[:2] = [0, (1 << bits) - 1][: len(values[:2])]
        packed = pack_bits(values, bits)
        assert len(packed) == packed_bytes(count, bits) == int(np.ceil(count * bits / 8))
        np.testing.assert_array_equal(unpack_bits(packed, count, bits), values)


def test_three_bits_by_hand():
    # 1, 2, 7, 4, lowest bit first: 100 010 111 001 -> bytes 0b11010001, 0b00001001
    assert pack_bits(np.array([1, 2, 7, 4]), 3).tolist() == [0b11010001, 0b00001001]


@pytest.mark.parametrize("bits", ALL_BITS)
def test_anything_but_zero_after_the_last_number_is_refused(bits):
    for count in range(1, 9):
        packed = pack_bits(np.zeros(count, int), bits)
        for bit in range(count * bits, 8 * len(packed)):
            spoilt = packed.copy()
            spoilt[bit // 8] ^= 1 << bit % 8
            with pytest.raises(UserError, match="zero"):
                unpack_bits(spoilt, count, bits)


@pytest.mark.parametrize(("length", "count"), [(0, 1), (3, 3), (3, 1), (1, 0), (1, 1 << 40)])
def test_a_stream_of_another_length_is_refused_before_memory_is_taken(length, count):
    with pytest.raises(UserError, match=f"{count} numbers of 9 bits"):
        unpack_bits(np.zeros(length, np.uint8), count, 9)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_numbers_that_do_not_fit_are_not_packed(bits):
    for value in (1 << bits, -1):
        with pytest.raises(ValueError, match=f"{bits} bits"):
            pack_bits(np.array([0, value]), bits)


@pytest.mark.parametrize("bits", [-1, 0, 17])
def test_numbers_of_no_bits_or_too_many_are_refused(bits):
    with pytest.raises(ValueError, match="1 to 16"):
        pack_bits(np.zeros(1, int), bits)
    with pytest.raises(ValueError, match="1 to 16"):
        unpack_bits(np.zeros(0, np.uint8), 0, bits)


@pytest.mark.parametrize("values", [np.zeros((2, 2), int), np.zeros(3)])
def test_what_is_no_row_of_whole_numbers_is_not_packed(values):
    with pytest.raises(ValueError, match="whole numbers"):
        pack_bits(values, 4)


# What is deflated afterwards


@given(streams())
def test_aligned_numbers_are_the_same_numbers_in_wider_places(stream):
    values, bits = stream
    width = aligned(bits)
    assert bits <= width < 2 * bits
    assert 8 % width == 0 or width == 16
    packed = pack_aligned(np.array(values, np.int64), bits)
    assert packed.tobytes() == as_one_integer(values, width)
    assert unpack_aligned(packed, len(values), bits).tolist() == values


@pytest.mark.parametrize("bits", [b for b in ALL_BITS if aligned(b) > b])
def test_a_number_beyond_its_bits_is_refused_where_its_place_is_wider(bits):
    values = np.array([0, 1 << bits])
    with pytest.raises(ValueError, match=f"{bits} bits"):
        pack_aligned(values, bits)
    with pytest.raises(UserError, match=f"{bits} bits cannot be {1 << bits}"):
        unpack_aligned(pack_bits(values, aligned(bits)), 2, bits)


@pytest.mark.parametrize("bits", [3, 5, 6, 7])
def test_aligned_indices_deflate_to_less_than_packed_ones(bits):
    """Unequal use, as a codebook's rows have: near the entropy, which the tightly packed stream hides from deflate."""
    rng = np.random.default_rng(bits)
    shares = rng.uniform(0.2, 1, 1 << bits) ** 2
    values = rng.choice(1 << bits, 40_000, p=shares / shares.sum())
    entropy = -(shares / shares.sum() * np.log2(shares / shares.sum())).sum() * len(values) / 8
    sizes = [len(pack_arrays({"a": pack(values, bits)}, {"a"})) for pack in (pack_aligned, pack_bits)]
    assert entropy < sizes[0] < 1.03 * entropy < sizes[1]
