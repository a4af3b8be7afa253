"""Trains between frames: parts of steps in the time that a frame leaves, and measurements on held-out views.

Training and measuring share that time. An error ends the training and is kept; the model can still be looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from taichi_rf.core.errors import UserError
from taichi_rf.core.remaining import Remaining
from taichi_rf.evaluation.heldout import HeldOut
from viewer.overlay.stats import State

_SMOOTHING = 0.1  # how fast the figures of single training batches enter what is shown
_LONGEST_DEBT = 0.25  # seconds: a step that had a kernel to compile does not stop training for long
_MEASURING = 0.05  # of the training's time goes into measuring on the held-out views
_BATCH_EVERY = 10  # iterations between points of the training curve
_MOST_POINTS = 2000  # of a curve; beyond that every second one is dropped


class Trainer(Protocol):
    """What the viewer needs of a trainer: ``scene`` has cameras, ``level`` counts the levels in use.

    ``part`` is some of a step: None, or what the step did when that was its end.
    """

    @property
    def model(self) -> Any:
        """The model as it is now."""

    @property
    def scene(self) -> Any:
        """The scene that it learns from."""

    @property
    def iteration(self) -> int:
        """Steps that have been taken."""

    @property
    def progress(self) -> float:
        """Fraction of the training that is over, 0 to 1."""

    @property
    def done(self) -> bool:
        """Whether the training is over."""

    @property
    def level(self) -> int:
        """Levels that train now."""

    def in_parts(self) -> None:
        """Have steps taken in parts, between which a picture can be drawn."""

    def part(self) -> Any:
        """Take a part of a step; what the step did after its last part, else None."""


@dataclass
class History:
    """What the training curve is drawn from: (iteration, dB) and (iteration, level)."""

    batch: list[tuple[int, float]] = field(default_factory=list)
    test: list[tuple[int, float]] = field(default_factory=list)
    levels: list[tuple[int, int]] = field(default_factory=list)


class Learning:
    """Drives ``trainer``, measures what it makes, and remembers both."""

    def __init__(self, trainer: Trainer, clock: Callable[[], float] = time.perf_counter) -> None:
        self.trainer, self._clock = trainer, clock
        trainer.in_parts()
        self.running = not trainer.done
        self.failure: Exception | None = None
        """What ended the training for good."""
        self.hitch: Exception | None = None
        """What made it pause, such as a full disk; for whoever tells the person, and then forgets it."""
        self.history = History()
        self.figures: dict[str, float] = {}
        self.psnr: list[float] = []
        """On held-out views, of levels 1, 2, ... as far as they were there; empty until it was measured."""
        self._debt = 0.0  # seconds that training has taken more than it was given
        self._owed = 0.0  # seconds that measuring has earned
        self._measured_at = -1  # the iteration of the last measurement
        self._active = 0.0  # seconds spent in the current step
        self._remaining = Remaining(clock)
        split = getattr(trainer.scene, "test", None)
        self._heldout = HeldOut(split) if split is not None and len(split) else None
        self._recall()

    @property
    def over(self) -> bool:
        """Whether nothing will be trained any more."""
        return self.trainer.done or self.failure is not None

    @property
    def measuring(self) -> bool:
        """Whether a training that rests, or is done, has not been measured to the end of the round."""
        rests = not self.running and self.failure is None and self.trainer.iteration > 0
        return rests and self._measured_at != self.trainer.iteration

    @property
    def state(self) -> State:
        """What becomes of the training, in a word."""
        if self.failure is not None:
            return "failed"
        return "done" if self.trainer.done else "running" if self.running else "paused"

    def toggle(self) -> None:
        """Pause, or go on."""
        if not self.over:
            self.running = not self.running
            self._debt = 0.0
            self._remaining.pause()

    def train(self, budget: float) -> None:
        """Take parts of training steps for about ``budget`` seconds, and measure now and then.

        A part may last longer than that; what it took too much is taken off later budgets, so that training has its
        share of the time whatever a part costs. An error ends the training and is kept in ``failure``.
        """
        if self.running:
            self._debt -= budget
            while self.running and self._debt < 0:
                self._debt += self._part() if self._owed <= 0 else self._measure()
            self._debt = min(self._debt, _LONGEST_DEBT)
        elif self.measuring:
            self._measure()  # the last round is finished although nothing trains

    def _part(self) -> float:
        """Do a part of a step; return the seconds it took."""
        start, cold = self._clock(), getattr(self.trainer, "cold", False)
        try:
            info = self.trainer.part()
        except (UserError, OSError) as error:  # what has been trained is still there
            self.hitch, self.running = error, False
            return 0.0
        except (FloatingPointError, RuntimeError, MemoryError) as error:  # RuntimeError is Taichi's, of the device
            self.failure, self.running = error, False
            return 0.0
        took = max(self._clock() - start, 1e-6)
        if cold:  # compiling says nothing of how fast it trains
            self._remaining.pause()
        self._remaining.report(self.trainer.progress)
        if cold:
            return took
        self._active += took
        if self._heldout is not None:
            self._owed += _MEASURING * took
        if info is not None:
            self._follow(loss=info.loss, psnr=info.psnr, rays_per_second=info.rays / self._active)
            self._active = 0.0
            self.running = not self.trainer.done
            self._remember(info)
        return took

    def _measure(self) -> float:
        """Measure a little; return the seconds it took."""
        start = self._clock()
        if self._heldout is None:
            self._measured_at, self._owed = self.trainer.iteration, 0.0
            return 0.0
        level = self.trainer.level
        if self._heldout.advance(self.trainer.model, level, 0.0, self._clock):
            assert self._heldout.psnr is not None
            self.psnr = list(self._heldout.psnr)
            self._measured_at = self.trainer.iteration
            _append(self.history.test, (self.trainer.iteration, self.psnr[-1]))
        took = max(self._clock() - start, 1e-6)
        self._owed = max(self._owed - took, -_LONGEST_DEBT)  # the first time has kernels to compile
        return took

    @property
    def seconds_left(self) -> float | None:
        """By the clock, at the rate of late and with all that is done beside training; None until there is one."""
        return None if self.over else self._remaining.seconds

    def _remember(self, info: Any) -> None:
        if not self.history.levels or self.history.levels[-1][1] != info.level:
            self.history.levels.append((info.iteration, info.level))
        if info.iteration % _BATCH_EVERY == 0:
            _append(self.history.batch, (info.iteration, self.figures["psnr"]))

    def _recall(self) -> None:
        """Take over what a resumed trainer remembers of itself."""
        inner = getattr(self.trainer, "trainer", self.trainer)
        for entry in getattr(inner, "history", ()):
            _append(self.history.batch, (entry["iteration"], entry["psnr"]))
        self.history.levels += [
            (event["iteration"], event["level"]) for event in getattr(inner, "events", ()) if event["event"] == "rank"
        ]

    def _follow(self, **figures: float) -> None:
        for name, value in figures.items():
            self.figures[name] = self.figures.get(name, value) * (1 - _SMOOTHING) + value * _SMOOTHING


def _append(points: list[tuple[int, float]], point: tuple[int, float]) -> None:
    points.append(point)
    if len(points) > _MOST_POINTS:
        del points[1::2]
