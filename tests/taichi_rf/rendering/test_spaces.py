"""Models that lie in a contraction or in device coordinates: pictures in every mode, and the file."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.kernels.spaces import BOX, CONTRACTED_BOX, Contraction, DeviceSpace, Space
from taichi_rf.rendering.decoders.spherical_harmonics import SphericalHarmonics
from taichi_rf.rendering.pictures import MODES
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.container import PREAMBLE
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.storage.sensitivity import random_rays
from tests.arches import per_arch

RESOLUTION = (33, 33, 33)
SHIFT = -8.0
SPACES: dict[str, tuple[Space, np.ndarray]] = {
    "contract": (Contraction(), CONTRACTED_BOX),
    "ndc": (DeviceSpace((1.5, 2.0)), np.array([[-1.5, -1.5, -1], [1.5, 1.5, 1]], np.float32)),
}


class Scene:
    """A wall: z of the field's box below a given height is solid, in each space."""

    def __init__(self) -> None:
        self.field = VMField(ranks=1, resolution=RESOLUTION, density_shift=SHIFT, rows=2000)
        self.decoder = SphericalHarmonics(rows=2000)

    def wall(self, name: str, solid: np.ndarray) -> RadianceModel:
        """Nodes along z where ``solid`` (33,) is true are dense."""
        factors = self.field.factors()
        for planes, lines in factors:
            for part in (*planes, *lines):
                part[...] = 0
        planes, lines = factors[0]
        planes[0][...], lines[0][..., 0] = 1, np.where(solid, 60.0, 0.0)
        self.field.set_factors(factors, RESOLUTION)
        self.field.published()
        space, box = SPACES[name]
        model = RadianceModel(self.field, self.decoder, box=box, near=0.1, far=900, space=space, background=(1, 0, 0))
        model.refresh_occupancy(1e-3, level=1, grow=False)
        return model


@per_arch
def scene() -> Scene:
    return Scene()


def camera(eye, target, up=(0, 1, 0), size: int = 24) -> Camera:
    return Camera(look_at(eye, target, up), size, size, size / 2, size / 2, size, size)


# Node 8 of 33 in +-2 is at -1; the nodes at or below 4 lie at -1.5 or less, which is 2 or more below the origin.
BELOW = np.arange(33) <= 4


def test_a_floor_far_below_is_seen_at_its_distance_in_a_contraction(scene):
    model = scene.wall("contract", BELOW)
    down = camera((0.2, 0.1, 0.3), (0.2, 0.1, -3))
    origins, directions = down.rays()
    distances, opacity = model.renderer.depths(origins, directions, model.settings())
    middle = len(origins) // 2 + 12
    assert opacity[middle] > 0.99
    expected = (origins[middle, 2] + 2.0) / -directions[middle, 2]
    assert distances[middle] == pytest.approx(expected, rel=0.15)  # of a voxel
    up = camera((0.2, 0.1, 0.3), (0.2, 0.1, 3))
    assert model.render(up, mode="opacity").max() < 1e-3


def test_a_wall_far_ahead_is_seen_at_its_distance_in_device_coordinates(scene):
    solid = np.arange(33) >= 24  # z of 0.5 and more: 4 and more ahead of the origin
    model = scene.wall("ndc", solid)
    ahead = camera((0.1, 0, 0.2), (0.1, 0, -3))
    origins, directions = ahead.rays()
    distances, opacity = model.renderer.depths(origins, directions, model.settings())
    middle = len(origins) // 2 + 12
    assert opacity[middle] > 0.99
    assert distances[middle] == pytest.approx((origins[middle, 2] + 4.0) / -directions[middle, 2], rel=0.15)
    assert model.render(camera((0, 0, 0), (0, 0, 3)), mode="opacity").max() == 0, "nothing is behind the cameras"


@pytest.mark.parametrize("name", SPACES)
def test_every_mode_makes_a_picture(scene, name):
    solid = BELOW if name == "contract" else np.arange(33) >= 24
    model = scene.wall(name, solid)
    look = camera((0.2, 0.1, 0.3), (0.3, 0.1, -3))
    pictures = {mode: model.render(look, mode=mode) for mode in MODES}
    for mode, picture in pictures.items():
        assert picture.shape == (24, 24, 3)
        assert np.isfinite(picture).all(), mode
        assert picture.std() > 0 or mode in ("opacity", "samples", "colour"), mode
    normal = 2 * pictures["normals"][14, 14] - 1  # the floor, or the wall, looks back at the camera
    assert normal[2] > 0.8


@pytest.mark.parametrize("name", SPACES)
def test_the_file_tells_the_space_and_asks_for_a_program_that_knows_it(scene, name, tmp_path):
    model = scene.wall(name, BELOW if name == "contract" else np.arange(33) >= 24)
    save_model(model, tmp_path / "model.trf")
    start = (tmp_path / "model.trf").read_bytes()[: PREAMBLE.size]
    assert PREAMBLE.unpack(start)[1] == 2
    loaded = load_model(tmp_path / "model.trf")
    assert loaded.space.describe() == model.space.describe()
    look = camera((0.2, 0.1, 0.3), (0.3, 0.1, -3))
    np.testing.assert_allclose(loaded.render(look), model.render(look), atol=0.02)


def test_a_model_in_a_box_is_written_as_before(scene, tmp_path):
    model = RadianceModel(scene.field, scene.decoder, box=CONTRACTED_BOX, near=0.1, far=9)
    assert model.space is BOX
    save_model(model, tmp_path / "model.trf")
    assert PREAMBLE.unpack((tmp_path / "model.trf").read_bytes()[: PREAMBLE.size])[1] == 1


@pytest.mark.parametrize("name", SPACES)
def test_rays_that_measure_sensitivity_enter_the_space(scene, name):
    model = scene.wall(name, BELOW if name == "contract" else np.arange(33) >= 24)
    origins, directions = random_rays(model, 200, np.random.default_rng(0))
    samples = model.march(origins, directions, model.settings(), count_only=True)
    assert (np.diff(samples.offsets.to_numpy()[:201]) > 0).mean() > 0.2


def test_a_space_or_a_box_of_one_that_cannot_be_is_refused(scene):
    from taichi_rf.storage.model_file import model_chunks

    header, _ = model_chunks(scene.wall("contract", BELOW))
    from taichi_rf.storage.model_file import checked

    checked(header, 1)
    with pytest.raises(UserError, match="box"):  # a small one would have rays of millions of steps
        checked({**header, "box": [[0, 0, 0], [1e-5, 1e-5, 1e-5]]}, 1)
    for space in ({"kind": "sphere"}, 1):
        with pytest.raises(UserError, match="space"):
            checked({**header, "space": space}, 1)
