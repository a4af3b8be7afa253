"""VM fields that the tests of a module share."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.vm.field import VMField
from taichi_rf.fields.vm.layout import unit_texels
from tests.arches import per_arch
from tests.taichi_rf.fields.vm.cases import FINE, RANKS, RESOLUTION, ROWS, SHIFT


@per_arch
def field() -> VMField:
    made = VMField(
        ranks=RANKS, resolution=RESOLUTION, capacity_texels=unit_texels(FINE), density_shift=SHIFT, rows=ROWS
    )  # fmt: skip
    made.from_decoder = ti.Vector.field(BLOCK, ti.f32, (ROWS, 2))  # one for all tests: kernels compile for each field
    return made


@per_arch
def relu_field() -> VMField:
    return VMField(ranks=2, resolution=(4, 3, 5), activation="relu", rows=ROWS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
