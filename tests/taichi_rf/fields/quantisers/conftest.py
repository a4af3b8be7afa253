"""What the tests of quantisers share."""

import numpy as np
import pytest

from tests.arches import per_arch
from tests.taichi_rf.fields.quantisers.cases import Shared


@per_arch
def shared() -> Shared:
    return Shared()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(9)
