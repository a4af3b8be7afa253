"""Reading in a thread: it reports, it ends when nobody wants it, and its processes end with it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from scenes.posing import process
from taichi_rf.core.errors import UserError
from taichi_rf.training.configs.slimmerf import QUICK
from taichi_rf.training.run import Recipe
from tests.unposed import Placing, write_photographs
from viewer.app.loading import Cancelled, Loading, load_scene

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


def test_photographs_that_are_posed_say_their_stages_and_can_be_cancelled(tmp_path, monkeypatch):
    write_photographs(tmp_path / "photos")
    monkeypatch.setattr(process, "run", Placing())
    seen = []

    class Watched(Loading):
        def report(self, text, progress=None):
            seen.append(text)
            super().report(text, progress)

    recipe = Recipe(QUICK, str(tmp_path / "photos"), 1)
    loading = Watched("", lambda loading: load_scene(recipe, loading))
    loading.run()
    assert (loading.error, len(loading.result.train)) == (None, 8)
    title = "loading photos"
    assert list(dict.fromkeys(seen)) == [
        title, "looking for features", "comparing photographs", "placing photographs"
    ]  # fmt: skip
    assert seen[-1] == title
    (tmp_path / "photos/IMG_000.png").unlink()
    loading = Watched("", lambda loading: load_scene(recipe, loading))

    def cancelled(job, folder, progress, stage):
        loading.cancel()
        progress(1, 2)

    monkeypatch.setattr(process, "run", cancelled)
    loading.run()
    assert isinstance(loading.error, Cancelled)
    assert not list((tmp_path / "photos/.taichi-rf-poses").glob(".part*"))


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
