"""The server behind the viewer in a browser: viser's, without the parts that this viewer does not use.

viser's pages are one file that comes with it, so nothing is fetched from elsewhere. Left out are its branding, its
prints, the public tunnel that any of its clients could ask for, other sites' pages, and all messages but those that our
page sends (see :mod:`viewer.web.gate`).
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import warnings
from collections.abc import Iterator
from typing import Any

from taichi_rf.core.errors import UserError
from viewer.web.complaints import Complaints
from viewer.web.offers import Offers

# On narrow screens viser lays its panel over the lower right of the picture, 60 % of the height. Here it becomes a
# sheet across the screen, and the picture ends where it begins, also while it is folded. The padding keeps the
# scrollbar off controls.
_SHEET = ".mantine-Paper-root[style*='position: fixed'][style*='bottom: 0px']"
_STYLE = f"""
.mantine-ScrollArea-content {{ padding-right: 8px }}
{_SHEET} {{ width: 100% !important; max-height: 42% !important; border-radius: 12px 12px 0 0 !important }}
{_SHEET} div[style*='width: 20em'] {{ width: 100% !important }}
div:has(> {_SHEET}) {{ box-sizing: border-box; padding-bottom: var(--sheet, 0px) }}
"""
_SCRIPT = f"""
document.title = "Taichi RF";
document.head.append(Object.assign(document.createElement("style"), {{ textContent: `{_STYLE}` }}));
setInterval(() => {{
    const sheet = document.querySelector("{_SHEET}");
    document.documentElement.style.setProperty("--sheet", (sheet ? sheet.offsetHeight : 0) + "px");
}}, 250);
"""


def start(host: str, port: int, complain: Complaints | None = None, offers: Offers | None = None) -> Any:
    """A server that listens, without viser's own branding, prints, and the tunnel that any client could ask for.

    Args:
        complain: told of what goes wrong with a page.
        offers: pages that it has besides the viewer's own.

    Raises:
        UserError: viser is missing, or the address cannot be listened on.
    """
    try:
        viser = importlib.import_module("viser")
    except ImportError as error:
        raise UserError("the viewer in a browser needs viser: pip install 'taichi-rf[web]'") from error
    from viewer.web.gate import Gate

    _check_address(host, port)
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")  # a browser left a moment ago
    complain = complain or Complaints()
    gate = Gate(host, complain, offers)
    with quiet(), _guarded_by(gate):
        server = viser.ViserServer(host, port, label="Taichi RF", verbose=False)
    loop = server.get_event_loop()
    loop.call_soon_threadsafe(
        loop.set_exception_handler, lambda _, trouble: complain(trouble["message"], trouble.get("exception"))
    )
    _take_no_files(server)
    server.request_share_url = server.disconnect_share_url = lambda *_, **__: None
    server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, control_width="medium")
    server.scene.world_axes.visible = False
    server.gui.main_panel.dock_right()
    with contextlib.suppress(AttributeError):  # there is no public way to do these
        message = importlib.import_module("viser._messages").RunJavascriptMessage(source=_SCRIPT)
        server._websock_server.queue_message(message)
    gate.control = lambda name: _control(server, name)
    gate.open = True  # nobody was connected while this thread sent messages
    return server


def _control(server: Any, name: str) -> Any:
    """The control of any page with an identifier, or None. viser has a page set its own alone."""
    pages = list(server._connected_clients.values())
    return next((found for page in pages if (found := page.gui._gui_input_handle_from_uuid.get(name))), None)


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
def _guarded_by(gate: Any) -> Iterator[None]:
    """Have a server that is started inside take only the connections and messages that ``gate`` lets through."""
    sockets: Any = importlib.import_module("websockets.asyncio.server")
    original, used = sockets.serve, []

    def guarded(*arguments: Any, **options: Any) -> Any:
        used.append(True)
        return original(*arguments, **gate.options(options))

    sockets.serve = guarded
    try:
        yield
    finally:
        sockets.serve = original
    if not used:
        raise UserError("this version of viser is not one that this viewer knows: pip install 'viser~=1.1'")
