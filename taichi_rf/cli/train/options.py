"""The options of ``train.py``: those of every training, and each method's own. Nothing here needs Taichi."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes

from taichi_rf.cli import command_line
from taichi_rf.cli.options import SCENE, Arch
from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World
from taichi_rf.training.configs.base import Config, names_of
from taichi_rf.training.methods.registry import METHODS, DecoderName, MethodName, PresetName

WITH_RESUME = (
    "scene", "resume", "more", "arch", "max_seconds", "iterations", "eval_views", "view", "threads", "save_seconds"
)  # fmt: skip
"""Options that go with --resume; all others are the run's own."""

MOST_THREADS = 1024
MOST_ITERATIONS = int(Config.LIMITS["iterations"][1])
"""More than this no run's config.json may say."""


ABOUT = ". ".join(dict.fromkeys(f"{method.name}: {method.about}" for method in METHODS))
"""What each method is."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a slimmable radiance field: a scene in, a model and a report out."""

    # A folder with posed photographs (NeRF-synthetic, instant-ngp, nerfstudio, COLMAP, LLFF), a folder of photographs
    # or a video without poses (posed by COLMAP: pip install 'taichi-rf[photos]'), a built-in scene (lantern, orrery,
    # rotunda), or a mesh (.obj) for --method vqad. Not needed with --resume.
    scene: Annotated[str | None, tyro.conf.Positional, SCENE] = None
    method: Annotated[MethodName, tyro.conf.arg(help=f"How the field is represented and slimmed. {ABOUT}.")] = METHODS[
        0
    ].name
    # quick: minutes on two CPU cores. balanced: minutes on a GPU. paper: every constant of the paper. Default: quick.
    preset: PresetName | None = None
    # The run's folder. Default: a new one, runs/SCENE-1 or the next number that is free.
    out: Path | None = None
    # Average this many pixels a side into one; auto: as few as let the images fit the memory comfortably. Default: 1.
    downscale: int | Literal["auto"] | None = None
    # Learn from this many training views, evenly spread. Default: all.
    views: int | None = None
    # What is behind transparent pixels; random trains against a new colour every batch. Default: the preset's.
    background: Literal["white", "black", "random"] | None = None
    # Read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # How the folder becomes a scene, where its reader would choose.
    world: OmitArgPrefixes[World] = World()
    # Find the level (rank, LOD) that is best, on training rays that are kept back for that: with few views it may be
    # well below the highest. The file keeps all levels; the viewer begins with that one, and slim --rank auto cuts
    # there.
    rank: Annotated[Literal["auto"] | None, tyro.conf.arg(aliases=["--level", "--lod"])] = None
    # What makes colours. slimmerf: spherical harmonics (sh), or the paper's mlp. vqad: small. Default: the preset's.
    decoder: DecoderName | None = None
    # Training time; the schedule is stretched or shortened to fit. Loading, compiling and evaluating do not count.
    max_seconds: float | None = None
    # Training steps. Default: the preset's.
    iterations: int | None = None
    # Of all random numbers. Default: 0.
    seed: int | None = None
    # The device to compute on. Default: auto, which is CUDA, Metal or a GPU that Vulkan offers where there is one, else
    # the CPU.
    arch: Arch | None = None
    # Evaluate on this many test views, evenly spread; 0 for none. Default: all.
    eval_views: int | None = None
    # Set an entry of the configuration, such as ranks.upsilon=0.2: any that config.json shows. Can be given repeatedly.
    set_: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="ENTRY=VALUE")] = ()
    # Threads to compute with on the CPU. Default: as many as there are cores.
    threads: int | None = None
    # Training time between two checkpoints. Default: 60.
    save_seconds: float | None = None
    # Go on with the run in this folder. Its own options hold; only training time and iterations may change.
    resume: Path | None = None
    # With --resume: take so many iterations more than the run has, be it finished or not. (--iterations says how many
    # there are to be in all.) The learning rate goes back up to where the longer schedule has it at this point, and
    # falls to the same end; it is said.
    more: int | None = None
    # Begin a new run with this model, a .trf file or the folder of a run: with another preset, grid, number of ranks
    # or box, on the same scene at another --downscale or on one that shares its coordinates. What is not said is as in
    # that run. The learning rate starts again, at what it is half-way through a training, and the optimiser anew.
    begin_with: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    # Replace the run that --out holds.
    overwrite: bool = False
    # Train in a window, with the slider live.
    view: bool = False


BUILT_IN = ("lantern", "orrery", "rotunda")
"""Names of the scenes that need no files (:func:`scenes.builtin_names`, which takes longer to ask)."""
_WHAT_THERE_IS = (
    f"name what to train: a built-in scene ({', '.join(BUILT_IN)}), a folder of posed images (python train.py "
    "path/to/lego), a folder of photographs or a video (path/to/photos, path/to/video.mp4), a mesh (path/to/bunny.obj "
    "--method vqad), or a run to go on with (--resume runs/lantern-1)"
)


OF_METHODS = tuple(dict.fromkeys(method.options for method in METHODS))


@dataclass(frozen=True)
class Options(*reversed(OF_METHODS), TrainOptions):  # type: ignore[misc]  # the last base's fields come first
    """Train a slimmable radiance field: a scene in, a model and a report out."""


def parse(arguments: list[str] | None = None) -> TrainOptions:
    """What the command line says; by default that of this process. SystemExit where it cannot be read."""
    options: TrainOptions = command_line.parse(Options, "train.py", arguments)
    return options


def check(options: TrainOptions) -> None:
    """UserError where options do not go together, or a number is out of its range."""
    if options.max_seconds is not None and options.iterations is not None:
        raise UserError("--max-seconds and --iterations both say how long to train: give one of the two")
    if options.max_seconds is not None and not 0 < options.max_seconds < 1e9:
        raise UserError(f"--max-seconds {options.max_seconds:g}: more than 0 is expected")
    if options.iterations is not None and not 1 <= options.iterations <= MOST_ITERATIONS:
        raise UserError(f"--iterations {options.iterations}: 1 to {MOST_ITERATIONS:,} is expected")
    if options.seed is not None and not 0 <= options.seed < 2**31:
        raise UserError(f"--seed {options.seed}: 0 to {2**31 - 1} is expected")
    if options.threads is not None and not 1 <= options.threads <= MOST_THREADS:
        raise UserError(f"--threads {options.threads}: 1 to {MOST_THREADS} is expected")
    if options.save_seconds is not None and not 0 < options.save_seconds < 1e9:
        raise UserError(f"--save-seconds {options.save_seconds:g}: more than 0 is expected")
    if options.eval_views is not None and options.eval_views < 0:
        raise UserError(f"--eval-views {options.eval_views}: 0 (none) or more is expected")
    if options.more is not None:
        if options.resume is None:
            raise UserError("--more goes with --resume; how long a new run is, --iterations says")
        if not 1 <= options.more <= MOST_ITERATIONS:
            raise UserError(f"--more {options.more}: 1 to {MOST_ITERATIONS:,} is expected")
        if options.max_seconds is not None or options.iterations is not None:
            raise UserError("--more, --iterations and --max-seconds all say how long to train: give one of them")
    if options.begin_with is not None and options.resume is not None:
        raise UserError("--resume goes on with a run, --from begins a new one: give one of the two")
    if options.scene is None and options.resume is None and options.begin_with is None:
        raise UserError(_WHAT_THERE_IS)
    options.world.check()
    given = [field.name for field in fields(options) if getattr(options, field.name) != field.default]
    if options.resume is not None:
        for name in given:
            if name not in WITH_RESUME:
                name = next(iter(options.world.said())) if name == "world" else name
                raise UserError(f"{_flag(name)} does not go with --resume: the run in {options.resume} has its own")
    for name in given:
        methods = [m.name for m in METHODS if name in names_of(m.options)]
        if methods and options.method not in methods:
            raise UserError(f"{_flag(name)} goes with --method {methods[0]}, not with {options.method}")


def _flag(name: str) -> str:
    return "--from" if name == "begin_with" else "--" + name.rstrip("_").replace("_", "-")
