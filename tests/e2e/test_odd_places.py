"""Homes that cannot be written, outputs that nobody reads or that know few letters, and too little memory."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taichi_rf.core.files import read_json
from taichi_rf.training.run import CONFIG, METRICS
from tests.tiny import write_tiny_scene

ROOT = Path(__file__).resolve().parents[2]
TINY = [sys.executable, str(ROOT / "tests" / "e2e" / "tiny_train.py")]
TRAIN = [sys.executable, str(ROOT / "train.py")]


def environment(**changes: str | None) -> dict[str, str]:
    """This process's, with ``changes``; what is None is taken out."""
    all_of_it = {**os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": "", "WAYLAND_DISPLAY": "", **changes}
    return {key: value for key, value in all_of_it.items() if value is not None}


def run(command: list[str], folder: Path, **of: object) -> subprocess.CompletedProcess[bytes]:
    of.setdefault("env", environment())
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=240, **of)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_tiny_scene(folder / "balls")
    return folder


@pytest.mark.parametrize("home", ["/dev/null", None])
def test_a_home_that_cannot_be_written_does_without(place, tmp_path, home):
    """Taichi would abort without a home, and end with a segmentation fault where it cannot write."""
    changed = environment(HOME=home, XDG_CACHE_HOME=None, XDG_CONFIG_HOME=None, TMPDIR=str(tmp_path))
    done = run([*TINY, str(place / "balls"), "--iterations", "8", "--out", "run"], tmp_path, env=changed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "run" / METRICS).exists()


@pytest.mark.parametrize("encoding", ["cp932", "ascii"])
def test_letters_that_the_output_lacks_are_replaced(place, tmp_path, encoding):
    done = run(
        [*TINY, str(place / "balls"), "--iterations", "8", "--out", "run"], tmp_path,
        env=environment(PYTHONIOENCODING=encoding),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b" dB - rank " in done.stdout
    assert all(byte < 128 for byte in done.stdout)


def test_a_name_that_is_no_utf8_comes_back(place, tmp_path):
    scene = os.fsencode(tmp_path) + b"/caf\xe9"
    shutil.copytree(os.fsencode(place / "balls"), scene)
    run_folder = os.fsencode(tmp_path) + b"/r\xe9sultat"
    done = run([*TINY, scene, "--iterations", "8", "--out", run_folder], tmp_path)  # type: ignore[list-item]
    assert (done.returncode, done.stderr) == (0, b"")
    assert read_json(Path(os.fsdecode(run_folder)) / CONFIG)["scene"]["source"] == os.fsdecode(scene)
    again = run([*TINY, "--resume", run_folder, "--iterations", "12"], tmp_path)  # type: ignore[list-item]
    assert (again.returncode, again.stderr) == (0, b"")


@pytest.mark.parametrize("reads", ["one line", "nothing", "closed at the start"])
def test_nobody_has_to_read_what_it_says(place, tmp_path, reads):
    arguments = [*TINY, str(place / "balls"), "--iterations", "40", "--out", "run"]
    if reads == "closed at the start":
        done = run(["sh", "-c", 'exec "$@" >&-', "sh", *arguments], tmp_path)
        code, errors = done.returncode, done.stderr
    else:
        process = subprocess.Popen(
            arguments, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        if reads == "one line":
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        code = process.wait(timeout=240)
    assert (code, errors) == (0, b"")
    assert read_json(tmp_path / "run" / METRICS)["iterations"] == 40


def test_a_reader_that_lives_but_reads_nothing_keeps_no_program_that_is_to_end(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", TALKS], cwd=ROOT, env=environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(6) == b"begin\n"
    time.sleep(0.5)
    assert process.poll() is None  # it waits for its reader, as programs do
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    process.stdout.close()


TALKS = """
from taichi_rf.cli import entry

def work(options, stopper):
    print("begin", flush=True)
    try:
        while True:
            with stopper.step():
                print("and on" * 1000)
    except entry.Stopped:
        print("and the last words" * 10_000)
        raise

entry.run("talks", dict, work)
"""


def test_a_signal_as_python_ends_leaves_the_exit_code(tmp_path):
    done = run([sys.executable, "-c", ENDS], ROOT)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, b"")


ENDS = """
import os, signal
from taichi_rf.cli import entry

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

late = [Late()]
late.append(late)  # a circle: taken apart as Python ends, when it has given the signals back

def work(options, stopper):
    os.kill(os.getpid(), signal.SIGTERM)

entry.run("ends", dict, work)
"""


@pytest.mark.parametrize("columns", ["-1", "0", "1", "5", "wide"])
def test_help_ends_in_any_width(tmp_path, columns):
    """In one to five columns tyro never ended, and took all memory."""
    limit = 4 << 30
    done = run(
        [*TRAIN, "--help"], tmp_path, env=environment(COLUMNS=columns),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith(b"usage: train.py")


@pytest.mark.parametrize("megabytes", [1500, 2000])
def test_too_little_memory_is_one_line(place, tmp_path, megabytes):
    limit = megabytes * 1000 * 1024
    done = run(
        [*TRAIN, str(place / "balls"), "--iterations", "8", "--out", "run"], tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 1
    assert b"memory" in said[0]


@pytest.mark.parametrize("module", [["train.py"], ["run_viewer.py"], ["-m", "taichi_rf"]])
def test_an_early_interrupt_leaves_no_traceback(module):
    for wait in (0.08, 0.2, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", STARTS, *module, "--help"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.read(1)  # Python itself runs
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT)  # the last where Python itself is about to end
        assert b"Traceback" not in errors


STARTS = """
import os, runpy, sys
from taichi_rf.cli import entry
sys.argv = sys.argv[1:]
module = sys.argv[0] == "-m"
if module:
    sys.argv = sys.argv[1:]
entry.interruptible()
os.write(1, b".")
(runpy.run_module if module else runpy.run_path)(sys.argv[0], run_name="__main__")
"""
"""The script as Python runs it, once it has said that it has started: what comes before is Python's own start."""
