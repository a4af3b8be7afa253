"""Runs a part in a process of its own, for so long and no longer, and says how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_rf.core.gpus.child import kill

LOOK_EVERY = 0.25
"""Seconds between two looks at a process."""
LINES, LINE, LOG_BYTES = 12, 300, 1 << 14
"""Of what a process printed last: lines that are kept, letters of each, and bytes that are looked at."""
CHILD = "taichi_rf.cli.gpu_report.child"


@dataclass(frozen=True)
class Ending:
    """How a process ended: "done", "failed", or "cut" where its time was over."""

    state: str
    seconds: float
    why: str = ""
    last_lines: tuple[str, ...] = ()


def child(task: Path) -> list[str]:
    """The command that does the part in the file ``task``."""
    return [sys.executable, "-m", CHILD, str(task)]


def run(command: Sequence[str], log: Path, seconds: float, look: Callable[[], Any]) -> Ending:
    """Run ``command`` with what it prints in ``log``; whatever is raised here, Ctrl-C among it, ends it.

    Args:
        seconds: after which it is ended.
        look: called every now and then meanwhile.
    """
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    group: dict[str, Any] = {"start_new_session": True}  # Ctrl-C is for us to answer
    if os.name == "nt":
        group = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    with open(log, "wb") as output:
        try:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                **group,
            )  # fmt: skip
        except OSError as error:
            return Ending("failed", 0.0, f"it could not be started ({error.strerror or error})")
    cut = False
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY)
            look()
            cut = process.returncode is None and time.monotonic() - started > seconds
            if cut:
                break
    finally:
        _end(process)
    took = time.monotonic() - started
    if cut:
        return Ending("cut", took, f"its {seconds:.0f} s were over", last_lines(log))
    if process.returncode == 0:
        return Ending("done", took)
    return Ending("failed", took, _reason(process.returncode), last_lines(log))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, and those that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    kill(process)
    if process.stdin is not None:
        process.stdin.close()


def _reason(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"{signal.Signals(-code).name} ended it: a driver may have crashed, or the memory did not suffice"
    return f"signal {-code} ended it"


def last_lines(log: Path) -> tuple[str, ...]:
    """What a process printed last."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            text = file.read().decode("utf-8", "backslashreplace")
    except OSError:
        return ()
    lines = [line.rstrip()[:LINE] for line in text.splitlines() if line.strip()]
    return tuple(lines[-LINES:])
