"""Low levels are looked up from narrow copies of their factors: to the same bits, and never from those of before."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.fields.vm.field import VMField
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.optim import Adam
from tests.taichi_rf.fields.vm.cases import RANKS, SHIFT, features, randomise, somewhere
from tests.twin_fields import VMTwin
from tests.twins import assert_density_along

LOW = (1, 2, 3, 4, 5, 8)  # up to the widest of both copies in density, and in appearance


def seen(field: VMField, positions: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Densities along rays of ten samples that let all light through, and features."""
    offsets = np.arange(0, len(positions) + 1, 10)
    samples = Samples(
        len(offsets) - 1, len(positions), upload(offsets, ti.i32), upload(positions, Vec3), None, None, 1e-9
    )
    out = empty(ti.f32, len(positions))
    field.density_along(samples, 1.0, out, level)
    return out.to_numpy(), features(field, positions, level=level)


@pytest.mark.parametrize("level", LOW)
def test_densities_of_low_levels_are_the_twins(field, rng, level):
    twin = randomise(field, rng)
    assert_density_along(field, twin, somewhere(rng), 3.0, level=level)


def test_low_levels_are_those_of_the_whole_factors_to_the_bit(field, rng, monkeypatch):
    randomise(field, rng)
    positions = somewhere(rng)
    narrow = [seen(field, positions, level) for level in LOW]
    widths = [field._width(level) for level in (1, 4, 5, 8, 9, RANKS)]
    assert widths == ([4, 4, 8, 8, BLOCK, BLOCK] if field.owner else [BLOCK] * 6)  # a GPU keeps no copies
    monkeypatch.setattr(field, "_width", lambda components: BLOCK)
    for level, (densities, rows) in zip(LOW, narrow):
        wide = seen(field, positions, level)
        np.testing.assert_array_equal(densities, wide[0])
        np.testing.assert_array_equal(rows, wide[1])


def trained_a_step(field: VMField, rng: np.random.Generator) -> None:
    field.gradient.from_numpy(rng.standard_normal((field.value.shape[0], BLOCK)).astype(np.float32))
    Adam().step(field.parameters(2), 5.0)
    field.published()


def restored(field: VMField, rng: np.random.Generator) -> None:
    for p in field.parameters():
        state = p.state()
        state[f"{p.name}.value"] = rng.standard_normal(state[f"{p.name}.value"].shape).astype(np.float32)
        p.restore(state)
    field.published()


def put(field: VMField, rng: np.random.Generator) -> None:
    for level in (1, 2):
        stored = field.pack(level)
        field.put(
            level, {name: rng.standard_normal(values.shape).astype(np.float16) for name, values in stored.items()}
        )


CHANGES = {
    "a training step": trained_a_step,
    "a checkpoint": restored,
    "levels that arrive": put,
    "other factors": lambda field, rng: randomise(field, rng) and None,
    "another grid": lambda field, rng: field.resample((9, 8, 4)),
    "a smaller box": lambda field, rng: field.crop((1, 0, 2), (5, 3, 4)),
}


@pytest.mark.parametrize("field", ["cpu"], indirect=True)  # where there are copies
@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_what_is_seen_is_that_of_the_new_factors(field, rng, change):
    randomise(field, rng)
    positions = somewhere(rng)
    before = [seen(field, positions, level) for level in (2, 5)]
    CHANGES[change](field, rng)
    arena, basis = field.value.to_numpy(), field.basis_value.to_numpy()
    twin = VMTwin(arena, basis, ranks=RANKS, resolution=field.resolution, shift=SHIFT)
    for level, (old, _) in zip((2, 5), before):
        densities, rows = seen(field, positions, level)
        np.testing.assert_allclose(densities, twin.density(positions, level), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(rows, twin.features(positions, level), rtol=1e-3, atol=1e-3)
        assert not np.allclose(densities, old, atol=0.01)
