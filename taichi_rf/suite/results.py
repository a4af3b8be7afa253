"""What the runs of a suite came to: means and spreads over seeds, by scene and on average, beside published figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from taichi_rf.suite.definition import AVERAGE, Published
from taichi_rf.suite.plan import Plan, PlannedRun

METRICS = "metrics.json"
SMALL_DIFFERENCE = 0.1
"""Decibels below which a difference of single runs is said to be none."""


@dataclass(frozen=True)
class Measured:
    """One run at one level."""

    scene: str
    variant: str
    seed: int
    level: int
    last: bool
    """Whether it is the run's highest level."""
    psnr: float | None
    ssim: float | None
    bytes: float
    seconds: float
    """Of training."""
    chamfer: float | None = None
    """Of a solid."""


@dataclass(frozen=True)
class Row:
    """A line of a table: one variant on one scene, or on average, at one level."""

    scene: str
    variant: str
    level: int | None
    psnr: float | None = None
    spread: float | None = None
    """Sample standard deviation of the PSNR over seeds; None for a single one."""
    ssim: float | None = None
    chamfer: float | None = None
    bytes: float | None = None
    seconds: float | None = None
    seeds: int = 0
    scenes: int = 1
    """That an average is over."""
    published: float | None = None
    """PSNR of the paper."""
    published_bytes: float | None = None
    ours: bool = True
    source: str = ""
    """Where the published figure is from."""


def measured(folder: Path, plan: Plan) -> tuple[list[Measured], list[PlannedRun]]:
    """What the finished runs of a suite came to, and the runs that have no results.

    Runs whose ``metrics.json`` is absent or broken count as without results.
    """
    found, without = [], []
    for run in plan.runs:
        try:
            found += _of_run(folder, run)
        except (UserError, KeyError, TypeError, ValueError):
            without.append(run)
    return found, without


def _of_run(folder: Path, run: PlannedRun) -> list[Measured]:
    metrics = read_json(folder / run.name / METRICS)
    levels = metrics["levels"]
    return [
        Measured(
            run.scene,
            run.variant,
            run.seed,
            int(level["level"]),
            index == len(levels) - 1,
            _number(level["psnr"]),
            _number(level["ssim"]),
            float(level["bytes"]),
            float(metrics["train_seconds"]),
            _number(level.get("chamfer")),
        )
        for index, level in enumerate(levels)
    ]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def rows(plan: Plan, found: Sequence[Measured], levels: Sequence[int] = ()) -> list[Row]:
    """The lines of a suite's table.

    Args:
        found: results of single runs.
        levels: to be shown; by default the plan's, or all. A run's highest level is shown in any case.

    Returns:
        By scene, the average last where there are several; in it by variant and level. Published figures stand in the
        line of ours that they belong to, or in lines of their own at the scene's end. With a single scene, published
        averages stand beside it.
    """
    wanted = set(levels or plan.levels)
    kept = [m for m in found if not wanted or m.level in wanted or m.last]
    result: list[Row] = []
    for scene in plan.scenes:
        result += _of_scene(plan, scene, [m for m in kept if m.scene == scene])
    if len(plan.scenes) > 1:
        result += _of_scene(plan, AVERAGE, kept)
    else:
        result += _published_alone(plan.published, AVERAGE, [line.variant for line in result])
    return result


def _of_scene(plan: Plan, scene: str, kept: Sequence[Measured]) -> list[Row]:
    lines: list[Row] = []
    for variant in plan.variants:
        of_variant = [m for m in kept if m.variant == variant]
        highest = max((m.level for m in of_variant), default=0)
        for level in sorted({m.level for m in of_variant}):
            at = [m for m in of_variant if m.level == level]
            lines.append(_line(plan, scene, variant, level, at, last=level == highest))
    return lines + _published_alone(plan.published, scene, [line.variant for line in lines])


def _line(plan: Plan, scene: str, variant: str, level: int, at: Sequence[Measured], *, last: bool) -> Row:
    by_seed: dict[int, list[Measured]] = {}
    for m in at:
        by_seed.setdefault(m.seed, []).append(m)
    count = max(len(ms) for ms in by_seed.values())
    whole = [ms for ms in by_seed.values() if len(ms) == count]  # an average over fewer scenes is another one
    psnr = [mean for ms in whole if (mean := _mean(m.psnr for m in ms)) is not None]
    beside = _beside(plan, scene, variant, level, last=last)
    return Row(
        scene,
        variant,
        level,
        _mean(psnr),
        statistics.stdev(psnr) if len(psnr) > 1 else None,
        _mean(m.ssim for ms in whole for m in ms),
        _mean(m.chamfer for ms in whole for m in ms),
        _mean(m.bytes for ms in whole for m in ms),
        _mean(m.seconds for ms in whole for m in ms),
        seeds=len(whole),
        scenes=count if scene == AVERAGE else 1,
        published=beside.psnr if beside else None,
        published_bytes=beside.bytes if beside else None,
        source=f"{beside.name}, {beside.source}".strip(", ") if beside else "",
    )


def _beside(plan: Plan, scene: str, variant: str, level: int, *, last: bool) -> Published | None:
    """The published figure that belongs to a line: the scene's own, or with a single scene the average."""
    for name in (scene, *([AVERAGE] if len(plan.scenes) == 1 else [])):
        for row in plan.published:
            right = row.level == level or (row.level is None and last)
            if right and row.scene == name and row.variant == variant:
                return row
    return None


def _published_alone(published: Iterable[Published], scene: str, ours: Sequence[str]) -> list[Row]:
    """Lines of figures that stand beside none of ours."""
    return [
        Row(
            scene, row.name, row.level, ssim=row.ssim, published=row.psnr, published_bytes=row.bytes, ours=False,
            source=row.source,
        )
        for row in published
        if row.scene == scene and (row.variant is None or row.variant not in ours)
    ]  # fmt: skip


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def notes(lines: Sequence[Row]) -> list[str]:
    """Where the best variant of a scene and level is not told from the next one: their spreads overlap, or there is one
    seed. One sentence for all levels of a scene."""
    single = [line for line in lines if line.ours and line.seeds == 1]
    said = ["Figures of a single seed: differences between them may be chance."] if single else []
    for scene in dict.fromkeys(line.scene for line in lines):
        close: dict[tuple[str, str], list[str]] = {}
        of_scene = [line for line in lines if line.scene == scene and line.ours and line.psnr is not None]
        for level in dict.fromkeys(line.level for line in of_scene):
            at = sorted((l for l in of_scene if l.level == level), key=lambda l: -(l.psnr or 0.0))
            if len(at) > 1 and not apart(at[0], at[1]):
                close.setdefault((at[0].variant, at[1].variant), []).append(str(level))
        for (first, second), levels in close.items():
            said.append(
                f"{scene}: {first} is not told from {second} at level{'s' if len(levels) > 1 else ''} "
                f"{', '.join(levels)}: the difference is within the spreads."
            )
    return said


def apart(one: Row, other: Row) -> bool:
    """Whether two mean PSNRs differ by more than their spreads together, or, where a spread is not known, by more than
    ``SMALL_DIFFERENCE``."""
    if one.psnr is None or other.psnr is None:
        return False
    known = one.spread is not None and other.spread is not None
    room = (one.spread or 0.0) + (other.spread or 0.0) if known else SMALL_DIFFERENCE
    return abs(one.psnr - other.psnr) > room


@dataclass(frozen=True)
class Change:
    """What became of one line of a suite's table."""

    old: Row
    new: Row

    @property
    def decibels(self) -> float:
        """New minus old."""
        return (self.new.psnr or 0.0) - (self.old.psnr or 0.0)

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``same``: by more than both spreads, or than ``SMALL_DIFFERENCE`` without any."""
        if not apart(self.old, self.new):
            return "same"
        return "better" if self.decibels > 0 else "worse"


def changes(old: Sequence[Row], new: Sequence[Row]) -> list[Change]:
    """The lines that two tables have in common, in the order of the new one."""
    before = {(line.scene, line.variant, line.level): line for line in old if line.ours}
    return [
        Change(before[key], line)
        for line in new
        if line.ours and (key := (line.scene, line.variant, line.level)) in before
    ]
