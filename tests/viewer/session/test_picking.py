"""A double click turns the camera about the surface under the mouse, wherever the picture stands in the window."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tests.viewer_fakes import BOX, Clock, FakeModel, FakeRender
from viewer.session.picking import centre_on
from viewer.session.session import Session

RADIUS = 0.6
SIZE = (640, 360)


class Sphere(FakeModel):
    """A ball around the origin, with depths as a renderer tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.box = BOX
        self.space = SimpleNamespace(depth_range=lambda box, eye: (0.1, 20.0))
        self.renderer = SimpleNamespace(depths=self.depths)

    def settings(self, level: int, *, near: float, far: float) -> None:
        assert level == 4
        assert near < far

    def depths(self, origins: np.ndarray, directions: np.ndarray, settings: None) -> tuple[np.ndarray, np.ndarray]:
        middle = -(origins * directions).sum(axis=1)
        inside = RADIUS**2 - (origins**2).sum(axis=1) + middle**2
        return middle - np.sqrt(np.maximum(inside, 0.0)), (inside > 0).astype(np.float32)


def session() -> Session:
    made = Session(Sphere(), render=FakeRender(Clock()))
    made.frame(*SIZE, 0.1)
    return made


@pytest.mark.parametrize("covered", [(0, 0, 0), (200, 40, 60)])
def test_the_camera_turns_about_the_surface_that_is_at_the_pixel(covered):
    looks = session()
    looks.viewpoint.covered = covered
    place = np.array([0.0, 0.0, RADIUS])  # the top, which is seen from the first view
    camera = looks.viewpoint.frame_camera(*SIZE)
    pixels, _ = camera.project(place[None])
    eye = camera.position
    centre_on(looks, *pixels[0])
    np.testing.assert_allclose(looks.orbit.target, place, atol=0.02)  # a pixel's width
    after = looks.camera(*SIZE)
    np.testing.assert_allclose(after.position, eye, atol=1e-4)
    assert looks.orbit.distance == pytest.approx(np.linalg.norm(eye - place), abs=0.02)


def test_side_by_side_the_right_half_answers_for_itself():
    looks = session()
    looks.set_compare("level", "beside")
    camera = looks.viewpoint.frame_camera(SIZE[0] // 2, SIZE[1])
    (x, y), _ = (values[0] for values in camera.project(np.array([[0.0, 0.0, RADIUS]])))
    centre_on(looks, x + SIZE[0] // 2, y)
    np.testing.assert_allclose(looks.orbit.target, (0.0, 0.0, RADIUS), atol=0.02)


def test_where_nothing_is_that_is_said_and_nothing_moves():
    looks = session()
    before = looks.orbit.state()
    centre_on(looks, 2.0, 2.0)
    assert looks.orbit.state() == before
    assert "nothing" in looks.message.text
    fake = Session(FakeModel(), render=FakeRender(Clock()))  # a model that has no depths
    centre_on(fake, 2.0, 2.0)
    assert "nothing" in fake.message.text
