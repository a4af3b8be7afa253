"""Videos come back as they went in, as far as their kind allows, and are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image, ImageSequence

from taichi_rf.core.errors import UserError
from taichi_rf.motion import video
from taichi_rf.motion.video import LARGEST_SIDE, VideoWriter, check_video
from tests.places import ROOT

KINDS = pytest.mark.parametrize("name", ["a.mp4", "a.gif"])


def film(count: int, height: int, width: int) -> np.ndarray:
    """A red disc that moves over a soft background, (count, height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    frames = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index, ..., 0] = 60 + 120 * x / max(width - 1, 1)
        frames[index, ..., 1] = 60 + 120 * y / max(height - 1, 1)
        frames[index, ..., 2] = 40 + 6 * index
        at = width * (index + 0.5) / count
        frames[index, (x - at) ** 2 + (y - height / 2) ** 2 < (height / 5) ** 2] = (220, 30, 40)
    return frames


def write(path: Path, frames: np.ndarray, fps: float = 10.0) -> None:
    feed(VideoWriter(path, frames.shape[2], frames.shape[1], fps), frames)


def feed(writer: VideoWriter, frames: np.ndarray) -> None:
    for frame in frames:
        writer.write(frame)
    writer.close()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# What is written


@KINDS
@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 47), (64, 47), (1, 1), (2, 1)])
def test_every_frame_comes_back_in_its_place_and_nearly_as_it_was(tmp_path, name, width, height):
    frames = film(8, height, width)
    write(tmp_path / name, frames)
    back = iio.imread(tmp_path / name).astype(int)
    even = name == "a.mp4"
    assert back.shape == (8, height + height % 2 * even, width + width % 2 * even, 3)
    if min(width, height) > 2:  # in the smallest of pictures, the colours are shared
        for index, frame in enumerate(back[:, :height, :width]):
            wrong = [np.abs(frame - other).mean() for other in frames.astype(int)]
            assert np.argmin(wrong) == index
            assert wrong[index] < 4
    if even and width % 2:
        np.testing.assert_allclose(back[:, :height, width], back[:, :height, width - 1], atol=16)


def test_mp4_keeps_colours_and_says_how_they_are_meant(tmp_path):
    colours = np.array([(255, 255, 255), (0, 0, 0), (200, 30, 30), (30, 160, 60), (40, 60, 200), (128, 128, 128)])
    frame = np.repeat(np.repeat(colours.astype(np.uint8)[None], 32, axis=1), 48, axis=0)
    write(tmp_path / "a.mp4", np.stack([frame] * 3))
    back = iio.imread(tmp_path / "a.mp4")[1]
    for index, colour in enumerate(colours):
        np.testing.assert_allclose(back[24, 32 * index + 16], colour, atol=4)
    assert "bt709" in iio.immeta(tmp_path / "a.mp4")["pix_fmt"]


def test_mp4_plays_at_its_rate_and_from_its_start(tmp_path):
    write(tmp_path / "a.mp4", film(12, 32, 48), fps=24)
    about = iio.immeta(tmp_path / "a.mp4")
    assert (about["codec"], about["fps"], about["duration"]) == ("h264", 24, 0.5)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # what a browser needs before it can begin


@pytest.mark.parametrize("fps", [30.0, 7.0, 50.0, 1.0])
def test_gif_frames_last_as_long_as_hundredths_of_a_second_allow_and_go_round_for_ever(tmp_path, fps):
    frames = film(30, 8, 8)
    write(tmp_path / "a.gif", frames, fps=fps)
    picture = Image.open(tmp_path / "a.gif")
    assert picture.info["loop"] == 0
    ends = np.cumsum([frame.info["duration"] for frame in ImageSequence.Iterator(picture)])
    np.testing.assert_allclose(ends, 1000 / fps * np.arange(1, 31), atol=5)


def test_gif_of_few_colours_is_exact_and_white_stays_white(tmp_path):
    random = np.random.default_rng(1)
    palette = random.integers(0, 256, (60, 3), dtype=np.uint8) // 32 * 32  # apart enough for each to be kept
    frames = palette[random.integers(0, 60, (5, 40, 60))]
    write(tmp_path / "a.gif", frames)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.gif"), frames)
    frames = film(2, 60, 80)
    frames[:, :20] = 255
    write(tmp_path / "b.gif", frames)
    assert (iio.imread(tmp_path / "b.gif")[:, :20] == 255).all()


def test_gif_grows_as_frames_come_and_is_not_kept_in_memory(tmp_path):
    with VideoWriter(tmp_path / "a.gif", 64, 64, 10) as writer:
        sizes = []
        for frame in np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8):
            writer.write(frame)
            writer._encoder._file.flush()
            sizes.append(sum(entry.stat().st_size for entry in tmp_path.iterdir()))
    assert (np.diff(sizes) > 1000).all()


# Whole or not there


@KINDS
def test_there_is_nothing_of_that_name_before_the_end(tmp_path, name):
    (tmp_path / name).write_text("earlier")
    writer = VideoWriter(tmp_path / name, 32, 32, 10)
    for frame in film(5, 32, 32):
        writer.write(frame)
    assert (tmp_path / name).read_text() == "earlier"
    assert writer.close()
    assert len(iio.imread(tmp_path / name)) == 5
    assert names(tmp_path) == [name]


@KINDS
@pytest.mark.parametrize("count", [0, 1, 100])
def test_one_that_is_aborted_leaves_the_earlier_file_and_no_process(tmp_path, name, count):
    (tmp_path / name).write_text("earlier")
    writer = VideoWriter(tmp_path / name, 32, 32, 10)
    encoder = writer._encoder
    for _ in range(count):
        writer.write(film(1, 32, 32)[0])
    writer.abort()
    writer.abort()
    assert (tmp_path / name).read_text() == "earlier"
    assert names(tmp_path) == [name]
    if name == "a.mp4":
        assert encoder._process.returncode is not None
    with pytest.raises(ValueError, match="has ended"):
        writer.write(film(1, 32, 32)[0])


@KINDS
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_nothing(tmp_path, name, error):
    def fail() -> None:
        with VideoWriter(tmp_path / name, 32, 32, 10) as writer:
            writer.write(film(1, 32, 32)[0])
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_end_can_be_waited_for_in_small_pieces(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", 320, 240, 10)
    for frame in film(30, 240, 320):
        writer.write(frame)
    assert not writer.close(0.0)  # it has frames in hand and a process to end
    assert names(tmp_path) != ["a.mp4"]
    while not writer.close(0.05):
        pass
    assert names(tmp_path) == ["a.mp4"]
    assert len(iio.imread(tmp_path / "a.mp4")) == 30


@KINDS
def test_ctrl_c_in_the_terminal_is_not_for_the_encoder(tmp_path, name):
    with VideoWriter(tmp_path / name, 32, 32, 10) as writer:
        writer.write(film(1, 32, 32)[0])
        if name == "a.mp4":
            assert os.getsid(writer._encoder._process.pid) != os.getsid(0)


# What goes wrong


@KINDS
@pytest.mark.skipif(os.name != "posix", reason="resource limits")
@pytest.mark.parametrize("frames", [3, 200])  # too large only when the encoder is emptied, and long before
def test_a_disk_that_takes_no_more_is_a_plain_message_and_keeps_the_earlier_file(tmp_path, name, frames):
    path = tmp_path / name
    path.write_text("earlier")
    code = f"""
        import resource, numpy
        from taichi_rf.core.errors import UserError
        from taichi_rf.motion.video import VideoWriter
        random = numpy.random.default_rng(0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            with VideoWriter({str(path)!r}, 160, 120, 10) as writer:
                for _ in range({frames}):
                    writer.write(random.integers(0, 256, (120, 160, 3), dtype=numpy.uint8))
        except UserError as error:
            print("refused:", error)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(f"refused: cannot write {path}: the file would be larger"), done.stderr
    assert path.read_text() == "earlier"
    assert names(tmp_path) == [name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named_by_gif(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "open", lambda path, mode: open("/dev/full", mode), raising=False)
    writer = VideoWriter(tmp_path / "a.gif", 320, 240, 10)
    with pytest.raises(UserError, match=r"a\.gif: the disk is full"):
        feed(writer, np.random.default_rng(0).integers(0, 256, (5, 240, 320, 3), dtype=np.uint8))
    assert names(tmp_path) == []


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
@pytest.mark.parametrize(
    ("does", "because"),
    [
        ("cat >/dev/null; exit 228", "a.mp4: the disk is full"),  # 256 - ENOSPC, as ffmpeg ends since version 5
        ("echo 'av_write_frame(): No space left on device' >&2; exit 1", "a.mp4: the disk is full"),  # and before
        ("kill -KILL $$", "it ended with -9"),
        ("echo 'Unknown encoder libx264' >&2; exit 8", "Unknown encoder libx264"),
        ("exit 3", "it ended with 3"),
    ],
)
def test_an_encoder_that_fails_says_why(tmp_path, monkeypatch, does, because):
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program(tmp_path / "ffmpeg", does)))
    writer = VideoWriter(tmp_path / "out" / "a.mp4", 320, 240, 10)
    with pytest.raises(UserError, match=because):
        feed(writer, film(20, 240, 320))
    writer.abort()
    assert names(tmp_path / "out") == []


def test_no_encoder_is_answered_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="ffmpeg does not start"):
        VideoWriter(tmp_path / "a.mp4", 32, 32, 10)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    for refuses in (check_video, VideoWriter):
        with pytest.raises(UserError, match=r"pip install 'taichi-rf\[video\]', or name a file that ends in \.gif"):
            refuses(tmp_path / "a.mp4", 32, 32, 10)
    write(tmp_path / "a.gif", film(2, 8, 8))
    assert names(tmp_path) == ["a.gif"]


@pytest.mark.parametrize(
    ("name", "width", "height", "fps", "because"),
    [
        ("a.avi", 32, 32, 10, "ends in .mp4, .gif, .webp or .avif"),
        ("a", 32, 32, 10, "ends in .mp4, .gif, .webp or .avif"),
        ("a.mp4", LARGEST_SIDE + 1, 32, 10, f"1 to {LARGEST_SIDE} pixels wide"),
        ("a.gif", 32, 0, 10, f"1 to {LARGEST_SIDE} pixels high"),
        ("a.mp4", 32, 32, 0, "1 to 120 frames a second"),
        ("a.mp4", 32, 32, float("nan"), "1 to 120 frames a second"),
        ("a.gif", 32, 32, 60, "GIF plays 1 to 50 frames a second"),
        ("no/such/a.mp4", 32, 32, 10, "no/such/a.mp4"),
        ("no/such/a.gif", 32, 32, 10, "no/such/a.gif"),
        ("folder.gif", 32, 32, 10, "it is a folder"),
    ],
)
def test_what_no_video_can_be_is_refused(tmp_path, name, width, height, fps, because):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(UserError, match=because):
        VideoWriter(tmp_path / name, width, height, fps)
    assert names(tmp_path) == ["folder.gif"]


@KINDS
def test_frames_of_another_shape_and_videos_of_none_are_the_callers_mistake(tmp_path, name):
    writer = VideoWriter(tmp_path / name, 32, 16, 10)
    for frame in (np.zeros((32, 16, 3), np.uint8), np.zeros((16, 32, 3)), np.zeros((16, 32, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"\(16, 32, 3\) uint8"):
            writer.write(frame)
    with pytest.raises(ValueError, match="at least"):
        writer.close()
    writer.abort()
    assert names(tmp_path) == []
