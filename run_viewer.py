"""Look at a trained model in a window, or take a picture of it without one.

python run_viewer.py runs/lego
python run_viewer.py runs/lego/model.trf --rank 4
python run_viewer.py runs/lego --headless --screenshot out.png --level 4
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from taichi_rf import entry
from taichi_rf.errors import UserError

LARGEST_SIDE = 16384  # pixels


@dataclass(frozen=True)
class Options:
    """Look at a trained model in a window, or take a picture of it without one."""

    # A .trf file, or the folder of a run that holds model.trf.
    model: Annotated[Path, tyro.conf.Positional]
    # The level (rank, LOD) to show first. Default: the highest.
    level: Annotated[int | None, tyro.conf.arg(aliases=["--rank", "--lod"])] = None
    # What to show.
    mode: Literal["colour", "depth", "opacity"] = "colour"
    # Render without a window, a display or Vulkan; goes with --screenshot.
    headless: bool = False
    # Write one picture to this file and end, without a window.
    screenshot: Path | None = None
    # Pixels across the window or the picture.
    width: int = 1280
    # Pixels down the window or the picture.
    height: int = 720
    # Where the camera stands: degrees around the upright axis. Default: the model's own first view.
    azimuth: float | None = None
    # Where the camera stands: degrees above the horizon.
    elevation: float | None = None
    # Where the camera stands: world units from the point it looks at.
    distance: float | None = None
    # Vertical field of view, in degrees.
    fov: float | None = None
    # The device to compute on.
    arch: Literal["auto", "cpu", "cuda", "vulkan", "metal"] = "auto"
    # Append a line of JSON for every frame of the window to this file.
    state_file: Path | None = None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every way out is an exit code."""
    options = tyro.cli(Options, prog="run_viewer.py", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    entry.run("run_viewer.py", lambda stopper: view(options))


def view(options: Options) -> None:
    """Open the window, or write the picture.

    Raises:
        UserError: the model cannot be read, the options ask for what it does not have, or no window can open.
    """
    from viewer.session import Session, model_file

    _check(options)
    path = model_file(options.model)
    headless = options.headless or options.screenshot is not None
    if not headless:
        from viewer.display import why_no_window

        reason = why_no_window()
        if reason:
            raise UserError(reason)

    from taichi_rf import backend
    from taichi_rf.model import Model

    backend.init(options.arch)
    model = Model.load(path)
    for warning in model.metadata.get("warnings", ()):
        print(f"run_viewer.py: {warning}", file=sys.stderr)
    session = Session(model, level=options.level)
    session.mode = options.mode
    session.start_from(
        azimuth=options.azimuth, elevation=options.elevation, distance=options.distance, field_of_view=options.fov
    )
    if headless:
        assert options.screenshot is not None
        _write_picture(options.screenshot, session.snapshot(options.width, options.height))
    else:
        from viewer import window

        window.run(session, width=options.width, height=options.height, state_file=options.state_file)


def _check(options: Options) -> None:
    if options.headless and options.screenshot is None:
        raise UserError("--headless has nothing to do: say where the picture goes with --screenshot FILE.png")
    if options.screenshot is not None and options.screenshot.suffix.lower() != ".png":
        raise UserError(f"--screenshot {options.screenshot}: pictures are PNG: name a file that ends in .png")
    for name in ("width", "height"):
        if not 1 <= getattr(options, name) <= LARGEST_SIDE:
            raise UserError(f"--{name} {getattr(options, name)}: choose 1 to {LARGEST_SIDE} pixels")
    for name, low, high in (("azimuth", -1e6, 1e6), ("elevation", -90, 90), ("distance", 1e-6, 1e6), ("fov", 1, 170)):
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name} {value}: choose {low:g} to {high:g}")


def _write_picture(path: Path, picture: Any) -> None:
    from PIL import Image

    from taichi_rf.files import atomic_write

    with atomic_write(path) as file:
        Image.fromarray(picture).save(file, format="PNG")


if __name__ == "__main__":
    main()
