"""``train.py --view``: a run that is trained in a window."""

from __future__ import annotations

from taichi_rf.cli import entry
from taichi_rf.cli.train.run import RUNS, report
from taichi_rf.training.run import Run
from viewer.app.closing import until_closed
from viewer.app.settings import Settings
from viewer.app.studio import Studio
from viewer.desktop import window


def watch(run: Run, *, arch: str, stopper: entry.Stopper) -> None:
    """Train ``run`` in a window until that is closed; by then it may be another run that is trained in it. One that is
    trained to its end is evaluated and reported there."""
    settings = Settings.load()
    studio = Studio(arch=arch, runs=RUNS, guard=stopper.step, settings=settings)
    with until_closed(studio):
        studio.adopt(run.training, run.recipe)
        window.run(studio)
        ended = studio.run
        if ended is not None and ended.training.done and (ended.metrics is not None or not ended.over):
            report(ended)
