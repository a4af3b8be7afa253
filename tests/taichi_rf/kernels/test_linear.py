"""Tiled matrix products against numpy, on the CPU and on Vulkan: forward, prefixes of segments, both gradients."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK
from taichi_rf.kernels.linear import Linear, blocks_of
from tests.arches import per_arch

ROWS = 2500  # the weight gradient walks 16 runs of rows in chunks of at most 128: some have two
COUNTS = (1, 2, 3, 7, 257, 2500)
OFFSET = 11  # parameters begin somewhere in a longer array
SHAPES = {
    "first": (150, 128, True, 1),  # inputs that only partly fill their last block
    "last": (128, 3, True, 1),  # fewer outputs than a tile
    "basis": (3 * 32, 27, False, 3),  # three modes, of which prefixes are used
    "odd": (48, 40, True, 1),  # an odd number of input blocks, outputs of a tile and a bit
}


@dataclass
class Layer:
    """One layer and the fields it works on."""

    linear: Linear
    x: Any
    y: Any
    dy: Any
    dx: Any
    parameters: Any
    gradient: Any

    def load(self, field: Any, values: np.ndarray) -> None:
        """Rows of plain numbers into a field of blocks, padded with zeros."""
        blocks = np.zeros((ROWS, field.shape[1] * BLOCK), np.float32)
        blocks[: len(values), : values.shape[1]] = values
        field.from_numpy(blocks.reshape(ROWS, field.shape[1], BLOCK))

    def read(self, field: Any, n: int) -> np.ndarray:
        """Rows of plain numbers, padding included."""
        return field.to_numpy().reshape(ROWS, -1)[:n]

    def set_parameters(self, w: np.ndarray, b: np.ndarray) -> None:
        values = np.full(self.parameters.shape, 1e6, np.float32)  # what is not ours must not matter
        values[OFFSET : OFFSET + self.linear.size] = np.concatenate([w.reshape(-1), b]) if len(b) else w.reshape(-1)
        self.parameters.from_numpy(values)
        self.linear.publish(self.parameters)


@per_arch
def layers() -> dict[str, Layer]:
    made = {}
    for name, (inputs, outputs, bias, segments) in SHAPES.items():
        linear = Linear(inputs, outputs, bias=bias, offset=OFFSET, segments=segments)
        wide, narrow = blocks_of(inputs), linear.output_blocks
        x, dx = (ti.Vector.field(BLOCK, ti.f32, (ROWS, wide)) for _ in range(2))
        y, dy = (ti.Vector.field(BLOCK, ti.f32, (ROWS, narrow)) for _ in range(2))
        parameters, gradient = (ti.field(ti.f32, OFFSET + linear.size + 5) for _ in range(2))
        made[name] = Layer(linear, x, y, dy, dx, parameters, gradient)
    return made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def random_problem(rng: np.random.Generator, name: str, n: int):
    inputs, outputs, bias, _ = SHAPES[name]
    x, dy = (rng.standard_normal(shape).astype(np.float32) for shape in ((n, inputs), (n, outputs)))
    w = rng.standard_normal((inputs, outputs)).astype(np.float32)
    b = rng.standard_normal(outputs if bias else 0).astype(np.float32)
    return x, dy, w, b


def product(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    y = x.astype(np.float64) @ w.astype(np.float64)
    return y + b if len(b) else y


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("name", SHAPES)
def test_forward_is_the_product_and_pads_with_zeros(layers, rng, name, n):
    layer = layers[name]
    x, _, w, b = random_problem(rng, name, n)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    layer.y.fill(5)
    layer.linear.forward(n, layer.x, layer.y)
    y = layer.read(layer.y, n)
    np.testing.assert_allclose(y[:, : w.shape[1]], product(x, w, b), rtol=1e-4, atol=1e-4)
    assert not y[:, w.shape[1] :].any()
    assert (layer.y.to_numpy()[n:] == 5).all()


@pytest.mark.parametrize("name", ["first", "odd"])
def test_relu_cuts_at_zero(layers, rng, name):
    layer = layers[name]
    x, _, w, b = random_problem(rng, name, 9)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    layer.linear.forward(9, layer.x, layer.y, relu=True)
    y = layer.read(layer.y, 9)[:, : w.shape[1]]
    np.testing.assert_allclose(y, np.maximum(product(x, w, b), 0), rtol=1e-4, atol=1e-4)
    assert (y == 0).any()


@pytest.mark.parametrize(("begin", "end"), [(0, 3), (0, 16), (0, 17), (3, 6), (15, 18), (16, 32), (0, 32)])
def test_a_prefix_of_every_segment_uses_those_rows_alone(layers, rng, begin, end):
    layer, n = layers["basis"], 9
    x, _, w, b = random_problem(rng, "basis", n)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    layer.linear.forward(n, layer.x, layer.y, begin=begin, end=end)
    used = np.zeros((3, 32), bool)
    used[:, begin:end] = True
    used = used.reshape(-1)
    expected = x[:, used].astype(np.float64) @ w[used]
    np.testing.assert_allclose(layer.read(layer.y, n)[:, :27], expected, rtol=1e-4, atol=1e-4)


def test_prefixes_add_up_to_the_whole(layers, rng):
    layer, n = layers["basis"], 9
    x, _, w, b = random_problem(rng, "basis", n)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    for begin, end in ((0, 5), (5, 16), (16, 20), (20, 32)):
        layer.linear.forward(n, layer.x, layer.y, begin=begin, end=end, add=begin > 0)
    np.testing.assert_allclose(layer.read(layer.y, n)[:, :27], product(x, w, b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("name", SHAPES)
def test_adjoint_is_both_transposed_products(layers, rng, name, n):
    layer = layers[name]
    x, dy, w, b = random_problem(rng, name, n)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    layer.load(layer.dy, dy)
    layer.dx.fill(5)
    layer.gradient.fill(0)
    layer.linear.adjoint(n, layer.x, layer.dy, layer.dx, layer.gradient)
    np.testing.assert_allclose(layer.read(layer.dx, n)[:, : len(w)], dy.astype(np.float64) @ w.T, rtol=1e-4, atol=1e-4)
    assert (layer.dx.to_numpy()[n:] == 5).all()
    expected = (x.T.astype(np.float64) @ dy).reshape(-1)
    if len(b):
        expected = np.concatenate([expected, dy.sum(axis=0, dtype=np.float64)])
    gradient = layer.gradient.to_numpy()
    np.testing.assert_allclose(
        gradient[OFFSET : OFFSET + layer.linear.size], expected, rtol=1e-4, atol=2e-5 * np.sqrt(n)
    )  # fmt: skip
    assert not gradient[:OFFSET].any()
    assert not gradient[OFFSET + layer.linear.size :].any()


@pytest.mark.parametrize("n", [1, 257])
def test_adjoint_of_some_blocks_of_every_segment_leaves_the_others_alone(layers, rng, n):
    layer = layers["basis"]
    x, dy, w, b = random_problem(rng, "basis", n)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    layer.load(layer.dy, dy)
    layer.dx.fill(5)
    layer.gradient.fill(0)
    layer.linear.adjoint(n, layer.x, layer.dy, layer.dx, layer.gradient, blocks=1)
    taken = np.arange(len(w)) % 32 < BLOCK
    dx, expected = layer.read(layer.dx, n), dy.astype(np.float64) @ w.T
    np.testing.assert_allclose(dx[:, taken], expected[:, taken], rtol=1e-4, atol=1e-4)
    assert (dx[:, ~taken] == 5).all()
    gradient = layer.gradient.to_numpy()[OFFSET : OFFSET + layer.linear.size].reshape(w.shape)
    expected = x.T.astype(np.float64) @ dy
    np.testing.assert_allclose(gradient[taken], expected[taken], rtol=1e-4, atol=2e-5 * np.sqrt(n))
    assert not gradient[~taken].any()


@pytest.mark.parametrize("name", ["odd", "last"])
def test_adjoint_is_the_slope_of_the_product_behind_a_relu(layers, rng, name):
    """x = relu(z), so dL/dx is cut where x is zero: differences of L(z) = sum dy (relu(z) W + b)."""
    layer, n = layers[name], 6
    z, dy, w, b = random_problem(rng, name, n)
    layer.set_parameters(w, b)
    layer.load(layer.x, np.maximum(z, 0))
    layer.load(layer.dy, dy)
    layer.linear.adjoint(n, layer.x, layer.dy, layer.dx, layer.gradient, relu=True)
    dz = layer.read(layer.dx, n)

    def loss(z: np.ndarray) -> float:
        return np.vdot(dy, product(np.maximum(z, 0), w, b))

    h = 1e-6
    for i, k in zip(rng.integers(0, n, 40), rng.integers(0, len(w), 40)):
        step = np.zeros(z.shape)
        step[i, k] = h
        assert dz[i, k] == pytest.approx((loss(z + step) - loss(z - step)) / (2 * h), rel=1e-3, abs=1e-3)


def test_the_gradient_adds_up_and_the_inputs_may_need_none(layers, rng):
    layer, n = layers["odd"], 20
    x, dy, w, b = random_problem(rng, "odd", n)
    layer.set_parameters(w, b)
    layer.load(layer.x, x)
    layer.load(layer.dy, dy)
    layer.gradient.fill(0)
    layer.dx.fill(5)
    for _ in range(2):
        layer.linear.adjoint(n, layer.x, layer.dy, None, layer.gradient)
    expected = 2 * x.T.astype(np.float64) @ dy
    got = layer.gradient.to_numpy()[OFFSET : OFFSET + expected.size].reshape(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert (layer.dx.to_numpy() == 5).all()


def test_no_rows_change_nothing(layers):
    layer = layers["odd"]
    layer.y.fill(5)
    layer.dx.fill(5)
    layer.gradient.fill(0)
    layer.linear.forward(0, layer.x, layer.y)
    layer.linear.adjoint(0, layer.x, layer.dy, layer.dx, layer.gradient)
    assert (layer.y.to_numpy() == 5).all()
    assert (layer.dx.to_numpy() == 5).all()
    assert not layer.gradient.to_numpy().any()


@pytest.mark.parametrize("layers", ["cpu"], indirect=True)
@pytest.mark.parametrize("name", SHAPES)
def test_weight_gradients_by_owner_and_by_atomics_agree(layers, rng, name):
    layer, n = layers[name], 2500
    x, dy, w, b = random_problem(rng, name, n)
    layer.load(layer.x, x)
    layer.load(layer.dy, dy)
    results = []
    for atomic in (False, True):
        layer.linear.atomic = atomic
        layer.gradient.fill(0)
        layer.linear.adjoint(n, layer.x, layer.dy, None, layer.gradient)
        results.append(layer.gradient.to_numpy())
    layer.linear.atomic = False
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("layers", ["cpu"], indirect=True)
def test_weight_gradients_on_the_cpu_are_the_same_bits_every_time(layers, rng):
    layer, n = layers["first"], 2500
    x, dy, w, b = random_problem(rng, "first", n)
    layer.load(layer.x, x)
    layer.load(layer.dy, dy)
    results = []
    for _ in range(3):
        layer.gradient.fill(0)
        layer.linear.adjoint(n, layer.x, layer.dy, None, layer.gradient)
        results.append(layer.gradient.to_numpy())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_initial_weights_are_uniform_within_one_over_the_root_of_the_inputs(layers, rng):
    values = layers["first"].linear.initial(rng)
    bound = 1 / np.sqrt(150)
    assert values.shape == (150 * 128 + 128,)
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.99 * bound
    assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
