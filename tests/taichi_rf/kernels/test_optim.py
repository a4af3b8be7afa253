"""Adam against its numpy twin, over scalars and over blocks, with a part of the parameters asleep."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.kernels.optim import Adam, Parameters, PolyakAverage
from tests.arches import per_arch
from tests.twins import AdamTwin

COUNT = 50


@per_arch
def arrays() -> dict:
    """A field of scalars and one of blocks, each with its gradient."""
    return {
        "scalars": (ti.field(ti.f32, COUNT), ti.field(ti.f32, COUNT)),
        "blocks": (ti.Vector.field(16, ti.f32, COUNT), ti.Vector.field(16, ti.f32, COUNT)),
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def fresh(arrays: dict, rng: np.random.Generator, active: int = COUNT) -> list[Parameters]:
    """Random parameters of both kinds with no gradient and no history."""
    parameters = []
    for (name, (value, gradient)), rate in zip(arrays.items(), (0.02, 1e-3)):
        value.from_numpy(rng.standard_normal(value.to_numpy().shape).astype(np.float32))
        gradient.fill(0)
        parameters.append(Parameters(name, value, gradient, rate, active))
    return parameters


def random_gradients(parameters: list[Parameters], rng: np.random.Generator) -> list[np.ndarray]:
    """Of sizes from nothing to large, into the devices' arrays and returned."""
    gradients = []
    for p in parameters:
        shape = p.value.to_numpy().shape
        gradient = rng.standard_normal(shape) * 10.0 ** rng.uniform(-9, 1, shape) * (rng.random(shape) < 0.8)
        gradients.append(gradient.astype(np.float32))
        p.gradient.from_numpy(gradients[-1])
    return gradients


def test_the_twins_first_step_is_the_learning_rate_against_the_sign():
    twin = AdamTwin(np.zeros(2))
    twin.step(np.array([3.0, -0.01]), 0.02)
    np.testing.assert_allclose(twin.x, [-0.02, 0.02], rtol=1e-5)


def test_ten_steps_are_the_twins(arrays, rng):
    parameters, adam = fresh(arrays, rng), Adam()
    twins = [AdamTwin(p.value.to_numpy()) for p in parameters]
    for step in range(10):
        factor = 0.1 ** (step / 10)
        gradients = random_gradients(parameters, rng)
        adam.step(parameters, factor)
        for p, twin, gradient in zip(parameters, twins, gradients):
            twin.step(gradient.astype(np.float64), p.rate * factor)
            moved = np.abs(twin.x - p.value.to_numpy()).max()
            assert moved <= 1e-4 * p.rate * (step + 1) + 3e-7
            assert not p.gradient.to_numpy().any()  # cleared for the next step


def test_what_has_had_no_gradient_does_not_move(arrays, rng):
    """A component beyond the level has a gradient of exactly zero: sqrt(0) + epsilon divides 0."""
    parameters, adam = fresh(arrays, rng), Adam()
    before = [p.value.to_numpy() for p in parameters]
    for _ in range(5):
        for p, gradient in zip(parameters, random_gradients(parameters, rng)):
            gradient[::2] = 0
            p.gradient.from_numpy(gradient)
        adam.step(parameters, 1.0)
    for p, old in zip(parameters, before):
        np.testing.assert_array_equal(p.value.to_numpy()[::2], old[::2])
        assert (p.value.to_numpy()[1::2] != old[1::2]).any()


def test_parameters_behind_the_active_ones_sleep(arrays, rng):
    parameters, adam = fresh(arrays, rng, active=20), Adam()
    before = [p.value.to_numpy() for p in parameters]
    random_gradients(parameters, rng)
    adam.step(parameters, 1.0)
    for p, old in zip(parameters, before):
        np.testing.assert_array_equal(p.value.to_numpy()[20:], old[20:])
        assert not p.first.to_numpy()[20:].any()
        assert not p.second.to_numpy()[20:].any()
        assert (p.value.to_numpy()[:20] != old[:20]).any()


def test_what_rests_stays_to_the_bit_and_what_moves_is_the_twins(arrays, rng):
    """Two groups of elements, or of components of blocks of five elements, take turns; their gradients come at each
    step."""
    parameters, adam, stride = fresh(arrays, rng), Adam(), 5
    group = [np.arange(COUNT // stride) % 2, np.arange(16) // 3 % 2 + np.zeros((COUNT // stride, 1), int)]
    twins = [AdamTwin(p.value.to_numpy()) for p in parameters]
    moving = [ti.field(ti.f32, COUNT // stride), ti.Vector.field(16, ti.f32, COUNT // stride)]
    views = [p.resting(where, stride) for p, where in zip(parameters, moving)]
    for turn in (0, 0, 1, 1, 0):
        for where, numbers in zip(moving, group):
            where.from_numpy((numbers == turn).astype(np.float32))
        before = [p.state() for p in parameters]
        gradients = random_gradients(parameters, rng)
        adam.step(views, 1.0)
        for p, twin, numbers, gradient, old in zip(parameters, twins, group, gradients, before):
            rests = (numbers != turn).repeat(stride, axis=0)
            kept = twin.x, twin.m, twin.v
            twin.step(gradient.astype(np.float64), p.rate)
            twin.x, twin.m, twin.v = (np.where(rests, a, b) for a, b in zip(kept, (twin.x, twin.m, twin.v)))
            np.testing.assert_allclose(p.value.to_numpy(), twin.x, atol=5e-4 * p.rate + 3e-7)
            for key, values in p.state().items():
                np.testing.assert_array_equal(values[rests], old[key][rests])
            assert (p.value.to_numpy() != old[f"{p.name}.value"])[~rests].any()
            assert not p.gradient.to_numpy().any()


def test_a_restart_is_a_new_optimiser(arrays, rng):
    parameters, adam = fresh(arrays, rng), Adam()
    for _ in range(3):
        random_gradients(parameters, rng)
        adam.step(parameters, 1.0)
    adam.restart(parameters)
    twins = [AdamTwin(p.value.to_numpy()) for p in parameters]
    for _ in range(2):
        gradients = random_gradients(parameters, rng)
        adam.step(parameters, 1.0)
        for p, twin, gradient in zip(parameters, twins, gradients):
            twin.step(gradient.astype(np.float64), p.rate)
            np.testing.assert_allclose(p.value.to_numpy(), twin.x, atol=1e-4 * p.rate + 3e-7)


def test_a_restored_state_goes_on_as_if_nothing_had_happened(arrays, rng):
    parameters, adam = fresh(arrays, rng), Adam()
    random_gradients(parameters, rng)
    adam.step(parameters, 1.0)
    saved, steps = [p.state() for p in parameters], adam.steps

    def go_on() -> list[np.ndarray]:
        again = np.random.default_rng(77)
        for _ in range(3):
            random_gradients(parameters, again)
            adam.step(parameters, 0.5)
        return [a for p in parameters for a in p.state().values()]

    uninterrupted = go_on()
    for p, state in zip(parameters, saved):
        p.restore(state)
    adam.steps = steps
    for a, b in zip(uninterrupted, go_on()):
        np.testing.assert_array_equal(a, b)


# The mean of the last stretch


def walk(parameters: list[Parameters], rng: np.random.Generator) -> list[np.ndarray]:
    """Other values for the parameters, into the devices' arrays and returned."""
    values = [rng.standard_normal(p.value.to_numpy().shape).astype(np.float32) for p in parameters]
    for p, value in zip(parameters, values):
        p.value.from_numpy(value)
    return values


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_mean_is_that_of_all_that_were_added_and_what_was_before_does_not_count(arrays, rng, count):
    parameters = fresh(arrays, rng)
    mean = PolyakAverage(parameters)
    for times in (3, count):
        seen = []
        for _ in range(times):
            seen.append(walk(parameters, rng))
            mean.add(parameters)
        walk(parameters, rng)
        mean.take(parameters)
        for p, *values in zip(parameters, *seen):
            np.testing.assert_allclose(p.value.to_numpy(), np.mean(values, axis=0), rtol=1e-5, atol=1e-6)
    assert mean.count == 0


def test_with_nothing_added_the_parameters_stay(arrays, rng):
    parameters = fresh(arrays, rng)
    before = [p.value.to_numpy() for p in parameters]
    PolyakAverage(parameters).take(parameters)
    for p, value in zip(parameters, before):
        np.testing.assert_array_equal(p.value.to_numpy(), value)


def test_parameters_that_have_no_mean_are_left_alone(arrays, rng):
    parameters = fresh(arrays, rng)
    mean = PolyakAverage(parameters[:1])
    mean.add(parameters)
    values = walk(parameters, rng)
    mean.take(parameters)
    np.testing.assert_array_equal(parameters[1].value.to_numpy(), values[1])
    assert (parameters[0].value.to_numpy() != values[0]).any()


def test_a_mean_goes_on_from_its_state(arrays, rng):
    parameters = fresh(arrays, rng)
    ours, theirs = PolyakAverage(parameters), PolyakAverage(parameters)
    for step in range(5):
        if step == 3:
            theirs.restore(ours.count, ours.state())
        walk(parameters, rng)
        for mean in (ours, theirs) if step >= 3 else (ours,):
            mean.add(parameters)
    assert ours.count == theirs.count == 5
    for name, values in ours.state().items():
        np.testing.assert_array_equal(values, theirs.state()[name])
    assert PolyakAverage(parameters).state() == {}
