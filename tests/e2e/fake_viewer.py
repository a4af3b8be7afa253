"""The real window over a model or a trainer that costs little: ``fake_viewer.py model|trainer STATE_FILE``.

The model comes with the photographs of a scene; what is kept goes into the folder ``kept``. Prints what became of the
training when the window is closed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from taichi_rf.core import backend
from tests.tiny import tiny_scene
from tests.viewer_fakes import Clock, FakeModel, FakeRender, FakeTrainer
from viewer.app.studio import Studio
from viewer.desktop import window
from viewer.session.session import Session


class RealClock(Clock):
    """Spending time means waiting, for a part of it."""

    def __init__(self, part: float = 0.2) -> None:
        self.part = part

    def __call__(self) -> float:
        return time.perf_counter()

    def spend(self, seconds: float) -> None:
        time.sleep(self.part * seconds)


def main(kind: str, state_file: str) -> None:
    backend.init("cpu")
    clock = RealClock(0.05)
    render = FakeRender(clock)
    if kind == "model":
        session = Session(FakeModel(), render=render, scene=tiny_scene(), folder=Path("kept"))
    else:
        session = Session(trainer=FakeTrainer(clock, steps=100_000), render=render)
    studio = Studio(arch="cpu")
    studio.session = session
    window.run(studio, state_file=Path(state_file))
    studio.close()
    session.save()
    if session.trainer is not None:
        print(f"iteration {session.trainer.iteration} saved {session.trainer.saved}")


if __name__ == "__main__":
    main(*sys.argv[1:])
