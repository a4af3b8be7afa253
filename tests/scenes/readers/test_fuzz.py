"""Whatever is in a scene's files, a reader gives a scene or says what is wrong; nothing else comes out of it."""

from __future__ import annotations

import contextlib
import copy
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenes.files.exr import exr_header
from scenes.files.locate import Finder
from scenes.files.numbers import read_numbers
from scenes.files.values import Notes
from scenes.readers import llff, nsvf, rtmv
from scenes.readers.assembling import Options
from scenes.readers.transforms import read_json
from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from tests.capture_files import write_images, write_llff, write_nerfstudio

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["OPENCV", "OPENCV_FISHEYE", "../x.png", "C:\\a\\IMG_001.png", "images/IMG_001", 1e308, -1e-308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(
    "frames w h fl_x fl_y cx cy k1 k4 p1 K camera_model camera_angle_x scale offset aabb_scale applied_transform "
    "file_path transform_matrix depth_file_path depth_unit_scale_factor mask_path time distortion "
    "train_filenames".split()
)
NUMBERS = st.text(st.sampled_from("0123456789.-+eEnaif, #\n\t"), max_size=60)
QUICKLY = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@contextlib.contextmanager
def said() -> Iterator[None]:
    """All that may happen instead of a result."""
    with contextlib.suppress(UserError):
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(QUICKLY, max_examples=250)
@given(key=KEYS, value=JSON, inside=st.booleans(), drop=st.booleans())
def test_transforms_json(key, value, inside, drop, place):
    root = place / "transforms"
    if not root.exists():
        (place / "base.json").write_text(json.dumps(write_nerfstudio(root)))
    data = json.loads((place / "base.json").read_text())
    where = data["frames"][1] if inside else data
    if drop:
        where.pop(key, None)
    else:
        where[key] = value
    (root / "transforms.json").write_text(json.dumps(data))
    with said():
        read_json(Finder(root, Notes()), "transforms.json", 1, depth=True, absent=True, fitted=True)


@settings(QUICKLY, max_examples=150)
@given(
    key=st.sampled_from("width height cam2world intrinsics scene_min_3d_box scene_max_3d_box fx cx".split()),
    value=JSON, inside=st.booleans(),
)  # fmt: skip
def test_views_of_rtmv(key, value, inside, place):
    root = place / "rtmv"
    if not root.exists():
        (root / write_images(root)[0]).rename(root / "00000.png")
    camera = {
        "width": 24, "height": 16, "cam2world": np.eye(4).tolist(),
        "intrinsics": {"fx": 30, "fy": 30, "cx": 12, "cy": 8},
        "scene_min_3d_box": [-1, -1, -1], "scene_max_3d_box": [1, 1, 1],
    }  # fmt: skip
    (camera["intrinsics"] if inside else camera)[key] = value
    (root / "00000.json").write_text(json.dumps({"camera_data": camera}))
    with said():
        rtmv.read_views(Finder(root, Notes()), Options(), Notes())


@settings(QUICKLY, max_examples=150)
@given(text=NUMBERS)
def test_text_of_numbers(text, place):
    path = place / "numbers.txt"
    path.write_text(text)
    for read in (lambda: read_numbers(path, "it"), lambda: nsvf.read_camera(path, 24, 16), lambda: nsvf.read_box(path)):
        with said():
            read()


def spoilt(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with bytes replaced, and cut."""
    changes = st.lists(st.tuples(st.integers(0, len(data) - 1), st.binary(min_size=1, max_size=8)), max_size=3)

    def change(wanted: tuple[list[tuple[int, bytes]], int]) -> bytes:
        found = bytearray(data)
        for at, new in wanted[0]:
            found[at : at + len(new)] = new
        return bytes(found[: wanted[1]])

    return st.tuples(changes, st.integers(0, len(data)) | st.just(len(data))).map(change)


def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
    return name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value


WINDOW = struct.pack("<4i", 0, 0, 23, 15)
CHANNELS = b"".join(name + b"\0" + struct.pack("<iIii", 1, 0, 1, 1) for name in (b"A", b"B", b"G", b"R")) + b"\0"
EXR = (
    b"v/1\x01\x02\0\0\0" + attribute(b"channels", b"chlist", CHANNELS) + attribute(b"dataWindow", b"box2i", WINDOW)
    + attribute(b"displayWindow", b"box2i", WINDOW) + b"\0"
)  # fmt: skip


def test_a_header_of_openexr_says_size_and_channels(tmp_path):
    (tmp_path / "a.exr").write_bytes(EXR)
    header = exr_header(tmp_path / "a.exr", "it")
    assert (header.width, header.height, header.channels) == (24, 16, {"A": 2, "B": 2, "G": 2, "R": 2})


@settings(QUICKLY, max_examples=150)
@given(data=spoilt(EXR))
def test_headers_of_openexr(data, place):
    (place / "a.exr").write_bytes(data)
    with said():
        header = exr_header(place / "a.exr", "it")
        assert 0 < header.width * header.height <= 16384**2


@settings(QUICKLY, max_examples=100)
@given(data=st.data())
def test_poses_of_llff(data, place):
    root = place / "llff"
    if not root.exists():
        write_llff(root)
        (place / "base.npy").write_bytes((root / llff.MARKER).read_bytes())
    whole = (place / "base.npy").read_bytes()
    (root / llff.MARKER).write_bytes(data.draw(spoilt(whole)))
    with said():
        llff.read_views(Finder(root, Notes()), 1, Notes())


@settings(QUICKLY, max_examples=100)
@given(values=JSON | st.dictionaries(st.sampled_from("format box near far scale up".split()), JSON, max_size=4))
def test_what_was_said_of_a_world(values):
    with said():
        World.from_json(copy.deepcopy(values)).check()
