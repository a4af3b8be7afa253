"""``suite``: many runs and their table."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taichi_rf.cli.console import say
from taichi_rf.cli.options import Suite as Options
from taichi_rf.cli.suite import defining, expanding, local, running, showing
from taichi_rf.core import folder_lock
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import writing
from taichi_rf.suite.definition import Definition, known
from taichi_rf.suite.plan import FILE, LOGS, Plan, check_names, merged, read_plan, write_plan
from taichi_rf.training.run import RunFolder, short

RUNS = Path("runs")
LOCK = ".suite-lock"


def run(options: Options) -> None:
    """Run what is missing of a suite and show its table, or one of these alone.

    Raises:
        UserError: something is wrong with the suite or the options, or runs failed.
        entry.Stopped: somebody wanted to stop; runs under way are saved.
    """
    _check(options)
    if options.compare is not None:
        showing.compare(*options.compare, levels=options.levels)
        return
    if (folder := _folder_of_suite(options)) is not None:
        showing.show(folder, read_plan(folder), options)
        return
    definition = defining.define(options)
    folder = options.out or RUNS / definition.name
    if options.table:
        showing.show(folder, read_plan(folder), options)
        return
    plan = _plan(definition, options)
    if options.list:
        for planned in plan.runs:
            say(f"{planned.name}: {planned.source} {' '.join(planned.arguments)} --seed={planned.seed}")
        return
    plan, failed = _run(plan, folder, options)
    showing.show(folder, plan, options)
    if failed:
        names = ", ".join(sorted(run.name for run in failed))
        raise UserError(
            f"{len(failed)} of {len(plan.runs)} runs failed ({names}): what they said is in {short(folder / LOGS)}; "
            "the same command runs them again"
        )


def _run(plan: Plan, folder: Path, options: Options) -> tuple[Plan, list[Any]]:
    """Run what is missing. Returns the plan with what failed, and the runs that did."""
    jobs = _jobs(plan, options)
    with _claimed(folder):
        plan = _prepared(plan, folder, options)
        write_plan(folder, plan)
        runs: running.Runs
        if options.cluster is not None:
            from taichi_rf.cli.suite import cluster

            runs = cluster.ClusterRuns(folder, options.cluster, cpus=options.cpus or 2, gpus=options.gpus or 0)
        else:
            runs = local.LocalRuns(folder, jobs)
        suite = running.Suite(plan, folder, runs)
        suite.run()
    return suite.plan, list(suite.failed)


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    with writing(str(folder), folder):
        folder.mkdir(parents=True, exist_ok=True)
    with folder_lock.locked(folder / LOCK, str(folder)):
        yield


def _prepared(plan: Plan, folder: Path, options: Options) -> Plan:
    """The plan with what an earlier call knows. UserError where runs that are there were made otherwise."""
    there = [run.name for run in plan.runs if RunFolder(folder / run.name).holds_run]
    if (folder / FILE).exists():
        earlier = read_plan(folder)
        if not options.overwrite:
            return merged(plan, earlier, there)
        before = {run.name: run for run in earlier.runs}
        for run in plan.runs:
            if run.name in there and before.get(run.name) != run:
                with RunFolder(folder / run.name).claimed(new=False):
                    pass  # nobody trains it
                shutil.rmtree(folder / run.name)
    elif there:
        raise UserError(f"{short(folder / there[0])} holds a run that belongs to no suite: choose another --out")
    return plan


def _plan(definition: Definition, options: Options) -> Plan:
    """Everything looked up and checked."""
    found, absent = expanding.find_scenes(definition.scenes, options.data, skip_missing=options.skip_missing)
    runs = expanding.expand(definition, found)
    check_names(runs)
    variants, every = {run.variant for run in runs}, [v.label for v in expanding.variants(definition)]
    for row in definition.published:
        if row.variant is not None:
            known([row.variant], every, f"the suite (published {row.name})")
    by_clock = any(text.startswith("--max-seconds=") for run in runs for text in run.arguments)
    return Plan(
        definition.name,
        runs,
        definition.about,
        definition.levels,
        definition.timed or by_clock,
        tuple(defining.reduced(options)),
        tuple(absent),
        tuple(row for row in definition.published if row.variant is None or row.variant in variants),
    )


def _folder_of_suite(options: Options) -> Path | None:
    """The folder that is named in place of a suite's file."""
    path = Path(options.suite) if options.suite is not None else None
    if path is None or not path.is_dir():
        return None
    read_plan(path)
    return path


def _jobs(plan: Plan, options: Options) -> int:
    """Runs side by side. UserError where they would disturb what is measured."""
    if options.cluster is not None:
        return 1
    if plan.timed:
        if options.jobs not in (None, 1):
            raise UserError(
                f"--jobs {options.jobs}: the runs of {plan.name} go by the clock and would disturb each other; leave "
                "it out, or give --iterations in place of a time"
            )
        return 1
    unfinished = len(plan.runs)
    return max(1, min(options.jobs or max(1, local.cores() // 2), unfinished))


def _check(options: Options) -> None:
    """UserError for options that do not go together or are out of their range."""
    for flag, path in (("--out", options.out), ("--data", options.data)):
        if path is not None and re.match(r"\w[\w+.-]+:/", str(path)):
            raise UserError(f"{flag} {path}: a folder is expected; mount what lies at an address, and name where")
    times = [key for key in ("minutes", "max_seconds", "iterations") if getattr(options, key) is not None]
    if len(times) > 1:
        raise UserError(f"{' and '.join('--' + t.replace('_', '-') for t in times)} both say how long to train")
    if options.jobs is not None and not 1 <= options.jobs <= 1024:
        raise UserError(f"--jobs {options.jobs}: 1 to 1024 is expected")
    if options.minutes is not None and not 0 < options.minutes < 1e7:
        raise UserError(f"--minutes {options.minutes:g}: more than 0 is expected")
    if options.cluster is None and (options.cpus is not None or options.gpus is not None):
        raise UserError("--cpus and --gpus go with --cluster")
    if options.cluster is not None and options.jobs is not None:
        raise UserError("--jobs does not go with --cluster, which has as many runs at a time as it has room for")
    if options.cpus is not None and options.cpus < 1 or options.gpus is not None and options.gpus < 0:
        raise UserError("--cpus: 1 or more, and --gpus: 0 or more are expected")
    for path in filter(None, (options.output, options.plot)):
        if path.exists() and not options.overwrite:
            raise UserError(f"{path} is there already: choose another name, or replace it with --overwrite")
