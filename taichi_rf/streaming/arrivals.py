"""Puts the levels that have been received into a model, one by one between frames, on the thread that has Taichi."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from taichi_rf.rendering.model import Model
from taichi_rf.streaming import progressive_model as growing
from taichi_rf.streaming.download import Incoming
from taichi_rf.streaming.progressive_model import Outline

_RATE_SECONDS = 0.5  # between two values of the rate, which could not be read otherwise


@dataclass(frozen=True)
class News:
    """What has become known since the last time; ``trouble`` and ``end`` are sentences for the person."""

    levels: int = 0
    trouble: str | None = None
    end: str | None = None


class Arrivals:
    """What has come of one model, and what is still to come.

    Args:
        incoming: brings the file; its header is there.
        model: reserved for all of its levels.
    """

    def __init__(self, incoming: Incoming, model: Model, clock: Callable[[], float] = time.perf_counter) -> None:
        assert incoming.outline is not None
        self.incoming, self._model = incoming, model
        self._outline: Outline = incoming.outline
        self.level = 0
        """Levels that are in the model."""
        self._rehearsal = growing.rehearsal(model, self._outline)
        self._told = False
        self._trouble: str | None = None
        self._clock = clock
        self._rate = (0.0, -math.inf)  # bytes a second, and since when they are shown

    @property
    def over(self) -> bool:
        """Whether nothing more will come, and all that came is in the model."""
        return self.incoming.over and self.level == len(self.incoming.parts)

    @property
    def total(self) -> int:
        """Levels that there will be; as many as came, once it is clear that no more will."""
        return max(self.level, 1) if self.over else self._outline.levels

    @property
    def failure(self) -> str | None:
        """Why there is nothing to see and never will be."""
        return None if self.incoming.error is None else str(self.incoming.error)

    @property
    def progress(self) -> float:
        """How much has come, 0..1, counted in levels."""
        return 1.0 if self.over else (self.level + self.incoming.progress.share) / self.total

    def advance(self) -> News:
        """Take over what has come; as long as that is nothing, have compiled what it will need."""
        before = self.level
        for part in self.incoming.parts[before:]:
            growing.put(self._model, part)
            self.level = part.level
        if self.level == 0 and not self.incoming.over:
            next(self._rehearsal, None)
        trouble = self.incoming.progress.trouble
        fresh, self._trouble = trouble if trouble != self._trouble else None, trouble
        end = None
        if self.over and not self._told:
            self._told, end = True, self.failure or self.incoming.warning
        return News(self.level - before, fresh, end)

    def text(self) -> str:
        """How far it is, in a line."""
        progress = self.incoming.progress
        name = self._model.field.level_name
        if self.failure is not None:
            return self.failure
        if self.over:
            return f"all there is has come: {name} {self.level}"
        if progress.trouble is not None:
            return progress.trouble
        coming = min(self.level + 1, self.total)
        now = self._clock()
        if not 0 <= now - self._rate[1] < _RATE_SECONDS:
            self._rate = progress.rate, now
        rate = f", {rate_text(self._rate[0])}" if progress.rate else ""
        return f"receiving {name} {coming} of {self.total}{rate}"


def rate_text(rate: float) -> str:
    """Bytes a second, as people say them."""
    return f"{rate / 1e6:.1f} MB/s" if rate >= 1e6 else f"{rate / 1e3:.0f} kB/s"
