"""Shows what a studio holds in the window, as the command line asks for it."""

from __future__ import annotations

from viewer.app.options import Options
from viewer.app.studio import Studio
from viewer.desktop.window import run


def show(studio: Studio, options: Options) -> None:
    """Show the window until it is closed. UserError where none can open."""
    run(studio, width=options.width, height=options.height, state_file=options.state_file)
