"""Opens what the command line names, has a front end show it until that is closed, and saves what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from taichi_rf.cli.console import bar, say
from taichi_rf.cli.entry import Stopper
from taichi_rf.core.errors import UserError
from viewer.app.closing import until_closed
from viewer.app.options import Options
from viewer.app.settings import Settings
from viewer.app.studio import Studio
from viewer.session.session import Session

RUNS = Path("runs")

FrontEnd = Callable[[Studio, Options], None]
"""Shows what the studio holds until the person has done with it."""


def show(options: Options, stopper: Stopper, front_end: FrontEnd) -> None:
    """Open what ``options`` name, have ``front_end`` show it, and save what was trained.

    Raises:
        UserError: it cannot be opened or shown.
        Stopped: someone wanted to stop; what has been trained is saved.
    """
    studio = Studio(arch=options.arch, runs=RUNS, guard=stopper.step, settings=Settings.load())
    with until_closed(studio):
        if options.model is not None:
            bandwidth = options.pictures().bytes_a_second
            with bar("opening") as progress:
                studio.open_now(options.model, lambda text, share: progress(share, text), bandwidth=bandwidth)
        if said := options.world.said():
            if studio.session is not None:
                raise UserError(f"--{next(iter(said))} goes with a scene to train: {options.model} has its own")
            studio.place(studio.world.with_said(options.world))
        if options.web and studio.session is None and options.model is not None:
            _begin_training(studio)
        if studio.session is not None:
            _prepare(studio.session, options)
        front_end(studio, options)


def _begin_training(studio: Studio) -> None:
    """Train the scene that was named."""
    with bar("opening") as progress:
        studio.start_now(lambda text, share: progress(share, text))
    assert studio.run is not None
    images = "at their size" if studio.downscale == 1 else f"at 1/{studio.downscale} of their size"
    say(f"training in {studio.run.training.folder} with the preset {studio.preset} and images {images}")


def _prepare(session: Session, options: Options) -> None:
    """Show what the options ask for. UserError where the model does not have it."""
    size = options.pictures().most_bytes
    if options.level is not None:
        session.levels.choose(session.levels.check(options.level))
    if size is not None:
        session.levels.limit(size)
    if options.mode is not None:
        session.set_mode(options.mode)
    if options.demo_seconds is not None:
        session.demo_seconds = options.demo_seconds
    session.viewpoint.start_from(
        azimuth=options.azimuth, elevation=options.elevation, distance=options.distance, field_of_view=options.fov
    )
