"""Frames in a folder: ranges, plans that fit or do not, whole files only, and names that stay in the folder."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.cli.filming.frames import PLAN, Form, FrameFolder, Shot, unit_of
from taichi_rf.cli.filming.recipe import differences, recipe_of
from taichi_rf.cli.filming.request import check, frame_range, level_range
from taichi_rf.cli.filming.views import _stem
from taichi_rf.cli.options import Render
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.motion.layers import STEPS, Seen

CAMERA = Camera(look_at((3, 0, 0), (0, 0, 0), (0, 0, 1)), 8.0, 8.0, 4.0, 3.0, 8, 6)
SHOTS = [Shot(f"{index:05}", CAMERA, index + 1) for index in range(3)]
SEEN = Seen(np.full((6, 8, 3), 0.5, np.float32), np.full((6, 8), 2.0, np.float32), None)


def folder(path: Path, *, resume: bool = False, overwrite: bool = False, **changes: object) -> FrameFolder:
    given: Any = {"model": "a", "shots": SHOTS, "form": Form(("colour", "depth")), "unit": 1e-3} | changes
    recipe = recipe_of(**given)
    return FrameFolder(
        path, recipe, functools.partial(differences, recipe=recipe), given["shots"], given["form"], given["unit"],
        resume=resume, overwrite=overwrite,
    )  # fmt: skip


def test_ranges_of_frames_and_levels():
    assert list(frame_range("2:4", 9)) == [2, 3]
    assert list(frame_range("7:", 9)) == [7, 8]
    assert list(frame_range(":2", 9)) == [0, 1]
    assert list(frame_range("5", 9)) == [5]
    assert list(frame_range(None, 2)) == [0, 1]
    for wrong in ("4:2", "3:3", "0:10", "9", "a", "1:2:3", "-1:2", ""):
        with pytest.raises(UserError, match="--frames"):
            frame_range(wrong, 9)
    assert level_range("4") == (None, 4)
    assert level_range("16:2") == (16, 2)
    for wrong in ("2:", ":4", "x", "-1", "1.5", "9" * 12, "2:0", "0:4"):
        with pytest.raises(UserError, match="--level"):
            level_range(wrong)


def test_frames_are_kept_for_the_same_journey_and_for_no_other(tmp_path):
    place = tmp_path / "frames"
    first = folder(place)
    first.save(SHOTS[0], SEEN)
    assert sorted(path.name for path in place.iterdir()) == ["00000-depth.png", "00000.png", PLAN]
    with pytest.raises(UserError, match="go on with --resume"):
        folder(place)
    assert [folder(place, resume=True).has(shot) for shot in SHOTS] == [True, False, False]
    with pytest.raises(UserError, match="frames of another model, --caption: choose another --output"):
        folder(place, resume=True, model="b", captioned=True)
    assert not folder(place, overwrite=True, model="b").has(SHOTS[0])


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "holiday.png").write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds other files"):
            folder(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        folder(tmp_path / "file")


def test_cameras_are_written_for_the_frames_that_are_there(tmp_path):
    made = folder(tmp_path / "frames")
    made.save(SHOTS[1], SEEN)
    made.finish()
    file = read_json(tmp_path / "frames" / "transforms.json")
    (entry,) = file["frames"]
    assert (entry["file_path"], entry["depth_file_path"]) == ("00001.png", "00001-depth.png")
    assert np.allclose(np.array(entry["transform_matrix"])[:3], CAMERA.pose)
    assert file["depth_unit_scale_factor"] == 1e-3
    for form in (Form(("depth",)), Form(mode="normals")):  # nothing to learn from
        made.finish()
        (made.path / "metrics.csv").touch()
        other = folder(made.path, form=form, overwrite=True)
        assert [path.name for path in other.path.iterdir()] == [PLAN]
        other.save(SHOTS[1], SEEN)
        (other.path / "transforms.json").touch()
        other.finish()
        assert not (other.path / "transforms.json").exists()
    made.remove()
    assert not (tmp_path / "frames").exists()


def test_a_step_of_depth_lets_the_farthest_have_one():
    for farthest in (1e-3, 0.37, 5.0, 6.1234, 1e6):
        unit = unit_of(farthest)
        assert farthest / unit < STEPS
        assert farthest / unit > 0.9 * STEPS
        assert unit == float(f"{unit:.3g}")


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\x", "a/b/r_3.png", "<img src=x>", "", "\x00", "é" * 90])
def test_whatever_a_view_is_called_its_files_stay_in_the_folder(name):
    stem = _stem(7, name)
    assert stem.startswith("00007")
    assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert len(stem) < 60


@pytest.mark.parametrize(
    ("output", "changes", "because"),
    [
        ("x.jpg", {}, "ends in .png or .exr"),
        ("x", {}, "frames go to a folder with"),
        ("x.mp4", {}, "for a video add --turntable"),
        ("x.png", {"turntable": True, "spiral": True}, "one at a time"),
        ("x.mp4", {"spiral": True, "transparent": True}, "--transparent goes with pictures and frames"),
        ("x.png", {"layers": ("colour", "depth")}, "a PNG holds one layer"),
        ("x.png", {"layers": ()}, "name each layer once"),
        ("x.png", {"layers": ("depth",), "transparent": True}, "--transparent is of colour"),
        ("x.png", {"layers": ("depth",), "mode": "normals"}, "goes with --mode colour"),
        ("x.png", {"exr": True}, "with --exr it ends in .exr"),
        ("x.png", {"level": "2:4"}, "a sweep goes with"),
        ("x.mp4", {"turntable": True, "level": "2:4", "sweep": True}, "leave --sweep"),
        ("x.png", {"frames": "1:2"}, "--frames goes with"),
        ("x.png", {"resume": True}, "--resume goes with"),
        ("x.mp4", {"turntable": True, "resume": True, "overwrite": True}, "give one of the two"),
        ("x.png", {"views": "test"}, "views are written to a folder"),
        ("x", {"views": "test", "width": 9}, "--width does not go with --views"),
        ("x", {"views": "test", "mode": "depth"}, "compares colours at one level"),
        ("x.png", {"scene": "lantern"}, "--scene goes with --views"),
        ("there.png", {}, "is there already"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_read(tmp_path, output, changes, because):
    (tmp_path / "there.png").write_bytes(b"x")
    with pytest.raises(UserError, match=because):
        check(Render(model="nothing.trf", output=tmp_path / output, **changes))
