"""Limits who may connect to the viewer's server, how many at once, and how much of what they send is read.

Sockets are bounded in number, so that a thousand connections leave files for the training to save; bytes and messages
in number a second, and messages in size, so that one connection takes no more than its share.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedError
from websockets.protocol import State

from viewer.web.complaints import Complaints, Handler, Once
from viewer.web.hosts import is_foreign
from viewer.web.offers import Offers
from viewer.web.sieve import sift

PAGES = 16
"""Browsers at once; each has pictures of its own in memory."""
_SOCKETS = 128  # at once, those among them that only fetch the page, and those that say nothing
_LARGEST = 32 * 1024  # bytes of a message; our page's have some 300
_BYTES = 64 * 1024, 512 * 1024  # a second and at once, of one connection
_MESSAGES = 150, 450  # a second and at once, of one connection; a hand at the mouse sends 50
_MOST_PARTS = 8  # of a message
_ASYNCIO_ONCE = Once()
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer: no other site may show this page inside its own, where a click means something else."""


class Gate:
    """One server's rules. All but the first two calls are made by the server's own thread.

    Args:
        host: what the server listens on.
        complain: told of what goes wrong with a connection.
        offers: pages that are there besides the viewer's own.
    """

    def __init__(self, host: str, complain: Complaints, offers: Offers | None = None) -> None:
        self._offers = offers or Offers()
        self.open = False
        """Whether the server is ready; until then everybody is asked to come back later."""
        self.control: Callable[[str], Any] = lambda name: None
        """The page's control with an identifier, or None."""
        self._host, self._connections = host, {}  # type: tuple[str, dict[Connection, None]]
        self._logger = logging.Logger("taichi_rf.web", logging.WARNING)
        self._logger.addHandler(Handler(complain))
        logging.getLogger("asyncio").addFilter(_ASYNCIO_ONCE)

    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        """``options`` of :func:`websockets.serve` with this gate's in their place."""
        serve_file = options["process_request"]
        return options | {
            "process_request": lambda connection, request: self.check(connection, request, serve_file),
            "create_connection": lambda *arguments, **more: Connection(self, *arguments, **more),
            "max_size": _LARGEST,
            "logger": self._logger,
        }

    def check(self, connection: Any, request: Any, serve_file: Callable[..., Any]) -> Any:
        """The answer to a request, or None where it becomes a page's connection."""
        try:
            answer = (
                self._refusal(connection, request)
                or self._offers.answer(connection, request.path)
                or serve_file(connection, request)
            )
        except Exception:  # a path that is too long, a header that comes twice
            answer = connection.respond(HTTPStatus.BAD_REQUEST, "This request cannot be understood.\n")
        if answer is not None:
            for name, value in HEADERS.items():
                answer.headers[name] = value
        return answer

    def _refusal(self, connection: Any, request: Any) -> Any:
        if not self.open:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready yet: try again.\n")
        if is_foreign(request.headers.get("Host", ""), request.headers.get("Origin"), self._host):
            return connection.respond(
                HTTPStatus.FORBIDDEN,
                "This page belongs to another server, or this server does not know the name that it was asked for by:\n"
                "use its number, or start it with --host and that name.\n",
            )
        if ":" in unquote(request.path.partition("?")[0]):  # a drive, on Windows
            return connection.respond(HTTPStatus.NOT_FOUND, "There is no such page.\n")
        pages = sum(connection.state is State.OPEN for connection in self._connections)
        if request.headers.get("Upgrade") is not None and pages >= PAGES:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{PAGES} browsers look at this already.\n")
        return None

    def enter(self, connection: Connection) -> None:
        """A socket was opened. Where there are too many, one that has not said what it wants is closed."""
        self._connections[connection] = None
        if len(self._connections) > _SOCKETS:
            idle = (known for known in self._connections if known.state is State.CONNECTING)
            next(idle, connection).transport.abort()

    def leave(self, connection: Connection) -> None:
        """A socket was closed."""
        self._connections.pop(connection, None)
        self._offers.sent(connection)


class Connection(ServerConnection):
    """A connection of which viser reads what the sieve lets through, and no faster than a page sends."""

    def __init__(self, gate: Gate, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gate, self._bytes, self._messages = gate, Allowance(*_BYTES), Allowance(*_MESSAGES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was opened: the gate may close it or another."""
        super().connection_made(transport)
        self._gate.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket was closed."""
        self._gate.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes have come. Pings and parts of messages are not waited for by anybody: too many end the connection."""
        if self._bytes.take(len(data)) > 0:
            self.transport.abort()
        else:
            super().data_received(data)

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that viser may read, as bytes.

        Raises:
            ConnectionClosed: there is none any more.
        """
        while True:
            message = await self._whole()
            if (seconds := self._messages.take(1)) > 0:
                await asyncio.sleep(seconds)  # and the sender has to wait, too, once the sockets' buffers are full
            if (clean := sift(message, self._gate.control)) is not None:
                return clean

    async def _whole(self) -> bytes | str:
        parts: list[Any] = []
        async for part in self.recv_streaming():
            parts.append(part)
            if len(parts) > _MOST_PARTS:
                self.transport.abort()
                raise ConnectionClosedError(None, None)
        return parts[0] if len(parts) == 1 else type(parts[0])().join(parts)


class Allowance:
    """Lets ``rate`` a second through, and ``burst`` at once."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left, self._at = float(burst), clock()

    def take(self, amount: float) -> float:
        """Take ``amount``; return the seconds to wait until that was allowed."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._left / self._rate)
