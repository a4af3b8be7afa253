"""Which files of this computer pages may have opened: those in one folder, and what its person opened before."""

from __future__ import annotations

import os
from pathlib import Path

from taichi_rf.core.errors import UserError
from viewer.app import catalogue
from viewer.app.studio import Studio

_LONGEST = 60  # characters of an entry
_MOST_RECENT = 6
UP = ".. (the folder above)"


class Places:
    """What can be opened from a page.

    Args:
        root: the folder in which pages may look; None where they may open nothing.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = None if root is None else Path(os.path.realpath(root))

    def found(self, name: str | Path, folder: Path | None = None) -> Path:
        """The path of ``name``, which is relative to ``folder``, with all links followed.

        Raises:
            UserError: it leads out of what may be opened, or is no path.
        """
        if self.root is None:
            raise UserError("nothing can be opened from a page: start the viewer with --browse FOLDER to allow it")
        try:
            path = Path(os.path.realpath((folder or self.root) / name))
        except (OSError, ValueError) as error:
            raise UserError(f"this is no path: {error}") from None
        if not path.is_relative_to(self.root):
            raise UserError(f"only what lies in {self.root} can be opened from a page")
        return path

    def entries(self, studio: Studio, folder: Path) -> dict[str, str | Path]:
        """What there is to choose from, by what a person reads: scenes that need no files, what was opened before, the
        runs, and what lies in ``folder``."""
        listing = catalogue.browse(folder)
        found: dict[str, str | Path] = {f"{name} (built-in scene)": name for name in catalogue.builtin_scenes()}
        recent = () if studio.settings is None else studio.settings.recent
        for path in [path for path in recent if os.path.isabs(path)][:_MOST_RECENT]:
            found[f"{_short(path)} (recent)"] = Path(path)
        for run in catalogue.runs(studio.runs):
            state = "unfinished" if not run.finished else "trained" if run.psnr is None else f"{run.psnr:.1f} dB"
            found[f"{_short(run.name)} (run, {state})"] = run.path
        if folder != self.root:
            found[UP] = folder.parent
        for entry in listing.entries:
            found.setdefault(f"{_short(entry.name)} ({entry.kind})", entry.path)
        return found


def _short(text: str) -> str:
    """The end of ``text``, which says more of a path than its beginning."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _LONGEST else "..." + shown[3 - _LONGEST :]
