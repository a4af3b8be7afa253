"""A window closed as a window manager closes it, and a mouse button that is pressed without a program's start between:
messages of Xlib's, sent through ctypes."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
from collections.abc import Iterator
from typing import Any


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, as large as its largest event."""

    _fields_ = [
        ("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int), ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong), ("kind", ctypes.c_ulong), ("format", ctypes.c_int), ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    ]  # fmt: skip


@contextlib.contextmanager
def connection_to(display: str) -> Iterator[tuple[Any, int]]:
    x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    x11.XOpenDisplay.restype, x11.XOpenDisplay.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    x11.XInternAtom.restype, x11.XInternAtom.argtypes = ctypes.c_ulong, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    x11.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    connection = x11.XOpenDisplay(display.encode())
    assert connection
    yield x11, connection
    x11.XCloseDisplay(connection)


def button(connection: tuple[Any, int], down: bool, number: int = 1) -> None:
    """Press or release a button of the mouse; returns when the server has taken it."""
    x11, display = connection
    xtest = ctypes.CDLL(ctypes.util.find_library("Xtst") or "libXtst.so.6")  # which xdotool needs, too
    xtest.XTestFakeButtonEvent.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_ulong]
    x11.XSync.argtypes = [ctypes.c_void_p, ctypes.c_int]
    assert xtest.XTestFakeButtonEvent(display, number, int(down), 0)
    x11.XSync(display, 0)
