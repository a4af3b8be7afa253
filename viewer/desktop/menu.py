"""Which page of the menu is open, what is folded, and where a person looks for something to open."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from viewer.app import catalogue
from viewer.app.about import About, about

PAGES = ("look", "keep", "film", "crop", "open", "place", "help")
_LISTED_SECONDS = 2.0  # for which a listing of a folder is good
_MOST_TYPED = 60


class Chooser:
    """Where a person is looking for something to open.

    The keyboard that a window is told of has letters and the space, but neither digits nor signs. So what is typed is
    held against the letters of a name alone.
    """

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder or Path.cwd()
        self.first = 0
        """Of the folder's entries, the first that is listed."""
        self.typed: str | None = None
        """What is typed of a name in the folder, None while nobody types."""
        self._clock = clock
        self._known: dict[tuple[str, object], tuple[float, Any]] = {}

    def go(self, folder: Path) -> None:
        """Look into another folder."""
        self.folder, self.first = folder, 0
        self.typed = None if self.typed is None else ""

    def listing(self) -> catalogue.Listing:
        """What the folder holds; read from the disk now and then."""
        return self._recent("folder", self.folder, catalogue.browse)

    def entries(self) -> list[catalogue.Entry]:
        """Of the folder's entries those that what is typed fits: to the beginning of their names, else anywhere."""
        entries, typed = self.listing().entries, letters(self.typed or "")
        return [entry for entry in entries if letters(entry.name).startswith(typed)] or [
            entry for entry in entries if typed in letters(entry.name)
        ]

    def runs(self, folder: Path) -> list[catalogue.RunEntry]:
        """The runs there, the newest first; read from the disk now and then."""
        return self._recent("runs", folder, catalogue.runs)

    def about(self, path: Path) -> About:
        """What is at ``path``, in words; read from the disk once while the page is open."""
        key = ("about", path)
        if key not in self._known:
            self._known[key] = self._clock(), about(path)
        found: About = self._known[key][1]
        return found

    def recently(self, paths: Callable[[], list[Path]]) -> list[Path]:
        """What was opened of late, as it was when the page was opened: nothing moves under the mouse."""
        key = ("recently", None)
        if key not in self._known:
            self._known[key] = self._clock(), paths()
        found: list[Path] = self._known[key][1]
        return found

    def forget(self) -> None:
        """Read everything anew: the page was opened."""
        self._known, self.first, self.typed = {}, 0, None

    # Typing

    def type(self, letter: str) -> None:
        """Add a letter to what is typed."""
        self.typed, self.first = ((self.typed or "") + letter)[:_MOST_TYPED], 0

    def back(self) -> None:
        """Take the last letter away, or go to the folder above where there is none."""
        if self.typed:
            self.typed = self.typed[:-1]
        elif (parent := self.listing().parent) is not None:
            self.go(parent)

    def complete(self) -> None:
        """Type as much as all names that fit have in common; of a single folder, look into it."""
        entries = self.entries()
        if len(entries) == 1 and entries[0].kind == "folder":
            self.go(entries[0].path)
        elif entries and letters(entries[0].name).startswith(letters(self.typed or "")):
            names = [letters(entry.name) for entry in entries]
            common = 0
            while common < min(map(len, names)) and len({name[common] for name in names}) == 1:
                common += 1
            self.typed = names[0][:common][:_MOST_TYPED]

    def _recent(self, what: str, folder: Path, read: Callable[[Path], Any]) -> Any:
        found = self._known.get((what, folder))
        if found is None or self._clock() - found[0] > _LISTED_SECONDS:
            self._known = {key: value for key, value in self._known.items() if key[0] != what}
            found = self._known[what, folder] = self._clock(), read(folder)
        return found[1]


def letters(name: str) -> str:
    """The letters of a name, small, without all else."""
    return "".join(sign for sign in name.lower() if sign.isalpha())


class Menu:
    """What of the panels is open.

    Args:
        chooser: where to look for something to open.
    """

    def __init__(self, chooser: Chooser | None = None) -> None:
        self.hidden = False
        """Whether no panel is shown."""
        self.chooser = chooser or Chooser()
        self.folded: set[str] = set()
        """Panels that a person has folded, by their keys."""
        self.opened: list[str] = []
        """Panels that a person has opened, the last one first: they have the room, where it is short."""
        self.pages: dict[str, int] = {}
        """Of a panel that has not room for all of its rows, the first row that is shown."""
        self.times = False
        """Whether the plot shows what pictures take."""
        self._page: str | None = None

    @property
    def page(self) -> str | None:
        """Which page is open, one of ``PAGES``, None for the menu itself."""
        return self._page

    @page.setter
    def page(self, page: str | None) -> None:
        if page == "open" != self._page:
            self.chooser.forget()
        self.chooser.typed = None
        self._page, self.pages = page, {}

    def turn_to(self, page: str) -> None:
        """Open a page, or close it if it is open."""
        assert page in PAGES
        self.page, self.hidden = None if self.page == page and not self.hidden else page, False

    def fold(self, key: str, folded: bool) -> None:
        """Fold a panel to its title, or give it the room it needs."""
        self.opened = [other for other in self.opened if other != key]
        if folded:
            self.folded.add(key)
        else:
            self.folded.discard(key)
            self.opened.insert(0, key)
