"""What a session writes to disk: pictures, videos, camera paths and the camera, while frames go on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from taichi_rf.motion.bands import quantise
from taichi_rf.motion.camera_path import turntable
from taichi_rf.motion.film import Film
from taichi_rf.motion.orbit import Orbit
from tests.viewer.session.sessions import make
from viewer.session.session import Session
from viewer.session.stats import stats_of


def test_picture_is_saved_while_frames_go_on(tmp_path):
    session, render, clock = make(folder=tmp_path / "pictures")
    path = session.keeper.picture(400, 300)
    assert not path.exists()
    frames = 0
    while session.keeper.job is not None:
        start = clock.now
        session.frame(96, 64, 0.02)
        session.work(0.05)
        assert clock.now - start < 0.2 + 1.2  # the fake's clock does not run while a picture is made in bands
        frames += 1
        assert frames < 1000
    from PIL import Image

    expected = quantise(render(session.model, session.camera(400, 300), level=4, mode="colour"))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
    assert str(path) in session.message.text
    assert session.keeper.picture(8, 8) != path


def test_one_recording_at_a_time_and_it_can_be_cancelled(tmp_path):
    session, _, _ = make(folder=tmp_path)
    session.keeper.picture(64, 64)
    first = session.keeper.job
    session.keeper.picture(32, 32)
    assert session.keeper.job is first
    assert session.message.alarm
    session.keeper.cancel()
    assert session.keeper.job is None
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_a_line_and_no_crash(tmp_path):
    (tmp_path / "file").write_text("")
    session, _, _ = make(folder=tmp_path / "file" / "folder")
    session.keeper.picture(16, 16)
    while session.keeper.job is not None:
        session.work(0.05)
    assert session.message.alarm
    assert session.keeper.camera() is None
    assert session.message.alarm


def test_camera_is_kept_as_numbers_that_make_the_same_view(tmp_path):
    session, _, _ = make(folder=tmp_path)
    session.frame(96, 64, 0.02)
    values = json.loads(session.keeper.camera().read_text())
    camera = session.camera(96, 64)
    np.testing.assert_allclose(np.array(values["camera_to_world"])[:3], camera.pose, atol=1e-6)
    assert (values["fx"], values["width"]) == (camera.fx, 96)
    np.testing.assert_allclose(
        Orbit.from_state(values["view"], session.model.world_box).camera(96, 64).pose, camera.pose, atol=1e-5
    )


def finish(session: Session) -> None:
    for _ in range(10_000):
        if session.keeper.job is None:
            return
        session.work(0.05)
    raise AssertionError("the recording never ended")


@pytest.mark.parametrize(("ffmpeg", "suffix"), [(True, ".mp4"), (False, ".gif")])
def test_videos_are_mp4_or_else_gif(tmp_path, monkeypatch, ffmpeg, suffix):
    monkeypatch.setattr("viewer.session.keep.has_ffmpeg", lambda: ffmpeg)
    session, _, _ = make(folder=tmp_path)
    session.keeper.film = Film(seconds=0.5, size=(32, 24))
    session.keeper.turntable(fps=10)
    finish(session)
    (video,) = tmp_path.iterdir()
    assert video.suffix == suffix
    assert str(video) in session.message.text


def test_camera_path_is_recorded_saved_and_taken_up_again(tmp_path):
    session, _, _ = make(folder=tmp_path)
    session.keeper.film.size = (32, 24)
    session.keeper.path_video()
    assert "2 to" in session.message.text  # keyframes are needed
    for _ in range(3):
        session.keeper.add_keyframe()
        session.orbit.rotate(40, 5, 64)
    session.keeper.path_video()
    finish(session)
    poses = [frame.pose for frame in session.keeper.keyframes]
    assert session.keeper.save_path().name == "camera_path.json"
    session.keeper.clear_path()
    session.keeper.load_path()
    np.testing.assert_allclose([frame.pose for frame in session.keeper.keyframes], poses, atol=1e-6)
    assert session.keeper.loaded.seconds == pytest.approx(4.0, abs=0.1)
    (tmp_path / "camera_path-9.json").symlink_to("gone")
    session.keeper.load_path()
    assert session.message.alarm
    (tmp_path / "camera_path-9.json").unlink()
    (tmp_path / "camera_path.json").write_text("[]")
    session.keeper.load_path()
    assert session.message.alarm
    assert len(session.keeper.keyframes) == 3


@pytest.mark.parametrize(("ffmpeg", "frames"), [(True, 60), (False, 30)])
def test_a_loaded_path_is_filmed_with_its_own_timing(tmp_path, monkeypatch, ffmpeg, frames):
    monkeypatch.setattr("viewer.session.keep.has_ffmpeg", lambda: ffmpeg)
    session, _, _ = make(folder=tmp_path)
    way = turntable(session.orbit, seconds=2, fps=30, width=64, height=48)
    way.save(tmp_path / "camera_path.json")
    session.keeper.load_path()
    session.keeper.film.size = (32, 24)
    session.keeper.path_video()
    job = session.keeper.job
    assert job.frames == frames  # a GIF has every second one
    finish(session)
    session.keeper.add_keyframe()
    assert session.keeper.loaded is None


def test_a_film_may_sweep_through_the_levels_at_a_size_of_its_own_and_says_how_long_it_takes(tmp_path, monkeypatch):
    shown, captioned = [], []
    monkeypatch.setattr("viewer.session.keep.Captions", lambda text: lambda frame, level: captioned.append(text(level)))
    session, _, clock = make(folder=tmp_path)
    session.keeper.film = Film(seconds=0.8, size=(32, 24), sweep=True)
    session.keeper.turntable(fps=10)
    job, begun = session.keeper.job, clock.now
    assert job.frames == 8
    while session.keeper.job is not None:
        session.work(0.001)
        clock.spend(0.001)
        if job.frame < job.frames:  # then the encoder takes what it takes
            shown.append((clock.now, stats_of(session).recording.seconds_left))
            end = clock.now
    # The clock is the session's, so this is the same on every machine.
    left = [seconds for now, seconds in shown[len(shown) // 2 :] if seconds is not None]
    assert end - begun > left[0] > left[-1] >= 0
    assert [text.level for text in captioned] == [f"rank {level} of 4" for level in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert captioned[-1].quality == "30.0 dB"
    captioned.clear()
    session.keeper.film = Film(seconds=0.2, size=(32, 24))
    session.keeper.turntable(fps=10)
    finish(session)
    assert captioned == []
