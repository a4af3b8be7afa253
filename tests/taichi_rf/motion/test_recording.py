"""Recordings: the pictures of a snapshot, made in small pieces, and nothing left of one that does not reach its end."""

from __future__ import annotations

import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion import recording
from taichi_rf.motion.bands import quantise
from taichi_rf.motion.camera_path import MAX_FRAMES, turntable
from taichi_rf.motion.orbit import Orbit
from taichi_rf.motion.recording import Recording, sweep
from tests.viewer_fakes import BOX, RAYS_PER_SECOND, Clock, FakeModel, FakeRender
from viewer.session.session import Session

WIDTH, HEIGHT = 64, 48


class Fakes:
    """A model that costs what the clock says."""

    def __init__(self) -> None:
        self.clock, self.model = Clock(), FakeModel()
        self.render = FakeRender(self.clock)

    def band(self, camera: Camera, level: int, mode: str) -> np.ndarray:
        return self.render(self.model, camera, level=level, mode=mode)

    def recording(self, path: Path, *, cameras: list[Camera] | None = None, **options: object) -> Recording:
        options = {"levels": 4, "fps": 5.0, "clock": self.clock, **options}
        return Recording(path, cameras or turn(), self.band, **options)  # type: ignore[arg-type]


def turn(count: int = 5, width: int = WIDTH, height: int = HEIGHT) -> list[Camera]:
    return turntable(Orbit.around(BOX), seconds=count / 5, fps=5, width=width, height=height).cameras()


def finish(recording: Recording, budget: float = 0.01) -> list[float]:
    """Advance to the end; the progress on the way."""
    progress = []
    for _ in range(100_000):
        if recording.done:
            return progress
        recording.advance(budget)
        progress.append(recording.progress)
    raise AssertionError("the recording never ended")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class Shelf:
    """A video writer that keeps what it is given."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self.frames: list[np.ndarray] = []
        self.closed = self.aborted = 0

    def write(self, frame: np.ndarray) -> None:
        self.frames.append(frame.copy())

    def close(self, wait: float) -> bool:
        self.closed += 1
        return self.closed == 3  # an encoder that has some work left

    def abort(self) -> None:
        self.aborted += 1


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> list[Shelf]:
    made: list[Shelf] = []

    def make(*arguments: object) -> Shelf:
        made.append(Shelf(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(recording, "VideoWriter", make)
    return made


# The pictures


@pytest.mark.parametrize("mode", ["colour", "depth"])
def test_frames_are_the_snapshots_of_a_session_to_the_byte(tmp_path, shelf, mode):
    fakes = Fakes()
    levels = [1, 2, 4, 4, 3]
    recording = fakes.recording(tmp_path / "a.mp4", levels=levels, mode=mode)
    finish(recording, budget=0.003)  # 300 rays: less than five rows
    session = Session(fakes.model, render=fakes.render, clock=fakes.clock)
    session.mode = mode
    assert len(shelf[0].frames) == 5
    first = session.orbit.azimuth
    for index, frame in enumerate(shelf[0].frames):
        session.orbit.azimuth = first + 2 * np.pi * index / 5
        session.levels.choose(levels[index])
        difference = frame.astype(int) - session.snapshot(WIDTH, HEIGHT)
        assert np.abs(difference).max() <= 1  # the field of view went through degrees
        assert (difference != 0).mean() < 0.001
    assert (recording.frame, recording.done, recording.failure) == (5, True, None)
    assert shelf[0].closed == 3


def test_bands_put_together_are_the_whole_picture_to_the_byte(tmp_path, shelf):
    fakes = Fakes()
    finish(fakes.recording(tmp_path / "a.mp4"), budget=0.001)
    finish(fakes.recording(tmp_path / "a.mp4"), budget=1e9)
    np.testing.assert_array_equal(shelf[0].frames, shelf[1].frames)
    whole = [quantise(fakes.band(camera, 4, "colour")) for camera in turn()]
    np.testing.assert_array_equal(shelf[0].frames, whole)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_the_file_holds_every_frame_in_its_place(tmp_path, name):
    fakes = Fakes()
    recording = fakes.recording(tmp_path / name, cameras=turn(8, 65, 47), levels=sweep(4, 8))
    finish(recording)
    assert recording.failure is None
    assert names(tmp_path) == [name]
    back = iio.imread(tmp_path / name)[:, :47, :65].astype(int)
    assert len(back) == 8
    whole = [
        quantise(fakes.band(camera, level, "colour")).astype(int)
        for camera, level in zip(turn(8, 65, 47), [1, 1, 2, 2, 3, 3, 4, 4])
    ]
    for index, frame in enumerate(back):
        wrong = [np.abs(frame - other).mean() for other in whole]
        assert np.argmin(wrong) == index
        assert wrong[index] < 4


@pytest.mark.parametrize(
    ("levels", "frames", "expected"),
    [(4, 4, [1, 2, 3, 4]), (4, 8, [1, 1, 2, 2, 3, 3, 4, 4]), (1, 3, [1, 1, 1]), (4, 2, [1, 3]), (3, 1, [1])],
)
def test_a_sweep_gives_every_level_its_part(levels, frames, expected):
    assert sweep(levels, frames) == expected


# The time


@pytest.mark.parametrize("budget", [0.004, 0.02, 0.05])
def test_no_call_takes_much_longer_than_it_may(tmp_path, shelf, budget):
    fakes = Fakes()
    recording = fakes.recording(tmp_path / "a.mp4", cameras=turn(5, 320, 240))
    took = []
    while not recording.done:
        before = fakes.clock.now
        recording.advance(budget)
        took.append(fakes.clock.now - before)
    row = 320 / RAYS_PER_SECOND
    assert max(took) <= budget + row
    assert len(took) <= 1.5 * 5 * 320 * 240 / RAYS_PER_SECOND / budget + 10  # and uses it


def test_a_call_without_time_does_a_row(tmp_path, shelf):
    recording = Fakes().recording(tmp_path / "a.mp4")
    recording.advance(0.0)
    assert recording.progress == 1 / HEIGHT / 5
    recording.advance(0.0)
    assert recording.seconds_left > 0


def test_time_left_is_of_the_clock_within_a_fifth_from_the_third_second_on(tmp_path, shelf):
    fakes = Fakes()
    recording = fakes.recording(tmp_path / "a.mp4", cameras=turn(30, 320, 240))  # 0.77 s a frame, 46 s with the half
    told = []
    while not recording.done:
        recording.advance(0.05)
        fakes.clock.spend(0.05)  # somebody else's
        told.append((fakes.clock.now, recording.seconds_left))
    end = told[-1][0]
    for now, left in told:
        if 3 <= now <= end - 3:
            assert left == pytest.approx(end - now, rel=0.2, abs=1.6)  # it is known after every frame


def test_every_frame_is_finished_once_before_it_is_written(tmp_path, shelf):
    done = []

    def finish_frame(frame, level):
        done.append(level)
        frame[0, 0] = level

    recording = Fakes().recording(tmp_path / "a.mp4", levels=[1, 2, 3, 4, 4], finish=finish_frame)
    finish(recording)
    assert done == [1, 2, 3, 4, 4]
    assert [frame[0, 0, 0] for frame in shelf[0].frames] == done


def test_a_band_that_took_long_does_not_make_the_next_ones_tiny(tmp_path, shelf):
    fakes = Fakes()
    recording = fakes.recording(tmp_path / "a.mp4", cameras=turn(5, 320, 240))
    slow = fakes.render

    def compiles(*arguments: object, **options: object) -> np.ndarray:
        fakes.clock.spend(30.0)
        fakes.render = slow
        return slow(*arguments, **options)

    fakes.render = compiles  # type: ignore[assignment]
    recording.advance(0.02)
    before = recording.progress
    recording.advance(0.02)
    assert (recording.progress - before) * 5 * 320 * 240 > 0.2 * 0.02 * RAYS_PER_SECOND


def test_progress_goes_from_nothing_to_all(tmp_path):
    recording = Fakes().recording(tmp_path / "a.gif")
    assert recording.progress == 0
    progress = finish(recording, budget=0.004)
    assert len(progress) > 10
    assert (np.diff(progress) >= 0).all()
    assert progress[-1] == 1
    recording.advance(1.0)  # nothing more
    assert recording.done


# What does not get to its end


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
@pytest.mark.parametrize("after", [0, 1, 30])
def test_one_that_is_cancelled_leaves_the_earlier_file(tmp_path, name, after):
    (tmp_path / name).write_text("earlier")
    recording = Fakes().recording(tmp_path / name)
    for _ in range(after):
        recording.advance(0.004)
    recording.cancel()
    recording.cancel()
    recording.advance(1.0)
    assert (recording.done, recording.failure) == (True, None)
    assert recording.progress < 1
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "earlier"


@pytest.mark.parametrize("error", [UserError("rank 9 is outside this model"), RuntimeError("a bug"), MemoryError()])
def test_an_error_is_kept_and_nothing_is_left(tmp_path, error):
    fakes = Fakes()
    recording = fakes.recording(tmp_path / "a.mp4")
    recording.advance(0.05)

    def fail(*arguments: object, **options: object) -> None:
        raise error

    fakes.render = fail  # type: ignore[assignment]
    recording.advance(0.05)
    assert recording.failure is error
    assert recording.done
    assert names(tmp_path) == []


def test_ctrl_c_comes_through_and_nothing_is_left(tmp_path):
    fakes = Fakes()
    recording = fakes.recording(tmp_path / "a.mp4")
    recording.advance(0.05)

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    fakes.render = interrupt  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        recording.advance(0.05)
    assert names(tmp_path) == []


def test_leaving_its_block_cancels_it(tmp_path):
    with Fakes().recording(tmp_path / "a.gif") as recording:
        recording.advance(0.01)
        assert len(names(tmp_path)) == 1
    assert recording.done
    assert names(tmp_path) == []
    with Fakes().recording(tmp_path / "a.gif") as recording:
        finish(recording)
    assert names(tmp_path) == ["a.gif"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_fills_is_a_failure_with_a_plain_message(tmp_path, monkeypatch):
    monkeypatch.setattr("taichi_rf.motion.video.open", lambda path, mode: open("/dev/full", mode), raising=False)
    recording = Fakes().recording(tmp_path / "a.gif")
    finish(recording)
    assert isinstance(recording.failure, UserError)
    assert str(recording.failure).startswith(f"cannot write {tmp_path / 'a.gif'}: the disk is full")
    assert names(tmp_path) == []


def test_what_cannot_be_recorded_is_refused_before_it_begins(tmp_path):
    fakes = Fakes()
    with pytest.raises(UserError, match=r"ends in \.mp4, \.gif, \.webp or \.avif"):
        fakes.recording(tmp_path / "a.webm")
    with pytest.raises(UserError, match=r"no/such/a\.mp4"):
        fakes.recording(tmp_path / "no/such/a.mp4")
    with pytest.raises(UserError, match=f"18001 frames are too many for a video: {MAX_FRAMES} is the most"):
        fakes.recording(tmp_path / "a.mp4", cameras=turn(1) * (MAX_FRAMES + 1))
    for cameras in ([*turn(2), *turn(2, 32, 32)], []):
        with pytest.raises(ValueError, match="all of one size"):
            Recording(tmp_path / "a.mp4", cameras, fakes.band, levels=4)
    with pytest.raises(ValueError, match="5 cameras need as many levels; got 4"):
        fakes.recording(tmp_path / "a.mp4", levels=[1, 2, 3, 4])
    assert names(tmp_path) == []
