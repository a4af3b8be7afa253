"""What the window costs and how soon it answers, on a virtual screen of its own. Not a test: it prints a table.

    python tests/bench/window.py slider MODEL         from a press on the slider to the first picture at that level
    python tests/bench/window.py rest MODEL           from the end of a drag to the full picture at 800x800
    python tests/bench/window.py drags MODEL          100 drags of the slider, each checked
    python tests/bench/window.py stream MODEL         from its address to the pictures of its levels, at 1 Mbit/s
    python tests/bench/window.py demo MODEL           an hour of demonstration, twelve times as fast; memory all along

What a training keeps of its time in the window is measured by window_share.py. Nothing else should run meanwhile: the
window, software Vulkan, the training and xdotool share the cores.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.core.user_folders import CONFIG_VARIABLE  # noqa: E402
from tests.e2e.windows import Screen  # noqa: E402
from tests.e2e.x11 import button, connection_to  # noqa: E402
from tests.trickle import Trickle, served  # noqa: E402

ACCELERATED = 12.0
DEMO_SECONDS = 3600.0
PATIENCE = 120.0
PRESSES = 20
LINK = 125_000.0  # bytes a second: 1 Mbit/s


class Watched:
    """A window whose every state is kept."""

    def __init__(self, screen: Screen, folder: Path, *command: object) -> None:
        self.states: list[dict[str, Any]] = []
        self._stack = ExitStack()
        self._connection = self._stack.enter_context(connection_to(screen.display))
        self._file, self._read = folder / "states.jsonl", 0
        self.environment = {
            **os.environ, "DISPLAY": screen.display, "PYTHONPATH": str(ROOT), CONFIG_VARIABLE: str(folder / "config"),
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command), "--state-file", str(self._file)], cwd=folder, env=self.environment
        )

    def look(self) -> dict[str, Any]:
        """Take in the new states; the last one."""
        if self._file.exists():
            with open(self._file, "rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]
            self._read += len(whole) + bool(whole)
            self.states += [json.loads(line) for line in whole.splitlines() if line]
        return self.states[-1] if self.states else {}

    def wait(self, wanted: Callable[[dict[str, Any]], Any], after: float = 0.0) -> dict[str, Any]:
        """The first state later than ``after`` that is as wanted."""
        end, seen = time.monotonic() + PATIENCE, 0
        while time.monotonic() < end:
            self.look()
            for state in self.states[seen:]:
                if state["seconds"] > after and wanted(state):
                    return state
            seen = len(self.states)
            if self.process.poll() is not None:
                raise SystemExit(f"the viewer ended with {self.process.returncode}")
            time.sleep(0.002)
        raise SystemExit(f"waited in vain; last state: {self.look()}")

    def hand(self, *actions: object) -> float:
        """What the mouse or a key does; the moment before."""
        at = time.monotonic()
        subprocess.run(["xdotool", *map(str, actions)], env=self.environment, check=True)
        return at

    def press(self) -> float:
        """Press the mouse; the moment before."""
        at = time.monotonic()
        button(self._connection, True)
        return at

    def release(self) -> None:
        """Let go of the mouse."""
        button(self._connection, False)

    def place(self, level: int) -> tuple[int, int]:
        """Where the slider stands at ``level``."""
        state = self.look()
        x, y, width, height = state["slider"]
        return round(x + width * (level - 0.5) / state["num_levels"]), round(y + height / 2)

    def close(self) -> None:
        self.hand("key", "Escape")
        self.process.wait(60)

    def forget(self) -> None:
        """The window is over, however it ended."""
        self._stack.close()
        self.process.kill()


@contextmanager
def watched(*command: object, size: tuple[int, int] = (1280, 720)) -> Iterator[Watched]:
    """The viewer on a screen of ``size``, closed in the end."""
    screen = Screen(size)
    with tempfile.TemporaryDirectory() as folder:
        viewer = Watched(screen, Path(folder), *command, "--width", size[0], "--height", size[1])
        try:
            viewer.wait(lambda state: state.get("level"))
            yield viewer
            viewer.close()
        finally:
            viewer.forget()
            screen.close()


def slider(model: Path) -> None:
    """Press on the slider at another level, and look when the picture shows it: while the picture before is complete,
    and while it is still being sharpened."""
    with watched(ROOT / "run_viewer.py", model) as viewer:
        count, order = viewer.look()["num_levels"], random.Random(0)
        for what in ("a picture at rest", "one that is being sharpened"):
            latencies: list[float] = []
            while len(latencies) < PRESSES:
                if what == "a picture at rest":
                    viewer.wait(lambda state: state["complete"], time.monotonic())
                level = order.choice([n for n in range(1, count + 1) if n != viewer.look()["level"]])
                viewer.hand("mousemove", *viewer.place(level))
                pressed = viewer.press()
                state = viewer.wait(lambda state, level=level: state["shown"] == level, pressed)
                latencies.append(1000 * (state["seconds"] - pressed))
                viewer.release()
            print(
                f"over {what}, {PRESSES} presses: median "
                f"{statistics.median(latencies):.0f} ms, most {max(latencies):.0f} ms",
                flush=True,
            )


def rest(model: Path) -> None:
    """Drag the scene, let go, and wait for the full picture."""
    with watched(ROOT / "run_viewer.py", model, size=(800, 800)) as viewer:
        seconds = []
        for step in range(6):
            viewer.wait(lambda state: state["complete"], time.monotonic())
            viewer.hand("mousemove", 500, 500, "mousedown", 1)
            viewer.wait(lambda state: True, time.monotonic())
            viewer.hand("mousemove", 440 + 10 * step, 480)
            viewer.wait(lambda state: not state["complete"], time.monotonic() - 0.05)
            released = viewer.hand("mouseup", 1)
            state = viewer.wait(lambda state: state["complete"] and state["divisor"] == 1, released)
            seconds.append(state["seconds"] - released)
    print(
        f"to the full picture at 800x800, s: {', '.join(f'{s:.2f}' for s in seconds)}; "
        f"median {statistics.median(seconds):.2f}"
    )


def drags(model: Path) -> None:
    """Press, move in steps, let go: the level, the bytes and the picture have to be those of the place."""
    right = 0
    with watched(ROOT / "run_viewer.py", model) as viewer:
        count, at, rng = viewer.look()["num_levels"], viewer.look()["level"], random.Random(1)
        sizes: dict[int, float] = {}
        for number in range(100):
            level = rng.choice([n for n in range(1, count + 1) if n != at])
            a, b = viewer.place(at), viewer.place(level)
            viewer.hand("mousemove", *a)
            frame = viewer.look()["frame"]
            viewer.wait(lambda state, frame=frame: state["frame"] > frame + 1)
            viewer.hand("mousedown", 1)
            frame = viewer.look()["frame"]
            viewer.wait(lambda state, frame=frame: state["frame"] > frame + 1)
            for part in (0.3, 0.6, 1.0):
                viewer.hand("mousemove", round(a[0] + part * (b[0] - a[0])), a[1])
            frame = viewer.look()["frame"]
            viewer.wait(lambda state, frame=frame: state["frame"] > frame + 2)
            released = viewer.hand("mouseup", 1)
            state = viewer.wait(lambda state: True, released + 0.2)
            good = (
                state["level"] == state["shown"] == level
                and sizes.setdefault(level, state["megabytes"]) == state["megabytes"]
            )
            right += good
            if not good:
                print(f"drag {number}: from {at} to {level}, shows {state['level']}")
            at = state["level"]
    ordered = [sizes[level] for level in sorted(sizes)]
    print(f"{right} of 100 drags correct; sizes rise with the level: {ordered == sorted(set(ordered))}")


def stream(model: Path) -> None:
    """From the start of the program, and from its first request, to the first picture and on, twice: the first time
    may have to compile."""
    for _ in range(2):
        screen = Screen((1280, 720))
        with tempfile.TemporaryDirectory() as folder, served(Trickle(model.read_bytes(), rate=LINK)) as server:
            begun = time.monotonic()
            viewer = Watched(screen, Path(folder), ROOT / "run_viewer.py", server.url, "--width", 1280, "--height", 720)
            while not server.asked:
                time.sleep(0.002)
            asked = time.monotonic()
            last = viewer.wait(lambda state: state["arriving"] and state["arriving"]["over"] and state["complete"])
            first: dict[int, float] = {}
            for state in viewer.states:
                if state["shown"] is not None:
                    first.setdefault(state["shown"], state["seconds"])
            viewer.close()
            viewer.forget()
            screen.close()
        print(
            f"{len(server.data) / 1e6:.2f} MB at {LINK * 8 / 1e6:g} Mbit/s, {len(server.data) / LINK:.1f} s by counting"
        )
        print(f"first request {asked - begun:.2f} s after the start")
        for level, seconds in first.items():
            print(
                f"picture of level {level}: {seconds - asked:.2f} s after the request, {seconds - begun:.2f} s in all"
            )
        print(f"the whole model, sharp: {last['seconds'] - asked:.2f} s after the request")


def demo(model: Path) -> None:
    """The demonstration on a clock that runs fast; memory from the process itself, once a demonstrated minute."""
    with watched(__file__, "fast", model) as viewer:
        viewer.wait(lambda state: state["complete"])
        viewer.hand("key", "g")
        start, memory, minute = viewer.wait(lambda state: state["demo"])["seconds"], [], 0.0
        levels: set[int] = set()
        while (passed := ACCELERATED * (time.monotonic() - start)) < DEMO_SECONDS:
            if passed >= minute:
                pages = int(Path(f"/proc/{viewer.process.pid}/statm").read_text().split()[1])
                memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
                minute += 60
            viewer.look()
            levels |= {state["level"] for state in viewer.states}
            frames, viewer.states = viewer.states[-1]["frame"], viewer.states[-1:]
            time.sleep(0.5)
        viewer.hand("key", "g")
        viewer.wait(lambda state: not state["demo"])
    print(f"{frames:,} frames in {DEMO_SECONDS / ACCELERATED:.0f} s for an hour, levels {min(levels)} to {max(levels)}")
    print("memory in MB, every ten minutes:", ", ".join(f"{m:.0f}" for m in memory[::10]), f"and {memory[-1]:.0f}")


def fast(model: str, *options: str) -> None:
    """The window over a session whose clock runs ``ACCELERATED`` times as fast."""
    from functools import partial

    from viewer.app.studio import Studio
    from viewer.desktop import window
    from viewer.session.session import Session

    values = dict(zip(options[::2], options[1::2]))
    begun = time.perf_counter()
    studio = Studio(
        arch="cpu", session=partial(Session, clock=lambda: begun + ACCELERATED * (time.perf_counter() - begun))
    )
    studio.open_now(model)
    window.run(
        studio, width=int(values["--width"]), height=int(values["--height"]), state_file=Path(values["--state-file"])
    )


if __name__ == "__main__":
    what, *rest_of = sys.argv[1:] or ["help"]
    if what == "fast":
        fast(*rest_of)
    elif what in ("slider", "rest", "drags", "stream", "demo"):
        globals()[what](Path(rest_of[0]).resolve())
    else:
        print(__doc__)
