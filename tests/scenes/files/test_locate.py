"""Files that are not where, or not called what, a JSON says: found, left out, or refused with the true reason."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

import scenes
from tests.scene_files import refused, rewrite, warned, write_scene

RED = (255, 0, 0)


def scene_with(folder, listed, stored):
    """A scene whose frame 1 lists ``listed``, its image, all red, being at ``stored``; returns its json."""
    data = write_scene(folder)
    (folder / "train/r_1.png").unlink()
    path = folder / stored
    path.parent.mkdir(parents=True, exist_ok=True)
    format_ = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".webp": "WEBP"}
    Image.new("RGB", (8, 6), RED).save(path, format_.get(path.suffix.lower(), "PNG"))
    data["frames"][1]["file_path"] = listed.format(folder=folder)
    rewrite(folder, data)
    return data


def assert_red(scene):
    np.testing.assert_allclose(scene.train.images[1, 3, 4], (1, 0, 0, 1), atol=0.01)


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        ("train\\a.png", "train/a.png"),
        (".\\train\\a", "train/a.png"),
        (".\\train/a", "train/a.jpg"),
        ("./train/./x/../a", "train/a.png"),
        ("train//a.png", "train/a.png"),
        ("./train/a", "train/a.Png"),
        ("train/a.png", "train/A.PNG"),
        ("train/a", "train/a.JPG"),
        ("Train/a.png", "train/a.png"),
        ("./train/a", "train/a.tif"),
        ("./train/a", "train/a.tiff"),
        ("./train/a", "train/a.bmp"),
        ("./train/a", "train/a.webp"),
        ("train/v1.5", "train/v1.5.png"),
        ("{folder}/train/a.png", "train/a.png"),
        ("a", "a.png"),
        ("train/a#1 ü%20", "train/a#1 ü%20.png"),
        ("train/a\\b.png", "train/a\\b.png"),
        ("train/x:y.png", "train/x:y.png"),
        (unicodedata.normalize("NFD", "train/é.png"), unicodedata.normalize("NFC", "train/é.png")),
        ("train/a.png", "train/a.png.png"),
    ],
)
def test_an_image_is_found_without_a_word(tmp_path, listed, stored):
    scene_with(tmp_path, listed, stored)
    scene = scenes.load(str(tmp_path))
    assert scene.warnings == ()
    assert_red(scene)


@pytest.mark.parametrize(
    ("listed", "stored"),
    [
        ("train/a.png", "train/a.jpg"),
        ("train/a.JPG", "train/a.png"),
        ("train/a.exr", "train/a.png"),
        ("train/a.png.png", "train/a.png"),
        ("train/a", "train/a.png.png"),
        ("train/a.jpg", "train/a.png.png"),
        ("train/a.jpg.png", "train/a.jpg"),
        ("train/a.png", "train/a"),
        ("train\\a.png", "train/a.jpg"),
        ("/home/someone/scene/train/a.png", "train/a.png"),
        ("C:\\Users\\someone\\train\\a.png", "train/a.png"),
        ("\\\\server\\share\\train\\a", "train/a.jpg"),
        ("/elsewhere/a.png", "a.png"),
    ],
)
def test_an_image_is_found_elsewhere_and_that_is_said(tmp_path, listed, stored):
    scene_with(tmp_path, listed, stored)
    scene = scenes.load(str(tmp_path))
    assert f"'{os.path.basename(stored)}'" in scene.warnings[0] or f"'{stored}'" in scene.warnings[0]
    assert "is taken for it" in scene.warnings[0]
    assert_red(scene)


@pytest.mark.parametrize("listed", ["../train/a.png", "..\\a.png", "/etc/passwd", "C:\\a\\b.png", "train/../../a.png"])
def test_a_path_that_leads_out_and_has_no_namesake_inside_is_refused(tmp_path, listed):
    scene_with(tmp_path / "scene", listed, "z.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    message = refused(tmp_path / "scene")
    assert "frame 1, key 'file_path'" in message
    assert "leads out of the scene's folder" in message


def test_a_scene_opened_through_a_link_may_list_absolute_paths_of_either_name(tmp_path):
    data = write_scene(tmp_path / "scene")
    (tmp_path / "link").symlink_to("scene")
    data["frames"][0]["file_path"] = str(tmp_path / "link/train/r_0.png")
    data["frames"][1]["file_path"] = str(tmp_path / "scene/train/r_1.png")
    rewrite(tmp_path / "scene", data)
    assert scenes.load(str(tmp_path / "link")).warnings == ()


def test_two_files_that_differ_in_capital_letters_alone_are_not_mistaken(tmp_path):
    scene_with(tmp_path, "train/A.png", "train/A.png")
    Image.new("RGB", (8, 6), (0, 0, 255)).save(tmp_path / "train/a.png")
    assert_red(scenes.load(str(tmp_path)))


def test_an_image_that_two_frames_list_from_two_places_is_warned_about(tmp_path):
    data = write_scene(tmp_path)
    data["frames"][2]["file_path"] = "train/R_1.PNG"
    rewrite(tmp_path, data)
    text = warned(tmp_path)
    assert "frame 2: 'train/r_1.png' is listed before" in text
    data["frames"][2]["transform_matrix"] = data["frames"][1]["transform_matrix"]
    rewrite(tmp_path, data)
    assert scenes.load(str(tmp_path)).warnings == ()


# Links


@pytest.mark.parametrize("what", ["folder", "image", "relative"])
def test_links_that_lead_out_are_followed_where_that_is_asked_for(tmp_path, what):
    write_scene(tmp_path / "scene")
    train = tmp_path / "scene/train"
    if what == "image":
        (train / "r_1.png").rename(tmp_path / "real.png")
        (train / "r_1.png").symlink_to(tmp_path / "real.png")
        link = "train/r_1.png"
    else:
        train.rename(tmp_path / "real")
        train.symlink_to("../real" if what == "relative" else tmp_path / "real")
        link = "train"
    message = refused(tmp_path / "scene")
    assert f"'{link}' is a link that leads out of the scene's folder" in message
    assert "--follow-links" in message
    scene = scenes.load(str(tmp_path / "scene"), follow_links=True)
    assert scene.train.names == ("train/r_0.png", "train/r_1.png", "train/r_2.png")
    np.testing.assert_allclose(scene.train.images[1, 1, 1], np.array([200, 100, 50, 255]) / 255, atol=1e-3)


def test_links_that_stay_inside_are_followed_in_any_case(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "train/r_1.png").rename(tmp_path / "kept.png")
    (tmp_path / "train/r_1.png").symlink_to("../kept.png")
    assert scenes.load(str(tmp_path)).warnings == ()


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_that_end_nowhere_are_refused_as_such(tmp_path, follow_links):
    write_scene(tmp_path)
    for target in ("none.png", "r_1.png"):
        (tmp_path / "train/r_1.png").unlink()
        (tmp_path / "train/r_1.png").symlink_to(target)
        assert "a link to something that is not there" in refused(tmp_path, follow_links=follow_links)


def test_paths_that_lead_out_are_refused_though_links_are_followed(tmp_path):
    scene_with(tmp_path / "scene", "../a.png", "z.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    assert "leads out of" in refused(tmp_path / "scene", follow_links=True)


# Absent images


@pytest.mark.parametrize("split", ["test", "val"])
def test_test_views_whose_images_are_absent_are_left_out(tmp_path, split):
    write_scene(tmp_path, splits=("train", split))
    (tmp_path / split / "r_1.png").unlink()
    text = warned(tmp_path)
    assert f"transforms_{split}.json', frame 1, key 'file_path': there is no image" in text
    assert "left out" in text
    assert scenes.load(str(tmp_path)).test.names == (f"{split}/r_0.png", f"{split}/r_2.png")


def test_without_any_test_image_the_validation_views_are_the_test_views(tmp_path):
    write_scene(tmp_path, splits=("train", "test", "val"))
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    (tmp_path / "test").rmdir()
    scene = scenes.load(str(tmp_path))
    assert scene.test.names == ("val/r_0.png", "val/r_1.png", "val/r_2.png")
    assert len(scene.warnings) == 1
    assert "(2 more alike)" in scene.warnings[0]


def test_without_any_test_image_there_are_no_test_views(tmp_path):
    write_scene(tmp_path, splits=("train", "test"))
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    scene = scenes.load(str(tmp_path))
    assert len(scene.test) == 0
    assert len(scene.warnings) == 1
    assert scenes.load(str(tmp_path), max_test_views=0).warnings == ()


def test_a_training_image_that_is_absent_is_refused(tmp_path):
    write_scene(tmp_path)
    (tmp_path / "train/r_2.png").unlink()
    message = refused(tmp_path)
    assert "frame 2, key 'file_path': there is no image" in message


# Files that are no image of ours


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"v/1\x01\x02\x00\x00\x00channels\x00", "an OpenEXR image"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "a HEIC"),
        (b"GIF89a\x08\x00\x06\x00", "a GIF"),
        (b"8BPS\x00\x01", "a Photoshop file"),
        (b"#?RADIANCE\n", "a Radiance HDR"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"", "empty"),
        (b"\x7fELF", "not a readable image"),
    ],
)
def test_what_a_file_is_instead_of_an_image_is_said(tmp_path, content, says):
    write_scene(tmp_path)
    (tmp_path / "train/r_1.png").write_bytes(content)
    message = refused(tmp_path)
    assert "frame 1" in message
    assert "r_1.png" in message
    assert says in message


def test_openexr_images_without_their_suffix_are_named_as_such(tmp_path):
    data = write_scene(tmp_path)
    (tmp_path / "train/a.exr").write_bytes(b"v/1\x01\x02\x00\x00\x00channels\x00")
    data["frames"][1]["file_path"] = "train/a"
    rewrite(tmp_path, data)
    assert "OpenEXR" in refused(tmp_path)


def test_what_pillow_has_to_say_of_odd_files_is_not_shown(tmp_path, capfd, recwarn):
    data = write_scene(tmp_path)
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert("P")
    image.save(tmp_path / "train/r_1.png", transparency=bytes(range(256)))
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    Image.new("RGB", (8, 6)).save(tmp_path / "train/a.jpg", exif=exif)
    data["frames"][2]["file_path"] = "train/a.jpg"
    rewrite(tmp_path, data)
    scenes.load(str(tmp_path))
    assert list(recwarn) == []
    assert capfd.readouterr() == ("", "")
