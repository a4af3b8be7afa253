"""The real window on a virtual display, driven with the mouse and the keys as a person drives it.

Nothing here sleeps and hopes: the window writes a line of state for every frame, and the tests wait for the line they
want. A machine that lacks the display or the tools fails these tests; ``make test`` installs them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (1280, 720)
PATIENCE = 60.0  # seconds; kernels may have to compile on a busy machine
LEVELS = 4
PSNR = {1: 20.0, 2: 25.0, 3: 28.0, 4: 30.0}
TINY_PSNR = [11.0, 13.0, 17.0, 23.0]  # what tiny_model.py writes into its model
EMPTY = (1000, 600)  # a pixel with no panel over it


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen that the window fills to the pixel."""
    read, write = os.pipe()
    arguments = ["-displayfd", str(write), "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(
        ["Xvfb", *arguments], pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()  # the whole line: the display may be 1 or 10
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(10)


class Viewer:
    """A running viewer, its states and a hand on its mouse and keyboard."""

    def __init__(self, command: list[str], display: str, folder: Path):
        self.folder, self.state_file = folder, folder / "state.jsonl"
        self.environment = {**os.environ, "DISPLAY": display, "PYTHONPATH": str(ROOT)}
        self.log = open(folder / "log.txt", "w+")
        command = [sys.executable, *(word.replace("STATE", str(self.state_file)) for word in command)]
        self.process = subprocess.Popen(
            command, cwd=folder, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT
        )

    @property
    def output(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def state(self) -> dict:
        """The last whole line of state; empty before the first frame."""
        if not self.state_file.exists():
            return {}
        with open(self.state_file, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 8192, 0))
            lines = file.read().rpartition(b"\n")[0].splitlines()
        return json.loads(lines[-1]) if lines else {}

    def wait(self, wanted: Callable[[dict], bool], what: str) -> dict:
        """The first state seen that is as ``wanted``."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            state = self.state()
            if state and wanted(state):
                return state
            assert self.process.poll() is None, f"the viewer ended while waiting for {what}:\n{self.output}"
            time.sleep(0.01)
        raise AssertionError(f"waited in vain for {what}; last state {self.state()}\n{self.output}")

    def frames_later(self, count: int = 2) -> dict:
        frame = self.state()["frame"]
        return self.wait(lambda state: state["frame"] >= frame + count, "more frames")

    def sharp(self) -> dict:
        """Wait until the picture is complete and on the screen."""
        self.wait(lambda state: state["complete"], "a complete picture")
        return self.frames_later()

    def hand(self, *actions: object) -> None:
        subprocess.run(["xdotool", *map(str, actions)], env=self.environment, check=True)

    def key(self, name: str) -> None:
        self.hand("key", name)

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: int = 1) -> None:
        """Press, move in steps and let go, each seen by the window before the next."""
        self.hand("mousemove", round(start[0]), round(start[1]))
        self.frames_later()
        self.hand("mousedown", button)
        self.frames_later()
        for part in (0.25, 0.5, 0.75, 1.0):
            x, y = (round(a + part * (b - a)) for a, b in zip(start, end))
            self.hand("mousemove", x, y)
            self.frames_later(1)
        self.frames_later()
        self.hand("mouseup", button)
        self.frames_later()

    def place_on_slider(self, level: int, levels: int = LEVELS) -> tuple[float, float]:
        """The pixel in the middle of where the slider stands at ``level``."""
        x, y, width, height = self.state()["slider"]
        return x + width * (level - 0.5) / levels, y + height / 2

    def screenshot(self) -> np.ndarray:
        """(height, width, 3) of the whole screen."""
        done = subprocess.run(
            ["import", "-window", "root", "png:-"], env=self.environment, check=True, stdout=subprocess.PIPE
        )
        return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB")).astype(int)

    def close(self) -> int:
        self.key("Escape")
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(display: str, tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """Start a viewer and wait for its first sharp picture; it is gone when the test is over."""
    with contextlib.ExitStack() as stack:

        def start(*command: str) -> Viewer:
            viewer = Viewer(list(command), display, tmp_path)
            stack.callback(viewer.log.close)
            stack.callback(viewer.process.wait)
            stack.callback(viewer.process.kill)
            viewer.wait(lambda state: state["frame"] >= 3, "the first frames")
            return viewer

        yield start


FAKE = str(ROOT / "tests" / "e2e" / "fake_viewer.py")


@pytest.fixture
def model(start) -> Viewer:
    viewer = start(FAKE, "model", "STATE")
    viewer.sharp()
    return viewer


def scene_of(picture: np.ndarray) -> np.ndarray:
    """The part of a screenshot that no panel covers."""
    return picture[300:, 500:]


def test_dragging_the_slider_changes_picture_bytes_and_psnr(model):
    at, seen = LEVELS, {LEVELS: scene_of(model.screenshot())}
    for level in (1, 3, 2, 4, 1, 2):
        model.drag(model.place_on_slider(at), model.place_on_slider(level))
        state = model.wait(lambda state, level=level: state["level"] == level, f"level {level}")
        assert state["megabytes"] == pytest.approx(0.25 * level)
        assert state["psnr"] == PSNR[level]
        model.sharp()
        picture = scene_of(model.screenshot())
        if level in seen:  # back at a level, back at its picture
            np.testing.assert_array_equal(picture, seen[level])
        for other, old in seen.items():
            assert other == level or np.abs(picture - old).mean() > 5
        at, seen[level] = level, picture
    assert model.state()["view"]["azimuth"] == pytest.approx(45)  # the slider is no handle on the scene
    assert model.close() == 0


def test_window_shows_the_render_to_the_byte(model):
    from tests.viewer_fakes import Clock, FakeModel, FakeRender
    from viewer.session import Session

    expected = Session(FakeModel(), render=FakeRender(Clock())).snapshot(*SIZE)
    np.testing.assert_array_equal(scene_of(model.screenshot()), scene_of(expected))


def test_panel_shows_other_figures_at_another_level(model):
    before = model.screenshot()[60:110, 20:300]
    model.key("Left")
    model.wait(lambda state: state["level"] == LEVELS - 1, "one level less")
    model.sharp()
    assert np.any(model.screenshot()[60:110, 20:300] != before)


def test_drag_turns_the_scene_by_pixels(model):
    before = model.state()["view"]
    model.drag(EMPTY, (EMPTY[0] - 180, EMPTY[1] - 72))
    after = model.state()["view"]
    assert after["azimuth"] - before["azimuth"] == pytest.approx(180 * 180 / SIZE[1], abs=0.5)
    assert after["elevation"] - before["elevation"] == pytest.approx(-180 * 72 / SIZE[1], abs=0.5)
    model.key("r")
    model.wait(lambda state: state["view"] == before, "the first view")


def test_right_drag_comes_nearer_and_middle_drag_moves(model):
    before = model.state()["view"]
    model.drag(EMPTY, (EMPTY[0], EMPTY[1] - 200), button=3)
    nearer = model.state()["view"]
    assert nearer["distance"] < 0.8 * before["distance"]
    assert nearer["azimuth"] == before["azimuth"]
    model.drag(EMPTY, (EMPTY[0] + 100, EMPTY[1]), button=2)
    moved = model.state()["view"]
    assert moved["target"] != nearer["target"]
    assert moved["distance"] == nearer["distance"]


def test_keys_step_the_level_and_stop_at_the_ends(model):
    for key, levels in (("Left", [3, 2, 1, 1]), ("Right", [2, 3, 4, 4])):
        for level in levels:
            frame = model.state()["frame"]
            model.key(key)
            model.wait(lambda state, f=frame, n=level: state["frame"] > f + 1 and state["level"] == n, f"level {level}")


def test_mode_help_and_panels_have_keys(model):
    model.key("m")
    model.wait(lambda state: state["mode"] == "depth", "depth")
    model.key("h")
    model.wait(lambda state: state["help"], "help")
    model.sharp()
    with_help = model.screenshot()
    model.key("Tab")
    model.wait(lambda state: state["hidden"] and state["slider"] is None, "no panels")
    model.frames_later()
    assert np.abs(model.screenshot() - with_help)[300:420, 500:780].mean() > 5
    model.key("h")
    model.wait(lambda state: not state["hidden"], "panels again")


def test_panel_that_was_dragged_or_folded_is_where_it_was(model):
    before = model.screenshot()[:60, :330]  # title and slider; the figures below change by themselves
    model.drag((200, 22), (700, 500))
    model.hand("mousemove", *EMPTY)
    model.frames_later(5)
    changed = np.abs(model.screenshot()[:60, :330] - before).max(axis=-1) > 40
    assert changed[32:].sum() < 20
    model.drag((23, 22), (23, 22))  # the triangle that folds it
    model.hand("mousemove", *EMPTY)
    model.frames_later(5)
    changed = np.abs(model.screenshot()[:60, :330] - before).max(axis=-1) > 40
    assert changed[32:].sum() < 20
    assert model.state()["view"]["azimuth"] == pytest.approx(45)


def test_window_survives_any_size(model):
    window = subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", "Taichi"],
        env=model.environment, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.split()[0]  # fmt: skip
    for size in [(640, 480), (300, 20), (2, 2), (1000, 700)]:
        model.hand("windowsize", window, *size)
        state = model.wait(lambda state, size=size: tuple(state["size"]) == size, f"size {size}")
        assert state["level"] == LEVELS
        model.sharp()
    assert model.close() == 0


def test_nothing_is_left_in_the_working_directory(model):
    assert model.close() == 0
    assert sorted(path.name for path in model.folder.iterdir()) == ["log.txt", "state.jsonl"]


def test_termination_ends_the_viewer_at_once(model):
    model.process.send_signal(signal.SIGTERM)
    assert model.process.wait(PATIENCE) in (-signal.SIGTERM, 128 + signal.SIGTERM)


def test_ctrl_c_ends_the_viewer(model):
    model.process.send_signal(signal.SIGINT)
    assert model.process.wait(PATIENCE) != 0
    assert "KeyboardInterrupt" in model.output


def test_training_goes_on_while_the_level_is_dragged(start):
    viewer = start(FAKE, "trainer", "STATE")
    viewer.wait(lambda state: state["training"]["level"] == LEVELS, "all levels")
    before = viewer.state()["training"]["iteration"]
    viewer.drag(viewer.place_on_slider(LEVELS), viewer.place_on_slider(1))
    state = viewer.wait(lambda state: state["level"] == 1, "level 1")
    viewer.wait(lambda state: state["training"]["iteration"] > before + 5, "more steps")
    assert state["training"]["level"] == LEVELS

    viewer.key("space")
    paused = viewer.wait(lambda state: not state["training"]["running"], "a pause")["training"]["iteration"]
    assert viewer.frames_later(10)["training"]["iteration"] == paused
    viewer.sharp()
    viewer.key("space")
    viewer.wait(lambda state: state["training"]["iteration"] > paused, "the training again")
    assert viewer.close() == 0
    assert viewer.output.strip().endswith("saved 1")


def test_slider_slims_a_trained_model(start, tiny_run):
    viewer = start(str(ROOT / "run_viewer.py"), str(tiny_run), "--state-file", "STATE")
    sizes, pictures, at = {}, {}, LEVELS
    for level in (4, 2, 3, 1):
        if level != at:
            viewer.drag(viewer.place_on_slider(at), viewer.place_on_slider(level))
        state = viewer.wait(lambda state, level=level: state["level"] == level, f"rank {level}")
        assert state["psnr"] == TINY_PSNR[level - 1]
        viewer.sharp()
        sizes[level], pictures[level], at = state["megabytes"], scene_of(viewer.screenshot()), level
    assert sizes[1] < sizes[2] < sizes[3] < sizes[4]
    assert sizes[4] == pytest.approx((tiny_run / "model.trf").stat().st_size / 1e6)
    for level in (1, 2, 3):
        assert np.abs(pictures[level] - pictures[level + 1]).mean() > 0.5
    assert viewer.close() == 0


def test_window_and_headless_show_the_same_pixels(start, tiny_run):
    options = [str(tiny_run), "--rank", "3", "--azimuth", "80", "--distance", "5"]
    viewer = start(str(ROOT / "run_viewer.py"), *options, "--state-file", "STATE")
    viewer.sharp()
    shown = viewer.screenshot()
    command = [sys.executable, str(ROOT / "run_viewer.py"), *options, "--headless", "--screenshot", "out.png"]
    subprocess.run(command, cwd=viewer.folder, env={**viewer.environment, "DISPLAY": ""}, check=True)
    rendered = np.asarray(Image.open(viewer.folder / "out.png")).astype(int)
    difference = np.abs(scene_of(shown) - scene_of(rendered))
    assert difference.max() <= 1  # rows are rendered in other groups, so sums may round to the other side
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DISPLAY": ""}, "no display"),
        ({"DISPLAY": ":9999"}, "does not answer"),
        ({"VK_ICD_FILENAMES": "/nonexistent.json"}, "Vulkan"),
    ],
)
def test_where_no_window_can_open_it_says_what_to_do(display, tmp_path, environment, message):
    (tmp_path / "model.trf").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_viewer.py"), str(tmp_path)],
        env={**os.environ, "DISPLAY": display, **environment}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert "--headless" in done.stderr
    assert "Traceback" not in done.stderr
