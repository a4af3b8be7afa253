"""Opens the GGUI window, closes it before Taichi ends, and shows pictures in it without copying them."""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from viewer.desktop.display import fitting, middle_of_screen, why_no_window
from viewer.desktop.wheel import Wheel
from viewer.desktop.x11 import place_of
from viewer.overlay.screen import screen

TITLE = "Taichi RF"


class Desktop:
    """The GGUI window, which has to be closed before Taichi ends; :meth:`open` opens another afterwards.

    Args:
        size: (width, height) in pixels.
        inside: gives the context in which ImGui may write files.
    """

    def __init__(self, size: tuple[int, int], inside: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self.size, self.inside = size, inside
        self.window: Any = None
        self.wheel: Wheel | None = None
        """The mouse's wheel; None before the first window."""
        self._place: tuple[int, int] | None = None  # where the last window was, as far as that is known

    def open(self, text: str) -> None:
        """Open the window, with something to read while what it will show is prepared.

        Raises:
            UserError: it cannot open.
        """
        if self.window is not None:
            return
        if reason := why_no_window():  # GLFW would end the process
            raise UserError(reason)
        backend.current()  # a window on nothing would end the process too
        self.size = fitting(*self.size)
        self.wheel = self.wheel or Wheel()
        place = self._place or middle_of_screen(*self.size)
        with self.inside():
            try:
                self.window = ti.ui.Window(TITLE, self.size, vsync=False, fps_limit=60, pos=place)
            except RuntimeError as error:
                raise UserError(f"the window cannot open: {error}") from error
            if text:
                canvas = columns(screen(TITLE, [text], None, *self.size))
                for _ in range(2):  # the first frame of a window may be lost
                    set_image(self.window.get_canvas(), canvas)
                    self.window.show()

    def show(self, text: str, share: float | None) -> None:
        """Show how far what is being prepared has come, 0..1, or None where that is not known."""
        if self.window is None:
            return
        with self.inside():
            set_image(self.window.get_canvas(), columns(screen(TITLE, [text], share, *self.size)))
            self.window.show()

    def close(self) -> None:
        """Close the window, if there is one; the next one opens where this one is."""
        if self.window is not None:
            self._place = place_of(TITLE) or self._place
            with self.inside():
                self.window.destroy()
            self.window = None


def columns(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(height, width, 3), row 0 at the top, as windows want it: (width, height, 4), y upwards."""
    canvas = np.full((picture.shape[1], picture.shape[0], 4), 255, dtype=np.uint8)
    canvas[..., :3] = picture[::-1].transpose(1, 0, 2)
    return canvas


def set_image(canvas: Any, pixels: npt.NDArray[np.uint8]) -> None:
    """Show ``pixels`` (width, height, 4), y upwards, all over the window.

    What ``canvas.set_image`` comes to for pixels that are RGBA bytes already. Its own conversion takes 25 ms for
    1280x720 on two cores, and it keeps a copy of every size of picture for ever.

    Args:
        canvas: GGUI's.
        pixels: (width, height, 4) uint8, contiguous.
    """
    utilities = importlib.import_module(f"{ti.__name__}.ui.utils")
    canvas.canvas.set_image(utilities.get_field_info(pixels.view(np.uint32)[..., 0]))


@contextlib.contextmanager
def folder_for_imgui() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Give a context in which the working directory is a temporary folder, for the calls in which ImGui writes.

    ImGui keeps the panels' places in ``imgui.ini`` wherever the process happens to be. They are of no use here, because
    the panels stay where they belong, and relative paths must keep their meaning for everything else.
    """
    with tempfile.TemporaryDirectory(prefix="taichi-rf-") as folder:

        @contextlib.contextmanager
        def inside() -> Iterator[None]:
            here = os.getcwd()
            os.chdir(folder)
            try:
                yield
            finally:
                os.chdir(here)

        yield inside
