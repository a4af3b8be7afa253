"""What reading large photographs takes in memory, measured in processes of their own against what was announced."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.scene_files import rewrite, write_scene

ROOT = Path(__file__).parents[2]
SIZE = (4624, 3472)  # 16 megapixels
FACTOR, BASE = 1.3, 16 * 2**20  # of what is announced, and what modules and threads take that are not there before
CHILD = """
import json, sys
import scenes
from taichi_rf.core.errors import UserError

def resident(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) * 1024

folder, downscale = sys.argv[1], int(sys.argv[2])
announced, before = [], resident("VmRSS")
try:
    scenes.load(folder, downscale=downscale, announce=announced.append)
    refused = ""
except UserError as error:
    refused = str(error)
print(json.dumps([sum(announced), resident("VmHWM") - before, refused]))
"""
KINDS = {
    "photograph": ("RGB", ".jpg", {}),
    "progressive": ("RGB", ".jpg", {"progressive": True}),
    "webp": ("RGBA", ".webp", {"lossless": True, "method": 0}),
    "turned tiff": ("RGB", ".tif", {"compression": "tiff_adobe_deflate", "exif": 6}),
}


def write_photographs(folder, mode, suffix, options, size=SIZE, count=8):
    """A scene of ``count`` views with one picture of two colours."""
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        options = options | {"exif": exif}
    image = Image.new(mode, size, (100,) * len(mode))
    image.paste((7,) * len(mode), (0, 0, size[0], size[1] // 2))
    image.save(folder / f"photo{suffix}", **options)
    data = write_scene(folder, [Image.new("RGB", (8, 6))] * count)
    for frame in data["frames"]:
        frame["file_path"] = f"photo{suffix}"
    rewrite(folder, data)


def measured(folder, downscale):
    """Bytes announced, bytes grown by at the peak, and the complaint of a process that reads the scene."""
    command = [sys.executable, "-c", CHILD, str(folder), str(downscale)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    announced, grown, refused = json.loads(done.stdout)
    return announced, grown, refused


@pytest.mark.parametrize("kind", KINDS)
def test_photographs_of_16_megapixels_take_what_was_announced(tmp_path, kind):
    write_photographs(tmp_path, *KINDS[kind], count=8 if kind == "photograph" else 2)
    announced, grown, refused = measured(tmp_path, 8)
    assert not refused
    assert announced < 400 * 2**20
    assert grown < FACTOR * announced + BASE
    assert announced < FACTOR * grown + BASE


@pytest.mark.parametrize("downscale", [1, 7])
def test_sizes_that_do_not_divide_and_full_size_take_what_was_announced(tmp_path, downscale):
    write_photographs(tmp_path, "RGB", ".png", {"compress_level": 1}, count=2)
    announced, grown, refused = measured(tmp_path, downscale)
    assert not refused
    assert grown < FACTOR * announced + BASE
    assert announced < FACTOR * grown + BASE


def test_pictures_of_81_megapixels_are_read_one_at_a_time(tmp_path):
    write_photographs(tmp_path, "RGB", ".png", {"compress_level": 1}, (9000, 9000), count=2)
    announced, grown, refused = measured(tmp_path, 16)
    assert not refused
    assert announced < 450 * 2**20
    assert grown < FACTOR * announced + BASE
