"""However the process that poses photographs ends, it is a result or a sentence, and nothing goes to the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from scenes.posing import process
from scenes.posing.cameras import CameraGuess
from scenes.posing.job import Job, Photograph, read_job
from taichi_rf.core.errors import UserError

JOB = Job((Photograph("/a.png", "a.png", 0),), (CameraGuess(4, 3, focal=5.0),), ((0, 1),), "/out")
posix = pytest.mark.skipif(os.name == "nt", reason="signals are of POSIX")


@pytest.fixture
def ends(monkeypatch, tmp_path):
    """Run the stand-in, which ends as it is told."""
    monkeypatch.setattr(process, "MODULE", "tests.posing_child")
    monkeypatch.setattr(process, "HEARTBEAT", 0.02)

    def run(end, progress=None, stage=None):
        monkeypatch.setenv("TAICHI_RF_TEST_END", end)
        return process.run(JOB, tmp_path, progress, stage)

    return run


def alive():
    """The processes that this one has started and that have not ended."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # others end while this looks
            if f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text():
                found.append(pid)
    return found


def test_a_job_survives_the_journey(tmp_path):
    JOB.write(tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == JOB


def test_stages_and_progress_are_passed_on_and_nothing_is_printed(ends, capfd):
    steps, stages = [], []
    assert ends("done", lambda *step: steps.append(step), stages.append) == ["a.png"]
    assert stages == ["comparing photographs", "placing photographs"]
    assert steps[0] == (1, 4)
    assert steps[-1] == (0, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("error", "photograph 'a.png' is broken"),
        ("half", "exit code 0 while comparing photographs"),
        pytest.param("SIGABRT", r"signal 6 while comparing photographs \(.*the sky\)", marks=posix),
        pytest.param("SIGSEGV", "signal 11 while comparing photographs", marks=posix),
        pytest.param("SIGKILL", "lack of memory", marks=posix),
    ],
)
def test_every_other_end_is_a_sentence(ends, end, said, capfd):
    with pytest.raises(UserError, match=said):
        ends(end)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_ends_the_process(ends, request):
    before = set(alive())
    was = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, was))
    threading.Timer(0.7, signal.raise_signal, [signal.SIGINT]).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ends("hang")
    assert time.monotonic() - began < 30
    assert set(alive()) <= before


def test_who_waits_can_change_their_mind_though_nothing_happens(ends):
    seen = []

    def progress(done, total):
        seen.append(done)
        if len(seen) == 5:
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        ends("hang", progress)


def test_without_pycolmap_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(UserError, match=r"pip install 'taichi-rf\[photos\]'"):
        process.run(JOB, tmp_path, None, None)
    assert not list(tmp_path.iterdir())
