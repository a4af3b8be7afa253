"""Carries pictures to one browser: as many as it takes, and never more than one at a time.

A picture that is sent while the last one is still on its way waits in a socket's buffer, and soon the browser shows
what was true seconds ago. So the next picture goes when the browser has said that it has the last one; what was made
in between is never sent.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

SHORTEST = 1 / 30
"""Seconds between two pictures."""

Bytes = npt.NDArray[np.uint8]


class Courier:
    """One client's pictures. A thread of its own compresses, sends and waits, so that nobody else has to.

    Args:
        client: viser's handle of the browser.
        arrived: called from that thread whenever the next picture may come.
        clock: seconds.
    """

    def __init__(self, client: Any, arrived: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.version = -1  # of the picture carried last
        self._client, self._arrived, self._clock = client, arrived, clock
        self._parcel: tuple[Bytes, int] | None = None
        self._dismissed = False
        self._not_before = 0.0
        self._called = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"pictures for {client.client_id}", daemon=True)
        self._thread.start()

    @property
    def due(self) -> float:
        """Seconds until the next picture may be carried; infinite while one is on its way."""
        if self._parcel is not None or self._dismissed:
            return float("inf")
        return max(self._not_before - self._clock(), 0.0)

    def carry(self, picture: Bytes, version: int, quality: int) -> None:
        """Take (H, W, 3) ``picture`` to the client as a JPEG of ``quality``; it must be due and must not change."""
        assert self.due == 0.0, "a picture is on its way"
        self.version, self._not_before = version, self._clock() + SHORTEST
        with self._called:
            self._parcel = picture, quality
            self._called.notify()

    def dismiss(self) -> None:
        """The client has gone."""
        with self._called:
            self._dismissed = True
            self._called.notify()

    def _run(self) -> None:
        while True:
            with self._called:
                self._called.wait_for(lambda: self._parcel is not None or self._dismissed)
                if self._dismissed:
                    return
                assert self._parcel is not None
                picture, quality = self._parcel
            self._deliver(picture, quality)
            self._parcel = None
            self._arrived()

    def _deliver(self, picture: Bytes, quality: int) -> None:
        client = self._client
        client.scene.set_background_image(picture, format="jpeg", jpeg_quality=quality)
        client.flush()
        # The browser handles messages in their order, so its answer to this question means that it has the picture.
        # One whose storage is blocked says so, and one that has left is dismissed by whoever noticed it.
        with contextlib.suppress(RuntimeError):
            client.local_storage.get_item("arrived")


def letterboxed(picture: Bytes, width: int, height: int) -> Bytes:
    """``picture`` (H, W, 3) with dark bars beside or above it, so that it has the shape of ``width`` x ``height``."""
    rows, columns = picture.shape[:2]
    across, down = max(columns, round(rows * width / height)), max(rows, round(columns * height / width))
    if (across - columns) * rows < 2 * rows and (down - rows) * columns < 2 * columns:  # a pixel's rounding
        return picture
    boxed = np.full((down, across, 3), 24, dtype=np.uint8)
    top, left = (down - rows) // 2, (across - columns) // 2
    boxed[top : top + rows, left : left + columns] = picture
    return boxed
