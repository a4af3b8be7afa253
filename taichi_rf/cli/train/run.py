"""``train.py`` at work: begin a run or go on with one, train with a progress bar or in a window, evaluate, report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import scenes
from taichi_rf.cli import entry
from taichi_rf.cli.console import announce_memory, bar, duration, rate_distortion, say, waiting
from taichi_rf.cli.train.options import TrainOptions
from taichi_rf.cli.train.recipe import new_recipe, resumed_recipe, settings, suited_config
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json
from taichi_rf.storage.model_file import StoredModel, model_path, read_stored
from taichi_rf.training import checkpoint
from taichi_rf.training.configs.base import Config
from taichi_rf.training.describing import describe
from taichi_rf.training.finish import finish
from taichi_rf.training.going_on import begun_config, begun_words, longer_words
from taichi_rf.training.methods.registry import find_preset, suited
from taichi_rf.training.run import (
    CONFIG,
    METRICS,
    MODEL,
    REPORT,
    Recipe,
    Run,
    RunFolder,
    Training,
    folder_name,
    free_folder,
    short,
)
from taichi_rf.training.trainer import Trainer

RUNS = Path("runs")

Watch = Callable[[Run], None]
"""Trains a run in a window until that is closed, and reports what came of it."""


def train(options: TrainOptions, stopper: entry.Stopper, watch: Watch | None = None) -> None:
    """Train, evaluate and report, as ``options`` ask, which have been checked.

    Args:
        stopper: puts off signals while a part of a step is taken.
        watch: where to train instead of behind a progress bar.

    Raises:
        UserError: something is wrong with the scene, the folder or the machine.
        FloatingPointError: the loss is no longer a number.
        entry.Stopped: someone wanted to stop; what has been trained is saved.
    """
    new = options.resume is None
    stored = None if options.begin_with is None else read_stored(model_path(options.begin_with), told=say)
    made = new_recipe(options, stored) if new else None
    folder = RunFolder(options.resume or options.out or free_folder(RUNS, folder_name(made.source if made else "")))
    with contextlib.ExitStack() as claim:
        claim.enter_context(folder.claimed(new=new, overwrite=options.overwrite))
        before = None if made else folder.recipe()
        recipe = made or resumed_recipe(folder.recipe(), options, checkpoint.taken(folder / checkpoint.NAME))
        trainer = _trainer(recipe, folder, options, stored, new=new)
        if before is not None and before.config != trainer.config and not trainer.done:
            for text in longer_words(trainer, before.config):
                say(text)
        recipe = replace(recipe, source=trainer.scene.source, config=trainer.config)  # good from any folder
        if recipe.downscale == "auto":
            recipe = replace(recipe, downscale=trainer.scene.downscale)
        describe(trainer, recipe)
        if new:
            folder.begin(recipe, trainer)
        else:
            write_json(folder / CONFIG, recipe.to_json())
        training = Training(
            trainer, folder, guard=stopper.step, claim=claim, cold=not trainer.done, save_seconds=options.save_seconds
        )
        run = Run(training, recipe)
        _train(run, watch)


def _trainer(
    recipe: Recipe, folder: RunFolder, options: TrainOptions, stored: StoredModel | None, *, new: bool
) -> Trainer:
    """Start the device, load the scene, and make a trainer, which begins with ``stored`` where there is one, or bring
    back that of ``folder``."""
    device = backend.init(recipe.arch, threads=options.threads).label
    mesh = scenes.is_mesh(recipe.source)
    with bar("drawing the mesh" if mesh else "loading images") as show:
        scene = scenes.load(
            recipe.source,
            downscale=recipe.downscale,
            views=recipe.views,
            background=recipe.background,
            max_test_views=recipe.eval_views,
            progress=show.counted,
            stage=show.begin,
            depth=recipe.config.wants_depth,
            follow_links=recipe.follow_links,
            world=recipe.world,
            announce=announce_memory,
        )
    say(f"{scene.describe()}, on {device}")
    for text in scene.warnings:
        say(f"warning: {text}")
    with waiting("measuring distances") if mesh else contextlib.nullcontext():
        if new:
            trainer = Trainer(scene, _configured(recipe, options, scene, stored))
        else:
            trainer = Trainer.resume(folder.path, scene, recipe.config)
    for text in trainer.warnings:
        say(f"warning: {text}")
    if stored is not None:
        for text in begun_words(trainer, trainer.begin_with(stored), stored.header["decoder"]):
            say(text)
    if trainer.iteration:
        say(f"going on from iteration {trainer.iteration:,}, after {trainer.elapsed:.0f} s of training")
    if warning := folder.room_warning(trainer):
        say(f"warning: {warning}")
    return trainer


def _configured(recipe: Recipe, options: TrainOptions, scene: Any, stored: StoredModel | None) -> Config:
    """The configuration as suits ``scene``, and ``stored`` where the training begins with that, save for what ``--set``
    says, which is printed beside what it replaces."""
    config = suited_config(recipe, options, scene)
    said = settings(options, config)
    if said:
        preset = suited(find_preset(config.method, config.preset, mesh=scenes.is_mesh(recipe.source)), scene)
        for key, value in said.items():
            say(f"set {key} = {_shown(value)} (preset {config.preset}: {_shown(preset.get(key))})")
    config = config.changed(**said)
    if stored is not None:
        config = begun_config(config, stored.header)
        for key in said:
            if config.get(key) != said[key]:
                raise UserError(f"--set {key} does not go with --from: there it is {_shown(config.get(key))}")
    return config


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


def _train(run: Run, watch: Watch | None) -> None:
    """Train to the end, then evaluate; whatever stops it, the last good checkpoint is there."""
    training = run.training
    if watch is not None:  # which says how far compiling is
        watch(run)
        return
    if training.cold:
        with _if_stopped(f"nothing new was trained; start it with: {run.again}"), bar("compiling") as show:
            while training.cold:
                training.warm_up()
                show(training.warmth)
    if not training.done:
        with _saving(run):
            _show(training)
            training.save()
    report(run)


def report(run: Run) -> None:
    """Evaluate a run that is trained, and say what came of it."""
    training, metrics = run.training, run.metrics
    if metrics is None:
        stopped = _if_stopped(f"the training is done and saved; evaluate it with: {run.again}")
        with stopped, bar("evaluating") as show:
            run.metrics = metrics = finish(training, run.recipe, progress=show.counted)
    rate_distortion(metrics)
    for text in metrics.get("warnings", ()):
        say(f"warning: {text}")
    if not metrics["views"]:
        reason = "as asked" if run.recipe.eval_views == 0 else "the scene has no test views"
        say(f"no view was evaluated ({reason}), so there is no PSNR")
    if (best := metrics.get("best_level")) is not None:
        say(f"{metrics['level_name']} {best} is the best by training rays that were kept back: the viewer begins there")
    say(
        f"trained for {metrics['train_seconds']:.0f} s, {metrics['iterations']:,} iterations at "
        f"{metrics['rays_per_second']:,.0f} {training.trainer.unit}/s"
    )
    for name in (MODEL, METRICS, REPORT):
        say(f"  {short(training.folder / name)}")
    say(f"look at it: python run_viewer.py {training.folder}")


@contextlib.contextmanager
def _saving(run: Run) -> Iterator[None]:
    """Have what stops the training saved, and answered with how to go on."""
    training = run.training
    try:
        yield
    except entry.Stopped as stopped:
        with _if_stopped(f"not saved; go on from the last checkpoint with: {run.again}"):
            training.save()
            if not training.whole:
                raise entry.Stopped(stopped.number) from None
        stopped.args = (
            f"stopped by {stopped.name}: saved at iteration {training.iteration:,}; go on with: {run.again}",
        )
        raise
    except FloatingPointError as error:
        kept = f"the last good checkpoint is kept: try another --seed, or go on from it with: {run.again}"
        raise FloatingPointError(f"{error}; {kept}") from None


@contextlib.contextmanager
def _if_stopped(message: str) -> Iterator[None]:
    """Have Ctrl-C answered with ``message``."""
    try:
        yield
    except entry.Stopped as stopped:
        stopped.args = (f"stopped by {stopped.name}: {message}",)
        raise


def _show(training: Training) -> None:
    """Train with a progress bar."""
    trainer, rate = training.trainer, _rays_per_second_meter()
    name, most = training.model.field.level_name, training.model.field.num_levels
    psnr: float | None = None
    with bar("training") as show:
        while not training.done:
            info = training.step()
            psnr = info.psnr if psnr is None else 0.95 * psnr + 0.05 * info.psnr
            left = trainer.elapsed * (1 - training.progress) / max(training.progress, 1e-9)
            show(
                training.progress,
                f"{info.iteration:,} · {psnr:.2f} dB · {name} {info.level}/{most} · "
                f"{rate(info.rays):,.0f} {trainer.unit}/s · "
                f"{duration(left)} left",
            )


def _rays_per_second_meter(seconds: float = 5.0) -> Callable[[int], float]:
    """A function to be told the rays of each step, which answers with their rate over the last ``seconds``."""
    steps: list[tuple[float, int]] = [(time.perf_counter(), 0)]

    def update(rays: int) -> float:
        now = time.perf_counter()
        steps.append((now, rays))
        while len(steps) > 2 and steps[0][0] < now - seconds:
            steps.pop(0)
        return sum(n for _, n in steps[1:]) / max(now - steps[0][0], 1e-9)

    return update
