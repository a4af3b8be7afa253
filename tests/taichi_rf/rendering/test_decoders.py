"""The decoders against their numpy twins: harmonics by quadrature, colours, and gradients by differences."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.rendering.decoders.base import Decoder
from taichi_rf.rendering.decoders.perceptrons import MLP, Perceptron, Small
from taichi_rf.rendering.decoders.registry import DECODERS, make_decoder
from taichi_rf.rendering.decoders.spherical_harmonics import SphericalHarmonics
from tests import twins
from tests.arches import per_arch
from tests.twins import MLPTwin, PerceptronTwin, SmallTwin, assert_gradient

ROWS = 9 * 96
TWINS: dict[str, type[PerceptronTwin]] = {"mlp": MLPTwin, "small": SmallTwin}
with_layers = pytest.mark.parametrize("kind", TWINS)


class Bench:
    """The decoders, and one field of features for all tests: kernels compile once for each field they are given."""

    def __init__(self) -> None:
        self.sh, self.mlp, self.small = SphericalHarmonics(rows=ROWS), MLP(rows=ROWS, seed=4), Small(rows=ROWS, seed=4)
        self.decoders: dict[str, Decoder] = {d.kind: d for d in (self.sh, self.mlp, self.small)}
        self.feature_blocks = {blocks: ti.Vector.field(BLOCK, ti.f32, (ROWS, blocks)) for blocks in (1, 2)}
        self.initial = {kind: self.perceptron(kind).value.to_numpy() for kind in TWINS}

    def perceptron(self, kind: str) -> Perceptron:
        decoder = self.decoders[kind]
        assert isinstance(decoder, Perceptron)
        return decoder

    def forward(self, decoder: Decoder, features: np.ndarray, rays: np.ndarray, directions: np.ndarray, first: int = 0):
        """Colours of rows [first, first + n) of a longer list whose rest is 7."""
        n, blocks = len(features), -(-decoder.features // BLOCK)
        self.features = self.feature_blocks[blocks]
        padded = np.zeros((ROWS, blocks * BLOCK), np.float32)
        padded[:n, : decoder.features] = features
        self.features.from_numpy(padded.reshape(ROWS, blocks, BLOCK))
        self.rays = upload(np.concatenate([np.zeros(first), rays]), ti.i32)
        self.directions = upload(directions, Vec3)
        self.colours = empty(Vec3, first + n + 2)
        self.colours.fill(7)
        decoder.forward(n, first, self.features, self.rays, self.directions, self.colours)
        colours = self.colours.to_numpy()
        assert (colours[:first] == 7).all()
        assert (colours[first + n :] == 7).all()
        return colours[first : first + n]

    def adjoint(self, decoder: Decoder, d_colours: np.ndarray, first: int = 0) -> np.ndarray:
        """dL/d features (n, decoder.features) after :meth:`forward` on the same rows."""
        n = len(d_colours)
        padded = np.concatenate([np.full((first, 3), 1e6), d_colours])
        d_features = decoder.adjoint(
            n, first, self.features, self.rays, self.directions, self.colours, upload(padded, Vec3)
        )  # fmt: skip
        return d_features.to_numpy()[:n].reshape(n, -1)[:, : decoder.features]


@per_arch
def bench() -> Bench:
    return Bench()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(13)


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    d = rng.standard_normal((n, 3))
    return (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)


def problem(rng: np.random.Generator, n: int = 50, rays: int = 8, width: int = 27):
    return (
        rng.standard_normal((n, width)).astype(np.float32),
        np.sort(rng.integers(0, rays, n)),
        unit(rng, rays),
        rng.standard_normal((n, 3)).astype(np.float32),
    )


def random_weights(bench: Bench, kind: str, rng: np.random.Generator) -> tuple[Perceptron, PerceptronTwin]:
    """Weights whose biases are not zero either."""
    decoder = bench.perceptron(kind)
    values = (0.15 * rng.standard_normal(decoder.size)).astype(np.float32)
    values *= np.sqrt(128 / decoder.hidden)
    decoder.value.from_numpy(values)
    decoder.published()
    decoder.gradient.fill(0)
    return decoder, TWINS[kind](values)


# Spherical harmonics


def quadrature() -> tuple[np.ndarray, np.ndarray]:
    """96 directions and weights, exact for polynomials of degree 11: Gauss-Legendre in z, even in angle."""
    z, weights = np.polynomial.legendre.leggauss(8)
    angle = np.arange(12) * 2 * np.pi / 12
    radius = np.sqrt(1 - z**2)
    directions = np.stack(
        [np.outer(radius, np.cos(angle)), np.outer(radius, np.sin(angle)), np.outer(z, np.ones(12))], -1
    )
    return directions.reshape(-1, 3), np.repeat(weights * 2 * np.pi / 12, 12)


def test_the_twins_harmonics_are_orthonormal():
    directions, weights = quadrature()
    y = twins.harmonics(directions)
    np.testing.assert_allclose(y.T @ (weights[:, None] * y), np.eye(9), atol=1e-12)


def test_the_basis_functions_are_orthonormal_on_the_sphere(bench):
    """Colour c of a feature vector that is one at 9 c + k is sigmoid(Y_k): undo the sigmoid and integrate products."""
    directions, weights = quadrature()
    for channel in range(3):
        features = np.zeros((9 * 96, 27), np.float32)
        features[np.arange(9 * 96), 9 * channel + np.repeat(np.arange(9), 96)] = 1
        colours = bench.forward(bench.sh, features, np.tile(np.arange(96), 9), directions).astype(np.float64)
        y = np.log(colours / (1 - colours))
        others = [c for c in range(3) if c != channel]
        np.testing.assert_allclose(y[:, others], 0, atol=1e-6)
        y = y[:, channel].reshape(9, 96)
        np.testing.assert_allclose((y * weights) @ y.T, np.eye(9), atol=1e-5)


def test_harmonic_colours_are_the_twins(bench, rng):
    features, rays, directions, _ = problem(rng)
    expected = twins.sh_colours(features.astype(np.float64), directions[rays])
    np.testing.assert_allclose(bench.forward(bench.sh, features, rays, directions), expected, atol=2e-6)
    np.testing.assert_allclose(bench.forward(bench.sh, features, rays, directions, first=5), expected, atol=2e-6)


@pytest.mark.parametrize("first", [0, 5])
def test_the_harmonics_adjoint_is_the_slope_of_the_twin(bench, rng, first):
    features, rays, directions, d_colours = problem(rng)
    bench.forward(bench.sh, features, rays, directions, first)
    d_features = bench.adjoint(bench.sh, d_colours, first)
    moved = features.astype(np.float64)
    assert_gradient(
        lambda: np.vdot(d_colours, twins.sh_colours(moved, directions[rays])), moved, d_features, rng, tolerance=1e-4
    )


def test_harmonics_have_no_parameters(bench):
    assert bench.sh.parameters() == []
    assert bench.sh.pack() == {}


# The MLP


def test_the_encoding_has_150_numbers_in_the_papers_order():
    """Every number at frequencies 1 and 2 side by side, and all sines before all cosines."""
    a, b = 0.3, -1.1
    expected = [np.sin(a), np.sin(2 * a), np.sin(b), np.sin(2 * b), np.cos(a), np.cos(2 * a), np.cos(b), np.cos(2 * b)]
    np.testing.assert_allclose(twins.positional_encoding(np.array([[a, b]]), 2)[0], expected)


def test_the_mlp_reads_features_direction_and_their_sines_and_cosines_in_the_papers_order(bench, rng):
    """One weight at a time: input k alone, through one unit of each layer, must be the k-th number of the encoding."""
    features, rays, directions, _ = problem(rng, n=7)
    f, d = features.astype(np.float64), directions[rays].astype(np.float64)
    encoded = np.concatenate([f, d, twins.positional_encoding(f, 2), twins.positional_encoding(d, 2)], axis=1)
    assert encoded.shape == (7, 150)
    second = 150 * 128 + 128
    last = second + 128 * 128 + 128
    for k in (0, 26, 27, 29, 30, 31, 32, 83, 84, 85, 137, 138, 139, 143, 144, 145, 149):
        values = np.zeros(bench.mlp.size, np.float32)
        values[k * 128 + 5] = 1  # input k to unit 5
        values[150 * 128 + 5] = 4  # plus four, so that the relu does not cut
        values[second + 5 * 128 + 9] = 1
        values[last + 9 * 3 + 1] = 0.5  # to green
        values[-2] = -2
        bench.mlp.value.from_numpy(values)
        bench.mlp.published()
        colours = bench.forward(bench.mlp, features, rays, directions)
        np.testing.assert_allclose(colours[:, 1], twins.sigmoid(0.5 * encoded[:, k]), atol=1e-5)
        np.testing.assert_allclose(colours[:, [0, 2]], 0.5, atol=1e-6)


# The small one


def test_the_small_decoder_is_what_the_papers_table_counts_for_it():
    """Table 3: what is neither indices nor codebooks is 12 kB."""
    assert DECODERS["small"].schema() == {"small": ("f2", (5955,))}
    assert round(2 * 5955 / 1000) == 12


def test_the_small_decoder_reads_fifteen_features_and_nine_harmonics(bench, rng):
    """One weight at a time, as for the MLP: input k alone must be the (k + 1)-th feature, or harmonic k - 15."""
    features, rays, directions, _ = problem(rng, n=7, width=16)
    read = [*features.T.astype(np.float64)[1:], *twins.harmonics(directions[rays]).T]
    assert len(read) == 24
    second = 24 * 64 + 64
    last = second + 64 * 64 + 64
    for k, expected in enumerate(read):
        values = np.zeros(bench.small.size, np.float32)
        values[k * 64 + 5] = 1  # input k to unit 5
        values[24 * 64 + 5] = 4  # plus four, so that the relu does not cut
        values[second + 5 * 64 + 9] = 1
        values[last + 9 * 3 + 1] = 0.5  # to green
        values[-2] = -2
        bench.small.value.from_numpy(values)
        bench.small.published()
        colours = bench.forward(bench.small, features, rays, directions)
        np.testing.assert_allclose(colours[:, 1], twins.sigmoid(0.5 * expected), atol=1e-5)
        np.testing.assert_allclose(colours[:, [0, 2]], 0.5, atol=1e-6)


def test_the_small_decoder_does_not_see_the_density(bench, rng):
    features, rays, directions, d_colours = problem(rng, width=16)
    random_weights(bench, "small", rng)
    before = bench.forward(bench.small, features, rays, directions)
    features[:, 0] = 1e30
    np.testing.assert_array_equal(bench.forward(bench.small, features, rays, directions), before)
    d_features = bench.adjoint(bench.small, d_colours)
    assert not d_features[:, 0].any()
    assert d_features[:, 1:].any(axis=0).all()


# Both of them with layers


@with_layers
def test_colours_are_the_twins(bench, rng, kind):
    features, rays, directions, _ = problem(rng, width=DECODERS[kind].features)
    decoder, twin = random_weights(bench, kind, rng)
    expected = twin.colours(features.astype(np.float64), directions[rays])
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(bench.forward(decoder, features, rays, directions), expected, atol=1e-4)
    np.testing.assert_allclose(bench.forward(decoder, features, rays, directions, first=9), expected, atol=1e-4)


@with_layers
@pytest.mark.parametrize("first", [0, 9])
def test_the_adjoint_is_the_slope_of_the_twin(bench, rng, first, kind):
    features, rays, directions, d_colours = problem(rng, width=DECODERS[kind].features)
    decoder, twin = random_weights(bench, kind, rng)
    bench.forward(decoder, features, rays, directions, first)
    d_features = bench.adjoint(decoder, d_colours, first)
    moved = features.astype(np.float64)

    def loss() -> float:
        return np.vdot(d_colours, twin.colours(moved, directions[rays]))

    assert_gradient(loss, moved, d_features, rng)
    gradient, begin = decoder.gradient.to_numpy(), 0
    for inputs, outputs in twin.SHAPES:  # weights and bias of each layer by themselves
        for size in (inputs * outputs, outputs):
            here = np.zeros(len(gradient), bool)
            here[begin : begin + size] = True
            assert_gradient(loss, twin.values, gradient, rng, entries=5, only=here)
            begin += size
    assert begin == len(gradient)


@with_layers
def test_gradients_add_up(bench, rng, kind):
    features, rays, directions, d_colours = problem(rng, width=DECODERS[kind].features)
    decoder, _ = random_weights(bench, kind, rng)
    bench.forward(decoder, features, rays, directions)
    bench.adjoint(decoder, d_colours)
    once = decoder.gradient.to_numpy()
    bench.adjoint(decoder, d_colours)
    np.testing.assert_allclose(decoder.gradient.to_numpy(), 2 * once, rtol=1e-4, atol=1e-4)


@with_layers
def test_the_last_bias_alone_starts_at_zero(bench, kind):
    initial, (first, _, last) = bench.initial[kind], TWINS[kind].SHAPES
    assert not initial[-3:].any()
    assert np.count_nonzero(initial) >= len(initial) - 5
    layers = [
        np.abs(initial[: first[0] * first[1]]).max() * np.sqrt(first[0]),
        np.abs(initial[-(last[0] + 1) * 3 :]).max() * np.sqrt(last[0]),
    ]
    np.testing.assert_allclose(layers, 1, atol=0.02)


@with_layers
def test_what_was_packed_gives_the_same_colours_to_half_precision(bench, rng, kind):
    features, rays, directions, _ = problem(rng, width=DECODERS[kind].features)
    decoder, _ = random_weights(bench, kind, rng)
    before = bench.forward(decoder, features, rays, directions)
    packed = decoder.pack()
    assert {name: (a.dtype.str[1:], a.shape) for name, a in packed.items()} == decoder.schema()
    random_weights(bench, kind, rng)
    decoder.unpack(packed)
    np.testing.assert_allclose(bench.forward(decoder, features, rays, directions), before, atol=0.01)


@with_layers
def test_weights_beyond_half_precision_are_packed_as_its_largest(bench, rng, kind):
    decoder, twin = random_weights(bench, kind, rng)
    twin.values[[0, 1]] = [1e9, -1e9]
    decoder.value.from_numpy(twin.values.astype(np.float32))
    assert decoder.pack()[kind][:2].tolist() == [65504, -65504]


# All


def test_no_rows_change_nothing(bench, rng):
    for kind, decoder in bench.decoders.items():
        if kind in TWINS:
            random_weights(bench, kind, rng)
        none = np.zeros((0, decoder.features), np.float32)
        assert bench.forward(decoder, none, np.zeros(1), unit(rng, 1), first=3).shape == (0, 3)
        decoder.adjoint(0, 0, bench.features, bench.rays, bench.directions, bench.colours, bench.colours)
        for parameters in decoder.parameters():
            assert not parameters.gradient.to_numpy().any()


def test_an_unknown_decoder_is_refused():
    with pytest.raises(UserError, match="mlp"):
        make_decoder("gaussians")
