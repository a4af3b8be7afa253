"""Parts of a report that need no device: they write what a part would write, and end as they are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.cli.gpu_report.process import Ending
from taichi_rf.cli.gpu_report.task import Task
from taichi_rf.cli.gpu_report.training import save_picture
from taichi_rf.core.files import write_json

MACHINE = {
    "version": "9.9", "python": "3.12.1", "taichi": "1.7.4", "system": "Linux-6.8", "processor": "A processor",
    "cores": 16, "cards": [{"name": "NVIDIA Test 9000", "driver_version": "555.1", "memory.total": "24576 MiB"}],
    "vulkan": [
        {"index": 0, "name": "AMD <Test> 7800", "type": "discrete", "api": "1.3", "compute": True, "atomic_add": True,
         "storage": 1 << 32}
    ],
    "arch": "vulkan", "device": "AMD <Test> 7800", "software": False,
}  # fmt: skip


def row(case: str, what: str, difference: float | None, agrees: bool = True) -> dict[str, Any]:
    return {"case": case, "what": what, "difference": difference, "allowed": 0.005, "agrees": agrees}


def trained(preset: str, seconds: float, best: float) -> dict[str, Any]:
    curve = [
        {"seconds": t, "iteration": int(100 * t), "psnr": best - 12 * np.exp(-6 * t / seconds), "level": 16,
         "rate": 4e5 + 1e5 * np.sin(t / 9)}
        for t in np.linspace(2, seconds, 40)
    ]  # fmt: skip
    return {
        "scene": "lego", "size": [800, 800], "views": 100, "preset": preset, "loading_seconds": 8.0,
        "preparing_seconds": 3.0, "compiling_seconds": 21.0, "curve": curve, "iterations": int(100 * seconds),
        "trained_seconds": seconds, "rays_per_second": 412_345.6, "resolution": [208, 240, 160], "test_views": 9,
        "psnr": [best - 0.45 * (16 - rank) for rank in range(1, 17)], "level_name": "rank",
    }  # fmt: skip


STAGES = {
    "march": 0.31, "density": 0.52, "lookup features": 0.66, "basis": 0.07, "decoder sh": 0.05, "volume": 0.11,
    "volume adjoint": 0.18, "basis adjoint": 0.21, "scatter features": 1.93, "scatter density": 0.84, "Adam": 0.4,
}  # fmt: skip
RESULTS: dict[str, dict[str, Any]] = {
    "reference": {"cases": ["tensor"]},
    "agreement": {
        "arch": "vulkan", "device": "AMD", "agrees": True,
        "rows": [row("tensor", name, 3e-6) for name in ("samples", "picture, level 1", "picture, level 16", "depth",
                 "gradient 1, factors", "gradient 2, factors", "step, factors", "occupied")],
    },
    "bench": {
        "scene": "lego", "stages": {name: {"seconds": ms / 1e3} for name, ms in STAGES.items()},
        "products": {"mlp_forward_gflops": 4210.0, "mlp_adjoint_gflops": 3120.0, "blas_gflops": 890.0},
        "copy_gigabytes_per_second": 590.0,
        "training": {"sh": {"step_seconds": 0.0062, "rays_per_second": 660_123.0, "samples_per_ray": 31.0,
                            "shaded_per_ray": 6.2}},
    },
    "balanced": trained("balanced", 98.0, 34.9),
    "speed": {"model": "balanced", "side": 800, "levels": [
        {"level": level, "frames": 240, "frames_per_second": rate, "median_seconds": 1 / rate,
         "slowest_seconds": 1.6 / rate, "first_seconds": 1.9} for level, rate in ((16, 41.2), (8, 63.0), (4, 92.5))]},
    "paper": trained("paper", 71.0, 33.4),
}  # fmt: skip


def doing(
    endings: dict[str, Ending] | None = None, seen: Callable[[Task], None] = lambda task: None
) -> Callable[..., Ending]:
    """What ``run.make`` does parts by: each writes its result, half of it first, and ends as ``endings`` say."""

    def do(task: Task, log: Path, seconds: float, look: Callable[[], Any]) -> Ending:
        seen(task)
        ending = (endings or {}).get(task.part, Ending("done", 1.5))
        if ending.state != "failed":
            write_json(task.result, RESULTS[task.part])
        if task.part == "balanced" and ending.state == "done":
            (task.folder / "models" / "balanced.trf").touch()
        look()
        if task.preset:
            for name in (task.preset, f"{task.preset}-photograph", f"{task.preset}-16"):
                save_picture(task, name, np.full((8, 8, 3), 0.5))
        return ending

    return do
