"""Starts the process that finds poses, passes on how far it is, and turns every way in which it ends into words."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from scenes.base import Progress
from scenes.files.values import bounded
from scenes.posing.job import FEATURES, Job
from taichi_rf.core.errors import UserError

MODULE = "scenes.posing"
"""What Python runs as the process."""
HEARTBEAT = 0.2
"""Seconds after which the progress is reported again though nothing has changed, so that who waits can change their
mind."""
INSTALL = "pip install 'taichi-rf[photos]'"
LOG_BYTES = 1 << 14
"""At the end of what COLMAP prints that are looked at for a reason."""


def check_installed() -> None:
    """Raise UserError where pycolmap is not installed."""
    if importlib.util.find_spec("pycolmap") is None:
        raise UserError(
            "photographs without poses are posed by COLMAP, which is not here: "
            f"{INSTALL} (or give a folder with poses; README.md lists the formats)"
        )


def run(job: Job, folder: Path, progress: Progress | None, stage: Callable[[str], None] | None) -> list[str]:
    """Do ``job`` in a process of its own, with its files in ``folder``; the names of the photographs placed.

    Whatever is raised here, Ctrl-C among it, ends the process.

    Args:
        progress: called with (done, in all) of what is being done, every :data:`HEARTBEAT` seconds at least.
        stage: called with what is being done, before the first of its progress.

    Raises:
        UserError: pycolmap is not installed or does not load, a photograph is broken, or COLMAP crashed.
    """
    check_installed()
    job.write(folder / "job.json")
    log = folder / "log.txt"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    with open(log, "wb") as errors:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(folder / "job.json")], env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True,  # Ctrl-C is for us to answer
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"no process to find poses could be started ({error.strerror or error})") from error
    try:
        now, placed = _follow(process, progress, stage)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if placed is None:
        raise UserError(_crashed(code, now, log))
    return placed


def _follow(
    process: subprocess.Popen[bytes], progress: Progress | None, stage: Callable[[str], None] | None
) -> tuple[str, list[str] | None]:
    """Pass on what the process says until it says no more: what it did last, and the photographs that it placed."""
    messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, messages), daemon=True).start()
    now, done, total = "", 0, 0
    placed: list[str] | None = None
    while True:
        try:
            message = messages.get(timeout=HEARTBEAT)
        except queue.Empty:
            message = {}
        if message is None:
            return now or FEATURES, placed
        if "error" in message:
            raise UserError(message["error"])
        placed = message.get("placed", placed)
        if message.get("stage", now) != now:
            now = message["stage"]
            if stage is not None:
                stage(now)
        done, total = message.get("done", done), message.get("total", total)
        if progress is not None and total:
            progress(done, total)


def _read(pipe: IO[bytes], messages: queue.Queue[dict[str, Any] | None]) -> None:
    """Put each line into ``messages``, and None at the end."""
    try:
        for line in pipe:
            messages.put(json.loads(line))
    except ValueError:  # the pipe was closed, or a crash cut a line off
        pass
    messages.put(None)


def _crashed(code: int, now: str, log: Path) -> str:
    """What to say of a process that ended with ``code`` and no result."""
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_BYTES))
        lines = file.read().decode("utf-8", "backslashreplace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    if code == -getattr(signal, "SIGKILL", 9):
        return f"COLMAP was ended by the system while {now}, for lack of memory most likely: give it fewer photographs"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"COLMAP ended with {how} while {now} ({bounded(said)}); another release of pycolmap 4 may do"
