"""Which page of the menu is open, and where a person looks for something to open."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from viewer.app import catalogue

PAGES = ("look", "keep", "film", "open", "place", "help")
_LISTED_SECONDS = 2.0  # for which a listing of a folder is good


class Chooser:
    """Where a person is looking for something to open."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder or Path.cwd()
        self.first = 0
        """Of the folder's entries, the first that is listed."""
        self._clock = clock
        self._known: dict[tuple[str, Path], tuple[float, Any]] = {}

    def go(self, folder: Path) -> None:
        """Look into another folder."""
        self.folder, self.first = folder, 0

    def listing(self) -> catalogue.Listing:
        """What the folder holds; read from the disk now and then."""
        return self._recent("folder", self.folder, catalogue.browse)

    def runs(self, folder: Path) -> list[catalogue.RunEntry]:
        """The runs there, the newest first; read from the disk now and then."""
        return self._recent("runs", folder, catalogue.runs)

    def _recent(self, what: str, folder: Path, read: Callable[[Path], Any]) -> Any:
        found = self._known.get((what, folder))
        if found is None or self._clock() - found[0] > _LISTED_SECONDS:
            self._known = {key: value for key, value in self._known.items() if key[0] != what}
            found = self._known[what, folder] = self._clock(), read(folder)
        return found[1]


class Menu:
    """What of the panels is open.

    Args:
        chooser: where to look for something to open.
    """

    def __init__(self, chooser: Chooser | None = None) -> None:
        self.hidden = False
        """Whether no panel is shown."""
        self.page: str | None = None
        """Which page is open, one of ``PAGES``, None for the menu itself."""
        self.chooser = chooser or Chooser()

    def turn_to(self, page: str) -> None:
        """Open a page, or close it if it is open."""
        assert page in PAGES
        self.page, self.hidden = None if self.page == page and not self.hidden else page, False
