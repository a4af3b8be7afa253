"""Which core each of Taichi's worker threads runs on.

Workers sleep between two kernels. Linux may wake them all on one core, above all in a virtual machine, and moves them
apart only after a millisecond or so, which is longer than most kernels take. With a core for each, a step of an
octree's training took 90 ms in place of 113 on two cores, and one of a tensor's 40 in place of 44.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TASKS = Path("/proc/self/task")


def alive() -> set[int]:
    """Ids of this process's threads; none where the system does not tell."""
    with contextlib.suppress(OSError):
        return {int(entry.name) for entry in TASKS.iterdir()}
    return set()


def spread(before: set[int], workers: int) -> None:
    """Give each worker a core of its own, if there are as many workers as this process has cores.

    With fewer, other processes may be meant to use the rest, and the system knows better than we do which are idle.

    Args:
        before: the threads that there were before Taichi started; its workers are the last of those that came.
    """
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        return
    cores = sorted(os.sched_getaffinity(0))
    started = sorted(alive() - before)[-workers:]
    if workers < 2 or workers != len(cores) or len(started) != workers:
        return
    for thread, core in zip(started, cores, strict=True):
        with contextlib.suppress(OSError):  # it may have ended, or may not be moved: it runs all the same
            os.sched_setaffinity(thread, {core})
