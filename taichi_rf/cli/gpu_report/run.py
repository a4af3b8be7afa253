"""``python -m taichi_rf gpu-report``: what this machine's GPU makes of the project, as a page and as JSON."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.cli.bench import default_scene
from taichi_rf.cli.console import say
from taichi_rf.cli.entry import Stopped
from taichi_rf.cli.gpu_report import process
from taichi_rf.cli.gpu_report.process import Ending
from taichi_rf.cli.gpu_report.report import FOLDERS, JSON, PAGE, PLANS, Part, Plan, Report, make_folder
from taichi_rf.cli.gpu_report.task import Task
from taichi_rf.cli.options import GpuReport
from taichi_rf.core.errors import UserError

LEAST = 5.0
"""Seconds without which a part is not begun."""
OWN_SHARE = 0.9
"""Of a part's time, by which it is to end by itself."""
LOOK_EVERY = 2.0
"""Seconds between two looks at what a part has found so far."""

Do = Callable[[Task, Path, float, Callable[[], Any]], Ending]
"""do(task, log, seconds, look): does a part, see :func:`process.run`."""


def run(command: GpuReport) -> None:
    """Make the report. UserError for what the user can mend."""
    if not 0 < command.minutes <= 24 * 60:
        raise UserError(f"--minutes {command.minutes:g}: more than 0 and up to {24 * 60} is expected")
    source = command.scene or default_scene()
    scenes.find(source)
    begun = time.monotonic()
    say("looking for a GPU")
    with tempfile.TemporaryDirectory() as name:  # nothing is left of a report that is not made
        scratch = Report(Path(name), command.minutes, source)
        for folder in FOLDERS:
            (scratch.folder / folder).mkdir()
        machine = scratch.part("machine")
        _do(scratch, machine, PLANS[0], command, min(60 * command.minutes, PLANS[0].most), in_process)
    if machine.state != "done":
        said = machine.last_lines[-1] if machine.last_lines else machine.why
        raise UserError(f"the device could not be started: {said}")
    arch, device = machine.result["arch"], machine.result["device"]
    if arch == "cpu":
        for line in would_do(command, source):
            say(line)
        return
    make_folder(command.output, overwrite=command.overwrite)
    report = Report(command.output, command.minutes, Path(source).name)
    report.parts[0] = machine
    software = ", a software driver: what it measures is not the speed of a GPU" if machine.result["software"] else ""
    say(f"{arch} ({device}){software}" if device else arch)
    say(f"the page grows as it goes: {command.output / PAGE}")
    try:
        make(report, command, arch, begun + 60 * command.minutes)
    except Stopped as stopped:
        stopped.args = (f"stopped by {stopped.name}: what there is by now is in {command.output / PAGE}",)
        raise
    for part in report.parts:
        if part.state != "done":
            say(f"{part.title}: {part.state}{': ' if part.why else ''}{part.why}")
    if report.part("agreement").result.get("agrees") is False:
        say("warning: this device computes something else than the CPU; the page says where")
    say(f"  {command.output / PAGE}")
    say(f"  {command.output / JSON}")


def would_do(command: GpuReport, source: str) -> list[str]:
    """What is said where there is no GPU."""
    lines = [
        "there is no GPU here that CUDA, Metal or Vulkan offers; --arch vulkan takes a software driver where there is "
        "one, to try the report itself",
        f"on a machine with one, {command.minutes:g} minutes would go into these, on {source}, each in a process of "
        f"its own, and {command.output / PAGE} and {JSON} would say what came of them:",
    ]
    left = 60 * command.minutes
    for plan in PLANS[1:]:
        seconds = plan.seconds(left)
        left -= seconds
        lines.append(f"  {plan.title}: up to {seconds:.0f} s")
    return lines


def make(report: Report, command: GpuReport, arch: str, until: float, do: Do | None = None) -> None:
    """Do the parts one after the other until ``until`` on the monotonic clock, and write the report as it grows.

    Args:
        do: does a part; by default a process of its own.

    Raises:
        UserError: the report cannot be written.
    """
    try:
        for plan, part in zip(PLANS, report.parts, strict=True):
            if part.state != "waiting":
                continue
            left = until - time.monotonic()
            needed = report.part(plan.needs) if plan.needs else None
            if needed is not None and needed.state not in ("done", "cut"):  # what was cut has found something
                part.state, part.why = "skipped", f"it needs '{needed.title}'"
            elif plan.reads and not (report.folder / plan.reads).exists():
                part.state, part.why = "skipped", f"nothing has left {plan.reads}"
            elif plan.seconds(left) < LEAST:
                part.state, part.why = "skipped", "no time was left for it"
            else:
                say(f"{part.title}, up to {plan.seconds(left):.0f} s")
                _do(report, part, plan, command, plan.seconds(left), do or in_process, arch)
            report.write()
    except BaseException:
        for part in report.parts:
            if part.state in ("waiting", "running"):
                part.state, part.why = ("cut" if part.state == "running" else "skipped"), "the report was stopped"
        report.write()
        raise


def in_process(task: Task, log: Path, seconds: float, look: Callable[[], Any]) -> Ending:
    """Do a part in a process of its own."""
    path = task.folder / "parts" / f"{task.part}.task.json"
    task.write(path)
    return process.run(process.child(path), log, seconds, look)


def _do(
    report: Report, part: Part, plan: Plan, command: GpuReport, seconds: float, do: Do, arch: str | None = None
) -> None:
    """Do one part, and take over what it finds while it finds it."""
    task = Task(
        part=part.name,
        arch=arch or command.arch,
        folder=report.folder,
        seconds=OWN_SHARE * seconds,
        scene=command.scene,
        preset=plan.preset,
    )
    part.state = "running"
    report.write()
    looked = time.monotonic()

    def look() -> None:
        nonlocal looked
        if time.monotonic() - looked >= LOOK_EVERY:
            looked = time.monotonic()
            if report.take(part):
                report.write()

    ending = do(task, report.folder / "logs" / f"{part.name}.txt", seconds, look)
    report.take(part)
    part.state, part.seconds = ending.state, ending.seconds
    part.why, part.last_lines = ending.why, ending.last_lines
