"""Hands functions to viser's event loop, from which pages are sent what they show; a fault there ends nothing else.

viser's buffers of messages wake their readers with asyncio's events, which only the loop's own thread may set: set from
another thread, they now and then fail with "deque mutated during iteration".
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from viewer.web.complaints import Complaints

_PATIENCE = 60.0  # seconds for the loop to do what is waited for

T = TypeVar("T")


class Wire:
    """Hands functions to viser's loop, which calls them in their order.

    Args:
        loop: viser's.
        complain: told of what functions raise.
    """

    def __init__(self, loop: AbstractEventLoop, complain: Complaints) -> None:
        self._loop, self._complain = loop, complain
        self._lock, self._under_way = threading.Lock(), 0

    @property
    def idle(self) -> bool:
        """Whether all that was posted has been done."""
        return self._under_way == 0

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call ``function(*arguments)``. Raises nothing: what goes wrong is complained of."""
        with self._lock:
            self._under_way += 1
        try:
            self._loop.call_soon_threadsafe(self._run, function, arguments)
        except RuntimeError as error:  # the loop has ended
            self._finished()
            self._complain("pages are not served any more", error)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Have the loop call ``function(*arguments)``, wait for it, and return or raise what it does.

        Raises:
            RuntimeError: the loop has ended.
            TimeoutError: it does not come to it.
        """
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function(*arguments))
            except Exception as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(_PATIENCE)

    def _run(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        try:
            function(*arguments)
        except Exception as error:
            self._complain("a page could not be brought up to date", error)
        finally:
            self._finished()

    def _finished(self) -> None:
        with self._lock:
            self._under_way -= 1
