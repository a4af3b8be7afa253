"""Studios over runs of seconds: what they say, what is in their folders, and other processes in their way."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, write_json
from taichi_rf.storage.trf import load_checkpoint, read_trf
from taichi_rf.training import checkpoint
from taichi_rf.training.run import CONFIG, METRICS, MODEL, RunFolder
from tests.places import ROOT
from viewer.app.studio import Studio

HALF = 25  # iterations of the unfinished run


PATIENCE = 120.0  # seconds, on a busy machine


HOLD = """
import sys
from taichi_rf.training.run import RunFolder
with RunFolder(sys.argv[1]).claimed(new=False):
    print("held", flush=True)
    sys.stdin.read()
"""


def change_config(run: Path, **scene: object) -> None:
    values = read_json(run / CONFIG)
    values["scene"] |= scene
    write_json(run / CONFIG, values)


def until(studio: Studio, what: Callable[[], object]) -> None:
    """A front end's loop, but for the picture."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, studio.message
        if studio.session is not None:
            studio.session.work(0.02)
        studio.advance(0.0)  # one part of an evaluation
        if studio.ready:
            studio.switch()
        time.sleep(0.001)


def settle(studio: Studio) -> None:
    """Until nothing is being read any more, and what was asked for is on show."""
    until(studio, lambda: studio.pending is None and not studio.ready and studio._photographs is None)


def said(studio: Studio) -> str:
    assert studio.message is not None
    return studio.message.text


def alarm(studio: Studio) -> str:
    assert studio.message is not None
    assert studio.message.alarm, studio.message
    return studio.message.text


def is_held(folder: Path) -> bool:
    try:
        with RunFolder(folder).claimed(new=False):
            return False
    except UserError:
        return True


@contextlib.contextmanager
def held_by_another(folder: Path) -> Iterator[int]:
    """Another process writes to the run; gives its number."""
    command, environment = [sys.executable, "-c", HOLD, str(folder)], {**os.environ, "PYTHONPATH": str(ROOT)}
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other.pid
    finally:
        other.kill()
        other.communicate()


def spoil(path: Path, at: float = 0.5) -> None:
    """Change a byte, at that fraction of the file."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0xFF
    path.write_bytes(data)


def chunks(run: Path) -> list[bytes]:
    return read_trf(run / MODEL).chunks


def quality(run: Path) -> list[tuple[float, float]]:
    return [(level["psnr"], level["ssim"]) for level in read_json(run / METRICS)["levels"]]


def iteration(run: Path) -> int:
    return load_checkpoint(run / checkpoint.NAME)[1]["iteration"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
