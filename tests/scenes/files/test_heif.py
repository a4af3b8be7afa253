"""Photographs of telephones (HEIC): read through pillow-heif, upright once; without it, what to install is said."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from scenes.files.images import read_header, read_pixels
from taichi_rf.core.errors import UserError

pillow_heif = importlib.import_module("pillow_heif")


@pytest.fixture
def picture():
    """Four fields of plain colours, (40, 60, 3)."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30], pixels[:20, 30:], pixels[20:, :30] = (220, 30, 30), (30, 220, 30), (30, 30, 220)
    return pixels


@pytest.mark.parametrize("orientation", [1, 6, 8, 3])
def test_it_is_turned_once(tmp_path, picture, orientation):
    turns = {1: 0, 6: 1, 8: -1, 3: 2}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "IMG_1.HEIC"
    stored = np.ascontiguousarray(np.rot90(picture, turns))
    pillow_heif.from_pillow(Image.fromarray(stored)).save(path, exif=exif.tobytes(), quality=95)
    header = read_header(path, "x")
    assert header.size(header.orientation) == (60, 40)
    out = np.empty((40, 60, 4), np.float16)
    read_pixels(path, header, header.orientation, out, "x")
    assert np.abs(out[..., :3].astype(np.float32) - picture / 255).mean() < 0.03


def test_a_damaged_one_is_refused(tmp_path, picture):
    path = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.fromarray(picture)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    with pytest.raises(UserError, match="HEIC photograph that is damaged"):
        read_header(path, "x")
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="broken|damaged"):
        read_pixels(path, read_header(path, "x"), 1, np.empty((40, 60, 4), np.float16), "x")


def test_without_the_library_it_is_said_what_to_install(tmp_path, picture, monkeypatch):
    path = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.fromarray(picture)).save(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r"a HEIC photograph: pip install 'taichi-rf\[photos\]'"):
        read_header(path, "x")
