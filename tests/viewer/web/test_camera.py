"""A browser's camera moves the session's and follows it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from tests.viewer.web.browsers import Client
from viewer.web.client_events import Report

pytestmark = pytest.mark.usefixtures("lossless")


def test_browser_moves_the_camera(browsers):
    client = browsers.join(Client())
    browsers.settle()
    client.move(position=(0.0, -4.0, 0.0), look_at=(0.0, 1.0, 0.0), fov=0.9)
    browsers.turns()
    camera = browsers.session.orbit.camera(10, 10)
    np.testing.assert_allclose(camera.position, (0.0, -4.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(-camera.pose[:, 2], (0.0, 1.0, 0.0), atol=1e-5)
    assert browsers.session.orbit.field_of_view == pytest.approx(0.9)


def test_browser_that_joins_or_changes_its_size_moves_nothing(browsers):
    before = browsers.session.orbit.state()
    client = browsers.join(Client())
    browsers.turns(2)
    client.move(image_width=100)
    browsers.settle()
    assert browsers.session.orbit.state() == before
    assert client.pictures[-1].shape == (32, 100, 3)


def test_browsers_camera_follows_and_its_echo_moves_nothing(browsers):
    client = browsers.join(Client())
    browsers.settle()
    client.moves = 0
    client.move(position=(0.0, -4.0, 0.0))
    browsers.settle()
    dragged = client.camera.position
    assert client.moves == 0  # it is where it says
    browsers.session.reset_view()
    first = browsers.session.orbit.state()
    for _ in range(50):
        browsers.turns(not client.moves)
    there = client.camera.position
    np.testing.assert_allclose(there, browsers.session.orbit.camera(2, 2).position)
    client.move(position=dragged)  # sent before it was told
    browsers.turns()
    assert browsers.session.orbit.state() == first
    client.move(position=tuple(np.array(there) * (1 + 1e-7)))  # its echo
    browsers.turns()
    assert browsers.session.orbit.state() == first
    assert client.moves == 1
    client.move(position=(2.0, 2.0, 2.0))  # and a hand again
    browsers.turns()
    assert browsers.session.orbit.state() != first


def test_drag_ends_the_demonstration(browsers):
    client = browsers.join(Client())
    browsers.settle()
    browsers.session.toggle_demo()
    browsers.turns(10)
    client.move(position=(2.0, 2.0, 2.0))
    browsers.turns()
    assert not browsers.session.demo
    np.testing.assert_allclose(browsers.session.orbit.camera(2, 2).position, (2.0, 2.0, 2.0), atol=1e-5)


GOOD = {
    "position": (1, 2, 3), "look_at": (0, 0, 0), "up_direction": (0, 0, 1), "fov": 1.0, "image_width": 5,
    "image_height": 4,
}  # fmt: skip


def test_report_of_a_camera_that_makes_sense():
    assert Report.of(SimpleNamespace(**GOOD)) == Report((1, 2, 3), (0, 0, 0), (0, 0, 1), 1.0, 5, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": (1, 2)},
        {"position": (math.nan, 0, 0)},
        {"position": (1, math.inf, 0)},
        {"position": (1e7, 0, 0)},
        {"position": "far away"},
        {"position": None},
        {"position": [[1, 2, 3]]},
        {"position": (0, 0, 0)},
        {"look_at": (1, 2, 3)},
        {"up_direction": (0, 0, 0)},
        {"up_direction": {"x": 1}},
        {"fov": math.nan},
        {"fov": 0.0},
        {"fov": 4.0},
        {"fov": "wide"},
        {"image_width": 0},
        {"image_width": -5},
        {"image_height": 1_000_000},
        {"image_height": math.inf},
        {"image_height": math.nan},
        {"image_width": None},
    ],
    ids=str,
)
def test_camera_that_makes_no_sense_is_not_heard(wrong):
    assert Report.of(SimpleNamespace(**(GOOD | wrong))) is None
