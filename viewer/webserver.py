"""The server behind the viewer in a browser: viser's, without what is not ours in it.

viser's pages are one file that comes with it, so nothing is fetched from elsewhere. Left out are its branding, its
prints, the public tunnel that any of its clients could ask for, and other sites' pages.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import warnings
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from taichi_rf.errors import UserError

_STYLE = ".mantine-ScrollArea-content { padding-right: 8px }"  # else the panel's scrollbar covers controls
_SCRIPT = f"""
document.title = "Taichi RF";
document.head.append(Object.assign(document.createElement("style"), {{ textContent: "{_STYLE}" }}));
"""


def start(host: str, port: int) -> Any:
    """A server that listens, without viser's own branding, prints, and the tunnel that any client could ask for.

    Raises:
        UserError: viser is missing, or the address cannot be listened on.
    """
    try:
        viser = importlib.import_module("viser")
    except ImportError as error:
        raise UserError("the viewer in a browser needs viser: pip install 'taichi-rf[web]'") from error
    _check_address(host, port)
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")  # a browser left a moment ago
    with quiet(), _own_pages_only(host):
        server = viser.ViserServer(host, port, label="Taichi RF", verbose=False)
    _take_no_files(server)
    server.request_share_url = server.disconnect_share_url = lambda *_, **__: None
    server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, control_width="medium")
    server.scene.world_axes.visible = False
    with contextlib.suppress(AttributeError):  # there is no public way to do these
        message = importlib.import_module("viser._messages").RunJavascriptMessage(source=_SCRIPT)
        server._websock_server.queue_message(message)
    return server


def _take_no_files(server: Any) -> None:
    """viser takes files for any control, and keeps their parts in memory until the last one has come."""
    messages: Any = importlib.import_module("viser._messages")
    for name in ("FileTransferStartUpload", "FileTransferPart"):
        with contextlib.suppress(AttributeError, AssertionError):  # another viser: the tests say so
            server.gui._websock_interface.unregister_handler(getattr(messages, name))


def _check_address(host: str, port: int) -> None:
    """Raise a UserError when ``host`` and ``port`` cannot be listened on: viser would try other ports, for ever."""
    if not 0 <= port <= 65535:
        raise UserError(f"cannot listen on {host}, port {port}: ports are 1 to 65535, or 0 for any that is free")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {host}, port {port} ({reason}): choose another host or port") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """viser prints through rich's console; here nothing but the command line does."""
    console = importlib.import_module("rich").get_console()
    kept, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = kept


@contextlib.contextmanager
def _own_pages_only(host: str) -> Iterator[None]:
    """Have a server that is started inside turn away what other web sites' pages ask of it.

    A browser lets any page open a socket to any address, this computer's own included, and says only where the page is
    from; viser does not look at that.
    """
    sockets: Any = importlib.import_module("websockets.asyncio.server")
    original, used = sockets.serve, []

    def guarded(*arguments: Any, process_request: Any, **options: Any) -> Any:
        def check(connection: Any, request: Any) -> Any:
            if is_foreign(request.headers.get("Host", ""), request.headers.get("Origin"), host):
                return connection.respond(HTTPStatus.FORBIDDEN, "This page belongs to another server.\n")
            return process_request(connection, request)

        used.append(True)
        return original(*arguments, process_request=check, **options)

    sockets.serve = guarded
    try:
        yield
    finally:
        sockets.serve = original
    if not used:
        raise UserError("this version of viser is not one that this viewer knows: pip install 'viser~=1.1'")


def is_foreign(asked: str, origin: str | None, host: str) -> bool:
    """Whether a request comes from a page that this server did not send.

    Args:
        asked: the request's ``Host``. On loopback it has to be a number or localhost: a name of somebody else's may
            be made to mean this computer.
        origin: where the page is from, which all browsers say of sockets; None for other programs.
        host: what the server listens on.
    """
    if origin is not None and urlsplit(origin).netloc.lower() != asked.lower():
        return True
    return is_loopback(host) and not _is_number_or_localhost(urlsplit(f"//{asked}").hostname or "")


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server on ``host``."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _is_number_or_localhost(name: str) -> bool:
    return name == "localhost" or ":" in name or name.replace(".", "").isdigit()
