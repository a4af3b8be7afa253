"""Folders of photographs and videos open as scenes, once something has posed them; here a stand-in does."""

from __future__ import annotations

import importlib
import json
import os

import numpy as np
import pytest
from PIL import Image

import scenes
from scenes.posing import posed, process
from scenes.registry import format_of
from taichi_rf.core.errors import UserError
from tests.capture_files import write_colmap
from tests.unposed import HEIGHT, WIDTH, Placing, write_photographs

TURNED = 6


@pytest.fixture
def placing(monkeypatch, tmp_path):
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "cache"))
    found = Placing()
    monkeypatch.setattr(process, "run", found)
    return found


def test_a_folder_of_photographs_is_posed_once_and_then_opens_from_the_cache(tmp_path, placing):
    write_photographs(tmp_path / "photos")
    stages, steps = [], []
    scene = scenes.load(
        str(tmp_path / "photos"), stage=stages.append, progress=lambda *step: steps.append(step), max_test_views=None
    )
    assert (len(scene.train), len(scene.test)) == (8, 2)
    assert scene.name == "photos"
    assert scene.source == str(tmp_path / "photos")
    assert scene.format == "photographs, posed by COLMAP"
    assert not [text for text in scene.warnings if "placed" in text]
    assert stages == ["looking for features", "comparing photographs", "placing photographs", scenes.LOADING]
    assert steps[-1] == (10, 10)
    again = scenes.load(str(tmp_path / "photos"))
    assert len(placing.jobs) == 1
    np.testing.assert_array_equal(again.train.cameras.poses, scene.train.cameras.poses)


def test_changed_photographs_are_posed_anew(tmp_path, placing):
    write_photographs(tmp_path / "photos")
    scenes.load(str(tmp_path / "photos"))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photos/IMG_003.png")
    scenes.load(str(tmp_path / "photos"))
    (tmp_path / "photos/IMG_004.png").unlink()
    scenes.load(str(tmp_path / "photos"))
    assert [len(job.photographs) for job in placing.jobs] == [10, 10, 9]


def test_a_damaged_model_in_the_cache_is_made_again(tmp_path, placing):
    write_photographs(tmp_path / "photos")
    scenes.load(str(tmp_path / "photos"))
    (model,) = (tmp_path / "photos").glob("*/*/sparse/0/images.bin")
    model.write_bytes(model.read_bytes()[:100])
    assert len(scenes.load(str(tmp_path / "photos")).train) == 8
    assert len(placing.jobs) == 2


def test_photographs_that_could_not_be_placed_are_counted_and_named(tmp_path, placing):
    write_photographs(tmp_path / "photos")
    placing.places = 7
    scene = scenes.load(str(tmp_path / "photos"))
    assert len(scene.train) == 7
    (text,) = [text for text in scene.warnings if "placed" in text]
    assert text == (
        "7 of 10 photographs could be placed and are used; these 3 share too little with the others: IMG_007.png, "
        "IMG_008.png, IMG_009.png"
    )


def test_where_none_could_be_placed_it_is_said_what_photographs_need(tmp_path, placing):
    write_photographs(tmp_path / "photos")
    placing.places = 0
    with pytest.raises(UserError, match="none of the 10 photographs in .* could be placed: photographs need texture"):
        scenes.load(str(tmp_path / "photos"))
    assert sorted(os.listdir(tmp_path / "photos"))[0] == "IMG_000.png"
    assert not list((tmp_path / "photos").glob(".taichi*"))


def test_photographs_are_asked_for_last(tmp_path):
    write_photographs(tmp_path / "photos", 3)
    write_colmap(tmp_path / "posed")
    assert format_of(tmp_path / "photos") == "photos"
    assert format_of(tmp_path / "posed") == "colmap"
    assert format_of(tmp_path / "posed/images") == "photos"


@pytest.mark.parametrize("inside", ["images", "input"])
def test_photographs_may_lie_one_folder_deeper(tmp_path, placing, inside):
    write_photographs(tmp_path / "photos" / inside)
    assert scenes.load(str(tmp_path / "photos")).source == str(tmp_path / "photos")


def test_two_photographs_are_too_few(tmp_path):
    write_photographs(tmp_path / "photos", 2)
    assert not scenes.is_scene(tmp_path / "photos")
    with pytest.raises(UserError, match="3 photographs at least"):
        scenes.load(str(tmp_path / "photos"))
    with pytest.raises(UserError, match="too few photographs: at least 3"):
        posed.source_of(tmp_path / "photos")


def test_an_image_that_is_broken_is_named(tmp_path, placing):
    write_photographs(tmp_path / "photos", 4)
    (tmp_path / "photos/IMG_002.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="photograph 'IMG_002.png': .* is a GIF"):
        scenes.load(str(tmp_path / "photos"))
    assert not placing.jobs


def test_a_link_leads_out_of_the_folder_only_if_asked(tmp_path, placing):
    write_photographs(tmp_path / "photos", 4)
    (tmp_path / "photos/IMG_002.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "photos/IMG_002.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(UserError, match="add --follow-links"):
        scenes.load(str(tmp_path / "photos"))
    assert len(scenes.load(str(tmp_path / "photos"), follow_links=True).train) == 4


def test_photographs_of_one_size_and_without_exif_data_share_a_camera(tmp_path, placing):
    write_photographs(tmp_path / "photos", 4)
    scenes.load(str(tmp_path / "photos"))
    (job,) = placing.jobs
    assert [photograph.camera for photograph in job.photographs] == [0] * 4
    assert (job.cameras[0].width, job.cameras[0].height) == (WIDTH, HEIGHT)


def test_a_photograph_that_was_stored_turned_is_posed_and_read_upright(tmp_path, placing):
    write_photographs(tmp_path / "photos", 4)
    with Image.open(tmp_path / "photos/IMG_001.png") as image:
        upright = np.asarray(image)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))  # 6: to be turned a quarter clockwise
    stored.save(tmp_path / "photos/IMG_001.png", exif=exif)
    scene = scenes.load(str(tmp_path / "photos"))
    (job,) = placing.jobs
    assert len(job.cameras) == 1
    assert (scene.train.cameras[1].width, scene.train.cameras[1].height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(scene.train.images[1, ..., :3], upright / 255, atol=1e-3)


def test_photographs_that_were_held_upright_and_across_make_one_scene(tmp_path, placing):
    write_photographs(tmp_path / "photos", 6)
    for index in (1, 4):
        path = tmp_path / f"photos/IMG_{index:03}.png"
        exif = Image.Exif()
        exif[0x0112] = TURNED
        with Image.open(path) as image:
            image.copy().save(path, exif=exif)
    scene = scenes.load(str(tmp_path / "photos"))
    (job,) = placing.jobs
    assert [photograph.camera for photograph in job.photographs] == [0, 1, 0, 0, 1, 0]
    assert [(camera.width, camera.height) for camera in job.cameras] == [(WIDTH, HEIGHT), (HEIGHT, WIDTH)]
    assert len(scene.train) == 6


def test_photographs_of_a_telephone_open(tmp_path, placing):
    pillow_heif = importlib.import_module("pillow_heif")
    write_photographs(tmp_path / "png", 4, (64, 48))
    (tmp_path / "photos").mkdir()
    for path in sorted((tmp_path / "png").iterdir()):
        exif = Image.Exif()
        exif[0x010F], exif.get_ifd(0x8769)[0xA405] = "Telephones", 26
        with Image.open(path) as image:
            pillow_heif.from_pillow(image).save(tmp_path / f"photos/{path.stem}.HEIC", exif=exif.tobytes())
    scene = scenes.load(str(tmp_path / "photos"))
    assert scene.train.names == tuple(f"IMG_{index:03}.HEIC" for index in range(4))
    (camera,) = placing.jobs[0].cameras
    assert (camera.make, camera.focal) == ("Telephones", pytest.approx(26 * 80 / 43.27))


def test_what_has_poses_needs_no_pycolmap(tmp_path, monkeypatch):
    write_photographs(tmp_path / "photos", 3)
    (tmp_path / "photos/transforms.json").write_text(json.dumps({"frames": []}))
    monkeypatch.setattr(process, "check_installed", lambda: pytest.fail("asked for"))
    with pytest.raises(UserError, match="lists no image"):
        scenes.load(str(tmp_path / "photos"))
