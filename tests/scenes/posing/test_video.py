"""Of every stretch of a video the sharpest frame is written; what is no video is refused with a sentence."""

from __future__ import annotations

import sys

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image, ImageFilter

import scenes
from scenes.posing import process, video
from taichi_rf.core.errors import UserError
from tests.unposed import Placing

SIZE = 64, 48
SHARP = (3, 8, 14, 18)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """20 frames, of each five of which one is sharp."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1] // 4, SIZE[0] // 4, 3), np.uint8)
    sharp = Image.fromarray(noise).resize(SIZE, Image.Resampling.NEAREST)
    blurred = sharp.filter(ImageFilter.GaussianBlur(3))
    path = tmp_path_factory.mktemp("film") / "a film.mp4"
    with imageio.get_writer(path, "ffmpeg", fps=10, quality=9, macro_block_size=2) as writer:
        for index in range(20):
            writer.append_data(np.asarray(sharp if index in SHARP else blurred))
    return path


def test_a_blurred_picture_is_less_sharp():
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    blurred = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1)))
    assert video.sharpness(picture) > 5 * video.sharpness(blurred)
    assert video.sharpness(np.full((40, 60, 3), 7, np.uint8)) == 0
    assert video.sharpness(np.zeros((2, 2, 3), np.uint8)) == 0


def test_the_sharpest_frame_of_each_stretch_is_written(film, tmp_path):
    steps, stages = [], []
    written = video.write_frames(film, tmp_path, lambda *step: steps.append(step), stages.append, wanted=4)
    assert [path.name for path in written] == [f"frame_{index:06}.jpg" for index in SHARP]
    assert stages == [video.STAGE]
    assert steps[-1] == (20, 20)
    with Image.open(written[0]) as image:
        assert image.size == SIZE


def test_of_a_short_video_every_frame_is_written(film, tmp_path):
    assert len(video.write_frames(film, tmp_path, None, None, wanted=100)) == 20


def test_a_video_opens_as_a_scene_and_its_frames_are_kept(film, tmp_path, monkeypatch):
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "cache"))
    placing = Placing(17)
    monkeypatch.setattr(process, "run", placing)
    path = tmp_path / "film.mp4"
    path.write_bytes(film.read_bytes())
    assert scenes.find(str(path)) == str(path)
    scene = scenes.load(str(path))
    assert (len(scene.train), len(scene.test)) == (14, 3)
    assert (scene.name, scene.source, scene.format) == ("film.mp4", str(path), "a video, posed by COLMAP")
    assert [text for text in scene.warnings if text.startswith("17 of 20 frames could be placed")]
    monkeypatch.setattr(video, "write_frames", lambda *_: pytest.fail("written again"))
    assert len(scenes.load(str(path)).train) == 14
    assert len(placing.jobs) == 1
    assert len(placing.jobs[0].pairs) < 20 * 19 / 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin as a video does"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/a.ts\n", "does not begin as a video does"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(200), "does not decode"),
        (b"\x1a\x45\xdf\xa3" + bytes(300), "does not decode"),
    ],
)
def test_what_does_not_decode_is_refused(tmp_path, content, said):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        scenes.load(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


def test_a_video_that_is_cut_off_is_refused(film, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(film.read_bytes()[:-500])  # what says where the frames are comes last
    with pytest.raises(UserError, match="does not decode"):
        scenes.load(str(path))


def test_without_ffmpeg_it_is_said_what_to_install(film, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"pip install 'taichi-rf\[video\]'"):
        video.write_frames(film, tmp_path, None, None)


def test_frames_that_are_too_large_are_refused(film, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "MAX_SIDE", 50)
    with pytest.raises(UserError, match="64 x 48 pixels; up to 50"):
        video.write_frames(film, tmp_path, None, None)
