"""Which names a server answers to, and whose pages may talk to it.

A browser lets any page open a socket to any address, this computer's own included, and says only where the page is
from. And whoever owns a name can make it mean this computer after a page was loaded from it (DNS rebinding); a number
cannot be made to mean something else.
"""

from __future__ import annotations

import functools
import socket
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_foreign(asked: str, origin: str | None, host: str) -> bool:
    """Whether a request comes from a page that this server did not send, or asks for a name that is not its own.

    Args:
        asked: the request's ``Host``.
        origin: where the page is from, which all browsers say of sockets; None for other programs.
        host: what the server listens on. On loopback only localhost and loopback's numbers are its own; elsewhere any
            number is (a router or a container may have given it another than it knows), and :func:`own_names`.
    """
    try:
        name = (urlsplit(f"//{asked}").hostname or "").rstrip(".")
        if origin is not None and urlsplit(origin).netloc.lower() != asked.lower():
            return True
    except ValueError:
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return name not in own_names(host)
    return is_loopback(host) and not address.is_loopback


@functools.cache
def own_names(host: str) -> frozenset[str]:
    """The names, in lower case, that a server which listens on ``host`` answers to."""
    if is_loopback(host):
        return frozenset({"localhost"})
    machine = socket.gethostname()
    first = machine.partition(".")[0]
    return frozenset(
        name.lower().rstrip(".") for name in ("localhost", host, machine, first, f"{first}.local", socket.getfqdn())
    )


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server on ``host``."""
    return host in ("localhost", "::1") or host.startswith("127.")
