"""What the runs of a suite came to: means and spreads over seeds, by scene and on average, beside published figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_rf.coding.checks import number, whole
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from taichi_rf.suite.definition import AVERAGE, LIMITS, MOST, MOST_LEVEL, Published
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
    scenes: tuple[str, ...] = ()
    """That an average is over."""
    lacks: tuple[str, ...] = ()
    """Scenes of the suite that an average is not over, because their runs have no results or were left out."""
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
    """What a run came to at each level. UserError, KeyError or TypeError for what no run writes."""
    where = f"{run.name}: {METRICS}"
    metrics = read_json(folder / run.name / METRICS)
    levels = metrics["levels"]
    if not isinstance(levels, list) or len(levels) > MOST_LEVEL:
        raise UserError(f"{where} has no list of up to {MOST_LEVEL} levels")
    return [
        Measured(
            run.scene,
            run.variant,
            run.seed,
            whole(level["level"], 1, MOST_LEVEL, where),
            index == len(levels) - 1,
            _figure(level, "psnr", where),
            _figure(level, "ssim", where),
            number(level["bytes"], *LIMITS["bytes"], where),
            number(metrics["train_seconds"], 0, MOST, where),
            _figure(level, "chamfer", where),
        )
        for index, level in enumerate(levels)
    ]


def _figure(level: dict[str, Any], key: str, where: str) -> float | None:
    return None if level.get(key) is None else number(level[key], *LIMITS[key], where)


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
    kept, over = _of_same_scenes(plan, at)
    psnr = [mean for ms in kept if (mean := _mean(m.psnr for m in ms)) is not None]
    beside = _beside(plan, scene, variant, level, last=last)
    average = scene == AVERAGE
    return Row(
        scene,
        variant,
        level,
        _mean(psnr),
        statistics.stdev(psnr) if len(psnr) > 1 else None,
        _mean(m.ssim for ms in kept for m in ms),
        _mean(m.chamfer for ms in kept for m in ms),
        _mean(m.bytes for ms in kept for m in ms),
        _mean(m.seconds for ms in kept for m in ms),
        seeds=len(kept),
        scenes=over if average else (),
        lacks=tuple(s for s in plan.scenes if s not in over) if average else (),
        published=beside.psnr if beside else None,
        published_bytes=beside.bytes if beside else None,
        source=f"{beside.name}, {beside.source}".strip(", ") if beside else "",
    )


def _of_same_scenes(plan: Plan, at: Sequence[Measured]) -> tuple[list[list[Measured]], tuple[str, ...]]:
    """The results of seeds that have the same scenes, and those scenes: as many as any seed has, and of several such
    sets the one that most seeds have. A mean over other scenes is another figure, whatever the seed."""
    by_seed: dict[int, dict[str, Measured]] = {}
    for m in at:
        by_seed.setdefault(m.seed, {})[m.scene] = m
    sets: dict[tuple[str, ...], list[list[Measured]]] = {}
    for found in by_seed.values():
        over = tuple(scene for scene in plan.scenes if scene in found)
        sets.setdefault(over, []).append([found[scene] for scene in over])
    over = max(sets, key=lambda over: (len(over), len(sets[over])))
    return sets[over], over


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
            scene, row.name, row.level, ssim=row.ssim, chamfer=row.chamfer, published=row.psnr,
            published_bytes=row.bytes, ours=False, source=row.source,
        )
        for row in published
        if row.scene == scene and (row.variant is None or row.variant not in ours)
    ]  # fmt: skip


def _mean(values: Iterable[float | None]) -> float | None:
    """None where a value is missing: the mean of the others would be over fewer scenes than its line says."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    return math.fsum(numbers) / len(numbers) if known and len(numbers) == len(known) else None


def notes(lines: Sequence[Row]) -> list[str]:
    """Which averages lack scenes; and where the best variant of a scene and level is not told from the next one: their
    spreads overlap, or there is one seed. One sentence for all levels of a scene. Averages are compared with those over
    the same scenes alone."""
    single = [line for line in lines if line.ours and line.seeds == 1]
    said = ["Figures of a single seed: differences between them may be chance."] if single else []
    for variant, lacks in dict.fromkeys((line.variant, line.lacks) for line in lines if line.lacks):
        names = ", ".join(lacks[:5]) + (f" and {len(lacks) - 5} more" if len(lacks) > 5 else "")
        said.append(f"The average of {variant} is without {names}: it is not compared with those over more.")
    for scene, over in dict.fromkeys((line.scene, line.scenes) for line in lines if line.ours):
        close: dict[tuple[str, str], list[str]] = {}
        of_scene = [line for line in lines if line.ours and (line.scene, line.scenes) == (scene, over)]
        for level in dict.fromkeys(line.level for line in of_scene):
            at = sorted(
                (line for line in of_scene if line.level == level and line.psnr is not None),
                key=lambda line: -(line.psnr or 0.0),
            )
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
    """The lines that two tables have in common, in the order of the new one; of averages those over the same scenes,
    whose names may come in any order."""
    before = {_key(line): line for line in old if line.ours}
    return [Change(before[_key(line)], line) for line in new if line.ours and _key(line) in before]


def _key(line: Row) -> tuple[str, str, int | None, frozenset[str]]:
    return line.scene, line.variant, line.level, frozenset(line.scenes)


def averages_over_others(old: Sequence[Row], new: Sequence[Row]) -> list[str]:
    """Variants that have an average in both tables, but over other scenes, so that :func:`changes` leaves it out."""
    before = {_key(line)[:3]: _key(line) for line in old if line.ours}
    found = [line.variant for line in new if line.ours and before.get(_key(line)[:3], _key(line)) != _key(line)]
    return list(dict.fromkeys(found))
