"""How much memory this machine can still give."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from taichi_rf.core.errors import UserError

resource: Any = importlib.import_module("resource") if os.name == "posix" else None
"""None on Windows, where no process has a limit of its own."""

MORE_MEMORY = "try --downscale or --views, end other programs, or raise the limit (ulimit -v)"
_NO_MEMORY = ("memory allocation", "out of memory", "out_of_memory", "cannot allocate memory", "failed to map segment")


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping (the container's limit and ``ulimit -v`` included), or None if not
    known."""
    limits = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        pass
    try:
        group = Path("/sys/fs/cgroup")
        cached = [
            line.split()[1] for line in (group / "memory.stat").read_text().splitlines() if "inactive_file" in line
        ]
        used = int((group / "memory.current").read_text()) - int(cached[0])
        limits.append(int((group / "memory.max").read_text()) - used)
    except (OSError, ValueError, IndexError):  # no such container, or no limit ("max")
        pass
    try:
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            limits.append(most - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize())
    except (AttributeError, OSError, ValueError, IndexError):  # another system
        pass
    if not limits:
        try:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return None
    return max(0, min(limits))


def check_memory(what: str, needed: int, advice: str) -> None:
    """Raise UserError when ``needed`` bytes for ``what`` are more than this machine has free; unknown passes.

    Args:
        what: names the thing in the message.
        needed: bytes.
        advice: what the person can do about it.
    """
    free = available_memory()
    if free is not None and needed > free:
        raise UserError(
            f"{what} would take {needed / 2**30:.1f} GiB of memory, but {free / 2**30:.1f} GiB are free; {advice}"
        )


def lacks_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory could not be had: Taichi and the system's loader have no class for it."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _NO_MEMORY)
