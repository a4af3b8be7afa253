"""The first step that the bench times: it has to be one that a training of any method can take."""

from __future__ import annotations

import pytest

from taichi_rf.cli.measure.coldstart import first_step
from taichi_rf.core.backend import init
from taichi_rf.training.methods.registry import names


@pytest.mark.parametrize("method", names("photographs"))
def test_every_method_takes_its_first_step(method):
    init("cpu")
    first_step(method)
