"""Objects that tests of one module share, made once on each arch: compiling kernels is what costs time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

ARCHES = ("cpu", "vulkan")


def per_arch(make: Callable[[], Any]) -> Any:
    """A module-scoped fixture out of ``make``, which runs with Taichi started on each of ``ARCHES`` in turn.

    A test that is for one arch alone says so with ``@pytest.mark.parametrize(name, ["cpu"], indirect=True)``.
    """

    @pytest.fixture(scope="module", params=ARCHES, name=make.__name__)
    def shared(request: pytest.FixtureRequest) -> Any:
        from taichi_rf.core import backend

        gc.collect()  # arrays of the arch that may be about to end
        backend.init(request.param)
        return make()

    return shared
