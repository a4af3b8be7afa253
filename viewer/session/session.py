"""The viewer's state and behaviour for one person, without any window.

A session holds the camera, the level and the mode that are shown of a :class:`~viewer.session.subject.Subject`: of a
model, or of a trainer and the model it makes. Front ends (a window, a browser, a test) call its methods for what the
user does, and take a picture and numbers from it. All of it runs on the caller's thread: :meth:`Session.frame` first,
then :meth:`Session.work` with the time that is left. Where several people look, each has a session of their own
(:meth:`Session.guest`) over the same subject.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import quantise
from taichi_rf.motion.orbit import Orbit
from taichi_rf.streaming.arrivals import Arrivals
from taichi_rf.streaming.download import Incoming
from viewer.overlay.stats import Message, SceneView
from viewer.session.compose import Composer, Side
from viewer.session.demo import SECONDS, Demonstration
from viewer.session.keep import Job, Keeper
from viewer.session.learning import History, Learning, Trainer
from viewer.session.levels import Levels
from viewer.session.messages import Messages
from viewer.session.model import Field, Model, Render
from viewer.session.progressive import PREVIEWS, affordable
from viewer.session.speed import DrawingShare, PictureTimes
from viewer.session.subject import Subject
from viewer.session.viewpoint import Viewpoint, first_view
from viewer.session.waiting import StandIn

MODES = ("colour", "depth", "normals", "opacity", "occupancy", "samples", "error")
COMPARE = ("off", "level", "photo")
LAYOUTS = ("wipe", "beside")
_PASS_SECONDS = 2.5  # while training, a picture of the whole window is renewed about this often
_DEMO_RAYS = 60_000  # at least, of a picture in a demonstration: 1/4 of 1280x720, in which nobody sees pixels
_NO_PHOTOGRAPH = "the photographs are not at hand: the scene of this model was not found"


class Session:
    """What one person sees of a model on show, or of one in the making.

    Args:
        model, trainer, scene, save, render, incoming: see :class:`~viewer.session.subject.Subject`.
        level: the level shown first; the highest when None.
        clock: seconds, for frame rates and budgets.
        folder: where pictures, videos and slimmed models go; the working directory when None.
        file: the file that the model was read from.
        subject: what others look at already, in place of a model or a trainer.

    Raises:
        UserError: ``level`` is not one of the model's.
    """

    def __init__(
        self,
        model: Model | None = None,
        *,
        trainer: Trainer | None = None,
        scene: Any | None = None,
        level: int | None = None,
        save: Callable[[], object] | None = None,
        render: Render | None = None,
        clock: Callable[[], float] = time.perf_counter,
        folder: Path | None = None,
        file: Path | None = None,
        incoming: Incoming | None = None,
        subject: Subject | None = None,
    ) -> None:
        self._clock = clock
        self._messages = Messages(clock)
        self.subject = subject or Subject(
            model, trainer=trainer, scene=scene, save=save, render=render, clock=clock, incoming=incoming
        )
        self._stand_in = StandIn(self.learning, self.arrivals)
        self.mode = MODES[0]
        self.compare, self.layout, self.divider = COMPARE[0], LAYOUTS[0], 0.5
        self.composer = Composer(self.render_band, clock, self.times)
        self.viewpoint = Viewpoint(first_view(self.model, None if self.trainer is None else self.scene), self.subject)
        self.keeper = Keeper(self, folder or Path(), file, clock)
        self.levels = Levels(
            lambda: self.model, learning=self.learning, arrivals=self.arrivals, first=level, clock=clock
        )
        self.demonstration: Demonstration | None = None
        self.demo_seconds = SECONDS
        """For which a stop of the demonstration is shown once it is sharp."""
        self._drawing = DrawingShare()
        self.size = (1280, 720)
        """Of the last picture, in pixels."""

    def guest(self, folder: Path) -> Session:
        """The session of another person who looks at the same, and begins as this one began.

        Args:
            folder: where this person's pictures, videos and slimmed models go.
        """
        other = Session(subject=self.subject, clock=self._clock, folder=folder, file=self.keeper.file)
        other.levels.begin_as(self.levels)
        other.viewpoint.first = self.viewpoint.first.copy()
        other.viewpoint.reset()
        other.set_mode(self.mode)
        return other

    # What is looked at, by others, too

    @property
    def learning(self) -> Learning | None:
        """The training; None for a finished model."""
        return self.subject.learning

    @property
    def arrivals(self) -> Arrivals | None:
        """What is being downloaded, None for nothing."""
        return self.subject.arrivals

    @property
    def times(self) -> PictureTimes:
        """How long full pictures took."""
        return self.subject.times

    @property
    def scene(self) -> Any:
        """The scene of the model, None while it is not at hand."""
        return self.subject.scene

    @property
    def trainer(self) -> Trainer | None:
        """What makes the model on show; None for a finished model."""
        return self.subject.trainer

    @property
    def model(self) -> Model:
        """The model on show; a trainer may replace its own at any step."""
        return self.subject.model

    @property
    def field(self) -> Field:
        """The field of the model on show."""
        return self.model.field

    @property
    def share(self) -> float:
        """Of the time, the part that is training's."""
        return self.subject.share

    @share.setter
    def share(self, share: float) -> None:
        self.subject.share = share

    @property
    def num_levels(self) -> int:
        """Levels that the model has, or will have when all have come."""
        return self.levels.count

    @property
    def level(self) -> int:
        """The level shown."""
        return self.levels.shown

    # What is shown

    def set_mode(self, mode: str) -> None:
        """Show ``mode``, one of ``MODES``; the error goes to a view of the scene, where there is a photograph."""
        if mode == "error" and not self._at_photograph():
            return
        self.mode = mode

    def next_mode(self, step: int = 1) -> None:
        """The next of ``MODES``, and round again; the error is passed over where there are no photographs."""
        modes = MODES if self.viewpoint.views() else MODES[:-1]
        self.set_mode(modes[(modes.index(self.mode) + step) % len(modes)])

    def set_compare(self, what: str, layout: str | None = None) -> None:
        """Compare with another level or with the photograph ("level", "photo"), wiped or beside; or with nothing."""
        if what == "photo" and not self._at_photograph():
            return
        if what == "level" and self.compare != "level":
            self.levels.offer_other()
        self.compare = what
        self.layout = layout or self.layout

    def next_compare(self) -> None:
        """Nothing, another level, the photograph where there is one, and round again."""
        choices = COMPARE if self.viewpoint.views() else COMPARE[:-1]
        self.set_compare(choices[(choices.index(self.compare) + 1) % len(choices)])

    def next_layout(self) -> None:
        """Wiped or side by side, in turn; where nothing is compared yet, another level is."""
        self.layout = LAYOUTS[1 - LAYOUTS.index(self.layout)]
        if self.compare == COMPARE[0]:
            self.set_compare("level")

    def _at_photograph(self) -> bool:
        """Stand at a view of the scene, the nearest one if at none; say so where there are none."""
        if self.viewpoint.at is None:
            view = self.viewpoint.nearest()
            if view is None:
                self.say(_NO_PHOTOGRAPH, alarm=True)
                return False
            self.go_to(view)
        return True

    # Where one stands

    @property
    def orbit(self) -> Orbit:
        """Where one stands and looks."""
        return self.viewpoint.orbit

    @property
    def views(self) -> list[SceneView]:
        """The views of the scene, test views first."""
        return self.viewpoint.views()

    @property
    def at_view(self) -> SceneView | None:
        """The view of the scene at which one stands."""
        return self.viewpoint.at

    def go_to(self, view: SceneView) -> None:
        """Stand at a view of the scene."""
        self.viewpoint.go_to(view, self.model.world_box)

    def next_view(self, step: int = 1, split: str | None = None) -> None:
        """Go to another view of the same split, or of ``split``."""
        view = self.viewpoint.next(step, split)
        if view is None:
            self.say(_NO_PHOTOGRAPH if not self.views else f"the scene has no {split} views", alarm=True)
        else:
            self.go_to(view)

    def other_split(self) -> None:
        """From the test views to the training views, or back."""
        at_train = self.at_view is not None and self.at_view.split == "train"
        self.next_view(split="test" if at_train else "train")

    def reset_view(self) -> None:
        """Stand again where one stood at first."""
        self.viewpoint.reset()

    def camera(self, width: int, height: int) -> Camera:
        """The camera of a picture of ``width`` x ``height`` pixels from here."""
        return self.viewpoint.camera(width, height)

    # Demo mode

    @property
    def demo(self) -> bool:
        """Whether levels are shown one after the other and the camera turns, by themselves."""
        return self.demonstration is not None

    def toggle_demo(self) -> None:
        """Start the demonstration from here, or end it and return to what was shown before."""
        if self.demonstration is None:
            self.demonstration = Demonstration(self, self._clock)
        else:
            self.demonstration.end()
            self.demonstration = None

    def tick(self) -> None:
        """Let what goes by the clock go on: the demonstration."""
        if self.demonstration is not None:
            self.demonstration.tick()

    # The picture

    def frame(self, width: int, height: int, budget: float) -> npt.NDArray[np.uint8]:
        """Work on the picture for about ``budget`` seconds and return it: (height, width, 3), row 0 the top.

        The first picture of a new view comes at once and is as coarse as the budget asks for; later calls sharpen it.
        The array is the session's own and changes with the next call; ``composer.canvas`` is the same memory in the
        order in which a window draws it, and may be drawn on.
        """
        self._drawing.count(self._clock(), budget)
        self.tick()
        self.size = (max(width, 1), max(height, 1))
        if self._stand_in.needed():
            self.composer.show(self._stand_in.picture(self.viewpoint, *self.size))
            return self.composer.picture
        finest = 1
        if self.training and self.demonstration is None:
            seconds = self._drawing.value * _PASS_SECONDS
            finest = affordable(self.size[0] * self.size[1], self.composer.rays_per_second * seconds)
        self.camera(*self.size)  # notices that one has left a view of the scene
        photograph = self._photograph()
        if photograph is None:
            self.mode = MODES[0] if self.mode == "error" else self.mode
            self.compare = COMPARE[0] if self.compare == "photo" else self.compare
        self.composer.compose(
            self._sides(),
            self.viewpoint.frame_camera,
            photograph,
            self.size,
            budget,
            divider=self.divider,
            beside=self.layout == "beside",
            version=self.trainer.iteration if self.trainer else 0,
            finest=finest,
            coarsest=PREVIEWS[0] if self.demonstration is None else affordable(self.size[0] * self.size[1], _DEMO_RAYS),
        )
        if self._stand_in.better(self.composer.canvas):
            self.composer.show(self._stand_in.picture(self.viewpoint, *self.size))
        if self.demonstration is not None:
            self.demonstration.composed = self.demonstration.shot
        return self.composer.picture

    def _sides(self) -> tuple[Side, ...]:
        follows = self.arrivals is not None and self.levels.follows
        mine = Side(self.level, self.mode, self.levels.highest if follows else 0, gentle=self.demonstration is not None)
        if self.compare == "level":
            return mine, Side(self.levels.other, self.mode)
        if self.compare == "photo":
            return mine, Side(None)
        return (mine,)

    def _photograph(self) -> tuple[object, Camera, Callable[[], npt.NDArray[np.float32]]] | None:
        view = self.viewpoint.at
        if view is None:
            return None
        background = self.composer.background = getattr(self.model, "background", (1.0, 1.0, 1.0))
        return view, self.viewpoint.camera_of(view), lambda: self.viewpoint.photograph(view, background)

    def snapshot(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """The picture at full resolution, whatever it takes: (height, width, 3), to the byte what the window shows."""
        return quantise(self.render_band(self.camera(width, height), self.level, self.plain_mode))

    @property
    def plain_mode(self) -> str:
        """The mode, or colour where it needs a photograph."""
        return MODES[0] if self.mode == "error" else self.mode

    def render_band(self, camera: Camera, level: int, mode: str) -> npt.NDArray[np.float32]:
        """The model through ``camera``: (H, W, 3) float32 in [0, 1]."""
        return self.subject.render(self.model, camera, level=level, mode=mode)

    # Training, and what else takes time

    @property
    def training(self) -> bool:
        """Whether steps are being taken."""
        return self.subject.training

    @property
    def busy(self) -> bool:
        """Whether :meth:`work` has something to do that takes time."""
        return self.training or self.recording is not None or (self.learning is not None and self.learning.measuring)

    @property
    def failure(self) -> Exception | None:
        """What ended the training early."""
        return self.subject.failure

    def toggle_training(self) -> None:
        """Pause, or go on."""
        if self.learning is not None:
            self.learning.toggle()

    def work(self, budget: float) -> None:
        """Train for about ``budget`` seconds; a recording takes half of that, or all where nothing trains. Levels that
        have come are taken over."""
        self.subject.receive()
        if self.keeper.job is not None:
            own = budget / 2 if self.training else budget
            self.keeper.advance(own)
            budget -= own
        self.subject.train(budget)

    @property
    def recording(self) -> Job | None:
        """The picture or video that is being made."""
        return self.keeper.job

    def save(self) -> None:
        """Keep what has been trained, unless an error ended it: then the last good checkpoint stays."""
        self.subject.save()

    # Messages and numbers

    def say(self, text: str, alarm: bool = False) -> None:
        """Show a line for some seconds."""
        self._messages.say(text, alarm)

    @property
    def message(self) -> Message | None:
        """What was said last, while it is news: to this person, else to everybody."""
        return self._messages.or_of(self.subject.messages)

    def history(self) -> History:
        """What the training curve is drawn from; empty for a finished model."""
        return History() if self.learning is None else self.learning.history
