"""A model that is looked at while it comes: in the window, without one, and over a connection that breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taichi_rf.storage.trf import read_trf
from tests.e2e.windows import CLEAR, ROOT, RUN_VIEWER, Viewer
from tests.trickle import Trickle, served

LEVELS = 4
Serve = Callable[..., Trickle]


@pytest.fixture
def serve(tiny_run: Path) -> Iterator[Serve]:
    with ExitStack() as stack:
        data = (tiny_run / "model.trf").read_bytes()
        yield lambda **how: stack.enter_context(served(Trickle(**{"data": data, **how})))


@pytest.fixture
def sizes(tiny_run: Path) -> list[int]:
    return read_trf(tiny_run / "model.trf").prefix_bytes


def opened(start: Callable[..., Viewer], what: object) -> Viewer:
    return start(RUN_VIEWER, what, "--state-file", "STATE", "--arch", "cpu")


def showing(viewer: Viewer, level: int) -> np.ndarray:
    """Wait for the sharp picture of a level; returns what is to be seen of the model."""
    viewer.wait(lambda state: state["shown"] == level and state["complete"], f"level {level}")
    viewer.frames_later()
    return viewer.screenshot()[CLEAR]


def test_it_is_shown_with_its_first_level_and_sharpens_to_the_last(start, serve, sizes, tiny_run):
    server = serve(upto=sizes[0] - 1)
    viewer = opened(start, server.url)
    state = viewer.wait(lambda state: state["arriving"]["received"], "some bytes")
    assert (state["shown"], state["num_levels"], state["arriving"]["level"]) == (None, LEVELS, 0)
    text = state["arriving"]["text"]
    assert "receiving rank 1 of 4" in text or "trying again" in text  # on a slow machine it has waited for long
    pictures = []
    for level, size in enumerate(sizes, 1):
        server.upto = size
        pictures.append(showing(viewer, level))
        state = viewer.state()
        assert (state["level"], state["num_levels"], state["arriving"]["level"]) == (level, LEVELS, level)
        assert state["arriving"]["over"] == (level == LEVELS)
        assert state["megabytes"] == size / 1e6
    assert all(np.abs(a - b).mean() > 0.1 for a, b in zip(pictures, pictures[1:]))
    assert viewer.close() == 0
    local = opened(start, tiny_run / "model.trf")
    np.testing.assert_array_equal(pictures[-1], showing(local, LEVELS))
    local.key("Left", "Left", "Left")
    np.testing.assert_array_equal(pictures[0], showing(local, 1))


def test_a_connection_that_breaks_is_told_of_and_it_goes_on_by_itself(start, serve, sizes):
    server = serve(cut=[sizes[1] + 20], stays_down=True)
    viewer = opened(start, server.url)
    state = viewer.wait(lambda state: state["arriving"]["trouble"], "the connection to break")
    assert "what came is kept; trying again" in state["arriving"]["trouble"]
    before = showing(viewer, 2)
    server.down = False
    after = showing(viewer, LEVELS)
    assert np.abs(after - before).mean() > 0.1
    assert viewer.state()["arriving"]["trouble"] is None
    assert server.asked[-1]["range"] == f"bytes={sizes[1] + 20}-"
    assert viewer.close() == 0


def test_one_who_chose_a_level_stays_there_and_can_keep_what_came(start, serve, sizes, tmp_path, tiny_run):
    server = serve(upto=sizes[1])
    viewer = opened(start, server.url)
    showing(viewer, 2)
    viewer.key("Left")
    server.upto = None
    viewer.wait(lambda state: state["arriving"]["over"], "the rest")
    assert viewer.frames_later()["level"] == 1
    viewer.key("Right", "n")
    assert viewer.says("saved", ".trf")
    saved = next(tmp_path.glob("*.trf"))
    assert saved.read_bytes() == (tiny_run / "model.trf").read_bytes()[: sizes[1]]
    viewer.key("Right", "Right")
    showing(viewer, LEVELS)


@pytest.mark.parametrize("way", ["escape", "signal"])
def test_closing_does_not_wait_for_what_is_still_to_come(start, serve, sizes, way):
    for upto in (sizes[0] - 1, sizes[1] + 1):
        viewer = opened(start, serve(upto=upto).url)
        viewer.wait(lambda state: state["arriving"]["received"], "some bytes")
        began = time.monotonic()
        code = viewer.close() if way == "escape" else viewer.signalled(signal.SIGTERM)
        assert code == (0 if way == "escape" else 128 + signal.SIGTERM)
        assert time.monotonic() - began < 30  # far less than what it waits for, which never comes


def test_what_never_was_a_model_is_said_in_a_line(serve, tmp_path):
    for url, words in (
        (serve(data=b"<html>" * 50).url, "is not a .trf model"),
        (serve(status=[404]).url, "the server answered 404"),
        ("ftp://host/model.trf", "not followed"),
    ):
        done = run_viewer(url, "--headless", "--screenshot", "no.png", folder=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def run_viewer(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUN_VIEWER, *map(str, arguments)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_without_a_window_only_what_is_asked_for_is_waited_for(serve, sizes, tiny_run, tmp_path):
    server = serve(upto=sizes[1])
    arguments = ("--headless", "--level", 2, "--width", 96, "--height", 64, "--arch", "cpu", "--screenshot")
    for what, name in ((server.url, "came.png"), (tiny_run / "model.trf", "local.png")):
        done = run_viewer(what, *arguments, name, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    came, local = (np.asarray(Image.open(tmp_path / name)) for name in ("came.png", "local.png"))
    np.testing.assert_array_equal(came, local)
    slim = serve(data=server.data[: sizes[1]])
    done = run_viewer(slim.url, "--headless", "--level", 3, "--screenshot", "no.png", "--arch", "cpu", folder=tmp_path)
    assert done.returncode == 2
    assert "rank 1 to 2" in done.stderr
    assert not (tmp_path / "no.png").exists()


def test_a_limited_bandwidth_is_that_of_a_slow_link(tiny_run, tmp_path):
    size = (tiny_run / "model.trf").stat().st_size
    arguments = ("--headless", "--width", 96, "--height", 64, "--arch", "cpu", "--screenshot")
    assert run_viewer(tiny_run, *arguments, "local.png", folder=tmp_path).returncode == 0
    began = time.monotonic()
    done = run_viewer(tiny_run, *arguments, "slow.png", "--bandwidth", f"{size // 2}B", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began > 2.0
    slow, local = (np.asarray(Image.open(tmp_path / name)) for name in ("slow.png", "local.png"))
    np.testing.assert_array_equal(slow, local)
    for wrong, words in (
        ((tiny_run, "--bandwidth", "fast"), "bits a second"),
        (("--bandwidth", "1M"), "goes with the file or the address"),
    ):
        done = run_viewer(*wrong, *(() if len(wrong) < 3 else (*arguments, "no.png")), folder=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr


def test_the_command_line_takes_addresses(serve, sizes, tiny_run, tmp_path):
    server = serve()

    def taichi_rf(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "taichi_rf", *map(str, arguments)],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    told, local = taichi_rf("info", server.url), taichi_rf("info", tiny_run / "model.trf")
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-8:] == local.stdout.splitlines()[-8:]
    assert taichi_rf("slim", server.url, "--rank", 2, "-o", "two.trf").returncode == 0
    assert (tmp_path / "two.trf").read_bytes() == server.data[: sizes[1]]
    for rank in (0, 9):
        done = taichi_rf("slim", server.url, "--rank", rank, "-o", "odd.trf")
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert not (tmp_path / "odd.trf").exists()
