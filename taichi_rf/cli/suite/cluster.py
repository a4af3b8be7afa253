"""Runs of a suite as tasks of a Ray cluster, in a folder that all of its machines share.

A task starts the same process as this machine would, and goes on where the folder's checkpoint stands: so when a worker
or its machine is lost, Ray starts the task elsewhere and the run loses what came after the last checkpoint at most.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import platform
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.cli import entry
from taichi_rf.cli.console import say
from taichi_rf.cli.suite import working
from taichi_rf.core.errors import UserError
from taichi_rf.core.version import VERSION
from taichi_rf.suite.plan import FILE, PlannedRun

ANSWER = 5.0  # seconds for a machine to answer
POLL = 0.5  # seconds between two questions to the cluster
LOST = 70
"""Exit code of a run whose workers were lost too often."""
_RETRIES = 5  # of a run whose worker was lost


class ClusterRuns:
    """Submits runs to a Ray cluster, which queues them.

    Args:
        folder: of the suite; all machines of the cluster see it under this path.
        address: of the cluster, such as ``10.0.0.1:6379``; ``auto`` for the one that this machine belongs to.
        cpus: that a run asks for; it computes with as many threads.
        gpus: that a run asks for.

    Raises:
        UserError: Ray is not installed, there is no cluster, or it runs another version of Ray or Python.
    """

    saying = "waiting for a worker:"
    """What is said of a run that :meth:`start` takes: the cluster starts it when a worker is free."""

    def __init__(self, folder: Path, address: str, *, cpus: int, gpus: float) -> None:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")  # of 40 s each; Ray's 20 take a quarter of an hour
        try:
            self._ray: Any = importlib.import_module("ray")
        except ImportError:
            raise UserError("--cluster needs Ray: pip install 'taichi-rf[cluster]'") from None
        self._folder, self._running = Path(os.path.abspath(folder)), dict[Any, PlannedRun]()
        self._connect(address)
        # A process a task: nothing of a run stays in memory for the next one.
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": _RETRIES, "max_calls": 1}
        self._task = self._ray.remote(**options)(work)
        self._threads = cpus

    def _connect(self, address: str) -> None:
        _check_answers(address)
        handlers = {number: signal.getsignal(number) for number in entry.SIGNALS}
        try:
            found = self._ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError:
            raise UserError(
                f"there is no Ray cluster at '{address}': start one with 'ray start --head', or say where it is"
            ) from None
        except (RuntimeError, ValueError) as error:  # another version of Ray or of Python, or no address
            raise UserError(f"the Ray cluster at '{address}' cannot be used: {' '.join(str(error).split())}") from None
        finally:
            for number, handler in handlers.items():  # Ray has its own way with them
                signal.signal(number, handler)
        resources = self._ray.cluster_resources()
        amounts = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
        say(f"on a Ray cluster of {len(self._ray.nodes())} machines ({amounts})")
        if url := getattr(found, "dashboard_url", None):
            say(f"its dashboard: http://{url}")

    @property
    def room(self) -> bool:
        """The cluster queues what it has no room for."""
        return True

    def start(self, run: PlannedRun) -> None:
        """Hand a run to the cluster."""
        with contextlib.suppress(OSError):  # until it begins there, it has printed nothing
            working.log_of(self._folder, run).unlink(missing_ok=True)
        reference = self._task.options(name=run.name).remote(str(self._folder), run, self._threads, VERSION)
        self._running[reference] = run

    def running(self) -> list[PlannedRun]:
        """Those that were handed over and not collected."""
        return list(self._running.values())

    def collect(self) -> list[tuple[PlannedRun, int]]:
        """Runs that ended since, with their exit codes; waits a moment where there is none."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=POLL)
        ended = []
        for reference in ready:
            run = self._running.pop(reference)
            try:
                code, said = self._ray.get(reference)
            except self._ray.exceptions.TaskCancelledError:
                code, said = 130, ""
            except self._ray.exceptions.RayError as error:
                code, said = LOST, _lost(error)
            if said:
                with contextlib.suppress(OSError), open(working.log_of(self._folder, run), "a") as log:
                    log.write(said + "\n")
            ended.append((run, code))
        return ended

    def stop(self) -> None:
        """Have all that are running saved and ended, and those that wait forgotten; they are to be collected."""
        for reference in self._running:
            self._ray.cancel(reference)

    def kill(self) -> None:
        """End all that are running at once."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; tasks that still run there end with that."""
        self._ray.shutdown()


def _check_answers(address: str) -> None:
    """UserError where ``address`` names a machine and a port, and nobody answers there: Ray would ask for minutes, in
    which Ctrl-C does nothing."""
    machine, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16):
        raise UserError(
            f"--cluster {address[:100]}: 'auto', or a machine and a port such as 10.0.0.1:6379, is expected"
        )
    try:
        socket.create_connection((machine.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"there is no Ray cluster at '{address[:100]}' ({getattr(error, 'strerror', None) or error}): start one "
            "with 'ray start --head', or say where it is"
        ) from None


def work(folder: str, run: PlannedRun, threads: int, version: str) -> tuple[int, str]:
    """What a worker does with a run: the task.

    Returns:
        Its exit code, and what to write to its log where the worker refuses it.
    """
    here = f"the worker on {platform.node()}"
    if version != VERSION:
        return 2, f"{here} has Taichi RF {VERSION}, not {version}"
    if not (Path(folder) / FILE).is_file():
        return 2, f"{here} does not see the suite in {folder}: --out is to be a folder that all machines share"
    try:
        scenes.find(run.source)
    except UserError as error:
        return 2, f"{here} does not see the scene, which is to lie where all machines see it: {error}"
    try:
        process = working.start(Path(folder), run, threads)
    except UserError as error:
        return 2, str(error)
    try:
        while (code := process.poll()) is None:
            time.sleep(POLL)
        return code, ""
    except BaseException:  # Ray cancels a task by an interrupt
        _stop(process)
        raise


def _lost(error: Exception) -> str:
    """What became of a task that gave no answer, in one line."""
    if isinstance(error, ImportError) or "failed to import" in str(error):
        return "a worker could not import Taichi RF: all machines are to have the same version installed"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"its workers were lost {_RETRIES + 1} times, or broke: {lines[0] if lines else type(error).__name__}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Have a run saved and ended."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    process.wait()
