"""Finds the poses of photographs in a process of its own: ``python -m scenes.posing JOB.json``.

COLMAP is native code with threads of its own. Here it can be ended at any moment, what it prints does not reach the
terminal, and where it crashes that is an error message. Messages go to standard output, a line of JSON each; the
process ends when its standard input is closed, so that it does not outlive who asked.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from scenes.posing.job import read_job
from taichi_rf.core.errors import UserError


def main(path: str) -> int:
    """Do the job in the file ``path``; the exit code."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what native code prints goes where its complaints go

    def say(**message: Any) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from scenes.posing.worker import solve  # here, so that a broken pycolmap can be said
    except (ImportError, OSError) as error:
        say(error=f"pycolmap cannot be loaded ({error}): pip install --force-reinstall 'taichi-rf[photos]'")
        return 2
    try:
        placed = solve(
            read_job(Path(path)), Path(path).parent, lambda stage, done, total: say(stage=stage, done=done, total=total)
        )
    except UserError as error:
        say(error=str(error))
        return 2
    say(placed=placed)
    return 0


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
