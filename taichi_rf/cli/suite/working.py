"""What a run of a suite does wherever it runs: the command that begins it or goes on with it, and how it ended."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from taichi_rf.core.errors import UserError
from taichi_rf.core.plain_text import visible
from taichi_rf.suite.plan import LOGS, Failure, PlannedRun
from taichi_rf.training.run import CONFIG, RunFolder

LAST_LINES = 12
"""Of what a run printed that are kept of a failure."""
_LITTLE = 1 << 20  # bytes that are free, below which a disk is full
_TAIL = 16 << 10  # bytes at a log's end that are looked at
_WAIT = 120.0  # seconds for a run that is being stopped elsewhere to let go of its folder
_PERCENT = re.compile(r"^(\w[\w ]*?) +(\d{1,3})% ?(.*)$")


@dataclass(frozen=True)
class Progress:
    """Where a run stands, by the last line that it printed."""

    stage: str = "starting"
    fraction: float = 0.0
    """Of the stage."""
    details: str = ""


def log_of(folder: Path, run: PlannedRun) -> Path:
    """The file that holds what a run printed."""
    return folder / LOGS / f"{run.name}.log"


def finished(folder: Path, run: PlannedRun) -> bool:
    """Whether a run is trained as far as it is to be, and evaluated."""
    where = RunFolder(folder / run.name)
    try:
        return where.finished(where.recipe())
    except UserError:
        return False


def command(folder: Path, run: PlannedRun, threads: int | None) -> list[str]:
    """The command that begins a run, or goes on with it where its folder holds some of it already."""
    where = RunFolder(folder / run.name)
    where.settle()
    shared = [f"--threads={threads}"] if threads else []
    if (where / CONFIG).exists():
        shared += [text for text in run.arguments if text.startswith("--save-seconds=")]
        arguments = ["--resume", str(where.path), *shared]
    else:
        arguments = [run.source, *run.arguments, f"--seed={run.seed}", "--out", str(where.path), *shared]
    return [sys.executable, "-m", "taichi_rf.cli.train", *arguments]


def start(folder: Path, run: PlannedRun, threads: int | None) -> subprocess.Popen[bytes]:
    """Start a run as a process of its own, which stops and saves when its standard input is closed.

    Raises:
        UserError: the log cannot be written, or another process holds the run's folder for long.
    """
    _wait_for(folder / run.name)
    log = log_of(folder, run)
    log.parent.mkdir(parents=True, exist_ok=True)
    package = str(Path(__file__).resolve().parents[3])
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
    if threads:
        environment |= {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    with open(log, "wb") as output:
        return subprocess.Popen(
            command(folder, run, threads),
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment,
            start_new_session=True,  # Ctrl-C in the terminal is the suite's, which stops its runs by their input
        )  # fmt: skip


def failure(folder: Path, run: PlannedRun, code: int) -> Failure:
    """How a run ended that is not finished: its exit code and the last lines that it printed."""
    lines = [line for line in (_last_text(log_of(folder, run)) or "").splitlines() if line.strip()]
    if code == 0:
        lines.append(
            f"it ended well, but its results are not in {folder / run.name}: do all machines share that folder?"
        )
    elif not lines and shutil.disk_usage(folder).free < _LITTLE:
        lines.append(f"the disk on which {folder} lies is full")
    return Failure(code, tuple(visible(line)[:500] for line in lines[-LAST_LINES:]))


def progress(folder: Path, run: PlannedRun) -> Progress | None:
    """Where a run stands that is running; None where it has no log yet."""
    if (text := _last_text(log_of(folder, run))) is None:
        return None
    for line in reversed(text.splitlines()):
        if found := _PERCENT.match(line):
            return Progress(found[1], min(int(found[2]), 100) / 100, visible(found[3]))
    return Progress()


def _last_text(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return None


def _wait_for(where: Path) -> None:
    """Wait as long as another process holds the run's folder: one that is being stopped saves first."""
    if not where.is_dir():
        return
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            with RunFolder(where).claimed(new=False):
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def shares(cores: int, jobs: int) -> Sequence[int | None]:
    """Threads of each of ``jobs`` runs side by side; None for all there are."""
    if jobs == 1:
        return [None]
    return [max(1, cores // jobs + (index < cores % jobs)) for index in range(jobs)]
