"""Where this process's window is on a virtual screen is found, and nobody else's is taken for it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

from tests.e2e.windows import Screen
from viewer.desktop import x11


@pytest.fixture
def screen(monkeypatch) -> Iterator[Screen]:
    screen = Screen((640, 480))
    monkeypatch.setenv("DISPLAY", screen.display)
    yield screen
    screen.close()


def show(library, connection: int, title: bytes, place: tuple[int, int], process: int) -> int:
    """A window with a title that says whose it is."""
    library.XCreateSimpleWindow.restype = ctypes.c_ulong
    library.XCreateSimpleWindow.argtypes = [
        ctypes.c_void_p, ctypes.c_ulong, *[ctypes.c_int] * 2, *[ctypes.c_uint] * 3, *[ctypes.c_ulong] * 2
    ]  # fmt: skip
    root = library.XDefaultRootWindow(connection)
    window = library.XCreateSimpleWindow(connection, root, *place, 200, 100, 0, 0, 0)
    library.XStoreName.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_char_p]
    library.XStoreName(connection, window, title)
    atoms = (library.XInternAtom(connection, name, False) for name in (b"_NET_WM_PID", b"CARDINAL"))
    library.XChangeProperty.argtypes = [
        ctypes.c_void_p, *[ctypes.c_ulong] * 3, *[ctypes.c_int] * 2, ctypes.c_void_p, ctypes.c_int
    ]  # fmt: skip
    library.XChangeProperty(connection, window, *atoms, 32, 0, ctypes.byref(ctypes.c_long(process)), 1)
    library.XMapWindow.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
    library.XMapWindow(connection, window)
    library.XSync(connection, False)
    return window


def test_the_place_of_this_process_window_is_found(screen):
    assert x11.screen_size() == (640, 480)
    assert x11.place_of("Taichi RF") is None
    with x11.connected() as (library, connection):
        show(library, connection, b"Taichi RF", (5, 6), os.getpid() + 1)
        show(library, connection, b"Other", (7, 8), os.getpid())
        assert x11.place_of("Taichi RF") is None
        window = show(library, connection, b"Taichi RF  30.5 FPS", (123, 45), os.getpid())
        assert x11.place_of("Taichi RF") == (123, 45)
        library.XMoveWindow.argtypes = [ctypes.c_void_p, ctypes.c_ulong, *[ctypes.c_int] * 2]
        library.XMoveWindow(connection, window, 60, 70)
        library.XSync(connection, False)
        assert x11.place_of("Taichi RF") == (60, 70)


def test_without_a_display_nobody_knows(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":99999")
    assert x11.screen_size() is None
    assert x11.place_of("Taichi RF") is None
