"""Which photographs are compared with which."""

from __future__ import annotations

import pytest

from scenes.posing.pairs import MOST_EXHAUSTIVE, OVERLAP, pairs_to_match, pairs_with


def test_few_photographs_are_all_compared():
    assert pairs_to_match(4, in_order=False) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert len(pairs_to_match(MOST_EXHAUSTIVE, in_order=False)) == MOST_EXHAUSTIVE * (MOST_EXHAUSTIVE - 1) // 2


@pytest.mark.parametrize("count", [1, 2, 5, 100, 1000])
@pytest.mark.parametrize("in_order", [True, False])
def test_pairs_are_of_two_photographs_and_come_once(count, in_order):
    pairs = pairs_to_match(count, in_order=in_order)
    assert len(set(pairs)) == len(pairs)
    assert all(0 <= i < j < count for i, j in pairs)


def test_of_a_video_each_frame_meets_its_neighbours_and_some_far_away():
    pairs = set(pairs_to_match(100, in_order=True))
    assert all((i, j) in pairs for i in range(100) for j in range(i + 1, min(i + OVERLAP + 1, 100)))
    assert {(3, 19), (3, 35), (3, 67), (0, 96)} <= pairs
    assert len(pairs) < 100 * 99 / 2 / 2


def test_comparisons_of_many_photographs_grow_more_slowly_than_all_pairs():
    assert len(pairs_to_match(1000, in_order=False)) < 0.1 * 1000 * 999 / 2


def test_what_could_not_be_placed_is_compared_with_all_that_it_was_not_yet():
    assert pairs_with({1, 3}, 5, [(0, 1), (3, 4)]) == [(0, 3), (1, 2), (1, 3), (1, 4), (2, 3)]
    assert pairs_with({0, 1}, 4, pairs_to_match(4, in_order=False)) == []
    assert pairs_with(range(1000), 1000, []) == []  # that would take hours
