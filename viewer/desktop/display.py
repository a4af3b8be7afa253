"""Finds out whether a window can open here before GLFW is asked to open one.

Without a display GLFW ends the process, and no exception can be caught; so the X server is asked first.
``python -m viewer.desktop.display`` prints the reason when there is none and exits with 1.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import sys
from collections.abc import Iterator
from typing import Any

from taichi_rf.core import backend

HEADLESS = (
    "without a window: run_viewer.py --web serves a browser, run_viewer.py --headless --screenshot picture.png writes "
    "a picture, and train.py trains without --view"
)


def why_no_window() -> str | None:
    """None when a window can open, else the reason and what to do about it."""
    return _why_no_display() or _why_no_vulkan()


def fitting(width: int, height: int) -> tuple[int, int]:
    """As much of a window of this size as the screen has room for."""
    with _x11() as (x11, connection):
        if not connection:
            return width, height
        screen = x11.XDefaultScreen(connection)
        across, down = x11.XDisplayWidth(connection, screen), x11.XDisplayHeight(connection, screen)
    return max(min(width, across), 1), max(min(height, down), 1)


def middle_of_screen(width: int, height: int) -> tuple[int, int]:
    """Where the top left corner of a window of this size goes; on the screen in any case."""
    with _x11() as (x11, connection):
        if not connection:
            return 100, 100
        screen = x11.XDefaultScreen(connection)
        across, down = x11.XDisplayWidth(connection, screen), x11.XDisplayHeight(connection, screen)
    return max((across - width) // 2, 0), max((down - height) // 2, 0)


def _why_no_display() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    name = os.environ.get("DISPLAY")
    if not name:
        if os.environ.get("WAYLAND_DISPLAY"):
            return f"the window needs X11, and Xwayland is not running (DISPLAY is not set); {HEADLESS}"
        return f"there is no display (DISPLAY is not set): log in to a desktop or use ssh -X; {HEADLESS}"
    with _x11() as (x11, connection):
        if x11 is None:
            return f"the window needs libX11: apt-get install libx11-6; {HEADLESS}"
        if not connection:
            return f"the display '{name}' does not answer: check DISPLAY and who may use it (xhost); {HEADLESS}"
    return None


@contextlib.contextmanager
def _x11() -> Iterator[tuple[Any, int | None]]:
    """libX11 and a connection to the display; None and None without the library, None for one that does not answer."""
    try:
        x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    except OSError:
        yield None, None
        return
    x11.XOpenDisplay.argtypes, x11.XOpenDisplay.restype = [ctypes.c_char_p], ctypes.c_void_p
    x11.XDefaultScreen.argtypes = x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    x11.XDisplayWidth.argtypes = x11.XDisplayHeight.argtypes = [ctypes.c_void_p, ctypes.c_int]
    connection = x11.XOpenDisplay(None)
    try:
        yield x11, connection
    finally:
        if connection:
            x11.XCloseDisplay(connection)


def _why_no_vulkan() -> str | None:
    if sys.platform == "darwin" or backend.available("vulkan"):
        return None
    return (
        "the window draws with Vulkan, which is not available here: install your graphics driver, or the software one "
        f"with apt-get install libvulkan1 mesa-vulkan-drivers; {HEADLESS}"
    )


if __name__ == "__main__":
    reason = why_no_window()
    if reason:
        sys.stdout.write(reason + "\n")
    sys.exit(1 if reason else 0)
