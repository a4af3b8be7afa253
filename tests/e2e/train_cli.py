"""Running ``train.py`` in a process of its own, and looking at what it left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from taichi_rf.storage.trf import read_trf
from taichi_rf.training.run import MODEL

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 400  # seconds, on any machine more than a signal needs to arrive
TIMEOUT = 240
HERE = {"PYTHONPATH": str(ROOT), "DISPLAY": "", "WAYLAND_DISPLAY": ""}


def command(*arguments: object, tiny: bool) -> list[str]:
    script = "tests/e2e/tiny_train.py" if tiny else "train.py"
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def train(*arguments: object, folder: Path, tiny: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*arguments, tiny=tiny), cwd=folder, env={**os.environ, **HERE, **environment},
        capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip


def start(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start it, and return once it trains."""
    process = subprocess.Popen(
        command(*arguments, tiny=True), cwd=folder, env={**os.environ, **HERE, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("training"):
            return process
    raise AssertionError(process.communicate())


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses(
    *arguments: object, folder: Path, because: str, tiny: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """It ends with 2 and one plain line that holds ``because``, and leaves the folder as it was."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    done = train(*arguments, folder=folder, tiny=tiny, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert because in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    return done


def chunks(run: Path) -> list[bytes]:
    return read_trf(run / MODEL).chunks
