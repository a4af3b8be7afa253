"""What the real window writes to disk: pictures, films, camera paths and slimmed models; and what it does not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from taichi_rf.motion.bands import quantise
from taichi_rf.motion.camera_path import CameraPath, turntable
from taichi_rf.motion.orbit import Orbit
from taichi_rf.storage.trf import read_trf
from tests.e2e.windows import FAKE, ROOT, RUN_VIEWER, SIZE, Viewer, files_of_at_most
from tests.viewer_fakes import BOX, Clock, FakeModel, FakeRender
from viewer.session.session import Session

SMALL = (160, 120)  # pixels, of films that are waited for
LEVELS = 4


@pytest.fixture
def kept(model) -> Iterator[Path]:
    """The folder of what the shared viewer keeps, not there yet."""
    folder = model.folder / "kept"
    yield folder
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.unlink(missing_ok=True)
    if model.alive:
        model.home()
        if "Clear the path" in model.press("Keep ...")["widgets"]:
            model.press("Clear the path")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def headless(viewer: Viewer, *arguments: object) -> np.ndarray:
    """What ``--headless --screenshot`` writes, where there is neither a display nor Vulkan."""
    path = viewer.folder / "headless.png"
    subprocess.run(
        [sys.executable, RUN_VIEWER, *map(str, arguments), "--headless", "--screenshot", str(path)],
        env={**viewer.environment, "DISPLAY": "", "VK_ICD_FILENAMES": "/nonexistent.json"}, check=True,
    )  # fmt: skip
    picture = image(path)
    path.unlink()
    return picture


# Pictures


def test_trained_scene_is_kept_as_the_window_shows_it(start, tiny_run, tmp_path):
    run, here = tmp_path / "run", tmp_path / "here"
    here.mkdir()
    shutil.copytree(tiny_run, run)
    options = ["--rank", "3", "--azimuth", "80", "--distance", "5"]
    viewer = start(RUN_VIEWER, run / "model.trf", *options, "--state-file", "STATE", folder=here)
    viewer.key("Tab")
    shown = viewer.sharp_screenshot()

    viewer.key("p")
    picture = run / "lantern-rank3.png"
    assert str(picture) in viewer.says("saved")
    rendered = headless(viewer, run / "model.trf", *options)
    for other in (shown, image(picture)):
        difference = np.abs(rendered - other)
        assert difference.max() <= 1  # rows are rendered in other groups, so sums may round to the other side
        assert (difference > 0).mean() < 0.01

    megabytes = viewer.key("Left")["megabytes"]
    viewer.key("n")
    slim = run / "lantern-rank2.trf"
    viewer.says("saved", str(slim))
    assert slim.stat().st_size == pytest.approx(1e6 * megabytes)
    assert len(read_trf(slim).chunks) < len(read_trf(run / "model.trf").chunks)

    viewer.key("j")
    viewer.says("saved", "camera.json")
    assert viewer.close() == 0
    assert names(run) == ["camera.json", "lantern-rank2.trf", "lantern-rank3.png", "model.trf"]
    assert names(here) == []
    assert json.loads((run / "camera.json").read_text())["view"]["azimuth"] == pytest.approx(80)


def test_picture_can_be_larger_than_the_window_and_is_never_replaced(model, kept):
    model.resize(640, 480)
    model.press("Keep ...")
    x, y, width, height = model.widget("times size")
    model.drag((x + width / 8, y + height / 2), (x + width * 3 / 8, y + height / 2))
    for name in ("model-rank4.png", "model-rank4-2.png"):
        model.press("Picture, 1280 x 960")
        model.wait(lambda state: state["recording"]["what"] == "picture", "a picture in the making")
        model.says("saved", name)
    assert names(kept) == ["model-rank4-2.png", "model-rank4.png"]
    expected = Session(FakeModel(), render=FakeRender(Clock())).snapshot(1280, 960)
    for name in names(kept):
        np.testing.assert_array_equal(image(kept / name), expected)
    model.drag((x + width * 3 / 8, y + height / 2), (x + width / 8, y + height / 2))


def test_picture_with_panels_is_the_window_itself(model, kept):
    still = np.ones(SIZE[::-1], bool)
    _, slider, _, _ = model.widget("rank")
    still[slider + 78 : slider + 96, 20:316] = still[640:706, 375:905] = False  # frames a second
    shown = model.sharp_screenshot()
    model.key("shift+p")
    model.says("saved", "window.png")
    difference = np.abs(image(kept / "window.png") - shown)[still]
    assert difference.max() <= 2  # ImGui's shades are rounded once more on the way to the screen
    assert names(kept) == ["window.png"]


# Films


def film(viewer: Viewer) -> dict:
    """Begin a turntable; returns the state once some of it is done."""
    viewer.key("t")
    return viewer.wait(lambda state: state["recording"]["progress"] > 0, "some of the film")


def test_turntable_is_filmed_while_one_goes_on_looking(model, kept):
    model.key("Tab")
    model.resize(*SMALL)
    path = Path(film(model)["recording"]["path"])
    assert path.name == "model-turntable.mp4"
    for level in (3, 2, 1):  # the film keeps the level that it began with
        model.key("Left")
        model.wait(lambda state, level=level: state["level"] == level, f"level {level}")
    moved = model.drag((80, 60), (100, 60))["camera"]
    state = model.state()
    assert 0 < state["recording"]["progress"] < 1
    assert not (kept / path.name).exists()
    model.says("saved", path.name)
    assert names(kept) == [path.name]

    orbit = Orbit.from_state(None, BOX)
    cameras = turntable(orbit, seconds=6, fps=30, width=SMALL[0], height=SMALL[1]).cameras()
    frames = iio.imread(kept / path.name).astype(int)
    assert len(frames) == len(cameras) == 180
    render = FakeRender(Clock())
    for index in (0, 60, 179):
        expected = quantise(render(FakeModel(), cameras[index], level=LEVELS, mode="colour"))
        assert np.abs(frames[index] - expected).mean() < 4
    assert moved == model.state()["camera"]


def test_film_goes_on_while_the_window_is_hidden_and_leaves_nothing_when_cancelled(model, kept):
    film(model)
    with model.minimised():
        before = model.frames_later(5)["recording"]["progress"]
        model.wait(lambda state: state["recording"]["progress"] > before, "more of it")
    assert len(names(kept)) == 1
    assert names(kept)[0].startswith(".")
    model.key("p")
    assert "wait for the turntable" in model.says("wait")
    model.press("Keep ...")
    model.press("Cancel the turntable")
    state = model.wait(lambda state: not state["recording"], "no film")
    assert "cancelled" in state["message"]["text"]
    assert names(kept) == []


@pytest.mark.parametrize("way", [Viewer.close, Viewer.close_button], ids=["escape", "cross"])
def test_window_closed_while_filming_leaves_nothing(start, way: Callable[[Viewer], int]):
    viewer = start(FAKE, "model", "STATE")
    film(viewer)
    viewer.key("Escape")
    viewer.says("turntable is not done", "escape again")
    viewer.key("Left", "Escape")  # after something else it asks again
    assert viewer.frames_later(5)["recording"]
    assert way(viewer) == 0
    assert names(viewer.folder / "kept") == []


def test_termination_while_filming_leaves_nothing(start, tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    viewer = start(RUN_VIEWER, run, "--width", "640", "--height", "360", "--state-file", "STATE")
    film(viewer)
    assert viewer.signalled(signal.SIGTERM) == 128 + signal.SIGTERM
    assert names(run) == ["model.trf"]


# Camera paths


def test_camera_path_is_made_saved_loaded_and_filmed(model, kept):
    model.resize(320, 240)
    model.key("k")
    model.says("keyframe 1")
    model.drag((200, 200), (240, 200))
    model.key("k")
    model.says("keyframe 2")
    second = model.state()["camera"]
    model.resize(*SIZE)
    model.press("Keep ...")
    model.press("Save the path")
    model.says("saved", "camera_path.json")
    model.press("Clear the path")
    model.says("empty")
    model.press("Load camera_path.json")
    model.says("camera_path.json", "frames")
    assert "Add keyframe 3 to the path" in model.state()["widgets"]

    path = CameraPath.load(kept / "camera_path.json")
    expected = Orbit.from_state(second, BOX).camera(*SIZE).pose
    assert [len(path.keyframes), len(path.frames) > 2] == [2, True]
    np.testing.assert_allclose(path.keyframes[1].pose, expected, atol=1e-5)

    model.press("Video along the path")
    state = model.wait(lambda state: state["recording"]["progress"] > 0, "some of the film")
    assert state["recording"]["what"] == "camera path"
    model.press("Cancel the camera path")
    assert names(kept) == ["camera_path.json"]


def test_camera_path_that_is_none_is_said(model, kept):
    model.press("Keep ...")
    model.press("Load camera_path.json")
    model.says("there is no camera_path.json")
    kept.mkdir()
    (kept / "camera_path.json").write_text('{"camera_path": [{"camera_to_world": "here"}]}')
    model.press("Load camera_path.json")
    model.says("camera_path.json", "render_width")
    assert "Add keyframe 1" in str(model.state()["widgets"])


# Disks that do not take it


def test_full_disk_is_said_and_leaves_nothing_half_written(model, kept):
    model.resize(*SMALL)
    with files_of_at_most(2_000, model):
        for key in ("p", "shift+p", "t"):
            model.key("k")  # another message in between
            model.says("keyframe")
            model.key(key)
            state = model.wait(lambda state: state["message"]["alarm"], f"an alarm after {key}")
            assert "larger than this system allows" in state["message"]["text"]
            assert not model.frames_later(5)["recording"]
            assert names(kept) == []
    model.key("p")
    model.says("saved", "model-rank4.png")
    assert image(kept / "model-rank4.png").shape == (*SMALL[::-1], 3)


def test_place_that_takes_no_files_is_said(model, kept):
    kept.write_text("a file where a folder should be")
    for key in ("p", "shift+p", "t", "j"):
        model.key("k")
        model.says("keyframe")
        model.key(key)
        state = model.wait(lambda state: state["message"]["alarm"], f"an alarm after {key}")
        assert "cannot write" in state["message"]["text"]
        assert "kept" in state["message"]["text"]
    assert kept.read_text() == "a file where a folder should be"


def test_the_model_is_cut_to_a_box_that_is_dragged_by_its_handles_and_opened(tmp_path):
    (tmp_path / "model.trf").write_bytes((ROOT / "tests" / "data" / "tensor.trf").read_bytes())
    with Viewer(RUN_VIEWER, "model.trf", "--arch", "cpu", "--state-file", "STATE", folder=tmp_path) as viewer:
        viewer.started().sharp()
        viewer.press("Keep ...")
        viewer.press("Crop to a box ...")
        before = viewer.wait(lambda state: state["crop"], "a box")["crop"]
        plain = viewer.sharp_screenshot()
        x, y = before["handles"][5]
        viewer.move((x, y))
        viewer.wait(lambda state: state["crop"]["hot"] == 5, "a handle that lights up")
        camera = viewer.state()["camera"]
        viewer.drag((x, y), (x, y + 60))
        after = viewer.wait(lambda state: state["crop"]["box"] != before["box"], "another box")
        assert after["crop"]["box"][1][2] < before["box"][1][2]
        assert after["crop"]["box"][0] == before["box"][0]
        assert after["camera"] == camera  # a handle moves no camera
        assert (np.abs(viewer.sharp_screenshot() - plain).max(axis=-1) > 30).sum() > 300
        viewer.press("Cut to the box, and open it")
        cut = viewer.wait(
            lambda state: state["scene"] is None and state["crop"]["box"] != after["crop"]["box"], "the part"
        )
        assert cut["crop"]["box"][1][2] == pytest.approx(after["crop"]["box"][1][2], abs=0.2)
        viewer.press("< back")
        viewer.wait(lambda state: state["page"] == "keep", "the page before")
    assert [path.name for path in tmp_path.glob("*-cut.trf")] != []
    assert len(read_trf(next(tmp_path.glob("*-cut.trf"))).chunks) == len(read_trf(tmp_path / "model.trf").chunks)
