"""Camera-to-world matrices that are no rotations: what is taken out and said, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scenes
from scenes.files.poses import checked_pose
from scenes.files.values import Notes
from taichi_rf.core.errors import UserError
from tests.capture_files import poses, write_llff, write_nerfstudio
from tests.scene_files import warned
from tests.scenes.readers.test_captures import positions


def rewrite(root, data, change):
    for frame in data["frames"]:
        matrix = np.array(frame["transform_matrix"])
        matrix[:3] = change(matrix[:3])
        frame["transform_matrix"] = matrix.tolist()
    (root / "transforms.json").write_text(json.dumps(data))


@pytest.mark.parametrize("scale", [0.01, 0.5, 1.02, 250.0])
def test_a_uniform_scale_is_taken_out_of_the_rotation_and_said(scale, tmp_path):
    data = write_nerfstudio(tmp_path)
    expected = positions(scenes.load(str(tmp_path)))
    rewrite(tmp_path, data, lambda m: m * [scale, scale, scale, 1])
    assert f"its rotation is scaled by {scale:.4g}, which is taken out (16 more alike)" in warned(tmp_path)
    np.testing.assert_allclose(positions(scenes.load(str(tmp_path))), expected, atol=1e-5)


def test_rounding_is_no_scale(tmp_path):
    data = write_nerfstudio(tmp_path)
    rewrite(tmp_path, data, lambda m: m * [1.001, 1.001, 1.001, 1])
    assert "scaled by 1.001" not in warned(tmp_path)


def test_llff_may_be_scaled_too(tmp_path):
    values = write_llff(tmp_path)
    columns = [0, 1, 2, 5, 6, 7, 10, 11, 12]
    values[:, columns] *= 3
    np.save(tmp_path / "poses_bounds.npy", values)
    assert "image 0: its rotation is scaled by 3" in warned(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m * [1, 1, 1.5, 1], "columns off from unit length and right angles by 1.2"),
        (lambda m: m @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "right angles by 0.2"),
        (lambda m: m * [-1, 1, 1, 1], "left-handed"), (lambda m: m * [-2, 2, 2, 1], "left-handed"),
        (lambda m: m * [0, 0, 0, 1], "right angles by 1"), (lambda m: m * [1e5, 1e5, 1e5, 1], "not a rotation"),
        (lambda m: m + np.inf, "NaN or infinity"), (lambda m: m + [0, 0, 0, 1e7], "up to 1e+06"),
    ],
)  # fmt: skip
def test_what_is_no_scaled_rotation_is_refused_with_how_far_it_is_off(change, says):
    with pytest.raises(UserError, match="here") as refusal:
        checked_pose(change(poses()[0].astype(np.float64)), "here", Notes())
    assert says in str(refusal.value)
