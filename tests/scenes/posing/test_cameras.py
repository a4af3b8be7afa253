"""Which photographs share a camera: by size and EXIF data."""

from __future__ import annotations

import math

import pytest
from PIL import Image, TiffImagePlugin

from scenes.posing.cameras import CameraGuess, guess_camera


def photograph(path, size=(60, 40), **tags):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = tags.get("make", "Maker"), tags.get("model", "One")
    more = exif.get_ifd(0x8769)
    if "mm" in tags:
        more[0x920A] = TiffImagePlugin.IFDRational(*tags["mm"])
    if "film" in tags:
        more[0xA405] = tags["film"]
    Image.new("RGB", size).save(path, exif=exif)
    return path


def test_a_focal_length_for_film_is_one_in_pixels_by_the_diagonal(tmp_path):
    found = guess_camera(photograph(tmp_path / "a.jpg", mm=(425, 100), film=26), 4000, 3000)
    assert found.focal == pytest.approx(26 / math.hypot(36, 24) * 5000, rel=1e-3)
    assert (found.make, found.model, found.millimetres) == ("Maker", "One", 4.25)
    assert found.start == found.focal


def test_without_exif_data_the_usual_focal_length_is_taken(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    assert guess_camera(tmp_path / "a.png", 60, 40) == CameraGuess(60, 40)
    assert CameraGuess(60, 40).start == 72


@pytest.mark.parametrize("other", [{"model": "Two"}, {"mm": (70, 1)}, {"film": 50}])
def test_what_differs_is_another_camera(tmp_path, other):
    tags = {"mm": (50, 1), "film": 75}
    one, same, another = (
        guess_camera(photograph(tmp_path / f"{index}.jpg", **more), 60, 40)
        for index, more in enumerate((tags, tags, {**tags, **other}))
    )
    assert one == same
    assert one != another


@pytest.mark.parametrize("tags", [{"mm": (1, 0)}, {"film": 0}, {"film": 60000}])
def test_nonsense_counts_as_nothing(tmp_path, tags):
    found = guess_camera(photograph(tmp_path / "a.jpg", **tags), 60, 40)
    assert found.focal == 0
    assert found.start == 72


def test_a_file_that_cannot_be_read_has_no_exif_data(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00\x08Exif\0\0")
    assert guess_camera(tmp_path / "a.jpg", 60, 40) == CameraGuess(60, 40)
