"""What other programs write into ``transforms.json``: a matrix for the camera, sizes and paths of elsewhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import scenes
from taichi_rf.storage.world import World
from tests.capture_files import COUNT, CX, CY, FX, FY, HEIGHT, WIDTH, write_colmap, write_nerfstudio
from tests.scene_files import refused, warned

K = [[FX, 0, CX], [0, FY, CY], [0, 0, 1]]
OWN = ("w", "h", "fl_x", "fl_y", "cx", "cy")


def rewrite(root, data, frame=None, **keys):
    """The file anew, with ``keys`` at its top and ``frame`` in each frame; None takes a key out."""
    data = (
        data
        | keys
        | {"frames": [entry | (frame(index) if frame else {}) for index, entry in enumerate(data["frames"])]}
    )
    kept = {key: value for key, value in data.items() if value is not None}
    (root / "transforms.json").write_text(json.dumps(kept))


@pytest.mark.parametrize("level", ["frame", "file"])
@pytest.mark.parametrize("value", [K, [*K[0], *K[1], *K[2]], [[FX, 1e-6, CX], K[1], [0, 0, 1.0]]])
def test_a_matrix_says_focal_lengths_and_principal_point(level, value, tmp_path):
    data = write_nerfstudio(tmp_path)
    none = dict.fromkeys(OWN)
    if level == "frame":
        rewrite(tmp_path, data, lambda index: {"K": value}, **none)
    else:
        rewrite(tmp_path, data, **none, K=value)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.cameras.intrinsics, [[FX, FY, CX, CY]] * (COUNT - 3), rtol=1e-6)


def test_each_frame_may_have_a_matrix_of_its_own(tmp_path):
    data = write_nerfstudio(tmp_path)
    rewrite(tmp_path, data, lambda index: {"K": [[FX + index, 0, CX], *K[1:]]}, **dict.fromkeys(OWN))
    found = scenes.load(str(tmp_path)).train.cameras.intrinsics[:, 0]
    np.testing.assert_allclose(found, [FX + index for index in range(COUNT) if index % 8], rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "3 rows of 3"), ("abc", "3 rows of 3"), ([[1, 2], [3]], "3 rows of 3"), ([[FX, 5, CX], *K[1:]], "skew"),
        ([[0, 0, CX], *K[1:]], "above 0"), ([*K[:2], [0, 0, 2]], "is expected, not"),
        ([[float("nan")] * 3] * 3, "finite"), ([[2 * FX, 0, CX], *K[1:]], "'K' and 'fl_x' contradict each other"),
    ],
)  # fmt: skip
def test_a_matrix_that_no_camera_has_is_refused(value, says, tmp_path):
    rewrite(tmp_path, write_nerfstudio(tmp_path), K=value)
    assert says in refused(tmp_path)


def test_a_file_for_each_split_is_made_to_fit_where_a_person_says_the_format(tmp_path):
    data = write_nerfstudio(tmp_path)
    names = [frame["file_path"] for frame in data["frames"]]
    rewrite(tmp_path, data, train_filenames=names[:12], test_filenames=names[12:])
    whole = scenes.load(str(tmp_path))
    (tmp_path / "transforms.json").unlink()
    for split, frames in (("train", data["frames"][:12]), ("val", data["frames"][12:])):
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(data | {"frames": frames}))
    scene = scenes.load(str(tmp_path), world=World(format="nerfstudio"))
    assert (scene.train.names, scene.test.names) == (whole.train.names, whole.test.names)
    np.testing.assert_allclose(scene.train.cameras.poses, whole.train.cameras.poses, atol=1e-6)
    assert scenes.load(str(tmp_path)).format.startswith("NeRF-synthetic")
    (tmp_path / "transforms_val.json").unlink()
    assert len(scenes.load(str(tmp_path), world=World(format="nerfstudio")).test) == 0
    (tmp_path / "transforms_train.json").unlink()
    assert "has neither" in refused(tmp_path, world=World(format="nerfstudio"))


def test_sizes_of_larger_images_scale_the_camera_and_that_is_said(tmp_path):
    data = write_nerfstudio(tmp_path)
    larger = {key: 4 * data[key] for key in OWN}
    rewrite(tmp_path, data, **larger)
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.cameras.intrinsics, [[FX, FY, CX, CY]] * (COUNT - 3), rtol=1e-6)
    assert f"{WIDTH} x {HEIGHT} pixels, and 'w' and 'h' say {4 * WIDTH} x {4 * HEIGHT}" in warned(tmp_path)
    rewrite(tmp_path, data, w=HEIGHT, h=WIDTH)
    assert "width and height are swapped" in refused(tmp_path)


PATHS = {
    "no suffix": lambda path: path.removesuffix(".png"),
    "dot": lambda path: f"./{path}",
    "backslashes": lambda path: f".\\{path}".replace("/", "\\"),
    "another machine": lambda path: f"/home/somebody/captures/table/{path}",
    "another Windows machine": lambda path: f"C:\\Users\\somebody\\table\\{path}".replace("/", "\\"),
    "another suffix": lambda path: path.replace(".png", ".JPG"),
    "capital letters": lambda path: path.upper(),
}


@pytest.mark.parametrize("how", PATHS)
def test_images_are_found_by_what_other_programs_call_them(how, tmp_path):
    data = write_nerfstudio(tmp_path)
    usual = scenes.load(str(tmp_path))
    rewrite(tmp_path, data, lambda index: {"file_path": PATHS[how](data["frames"][index]["file_path"])})
    scene = scenes.load(str(tmp_path))
    assert scene.train.names == usual.train.names
    new = set(scene.warnings) - set(usual.warnings)
    assert len(new) == (1 if "another" in how else 0)
    assert all(f"({COUNT - 1} more alike)" in text for text in new)


def test_what_was_done_to_the_world_before_is_said_or_of_no_matter(tmp_path):
    data = write_nerfstudio(tmp_path)
    usual = scenes.load(str(tmp_path))
    rewrite(
        tmp_path, data, applied_transform=[[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]], aabb_scale=16, scale=0.33,
        offset=[0.5, 0.5, 0.5],
    )  # fmt: skip
    scene = scenes.load(str(tmp_path))
    np.testing.assert_array_equal(scene.train.cameras.poses, usual.train.cameras.poses)
    new = "\n".join(set(scene.warnings) - set(usual.warnings))
    assert "'scale'" in new
    assert "'offset'" in new


def test_pixels_that_the_lens_has_no_ray_for_are_counted(tmp_path):
    write_nerfstudio(tmp_path, camera_model="OPENCV", k1=-0.9)
    text = next(text for text in scenes.load(str(tmp_path)).warnings if "have no ray" in text)
    assert f"at the rim of {COUNT - 3} of {COUNT - 3} images" in text
    # x (1 - 0.9 x^2) turns round at x = 0.6086, where it is 0.4057; farther out in the image are these.
    x, y = np.meshgrid((np.arange(WIDTH) + 0.5 - CX) / FX, (np.arange(HEIGHT) + 0.5 - CY) / FY)
    count = int((np.hypot(x, y) > 0.4057).sum())
    assert f"({count:,}) have no ray" in text
    assert 0 < count < WIDTH * HEIGHT / 2


def test_numbers_as_windows_programs_write_them(tmp_path):
    write_colmap(tmp_path, text=True)
    usual = scenes.load(str(tmp_path))
    folder = tmp_path / "sparse/0"
    cameras = (folder / "cameras.txt").read_text().replace(f"{FX}", f"{FX / 10:.5f}e+001")
    (folder / "cameras.txt").write_text(cameras)
    points = (folder / "points3D.txt").read_text().splitlines()
    points[3:6] = [f"{index} -nan(ind) 1.#QNAN nan 10 20 30 nan" for index in range(4, 7)]
    (folder / "points3D.txt").write_text("\n".join(points))
    scene = scenes.load(str(tmp_path))
    np.testing.assert_allclose(scene.train.cameras.intrinsics, usual.train.cameras.intrinsics, rtol=1e-6)
    assert len(scene.points) == len(usual.points) - 3


def test_images_in_capital_letters_are_those_of_the_model(tmp_path):
    names = write_colmap(tmp_path)
    for name in names:
        (tmp_path / "images" / name).rename(tmp_path / "images" / name.upper())
    assert len(scenes.load(str(tmp_path)).train) == COUNT - 3
    shutil.move(tmp_path / "images", tmp_path / "Images")
    assert len(scenes.load(str(tmp_path)).train) == COUNT - 3
