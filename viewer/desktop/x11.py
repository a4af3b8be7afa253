"""Asks the X server what GLFW and GGUI do not tell: whether it answers, how large the screen is, where our window is.

libX11 ends the process when a window that is asked about is gone by then, unless errors have a handler; here they have.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
from collections.abc import Iterator
from typing import Any

_DEEPEST = 4  # windows of window managers around one of ours
_Windows = ctypes.POINTER(ctypes.c_ulong)
_Handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_IGNORE = _Handler(lambda connection, error: 0)
_CARDINAL = 6  # a type of property: a number of 32 bits, which Xlib gives as a long


@contextlib.contextmanager
def connected() -> Iterator[tuple[Any, int | None]]:
    """libX11 and a connection to the display; None and None without the library, None for one that does not answer."""
    try:
        x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    except OSError:
        yield None, None
        return
    _declare(x11)
    connection = x11.XOpenDisplay(None)
    try:
        yield x11, connection
    finally:
        if connection:
            x11.XCloseDisplay(connection)


def screen_size() -> tuple[int, int] | None:
    """Pixels across and down; None where nobody knows."""
    with connected() as (x11, connection):
        if not connection:
            return None
        screen = x11.XDefaultScreen(connection)
        return x11.XDisplayWidth(connection, screen), x11.XDisplayHeight(connection, screen)


def place_of(title: str) -> tuple[int, int] | None:
    """Where on the screen the top left corner is of what this process's window called ``title`` shows; None where
    nobody knows. GLFW writes the process into ``_NET_WM_PID`` (https://specifications.freedesktop.org/wm-spec), and
    GGUI frames a second behind the title."""
    with connected() as (x11, connection):
        if not connection:
            return None
        before = x11.XSetErrorHandler(_IGNORE)
        try:
            root = x11.XDefaultRootWindow(connection)
            pid = x11.XInternAtom(connection, b"_NET_WM_PID", False)
            for window in _tree(x11, connection, root):
                if _number(x11, connection, window, pid) == os.getpid() and (
                    _title(x11, connection, window) or ""
                ).startswith(title):
                    x, y, child = ctypes.c_int(), ctypes.c_int(), ctypes.c_ulong()
                    results = map(ctypes.byref, (x, y, child))
                    if x11.XTranslateCoordinates(connection, window, root, 0, 0, *results):
                        return x.value, y.value
        finally:
            x11.XSync(connection, False)
            x11.XSetErrorHandler(before)
    return None


def _declare(x11: Any) -> None:
    """Tell ctypes what the functions take and give: display and pointers, windows and atoms, numbers."""
    pointer, window, number = ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int
    for name, result, arguments in (
        ("XOpenDisplay", pointer, [ctypes.c_char_p]),
        ("XCloseDisplay", number, [pointer]),
        ("XSync", number, [pointer, number]),
        ("XFree", number, [pointer]),
        ("XSetErrorHandler", pointer, [pointer]),
        ("XDefaultScreen", number, [pointer]),
        ("XDefaultRootWindow", window, [pointer]),
        ("XDisplayWidth", number, [pointer, number]),
        ("XDisplayHeight", number, [pointer, number]),
        ("XInternAtom", window, [pointer, ctypes.c_char_p, number]),
        ("XQueryTree", number, [pointer, window, *[pointer] * 4]),
        ("XFetchName", number, [pointer, window, pointer]),
        ("XTranslateCoordinates", number, [pointer, window, window, number, number, *[pointer] * 3]),
        (
            "XGetWindowProperty",
            number,
            [pointer, window, window, *[ctypes.c_long] * 2, number, window, *[pointer] * 5],
        ),
    ):
        function = getattr(x11, name)
        function.restype, function.argtypes = result, arguments


def _tree(x11: Any, connection: int, root: int) -> Iterator[int]:
    """The windows in ``root``, those around others first."""
    layer = [root]
    for _ in range(_DEEPEST):
        inside: list[int] = []
        for window in layer:
            above, parent, children, count = ctypes.c_ulong(), ctypes.c_ulong(), _Windows(), ctypes.c_uint()
            results = map(ctypes.byref, (above, parent, children, count))
            if x11.XQueryTree(connection, window, *results) and children:
                inside += children[: count.value]
                x11.XFree(children)
        yield from inside
        layer = inside


def _number(x11: Any, connection: int, window: int, atom: int) -> int | None:
    """A property of a window that is a number."""
    kind, bits, count, left, value = ctypes.c_ulong(), ctypes.c_int(), ctypes.c_ulong(), ctypes.c_ulong(), _Windows()
    results = map(ctypes.byref, (kind, bits, count, left, value))
    x11.XGetWindowProperty(connection, window, atom, 0, 1, False, _CARDINAL, *results)
    if not value:
        return None
    number = value[0] if count.value else None
    x11.XFree(value)
    return number


def _title(x11: Any, connection: int, window: int) -> str | None:
    name = ctypes.c_char_p()
    x11.XFetchName(connection, window, ctypes.byref(name))
    text = None if name.value is None else name.value.decode("utf-8", "replace")
    if name:
        x11.XFree(name)
    return text
