"""The lens of a scene's JSON: every way of writing it, and what contradicts itself."""

from __future__ import annotations

import pytest

from scenes.files.lens_keys import read_lens
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.lenses import Lens

OPENCV = {"k1": 0.1, "k2": -0.02, "p1": 1e-3, "p2": -2e-3}
BROWN = Lens(radial=(0.1, -0.02, 0, 0, 0, 0), tangential=(1e-3, -2e-3))


@pytest.mark.parametrize(
    ("top", "frame", "lens"),
    [
        ({}, {}, None),
        ({"camera_model": "PINHOLE"}, {}, None),
        ({"camera_model": "OPENCV", "k1": 0, "p1": 0.0}, {}, None),
        (OPENCV, {}, BROWN),
        ({}, OPENCV, BROWN),
        ({"k1": 7.0, **OPENCV}, {}, BROWN),
        ({**OPENCV, "k1": 7.0}, {"k1": 0.1}, BROWN),
        ({**OPENCV, "camera_model": "opencv "}, {}, BROWN),
        ({"distortion_params": [0.1, -0.02, 1e-3, -2e-3]}, {}, BROWN),
        ({"distortion": {"k1": 0.1, "k2": -0.02, "p1": 1e-3, "p2": -2e-3}}, {}, BROWN),
        ({**OPENCV, "k3": 0.5}, {}, Lens(radial=(0.1, -0.02, 0.5, 0, 0, 0), tangential=(1e-3, -2e-3))),
        ({"camera_model": "SIMPLE_RADIAL", "k1": 0.1}, {}, Lens(radial=(0.1, 0, 0, 0, 0, 0))),
        ({"camera_model": "FULL_OPENCV", "k1": 0.1, "k4": 0.2}, {}, Lens(radial=(0.1, 0, 0, 0.2, 0, 0))),
        ({"camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k4": 0.2}, {}, Lens("fisheye", (0.1, 0, 0, 0.2, 0, 0))),
        ({"is_fisheye": True, "k1": 0.1, "k2": 0.2}, {}, Lens("fisheye", (0.1, 0.2, 0, 0, 0, 0))),
        ({"is_fisheye": True, "camera_model": "OPENCV", "k1": 0.1}, {}, Lens("fisheye", (0.1, 0, 0, 0, 0, 0))),
        ({"camera_model": "OPENCV_FISHEYE"}, {}, Lens("fisheye")),
        ({"is_fisheye": True}, {"is_fisheye": False}, None),
    ],
)
def test_a_lens_is_read_however_it_is_written(top, frame, lens):
    assert read_lens(top, frame, "here") == lens


@pytest.mark.parametrize(
    ("top", "says"),
    [
        ({"k4": 0.1}, "'k4': it is the last number of a fisheye and a divisor"),
        ({"camera_model": "SIMPLE_RADIAL", "k2": 0.1}, "'k2': a camera of model SIMPLE_RADIAL has no such number"),
        ({"camera_model": "PINHOLE", "k1": 0.1}, "it has none"),
        ({"camera_model": "FULL_OPENCV", "is_fisheye": True}, "is no fisheye"),
        ({"is_fisheye": True, "p1": 0.1}, "'p1' and 'p2'"),
        ({"k1": 0.1, "distortion_params": [0.2]}, "contradict each other"),
        ({"distortion_params": [0.0] * 13}, "13 numbers"),
        ({"distortion": {"q1": 1}}, "'q1' is no number of a lens"),
        ({"distortion": "brown"}, "a list of numbers"),
        ({"k1": 1e9}, "cannot be the distortion"),
        ({"k1": float("nan")}, "a finite number"),
        ({"camera_model": "THIN_PRISM_FISHEYE"}, "is not supported"),
        ({"camera_model": 3}, "is not supported"),
        ({"is_equirectangular": True}, "perspective and fisheye"),
        ({"camera_type": "fisheye624"}, "is not supported"),
    ],
)
def test_a_lens_that_contradicts_itself_or_is_not_known_is_refused(top, says):
    with pytest.raises(UserError, match="here") as caught:
        read_lens(top, {}, "here")
    assert says in str(caught.value)
