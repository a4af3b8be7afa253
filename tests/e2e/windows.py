"""A viewer's window on a screen of its own, with a hand on its mouse and keyboard and an eye on its pixels.

Nothing here sleeps and hopes: the viewer writes a line of state for every frame, and the tests wait for the line they
want. A machine that lacks the display or the tools fails these tests; ``make test`` installs them.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.core.user_folders import CONFIG_VARIABLE
from tests.e2e.x11 import ClientMessage, connection_to

ROOT = Path(__file__).resolve().parents[2]
RUN_VIEWER = str(ROOT / "run_viewer.py")
FAKE = str(ROOT / "tests" / "e2e" / "fake_viewer.py")
SIZE = (1280, 720)
PATIENCE = 90.0  # seconds; kernels may have to compile on a busy machine
EMPTY = (640, 330)  # a pixel with neither a panel nor a plot over it
CLEAR = np.s_[120:540, 340:900]  # rows and columns of such pixels
COVERED = (296, 358, 90)  # columns at the left and the right, rows at the bottom over which panels, plots, figures lie

State = dict[str, Any]
Wanted = Callable[[State], object]


class Screen:
    """A virtual screen that a window fills to the pixel, and whose pixels can be read at any time."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        self.size = size
        self._memory = tempfile.TemporaryDirectory(prefix="screen-")
        read, write = os.pipe()
        self._server = subprocess.Popen(
            [
                "Xvfb", "-displayfd", str(write), "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp",
                "-noreset", "-nocursor", "-fbdir", self._memory.name,
            ],
            pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as answer:
            number = answer.readline().strip()  # the whole line: the display may be 1 or 10
        assert number, "Xvfb did not start"
        self.display = f":{number}"

    def pixels(self) -> np.ndarray:
        """(height, width, 3) uint8, what is on the screen now.

        The server's memory is a file in the form of X window dumps: big-endian numbers, colours, and rows of BGRX.
        """
        dump = (Path(self._memory.name) / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(dump, ">u4", 25).astype(int)
        start, height, row, width = header[0] + 12 * header[19], header[5], header[12], header[4]
        rows = np.frombuffer(dump, np.uint8, row * height, start).reshape(height, row)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., 2::-1].copy()

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(10)
        self._memory.cleanup()


class Viewer:
    """A running viewer. ``STATE`` in its command is where it writes its states to.

    Args:
        command: a Python program and its arguments.
        folder: its working directory; only the viewer itself writes there.
        config: where it finds and leaves its settings; a folder of its own when None.
        size: pixels of the screen.
        environment: what differs from this process's.
    """

    def __init__(
        self,
        *command: object,
        folder: Path,
        config: Path | None = None,
        size: tuple[int, int] = SIZE,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder, self._stack = folder, contextlib.ExitStack()
        self.screen = Screen(size)
        self._stack.callback(self.screen.close)
        own = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="viewer-")))
        self._log = self._stack.enter_context(open(own / "log.txt", "w+"))
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": self.screen.display,
            "PYTHONFAULTHANDLER": "1", CONFIG_VARIABLE: str(config or own / "config"), **(environment or {}),
        }  # fmt: skip
        read, write = os.pipe()  # not a file: tests may forbid the viewer to write files
        words = [str(word).replace("STATE", f"/dev/fd/{write}") for word in command]
        self.process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=self.environment, pass_fds=[write], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        os.close(write)
        self._line, self._count = b"", 0  # the last, and how many there were
        self._news, self._over = threading.Condition(), False
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()

    def _read(self, pipe: int) -> None:
        with os.fdopen(pipe, "rb") as lines:
            for line in lines:
                with self._news:
                    self._line, self._count = line, self._count + 1
                    self._news.notify_all()
        with self._news:
            self._over = True
            self._news.notify_all()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self._stack.close()

    # What it shows

    @property
    def output(self) -> str:
        """What it printed."""
        self._log.seek(0)
        return self._log.read()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def state(self) -> State:
        """The last line of state, and how many there were as its "turn"; empty before the first frame."""
        with self._news:
            line, count = self._line, self._count
        return {**json.loads(line), "turn": count} if line else {}

    def wait(self, wanted: Wanted, what: str) -> State:
        """The first state seen that is as ``wanted``; states that lack what it looks for are not."""
        end, turn = time.monotonic() + PATIENCE, 0
        while time.monotonic() < end and (state := self._state_after(turn)):
            turn = state["turn"]
            with contextlib.suppress(KeyError, TypeError):
                if wanted(state):
                    return state
        assert not self._over, f"the viewer ended while waiting for {what}:\n{self.output}"
        raise AssertionError(f"waited in vain for {what}; last state {self.state()}\n{self.output}")

    def _state_after(self, turn: int) -> State:
        """The last state as soon as there is one after that ``turn``; empty when none comes any more."""
        with self._news:
            self._news.wait_for(lambda: self._count > turn or self._over, PATIENCE)
            return self.state() if self._count > turn else {}

    def started(self) -> Viewer:
        """Wait for the first frames."""
        self.wait(lambda state: state["frame"] >= 3, "the first frames")
        return self

    def frames_later(self, count: int = 2) -> State:
        turn = self.state()["turn"] + count
        return self.wait(lambda state: state["turn"] >= turn, "more frames")

    def sharp(self) -> State:
        """Wait until the picture is complete and on the screen."""
        self.wait(lambda state: state["complete"], "a complete picture")
        return self.frames_later()

    def says(self, *words: str) -> str:
        """Wait for a message with all ``words`` in it; returns it whole."""
        return self.wait(
            lambda state: all(word in state["message"]["text"] for word in words), f"a message with {words}"
        )["message"]["text"]

    def screenshot(self) -> np.ndarray:
        """(height, width, 3) int of the whole screen."""
        return self.screen.pixels().astype(int)

    def sharp_screenshot(self) -> np.ndarray:
        self.sharp()
        return self.screenshot()

    # What is done to it

    def hand(self, *actions: object) -> str:
        """Let xdotool do it; returns what that prints."""
        return subprocess.run(
            ["xdotool", *map(str, actions)], env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    def key(self, *names: str) -> State:
        """Press and release keys, each seen by the window before the next."""
        for name in names:
            self.hand("key", name)
            state = self.frames_later()
        return state

    def hold(self, name: str) -> State:
        """Press a key for as long as a person does: some of the widgets notice no shorter one."""
        self.hand("keydown", name)
        self.frames_later()
        self.hand("keyup", name)
        return self.frames_later()

    def move(self, place: tuple[float, float]) -> State:
        self.hand("mousemove", round(place[0]), round(place[1]))
        return self.frames_later()

    def click(self, place: tuple[float, float], button: int = 1) -> State:
        self.move(place)
        self.hand("mousedown", button)
        self.frames_later()
        self.hand("mouseup", button)
        return self.frames_later()

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: int = 1) -> State:
        """Press, move in steps and let go, each seen by the window before the next."""
        self.move(start)
        self.hand("mousedown", button)
        self.frames_later()
        for part in (0.25, 0.5, 0.75, 1.0):
            self.hand("mousemove", *(round(a + part * (b - a)) for a, b in zip(start, end)))
            self.frames_later(1)
        self.frames_later()
        self.hand("mouseup", button)
        return self.frames_later()

    def widget(self, label: str) -> list[float]:
        """Left, top, width and height of the button or slider that begins with ``label``."""
        places = self.wait(lambda state: _starting(state["widgets"], label), f"the widget '{label}'")["widgets"]
        return _starting(places, label)[0]

    def press(self, label: str) -> State:
        """Press the button that begins with ``label``; returns once that has had its effect."""
        place = None
        while place != (place := self.widget(label)):  # rows come and go above it
            x, y, width, height = place
            self.move((x + width / 2, y + height / 2))
        self.click((x + width / 2, y + height / 2))
        return self.frames_later(3)  # ImGui answers up to two frames late

    def place_on_slider(self, level: int) -> tuple[float, float]:
        """The pixel in the middle of where the slider stands at ``level``."""
        state = self.wait(lambda state: state["slider"], "the slider")
        x, y, width, height = state["slider"]
        return x + width * (level - 0.5) / state["num_levels"], y + height / 2

    def slide(self, level: int) -> State:
        """Drag the slider from where it stands to ``level``."""
        self.drag(self.place_on_slider(self.state()["level"]), self.place_on_slider(level))
        return self.wait(lambda state: state["level"] == level, f"level {level}")

    def home(self) -> State:
        """Back to how it began, so that one viewer can serve many tests."""
        self.hand("mouseup", 1, "keyup", "w", "keyup", "shift")
        if tuple(self.state()["size"]) != self.screen.size:
            self.resize(*self.screen.size)
        self.move(EMPTY)
        for wrong, key in (
            (lambda state: state["demo"], "g"),
            (lambda state: state["page"] == "help", "h"),
            (lambda state: state["page"] == "open", "o"),
            (lambda state: state["hidden"], "Tab"),
            (lambda state: state["flying"], "f"),
            (lambda state: state["mode"] != "colour", "m"),
            (lambda state: state["compare"]["layout"] != "wipe", "x"),
            (lambda state: state["compare"]["kind"] != "off", "c"),
            (lambda state: state["level"] < state["num_levels"], "Right"),
        ):
            while wrong(self.state()):
                self.key(key)
        if self.state()["page"]:
            self.press("< back")
            self.move(EMPTY)
        if self.state()["recording"]:
            self.press("Keep ...")
            self.press("Cancel the")
            self.press("< back")
            self.move(EMPTY)
        self.key("r")
        return self.sharp()

    def window(self) -> str:
        """The window's number."""
        return self.hand("search", "--onlyvisible", "--name", "Taichi").split()[0]

    @contextlib.contextmanager
    def minimised(self) -> Iterator[None]:
        """Take the window off the screen, and put it back as a window manager does, with the keyboard's focus."""
        window = self.window()
        self.hand("windowunmap", "--sync", window)
        yield
        self.hand("windowmap", "--sync", window, "windowfocus", "--sync", window)
        self.frames_later()

    def resize(self, width: int, height: int) -> State:
        self.hand("windowsize", self.window(), width, height)
        return self.wait(lambda state: tuple(state["size"]) == (width, height), f"{width} x {height}")

    def close(self) -> int:
        """Press Escape until the window closes, whatever it asks; returns the exit code."""
        for _ in range(4):
            self.hand("key", "Escape")
            if self._closes_within(4):
                break
        return self.ended()

    def _closes_within(self, frames: int) -> bool:
        """Whether no more frames come after the next few."""
        with self._news:
            last = self._count + frames
            self._news.wait_for(lambda: self._over or self._count >= last, PATIENCE)
        return self._over

    def close_button(self) -> int:
        """Do what a window manager does when one presses the window's cross; returns the exit code."""
        message = ClientMessage()
        with connection_to(self.screen.display) as (x11, connection):
            message.type, message.format, message.window = 33, 32, int(self.window())
            message.kind = x11.XInternAtom(connection, b"WM_PROTOCOLS", 0)
            message.data[0] = x11.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
            x11.XSendEvent(connection, message.window, 0, 0, ctypes.byref(message))
        return self.ended()

    def signalled(self, number: signal.Signals) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(PATIENCE)
        assert "Traceback" not in self.output or code == -signal.SIGKILL, self.output
        assert code in (0, -signal.SIGKILL) or code > 0, f"crashed with {code}:\n{self.output}"
        return code


def _starting(places: dict[str, list[float]], label: str) -> list[list[float]]:
    return [place for name, place in places.items() if name.startswith(label)]


@contextlib.contextmanager
def revived(start: Callable[[], Viewer]) -> Iterator[Callable[[], Viewer]]:
    """Give a function that returns the one viewer, at home; one that has died is replaced, so that others go on."""
    with contextlib.ExitStack() as stack:
        viewers: list[Viewer] = []

        def get() -> Viewer:
            if not viewers or not viewers[-1].alive:
                viewers.append(stack.enter_context(start()).started())
            viewers[-1].home()
            return viewers[-1]

        yield get


@contextlib.contextmanager
def files_of_at_most(size: int, viewer: Viewer) -> Iterator[None]:
    """Let the viewer's files grow no larger than ``size`` bytes, as on a disk that is full."""
    before = resource.prlimit(viewer.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(viewer.process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        if viewer.alive:
            resource.prlimit(viewer.process.pid, resource.RLIMIT_FSIZE, before)
