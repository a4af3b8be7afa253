"""What the window over the cheap model is to show."""

from __future__ import annotations

import numpy as np
from PIL import Image

from taichi_rf.motion.bands import quantise
from tests.e2e.windows import SIZE
from tests.tiny import tiny_scene
from tests.viewer_fakes import Clock, FakeModel, FakeRender
from viewer.session.session import Session

LEVELS = 4


def rendered(
    level: int = LEVELS,
    mode: str = "colour",
    size: tuple[int, int] = SIZE,
    view: int | None = None,
    covered: tuple[int, int, int] = (0, 0, 0),
):
    """What the window is to show from the first view, or from a test view: (height, width, 3); what ``covered`` columns
    at the left and the right and rows at the bottom leave has what one looks at in its middle."""
    session = Session(FakeModel(), render=FakeRender(Clock()), scene=tiny_scene(), level=level)
    session.set_mode(mode)
    if view is not None:
        session.go_to(session.views[view])
    session.viewpoint.covered = covered
    camera = session.viewpoint.frame_camera(*size)
    return quantise(session.render_band(camera, session.level, session.plain_mode)).astype(int)


def photograph(index: int, side: int) -> np.ndarray:
    """A test photograph over white, (side, side, 3)."""
    image = tiny_scene().test.images[index].astype(np.float32)
    pixels = image[..., :3] + 1 - image[..., 3:]
    return np.asarray(
        Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    ).astype(int)
