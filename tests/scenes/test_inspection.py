"""What inspection says of a scene, and that its picture shows the cameras."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.inspection import facts, picture, suspicions
from tests.capture_files import write_colmap, write_nerfstudio
from tests.scene_files import write_scene


def test_facts_name_what_was_understood(tmp_path):
    write_colmap(tmp_path, model=2, parameters=(30.0, 12.0, 8.0, 0.05))
    scene = scenes.load(str(tmp_path))
    known = dict(facts(scene))
    assert known["format"] == "COLMAP"
    assert known["views"] == "14 to train with, 3 to judge by"
    assert known["images"] == "24 x 16 pixels, without alpha"
    assert known["lens"] == "distorted (perspective)"
    assert known["angle of view"] == "43.6 degrees across"  # 2 atan(12 / 30)
    assert known["points"].startswith("400, ")
    assert "pixels off" in known["reprojection"]


def test_facts_of_a_scene_without_points(tmp_path):
    write_scene(tmp_path)
    known = dict(facts(scenes.load(str(tmp_path))))
    assert known["format"] == "NeRF-synthetic (Blender)"
    assert known["lens"] == "none: pinholes"
    assert "points" not in known


def test_what_is_odd_is_said(tmp_path):
    write_nerfstudio(tmp_path)
    scene = scenes.load(str(tmp_path))
    assert suspicions(scene) == []
    poses = scene.train.cameras.poses.copy()
    poses[0, :, [0, 2]] *= -1  # turned round
    poses[2] = poses[1]
    cameras = dataclasses.replace(scene.train.cameras, poses=poses)
    odd = dataclasses.replace(scene, train=dataclasses.replace(scene.train, cameras=cameras), reprojection_error=7.0)
    away, same, far = suspicions(odd)
    assert "1 of 14 cameras stand outside the box and look away" in away
    assert "'images/IMG_002.png' and 'images/IMG_003.png' were taken from the same place" in same
    assert "7.0 pixels" in far


def turned(scene, signs):
    cameras = dataclasses.replace(scene.train.cameras, poses=scene.train.cameras.poses * np.float32(signs))
    return dataclasses.replace(scene, train=dataclasses.replace(scene.train, cameras=cameras))


def test_axes_of_another_convention_and_cameras_on_their_heads_are_said(tmp_path):
    write_nerfstudio(tmp_path)
    scene = scenes.load(str(tmp_path))
    said = "\n".join(suspicions(turned(scene, (1, -1, -1, 1))))
    assert "their axes are OpenCV's" in said
    assert "stand on their heads" in said
    assert "stand on their heads" in "\n".join(suspicions(turned(scene, (-1, -1, 1, 1))))


@pytest.mark.parametrize(("millimetres", "says"), [(45, False), (28, True), (0, False)])
def test_a_focal_length_that_disagrees_with_exif_is_said(millimetres, says, tmp_path):
    write_nerfstudio(tmp_path)  # 30 pixels in an image of 28.8 from corner to corner: 45 mm on film
    for path in (tmp_path / "images").iterdir():
        exif = Image.Exif()
        exif[0x8769] = {0xA405: millimetres}
        with Image.open(path) as image:
            image.save(path, exif=exif)
    said = "\n".join(suspicions(scenes.load(str(tmp_path))))
    assert ("45 mm, as on 35 mm film, and the photographs' EXIF says 28 mm" in said) == says


@pytest.mark.parametrize("writer", [write_colmap, write_nerfstudio])
def test_the_picture_shows_training_cameras_in_blue_and_test_cameras_in_orange(writer, tmp_path):
    writer(tmp_path)
    page = np.asarray(picture(scenes.load(str(tmp_path)))).astype(int)
    views = page[60:600]
    blue = (views[..., 2] - views[..., 0] > 80).sum()
    orange = (views[..., 0] - views[..., 2] > 80).sum()
    assert blue > 3 * orange > 0
    assert (page[620:-30] < 250).mean() > 0.2  # the photographs
