"""Reading in a thread: it reports, it ends when nobody wants it, and its processes end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from taichi_rf.core.errors import UserError
from viewer.app.loading import Cancelled, Loading

PATIENCE = 60.0
COUNT = (
    "import sys, time\nfor i in range(int(sys.argv[1])): print(i, flush=True)\nif len(sys.argv) > 2: time.sleep(600)"
)


def finished(loading: Loading) -> Loading:
    assert loading.wait(PATIENCE)
    assert loading.done
    return loading


def test_what_the_work_returns_is_the_result():
    loading = finished(Loading("counting", lambda loading: 7).start())
    assert (loading.result, loading.error) == (7, None)


@pytest.mark.parametrize("error", [UserError("no"), ZeroDivisionError()])
def test_what_the_work_raises_is_the_error(error):
    def work(loading: Loading) -> None:
        raise error

    loading = finished(Loading("failing", work).start())
    assert (loading.result, loading.error) == (None, error)


def test_the_work_says_how_far_it_is_and_ends_once_it_is_cancelled():
    told, go_on = threading.Event(), threading.Event()

    def work(loading: Loading) -> None:
        loading.report("half of it", 0.5)
        told.set()
        assert go_on.wait(PATIENCE)
        loading.report("more of it")
        raise AssertionError("it went on")

    loading = Loading("all of it", work)
    assert (loading.text, loading.progress, loading.done) == ("all of it", None, False)
    loading.start()
    assert told.wait(PATIENCE)
    assert (loading.text, loading.progress) == ("half of it", 0.5)
    loading.cancel()
    go_on.set()
    assert isinstance(finished(loading).error, Cancelled)


def test_lines_of_a_process_are_handed_on():
    lines: list[str] = []
    command = [sys.executable, "-c", COUNT, "3"]
    loading = Loading("", lambda loading: loading.watch(command, dict(os.environ), lines.append))
    assert finished(loading.start()).error is None
    assert lines == ["0\n", "1\n", "2\n"]


def test_cancelling_ends_the_process():
    started = threading.Event()
    command = [sys.executable, "-c", COUNT, "1", "and sleep"]
    loading = Loading("", lambda loading: loading.watch(command, dict(os.environ), lambda line: started.set()))
    loading.start()
    assert started.wait(PATIENCE)
    process = loading._process
    assert process is not None
    loading.cancel()
    finished(loading)
    assert process.poll() is not None


def test_a_reader_that_fails_ends_the_process_as_well():
    seen: list[int] = []

    def work(loading: Loading) -> None:
        def line(text: str) -> None:
            assert loading._process is not None
            seen.append(loading._process.pid)
            raise UserError("enough")

        loading.watch([sys.executable, "-c", COUNT, "1", "and sleep"], dict(os.environ), line)

    assert isinstance(finished(Loading("", work).start()).error, UserError)
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


def test_work_that_was_cancelled_before_it_began_starts_no_process():
    loading = Loading("", lambda loading: loading.watch(["/nonexistent"], {}, print))
    loading.cancel()
    loading.run()
    assert isinstance(loading.error, Cancelled)


def test_the_program_does_not_wait_for_work_that_hangs(tmp_path):
    script = "import time\nfrom viewer.app.loading import Loading\nLoading('', lambda l: time.sleep(600)).start()\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=PATIENCE)
