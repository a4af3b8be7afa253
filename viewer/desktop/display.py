"""Finds out whether a window can open here before GLFW is asked to open one.

Without a display GLFW ends the process, and no exception can be caught; so the X server is asked first.
``python -m viewer.desktop.display`` prints the reason when there is none and exits with 1.
"""

from __future__ import annotations

import os
import sys

from taichi_rf.core import backend
from viewer.desktop import x11

HEADLESS = (
    "without a window: run_viewer.py --web serves a browser, run_viewer.py --headless --screenshot picture.png writes "
    "a picture, and train.py trains without --view"
)


def why_no_window() -> str | None:
    """None when a window can open, else the reason and what to do about it."""
    return _why_no_display() or _why_no_vulkan()


def fitting(width: int, height: int) -> tuple[int, int]:
    """As much of a window of this size as the screen has room for."""
    across, down = x11.screen_size() or (width, height)
    return max(min(width, across), 1), max(min(height, down), 1)


def middle_of_screen(width: int, height: int) -> tuple[int, int]:
    """Where the top left corner of a window of this size goes; on the screen in any case."""
    size = x11.screen_size()
    if size is None:
        return 100, 100
    return max((size[0] - width) // 2, 0), max((size[1] - height) // 2, 0)


def _why_no_display() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    name = os.environ.get("DISPLAY")
    if not name:
        if os.environ.get("WAYLAND_DISPLAY"):
            return f"the window needs X11, and Xwayland is not running (DISPLAY is not set); {HEADLESS}"
        return f"there is no display (DISPLAY is not set): log in to a desktop or use ssh -X; {HEADLESS}"
    with x11.connected() as (library, connection):
        if library is None:
            return f"the window needs libX11: apt-get install libx11-6; {HEADLESS}"
        if not connection:
            return f"the display '{name}' does not answer: check DISPLAY and who may use it (xhost); {HEADLESS}"
    return None


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
