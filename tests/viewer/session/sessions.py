"""Sessions of a model that costs what the clock says."""

from __future__ import annotations

import numpy as np

from tests.tiny import tiny_scene
from tests.viewer_fakes import Clock, FakeModel, FakeRender
from viewer.session.session import Session

BLACK_BELOW_WHITE = np.zeros((4, 4, 3), np.uint8)


BLACK_BELOW_WHITE[:2] = 255


def make(**arguments) -> tuple[Session, FakeRender, Clock]:
    clock = Clock()
    render = FakeRender(clock)
    return Session(FakeModel(), render=render, clock=clock, **{"scene": tiny_scene(), **arguments}), render, clock


def settle(session: Session, size=(96, 64)) -> np.ndarray:
    for _ in range(1000):
        picture = session.frame(*size, 0.02)
        if session.composer.complete:
            return picture.copy()
    raise AssertionError("the picture never settled")
