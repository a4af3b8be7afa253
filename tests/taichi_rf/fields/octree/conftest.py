"""Octree fields that the tests of a module share."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.fields.octree.field import OctreeField
from tests.arches import per_arch
from tests.taichi_rf.fields.octree.cases import ROWS, make


@per_arch
def field() -> OctreeField:
    made = make()
    made.from_decoder = ti.Vector.field(BLOCK, ti.f32, (ROWS, 1))  # one for all tests: kernels compile for each field
    return made


@per_arch
def signed_field() -> OctreeField:
    return make(activation="none")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
