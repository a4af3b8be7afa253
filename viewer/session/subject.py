"""What is looked at, by one person or by several at once: a model, or a training and the model that it makes.

Each person has a :class:`~viewer.session.session.Session` over it, with a place to stand and a level of their own. What
there is once, whoever looks, is here: the model, its training, what comes over a network, and the scene.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from taichi_rf.motion.free_view import render_from_anywhere
from taichi_rf.streaming.arrivals import Arrivals
from taichi_rf.streaming.download import Incoming
from viewer.session.learning import Learning, Trainer
from viewer.session.messages import Messages
from viewer.session.model import Model, Render
from viewer.session.speed import PictureTimes

SHARE = (0.05, 0.95)
"""Between these lies the share of the time that training can be given."""


class Subject:
    """One model on show, or one in the making.

    Args:
        model: the model to show; not needed with a trainer, whose model is shown.
        trainer: steps are taken from it by :meth:`work`; it starts running.
        scene: the scene of a finished model, when it is at hand; a trainer has its own.
        save: what :meth:`save` calls to keep what has been trained; the trainer's own ``save`` when None.
        render: how a picture is made; :func:`render_from_anywhere` unless a test has its own.
        clock: seconds.
        incoming: what brings the levels of ``model``, which was reserved for them.
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        trainer: Trainer | None = None,
        scene: Any | None = None,
        save: Callable[[], object] | None = None,
        render: Render | None = None,
        clock: Callable[[], float] = time.perf_counter,
        incoming: Incoming | None = None,
    ) -> None:
        if (model is None) == (trainer is None):
            raise ValueError("a session shows a model or a trainer's model: give one of the two")
        self._model = model
        self.learning = None if trainer is None else Learning(trainer, clock)
        self.arrivals = None if incoming is None else Arrivals(incoming, cast(Any, model), clock)
        self.scene = scene if trainer is None else trainer.scene
        """The scene of the model, None while it is not at hand."""
        self.render = render or render_from_anywhere
        self.times = PictureTimes()
        self.messages = Messages(clock)
        """For everybody who looks."""
        self._save = save or getattr(trainer, "save", None)
        self._share = 0.85

    @property
    def trainer(self) -> Trainer | None:
        """What makes the model on show; None for a finished model."""
        return None if self.learning is None else self.learning.trainer

    @property
    def model(self) -> Model:
        """The model on show; a trainer may replace its own at any step."""
        if self.trainer is not None:
            return cast(Model, self.trainer.model)
        assert self._model is not None
        return self._model

    @property
    def share(self) -> float:
        """Of the time, the part that is training's."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        self._share = min(max(float(share), SHARE[0]), SHARE[1])

    @property
    def training(self) -> bool:
        """Whether steps are being taken."""
        return self.learning is not None and self.learning.running

    @property
    def failure(self) -> Exception | None:
        """What ended the training early."""
        return None if self.learning is None else self.learning.failure

    def train(self, budget: float) -> None:
        """Train for about ``budget`` seconds, and tell what the people who look should know of it."""
        if self.learning is None:
            return
        before, cold = self.failure, self._cold
        self.learning.train(budget)
        if self.training and self._cold:
            warmth = 100 * getattr(self.trainer, "warmth", 0.0)
            self.messages.say(f"compiling the kernels of the training, {warmth:.0f} %")
        elif cold:
            self.messages.say("the training begins")
        if self.failure is not before:
            self.messages.say(f"the training ended: {self.failure}", alarm=True)
        elif self.learning.hitch is not None:
            words = f"the training is paused: {self.learning.hitch}; mend that and go on (space)"
            self.messages.say(words, alarm=True)
            self.learning.hitch = None

    @property
    def _cold(self) -> bool:
        return bool(getattr(self.trainer, "cold", False))

    def receive(self) -> None:
        """Take over the levels that have come, and tell what the people who look should know of it."""
        if self.arrivals is None:
            return
        news = self.arrivals.advance()
        if news.end is not None:
            self.messages.say(news.end, alarm=True)
        elif news.trouble is not None:
            self.messages.say(news.trouble)

    def save(self) -> None:
        """Keep what has been trained, unless an error ended it: then the last good checkpoint stays."""
        if self._save is not None and self.failure is None:
            self._save()
