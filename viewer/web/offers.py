"""Web pages that were made for visitors, each at an address that nobody can guess.

A page that is offered is a file of this computer, and is read while it is sent. It may run its own script and nothing
else: browsers treat it as another site's, so that it can neither steer the viewer nor ask anybody for anything.
"""

from __future__ import annotations

import secrets
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Response

LARGEST = 64 * 2**20
"""Bytes of a page."""
_AT_ONCE = 2  # pages on their way, each of them in memory; one more ends the one that began first
_ALONE = "sandbox allow-scripts"
"""A policy by which a page belongs to no site."""


class Offers:
    """The newest page of every visitor. It may be called by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, Path] = {}
        self._addresses: dict[int, str] = {}  # by visitor
        self._sending: dict[Any, None] = {}  # connections, that which began first at the top

    def offer(self, visitor: int, file: Path) -> str:
        """The address, from this server's root, at which a visitor's page is from now on; an earlier one is gone."""
        address = f"/{secrets.token_urlsafe(24)}.html"
        with self._lock:
            self._drop(visitor)
            self._files[address], self._addresses[visitor] = file, address
        return address

    def withdraw(self, visitor: int) -> None:
        """A visitor's page is not there any more."""
        with self._lock:
            self._drop(visitor)

    def _drop(self, visitor: int) -> None:
        file = self._files.pop(self._addresses.pop(visitor, ""), None)
        if file is not None:
            file.unlink(missing_ok=True)

    def answer(self, connection: Any, address: str) -> Response | None:
        """The answer that a connection is to have; None where there is no page at that address."""
        with self._lock:
            file = self._files.get(address)
            if file is None:
                return None
            with open(file, "rb") as opened:
                body = opened.read(LARGEST)
            for longest in list(self._sending)[: max(len(self._sending) + 1 - _AT_ONCE, 0)]:
                del self._sending[longest]
                longest.transport.abort()
            self._sending[connection] = None
        headers = Headers(
            {
                "Content-Type": "text/html; charset=utf-8",
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
                "Content-Security-Policy": _ALONE,
                "Connection": "close",
            }
        )
        return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)

    def sent(self, connection: Any) -> None:
        """A connection has been closed."""
        with self._lock:
            self._sending.pop(connection, None)
