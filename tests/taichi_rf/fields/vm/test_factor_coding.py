"""Tensor factors as whole numbers: nothing is lost after rounding, rounding costs what it is said to, and the coder's
vectorised walk is the obvious one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_rf.coding.entropy import LARGEST, Models
from taichi_rf.coding.planes import FIRST, LEANS, MAGNITUDES, Activity, contexts_of, scales_of
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm import factor_coding

GRID = (7, 6, 5)
TEXELS = 7 * 6 + 7 * 5 + 6 * 5 + 7 + 6 + 5


def noise(levels: int = 3, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (scale * rng.laplace(size=(levels, 4, TEXELS))).astype(np.float32)


grids = st.tuples(*[st.integers(2, 9)] * 3)


@settings(deadline=None)
@given(grids, st.integers(1, 3), st.integers(0, 99), st.sampled_from([0.3, 3.0, 300.0]))
def test_whole_numbers_come_back_exactly(grid, levels, seed, scale):
    rng = np.random.default_rng(seed)
    texels = factor_coding.part_slices(grid)[-1].stop
    numbers = np.clip(np.round(scale * rng.laplace(size=(levels, 4, texels))), -LARGEST, LARGEST).astype(np.int32)
    steps = rng.uniform(0.01, 2, size=(levels, 4, 6)).astype(np.float16)
    stored = factor_coding.pack(numbers, steps, grid)
    np.testing.assert_array_equal(
        factor_coding.read(stored, grid), factor_coding.factors_of(numbers, steps, grid)
    )  # fmt: skip
    for level, arrays in enumerate(stored, 1):
        schema = factor_coding.schema(grid, 4, level)
        assert arrays.keys() == schema.keys()
        for name, (kind, shape) in schema.items():
            assert arrays[name].dtype == np.dtype(kind)
            assert shape in ((-1,), arrays[name].shape)


def test_a_level_needs_those_before_it_and_none_after():
    numbers, steps = factor_coding.quantised(noise(), np.ones((3, 4, TEXELS), np.float32), GRID, 0.1)
    stored = factor_coding.pack(numbers, steps, GRID)
    whole = factor_coding.read(stored, GRID)
    for levels in (1, 2):
        np.testing.assert_array_equal(factor_coding.read(stored[:levels], GRID), whole[:levels])
    with pytest.raises(UserError):
        factor_coding.read([{**stored[0], "planes": stored[1]["planes"]}, *stored[1:]], GRID)


# Contexts: the walk over whole lattices beside one number at a time


def octave(value: int) -> int:
    """Two classes an octave."""
    if value < 2:
        return value
    length = value.bit_length() - 1
    return 2 * length + (value >> (length - 1) & 1)


def slow_contexts(plane: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """(numbers, contexts) of the three lattices that have neighbours, of one plane."""
    h, w = plane.shape
    known = {(y, x) for y in range(0, h, 2) for x in range(0, w, 2)}
    result = []
    for index, (row, column) in enumerate(((1, 1), (0, 1), (1, 0))):
        numbers, contexts = [], []
        for y in range(row, h, 2):
            for x in range(column, w, 2):
                size = lean = 0
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        side = abs(dy) + abs(dx) == 1
                        if (dy, dx) == (0, 0) or (index == 0 and side) or (index == 1 and not side):
                            continue
                        if (y + dy, x + dx) in known:
                            value = int(np.clip(plane[y + dy, x + dx], -255, 255))
                            worth = 2 if side or index == 0 else 1
                            size, lean = size + worth * abs(value), lean + worth * value
                numbers.append(int(plane[y, x]) * (-1 if lean < 0 else 1))
                own = min(octave(size), MAGNITUDES - 1) * LEANS + min(octave(abs(lean) >> 2), LEANS - 1)
                contexts.append(FIRST + index * MAGNITUDES * LEANS + own)
        known |= {(y, x) for y in range(row, h, 2) for x in range(column, w, 2)}
        result.append((numbers, contexts))
    return result


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 999))
def test_contexts_are_those_of_the_neighbours_that_are_known(h, w, seed):
    rng = np.random.default_rng(seed)
    planes = np.round(rng.choice([1, 5, 300]) * rng.laplace(size=(2, h, w))).astype(np.int32)
    found = list(contexts_of(planes, scales_of(planes), Activity((h, w))))
    for (numbers, contexts), *slow in zip(found[1:], *map(slow_contexts, planes), strict=True):
        assert numbers.tolist() == [n for values, _ in slow for n in values]
        assert contexts.tolist() == [c for _, values in slow for c in values]


# Rounding


def test_errors_weigh_the_same_everywhere_and_as_much_as_is_allowed():
    """A step is the noise over the root of the weight, so a weighted squared error is the noise squared over twelve."""
    factors, weights = noise(scale=50), np.ones((3, 4, TEXELS), np.float32)
    for part, weight in zip(factor_coding.part_slices(GRID), (1, 4, 9, 100, 0.25, 1e-4)):
        weights[..., part] = weight
    numbers, steps = factor_coding.quantised(factors, weights, GRID, 0.05)
    np.testing.assert_allclose(steps[0, 0], 0.05 / np.array([1, 2, 3, 10, 0.5, 0.01]), rtol=1e-3)
    errors = weights * (factor_coding.factors_of(numbers, steps, GRID) - factors) ** 2
    np.testing.assert_allclose(errors[:, 0, : 7 * 6 + 7 * 5 + 6 * 5].mean() / (0.05**2 / 12), 1, atol=0.1)
    assert errors[:, 0].max() <= 1.01 * 0.05**2 / 4


@settings(deadline=None)
@given(st.floats(0.01, 100))
def test_scaling_a_plane_and_its_line_against_each_other_changes_no_whole_number(scale):
    """What multiplies a plane divides its line; weights, being squared derivatives, go the other way."""
    factors, weights = noise(1), np.random.default_rng(1).uniform(0.1, 1, (1, 4, TEXELS)).astype(np.float32)
    before, _ = factor_coding.quantised(factors, weights, GRID, 0.1)
    scaled, other = factors.copy(), weights.copy()
    for part, by in zip(factor_coding.part_slices(GRID), [scale] * 3 + [1 / scale] * 3):
        scaled[..., part] *= by
        other[..., part] /= by**2
    after, _ = factor_coding.quantised(scaled, other, GRID, 0.1)
    # but where half precision rounds a step otherwise
    assert np.abs(before - after).max() <= 1 + 2e-3 * np.abs(before).max()
    assert (before != after).mean() < 0.05


def test_texels_that_no_occupied_cell_reads_become_zero_and_others_do_not():
    occupied = np.zeros((4, 5, 6), bool)  # cells z, y, x
    occupied[1, 4, 0] = True
    factors = np.full((1, 4, TEXELS), 3, np.float32)
    numbers, _, _ = factor_coding.coded(factors, np.ones_like(factors), GRID, occupied, 0.1)
    xy, xz, yz, z, y, x = (numbers[0, 1, part] != 0 for part in factor_coding.part_slices(GRID))
    # nodes 0..1 along x, 4..5 along y, 1..2 along z, and one more all round
    assert np.flatnonzero(x).tolist() == [0, 1, 2]
    assert np.flatnonzero(y).tolist() == [3, 4, 5]
    assert np.flatnonzero(z).tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(xy.reshape(6, 7), y[:, None] & x)
    np.testing.assert_array_equal(xz.reshape(5, 7), z[:, None] & x)
    np.testing.assert_array_equal(yz.reshape(5, 6), z[:, None] & y)


@pytest.mark.parametrize("value", [0.0, 1e30, 1e-30])
def test_numbers_of_any_size_are_finite_whole_numbers_of_steps_in_half_precision(value):
    factors = np.full((1, 4, TEXELS), value, np.float32)
    for weight in (0.0, 1e-30, 1e30):
        numbers, steps = factor_coding.quantised(factors, np.full_like(factors, weight), GRID, 0.1)
        assert np.abs(numbers).max() <= LARGEST
        assert np.isfinite(steps).all()
        assert (steps > 0).all()
        assert np.isfinite(factor_coding.factors_of(numbers, steps, GRID)).all()


# Damage


def test_whatever_is_changed_is_refused_or_read_as_numbers():
    numbers, steps = factor_coding.quantised(noise(2), np.ones((2, 4, TEXELS), np.float32), GRID, 0.3)
    stored = factor_coding.pack(numbers, steps, GRID)
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(300):
        spoilt = [{name: array.copy() for name, array in level.items()} for level in stored]
        level = spoilt[rng.integers(2)]
        array = level[rng.choice(["planes", "scales", "lines", *(["table"] if "table" in level else [])])].reshape(-1)
        array[rng.integers(array.size)] = rng.integers(np.iinfo(array.dtype).max, endpoint=True)
        try:
            found = factor_coding.read(spoilt, GRID)
        except UserError:
            refused += 1
        else:
            assert np.isfinite(found).all()
            assert found.shape == (2, 4, TEXELS)
    assert refused > 50
    Models(stored[0]["table"])  # it is the changes that were refused
