"""Sends pictures to one browser: as many as it takes, and never more than one at a time.

A picture that is sent while the last one is still on its way waits in a socket's buffer, and soon the browser shows
what was true seconds ago. So the next picture goes when the browser has said that it has the last one; what was made
in between is never sent.
"""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from viewer.web.complaints import Complaints
from viewer.web.wire import Wire

SHORTEST = 1 / 30
"""Seconds between two pictures."""

Bytes = npt.NDArray[np.uint8]


class FrameSender:
    """One client's pictures.

    Args:
        client: viser's handle of the browser.
        arrived: called from another thread whenever the next picture may come.
        wire: to viser's loop, which sends.
        workers: compress pictures for all senders, so that neither the loop nor the caller has to.
        complain: told when a picture cannot be made.
        clock: seconds.
    """

    def __init__(
        self,
        client: Any,
        arrived: Callable[[], None],
        wire: Wire,
        workers: Executor,
        complain: Complaints,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = -1  # of the picture sent last
        self._client, self._arrived, self._clock = client, arrived, clock
        self._wire, self._workers, self._complain = wire, workers, complain
        self._under_way, self._listens, self._dismissed = False, False, False
        self._asked = ""  # the question that the client has to answer
        self._not_before = 0.0

    @property
    def due(self) -> float:
        """Seconds until the next picture may be sent; infinite while one is on its way."""
        if self._under_way or self._dismissed:
            return float("inf")
        return max(self._not_before - self._clock(), 0.0)

    def send(self, picture: Bytes, version: int, quality: int) -> None:
        """Send ``picture``, (H, W, 3) uint8, which must not change, to the client; one must be due.

        Args:
            version: of the picture.
            quality: of the JPEG, 1 to 95.
        """
        assert self.due == 0.0, "a picture is on its way"
        self.version, self._not_before, self._under_way = version, self._clock() + SHORTEST, True
        self._workers.submit(self._wrap, picture, quality)

    def dismiss(self) -> None:
        """The client has gone."""
        self._dismissed = True

    def _wrap(self, picture: Bytes, quality: int) -> None:
        if self._dismissed:
            return
        try:
            self._wire.post(self._send, compressed(picture, quality))
        except Exception as error:
            self._complain("a picture could not be made for a page", error)
            self._end()

    def _send(self, jpeg: bytes) -> None:
        """Send the picture and a question. On viser's loop.

        The browser handles messages in their order, so its answer, whatever it is, means that it has the picture.
        """
        messages: Any = importlib.import_module("viser._messages")
        connection = self._client._websock_connection
        if not self._listens:
            self._listens = True
            connection.register_handler(messages.LocalStorageGetItemResponseMessage, self._answered)
        self._asked = uuid.uuid4().hex
        connection.queue_message(messages.BackgroundImageMessage("jpeg", jpeg, None))
        connection.queue_message(messages.LocalStorageGetItemRequestMessage("arrived", self._asked))
        self._client.flush()

    def _answered(self, client_id: int, message: Any) -> None:
        if message.request_uuid == self._asked:
            self._end()

    def _end(self) -> None:
        self._asked, self._under_way = "", False
        self._arrived()


def compressed(picture: Bytes, quality: int) -> bytes:
    """(H, W, 3) ``picture`` as a JPEG.

    Args:
        picture: uint8.
        quality: 1 to 95.
    """
    return iio.imwrite("<bytes>", picture, plugin="pillow", extension=".jpg", quality=quality)  # type: ignore[return-value]
