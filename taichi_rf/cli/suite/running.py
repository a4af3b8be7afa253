"""Runs what is missing of a suite, shows how far it is, and writes down what failed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rich.live import Live
from rich.table import Table

from taichi_rf.cli import entry
from taichi_rf.cli.console import console, say
from taichi_rf.cli.suite import working
from taichi_rf.cli.suite.live import LiveTable
from taichi_rf.core.errors import UserError
from taichi_rf.core.plain_text import visible
from taichi_rf.suite.plan import Failure, Plan, PlannedRun, write_plan

REFRESH = 1.0  # seconds between two pictures of the live table


class Runs(Protocol):
    """Where runs are started: this machine, or a cluster."""

    saying: str
    """What is said of a run that is started, before its name."""

    @property
    def room(self) -> bool: ...
    def start(self, run: PlannedRun) -> None: ...
    def running(self) -> list[PlannedRun]: ...
    def collect(self) -> list[tuple[PlannedRun, int]]: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class Suite:
    """The runs of a plan, some of which are to be done.

    Args:
        folder: of the suite; it is this process's to write to.
        runs: starts them. It is closed in the end.
    """

    def __init__(self, plan: Plan, folder: Path, runs: Runs) -> None:
        self.plan, self._folder, self._runs = plan, folder, runs
        self.done = [run for run in plan.runs if working.finished(folder, run)]
        ready = set(self.done)
        self._waiting = [run for run in plan.runs if run not in ready]
        self._already = len(self.done)
        self._live = LiveTable(folder, len(plan.runs), self._already)
        self.failed: dict[PlannedRun, Failure] = {}

    def run(self) -> None:
        """Run all that is missing.

        Raises:
            entry.Stopped: somebody wanted to stop; runs that were under way are saved.
        """
        if self._already:
            say(f"{self._already} of {len(self.plan.runs)} runs are there already")
        try:
            with self._shown() as show:
                self._loop(show)
        except entry.Stopped as stopped:
            self._stop(stopped)
            raise
        finally:
            self._runs.close()

    def _loop(self, show: Live | None) -> None:
        shown_at = 0.0
        while self._waiting or self._runs.running():
            while self._waiting and self._runs.room:
                self._start(self._waiting.pop(0))
            for run, code in self._runs.collect():
                self._ended(run, code)
            if show is not None and time.monotonic() - shown_at >= REFRESH:
                shown_at = time.monotonic()
                show.update(self._table(), refresh=True)

    def _start(self, run: PlannedRun) -> None:
        say(f"{self._runs.saying} {run.name}")
        try:
            self._runs.start(run)
        except (UserError, OSError) as error:
            self._fail(run, Failure(2, (visible(str(error)),)))

    def _ended(self, run: PlannedRun, code: int) -> None:
        if code == 0 and working.finished(self._folder, run):
            self.done.append(run)
            failures = {name: failure for name, failure in self.plan.failures.items() if name != run.name}
            if failures != self.plan.failures:
                self.plan = replace(self.plan, failures=failures)
                write_plan(self._folder, self.plan)
            say(f"done {run.name} ({len(self.done)} of {len(self.plan.runs)})")
        else:
            self._fail(run, working.failure(self._folder, run, code))

    def _fail(self, run: PlannedRun, failure: Failure) -> None:
        self.failed[run] = failure
        self.plan = replace(self.plan, failures={**self.plan.failures, run.name: failure})
        write_plan(self._folder, self.plan)
        say(f"failed {run.name} ({failure.code}): {failure.lines[-1] if failure.lines else 'it said nothing'}")

    def _stop(self, stopped: entry.Stopped) -> None:
        """Have what is running saved, and wait for that. Another Ctrl-C meanwhile ends it at once."""
        count = len(self._runs.running())
        say(f"stopped by {stopped.name}: saving {count} run{'s' if count != 1 else ''}")
        self._runs.stop()
        while self._runs.running():
            try:
                for run, code in self._runs.collect():
                    if code == 0 and working.finished(self._folder, run):
                        self.done.append(run)
            except entry.Stopped:
                self._runs.kill()
        stopped.args = (
            f"{len(self.done)} of {len(self.plan.runs)} runs are done, what was under way is saved; the same command "
            "goes on",
        )

    @contextlib.contextmanager
    def _shown(self) -> Iterator[Live | None]:
        if not console.is_terminal:
            yield None
            return
        with Live(self._table(), console=console, auto_refresh=False, transient=True) as live:
            yield live

    def _table(self) -> Table:
        size = console.size
        return self._live.table(self._runs.running(), len(self.done), self.failed, size.width, size.height - 1)
