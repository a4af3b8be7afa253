"""What one does with a trained model: ``python -m taichi_rf info | slim | evaluate | render | bench``.

python -m taichi_rf info runs/lego
python -m taichi_rf slim runs/lego/model.trf --rank 4 -o small.trf
python -m taichi_rf slim https://host/model.trf --rank 4 -o small.trf
python -m taichi_rf slim runs/lego/model.trf --precision small -o small.trf
python -m taichi_rf slim runs/lego/model.trf --size 300kB -o small.trf
python -m taichi_rf evaluate small.trf data/lego --downscale 2
python -m taichi_rf render runs/lego -o lego.png --rank 4
python -m taichi_rf render runs/lego -o lego.mp4 --turntable --sweep
python -m taichi_rf render runs/lego -o lego.gif --path camera_path.json
python -m taichi_rf bench --json bench.json
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from taichi_rf.cli import entry
from taichi_rf.coding.headers import is_whole
from taichi_rf.core.errors import UserError

if TYPE_CHECKING:
    from taichi_rf.fields.base import Accounts
    from taichi_rf.storage.trf import TrfFile

PROGRAM = "python -m taichi_rf"
LEVELS = tyro.conf.arg(aliases=["--rank", "--lod"])
Arch = Literal["auto", "cpu", "cuda", "vulkan", "metal"]


@dataclass(frozen=True)
class Info:
    """Say what a model is, and what each of its levels costs."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True)
class Slim:
    """Make a model's file smaller: its first levels only, or its numbers less precise, or whatever fits a size."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional]
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
class Evaluate:
    """PSNR and SSIM of every level on a scene's test views."""

    # A .trf file, or the folder of a run.
    model: Annotated[Path, tyro.conf.Positional]
    # The scene's folder, or the name of a built-in one. Default: the one it was trained on.
    scene: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE")] = None
    # Average this many pixels a side into one. Default: as in training.
    downscale: int | None = None
    # How many test views, evenly spread. Default: all.
    eval_views: Annotated[int | None, tyro.conf.arg(aliases=["--views"])] = None
    # Only the first so many levels (ranks, LODs). Default: all in the file.
    level: Annotated[int | None, LEVELS] = None
    # Read images to which links lead out of the scene's folder.
    follow_links: bool = False
    # Write the numbers to this file.
    json: Path | None = None
    # The device to compute on.
    arch: Arch = "auto"


@dataclass(frozen=True)
class Render:
    """Write a picture of a model, or a video of a turn around it or of a way through it."""

    # A .trf file or its address (http, https, s3, gs, ...), or the folder of a run.
    model: Annotated[str, tyro.conf.Positional]
    # The file to write: .png for a picture, .mp4 or .gif for a video.
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    # A video of one turn around the scene.
    turntable: bool = False
    # A video that follows this camera path (nerfstudio's camera_path.json).
    path: Path | None = None
    # How long a turn takes, in seconds. Default: 6.
    seconds: float | None = None
    # Frames a second of a video. Default: 30, or what the camera path says.
    fps: float | None = None
    # Go from the first level to --level during the video.
    sweep: bool = False
    # How many levels (ranks, LODs) to use. Default: all.
    level: Annotated[int | None, LEVELS] = None
    # What to show.
    mode: Literal["colour", "depth", "normals", "opacity", "occupancy", "samples"] = "colour"
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
class Bench:
    """How fast training and rendering are on this machine, stage by stage."""

    # What is measured: slimmerf's tensor factors, or vqad's octree.
    method: Literal["slimmerf", "vqad"] = "slimmerf"
    # Write the numbers to this file.
    json: Path | None = None
    # The scene to train on. Default: one that suits the benchmark.
    scene: str | None = None
    # The device to compute on.
    arch: Arch = "auto"


Command = Info | Slim | Evaluate | Render | Bench


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""

    def parse() -> Any:
        return tyro.cli(
            Command,  # type: ignore[arg-type]
            prog=PROGRAM,
            description="What one does with a trained model.",
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )

    entry.run(PROGRAM, parse, lambda options, stopper: run(options))


def run(command: Any) -> None:
    """Do what one of the commands asks for. UserError for what the user can mend."""
    work: dict[type, Callable[[Any], None]] = {
        Info: info,
        Slim: slim,
        Evaluate: evaluate,
        Render: render,
        Bench: bench,
    }
    work[type(command)](command)


def info(command: Info) -> None:
    """Print what the file says; it is read to the end, and every checksum with it."""
    from rich.table import Table
    from rich.text import Text

    from taichi_rf.cli.console import console, plain_table, say, size_and_quality
    from taichi_rf.cli.obtain import received
    from taichi_rf.core.plain_text import visible
    from taichi_rf.storage.metadata import title
    from taichi_rf.storage.model_file import model_path
    from taichi_rf.storage.trf import read_trf
    from taichi_rf.streaming.transport import is_address

    path = command.model if is_address(command.model) else model_path(command.model)
    file = received(command.model).file() if is_address(command.model) else read_trf(path)
    _warn(file.warnings)
    header, metadata = file.header, file.header.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    field = header.get("field")
    field = field if isinstance(field, dict) else {}
    present, name = len(file.chunks), _level_name(field)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, value in (
        ("file", path),
        ("scene", title(metadata, "not named")),
        ("method", f"{metadata.get('method', '?')}, preset {metadata.get('preset', '?')}"),
        (f"{name}s", present if present == file.total_levels else f"{present} of {file.total_levels}"),
        *((("grid", field["resolution"]),) if "resolution" in field else ()),
        ("decoder", header.get("decoder")),
        ("box", header.get("box")),
        ("background", header.get("background")),
    ):
        table.add_row(Text(label, "bold"), Text(visible(str(value))))  # as Text: what a file says is not markup
    console.print(table)
    size_and_quality(name, file.prefix_bytes, _numbers(metadata.get("level_psnr")))
    lost = _numbers(metadata.get("coding_loss"))[:present]
    if lost and lost[-1] is not None:
        say(f"PSNR was measured in half precision; its numbers here cost about {lost[-1]:.2f} dB at {name} {len(lost)}")
    accounts = _accounts(field, file)
    if accounts is not None:
        plain_table(accounts.rows)
        for note in accounts.notes:
            say(note)


def slim(command: Slim) -> None:
    """Copy the first levels, checksums verified, without decoding anything; or code them anew."""
    from taichi_rf.cli.console import say
    from taichi_rf.cli.obtain import fetched, received, whole
    from taichi_rf.core.sizes import bytes_of, megabytes
    from taichi_rf.storage.model_file import model_path
    from taichi_rf.storage.trf import read_trf, truncate_trf
    from taichi_rf.streaming.transport import is_address

    if command.level is None and command.precision is None and command.size is None:
        raise UserError("how small? give --rank (or --lod), --precision or --size")
    if command.precision is not None and command.size is not None:
        raise UserError("--size chooses the precision: leave --precision, or give it with --rank alone")
    size = None if command.size is None else bytes_of(command.size, "--size")
    output, address = command.output, command.model if is_address(command.model) else None
    source = None if address is not None else model_path(command.model)
    if output.exists():
        if source is not None and os.path.samefile(source, output):
            raise UserError(f"{output} is the model itself: choose another --output, so that its other levels stay")
        if not command.overwrite:
            raise UserError(f"{output} is there already: choose another --output, or give --overwrite")
    level = command.level
    if level == "auto":
        level = _best_level(received(command.model, 1).file() if source is None else read_trf(source, 1), command.model)
    with contextlib.ExitStack() as stack:
        if address is not None:
            if level is not None and level < 1:
                raise UserError(f"level {level} does not exist; levels start at 1")
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taichi-rf-"))
            source = Path(folder) / "model.trf"
            before = fetched(address, level, source)
        else:
            assert source is not None
            before = source.stat().st_size
        if level is None:
            file = whole(source)
            if len(file.chunks) < file.total_levels:
                say(f"{command.model} holds levels 1 to {len(file.chunks)} of {file.total_levels}")
        if command.precision is None and size is None:
            assert level is not None
            after, how = truncate_trf(source, level, output), ""
        else:
            after, how = _coded(command, level, source, size)
    say(f"{output}: {megabytes(after)}" + (f" of {megabytes(before)} ({after / before:.0%})" if before else "") + how)


def _best_level(file: TrfFile, name: str) -> int:
    """What ``train.py --rank auto`` found, as the file says it."""
    metadata = file.header.get("metadata")
    best: Any = metadata.get("best_level") if isinstance(metadata, dict) else None
    if not is_whole(best, 1, file.total_levels):
        raise UserError(f"{name} does not say which of its levels is best: train it with --rank auto")
    return int(best)


def _coded(command: Slim, wanted: int | None, source: Path, size: int | None) -> tuple[int, str]:
    """Write the model to another precision; its bytes, and a remark on what was chosen and why."""
    from taichi_rf.cli.console import waiting
    from taichi_rf.core import backend
    from taichi_rf.storage.compress import Compactor
    from taichi_rf.storage.model_file import load_model
    from taichi_rf.storage.trf import read_trf, truncate_trf, write_trf

    if size is not None:
        sizes = read_trf(source, wanted).prefix_bytes
        if sizes[-1] <= size:
            return truncate_trf(source, wanted or len(sizes), command.output), ", as it is: it fits"
    backend.init(command.arch)
    model = load_model(source, wanted, lambda text: _warn([text]))
    _warn(model.metadata["warnings"])
    name, level = model.field.level_name, model.field.num_levels
    with waiting("measuring what numbers are worth"):
        compactor = Compactor(model)
    if size is None:
        assert command.precision is not None
        made, why = compactor.losing(command.precision), ""
    else:
        with waiting("trying precisions"):
            made, level = compactor.under(size)
        why = f", {compactor.rule}"
    after = write_trf(command.output, made.header, made.chunks[:level])[-1]
    loss = made.losses[level - 1]
    psnr = "" if compactor.psnr is None else f", so {compactor.psnr[level - 1] - loss:.2f} dB on held-out views"
    return after, f", {name} {level}: about {loss:.2f} dB less than before by estimate{psnr}{why}"


def evaluate(command: Evaluate) -> None:
    """Print the rate-distortion table of a model on the test views of a scene."""
    from scenes.origin import load_to_judge, source_of
    from scenes.solids.meshes import MeshScene
    from taichi_rf.cli.console import bar, rate_distortion, waiting
    from taichi_rf.core import backend
    from taichi_rf.core.files import write_json
    from taichi_rf.evaluation.evaluate import evaluate as score
    from taichi_rf.sdf.metrics import score_levels
    from taichi_rf.sdf.model import SurfaceModel
    from taichi_rf.storage.model_file import load_model, model_path

    for option, value in (("--eval-views", command.eval_views), ("--level", command.level)):
        if value is not None and value < 1:
            raise UserError(f"{option} {value}: 1 or more is expected")
    path = model_path(command.model)
    backend.init(command.arch)
    model = load_model(path, command.level, lambda text: _warn([text]))
    _warn(model.metadata["warnings"])
    source = command.scene or source_of(path, model.metadata)
    trained_at = model.metadata.get("downscale")
    downscale = command.downscale or (trained_at if isinstance(trained_at, int) and trained_at > 0 else 1)
    with bar("loading images") as show:
        scene, another = load_to_judge(
            source,
            path,
            model.metadata,
            downscale,
            max_test_views=command.eval_views,
            progress=show.counted,
            depth=False,
            follow_links=command.follow_links,
        )
    _warn([*scene.warnings, *([another] if another else [])])
    with bar("evaluating") as show:
        found = score(model, scene.test, model.metadata["prefix_bytes"], progress=show.counted)
    levels = [{"level": s.level, "psnr": s.psnr, "ssim": s.ssim, "bytes": s.bytes} for s in found.scores]
    if isinstance(scene, MeshScene) and isinstance(model, SurfaceModel):
        with waiting("measuring the surface"):
            for level, fit in zip(levels, score_levels(model, scene.shape), strict=True):
                level |= fit.entry()
    metrics = {
        "scene": scene.name,
        "downscale": downscale,
        "views": found.views,
        "level_name": model.field.level_name,
        "levels": levels,
    }
    if command.json is not None:
        write_json(command.json, metrics)
    rate_distortion(metrics)


def render(command: Render) -> None:
    """Write the picture or the video, as the viewer would."""
    import run_viewer
    from taichi_rf.storage.model_file import model_path
    from taichi_rf.streaming.transport import is_address

    if command.turntable and command.path is not None:
        raise UserError("--turntable and --path: one at a time")
    video = command.turntable or command.path is not None
    if not video and command.output.suffix.lower() != ".png":
        raise UserError(f"--output {command.output}: a picture ends in .png; for a video add --turntable or --path")
    side = None if command.path is not None else 800
    run_viewer.write(
        run_viewer.Options(
            model=command.model if is_address(command.model) else str(model_path(command.model)),
            level=command.level,
            mode=command.mode,
            headless=True,
            screenshot=None if video else command.output,
            turntable=command.output if command.turntable else None,
            path=command.path,
            output=command.output if command.path is not None else None,
            seconds=command.seconds,
            fps=command.fps,
            sweep=command.sweep,
            width=side if command.width is None else command.width,
            height=side if command.height is None else command.height,
            azimuth=command.azimuth,
            elevation=command.elevation,
            distance=command.distance,
            fov=command.fov,
            arch=command.arch,
        )
    )


def bench(command: Bench) -> None:
    """Run the benchmark."""
    from taichi_rf.cli.bench import main as run_bench
    from taichi_rf.core import backend

    if command.json is not None and not command.json.absolute().parent.is_dir():
        raise UserError(f"--json {command.json}: there is no folder {command.json.parent}")
    backend.init(command.arch)
    run_bench(command.scene, command.json, method=command.method)


def _warn(warnings: Iterable[str]) -> None:
    from taichi_rf.cli.console import say

    for warning in warnings:
        say(f"warning: {warning}")


def _accounts(field: dict[str, Any], file: TrfFile) -> Accounts | None:
    """What the levels are made of, if the field has something to say on it."""
    from taichi_rf.coding.arrays import stored_sizes
    from taichi_rf.fields.registry import field_type

    try:
        kind = field_type(field.get("kind"))
        kind.checked_header(field, len(file.chunks))
        return kind.accounts(field, [stored_sizes(chunk) for chunk in file.chunks], list(map(len, file.chunks)))
    except UserError:  # the file cannot be loaded, but what it says can be shown
        return None


def _level_name(field: dict[str, Any]) -> str:
    from taichi_rf.fields.registry import field_type

    try:
        return field_type(field.get("kind")).level_name
    except UserError:  # of a newer version, or not from us: the rest can be shown all the same
        return "level"


def _numbers(values: Any) -> list[float | None]:
    """A list that a file claims to hold numbers, with None for what is none."""
    if not isinstance(values, list):
        return []
    return [
        float(v) if isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e15 else None for v in values
    ]
