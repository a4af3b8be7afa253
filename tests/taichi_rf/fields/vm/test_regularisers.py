"""The regularisers' gradients against differences of their values, which only the numpy twin computes."""

import numpy as np
import pytest

from taichi_rf.core.device import BLOCK
from taichi_rf.fields.vm.field import VMField
from tests.arches import per_arch
from tests.twin_fields import VMTwin
from tests.twins import assert_gradient

RANKS = 18
RESOLUTION = (7, 6, 5)
LEVELS = (3, 17, 18)


@per_arch
def field() -> VMField:
    return VMField(ranks=RANKS, resolution=RESOLUTION, rows=1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def gradient_of(field: VMField, twin: VMTwin, level: int, **weights: float) -> np.ndarray:
    """What the weighted regularisers add to an empty gradient."""
    field.value.from_numpy(twin.arena.reshape(-1, BLOCK).astype(np.float32))
    field.gradient.fill(0)
    none = {"l1": 0.0, "tv_density": 0.0, "tv_appearance": 0.0, "orthogonality": 0.0}
    field.regularise(level, **{**none, **weights})
    return field.gradient.to_numpy().reshape(twin.arena.shape)


def random_twin(rng: np.random.Generator, field: VMField) -> VMTwin:
    """Factors at least 0.05 from zero, where the slope of |v| jumps."""
    shape = (field.unit * field.total_blocks, BLOCK)
    values = rng.choice([-1, 1], shape) * rng.uniform(0.05, 1, shape)
    basis = np.zeros(field.basis_value.shape)
    return VMTwin(values.astype(np.float32), basis, ranks=RANKS, resolution=RESOLUTION)


def test_the_twins_values_by_hand():
    # One rank on 2 x 2 x 2 nodes. Plane xy is 1 -2 / 3 4, its line 1 -1; all else is zero.
    # L1: (1 + 2 + 3 + 4) / 4 + (1 + 1) / 2 = 3.5
    # TV: down (3 - 1)^2 + (4 + 2)^2 = 40, across (-2 - 1)^2 + (4 - 3)^2 = 10; 1e-2 * 2 * (40 / 2 + 10 / 2) = 0.5
    arena = np.zeros((2 * (3 * 4 + 6), BLOCK))
    arena[0:4, 0] = 1, -2, 3, 4
    arena[12:14, 0] = 1, -1
    twin = VMTwin(arena, np.zeros(3 * BLOCK * 27), ranks=1, resolution=(2, 2, 2))
    assert twin.l1(1) == pytest.approx(3.5)
    assert twin.tv_density(1) == pytest.approx(0.5)
    # Orthogonality, of two lines (1, -1) and (2, 1) among two components: 1 * 2 - 1 * 1 = 1, the mean of |1| and |1|
    arena = np.zeros((2 * (3 * 4 + 6), BLOCK))
    arena[12:14, :2] = (1, 2), (-1, 1)
    twin = VMTwin(arena, np.zeros(3 * BLOCK * 27), ranks=2, resolution=(2, 2, 2))
    assert twin.orthogonality(2) == pytest.approx(1)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("l1", VMTwin.l1),
        ("tv_density", VMTwin.tv_density),
        ("tv_appearance", VMTwin.tv_appearance),
        ("orthogonality", VMTwin.orthogonality),
    ],
)
def test_a_regularisers_gradient_is_the_slope_of_its_value(field, rng, name, value, level):
    twin = random_twin(rng, field)
    weight = 3.7
    gradient = gradient_of(field, twin, level, **{name: weight})
    assert_gradient(lambda: weight * value(twin, level), twin.arena, gradient, rng, only=twin.active(level))


@pytest.mark.parametrize("level", LEVELS)
def test_regularisers_leave_levels_that_are_off_alone(field, rng, level):
    twin = random_twin(rng, field)
    gradient = gradient_of(field, twin, level, l1=1, tv_density=1, tv_appearance=1, orthogonality=1)
    assert not gradient[~twin.active(level)].any()
    assert gradient[twin.active(level)].all()


def test_regularisers_add_up_and_add_to_what_is_there(field, rng):
    twin = random_twin(rng, field)
    weights = {"l1": 2.0, "tv_density": 3.0, "tv_appearance": 4.0, "orthogonality": 5.0}
    separate = sum(gradient_of(field, twin, RANKS, **{name: weight}) for name, weight in weights.items())
    together = gradient_of(field, twin, RANKS, **weights)
    np.testing.assert_allclose(together, separate, rtol=1e-4, atol=1e-6)
    field.regularise(RANKS, **weights)
    np.testing.assert_allclose(field.gradient.to_numpy().reshape(together.shape), 2 * together, rtol=1e-4, atol=1e-6)


def test_weights_of_zero_add_nothing(field, rng):
    assert not gradient_of(field, random_twin(rng, field), RANKS).any()


def test_a_factor_of_zero_has_no_l1_slope(field, rng):
    twin = random_twin(rng, field)
    twin.arena[...] = 0
    assert not gradient_of(field, twin, RANKS, l1=1.0).any()


def test_one_rank_has_nothing_to_be_orthogonal_to(field, rng):
    """Density of one active component has no pair; appearance has three, and only their lines are pushed apart."""
    twin = random_twin(rng, field)
    gradient = gradient_of(field, twin, 1, orthogonality=1.0)
    assert not gradient[: twin.density_blocks].any()
    nx, ny, nz = RESOLUTION
    planes = nx * ny + nx * nz + ny * nz
    assert not gradient[:, :planes].any()
    assert gradient[twin.density_blocks, planes:, :3].all()
