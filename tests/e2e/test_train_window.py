"""``train.py --view`` as a user runs it, on a virtual screen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taichi_rf.core.files import read_json
from taichi_rf.storage.trf import load_checkpoint
from taichi_rf.training.run import LOCK, METRICS, MODEL, REPORT
from tests.e2e.train_cli import HERE, ITERATIONS, TIMEOUT, chunks, command, wait_for


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen."""
    read, write = os.pipe()
    arguments = ["-displayfd", str(write), "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(["Xvfb", *arguments], pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(10)


class Window:
    """``train.py --view`` on a virtual screen."""

    def __init__(self, *arguments: object, folder: Path, display: str, **environment: str) -> None:
        self.environment = {**os.environ, **HERE, "DISPLAY": display, "TAICHI_RF_CONFIG": str(folder), **environment}
        self.process = subprocess.Popen(
            command(*arguments, "--view", tiny=True), cwd=folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait_for(self, what: Callable[[], bool]) -> None:
        wait_for(what, self.process)

    def close(self, how: str = "Escape") -> tuple[int, str, str]:
        """Press Escape, or send Ctrl-C; return exit code, output and errors."""
        try:
            if how == "Ctrl-C":
                self.process.send_signal(signal.SIGINT)
            else:
                press = ["xdotool", "search", "--sync", "--name", "Taichi RF", "mousemove", "640", "600", "key", how]
                subprocess.run(press, env=self.environment, check=True, timeout=TIMEOUT, stdout=subprocess.DEVNULL)
            output, errors = self.process.communicate(timeout=TIMEOUT)
        finally:
            self.process.kill()
        assert "Traceback" not in errors
        return self.process.returncode, output, errors


@pytest.mark.parametrize(("how", "code"), [("Escape", 0), ("Ctrl-C", 130)])
def test_a_window_that_is_closed_while_training_leaves_a_run_to_resume(place, tmp_path, display, how, code):
    run = tmp_path / "run"
    long = (place / "balls", "--iterations", 10**6, "--out", "run")
    window = Window(*long, folder=tmp_path, display=display, TINY_SAVE_SECONDS="0.1")
    window.wait_for((run / MODEL).exists)  # written with the second checkpoint
    closed, output, errors = window.close(how)
    assert closed == code, errors
    assert "--resume run" in output + errors
    _, state = load_checkpoint(run / "checkpoint")
    assert state["iteration"] > 0
    assert f"iteration {state['iteration']:,}" in output + errors
    assert len(chunks(run)) == 4
    assert not (run / LOCK).exists()
    again = Window("--resume", "run", folder=tmp_path, display=display, TINY_SAVE_SECONDS="0.1")
    before = (run / "checkpoint").stat().st_ino
    again.wait_for(lambda: (run / "checkpoint").stat().st_ino != before)
    assert again.close()[0] == 0
    assert load_checkpoint(run / "checkpoint")[1]["iteration"] > state["iteration"]


def test_a_training_that_ends_in_its_window_is_evaluated_there_and_makes_the_same_model(place, tmp_path, display):
    window = Window(place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path, display=display)
    window.wait_for((tmp_path / "run" / REPORT).exists)
    code, output, errors = window.close()
    assert code == 0, errors
    levels = read_json(tmp_path / "run" / METRICS)["levels"]
    for level in levels:
        assert f"{level['psnr']:.2f}" in output
    assert chunks(tmp_path / "run") == chunks(place / "runs" / "whole")
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_finished_run_that_is_resumed_with_view_is_shown_and_evaluated_in_its_window(place, tmp_path, display):
    run = tmp_path / "run"
    shutil.copytree(place / "runs" / "whole", run)
    before = read_json(run / METRICS)
    (run / METRICS).unlink()
    window = Window("--resume", "run", place / "balls", folder=tmp_path, display=display)
    window.wait_for((run / METRICS).exists)
    code, output, errors = window.close()
    assert code == 0, errors
    psnr = [level["psnr"] for level in before["levels"]]
    assert [level["psnr"] for level in read_json(run / METRICS)["levels"]] == psnr
    assert f"{before['levels'][-1]['psnr']:.2f}" in output
    assert "evaluate it with" not in output


def test_a_window_closed_before_the_evaluation_is_followed_by_one_and_no_request_for_it(place, tmp_path, display):
    run = tmp_path / "run"
    shutil.copytree(place / "runs" / "whole", run)
    window = Window("--resume", "run", place / "balls", folder=tmp_path, display=display)
    code, output, errors = window.close()
    assert code == 0, errors
    assert f"{read_json(run / METRICS)['levels'][-1]['psnr']:.2f}" in output
    assert "evaluate it with" not in output


def test_a_loss_that_is_no_number_ends_the_training_and_not_the_window(place, tmp_path, display):
    window = Window(
        place / "balls", "--iterations", ITERATIONS, "--out", "run", folder=tmp_path, display=display,
        TINY_NAN_AT="30", TINY_SAVE_SECONDS="0.001",
    )  # fmt: skip
    lock = tmp_path / "run" / LOCK
    window.wait_for(lock.exists)
    window.wait_for(lambda: not lock.exists())  # it lets go of the folder when the training has ended
    code, _, errors = window.close()
    assert code == 2
    assert "the loss became nan at iteration 29" in errors
    assert "--resume run" in errors
    assert load_checkpoint(tmp_path / "run" / "checkpoint")[1]["iteration"] == 29
