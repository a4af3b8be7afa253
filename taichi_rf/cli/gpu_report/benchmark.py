"""The benchmark as a part of the report: what ``python -m taichi_rf bench`` prints, kept as it goes."""

from __future__ import annotations

import time
from pathlib import Path

import scenes
from taichi_rf.cli.bench import bench, default_scene
from taichi_rf.cli.console import say
from taichi_rf.cli.gpu_report.task import Keep, Task
from taichi_rf.core import backend


def benchmark(task: Task, keep: Keep) -> None:
    """Measure stages, whole steps and a picture."""
    backend.init(task.arch)
    source = task.scene or default_scene()
    started = time.perf_counter()
    say(f"loading {Path(source).name}")
    scene = scenes.load(source, downscale=1 if source in scenes.builtin_names() else 2, max_test_views=0)
    bench(scene, loading=time.perf_counter() - started, log=say, keep=keep)
