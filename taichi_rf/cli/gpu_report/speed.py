"""How many pictures a second a trained model makes, at several ranks, from all around it."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

from taichi_rf.cli.console import say
from taichi_rf.cli.gpu_report.task import Keep, Task
from taichi_rf.cli.gpu_report.training import save_picture
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.motion.free_view import render_from_anywhere
from taichi_rf.motion.orbit import Orbit
from taichi_rf.storage.model_file import load_model

SIDE = 800  # pixels
RANKS = (16, 8, 4)
VIEWS = 24
"""Places on a circle around the model that are looked from, one after the other."""
MOST_FRAMES = 240


def speed(task: Task, keep: Keep) -> None:
    """Time pictures of :data:`SIDE` pixels a side of the preset's model: each is whole, and copied to the host."""
    path = task.folder / "models" / f"{task.preset}.trf"
    if not path.exists():
        raise UserError(f"there is no model of '{task.preset}' to be rendered")
    begun = time.perf_counter()
    backend.init(task.arch)
    model = load_model(path)
    view = Orbit.from_state(model.metadata.get("view"), model.world_box)
    levels = [rank for rank in RANKS if rank <= model.num_levels]
    result: dict[str, Any] = {"model": task.preset, "side": SIDE, "levels": []}
    for index, level in enumerate(levels):
        first = time.perf_counter()
        save_picture(
            task,
            f"{task.preset}-{level}",
            render_from_anywhere(model, view.camera(SIDE, SIDE), level=level, mode="colour"),
        )
        started = time.perf_counter()
        until = started + max(begun + task.seconds - started, 0) / (len(levels) - index)
        times: list[float] = []
        while len(times) < MOST_FRAMES and (not times or time.perf_counter() + times[-1] < until):
            view.azimuth += 2 * math.pi / VIEWS
            before = time.perf_counter()
            render_from_anywhere(model, view.camera(SIDE, SIDE), level=level, mode="colour")
            times.append(time.perf_counter() - before)
        seconds = statistics.median(times)
        result["levels"].append(
            {
                "level": level,
                "frames": len(times),
                "frames_per_second": len(times) / sum(times),
                "median_seconds": seconds,
                "slowest_seconds": max(times),
                "first_seconds": started - first,  # compiling and all
            }
        )
        keep(result)
        say(f"{model.field.level_name} {level}: {len(times) / sum(times):.1f} frames a second")
