"""The options of ``python -m taichi_rf``, a class a command. Nothing here needs Taichi: ``--help`` comes at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes

from taichi_rf.storage.world import Corners, World
from taichi_rf.training.methods.registry import METHODS, MethodName

PROGRAM = "python -m taichi_rf"
LEVELS = tyro.conf.arg(aliases=["--rank", "--lod"])
MODEL = tyro.conf.arg(metavar="MODEL")
SCENE = tyro.conf.arg(metavar="SCENE")
Arch = Literal["auto", "cpu", "cuda", "vulkan", "metal"]


@dataclass(frozen=True)
class Info:
    """Say what a model is, and what each of its levels costs."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional, MODEL]


@dataclass(frozen=True)
class Inspect:
    """Say what was understood of a scene before training on it, and draw its cameras."""

    # The scene's folder, a folder of photographs or a video without poses (they are posed first), or the name of a
    # built-in scene.
    scene: Annotated[str, tyro.conf.Positional, SCENE]
    # The picture to write.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("inspect.png")
    # Average this many pixels a side into one: the photographs are shown small.
    downscale: int = 4
    # Read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # How the folder becomes a scene, where its reader would choose.
    world: OmitArgPrefixes[World] = World()


@dataclass(frozen=True)
class Slim:
    """Make a model's file smaller: its first levels only, or its numbers less precise, or whatever fits a size."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional, MODEL]
    # The file to write.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # How many levels (ranks, LODs) to keep: a faster model, too. auto: what train.py --rank auto found.
    # Default: all.
    level: Annotated[int | Literal["auto"] | None, LEVELS] = None
    # Code a tensor's numbers anew, so that they cost about 0.03 dB (fine), 0.1 dB (small) or 0.4 dB (tiny) by an
    # estimate that needs no scene. Default: as they are.
    precision: Literal["fine", "small", "tiny"] | None = None
    # The best model of at most this size, such as 1MB or 300kB: precision and, if need be, levels are chosen.
    size: str | None = None
    # Replace the output if it is there.
    overwrite: bool = False
    # The device to measure on what numbers are worth, for --precision and --size.
    arch: Arch = "auto"


@dataclass(frozen=True)
class Crop:
    """Cut a model to a box, without training: what lies outside, floaters too, is not there any more."""

    # A .trf file, or the folder of a run.
    model: Annotated[Path, tyro.conf.Positional, MODEL]
    # The file to write.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # What to keep: x y z of its lowest corner and x y z of its highest, in the units in which info shows the model's
    # own box. A tensor keeps the grid nodes around it, at most one more on each side.
    box: Corners
    # Only the first so many levels (ranks, LODs). Default: all in the file.
    level: Annotated[int | None, LEVELS] = None
    # Replace the output if it is there.
    overwrite: bool = False


@dataclass(frozen=True)
class Evaluate:
    """PSNR and SSIM of every level on a scene's test views."""

    # A .trf file, or the folder of a run.
    model: Annotated[Path, tyro.conf.Positional, MODEL]
    # The scene's folder, or the name of a built-in one. Default: the one it was trained on.
    scene: Annotated[str | None, tyro.conf.Positional, SCENE] = None
    # Average this many pixels a side into one. Default: as in training.
    downscale: int | None = None
    # How many test views, evenly spread. Default: all.
    eval_views: Annotated[int | None, tyro.conf.arg(aliases=["--views"])] = None
    # Only the first so many levels (ranks, LODs). Default: all in the file.
    level: Annotated[int | None, LEVELS] = None
    # Read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # How the folder becomes a scene, where it is to be otherwise than in training.
    world: OmitArgPrefixes[World] = World()
    # Write the numbers to this file.
    json: Path | None = None
    # The device to compute on.
    arch: Arch = "auto"


@dataclass(frozen=True)
class Render:
    """Write what a camera sees of a model: a picture, a video, frames, or a scene's views and their scores."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional, MODEL]
    # What to write: .png or .exr for a picture; .mp4, .gif, .webp or .avif for a video; a folder for frames and views.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # One turn around the scene.
    turntable: bool = False
    # Follow this camera path (nerfstudio's camera_path.json).
    path: Path | None = None
    # Two turns around the scene, up and down; of cameras that look ahead, circles.
    spiral: bool = False
    # A scene's views: pictures, errors, metrics.csv with PSNR and SSIM, and index.html, which shows photograph, picture
    # and error side by side.
    views: Literal["test", "train"] | None = None
    # Of --views: the scene's folder, or the name of a built-in one. Default: the one it was trained on.
    scene: str | None = None
    # Of --views: average this many pixels a side into one. Default: as in training.
    downscale: int | None = None
    # Of --views: read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # How long a turn or a spiral takes, in seconds. Default: 6.
    seconds: float | None = None
    # Frames a second of a video. Default: 30, or what the camera path says.
    fps: float | None = None
    # Only some frames or views, counted from 0: 10:40 is frames 10 to 39; also 10: and :40 and 17.
    frames: str | None = None
    # Go on where this was interrupted: frames and views that are there are kept. Frames of a video are kept beside it
    # until it is whole.
    resume: bool = False
    # Replace what is there.
    overwrite: bool = False
    # How many levels (ranks, LODs) to use, or two to go between on the way, such as 2:16. Default: all.
    level: Annotated[str | None, LEVELS] = None
    # Go from the first level to --level on the way.
    sweep: bool = False
    # Write level, size and PSNR on the frames; "auto" does so where the level changes.
    caption: Literal["auto", "on", "off"] = "auto"
    # What to show.
    mode: Literal["colour", "depth", "normals", "opacity", "occupancy", "samples"] = "colour"
    # What to save of pictures and frames as numbers: colours, depth (along the view axis, in world units) and normals
    # (in the world's axes), as PNG of 16 bits or with --exr.
    layers: tuple[Literal["colour", "depth", "normals"], ...] = ("colour",)
    # Colours with alpha, without the background.
    transparent: bool = False
    # All layers as one OpenEXR image a frame, colours in linear light (pip install 'taichi-rf[exr]').
    exr: bool = False
    # Pixels across. Default: 800, or what the camera path says.
    width: int | None = None
    # Pixels down. Default: 800, or what the camera path says.
    height: int | None = None
    # Where the camera stands: degrees around the upright axis. Default: the model's own first view.
    azimuth: float | None = None
    # Where the camera stands: degrees above the horizon.
    elevation: float | None = None
    # Where the camera stands: world units from the point it looks at.
    distance: float | None = None
    # Vertical field of view, in degrees.
    fov: float | None = None
    # The device to compute on.
    arch: Arch = "auto"


@dataclass(frozen=True)
class Page:
    """Write a web page that shows a model in any browser, by a double click: no server, network or Python."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional, MODEL]
    # The page to write: it ends in .html.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # How many levels (ranks, LODs) to take. Default: all.
    level: Annotated[int | None, LEVELS] = None
    # How a tensor's numbers are coded: so that they cost about 0.03 dB (fine), 0.1 dB (small) or 0.4 dB (tiny) by an
    # estimate that needs no scene, or as they are. Default: small, and as they are where they are coded already.
    precision: Literal["fine", "small", "tiny", "as-is"] | None = None
    # The best model of at most this size, such as 1MB or 300kB, in place of --precision.
    size: str | None = None
    # A text that stands on the picture.
    caption: str = ""
    # Leave the model beside the page, as a .trf of the same name, and fetch its levels as they are wanted: for a web
    # server.
    split: bool = False
    # Replace the output if it is there.
    overwrite: bool = False
    # The device to measure on what numbers are worth.
    arch: Arch = "auto"


@dataclass(frozen=True)
class Mesh:
    """Write the surface of a model as a mesh with colours, or as points on it (pip install 'taichi-rf[mesh]')."""

    # A .trf file, or the folder of a run.
    model: Annotated[Path, tyro.conf.Positional, MODEL]
    # The file to write: .glb (y up), .ply or .obj.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # How many levels (ranks, LODs) to use. Default: all.
    level: Annotated[int | None, LEVELS] = None
    # In which coordinates. scene: those of the scene's files, in metres where these are. viewer: those of the viewer,
    # upright around the origin. Default: scene, and viewer for .glb, which has to be upright.
    coordinates: Literal["scene", "viewer"] | None = None
    # Nodes of the grid along the longest side of the model's box. Default: twice as many as the model has, at most 513.
    # Of a solid it is the nearest number with which cubes fit its cells.
    resolution: int | None = None
    # The density at which a radiance field counts as solid. Default: that at which the surface looks most like the
    # model's pictures.
    threshold: float | None = None
    # Drop pieces that float: those of less than this many per cent of the largest one's area; 100 keeps that alone, 0
    # everything.
    keep_largest: float = 1.0
    # Merge triangles until there are about so many. Default: as many as there are.
    faces: int | None = None
    # Write this many points on the surface, with colours and normals, in place of triangles (.ply).
    points: int | None = None
    # How far a scene without an end is meshed: in half sides of the cube in the middle, where all of space is
    # contracted (Default: 4), or in distances of the nearest plane, where cameras look ahead (Default: 16).
    reach: float | None = None
    # Where colours come from: the photographs that the model was trained on, or the model itself. Default: photographs
    # where they are still there, and the model for what they do not show.
    colours: Literal["photographs", "model"] | None = None
    # The scene's folder, or the name of a built-in one, to take colours from. Default: the one it was trained on.
    scene: str | None = None
    # Of the photographs: average this many pixels a side into one. Default: as in training.
    downscale: int | None = None
    # Read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # Replace the output if it is there.
    overwrite: bool = False
    # The device to compute on.
    arch: Arch = "auto"


@dataclass(frozen=True)
class Bench:
    """How fast training and rendering are on this machine, stage by stage."""

    # What is measured: a method, see train.py --help.
    method: MethodName = METHODS[0].name
    # Write the numbers to this file.
    json: Path | None = None
    # The scene to train on. Default: one that suits the benchmark.
    scene: str | None = None
    # How the folder becomes a scene, where its reader would choose.
    world: OmitArgPrefixes[World] = World()
    # The device to compute on.
    arch: Arch = "auto"


@dataclass(frozen=True)
class GpuReport:
    """What this machine's GPU can do, as one page: kernels compared with the CPU's, trainings, pictures a second."""

    # The folder to write into: index.html, report.json, and what they are made of.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("gpu-report")
    # How long it may take. It is written as it goes, so that one that is cut off says something, too.
    minutes: float = 8.0
    # The scene to train on, at full resolution. Default: one that suits the benchmark.
    scene: Annotated[str | None, SCENE] = None
    # The device to measure; auto is the GPU that there is, and vulkan a software driver where there is no GPU.
    arch: Literal["auto", "cuda", "vulkan", "metal"] = "auto"
    # Replace the report that --output holds.
    overwrite: bool = False


@dataclass(frozen=True)
class Suite:
    """Train many runs, each in a folder of its own, and make tables of them: scenes times methods times seeds."""

    # A suite's file (.toml), one of suites/ by its name, or the folder of a suite that was run, to make a table of it.
    # Not needed where --scenes are given.
    suite: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SUITE")] = None
    # Scenes, in place of those of the file: folders, built-in ones, meshes.
    scenes: tuple[str, ...] = ()
    # Methods to train each with.
    methods: tuple[str, ...] = ()
    # How ranks are trained: prefix, train, plain, bcd.
    ranks: tuple[str, ...] = ()
    # Presets.
    presets: tuple[str, ...] = ()
    # Seeds, in place of those of the file. Default: 0.
    seeds: tuple[int, ...] = ()
    # A setting of every run: an option of train.py, or an entry of the configuration. Can be given repeatedly.
    set_: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="NAME=VALUE")] = ()
    # The folder in which scenes are looked for that are not here.
    data: Path | None = None
    # Leave out scenes that are not there; tables say which.
    skip_missing: bool = False
    # The suite's folder. Default: runs/ and the suite's name.
    out: Path | None = None
    # Smaller than the suite says: average this many pixels a side into one.
    downscale: int | None = None
    # Shorter than the suite says: training time of each run, in minutes.
    minutes: float | None = None
    # Shorter than the suite says: training time of each run, in seconds.
    max_seconds: float | None = None
    # Shorter than the suite says: training steps of each run.
    iterations: int | None = None
    # Evaluate on this many test views only.
    eval_views: int | None = None
    # Runs side by side, among which the cores are shared out. Default: one for every two cores; one where times are
    # measured or trainings end by the clock.
    jobs: int | None = None
    # Run on a Ray cluster (pip install 'taichi-rf[cluster]'): its address, or auto for the one that runs here. --out
    # and scenes lie in a folder that all of its machines share.
    cluster: str | None = None
    # CPUs that each run asks the cluster for; it computes with as many threads. Default: 2.
    cpus: int | None = None
    # GPUs that each run asks the cluster for. Default: 0.
    gpus: float | None = None
    # Only list the runs.
    list: bool = False
    # Only make the table of what there is.
    table: bool = False
    # How the table is written.
    format: Literal["terminal", "markdown", "csv", "latex", "json"] = "terminal"
    # Levels (ranks, LODs) that the table shows. Default: those of the suite; the highest always.
    levels: tuple[int, ...] = ()
    # Write the table to this file rather than to the terminal.
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    # Draw PSNR against file size to this picture.
    plot: Path | None = None
    # Say what became better and worse between two suites' folders.
    compare: tuple[Path, Path] | None = None
    # Replace runs that were made otherwise, and files.
    overwrite: bool = False


Command = Info | Inspect | Slim | Crop | Evaluate | Render | Page | Mesh | Bench | GpuReport | Suite
