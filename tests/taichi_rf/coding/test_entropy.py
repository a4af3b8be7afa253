"""The entropy coder gives back what it was given, in about as many bits as there is in it, and refuses what it never
wrote."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_rf.coding.entropy import LARGEST, SYMBOLS, Decoder, Encoder, Models, octaves, symbols_of, weight_table
from taichi_rf.core.errors import UserError
from tests.coding_twins import SlowDecoder, class_bounds

CONTEXTS = 5

numbers = st.integers(-20, 20) | st.integers(-LARGEST, LARGEST)
calls = st.lists(st.lists(st.tuples(numbers, st.integers(0, CONTEXTS - 1)), max_size=40), max_size=5)


def arrays(call: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(call, np.int32).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def table_of(given_calls: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    counts = np.zeros((CONTEXTS, SYMBOLS), np.int64)
    for values, contexts in given_calls:
        np.add.at(counts, (contexts, symbols_of(values)), 1)
    return weight_table(counts)


def encoded(given_calls: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    table = table_of(given_calls)
    encoder = Encoder(Models(table))
    for call in given_calls:
        encoder.add(*call)
    return encoder.finish(), table


@settings(deadline=None)
@given(calls)
def test_what_was_added_comes_back_in_order_and_nothing_is_left(drawn):
    given_calls = [arrays(call) for call in drawn]
    words, table = encoded(given_calls)
    decoder, slow = Decoder(words, Models(table)), SlowDecoder(words, table)
    for values, contexts in given_calls:
        np.testing.assert_array_equal(decoder.take(contexts), values)
        np.testing.assert_array_equal(slow.take(contexts), values)
    decoder.finish()
    assert slow.empty


def test_a_stream_that_was_written_down_reads_as_it_always_did():
    """Neither another version of the library nor another platform may read a file's numbers differently."""
    table = np.zeros((2, SYMBOLS), np.uint8)
    table[0, [0, 1, 2, 5]] = 40, 21, 23, 3
    table[1, [0, 3, 4, 40, SYMBOLS - 1]] = 7, 30, 29, 12, 1
    contexts = np.array([0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1], np.int32)
    words = np.array([0xD2944FD5, 0x83A55143, 0x5FE6], np.uint32)
    expected = [0, -2, 1, 0, 2, 0, -1, 67, 2, 0, -3, 0, 32690, -2, 1, 2]
    np.testing.assert_array_equal(SlowDecoder(words, table).take(contexts), expected)
    np.testing.assert_array_equal(Decoder(words, Models(table)).take(contexts), expected)


def test_it_takes_hardly_more_bits_than_the_entropy():
    rng = np.random.default_rng(0)
    contexts = rng.integers(CONTEXTS, size=50_000).astype(np.int32)
    values = np.round(rng.laplace(size=50_000) * (0.2 + contexts)).astype(np.int32)
    words, _ = encoded([(values, contexts)])
    bits = 0.0
    for context in range(CONTEXTS):
        _, seen = np.unique(values[contexts == context], return_counts=True)
        bits -= (seen * np.log2(seen / seen.sum())).sum()
    assert bits < 32 * len(words) < 1.02 * bits


def test_classes_are_four_an_octave():
    assert octaves(4, LARGEST).tolist() == class_bounds(LARGEST)
    assert octaves(2, 40).tolist() == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    assert symbols_of(np.array([0, 1, -1, 7, 8, 9, -10, LARGEST, -LARGEST])).tolist()[:7] == [0, 2, 1, 14, 16, 16, 17]
    assert symbols_of(np.array([LARGEST, -LARGEST])).tolist() == [SYMBOLS - 1, SYMBOLS - 2]


def test_weights_of_a_table_are_near_the_counts_and_none_is_lost():
    counts = np.array([[0, 1, 7, 9, 1000, 1 << 30]])
    kept = np.array(class_bounds(1 << 24))[weight_table(counts)]
    assert kept.tolist() == [[0, 1, 7, 8, 896, 1 << 24]]


# What no encoder writes


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 32) - 1), max_size=20), st.lists(st.integers(0, CONTEXTS - 1), max_size=200))
def test_any_words_are_refused_or_give_numbers_within_bounds(words, contexts):
    table = np.full((CONTEXTS, SYMBOLS), 9, np.uint8)
    try:
        decoder = Decoder(np.array(words, np.uint32), Models(table))
        found = decoder.take(np.array(contexts, np.int32))
    except UserError:
        assert words[-1] == 0
        return
    assert len(found) == len(contexts)
    assert np.abs(found).max(initial=0) <= LARGEST


def test_a_context_without_a_table_is_refused():
    table = np.zeros((CONTEXTS, SYMBOLS), np.uint8)
    table[0, 0] = 5
    with pytest.raises(UserError, match="context"):
        Decoder(np.array([3], np.uint32), Models(table)).take(np.array([0, 1], np.int32))


def test_a_table_of_classes_that_there_are_not_is_refused():
    table = np.zeros((CONTEXTS, SYMBOLS), np.uint8)
    table[2, 3] = 255
    with pytest.raises(UserError, match="damaged"):
        Models(table)


def test_a_stream_that_is_too_long_is_refused():
    words, table = encoded([arrays([(3, 1), (-4, 1), (3, 2)] * 20)])
    decoder = Decoder(words, Models(table))
    decoder.take(np.array([1, 1, 2] * 10, np.int32))
    with pytest.raises(UserError, match="longer"):
        decoder.finish()
