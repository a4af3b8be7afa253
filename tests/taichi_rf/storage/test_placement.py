"""What a model's file says of how its world was moved, and the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from taichi_rf.storage.placement import KEY, UNMOVED, Placement
from tests.hostile import JUNK

TURN = np.array([[0.0, -1.0, 0.0], [0.6, 0.0, -0.8], [0.8, 0.0, 0.6]])  # a rotation by no axis
MOVED = Placement(TURN, np.array([1.0, -2.0, 0.5]), 0.3)


def test_the_way_back_is_the_inverse():
    points, directions = np.random.default_rng(0).standard_normal((2, 50, 3))
    np.testing.assert_allclose(MOVED.back(MOVED.points(points)), points, atol=1e-12)
    tips = MOVED.back(MOVED.points(points) + MOVED.scale * directions) - points
    np.testing.assert_allclose(MOVED.directions_back(directions), tips, atol=1e-12)
    assert UNMOVED.unmoved
    assert not MOVED.unmoved


def test_it_survives_a_file():
    read = Placement.of({KEY: json.loads(json.dumps(MOVED.to_json()))})
    assert read is not None
    np.testing.assert_array_equal(read.rotation, TURN)
    np.testing.assert_array_equal(read.shift, MOVED.shift)
    assert read.scale == MOVED.scale


@pytest.mark.parametrize("key", ["rotation", "shift", "scale"])
def test_what_can_be_none_is_none(key):
    whole = MOVED.to_json()
    for junk in JUNK:
        if not (key == "scale" and junk in (0.5,)):
            assert Placement.of({KEY: {**whole, key: junk}}) is None, junk
    del whole[key]
    assert Placement.of({KEY: whole}) is None


@pytest.mark.parametrize(
    "rotation", [np.eye(3) * 1.1, np.diag([1.0, 1.0, -1.0]), np.full((3, 3), np.nan), np.zeros((3, 3))]
)
def test_what_is_no_rotation_is_none(rotation):
    assert Placement.of({KEY: {**MOVED.to_json(), "rotation": rotation.tolist()}}) is None


def test_metadata_may_be_anything():
    assert Placement.of({}) is None
    for junk in JUNK:
        assert Placement.of({KEY: junk}) is None
