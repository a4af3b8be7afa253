"""The end of a training: what its model is worth at every level, in numbers and in a report."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from taichi_rf.core.backend import current
from taichi_rf.core.files import append_line, write_json
from taichi_rf.core.pixels import over
from taichi_rf.evaluation.autorank import best_level
from taichi_rf.evaluation.charts import shown_levels
from taichi_rf.evaluation.evaluate import evaluating
from taichi_rf.evaluation.plot import to_image
from taichi_rf.evaluation.report import caption, report
from taichi_rf.motion.screenshot import save_picture
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import render_prefixes
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.training.run import EVENTS, METRICS, MODEL, REPORT, THUMBNAIL, Recipe, Training

LARGEST = 800
"""Pixels a side of the training view that a report shows where there are no test views."""
SMALL = 192
"""Pixels of the longer side of the picture by which a list of runs shows this one."""


def finish(
    training: Training,
    recipe: Recipe,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate what the folder's ``model.trf`` holds, and write metrics and report. Returns the metrics.

    The file is what is evaluated, in its half precision, so that everyone who reads it finds the same numbers. Without
    test views every ``psnr`` and ``ssim`` is None. Levels of a solid have ``iou`` and ``chamfer`` too.

    Args:
        progress: called with (views done, views in all).

    Raises:
        UserError: the folder cannot be written.
    """
    parts, before = finishing(training, recipe), 0
    while True:
        try:
            done, total = next(parts)
        except StopIteration as end:
            metrics: dict[str, Any] = end.value
            return metrics
        if progress and done > before:
            before = done
            progress(done, total)


def finishing(training: Training, recipe: Recipe) -> Generator[tuple[int, int], None, dict[str, Any]]:
    """:func:`finish` in parts, between which a window can show a picture.

    Yields:
        (views done, views in all) after every part; the generator's value in the end is the metrics.
    """
    trainer, folder, model = training.trainer, training.folder, training.model
    training.save()
    yield 0, 1
    stored = load_model(folder / MODEL)
    split, levels = trainer.scene.test, model.field.num_levels
    scores: list[dict[str, Any]] = [{"level": i + 1, "psnr": None, "ssim": None} for i in range(levels)]
    level_psnr: list[float] | None = None
    views = 0
    if len(split) and recipe.eval_views != 0:
        found = yield from evaluating(stored, split, [0] * levels, views=recipe.eval_views)
        scores = [{"level": s.level, "psnr": s.psnr, "ssim": s.ssim} for s in found.scores]
        pictures, photograph, views = found.pictures, found.photograph, found.views
        level_psnr = [round(s.psnr, 3) for s in found.scores]
    else:
        pictures, photograph = _first_view(stored, trainer.scene.train)
    for score, extra in zip(scores, (yield from trainer.measuring(stored)), strict=True):
        score |= extra
    if all("held_out_psnr" in score for score in scores):
        model.metadata["best_level"] = best_level([score["held_out_psnr"] for score in scores])
    model.metadata.pop("level_psnr", None)
    if level_psnr is not None:
        model.metadata["level_psnr"] = level_psnr
    for score, size in zip(scores, save_model(model, folder / MODEL), strict=True):
        score["bytes"] = size
    metrics = {
        "method": trainer.config.method,
        "scene": trainer.scene.name,
        "preset": trainer.config.preset,
        "arch": current().arch,
        "seed": trainer.config.seed,
        "iterations": trainer.iteration,
        "train_seconds": trainer.elapsed,
        "rays_per_second": trainer.record.rays_seen / max(trainer.elapsed, 1e-9),
        "unit": trainer.unit,
        "level_name": model.field.level_name,
        "resolution": list(model.field.resolution),
        "views": views,
        "levels": scores,
        "best_level": model.metadata.get("best_level"),
        "warnings": trainer.shortfalls(),
    }
    write_json(folder / METRICS, metrics)
    append_line(folder / EVENTS, {
        "event": "evaluation", "iteration": trainer.iteration, "seconds": round(trainer.elapsed, 3), "views": views,
        "psnr": [s["psnr"] for s in scores],
    })  # fmt: skip
    history = [*trainer.history, *(event for event in trainer.events if event["event"] == "rank")]
    shown = _pictures(metrics, pictures)
    report(folder / REPORT, metrics, history, [*shown, (trainer.scene.shows, photograph)])
    small = to_image(pictures[-1])
    small.thumbnail((SMALL, SMALL))
    save_picture(folder / THUMBNAIL, np.asarray(small))
    return metrics


def _first_view(model: Model, split: Any) -> tuple[np.ndarray, np.ndarray]:
    """The picture of the first view at every level, and its photograph; of a large one every n-th pixel."""
    camera = split.cameras[0]
    step = -(-max(camera.width, camera.height) // LARGEST)
    if step == 1:
        return render_prefixes(model, camera), split.composite(0, model.background)
    photograph = over(split.pixels.thinned(0, step).astype(np.float32), model.background)
    return render_prefixes(model, camera.resized(photograph.shape[1], photograph.shape[0])), photograph


def _pictures(metrics: dict[str, Any], pictures: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What the report shows: one view at the levels that stand for all."""
    levels = metrics["levels"]
    entries = []
    for level in shown_levels(len(levels)):
        score = levels[level - 1]
        entries.append((caption(metrics["level_name"], level, score["psnr"], score["bytes"]), pictures[level - 1]))
    return entries
