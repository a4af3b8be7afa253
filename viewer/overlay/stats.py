"""The numbers beside the picture, as plain values: for panels, cards over the picture, browsers and files of state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from taichi_rf.storage.quality import Decibels

State = Literal["running", "paused", "done", "failed"]
"""What becomes of a training."""

_LARGEST = 1e15  # of figures that are shown; what comes out of a file may be anything, as NaN is


@dataclass(frozen=True)
class SceneView:
    """A photograph of the scene: which ``split`` ("train" or "test"), its ``index`` there, and its name."""

    split: str
    index: int
    name: str
    count: int
    """Views in the split."""


@dataclass(frozen=True)
class Message:
    """A line for the person; ``alarm`` when something went wrong."""

    text: str
    alarm: bool = False


@dataclass(frozen=True)
class Comparison:
    """What the picture is compared with."""

    kind: str = "off"
    """"off", "level" or "photo"."""
    layout: str = "wipe"
    """"wipe" or "beside"."""
    divider: float = 0.5
    """Where the right side begins, 0..1 of the width."""
    left: str = ""
    """What is on the left side, in words, as ``right`` is."""
    right: str = ""


@dataclass(frozen=True)
class PictureTime:
    """What rendering a picture as large as the window takes at ``level``. It is ``measured`` where such a picture was
    made; otherwise scaled from another size or a coarser picture."""

    level: int
    seconds: float
    measured: bool

    @property
    def text(self) -> str:
        """In milliseconds, as all who show it write it; of what is scaled there are two digits."""
        milliseconds = 1000.0 * self.seconds
        if self.measured or milliseconds <= 0:
            return f"{milliseconds:,.0f} ms"
        digits = 1 - math.floor(math.log10(milliseconds))
        return f"≈ {round(milliseconds, digits):,.0f} ms"


@dataclass(frozen=True)
class JobStats:
    """A picture or a video that is being written."""

    what: str
    progress: float
    """0..1."""
    path: str
    seconds_left: float | None = None
    """By the clock, at the rate of late; None while that is not known."""


@dataclass(frozen=True)
class TrainingStats:
    """A training. Loss, dB and rays a second are of the batches of late; None before the first."""

    state: State
    iteration: int = 0
    progress: float = 0.0
    """0..1."""
    level: int = 0
    """The highest level in use."""
    loss: float | None = None
    psnr: float | None = None
    rays_per_second: float | None = None
    seconds_left: float | None = None
    """By the clock, at the rate of late; None while that is not known."""
    share: float = 1.0
    """Of the time, the part that is training's."""
    failure: str | None = None
    """What ended it."""


@dataclass(frozen=True)
class ArrivalStats:
    """A model that is on its way."""

    level: int
    """Levels that are in the model."""
    total: int
    """Levels that there will be."""
    text: str
    """How far it is, in a line."""
    progress: float
    """0..1."""
    received: int
    """Bytes."""
    trouble: str | None
    """Why nothing comes at the moment."""
    over: bool
    """Whether nothing more will come."""


@dataclass(frozen=True)
class Stats:
    """What is shown and done. Without a model the level is 0 and its name "level"; None is what there is not."""

    level: int = 0
    level_name: str = "level"
    num_levels: int = 0
    megabytes: float | None = None
    """Of the file up to the level."""
    psnr: float | None = None
    """In dB on held-out views, None while nobody knows it."""
    estimated: bool = False
    """Whether the PSNR is an estimate, and nobody has measured it on these very bytes."""
    picture: PictureTime | None = None
    """What a full picture takes at the level shown; None where none was made."""
    pictures: tuple[PictureTime, ...] = ()
    """The same for all levels of which there was one, the lowest first."""
    divisor: int = 1
    """The side of the picture's pixels in pixels of the window."""
    complete: bool = False
    """Whether nothing sharper or newer follows."""
    mode: str = "colour"
    compare: Comparison = Comparison()
    view: SceneView | None = None
    """The view of the scene at which one stands."""
    flying: bool = False
    """Whether a drag turns the head."""
    demo: bool = False
    recording: JobStats | None = None
    message: Message | None = None
    training: TrainingStats | None = None
    arriving: ArrivalStats | None = None

    @property
    def decibels(self) -> Decibels | None:
        """The PSNR, as it is to be written; None while nobody knows it, or where it is no number that can be."""
        good = isinstance(self.psnr, int | float) and abs(self.psnr) < _LARGEST
        return Decibels(float(self.psnr or 0.0), not self.estimated) if good else None

    @property
    def milliseconds(self) -> dict[int, float]:
        """What pictures take, by level: those that were measured, or what is told from coarser ones where none was."""
        known = [time for time in self.pictures if 0 < time.seconds < _LARGEST]
        return {time.level: 1000 * time.seconds for time in [time for time in known if time.measured] or known}
