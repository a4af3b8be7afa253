"""Volume rendering against a table worked out by hand and against its numpy twin; the adjoint against differences."""

from dataclasses import dataclass

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Vec3, upload
from taichi_rf.kernels.march import Samples
from taichi_rf.kernels.volume import STOP, WEIGHT_THRESHOLD, Compositor
from tests import twins
from tests.arches import per_arch

SCALE = 25.0


@per_arch
def compositor() -> Compositor:
    return Compositor()


@dataclass
class Case:
    """A batch of rays as packed samples, on the host."""

    counts: list[int]
    density: np.ndarray
    t: np.ndarray
    positions: np.ndarray
    step: float

    @property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.counts)])

    @property
    def delta(self) -> float:
        return self.step * SCALE

    def samples(self) -> Samples:
        rays, count = len(self.counts), len(self.t)
        # an array has at least one element: one more than there are samples, and of no consequence
        t, positions = np.append(self.t, 9), np.concatenate([self.positions, np.full((1, 3), 9)])
        return Samples(
            rays, count, upload(self.offsets, ti.i32), upload(positions, Vec3), upload(t),
            upload(np.tile([0, 0, 1.0], (rays, 1)), Vec3), self.step,
        )  # fmt: skip


def random_case(seed: int = 0) -> Case:
    """Rays of many kinds: empty, of one sample, thin, patchy, and so dense that they end early."""
    rng = np.random.default_rng(seed)
    counts = [0, 1, 3, 40, 60, 50, 0, 30, 5, 0]
    scales = [0, 1, 1, 0.02, 0.3, 5, 0, 1e-4, 1e-5, 0]
    density = np.concatenate(
        [scale * rng.exponential(1, n) * (rng.random(n) < 0.8) for n, scale in zip(counts, scales)]
    )
    t = np.concatenate([np.sort(rng.uniform(2, 6, n)) for n in counts])
    return Case(
        counts, density.astype(np.float32), t.astype(np.float32), rng.random((len(t), 3)).astype(np.float32), 0.1
    )


def weigh(compositor: Compositor, case: Case):
    samples, density = case.samples(), upload(case.density)
    shaded, opacity, depth = compositor.weigh(samples, density, SCALE)
    rays = len(case.counts)
    return samples, density, shaded, opacity.to_numpy()[:rays], depth.to_numpy()[:rays]


def weights_of(compositor: Compositor, case: Case) -> np.ndarray:
    return compositor.weights.to_numpy()[: len(case.t)]


# Three samples, with a pencil. delta = 1, sigma = ln 2, ln 4, ln 10, so 1 - alpha = 1/2, 1/4, 1/10:
#   alpha    1/2     3/4     9/10
#   T        1       1/2     1/8        and 1/80 is left
#   w        1/2     3/8     9/80       sum 79/80
#   t        1       2       4          sum w t = 0.5 + 0.75 + 0.45 = 1.7
# Colours red, green, blue before a white background: pixel = (1/2, 3/8, 9/80) + 1/80.
TABLE = Case(
    [3],
    np.log(np.array([2, 4, 10], np.float32)),
    np.array([1, 2, 4], np.float32),
    np.eye(3, dtype=np.float32),
    1 / SCALE,
)


def test_three_samples_give_the_weights_worked_out_by_hand(compositor):
    samples, _, shaded, opacity, depth = weigh(compositor, TABLE)
    np.testing.assert_allclose(weights_of(compositor, TABLE), [1 / 2, 3 / 8, 9 / 80], rtol=1e-6)
    np.testing.assert_allclose(opacity, 79 / 80, rtol=1e-6)
    np.testing.assert_allclose(depth, 1.7, rtol=1e-6)
    colours, white = upload(np.eye(3), Vec3), upload(np.ones((1, 3)), Vec3)
    pixels = compositor.pixels(samples, shaded, colours, white).to_numpy()[0]
    np.testing.assert_allclose(pixels, np.array([1 / 2, 3 / 8, 9 / 80]) + 1 / 80, rtol=1e-6)


def test_three_samples_give_the_adjoint_worked_out_by_hand(compositor):
    # L = red of the pixel before black, colours as above: L = w_0 = 1 - exp(-sigma_0), so dL/dsigma_0 = 1/2, others 0;
    # dL/dcolour_i = w_i in red.
    samples, density, shaded, _, _ = weigh(compositor, TABLE)
    colours, black = upload(np.eye(3), Vec3), upload(np.zeros((1, 3)), Vec3)
    d_colours, d_density = compositor.adjoint(
        samples, shaded, density, colours, black, upload(np.array([[1, 0, 0]]), Vec3)
    )  # fmt: skip
    np.testing.assert_allclose(d_density.to_numpy()[:3], [0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(d_colours.to_numpy()[:3], np.outer([1 / 2, 3 / 8, 9 / 80], [1, 0, 0]), atol=1e-6)


def test_the_twin_agrees_with_the_table():
    weighed = twins.weigh(TABLE.offsets, TABLE.t, TABLE.density.astype(np.float64), 1.0)
    np.testing.assert_allclose(weighed.weights, [1 / 2, 3 / 8, 9 / 80], rtol=1e-6)
    np.testing.assert_allclose(weighed.depth, 1.7, rtol=1e-6)
    pixel = twins.composite(TABLE.offsets, weighed, np.ones(3, bool), np.eye(3), np.ones((1, 3)))
    np.testing.assert_allclose(pixel[0], np.array([1 / 2, 3 / 8, 9 / 80]) + 1 / 80, rtol=1e-6)


def test_weights_opacity_and_depth_are_the_twins(compositor):
    case = random_case()
    _, _, _, opacity, depth = weigh(compositor, case)
    twin = twins.weigh(case.offsets, case.t, case.density.astype(np.float64), case.delta, stop=STOP)
    assert not twin.reached.all()  # some ray ends early
    np.testing.assert_allclose(weights_of(compositor, case), twin.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(opacity, twin.opacity, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(depth, twin.depth, rtol=1e-4, atol=1e-5)
    assert opacity[0] == depth[0] == 0


def test_the_shaded_samples_are_those_above_the_threshold_in_order(compositor):
    case = random_case()
    _, _, shaded, _, _ = weigh(compositor, case)
    weights = weights_of(compositor, case)
    expected = np.flatnonzero(weights > WEIGHT_THRESHOLD)
    assert 0 < len(expected) < np.count_nonzero(weights)
    assert shaded.count == len(expected)
    index = shaded.index.to_numpy()[: shaded.count]
    rays = np.repeat(np.arange(len(case.counts)), case.counts)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(shaded.rays.to_numpy()[: shaded.count], rays[expected])
    np.testing.assert_array_equal(shaded.weights.to_numpy()[: shaded.count], weights[expected])
    np.testing.assert_array_equal(shaded.positions.to_numpy()[: shaded.count], case.positions[expected])
    per_ray = np.bincount(rays[expected], minlength=len(case.counts))
    np.testing.assert_array_equal(
        shaded.offsets.to_numpy()[: len(case.counts) + 1], np.concatenate([[0], np.cumsum(per_ray)])
    )


def random_colours(compositor: Compositor, case: Case, rng: np.random.Generator):
    samples, density, shaded, _, _ = weigh(compositor, case)
    colours = rng.random((shaded.count, 3)).astype(np.float32)
    background = rng.random((len(case.counts), 3)).astype(np.float32)
    index = shaded.index.to_numpy()[: shaded.count]
    return samples, density, shaded, index, colours, background


def test_pixels_are_the_twins_and_an_empty_ray_is_its_background(compositor):
    case, rng = random_case(), np.random.default_rng(1)
    samples, _, shaded, index, colours, background = random_colours(compositor, case, rng)
    pixels = compositor.pixels(samples, shaded, upload(colours, Vec3), upload(background, Vec3))
    pixels = pixels.to_numpy()[: len(case.counts)]
    spread, is_shaded = np.zeros((len(case.t), 3)), np.zeros(len(case.t), bool)
    spread[index], is_shaded[index] = colours, True
    twin = twins.weigh(case.offsets, case.t, case.density.astype(np.float64), case.delta, stop=STOP)
    np.testing.assert_allclose(
        pixels, twins.composite(case.offsets, twin, is_shaded, spread, background), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(pixels[[0, 6, 9]], background[[0, 6, 9]])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_adjoint_is_the_slope_of_the_twin(compositor, seed):
    case, rng = random_case(seed), np.random.default_rng(seed + 10)
    samples, density, shaded, index, colours, background = random_colours(compositor, case, rng)
    d_pixels = rng.standard_normal((len(case.counts), 3)).astype(np.float32)
    d_colours, d_density = compositor.adjoint(
        samples, shaded, density, upload(colours, Vec3), upload(background, Vec3), upload(d_pixels, Vec3)
    )

    is_shaded = np.zeros(len(case.t), bool)
    is_shaded[index] = True
    sigma, colour = case.density.astype(np.float64), np.zeros((len(case.t), 3))
    colour[index] = colours
    reached = twins.weigh(case.offsets, case.t, sigma, case.delta, stop=STOP).reached

    def loss() -> float:  # what is shaded and where rays end are choices, and constants of the derivative
        weighed = twins.weigh(case.offsets, case.t, sigma, case.delta, reached=reached)
        return np.vdot(d_pixels, twins.composite(case.offsets, weighed, is_shaded, colour, background))

    gradient = d_density.to_numpy()[: len(case.t)]
    assert not gradient[~reached].any()
    twins.assert_gradient(loss, sigma, gradient, rng, entries=40, only=reached)
    colour_gradient = np.zeros(colour.shape)
    colour_gradient[index] = d_colours.to_numpy()[: shaded.count]
    twins.assert_gradient(loss, colour, colour_gradient, rng, only=is_shaded[:, None])


def test_a_batch_that_hits_nothing_is_all_background(compositor):
    case = Case([0, 0, 0], np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, 3), np.float32), 0.1)
    samples = case.samples()
    density = upload(np.zeros(1))
    shaded, opacity, depth = compositor.weigh(samples, density, SCALE)
    background = np.random.default_rng(0).random((3, 3)).astype(np.float32)
    colours = upload(np.zeros((1, 3)), Vec3)
    pixels = compositor.pixels(samples, shaded, colours, upload(background, Vec3))
    assert shaded.count == 0
    assert not opacity.to_numpy()[:3].any()
    assert not depth.to_numpy()[:3].any()
    np.testing.assert_array_equal(pixels.to_numpy()[:3], background)
    compositor.adjoint(samples, shaded, density, colours, upload(background, Vec3), upload(background, Vec3))


def test_arrays_left_by_a_larger_batch_do_not_leak_into_a_smaller_one(compositor):
    weigh(compositor, random_case(3))
    big = weigh(compositor, random_case(3))
    assert big[2].count > 3
    test_three_samples_give_the_weights_worked_out_by_hand(compositor)
