"""What a training has done so far: steps, seconds, losses, events."""

from __future__ import annotations

from typing import Any

from taichi_rf.coding import checks
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixels import decibels
from taichi_rf.training.state import MAX_LOSS, MAX_SECONDS, Arrays, Entries, Owner

HISTORY_EVERY = 10
"""Iterations whose mean loss makes one entry of the history."""


class Record(Owner):
    """Counts and lists of one training.

    Args:
        highest: the last level there will be.
    """

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self.iteration = 0
        self.elapsed = 0.0
        """Seconds spent in training steps."""
        self.rays_seen = 0
        self.events: list[dict[str, Any]] = []
        """What the schedule did: {"event", "iteration", "seconds", ...}, in order."""
        self.history: list[dict[str, Any]] = []
        """{"iteration", "psnr"} of the training batches, one entry for every ``HISTORY_EVERY`` iterations."""
        self.recent_loss = 0.0
        self.last_loss: float | None = None
        """That of the last step on all levels there are, which is what every step reports."""

    def event(self, name: str, **values: Any) -> None:
        """Write down what happened."""
        self.events.append({"event": name, "iteration": self.iteration, "seconds": round(self.elapsed, 3), **values})

    def add_loss(self, loss: float) -> None:
        """Let the loss of a step that was just counted enter the history."""
        self.recent_loss += loss
        if self.iteration % HISTORY_EVERY == 0:
            mean = self.recent_loss / HISTORY_EVERY
            self.history.append({"iteration": self.iteration, "psnr": round(float(decibels(mean)), 3)})
            self.recent_loss = 0.0

    def state(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "elapsed": self.elapsed,
            "rays_seen": self.rays_seen,
            "recent_loss": self.recent_loss,
            "last_loss": self.last_loss,
            "events": list(self.events),
            "history": list(self.history),
        }

    def check(self, its: Entries) -> None:
        for key in ("iteration", "rays_seen"):
            its.whole(key)
        its.number("elapsed", MAX_SECONDS)
        its.number("recent_loss", MAX_LOSS)
        if its.get("last_loss") is not None:
            its.number("last_loss", MAX_LOSS)
        for event in its.tables("events"):
            event.whole("iteration")
            if not isinstance(event.get("event"), str):
                raise UserError(f"an event should have a name, not {checks.shown(event.get('event'))}")
            if event.get("event") == "rank":
                event.whole("level", self.highest, low=1)
        for entry in its.tables("history"):
            entry.whole("iteration")
            entry.number("psnr", 1e4, low=-1e4)

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.iteration, self.elapsed, self.rays_seen = state["iteration"], state["elapsed"], state["rays_seen"]
        self.recent_loss, self.last_loss = state["recent_loss"], state["last_loss"]
        self.events, self.history = list(state["events"]), list(state["history"])
