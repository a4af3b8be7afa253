"""What decoding an image takes is known from its header, for every format, mode and way of storing."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import scenes
from scenes.files.images import read_header
from taichi_rf.cli.console import announce_memory
from tests.scene_files import refused, rewrite, write_scene

AREA = 64 * 48


def header(tmp_path, mode, suffix, **options):
    path = tmp_path / f"a{suffix}"
    Image.new(mode, (64, 48)).save(path, **options)
    return read_header(path, "here"), path.stat().st_size


@pytest.mark.parametrize(
    ("mode", "suffix", "options", "expected"),
    [
        ("RGB", ".png", {}, 4),
        ("RGBA", ".png", {}, 4),
        ("L", ".png", {}, 1),
        ("P", ".png", {}, 1),
        ("I;16", ".png", {}, 2),
        ("RGB", ".bmp", {}, 4),
        ("RGB", ".jpg", {}, 4),
        ("L", ".jpg", {}, 1),
        (
            "RGB",
            ".jpg",
            {"progressive": True, "subsampling": 2},
            4 + 3,
        ),  # 16 bits of luminance, a quarter of each colour
        ("RGB", ".jpg", {"progressive": True, "subsampling": 0}, 4 + 6),
        ("L", ".jpg", {"progressive": True}, 1 + 2),
        ("RGB", ".tif", {}, 4),
        ("L", ".tif", {}, 1),
    ],
)
def test_bytes_of_decoding_a_pixel(tmp_path, mode, suffix, options, expected):
    found, _ = header(tmp_path, mode, suffix, **options)
    assert (found.width, found.height) == (64, 48)
    assert found.decoding == expected * AREA


@pytest.mark.parametrize(("suffix", "options", "least"), [(".webp", {}, 16), (".tif", {"compression": "tiff_lzw"}, 8)])
def test_bytes_of_decoders_that_need_the_file(tmp_path, suffix, options, least):
    found, size = header(tmp_path, "RGBA", suffix, **options)
    assert found.decoding == least * AREA + size


@pytest.mark.parametrize(("rows", "columns"), [(1 << 20, 1 << 20), (1 << 24, 1 << 16)])
def test_a_tiff_whose_tiles_are_enormous_is_refused_from_its_header(tmp_path, rows, columns):
    data = write_scene(tmp_path)
    path = tmp_path / "train/a.tif"
    private = TiffImagePlugin.ImageFileDirectory_v2()
    private.tagtype = {65000: 4, 65001: 4}
    private[65000], private[65001] = columns, rows
    Image.new("RGB", (8, 6)).save(path, tiffinfo=private)
    content = path.read_bytes()
    for old, new in (((65000, 4), (322, 4)), ((65001, 4), (323, 4)), ((259, 3, 1, 0, 1), (259, 3, 1, 0, 5))):
        assert content.count(struct.pack(f"<{len(old)}H", *old)) == 1  # tag, type, two halves of a count, value
        content = content.replace(struct.pack(f"<{len(old)}H", *old), struct.pack(f"<{len(new)}H", *new))
    path.write_bytes(content)
    data["frames"][1]["file_path"] = "train/a.tif"
    rewrite(tmp_path, data)
    assert read_header(path, "here").decoding >= 4 << 40
    assert "4096.0 GiB of memory" in refused(tmp_path)


def test_a_photograph_whose_colours_come_in_scans_of_their_own_costs_its_coefficients(tmp_path):
    """libjpeg keeps the coefficients of all scans, progressive or not."""
    path = tmp_path / "a.jpg"
    Image.new("RGB", (64, 48)).save(path, subsampling=0)
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xda") + 4  # the number of components in the first scan
    assert content[at] == 3
    content[at] = 1
    path.write_bytes(content)
    assert read_header(path, "here").decoding == (4 + 6) * AREA


def test_photographs_with_another_within_as_telephones_make_them_are_read(tmp_path):
    data = write_scene(tmp_path)
    pixels = np.full((6, 8, 3), (200, 100, 50), np.uint8)
    photograph, other = Image.fromarray(pixels), Image.new("RGB", (4, 3))
    for index, frame in enumerate(data["frames"]):
        photograph.save(tmp_path / f"train/a_{index}.jpg", "MPO", save_all=True, append_images=[other])
        frame["file_path"] = f"train/a_{index}.jpg"
    (tmp_path / "train/r_0.png").rename(tmp_path / "train/r_0.txt")
    Image.new("RGB", (8, 6)).save(tmp_path / "train/a_2.jpg")  # not all of one colour
    rewrite(tmp_path, data)
    found = scenes.load(str(tmp_path)).train.images[0, ..., :3].astype(np.float32)
    np.testing.assert_allclose(found, pixels / 255, atol=0.03)
    with Image.open(tmp_path / "train/a_0.jpg") as image:
        assert image.format == "MPO"
    assert read_header(tmp_path / "train/a_0.jpg", "here").decoding == 4 * 48


def test_decoders_count_where_memory_is_short(tmp_path, monkeypatch):
    """Three images of 600 x 400, made smaller by 100, need 3 x 6 x 4 x 8 bytes, and their decoder alone a megabyte."""
    images = [Image.new("RGB", (600, 400), (value, 0, 0)) for value in (0, 100, 200)]
    write_scene(tmp_path, images)
    told = []
    assert len(scenes.load(str(tmp_path), downscale=100, announce=told.append).train) == 3
    assert told[0] > 600 * 400 * 4
    monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: told[0] - 1)
    monkeypatch.setattr("scenes.readers.decoding.available_memory", lambda: 10 * told[0])
    monkeypatch.setattr("scenes.readers.assembling.read_split", None)  # refused before anything is decoded
    assert "GiB are free" in refused(tmp_path, downscale=100)


def test_what_reading_takes_is_said_where_it_is_much(capsys):
    announce_memory(2**30)
    assert capsys.readouterr().out == ""
    announce_memory(int(3.6 * 2**30))
    assert capsys.readouterr().out == "reading the images takes 3.6 GiB of memory\n"
