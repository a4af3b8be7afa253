"""A step in parts: every ray once, and the levels that share a part."""

from collections import Counter

import pytest

from taichi_rf.training.samplers.base import Share, parts_of

SPLIT = [(1, 0, 10, 0.1), (2, 10, 30, 0.2), (3, 30, 100, 0.7)]
"""All rays count the same."""
ALL = [(1, 0, 100, 0.25), (2, 0, 100, 0.75)]


@pytest.mark.parametrize("passes", [SPLIT, ALL])
@pytest.mark.parametrize("mix", [True, False])
@pytest.mark.parametrize("most", [1, 7, 30, 64, 100, 1000])
def test_each_ray_is_learnt_from_once_at_each_of_its_levels(passes, mix, most):
    met: Counter[tuple[int, int]] = Counter()
    for part, shares in parts_of(passes, most, mix=mix):
        assert 0 < part.stop - part.start <= most
        assert sum(share.rays for share in shares) == part.stop - part.start
        assert mix or len(shares) == 1
        first = part.start
        for share in shares:
            met.update((share.level, ray) for ray in range(first, first + share.rays))
            first += share.rays
    assert met == Counter((level, ray) for level, begin, end, _ in passes for ray in range(begin, end))


def test_levels_whose_rays_count_the_same_share_a_part_and_others_do_not():
    (whole,) = parts_of(SPLIT, 100, mix=True)
    assert whole == (slice(0, 100), [Share(1, 10, 10, 0.1), Share(2, 20, 20, 0.2), Share(3, 70, 70, 0.7)])
    parts = parts_of(SPLIT, 60, mix=True)
    assert parts[1] == (slice(60, 100), [Share(3, 40, 70, 0.7)])
    assert [share.level for _, (share,) in parts_of(SPLIT, 100, mix=False)] == [1, 2, 3]
    assert [len(shares) for _, shares in parts_of(ALL, 100, mix=True)] == [1, 1]  # the same rays twice
    heavier = [(1, 0, 10, 0.5), (2, 10, 30, 0.5)]
    assert [len(shares) for _, shares in parts_of(heavier, 100, mix=True)] == [1, 1]
