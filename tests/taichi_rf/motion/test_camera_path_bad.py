"""Camera paths that are not as they should be are refused, with the entry that is wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import look_at
from taichi_rf.motion.camera_path import (
    MAX_FRAMES,
    CameraPath,
    Frame,
)
from tests.taichi_rf.motion.poses import MATRIX, PLAIN, entry, read


def with_matrix(**changes: object) -> list:
    matrix: list = list(MATRIX)
    for index, value in changes.items():
        matrix[int(index[1:])] = value
    return matrix


@pytest.mark.parametrize(
    ("content", "because"),
    [
        ("", "not valid JSON"),
        ("not JSON", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"camera_path": ' + "[" * 50 + "]" * 50 + "}", "nested deeper than 32"),
        ([], "a camera path is an object"),
        (7, "a camera path is an object"),
        ({}, "render_width: a number from 1 to 4096 is expected, not nothing"),
        ({**PLAIN, "render_width": 0}, "render_width: a number from 1 to 4096"),
        ({**PLAIN, "render_height": 10**9}, "render_height: a number from 1 to 4096"),
        ({**PLAIN, "render_height": 10**400}, "render_height: .*a huge number"),
        ({**PLAIN, "render_height": 99.5}, "render_height: a whole number"),
        ({**PLAIN, "render_height": True}, "render_height: a number"),
        ({**PLAIN, "render_height": "x" * 10_000}, "render_height: .{,120}$"),
        ({**PLAIN, "fps": 0}, "fps: a number from 1 to 120"),
        ({**PLAIN, "fps": "30"}, "fps: a number"),
        ({**PLAIN, "seconds": -1}, "seconds: a number"),
        ({**PLAIN, "seconds": "4"}, "seconds: a number from 0 to 18000 is expected, not '4'"),
        (
            {**PLAIN, "seconds": 9000, "keyframes": [entry(MATRIX, matrix="matrix")] * 2},
            "seconds: 9000 seconds at 24 frames a second make 216,000 frames",
        ),
        ({**PLAIN, "default_fov": 180, "camera_path": [entry(MATRIX)]}, "default_fov: a number from 1 to 170"),
        (
            {
                **PLAIN,
                "default_transition_sec": 0,
                "keyframes": [entry(MATRIX, matrix="matrix")] * 2,
            },
            "default_transition_sec: a number from 0.001",
        ),
        ({**PLAIN, "is_cycle": 1}, "is_cycle: true or false"),
        ({**PLAIN, "camera_type": "fisheye"}, "only 'perspective' cameras can be rendered, not 'fisheye'"),
        ({**PLAIN, "camera_type": ["perspective"]}, "not a list of 1"),
        (PLAIN, "there is no frame in it"),
        ({**PLAIN, "camera_path": []}, "there is no frame in it"),
        ({**PLAIN, "keyframes": [entry(MATRIX, matrix="matrix")]}, "there is no frame in it"),
        ({**PLAIN, "camera_path": {"0": entry(MATRIX)}}, "camera_path: a list is expected, not an object of 1"),
        ({**PLAIN, "camera_path": [0] * (MAX_FRAMES + 1)}, f"18001 entries are too many: {MAX_FRAMES} is the most"),
        ({**PLAIN, "keyframes": [0] * 1001}, "keyframes: 1001 entries are too many: 1000 is the most"),
        ({**PLAIN, "keyframes": "many"}, "keyframes: a list is expected, not 'many'"),
        ({**PLAIN, "camera_path": [entry(MATRIX), 3]}, r"camera_path\[1\]: an object .* not 3"),
        ({**PLAIN, "camera_path": [entry(MATRIX), {"fov": 50}]}, r"camera_path\[1\].camera_to_world: .* not nothing"),
        ({**PLAIN, "camera_path": [{"camera_to_world": MATRIX}]}, r"camera_path\[0\].fov: .* not nothing"),
        ({**PLAIN, "camera_path": [entry(MATRIX, 0)]}, r"camera_path\[0\].fov: a number from 1 to 170 .* not 0"),
        ({**PLAIN, "camera_path": [entry(MATRIX, 180)]}, r"\.fov: a number from 1 to 170"),
        ({**PLAIN, "camera_path": [entry(MATRIX[:12])]}, "a matrix of 16 numbers, row by row, is expected, not a list"),
        ({**PLAIN, "camera_path": [entry([MATRIX] * 16)]}, "a matrix of 16 numbers"),
        ({**PLAIN, "camera_path": [entry([MATRIX] * 4)]}, "a matrix of 16 numbers"),
        ({**PLAIN, "camera_path": [entry([[1, 2], [3], [], []])]}, "a matrix of 16 numbers"),
        ({**PLAIN, "camera_path": [entry("eye")]}, "a matrix of 16 numbers, row by row, is expected, not 'eye'"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_3="4"))]}, "a matrix of 16 numbers"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_3=None))]}, "a matrix of 16 numbers"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_3=math.nan))]}, "not valid JSON: NaN is not a finite number"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_3=math.inf))]}, "not valid JSON: Infinity"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_3=1e300))]}, "a number is beyond 1e\\+06"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_3=10**500))]}, "a number is beyond 1e\\+06"),
        ({**PLAIN, "camera_path": [entry(np.array(MATRIX).reshape(4, 4).T.ravel().tolist())]}, "column by column"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_15=2))]}, "the last row of a pose is 0 0 0 1$"),
        ({**PLAIN, "camera_path": [entry([0] * 15 + [1])]}, "no camera's axes"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_0=0.5))]}, "no camera's axes"),
        ({**PLAIN, "camera_path": [entry(with_matrix(_4=-1))]}, "right-handed"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_entry_that_does_not(tmp_path, content, because):
    with pytest.raises(UserError, match=because) as refusal:
        read(tmp_path, content)
    assert str(refusal.value).startswith(str(tmp_path / "camera_path.json"))
    assert len(str(refusal.value)) < 400


def test_a_number_that_overflows_is_refused(tmp_path):
    with pytest.raises(UserError, match="1e999 is not a finite number"):
        read(tmp_path, json.dumps({**PLAIN, "fps": 777}).replace("777", "1e999"))
    with pytest.raises(UserError, match="not valid JSON"):
        read(tmp_path, json.dumps({**PLAIN, "fps": 777}).replace("777", "7" * 10_000))


def test_a_giant_file_is_refused_unread_and_one_that_is_missing_is_named(tmp_path):
    with open(tmp_path / "giant.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"giant\.json is 1099511627776 bytes long"):
        CameraPath.load(tmp_path / "giant.json")
    with pytest.raises(UserError, match=r"nothing\.json"):
        CameraPath.load(tmp_path / "nothing.json")
    with pytest.raises(UserError, match="is not a file"):
        CameraPath.load(tmp_path)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    path = CameraPath((Frame(look_at((3, 0, 0), (0, 0, 0)), 40),), 64, 48)
    with pytest.raises(UserError, match=r"no/such/path\.json"):
        path.save(tmp_path / "no/such/path.json")
