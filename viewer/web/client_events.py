"""What browsers did since the loop last looked: of each control the last value, so that nobody can make it grow."""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

_FARTHEST = 1e6  # world units
_FARTHEST_TARGET = 20.0  # from the middle of the box, in its diagonals
_MOST_PRESSES = 20  # of one button between two turns of the loop
_LARGEST_SIDE = 16384  # pixels

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Report:
    """Where a browser's camera stands, in world units and radians, and the pixels of its window."""

    position: Triple
    target: Triple
    up: Triple
    field_of_view: float
    width: int
    height: int

    @classmethod
    def of(cls, camera: Any) -> Report | None:
        """What viser's ``camera`` says, or None where that makes no view: all of it comes from the client."""
        try:
            vectors = [
                np.asarray(value, np.float64) for value in (camera.position, camera.look_at, camera.up_direction)
            ]
            field_of_view = float(camera.fov)
            size = [int(camera.image_width), int(camera.image_height)]
        except (TypeError, ValueError, OverflowError):
            return None
        if any(vector.shape != (3,) or not np.all(np.abs(vector) < _FARTHEST) for vector in vectors):
            return None
        position, target, up = vectors
        if np.linalg.norm(target - position) < 1e-6 or np.linalg.norm(up) < 1e-6:
            return None
        if not math.radians(1) <= field_of_view <= math.radians(170):
            return None
        if not all(0 < side <= _LARGEST_SIDE for side in size):
            return None
        places = [(float(x), float(y), float(z)) for x, y, z in vectors]
        return cls(places[0], places[1], places[2], field_of_view, size[0], size[1])

    def within(self, box: Any) -> Report:
        """This view, moved without being turned so that its target is not lost far away from ``box`` (2, 3)."""
        low, high = np.asarray(box, np.float64)
        farthest, centre = _FARTHEST_TARGET * float(np.linalg.norm(high - low)), (low + high) / 2
        away = np.array(self.target) - centre
        distance = float(np.linalg.norm(away))
        if distance <= farthest:
            return self
        shift = away * (farthest / distance - 1)
        x, y, z = (float(value) for value in self.position + shift)
        u, v, w = (float(value) for value in self.target + shift)
        return replace(self, position=(x, y, z), target=(u, v, w))

    def near(self, other: Report) -> bool:
        """Whether this is the same view, but for what is lost on the way to a browser and back."""
        slack = 3e-4 * math.dist(self.position, self.target)
        return (
            math.dist(self.position, other.position) < slack
            and math.dist(self.target, other.target) < slack
            and abs(self.field_of_view - other.field_of_view) < 1e-3
        )


@dataclass
class Deeds:
    """What one browser did: ``values`` of its controls and ``presses`` of its buttons by name, and where its ``camera``
    is, None where that has not changed."""

    camera: Report | None = None
    values: dict[str, Any] = field(default_factory=dict)
    presses: Counter[str] = field(default_factory=Counter)


@dataclass
class Events:
    """Who came, who left, and what those who are there did, by the clients' numbers."""

    joined: list[Any] = field(default_factory=list)
    left: set[int] = field(default_factory=set)
    deeds: dict[int, Deeds] = field(default_factory=dict)


class ClientEvents:
    """Collects what browsers did: viser's threads add to it, the loop's thread takes it."""

    def __init__(self) -> None:
        self._lock, self._news, self._events = threading.Lock(), threading.Event(), Events()

    def wait(self, seconds: float) -> None:
        """Sleep until something comes in, but no longer than this."""
        self._news.wait(seconds)

    def take(self) -> Events:
        """What has come in since the last time."""
        with self._lock:
            events, self._events = self._events, Events()
            self._news.clear()
        return events

    def wake(self) -> None:
        """End the loop's sleep."""
        self._news.set()

    async def join(self, client: Any) -> None:
        """A browser has connected. (viser runs coroutines in the order of the messages, and functions in any.)"""

        async def moved(camera: Any) -> None:
            report = Report.of(camera)
            if report is not None:
                with self._lock:
                    self._of(client.client_id).camera = report
                self.wake()

        with self._lock:
            self._events.joined.append(client)
        await moved(client.camera)
        client.camera.on_update(moved)
        self.wake()

    async def leave(self, client: Any) -> None:
        """A browser has gone, perhaps before the loop has heard of it."""
        with self._lock:
            joined = [other for other in self._events.joined if other.client_id != client.client_id]
            if len(joined) == len(self._events.joined):
                self._events.left.add(client.client_id)
            self._events.joined = joined
            self._events.deeds.pop(client.client_id, None)
        self.wake()

    def has_value(self, client_id: int, name: str) -> bool:
        """Whether a client has set its control ``name`` since the loop last looked."""
        with self._lock:
            deeds = self._events.deeds.get(client_id)
            return deeds is not None and name in deeds.values

    def watch(self, client_id: int, name: str, handle: Any) -> None:
        """Store what a client sets its control ``handle`` to as ``name``."""

        async def changed(event: Any) -> None:
            if event.client_id is not None:  # else it was set by us
                with self._lock:
                    self._of(client_id).values[name] = handle.value
                self.wake()

        handle.on_update(changed)

    def count(self, client_id: int, name: str, handle: Any, choices: tuple[str, ...] = ()) -> None:
        """Count a client's presses of its button ``handle`` as ``name``, or those of a group's buttons as
        "name choice"."""

        async def pressed(event: Any) -> None:
            pressed = f"{name} {handle.value}" if handle.value in choices else name
            with self._lock:
                presses = self._of(client_id).presses
                presses[pressed] = min(presses[pressed] + 1, _MOST_PRESSES)
            self.wake()

        handle.on_click(pressed)

    def _of(self, client_id: int) -> Deeds:
        return self._events.deeds.setdefault(client_id, Deeds())
