"""Pictures made of bands are the whole picture, whatever their heights; the heights follow from the time there is."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.motion.bands import BandedPicture, BandRenderer, quantise
from tests.viewer_fakes import RAYS_PER_SECOND, Clock, FakeModel, FakeRender

CAMERA = Camera(look_at((3, 0, 1), (0, 0, 0)), 50.0, 50.0, 32.0, 24.0, 64, 48)


@pytest.fixture
def render():
    clock, model = Clock(), FakeModel()
    fake = FakeRender(clock)

    def band(camera: Camera, level: int, mode: str) -> np.ndarray:
        return fake(model, camera, level=level, mode=mode)

    band.clock, band.fake = clock, fake
    return band


@pytest.mark.parametrize("budget", [0.0, 0.001, 0.01, 10.0])
def test_a_picture_of_bands_is_the_whole_picture_to_the_byte(render, budget):
    picture = BandedPicture(BandRenderer(render, render.clock), CAMERA, 4, "colour")
    while not picture.complete:
        before = picture.rows
        picture.advance(budget)
        assert picture.rows > before  # one row at least
        assert picture.progress == picture.rows / 48
    np.testing.assert_array_equal(picture.pixels, quantise(render(CAMERA, 4, "colour")))


def test_bands_take_the_time_there_is(render):
    bands = BandRenderer(render, render.clock)
    picture = BandedPicture(bands, CAMERA, 4, "colour")
    for _ in range(20):
        BandedPicture(bands, CAMERA, 4, "colour").finish()
    assert bands.rays_per_second == pytest.approx(RAYS_PER_SECOND, rel=0.01)
    before = render.clock.now
    picture.advance(0.01)
    assert render.clock.now - before == pytest.approx(0.01, rel=0.1)
    assert picture.seconds == pytest.approx(render.clock.now - before)


def test_a_level_changed_between_bands_is_that_of_the_rows_to_come(render):
    picture = BandedPicture(BandRenderer(render, render.clock), CAMERA, 1, "colour")
    picture.advance(0.0)
    picture.level = 4
    picture.finish()
    low, high = (quantise(render(CAMERA, level, "colour")) for level in (1, 4))
    np.testing.assert_array_equal(picture.pixels, np.concatenate([low[:1], high[1:]]))


def test_colours_become_the_nearest_byte_and_what_is_no_number_black():
    colours = np.array([-1.0, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0, np.nan], np.float32)
    assert quantise(colours).tolist() == [0, 0, 0, 1, 255, 255, 0]
