"""Runs programs that start drivers of GPUs. Drivers crash, hang, print what they like, and may be stuck in the kernel,
where nothing ends them: so nobody here waits for ever, or reads from a pipe that a driver might write to.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
import warnings
from collections.abc import Sequence
from typing import IO, Any

UNTOLD = 2.0
"""Seconds for which nothing is said of what is waited for."""
DYING = 1.0
"""Seconds within which a killed process is gone, unless the kernel holds it."""


def ran(
    command: Sequence[str], seconds: float, *, output: int | IO[bytes] = subprocess.DEVNULL,
    errors: int = subprocess.DEVNULL, what: str = "",
) -> bool:  # fmt: skip
    """Run ``command`` and say whether it ended well; one that takes longer than ``seconds`` is killed.

    Args:
        output, errors: what it prints to, as for ``subprocess.Popen``, but no pipes.
        what: that is warned of being waited for, where it takes longer than ``UNTOLD``; "" for no warning.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
    end = time.monotonic() + seconds
    try:
        if what and seconds > UNTOLD:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(UNTOLD) == 0
            warnings.warn(f"waiting for {what}, up to {seconds:.0f} s", stacklevel=2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(max(end - time.monotonic(), 0.0)) == 0
        return False
    finally:
        kill(process)


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process, if it has not ended, and wait for it ``DYING`` seconds at most."""
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(DYING)
