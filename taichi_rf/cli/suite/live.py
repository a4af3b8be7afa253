"""What a terminal shows while a suite runs: how far each run is, what failed, and how long all of it takes yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from taichi_rf.cli.console import duration
from taichi_rf.cli.suite import working
from taichi_rf.core.plain_text import visible
from taichi_rf.suite.plan import Failure, PlannedRun

MOST_FAILURES = 5
NOT_BEGUN = 32
"""Runs one after the other that have printed nothing, after which no more are looked at: a cluster has them queued."""
_WEIGHTS = {"starting": (0.0, 0.0), "compiling": (0.0, 0.02), "training": (0.02, 0.93), "evaluating": (0.95, 0.05)}
"""Where each stage of a run begins and how much of it it is, for the time left."""
_WIDE = 80  # columns from which on each run has a bar of its own
_BAR = 20
_ECHO = 3  # columns that stay free: a terminal's own ^C at the end of a full line would shift the table by one


class LiveTable:
    """Makes the table anew whenever it is asked.

    Args:
        folder: of the suite.
        total: runs of the suite.
        already: runs that were done before.
        clock: seconds that only grow.
    """

    def __init__(self, folder: Path, total: int, already: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._total, self._already, self._clock = folder, total, already, clock
        self._began = clock()
        self._from: dict[PlannedRun, float] = {}
        """How far each run was when it was first seen training: one that goes on had that behind it."""

    def table(
        self, running: Sequence[PlannedRun], done: int, failed: dict[PlannedRun, Failure], width: int, height: int
    ) -> Table:
        """At most ``height`` lines of ``width`` columns.

        Args:
            running: all that have been started, or handed over to a cluster.
            done: runs that ended well, those that were done before among them.
            failed: runs that did not.
        """
        under_way = self._under_way(running)
        failures = list(failed.items())[-max(1, min(MOST_FAILURES, height // 4)) :]
        room = max(1, height - len(failures) - 1)
        shown = under_way if len(under_way) <= room else under_way[: max(0, room - 1)]
        names, bar = max(8, 2 * width // 5 - 2), _BAR if width >= _WIDE else 0
        gauges = bar or 4
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True, width=names)
        table.add_column(no_wrap=True, width=gauges, justify="left" if bar else "right")
        table.add_column(no_wrap=True, width=max(1, width - names - gauges - 3 - _ECHO), overflow="ellipsis")
        for run, at, fraction in shown:
            gauge = ProgressBar(1.0, fraction, width=bar) if bar else f"{fraction:.0%}"
            table.add_row(_named(run, names), gauge, escape(f"{at.stage} {at.details}"))
        if len(shown) < len(under_way):
            table.add_row(f"and {len(under_way) - len(shown)} more", "", "")
        for run, failure in failures:
            last = failure.lines[-1] if failure.lines else "it said nothing"
            table.add_row(_named(run, names), "[red]failed[/red]" if bar else "[red]fail[/red]", escape(visible(last)))
        ended = done + len(failed)
        of_it = (ended + sum(fraction for *_, fraction in under_way)) / max(self._total, 1)
        table.add_row(
            f"[bold]{done} of {self._total} done[/bold]",
            ProgressBar(1.0, of_it, width=bar) if bar else f"{of_it:.0%}",
            self._words(done, failed, [(run, fraction) for run, _, fraction in under_way]),
        )
        return table

    def _under_way(self, running: Sequence[PlannedRun]) -> list[tuple[PlannedRun, working.Progress, float]]:
        """Runs that have begun, how far they are, and that as a fraction."""
        found, silent = [], 0
        for run in running:
            if silent > NOT_BEGUN:
                break
            at = working.progress(self._folder, run)
            if at is None:
                silent += 1
                continue
            silent = 0
            begin, share = _WEIGHTS.get(at.stage, (0.0, 0.0))
            fraction = begin + share * at.fraction
            if at.stage == "training":
                self._from.setdefault(run, fraction if at.fraction > 0.05 else 0.0)
            found.append((run, at, fraction))
        return found

    def _words(
        self, done: int, failed: dict[PlannedRun, Failure], under_way: Sequence[tuple[PlannedRun, float]]
    ) -> str:
        words = []
        now = {run for run, _ in under_way}
        behind = sum(start for run, start in self._from.items() if run not in now and run not in failed)
        trained = done - self._already - behind  # failures, which come early, say nothing of how long a run takes
        trained += sum(max(0.0, fraction - self._from.get(run, 0.0)) for run, fraction in under_way)
        ended = done + len(failed)
        left = self._total - ended - sum(fraction for _, fraction in under_way)
        if trained > 0.03:
            words.append(f"{duration((self._clock() - self._began) / trained * left)} left")
        if failed:
            words.append(f"{len(failed)} failed")
        if waiting := self._total - ended - len(under_way):
            words.append(f"{waiting} waiting")
        return ", ".join(words)


def _named(run: PlannedRun, width: int) -> str:
    """A run's name in at most ``width`` columns: its end tells seeds apart, so what is left out is in the middle."""
    name = visible(run.name)
    if cell_len(name) > width:
        end = name[-(width // 3) :]
        while cell_len(name) + 1 + cell_len(end) > width and name:
            name = name[:-1]
        name = f"{name}…{end}"
    return escape(name)
