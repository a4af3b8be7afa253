"""Cameras that move: a turn around the scene, a way through keyframes, and files of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.motion.camera_path import (
    FIELD_OF_VIEW,
    MAX_FRAMES,
    MAX_KEYFRAMES,
    CameraPath,
    Frame,
    frame_count,
    through,
    turntable,
)
from taichi_rf.motion.orbit import Orbit
from taichi_rf.motion.spline import spline
from tests.taichi_rf.motion.poses import BOX, MATRIX, PLAIN, entry, pose, read, rotation, some_frames

# The turn


def test_a_turn_goes_once_around_at_its_height_and_distance_and_ends_a_step_before_its_start():
    view = Orbit(target=np.array([0.3, -0.2, 0.1]), distance=3.0, azimuth=0.7, elevation=0.5, field_of_view=0.9)
    path = turntable(view, seconds=2, fps=12, width=64, height=48)
    assert (len(path.frames), path.seconds, path.loop) == (24, 2.0, True)
    for index, frame in enumerate(path.frames):
        a = 0.7 + 2 * math.pi * index / 24
        direction = [math.cos(0.5) * math.cos(a), math.cos(0.5) * math.sin(a), math.sin(0.5)]
        np.testing.assert_allclose(frame.pose[:, 3], view.target + 3.0 * np.array(direction), atol=1e-5)
        np.testing.assert_allclose(frame.pose[:, 2], direction, atol=1e-6)  # a camera looks along -z
        assert frame.pose[2, 1] > 0  # and stands upright
        assert math.radians(frame.fov) == pytest.approx(0.9)
    np.testing.assert_array_equal(path.cameras()[0].pose, view.camera(64, 48).pose)
    assert view.azimuth == 0.7


def test_a_turn_takes_six_seconds_unless_told_otherwise():
    path = turntable(Orbit.around(BOX), width=64, height=48)
    assert (len(path.frames), path.fps, path.seconds) == (180, 30, 6)


@pytest.mark.parametrize(
    ("seconds", "fps"), [(0.001, 30), (1e9, 30), (601, 30), (float("nan"), 30), (-1, 30), (6, float("inf"))]
)
def test_a_video_of_no_frames_or_of_too_many_is_refused(seconds, fps):
    with pytest.raises(UserError, match=f"1 to {MAX_FRAMES} frames"):
        frame_count(seconds, fps)


# The spline


def test_a_spline_passes_its_keyframes():
    keyframes = some_frames(6)
    poses = np.array([frame.pose for frame in keyframes])
    fovs = [frame.fov for frame in keyframes]
    for loop in (False, True):
        found, values = spline(poses, fovs, np.arange(6), loop=loop)
        np.testing.assert_allclose(found, poses, atol=1e-9)
        np.testing.assert_allclose(values, fovs, atol=1e-9)
    found, values = spline(poses, fovs, [6.0], loop=True)
    np.testing.assert_allclose(found[0], poses[0], atol=1e-9)


def test_positions_are_those_of_the_catmull_rom_matrix():
    points = np.random.default_rng(1).normal(size=(5, 3))
    poses = np.array([pose(np.eye(3), point) for point in points])
    basis = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    for t in (0.0, 0.25, 0.8):
        expected = np.array([1, t, t**2, t**3]) @ basis @ points[:4]
        np.testing.assert_allclose(spline(poses, np.zeros(5), [1 + t])[0][0, :, 3], expected, atol=1e-12)
    looped = np.array([1, 0.3, 0.09, 0.027]) @ basis @ points[[3, 4, 0, 1]]
    np.testing.assert_allclose(spline(poses, np.zeros(5), [4.3], loop=True)[0][0, :, 3], looped, atol=1e-12)


@pytest.mark.parametrize("step", [0.01, 1.0, 2.5, -2.9])
def test_a_steady_turn_about_one_axis_stays_steady(step):
    poses = np.array([pose(rotation((1, 2, -1), step * k), (k, 0, 2 * k)) for k in range(4)])
    times = np.linspace(0, 3, 31)
    found, _ = spline(poses, np.zeros(4), times)
    for t, at in zip(times, found):
        np.testing.assert_allclose(at, pose(rotation((1, 2, -1), step * t), (t, 0, 2 * t)), atol=1e-9)


def test_two_keyframes_are_enough_and_the_shorter_way_is_taken():
    poses = np.array([pose(rotation((0, 0, 1), math.radians(a))) for a in (170, 190 - 360)])
    found, values = spline(poses, [40, 50], [0, 0.5, 1])
    np.testing.assert_allclose(found[1], pose(rotation((0, 0, 1), math.pi)), atol=1e-9)
    np.testing.assert_allclose(values, [40, 45, 50])


@pytest.mark.parametrize("loop", [False, True])
def test_neither_speed_nor_turn_jumps_at_a_keyframe(loop):
    keyframes = some_frames(5, seed=3)
    poses = np.array([frame.pose for frame in keyframes])
    h = 1e-5
    for key in range(0 if loop else 1, 4):
        before, at, after = spline(poses, np.zeros(5), [(key - h) % 5, key, key + h], loop=loop)[0]
        assert np.abs(at - before).max() > 1e-7
        np.testing.assert_allclose((after - at) / h, (at - before) / h, atol=2e-3)


@pytest.mark.parametrize("loop", [False, True])
def test_keyframes_that_coincide_or_are_opposite_give_rotations_all_the_same(loop):
    half = rotation((0, 1, 0), math.pi)
    poses = np.array([pose(turn) for turn in (np.eye(3), np.eye(3), half, np.eye(3), half, half)])
    found, _ = spline(poses, np.zeros(6), np.linspace(0, 5, 101), loop=loop)
    turns = found[:, :, :3]
    np.testing.assert_allclose(turns.transpose(0, 2, 1) @ turns, np.broadcast_to(np.eye(3), (101, 3, 3)), atol=1e-9)


def test_a_way_through_keyframes_has_their_time_and_ends_where_they_end():
    keyframes = some_frames(4)
    open_ended = through(keyframes, fps=10, width=64, height=48)
    assert (len(open_ended.frames), open_ended.seconds) == (60, 6.0)  # two seconds each
    np.testing.assert_allclose(open_ended.frames[-1].pose, keyframes[-1].pose, atol=1e-9)
    loop = through(keyframes, seconds=4, fps=10, width=64, height=48, loop=True)
    assert len(loop.frames) == 40
    for key in range(4):
        np.testing.assert_allclose(loop.frames[10 * key].pose, keyframes[key].pose, atol=1e-9)
    wide = [Frame(keyframes[0].pose, fov) for fov in (20, 169.9, 169.9, 20)]
    assert max(frame.fov for frame in through(wide, width=64, height=48).frames) == FIELD_OF_VIEW[1]
    for count in (0, 1, MAX_KEYFRAMES + 1):
        with pytest.raises(UserError, match="2 to 1000 keyframes"):
            through([keyframes[0]] * count, width=64, height=48)


# Files


"""Row by row: at (4, 0, 1), looking along -x, with z upwards."""


def test_a_file_as_nerfstudio_writes_it_is_understood(tmp_path):
    """The entries of its viewer: matrices row by row, OpenGL axes, a vertical field of view in degrees."""
    keyframe = {**entry(MATRIX, 40, "matrix"), "override_transition_enabled": False, "override_transition_sec": None}
    path = read(
        tmp_path,
        {
            "default_fov": 75.0, "default_transition_sec": 2.0, "keyframes": [keyframe, keyframe],
            **PLAIN, "is_cycle": True, "smoothness_value": 0.0, "camera_path": [entry(MATRIX), entry(MATRIX, 80.5)],
            "crop": {"crop_center": [0, 0, 0]},
        },
    )  # fmt: skip
    assert (path.width, path.height, path.fps, path.loop) == (300, 200, 24, True)
    assert [frame.fov for frame in path.frames] == [50, 80.5]
    assert [frame.fov for frame in path.keyframes] == [40, 40]
    camera = path.cameras()[0]
    top = 4 * math.tan(math.radians(25))  # half the field of view, at the distance of the axis x = 0
    pixels, depth = camera.project([(0, 0, 1), (0, 0, 1 + top), (0, top, 1)])
    np.testing.assert_allclose(pixels, [(150, 100), (150, 0), (250, 100)], atol=1e-4)
    np.testing.assert_allclose(depth, 4, atol=1e-5)
    other = path.cameras(120, 60)[0]
    np.testing.assert_allclose(other.project([(0, 0, 1 + top)])[0], [(60, 0)], atol=1e-4)


def test_what_is_written_has_every_entry_that_nerfstudio_reads(tmp_path):
    through(some_frames(3), seconds=0.4, fps=10, width=300, height=200).save(tmp_path / "path.json")
    file = json.loads((tmp_path / "path.json").read_text())
    assert set(file) == {
        "default_fov", "default_transition_sec", "keyframes", "camera_type", "render_height", "render_width", "fps",
        "seconds", "is_cycle", "smoothness_value", "camera_path",
    }  # fmt: skip
    assert (file["render_width"], file["render_height"], file["fps"], file["seconds"]) == (300, 200, 10, 0.4)
    assert (len(file["camera_path"]), len(file["keyframes"]), file["default_transition_sec"]) == (4, 3, 0.2)
    first = file["camera_path"][0]
    assert (first["aspect"], first["fov"]) == (1.5, pytest.approx(30))
    matrix = np.array(first["camera_to_world"]).reshape(4, 4)
    np.testing.assert_allclose(matrix[:3], some_frames(3)[0].pose, atol=1e-9)
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
    assert np.array(file["keyframes"][0]["matrix"]).shape == (16,)


@pytest.mark.parametrize("count", [1, 7])
def test_a_path_that_was_saved_comes_back_to_the_bit(tmp_path, count):
    path = CameraPath(tuple(some_frames(count)), 640, 360, 23.976, True, tuple(some_frames(2, seed=1)))
    path.save(tmp_path / "path.json")
    back = CameraPath.load(tmp_path / "path.json")
    assert (back.width, back.height, back.fps, back.loop) == (640, 360, 23.976, True)
    for ours, theirs in ((path.frames, back.frames), (path.keyframes, back.keyframes)):
        assert [frame.fov for frame in theirs] == [frame.fov for frame in ours]
        np.testing.assert_array_equal([frame.pose for frame in theirs], [frame.pose for frame in ours])


def test_the_longest_path_can_be_read_again(tmp_path):
    frames = tuple(some_frames(9)) * (MAX_FRAMES // 9)
    CameraPath(frames, 640, 360, 30, keyframes=frames[:MAX_KEYFRAMES]).save(tmp_path / "path.json")
    assert len(CameraPath.load(tmp_path / "path.json").frames) == MAX_FRAMES


def test_a_turn_that_was_saved_gives_the_same_cameras(tmp_path):
    path = turntable(Orbit.around(BOX), seconds=1, fps=5, width=64, height=48)
    path.save(tmp_path / "path.json")
    for ours, theirs in zip(path.cameras(), CameraPath.load(tmp_path / "path.json").cameras()):
        np.testing.assert_array_equal(theirs.pose, ours.pose)
        assert (theirs.fx, theirs.fy, theirs.cx, theirs.cy) == (ours.fx, ours.fy, ours.cx, ours.cy)


def test_older_files_and_those_of_blender_are_read(tmp_path):
    column_by_column = str(np.array(MATRIX).reshape(4, 4).T.ravel().tolist())
    keyframes = [{"matrix": column_by_column, "fov": 50, "aspect": 1, "properties": '[["FOV",50]]'}]
    scaled = (np.array(MATRIX).reshape(4, 4) @ np.diag([2.5, 2.5, 2.5, 1])).ravel().tolist()
    path = read(tmp_path, {**PLAIN, "keyframes": keyframes, "camera_path": [entry(scaled)]})
    assert path.keyframes == ()
    np.testing.assert_allclose(path.frames[0].pose, np.array(MATRIX).reshape(4, 4)[:3], atol=1e-12)
    rows = np.array(MATRIX).reshape(4, 4).tolist()
    np.testing.assert_array_equal(read(tmp_path, {**PLAIN, "camera_path": [entry(rows)]}).frames[0].pose, rows[:3])


def test_a_rate_that_is_missing_follows_from_the_length(tmp_path):
    file = {name: value for name, value in PLAIN.items() if name != "fps"}
    assert read(tmp_path, {**file, "seconds": 0.5, "camera_path": [entry(MATRIX)] * 6}).fps == 12
    del file["seconds"]
    assert read(tmp_path, {**file, "camera_path": [entry(MATRIX)] * 6}).fps == 30


def test_keyframes_alone_are_filled_in(tmp_path):
    keyframes = [entry(MATRIX, fov, "matrix") for fov in (40, 60)]
    path = read(tmp_path, {**PLAIN, "seconds": 0.5, "keyframes": keyframes})
    assert len(path.frames) == 12
    np.testing.assert_allclose([path.frames[0].fov, path.frames[-1].fov], [40, 60])
    assert path.cameras()[0].width == 300


def test_null_and_no_time_are_nothing_and_a_mark_at_the_beginning_is_passed_over(tmp_path):
    frames = [entry(MATRIX)] * 6
    nothing = {"keyframes": None, "default_fov": None, "is_cycle": None, "crop": None, "camera_type": None}
    for seconds in (0, 0.0, None):
        path = read(tmp_path, {**PLAIN, **nothing, "seconds": seconds, "camera_path": frames})
        assert (len(path.frames), path.fps, path.keyframes, path.warnings) == (6, 24, (), ())
        assert read(tmp_path, {**PLAIN, "fps": None, "seconds": seconds, "camera_path": frames}).fps == 30
    marked = "\ufeff" + json.dumps({**PLAIN, "seconds": 0.25, "camera_path": frames})
    assert len(read(tmp_path, marked).frames) == 6
    keyframes = [entry(MATRIX, fov, "matrix") for fov in (40, 60)]
    assert read(tmp_path, {**PLAIN, "seconds": 0, "camera_path": None, "keyframes": keyframes}).seconds == 2


def test_a_field_of_view_that_is_not_given_is_the_usual_one(tmp_path):
    frames = [entry(MATRIX, None), {"camera_to_world": MATRIX}, entry(MATRIX, 30)]
    path = read(tmp_path, {**PLAIN, "default_fov": 75.0, "camera_path": frames})
    assert [frame.fov for frame in path.frames] == [75, 75, 30]


def test_the_time_to_a_keyframe_is_its_own_where_it_has_one(tmp_path):
    keyframes = [entry(MATRIX, fov, "matrix") for fov in (40, 50, 60)]
    keyframes[1] |= {"override_transition_enabled": True, "override_transition_sec": 3.0}
    keyframes[2] |= {"override_transition_enabled": False, "override_transition_sec": 99.0}
    file = {**PLAIN, "fps": 10, "seconds": None, "default_transition_sec": 1.0, "keyframes": keyframes}
    path = read(tmp_path, file)
    assert len(path.frames) == 40
    at = min(range(40), key=lambda index: abs(path.frames[index].fov - 50))
    assert at == pytest.approx(0.75 * 39, abs=1)
    assert len(read(tmp_path, {**file, "seconds": 8}).frames) == 80
    keyframes[0] |= {"override_transition_enabled": True, "override_transition_sec": 0.5}
    assert len(read(tmp_path, {**file, "is_cycle": True}).frames) == 45


def test_what_is_left_aside_is_said(tmp_path):
    frames = [entry(MATRIX)] * 24
    (crop,) = read(tmp_path, {**PLAIN, "camera_path": frames, "crop": {"crop_scale": [1, 1, 1]}}).warnings
    assert crop == f"{tmp_path / 'camera_path.json'}: 'crop' is left aside: all of the model is shown"
    (rate,) = read(tmp_path, {**PLAIN, "camera_path": frames, "seconds": 4}).warnings
    assert "'seconds' is 4, but 24 frames at 24 a second take 1" in rate
    old = [{"matrix": str(MATRIX), "fov": 50}]
    assert "before 2023" in read(tmp_path, {**PLAIN, "camera_path": frames, "keyframes": old}).warnings[0]
    keyframes = [entry(MATRIX, 50, "matrix")] * 2
    assert "smooth" in read(tmp_path, {**PLAIN, "keyframes": keyframes, "smoothness_value": 0.5}).warnings[0]


def test_a_camera_becomes_a_frame_and_a_camera_again():
    camera = Orbit(field_of_view=1.1).camera(320, 200)
    frame = Frame.of(camera)
    assert math.radians(frame.fov) == pytest.approx(1.1)
    again = frame.camera(320, 200)
    np.testing.assert_array_equal(again.pose, camera.pose)
    assert again.fy == pytest.approx(camera.fy, rel=1e-12)
    with pytest.raises(ValueError, match="(3, 4)"):
        Frame(np.eye(4), 40)
