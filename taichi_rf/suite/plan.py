"""What a suite's folder says of itself: its runs, and what is known of each.

``suite.json`` lists the runs, each in a folder of its own beside it; ``logs`` holds what each printed. Which are done
is seen from the run folders themselves, so that a run that was moved here or trained by hand counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from taichi_rf.coding.headers import is_number, is_whole
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, write_json
from taichi_rf.core.version import VERSION
from taichi_rf.suite.definition import LIMITS, MOST_FIGURES, MOST_LEVEL, MOST_RUNS, Published, check_name, known

FILE, LOGS = "suite.json", "logs"
FORMAT = 1


@dataclass(frozen=True)
class PlannedRun:
    """One run of a suite."""

    name: str
    """Of its folder."""
    scene: str
    """As tables call it."""
    source: str
    """Where it is: an absolute path, or ``builtin:NAME``."""
    variant: str
    seed: int
    arguments: tuple[str, ...]
    """For ``train.py``: all of a new run but scene, seed and folder."""


@dataclass(frozen=True)
class Failure:
    """Why a run ended without being finished."""

    code: int
    lines: tuple[str, ...] = ()
    """The last that it printed."""


@dataclass(frozen=True)
class Plan:
    """A suite with everything looked up: what ``suite.json`` holds."""

    name: str
    runs: tuple[PlannedRun, ...]
    about: str = ""
    levels: tuple[int, ...] = ()
    timed: bool = False
    reduced: tuple[str, ...] = ()
    """What the command line made smaller than the suite says, as options of it."""
    absent: tuple[str, ...] = ()
    """Scenes that were not there and were left out."""
    published: tuple[Published, ...] = ()
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def variants(self) -> list[str]:
        """In the order in which they came."""
        return list(dict.fromkeys(run.variant for run in self.runs))

    @property
    def scenes(self) -> list[str]:
        """In the order in which they came."""
        return list(dict.fromkeys(run.scene for run in self.runs))


def write_plan(folder: Path, plan: Plan) -> None:
    """Write ``suite.json``. UserError if the folder cannot be written."""
    write_json(folder / FILE, {"format": FORMAT, "version": VERSION, **asdict(plan)})


def read_plan(folder: Path) -> Plan:
    """The inverse of :func:`write_plan`, for a file that may come from anybody.

    Raises:
        UserError: there is none, it is of another version's format, or it is broken.
    """
    path = folder / FILE
    if not path.exists():
        raise UserError(f"{folder} is not the folder of a suite: it has no {FILE}")
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{path} was written by another version, which this one cannot read: run the suite anew")
    try:
        entries = {key: value for key, value in values.items() if key not in ("format", "version")}
        known(entries, Plan.__dataclass_fields__, str(path))
        plan = Plan(
            **{
                **entries,
                "runs": tuple(_made(PlannedRun, run) for run in entries["runs"]),
                "published": tuple(_made(Published, row) for row in entries["published"]),
                "failures": {name: _made(Failure, failure) for name, failure in entries["failures"].items()},
                **{key: tuple(entries[key]) for key in ("levels", "reduced", "absent")},
            }
        )
        _check(plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not what a suite writes ({error})") from None
    return plan


def _made(kind: Any, values: dict[str, Any]) -> Any:
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _check(plan: Plan) -> None:
    try:
        check_name(plan.name)
    except UserError as error:
        raise ValueError(error) from None
    if len(plan.runs) > MOST_RUNS or len(plan.published) > MOST_FIGURES:
        raise ValueError("it has more runs or published figures than there can be")
    for run in plan.runs:
        texts = (run.name, run.scene, run.source, run.variant, *run.arguments)
        if not all(isinstance(text, str) for text in texts) or not is_whole(run.seed, 0, (1 << 31) - 1):
            raise ValueError("a run is malformed")
        if run.name != os.path.basename(run.name) or run.name in ("", ".", "..", LOGS) or "\\" in run.name:
            raise ValueError(f"'{run.name[:50]}' is no name of a folder")
    for row in plan.published:
        figures = ((getattr(row, key), *limits) for key, limits in LIMITS.items())
        texts = (row.name, row.scene, row.source, "" if row.variant is None else row.variant)
        if not all(value is None or is_number(value, low, high) for value, low, high in figures):
            raise ValueError("a published figure is malformed")
        if not (row.level is None or is_whole(row.level, 1, MOST_LEVEL)):
            raise ValueError("the level of a published figure is malformed")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("the name of a published figure is malformed")
    if not all(isinstance(text, str) for text in (plan.name, plan.about, *plan.reduced, *plan.absent)):
        raise ValueError("a text is malformed")
    if not all(is_whole(level, 1, MOST_LEVEL) for level in plan.levels):
        raise ValueError("a level is malformed")
    for name, failure in plan.failures.items():
        if not is_whole(failure.code, -(1 << 31), 1 << 31) or not all(isinstance(line, str) for line in failure.lines):
            raise ValueError(f"the failure of '{name[:50]}' is malformed")


def check_names(runs: Iterable[PlannedRun]) -> None:
    """UserError where two runs would share a folder; on some systems names that differ in case are one."""
    seen: dict[str, PlannedRun] = {}
    for run in runs:
        if (other := seen.get(run.name.lower())) is not None:
            first, second = (f"{r.source} {' '.join(r.arguments)} --seed {r.seed}" for r in (other, run))
            raise UserError(f"two runs would share the folder {run.name}: {first}; {second}")
        seen[run.name.lower()] = run


def merged(plan: Plan, earlier: Plan, there: Iterable[str]) -> Plan:
    """``plan`` with what ``earlier`` knows of failures.

    Args:
        there: names of runs whose folders hold a run.

    Raises:
        UserError: such a run was planned otherwise than it is now.
    """
    before, there = {run.name: run for run in earlier.runs}, set(there)
    for run in plan.runs:
        old = before.get(run.name)
        if old is not None and run.name in there and (old.arguments, old.source) != (run.arguments, run.source):
            was, now = (f"{r.source} {' '.join(r.arguments)}".strip() for r in (old, run))
            raise UserError(
                f"the run {run.name} that is there was made otherwise ({was}) than the suite says now ({now}): choose "
                "another --out, or replace it with --overwrite"
            )
    names = {run.name for run in plan.runs}
    return replace(plan, failures={name: f for name, f in earlier.failures.items() if name in names})
