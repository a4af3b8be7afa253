"""Runs of a suite side by side on this machine, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from taichi_rf.cli.suite import working
from taichi_rf.suite.plan import PlannedRun

POLL = 0.05  # seconds between two looks at the processes


class LocalRuns:
    """Starts runs here, ``jobs`` at a time, and shares the cores out among them.

    Args:
        folder: of the suite.
        jobs: runs at a time.
    """

    saying = "starting"
    """What is said of a run that :meth:`start` takes."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder = folder
        self._free = list(working.shares(cores(), jobs))
        self._running: dict[PlannedRun, tuple[subprocess.Popen[bytes], int | None]] = {}

    @property
    def room(self) -> bool:
        """Whether one more can be started."""
        return bool(self._free)

    def start(self, run: PlannedRun) -> None:
        """Start a run. UserError where that cannot be."""
        threads = self._free.pop(0)
        try:
            self._running[run] = working.start(self._folder, run, threads), threads
        except BaseException:
            self._free.append(threads)
            raise

    def running(self) -> list[PlannedRun]:
        """Those that have been started and not collected."""
        return list(self._running)

    def collect(self) -> list[tuple[PlannedRun, int]]:
        """Runs that ended since, with their exit codes; waits a moment where there is none."""
        ended = []
        for run, (process, threads) in list(self._running.items()):
            if (code := process.poll()) is not None:
                del self._running[run]
                self._free.append(threads)
                _close(process)
                ended.append((run, code))
        if not ended:
            time.sleep(POLL)
        return ended

    def stop(self) -> None:
        """Ask all that are running to save and end; they are to be collected."""
        for process, _ in self._running.values():
            _close(process)

    def kill(self) -> None:
        """End all that are running at once."""
        for process, _ in self._running.values():
            process.kill()

    def close(self) -> None:
        """Nothing is to be given back."""


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
