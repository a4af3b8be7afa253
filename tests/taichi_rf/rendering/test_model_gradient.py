"""The way of a ray and back: pixels and the gradient of their loss against one numpy twin of everything."""

import numpy as np
import pytest

from taichi_rf.core.device import BLOCK, Vec3, upload
from taichi_rf.fields.vm.field import VMField
from taichi_rf.kernels.losses import PhotometricLoss
from taichi_rf.kernels.optim import Adam
from taichi_rf.kernels.volume import STOP, WEIGHT_THRESHOLD
from taichi_rf.rendering.decoders.base import Decoder
from taichi_rf.rendering.decoders.perceptrons import MLP
from taichi_rf.rendering.decoders.spherical_harmonics import SphericalHarmonics
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.rendering.volume_renderer import Batch
from tests import twins
from tests.arches import per_arch
from tests.twin_fields import VMTwin
from tests.twins import MLPTwin, assert_gradient

RANKS = 7  # 21 appearance components: a second block that is nearly all padding
RESOLUTION = (9, 8, 7)
SHIFT = -8.0
ROWS = 90
BOX = np.array([[-1.0, -1.2, -0.8], [1.1, 0.9, 1.0]], np.float32)
RAYS = 40


class Scene:
    """Models that share a field, with either decoder and the same rays."""

    def __init__(self) -> None:
        self.field = make_field()
        self.decoders: dict[str, Decoder] = {"mlp": MLP(rows=ROWS, seed=1), "sh": SphericalHarmonics(rows=ROWS)}
        self.models = {name: make_model(self.field, decoder) for name, decoder in self.decoders.items()}
        self.loss = PhotometricLoss()
        self.passes: dict[tuple[str, int], Pass] = {}

    def there_and_back(self, decoder: str, level: int) -> "Pass":
        """A forward and a backward pass, made once."""
        if (decoder, level) not in self.passes:
            self.passes[decoder, level] = Pass(self, self.models[decoder], level)
        return self.passes[decoder, level]


def make_field() -> VMField:
    return VMField(ranks=RANKS, resolution=RESOLUTION, density_shift=SHIFT, rows=ROWS)


def make_model(field: VMField, decoder: Decoder) -> RadianceModel:
    return RadianceModel(
        field, decoder, box=BOX, near=0.2, far=9, background=(0.2, 0.5, 0.9), step_ratio=0.8, distance_scale=6
    )


@per_arch
def scene() -> Scene:
    return Scene()


def fill(field: VMField, decoder: Decoder, seed: int) -> None:
    """A field that is opaque here and empty there, with features and an MLP that make strong colours."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(-1, 2, (field.value.shape[0], BLOCK))
    values[field.density_blocks * field.unit :] = rng.standard_normal(
        (field.appearance_blocks * field.unit, BLOCK)
    )  # fmt: skip
    field.value.from_numpy(values.astype(np.float32))
    field.basis_value.from_numpy((0.3 * rng.standard_normal(field.basis_value.shape)).astype(np.float32))
    if isinstance(decoder, MLP):
        decoder.value.from_numpy((0.15 * rng.standard_normal(decoder.size)).astype(np.float32))
    for p in (*field.parameters(), *decoder.parameters()):
        p.gradient.fill(0)
    field.published()
    decoder.published()


def rays(seed: int, count: int = RAYS) -> tuple[np.ndarray, np.ndarray]:
    """From a sphere around the box to points in it, but for the last, which misses."""
    rng = np.random.default_rng(seed)
    origins = rng.standard_normal((count, 3))
    origins *= 3 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = BOX.mean(axis=0) + rng.uniform(-0.8, 0.8, (count, 3)) - origins
    directions[-1] = origins[-1]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return origins.astype(np.float32), directions.astype(np.float32)


class Twin:
    """Everything after marching, in float64, from the packed samples of a batch. What is shaded is taken as given."""

    def __init__(self, model: RadianceModel, batch: Batch, directions: np.ndarray) -> None:
        field = model.field
        self.level, self.delta = batch.settings.level, batch.samples.step * model.distance_scale
        self.field = VMTwin(
            field.value.to_numpy(), field.basis_value.to_numpy(), ranks=RANKS, resolution=RESOLUTION, shift=SHIFT
        )
        self.mlp = MLPTwin(model.decoder.value.to_numpy()) if isinstance(model.decoder, MLP) else None
        count = batch.samples.count
        self.offsets = batch.samples.offsets.to_numpy()[: batch.samples.rays + 1]
        self.positions, self.t = batch.samples.positions.to_numpy()[:count], batch.samples.t.to_numpy()[:count]
        self.directions = np.repeat(directions, np.diff(self.offsets), axis=0)
        weighed = self.weigh()
        self.reached, self.shaded = weighed.reached, weighed.weights > WEIGHT_THRESHOLD

    def weigh(self, reached: np.ndarray | None = None) -> twins.Weighed:
        density = self.field.density(self.positions, self.level)
        return twins.weigh(self.offsets, self.t, density, self.delta, stop=STOP, reached=reached)

    def pixels(self, background: np.ndarray) -> np.ndarray:
        features = self.field.features(self.positions[self.shaded], self.level)
        directions = self.directions[self.shaded]
        colours = np.zeros((len(self.t), 3))
        colours[self.shaded] = (
            self.mlp.colours(features, directions) if self.mlp else twins.sh_colours(features, directions)
        )
        return twins.composite(self.offsets, self.weigh(self.reached), self.shaded, colours, background)


class Pass:
    """What one forward and backward pass of a model leaves, on the host, and its twin."""

    def __init__(self, scene: Scene, model: RadianceModel, level: int) -> None:
        rng = np.random.default_rng(100)
        fill(model.field, model.decoder, 0)
        origins, directions = rays(0)
        self.background, self.targets = rng.random((2, RAYS, 3)).astype(np.float32)
        batch = model.renderer.forward(origins, directions, model.settings(level), background=self.background, seed=0)
        self.pixels, self.shaded = batch.pixels.to_numpy()[:RAYS], batch.shaded.count
        self.twin = Twin(model, batch, directions)
        self.loss, d_pixels = scene.loss(RAYS, batch.pixels, upload(self.targets, Vec3))
        model.renderer.backward(batch, d_pixels)
        self.factors = model.field.gradient.to_numpy().reshape(self.twin.field.arena.shape)
        self.basis = model.field.basis_gradient.to_numpy().reshape(self.twin.field.basis.shape)
        self.mlp = model.decoder.gradient.to_numpy() if isinstance(model.decoder, MLP) else None


@pytest.mark.parametrize("level", [3, 7])
@pytest.mark.parametrize("decoder", ["mlp", "sh"])
def test_pixels_and_loss_are_those_of_the_twin(scene, decoder, level):
    done = scene.there_and_back(decoder, level)
    twin = done.twin
    # more chunks than rows hold at once, so that some are computed again; and some samples not worth shading
    assert 2 * ROWS < twin.shaded.sum() < len(twin.t)
    assert done.shaded == twin.shaded.sum()
    assert np.ptp(twin.weigh().opacity) > 0.2
    expected = twin.pixels(done.background)
    np.testing.assert_allclose(done.pixels, expected, atol=2e-4)
    assert done.loss == pytest.approx(((expected - done.targets) ** 2).mean(), rel=1e-3)
    np.testing.assert_array_equal(done.pixels[-1], done.background[-1])  # this ray misses the box


def test_what_is_behind_the_opaque_changes_no_bit_of_a_pixel(scene):
    """Densities along rays end where no light is left; looked up everywhere they give the same pictures."""
    model = scene.models["sh"]
    field = model.field
    fill(field, model.decoder, 0)
    pixels, zeros = [], []
    before, scale = field.owner, model.distance_scale
    try:
        model.distance_scale = 300
        for field.owner in (True, False):
            batch = model.renderer.forward(*rays(0), model.settings(7), seed=0)
            pixels.append(batch.pixels.to_numpy()[:RAYS])
            zeros.append((batch.density.to_numpy()[: batch.samples.count] == 0).sum())
    finally:
        field.owner, model.distance_scale = before, scale
    assert zeros[0] > zeros[1] == 0
    np.testing.assert_array_equal(*pixels)


@pytest.mark.parametrize("level", [3, 7])
@pytest.mark.parametrize("decoder", ["mlp", "sh"])
def test_the_gradient_of_the_loss_is_the_slope_of_the_twin_in_every_parameter(scene, decoder, level):
    done, rng = scene.there_and_back(decoder, level), np.random.default_rng(1)
    twin = done.twin

    def loss() -> float:
        return ((twin.pixels(done.background) - done.targets) ** 2).mean()

    def check(x: np.ndarray, gradient: np.ndarray, only: np.ndarray) -> None:
        assert_gradient(loss, x, gradient, rng, entries=3, directions=2, only=only, tolerance=3e-3)

    active = twin.field.active(level)
    nx, ny, nz = RESOLUTION
    plane, density = np.zeros(active.shape, bool), np.zeros(active.shape, bool)
    plane[:, : nx * ny + nx * nz + ny * nz] = True
    density[: twin.field.density_blocks] = True
    for part in (density & plane, density & ~plane, ~density & plane, ~density & ~plane):
        check(twin.field.arena, done.factors, active & part)
    check(twin.field.basis, done.basis, twin.field.active_basis(level))
    assert not done.factors[~active].any()
    if twin.mlp:
        begin = 0
        for inputs, outputs in MLPTwin.SHAPES:  # layer by layer
            here = np.zeros(len(done.mlp), bool)
            here[begin : begin + (inputs + 1) * outputs] = True
            check(twin.mlp.values, done.mlp, here)
            begin += (inputs + 1) * outputs


def test_a_batch_that_misses_everything_is_background_and_has_no_gradient(scene):
    model = scene.models["sh"]
    fill(model.field, model.decoder, 0)
    origins, directions = rays(0)
    batch = model.renderer.forward(origins, origins / 3)  # away from the box
    assert batch.samples.count == batch.shaded.count == 0
    np.testing.assert_allclose(batch.pixels.to_numpy()[:RAYS], np.tile(model.background, (RAYS, 1)), rtol=1e-6)
    _, d_pixels = scene.loss(RAYS, batch.pixels, upload(np.zeros((RAYS, 3)), Vec3))
    model.renderer.backward(batch, d_pixels)
    assert not model.field.gradient.to_numpy().any()
    assert not model.field.basis_gradient.to_numpy().any()


def test_refreshed_occupancy_changes_no_pixel_that_an_eye_could_tell(scene):
    """Alpha of a dropped sample is at most the threshold, so a pixel moves by no more than a ray's sum of those."""
    model = scene.models["sh"]
    fill(model.field, model.decoder, 0)
    factors = model.field.factors()
    for planes, lines in factors[: model.field.density_blocks]:  # nothing where x is in the lower half
        for factor in (planes[0][:, :5], planes[1][:, :5], lines[2][:5]):
            factor[...] = 0
    model.field.set_factors(factors, RESOLUTION)
    origins, directions = rays(4, 60)
    model.occupancy.fill()
    full = model.renderer.forward(origins, directions, seed=1)
    samples, before = full.samples.count, full.pixels.to_numpy()[:60]
    threshold = 5e-3
    model.refresh_occupancy(threshold, level=RANKS, grow=False)
    sparse = model.renderer.forward(origins, directions, seed=1)
    after, fewer = sparse.pixels.to_numpy()[:60], sparse.samples.count
    model.occupancy.fill()
    assert 0 < fewer < 0.98 * samples
    longest = np.linalg.norm(BOX[1] - BOX[0]) / model.step_size
    assert np.abs(after - before).max() < threshold * longest


# Training


def train(model: RadianceModel, level: int, steps: int, count: int) -> None:
    adam, loss = Adam(), PhotometricLoss()
    rng = np.random.default_rng(8)
    for step in range(steps):
        targets = upload(rng.random((count, 3)), Vec3)
        batch = model.renderer.forward(*rays(step, count), model.settings(level), seed=step)
        _, d_pixels = loss(count, batch.pixels, targets)
        model.renderer.backward(batch, d_pixels)
        adam.step(model.parameters(level), 1.0)
        model.published()


def snapshot(model: RadianceModel) -> dict[str, np.ndarray]:
    return {name: array for p in model.parameters() for name, array in p.state().items()}


@pytest.mark.parametrize("level", [1, 3])
def test_training_at_a_level_moves_nothing_beyond_it(scene, level):
    model = scene.models["sh"]
    fill(model.field, model.decoder, 0)
    model.renderer.forward(*rays(0))  # an evaluation at full rank just before
    for p in model.parameters():
        p.reset()
    twin = VMTwin(model.field.value.to_numpy(), model.field.basis_value.to_numpy(), ranks=RANKS, resolution=RESOLUTION)
    train(model, level, 2, RAYS)
    factors = model.field.value.to_numpy().reshape(twin.arena.shape)
    basis = model.field.basis_value.to_numpy().reshape(twin.basis.shape)
    on, basis_on = twin.active(level), twin.active_basis(level)
    np.testing.assert_array_equal(factors[~on], twin.arena[~on])
    np.testing.assert_array_equal(basis[~basis_on], twin.basis[~basis_on])
    assert (factors[on] != twin.arena[on]).mean() > 0.5
    assert (basis[basis_on] != twin.basis[basis_on]).mean() > 0.9


@pytest.mark.parametrize("scene", ["cpu"], indirect=True)
@pytest.mark.parametrize("decoder", ["mlp", "sh"])
def test_training_on_the_cpu_twice_gives_the_same_bits(scene, decoder):
    model = scene.models[decoder]
    runs = []
    for _ in range(2):
        fill(model.field, model.decoder, 0)
        for p in model.parameters():
            p.reset()
        train(model, RANKS, 3, 300)
        runs.append(snapshot(model))
    assert runs[0].keys() == runs[1].keys()
    for name, array in runs[0].items():
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(array, runs[1][name], err_msg=name)
