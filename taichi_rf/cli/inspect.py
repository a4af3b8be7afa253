"""``python -m taichi_rf inspect``: what was understood of a scene, before anything is trained."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

import scenes
from scenes.inspection import compared, facts, picture, suspicions
from taichi_rf.cli.console import announce_memory, bar, console, say, warn
from taichi_rf.cli.options import Inspect
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.core.plain_text import visible


def run(command: Inspect) -> None:
    """Print what the scene is, what is odd about it, and write the picture."""
    if command.output.suffix.lower() != ".png":
        raise UserError(f"--output {command.output}: a picture ends in .png")
    if scenes.is_mesh(scenes.find(command.scene)):
        raise UserError(f"'{command.scene}' is a mesh: there are no photographs to inspect")
    with bar("loading images") as show:
        scene = scenes.load(
            command.scene, downscale=command.downscale, progress=show.counted, stage=show.begin,
            follow_links=command.follow_links, announce=announce_memory, world=command.world,
        )  # fmt: skip
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(Text("scene", "bold"), Text(visible(scene.name)))
    with console.status("comparing poses with photographs"):
        rows, doubts = compared(scene)
    for label, value in (*facts(scene), *rows):
        table.add_row(Text(label, "bold"), Text(visible(value)))
    console.print(table)
    warn([*scene.warnings, *suspicions(scene), *doubts])
    page = picture(scene)
    with atomic_write(command.output) as file:
        page.save(file, format="PNG")
    say(f"{command.output}: cameras, box and points from above and from the side")
