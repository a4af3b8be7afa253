"""The viewer's web server over what costs little: ``fake_web.py model|trainer|nothing STATE_FILE``.

Writes a line of state for every turn of the loop, until SIGTERM: the page's address, and what every visitor sees, the
first of them at the top. Prints what became of it.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from taichi_rf.core import backend
from tests.e2e.fake_viewer import RealClock
from tests.viewer_fakes import FakeModel, FakeRender, FakeTrainer
from viewer.app.studio import Studio
from viewer.session.session import Session
from viewer.session.stats import stats_of
from viewer.web import site as web


def seen(session: Session) -> dict:
    """What the person of ``session`` sees."""
    return {**asdict(stats_of(session)), "camera": session.orbit.state(), "size": session.size}


def main(kind: str, state_file: str) -> None:
    backend.init("cpu")
    clock, stopped, address = RealClock(), [], []
    studio, render = Studio(), FakeRender(clock)
    if kind == "model":
        studio.session = Session(FakeModel(), render=render)
    elif kind == "trainer":
        studio.session = Session(trainer=FakeTrainer(clock, steps=100_000), render=render)
    session = studio.session
    sites: list[web.Site] = []

    class Site(web.Site):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            sites.append(self)

    web.Site = Site
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    with open(Path(state_file), "a") as file:

        def stop() -> bool:
            state = {"address": address}
            visitors = [seen(visitor.session) for site in sites for visitor in site.visitors if visitor.session]
            if session is not None:
                state |= {**(visitors or [seen(session)])[0], "visitors": visitors}
            file.write(json.dumps(state) + "\n")
            file.flush()
            return bool(stopped)

        web.serve(studio, port=0, stop=stop, ready=address.append)
    if session is not None and session.trainer is not None:
        session.save()
        print(f"iteration {session.trainer.iteration} saved {session.trainer.saved}")


if __name__ == "__main__":
    main(*sys.argv[1:])
