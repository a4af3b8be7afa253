"""What a file says of its levels counts where it is a number; what it does not say is computed."""

from __future__ import annotations

import math

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.levels import best_level, checked_level, level_within, size_at, stated
from tests.viewer_fakes import FakeModel


@pytest.mark.parametrize("junk", [None, "8", True, [1], {}, math.nan, math.inf, 10**400])
def test_what_is_no_number_is_not_stated(junk):
    assert stated({"best_level": junk}, "best_level") is None
    assert stated({"level_psnr": [junk]}, "level_psnr", 1) is None
    assert stated({"level_psnr": junk}, "level_psnr", 2) is None


def test_sizes_are_those_of_the_file_else_as_computed():
    model = FakeModel(metadata={"prefix_bytes": [100, "many", 900]})
    assert [size_at(model, level) for level in (1, 2, 3, 4)] == [100, 500_000, 900, 1_000_000]


@pytest.mark.parametrize(("best", "level"), [(None, 4), (2, 2), (2.6, 3), (99, 4), (-5, 1), ("x", 4)])
def test_the_best_level_is_one_that_there_is(best, level):
    assert best_level({"best_level": best}, 4) == level


@pytest.mark.parametrize(("size", "level"), [(1, 1), (250_000, 1), (600_000, 2), (10**9, 3)])
def test_the_highest_level_that_fits_is_taken_and_the_first_if_none_does(size, level):
    assert level_within(FakeModel(metadata={}), size, 3) == level


def test_a_level_that_there_is_not_is_refused_by_its_name():
    assert checked_level(4, 4, "rank") == 4
    for level in (0, 5):
        with pytest.raises(UserError, match=f"rank {level} is outside this model: it has rank 1 to 4"):
            checked_level(level, 4, "rank")
