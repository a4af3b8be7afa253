"""Does one part of a report in a process of its own: ``python -m taichi_rf.cli.gpu_report.child TASK.json``.

A driver that crashes then ends a part and not the report. The process ends when its standard input is closed, so that
it does not outlive who asked.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from pkgutil import resolve_name

from taichi_rf.cli.gpu_report.task import Task
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json

HERE = "taichi_rf.cli.gpu_report"
WORK = {
    "machine": f"{HERE}.machine:machine",
    "reference": f"{HERE}.agreement:reference",
    "agreement": f"{HERE}.agreement:agreement",
    "bench": f"{HERE}.benchmark:benchmark",
    "balanced": f"{HERE}.training:training",
    "paper": f"{HERE}.training:training",
    "speed": f"{HERE}.speed:speed",
}
"""What does each part, as "module:function"; it is given the task, and what writes its result."""


def main(path: str) -> int:
    """Do the part that the file at ``path`` describes; the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    task = Task.read(Path(path))
    try:
        resolve_name(WORK[task.part])(task, lambda result: write_json(task.result, result))
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _end_with_parent() -> None:
    while os.read(0, 1):  # not by way of sys.stdin, on whose lock Python's end would wait
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
