"""Train a slimmable radiance field: a scene in, a model and a report out.

python train.py                                                  a built-in scene, a few minutes on two CPU cores
python train.py data/lego --downscale 2 --max-seconds 300 --out runs/lego
python train.py data/lego --preset paper --arch cuda
python train.py data/lego --method vqad --bits 4                 levels of detail in place of ranks, in kilobytes
python train.py --resume runs/lego                               go on after an interruption
"""

from __future__ import annotations

from taichi_rf.cli import entry

if __name__ == "__main__" or entry.started_as("taichi-rf-train"):
    entry.interruptible()

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from taichi_rf.core.errors import UserError

if TYPE_CHECKING:
    from taichi_rf.training.presets import Config
    from taichi_rf.training.run import Recipe, RunFolder, Training
    from taichi_rf.training.trainer import Trainer
    from viewer.app.opening import Run

DEFAULT_SCENE = "orrery"
RUNS = Path("runs")
WITH_RESUME = ("scene", "resume", "arch", "max_seconds", "iterations", "eval_views", "view")
"""Options that go with --resume; all others are the run's own."""
OF_METHOD = {"slimmerf": ("ranks",), "vqad": ("codes", "bits", "levels", "joint", "no_depth")}
"""Options that go with one method only."""
DECODERS = {"slimmerf": ("sh", "mlp"), "vqad": ("small",)}
"""What ``--decoder`` may be."""
KMEANS_AT = 0.98
"""Fraction of the training at which ``--codes kmeans`` finds its codes; the decoder alone gets used to them."""


@dataclass(frozen=True)
class Options:
    """Train a slimmable radiance field: a scene in, a model and a report out."""

    # A folder in the NeRF-synthetic (Blender) format, a built-in scene (lantern, orrery, rotunda), or a mesh (.obj) for
    # --method vqad. Default: orrery.
    scene: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")] = None
    # How the field is represented and slimmed. slimmerf: factors of a tensor, by rank. vqad: features on the corners of
    # an octree's cells, by level of detail.
    method: Literal["slimmerf", "vqad"] = "slimmerf"
    # quick: minutes on two CPU cores. balanced: minutes on a GPU. paper: every constant of the paper. Default: quick.
    preset: Literal["quick", "balanced", "paper"] | None = None
    # The run's folder. Default: a new one, runs/SCENE-1 or the next number that is free.
    out: Path | None = None
    # Average this many pixels a side into one. Default: 1.
    downscale: int | None = None
    # Learn from this many training views, evenly spread. Default: all.
    views: int | None = None
    # What is behind transparent pixels; random trains against a new colour every batch. Default: the preset's.
    background: Literal["white", "black", "random"] | None = None
    # slimmerf. prefix: ranks come in one by one, then prefixes of them are trained as models of their own, too. train:
    # they come in one by one (TRaIn, the paper's way). plain: all at once, good only as a whole. Default: the preset's.
    ranks: Literal["prefix", "train", "plain"] | None = None
    # Read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # Find the level (rank, LOD) that is best, on training rays that are kept back for that: with few views it may be
    # well below the highest. The file keeps all levels; the viewer begins with that one, and slim --rank auto cuts
    # there.
    rank: Annotated[Literal["auto"] | None, tyro.conf.arg(aliases=["--level", "--lod"])] = None
    # vqad: how a corner's features are stored. learned: as an index, learnt with a codebook. none: as they are.
    # kmeans: as an index found at the end. lowrank: as a few numbers times a matrix. hash: not at all, its place says
    # which row of a codebook it has. Default: the preset's.
    codes: Literal["learned", "none", "kmeans", "lowrank", "hash"] | None = None
    # vqad: bits of an index, 1 to 8 (hash: to 14); for lowrank the numbers of a corner, 1 to 15. Default: the preset's.
    bits: int | None = None
    # vqad: depths of the octree at the first level of detail and the last, such as 5-8, which has 32 to 256 cells a
    # side. Default: the preset's.
    levels: str | None = None
    # vqad: how levels train together. split: the rays of a batch are shared out among them. random: one level a batch.
    # all: all rays at all levels. finest: all rays at the last level, come what may of the others. Default: the
    # preset's.
    joint: Literal["split", "random", "all", "finest"] | None = None
    # vqad: find the surface from the images although the scene has depth.
    no_depth: bool = False
    # What makes colours. slimmerf: spherical harmonics (sh), or the paper's mlp. vqad: small. Default: the preset's.
    decoder: Literal["sh", "mlp", "small"] | None = None
    # Training time; the schedule is stretched or shortened to fit. Loading, compiling and evaluating do not count.
    max_seconds: float | None = None
    # Training steps. Default: the preset's.
    iterations: int | None = None
    # Of all random numbers. Default: 0.
    seed: int | None = None
    # The device to compute on. Default: auto, which is CUDA or Metal where there is one, else the CPU.
    arch: Literal["auto", "cpu", "cuda", "vulkan", "metal"] | None = None
    # Evaluate on this many test views, evenly spread; 0 for none. Default: all.
    eval_views: int | None = None
    # Go on with the run in this folder. Its own options hold; only training time and iterations may change.
    resume: Path | None = None
    # Replace the run that --out holds.
    overwrite: bool = False
    # Train in a window, with the slider live.
    view: bool = False


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""

    def parse() -> Options:
        return tyro.cli(Options, prog="train.py", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))

    entry.run("train.py", parse, train)


def train(options: Options, stopper: entry.Stopper) -> None:
    """Train, evaluate and report, as ``options`` ask.

    Raises:
        UserError: something is wrong with the options, the scene, the folder or the machine.
        FloatingPointError: the loss is no longer a number.
        entry.Stopped: someone wanted to stop; what has been trained is saved.
    """
    _check(options)
    if options.view:
        from viewer.desktop.display import why_no_window

        if reason := why_no_window():
            raise UserError(reason)
    if options.resume is not None:
        _resume(options, stopper)
    else:
        _start(options, stopper)


def _check(options: Options) -> None:
    if options.max_seconds is not None and options.iterations is not None:
        raise UserError("--max-seconds and --iterations both say how long to train: give one of the two")
    if options.max_seconds is not None and not 0 < options.max_seconds < 1e9:
        raise UserError(f"--max-seconds {options.max_seconds:g}: more than 0 is expected")
    if options.iterations is not None and options.iterations < 1:
        raise UserError(f"--iterations {options.iterations}: 1 or more is expected")
    if options.seed is not None and not 0 <= options.seed < 2**31:
        raise UserError(f"--seed {options.seed}: 0 to {2**31 - 1} is expected")
    if options.eval_views is not None and options.eval_views < 0:
        raise UserError(f"--eval-views {options.eval_views}: 0 (none) or more is expected")
    if options.resume is not None:
        for field in fields(Options):
            if field.name not in WITH_RESUME and getattr(options, field.name) != field.default:
                raise UserError(
                    f"{_flag(field.name)} does not go with --resume: the run in {options.resume} has its own"
                )
    for method, names in OF_METHOD.items():
        for name in names:
            if method != options.method and getattr(options, name) not in (None, False):
                raise UserError(f"{_flag(name)} goes with --method {method}, not with {options.method}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _start(options: Options, stopper: entry.Stopper) -> None:
    from taichi_rf.training.run import RunFolder, Training, folder_name, free_folder

    recipe = _recipe(options)
    folder = RunFolder(options.out or free_folder(RUNS, folder_name(recipe.source)))
    with contextlib.ExitStack() as claim:
        claim.enter_context(folder.claimed(new=True, overwrite=options.overwrite))
        trainer = _trainer(recipe, folder, None)
        recipe = replace(recipe, source=trainer.scene.source)  # good from any folder
        folder.begin(recipe, trainer)
        _run(Training(trainer, folder, guard=stopper.step, claim=claim), recipe, options, stopper)


def _resume(options: Options, stopper: entry.Stopper) -> None:
    from taichi_rf.core.files import write_json
    from taichi_rf.training.run import CONFIG, RunFolder, Training

    assert options.resume is not None
    folder = RunFolder(options.resume)
    with contextlib.ExitStack() as claim:
        claim.enter_context(folder.claimed(new=False))
        recipe = folder.recipe()
        config = recipe.config
        if options.max_seconds is not None:
            config = replace(config, max_seconds=options.max_seconds)
        if options.iterations is not None:
            config = replace(config, iterations=options.iterations, max_seconds=None)
        changes = {"source": options.scene, "arch": options.arch, "eval_views": options.eval_views}
        recipe = replace(recipe, config=config, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
        _check_scene(recipe.source, options)
        trainer = _trainer(recipe, folder, config)
        recipe = replace(recipe, source=trainer.scene.source)  # good from any folder
        write_json(folder / CONFIG, recipe.to_json())
        _run(Training(trainer, folder, guard=stopper.step, claim=claim), recipe, options, stopper)


def _check_scene(source: str, options: Options) -> None:
    """UserError where the scene of a run to go on with is not there any more; it says how to go on."""
    import scenes

    try:
        scenes.find(source)
    except UserError as error:
        if options.scene is not None:
            raise
        raise UserError(
            f"{error}; if the scene of this run is elsewhere now, name it: python train.py --resume "
            f"{shlex.quote(str(options.resume))} SCENE"
        ) from None


def _recipe(options: Options) -> Recipe:
    """What the options come to; everything not given is the preset's."""
    import scenes
    from taichi_rf.training.presets import find_preset
    from taichi_rf.training.run import Recipe

    source = options.scene or DEFAULT_SCENE
    mesh = scenes.is_mesh(source)
    config = find_preset(options.method, options.preset or "quick", mesh=mesh)
    config = replace(config, **_given(options, mesh))
    if options.background is not None:
        config = replace(config, background="random" if options.background == "random" else "scene")
    return Recipe(
        config,
        source=source,
        downscale=1 if options.downscale is None else options.downscale,
        views=options.views,
        background="black" if options.background == "black" else "white",
        eval_views=options.eval_views,
        follow_links=options.follow_links,
        arch=options.arch or "auto",
    )


def _given(options: Options, mesh: bool) -> dict[str, Any]:
    """Entries of the configuration that the options name. UserError for what cannot be, or not together."""
    from taichi_rf.evaluation.autorank import PIXELS

    same = ("ranks", "decoder", "codes", "bits", "joint", "max_seconds", "iterations", "seed")
    given = {key: value for key in same if (value := getattr(options, key)) is not None}
    if options.method == "vqad":
        if options.levels is not None:
            given |= _depths(options.levels)
        if options.no_depth:
            given["depth"] = False
        if options.codes == "kmeans":
            given["quantise_at"] = KMEANS_AT
        _check_codes(options)
    if options.rank is not None:
        if mesh:
            raise UserError("--rank auto does not go with a mesh, which has no rays to keep back")
        given["held_out"] = PIXELS
    if mesh and options.no_depth:
        raise UserError("--no-depth does not go with a mesh, which has its distances")
    if options.decoder is not None:
        if mesh:
            raise UserError("--decoder does not go with a mesh, which has no colours")
        fitting = DECODERS[options.method]
        if options.decoder not in fitting:
            choices = " or ".join(fitting)
            raise UserError(f"--decoder {options.decoder} does not go with --method {options.method}: choose {choices}")
    return given


def _depths(levels: str) -> dict[str, Any]:
    """What "5-8" means: the first depth and the number of levels."""
    from taichi_rf.fields.octree.field import check_levels

    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", levels.strip())
    if found is None:
        raise UserError(f"--levels {levels}: depths of the first and the last level are expected, such as 5-8")
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise UserError(f"--levels {levels}: the first level is the coarsest, such as {last}-{first}")
    try:
        check_levels(first, last - first + 1)
    except UserError as error:
        raise UserError(f"--levels {levels}: {error}") from None
    return {"base_depth": first, "lods": last - first + 1}


def _check_codes(options: Options) -> None:
    from taichi_rf.fields.quantisers import registry as coding

    if options.codes == "none" and options.bits is not None:
        raise UserError("--bits does not go with --codes none, which stores features as they are")
    if options.bits is not None:
        coding.check(options.codes or "learned", options.bits)


def _trainer(recipe: Recipe, folder: RunFolder, resumed: Config | None) -> Trainer:
    """Start the device, load the scene, and make a trainer or, with its configuration, bring one back."""
    import scenes
    from taichi_rf.cli.console import announce_memory, bar, say, waiting
    from taichi_rf.core import backend
    from taichi_rf.training.trainer import trainer_for
    from viewer.app.opening import describe

    arch = backend.init(recipe.arch).arch
    mesh = scenes.is_mesh(recipe.source)
    with bar("drawing the mesh" if mesh else "loading images") as show:
        scene = scenes.load(
            recipe.source,
            downscale=recipe.downscale,
            views=recipe.views,
            background=recipe.background,
            max_test_views=recipe.eval_views,
            progress=show.counted,
            depth=recipe.config.wants_depth,
            follow_links=recipe.follow_links,
            announce=announce_memory,
        )
    say(f"{scene.describe()}, on {arch}")
    for text in scene.warnings:
        say(f"warning: {text}")
    kind = trainer_for(scene)
    with waiting("measuring distances") if mesh else contextlib.nullcontext():
        if resumed is None:
            trainer = kind(scene, recipe.config)
        else:
            trainer = kind.resume(folder.path, scene, resumed)
    for text in trainer.warnings:
        say(f"warning: {text}")
    if trainer.iteration:
        say(f"going on from iteration {trainer.iteration:,}, after {trainer.elapsed:.0f} s of training")
    if warning := folder.room_warning(trainer):
        say(f"warning: {warning}")
    describe(trainer, recipe)
    return trainer


def _run(training: Training, recipe: Recipe, options: Options, stopper: entry.Stopper) -> None:
    """Train to the end, then evaluate; whatever stops it, the last good checkpoint is there."""
    from taichi_rf.cli.console import waiting
    from viewer.app.opening import Run

    run = Run(training, recipe)
    if not training.done:
        with _if_stopped(f"nothing new was trained; start it with: {run.again}"), waiting("compiling"):
            training.warm_up()
    if options.view:
        _watch(run, options, stopper)
        return
    if not training.done:
        with _saving(run):
            _show(training)
            training.save()
    _report(run)


def _report(run: Run) -> None:
    """Evaluate a run that is trained, and say what came of it."""
    from taichi_rf.cli.console import bar, rate_distortion, say
    from taichi_rf.training.finish import finish
    from taichi_rf.training.run import METRICS, MODEL, REPORT, short

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
    from taichi_rf.cli.console import bar, duration
    from taichi_rf.training.run import rays_per_second_meter

    trainer, rate = training.trainer, rays_per_second_meter()
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


def _watch(run: Run, options: Options, stopper: entry.Stopper) -> None:
    """Train in a window, until it is closed; by then it may be another run that is trained in it. One that is trained
    is evaluated there."""
    from viewer.app.closing import until_closed
    from viewer.app.settings import Settings
    from viewer.app.studio import Studio
    from viewer.desktop import window

    settings = Settings.load()
    studio = Studio(arch=options.arch or "auto", runs=RUNS, guard=stopper.step, settings=settings)
    with until_closed(studio):
        studio.adopt(run.training, run.recipe)
        window.run(studio)
        ended = studio.run
        if ended is not None and ended.training.done and (ended.metrics is not None or not ended.over):
            _report(ended)


if __name__ == "__main__":
    main()
