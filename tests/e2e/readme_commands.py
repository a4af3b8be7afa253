"""Runs commands of the README one after the other in the working directory: ``readme_commands.py PORT < COMMANDS``.

Commands are lines; a JSON line with the exit code of each comes on stdout, after what the command printed on stderr.
They run in this one process, which spares them the imports, and with what makes them cheap:

* presets "quick" are those of the tests, for as few steps and pixels as ``SMALLER`` says;
* windows and servers are opened, and closed at once, by a stand-in: what opens real ones are tests of their own;
* photographs without poses are placed by a stand-in for COLMAP, and a video is a short one;
* of each method the first training is trained, with and without ``--view``; of the others, and of solids, the scene is
  read and the trainer made;
* ``bench`` and ``gpu-report`` only read their command lines, and ``suite`` only lists its runs;
* ``https://host`` is a server on 127.0.0.1, at PORT.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import run_viewer
import train
from scenes import is_mesh
from scenes.posing import posed, process
from taichi_rf.cli import bench, main
from taichi_rf.cli.gpu_report import run as gpu_report
from taichi_rf.cli.train import run as train_run
from taichi_rf.training.configs import slimmerf, solid, vqad
from taichi_rf.training.run import Run
from tests.solids import TINY_SOLID
from tests.tiny import TINY, TINY_OCTREE
from tests.unposed import Placing
from viewer.app.studio import Studio
from viewer.desktop import display, window
from viewer.web import front_end

SMALLER = {
    "train.py": ["--downscale", "16", "--eval-views", "1", "--iterations", "10"],
    "evaluate": ["--downscale", "16", "--eval-views", "1"],
    "inspect": ["--downscale", "16"],
    "render": ["--width", "32", "--height", "32"],
}
"""Options that a command gets unless it has them; builtin scenes are rendered in as many pixels as that leaves."""
VIDEO = ["--width", "32", "--height", "32", "--fps", "4"]


def cheapen() -> None:
    """Put the stand-ins in their places."""
    slimmerf.PRESETS["quick"] = TINY.changed(preset="quick")
    vqad.PRESETS["quick"], solid.PRESETS["quick"] = TINY_OCTREE, TINY_SOLID
    display.why_no_window = lambda: None
    window.run = lambda studio, **options: shown(studio)
    front_end.serve = lambda studio, **options: shown(studio)
    process.run = posed.process.run = Placing()
    bench.run = gpu_report.run = lambda command: None
    genuine, trained = train_run._train, {("solid", True)}

    def once(run: Run, watch: train_run.Watch | None) -> None:
        kind = "solid" if is_mesh(run.recipe.source) else run.recipe.config.method, watch is None
        if kind not in trained:
            trained.add(kind)
            genuine(run, watch)

    train_run._train = once


def shown(studio: Studio) -> None:
    """A window that is closed after a frame."""
    if studio.session is not None:
        studio.session.frame(32, 32, 0.01)


def run(command: str) -> int:
    """The exit code of a command line."""
    words = shlex.split(command, comments=True)
    assert words[0] == "python", command
    program, arguments = words[1], words[2:]
    act: Callable[[list[str]], Any] = {"train.py": train.main, "run_viewer.py": run_viewer.main}.get(program, main.main)
    if program == "-m":
        assert arguments[0] == "taichi_rf", command
        program, arguments = arguments[1], arguments[1:]
    else:
        assert (Path(__file__).resolve().parents[2] / program).is_file(), command
    for option, value in zip(*[iter(SMALLER.get(program, ()))] * 2, strict=True):
        if option not in arguments and "--resume" not in arguments:
            arguments += [option, value]
    if program == "suite":
        arguments.append("--list")
    if {"--turntable", "--path"} & set(arguments):
        arguments += VIDEO
    try:
        act(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    cheapen()
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            code = run(line.replace("https://host", f"http://127.0.0.1:{sys.argv[1]}"))
        print(json.dumps([line.strip(), code, round(time.process_time(), 1)]), flush=True)
