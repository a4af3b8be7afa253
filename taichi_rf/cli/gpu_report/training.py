"""Trains a preset for as long as the report has time, and says how good it became, view by view while time is left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import scenes
from scenes.base import spread
from taichi_rf.cli.bench import default_scene
from taichi_rf.cli.console import say
from taichi_rf.cli.gpu_report.task import Keep, Task
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.evaluation.image_metrics import psnr
from taichi_rf.rendering.pictures import render_prefixes
from taichi_rf.storage.model_file import save_model
from taichi_rf.training.describing import describe
from taichi_rf.training.methods.registry import find_preset, suited
from taichi_rf.training.run import Recipe
from taichi_rf.training.trainer import Trainer

METHOD = "slimmerf"
TRAINING = 0.8
"""Of the time that is left once everything is compiled; the rest is for looking at test views."""
LEAST = 2.0
"""Seconds of training below which there is nothing to be seen."""
KEPT_EVERY = 2.0
"""Seconds between two entries of the curve."""
SAVED_EVERY = 30.0
MOST_VIEWS = 25
PICTURE = 400
"""Pixels of the longer side of pictures on the page."""


def training(task: Task, keep: Keep) -> None:
    """Train the task's preset on the whole scene at full resolution."""
    begun = time.perf_counter()
    device = backend.init(task.arch)
    source = task.scene or default_scene()
    say(f"loading {Path(source).name}")
    scene = scenes.load(source, max_test_views=MOST_VIEWS)
    loaded = time.perf_counter()
    config = find_preset(METHOD, task.preset).changed(max_seconds=task.seconds)
    trainer = Trainer(scene, suited(config, scene))
    describe(trainer, Recipe(trainer.config, source=scene.source, arch=device.arch))
    prepared = time.perf_counter()
    result: dict[str, Any] = {
        "scene": scene.name,
        "size": [scene.train.cameras[0].width, scene.train.cameras[0].height],
        "views": len(scene.train),
        "preset": task.preset,
        "loading_seconds": loaded - begun,
        "preparing_seconds": prepared - loaded,
        "curve": [],
    }
    keep(result)
    say("compiling")
    trainer.warm_up()
    compiled = time.perf_counter()
    seconds = TRAINING * (task.seconds - (compiled - begun))
    result["compiling_seconds"] = compiled - prepared
    keep(result)
    if seconds < LEAST:
        raise UserError(f"{compiled - begun:.0f} s went into loading and compiling: give it more --minutes")
    trainer.config = trainer.config.changed(max_seconds=seconds)  # the schedule is stretched over what is left
    _train(task, trainer, result, keep)
    _evaluate(task, trainer, result, keep, begun + task.seconds)


def _train(task: Task, trainer: Trainer, result: dict[str, Any], keep: Keep) -> None:
    result["seconds"] = trainer.config.max_seconds
    at = saved = rays = 0.0
    while not trainer.done:
        info = trainer.step()
        rays += info.rays
        if trainer.elapsed - at < KEPT_EVERY and not trainer.done:
            continue
        rate, at, rays = rays / max(trainer.elapsed - at, 1e-9), trainer.elapsed, 0.0
        entry = {"seconds": at, "iteration": info.iteration, "psnr": info.psnr, "level": info.level, "rate": rate}
        result["curve"].append(entry)
        result |= {"iterations": info.iteration, "trained_seconds": at}
        result["rays_per_second"] = trainer.record.rays_seen / max(at, 1e-9)
        keep(result)
        say(f"{at:.0f} s: iteration {info.iteration:,}, {info.psnr:.2f} dB, {rate:,.0f} rays/s")
        if at - saved >= SAVED_EVERY:
            saved = at
            _save(task, trainer)
    _save(task, trainer)
    result["resolution"] = list(trainer.model.field.resolution)
    keep(result)


def _save(task: Task, trainer: Trainer) -> None:
    """So that a report that is cut off has a model to render."""
    (task.folder / "models").mkdir(exist_ok=True)
    save_model(trainer.model, task.folder / "models" / f"{task.preset}.trf")


def _evaluate(task: Task, trainer: Trainer, result: dict[str, Any], keep: Keep, until: float) -> None:
    """Test views, the first one at any rate, until the time is over."""
    split, model = trainer.scene.test, trainer.model
    order = spread(len(split), MOST_VIEWS)
    order = sorted(order, key=lambda view: format(order.index(view), "08b")[::-1])  # spread whenever it ends
    scores: list[list[float]] = []
    took = 0.0
    for view in order:
        at = time.perf_counter()
        if scores and at + took > until:
            break
        pictures, truth = render_prefixes(model, split.cameras[view]), split.composite(view, model.background)
        scores.append([psnr(picture, truth) for picture in pictures])
        took = time.perf_counter() - at
        result |= {"test_views": len(scores), "psnr": np.mean(scores, axis=0).tolist()}
        result["level_name"] = model.field.level_name
        if len(scores) == 1:
            result["seconds_a_view"] = took
            save_picture(task, f"{task.preset}-photograph", truth)
            save_picture(task, task.preset, pictures[-1])
        keep(result)
        say(f"{len(scores)} test views: {result['psnr'][-1]:.2f} dB")


def save_picture(task: Task, name: str, pixels: np.ndarray) -> None:
    """For the page: ``pixels`` (height, width, 3) in [0, 1] as a JPEG of :data:`PICTURE` pixels at most."""
    image = Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))
    image.thumbnail((PICTURE, PICTURE))
    (task.folder / "pictures").mkdir(exist_ok=True)
    with atomic_write(task.folder / "pictures" / f"{name}.jpg") as file:
        image.save(file, format="JPEG", quality=90)
