"""What stands in for the model's picture while there is nothing of the model to see: words, or a photograph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from taichi_rf.motion.bands import quantise
from taichi_rf.streaming.arrivals import Arrivals
from viewer.overlay.screen import screen
from viewer.session.compose import AROUND, placed
from viewer.session.learning import Learning
from viewer.session.viewpoint import Viewpoint

_EVERY = 8  # pixels between two that are looked at
_VISIBLE = 12  # of 255 by which a picture's pixels differ where something is to be seen
_YOUNG = 0.02  # of the training, after which the model is shown in any case

Bytes = npt.NDArray[np.uint8]


class StandIn:
    """Says whether something stands in for the model's picture, and makes it: how far a model has come of which no
    level is there, or the photograph nearest to where one stands while a training has only begun.

    Args:
        learning: the training, None for a finished model.
        arrivals: what is being downloaded, None for nothing.
    """

    def __init__(self, learning: Learning | None, arrivals: Arrivals | None) -> None:
        self._learning, self._arrivals = learning, arrivals
        self._begun = learning is None or learning.trainer.progress > 0
        self._made: tuple[object, Bytes] | None = None

    def needed(self) -> bool:
        """Whether the model is not to be looked at: nothing has come, or kernels are compiled by steps that are taken
        back."""
        cold = self._learning is not None and bool(getattr(self._learning.trainer, "cold", False))
        return cold or (self._arrivals is not None and not self._arrivals.level)

    def better(self, canvas: Bytes) -> bool:
        """Whether the model's own picture (width, height, 4) shows nothing yet; once it does, never again."""
        if not self._begun:
            assert self._learning is not None
            sample = canvas[::_EVERY, ::_EVERY, :3].reshape(-1, 3)
            seen = int(np.ptp(sample, axis=0).max()) > _VISIBLE
            self._begun = seen or self._learning.trainer.progress > _YOUNG
        return not self._begun

    def picture(self, viewpoint: Viewpoint, width: int, height: int) -> Bytes:
        """It as (height, width, 3); drawn anew only when it has changed."""
        if self._arrivals is not None:
            arrivals = self._arrivals
            share = None if arrivals.over else round(arrivals.progress * arrivals.total, 2)
            key: object = arrivals.text(), share, width, height
            if self._made is None or self._made[0] != key:
                self._made = key, screen("Taichi RF", [arrivals.text()], share, width, height)
            return self._made[1]
        view = viewpoint.at or viewpoint.nearest()
        key = view, width, height
        if self._made is None or self._made[0] != key:
            if view is None:
                picture = screen("Taichi RF", ["The training begins."], None, width, height)
            else:
                photograph = quantise(viewpoint.photograph(view, (1.0, 1.0, 1.0)))
                columns = placed(photograph, viewpoint.camera_of(view), width, height, [int(255 * AROUND)] * 3)
                picture = columns[..., :3].transpose(1, 0, 2)[::-1]
            self._made = key, picture
        return self._made[1]
