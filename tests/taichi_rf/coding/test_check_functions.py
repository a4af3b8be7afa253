"""The checks one by one: what passes, what is refused, and what the refusal quotes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.coding import checks
from taichi_rf.core.errors import UserError
from taichi_rf.training import checkpoint
from tests.tiny import tiny_config


def test_indices_pass_up_to_the_last_and_no_further():
    checks.indices(np.array([0, 9]), 10, "these")
    checks.indices(np.zeros(0, np.int32), 0, "these")
    for values in ([-1, 3], [3, 10], [1 << 30]):
        with pytest.raises(UserError, match="these should be indices from 0 to 9"):
            checks.indices(np.array(values), 10, "these")


@pytest.mark.parametrize("value", [True, "1", None, math.nan, [1], 11, -1])
def test_a_number_is_a_number_within_its_range(value):
    assert checks.number(3, 0, 10, "it") == 3.0
    for check in (checks.number, checks.whole):
        with pytest.raises(UserError, match="it should be a"):
            check(value, 0, 10, "it")


def test_a_configuration_that_differs_is_quoted_in_part():
    config = tiny_config()
    with pytest.raises(UserError) as caught:
        checkpoint._same_config(config.changed(preset="x" * 100_000), config, Path("checkpoint"))
    assert "checkpoint was trained with preset 'xxx" in str(caught.value)
    assert len(str(caught.value)) < 200
