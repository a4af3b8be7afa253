"""Finding the files that a scene's JSON names, whoever wrote it: another suffix, Windows separators, another machine.

Names are looked up in listings of the scene's own folder, so that nothing outside is opened or asked about.
"""

from __future__ import annotations

import itertools
import os
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from scenes.files.values import Notes, bounded, kind
from taichi_rf.core.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".heic", ".heif")
DEPTH_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".exr")
MAX_NAME, MAX_PARTS = 255, 64
"""Bytes of a name, and parts of a path."""


class Finder:
    """Finds files below ``root``.

    Args:
        follow_links: let links lead out of ``root``.
        notes: told when a file is not where, or not called what, the JSON says.
    """

    def __init__(self, root: Path, notes: Notes, *, follow_links: bool = False) -> None:
        self.root, self.notes, self.follow_links = root.resolve(), notes, follow_links
        self._called = os.path.abspath(root)  # what absolute paths may begin with, if it is a link
        self._folders: dict[tuple[str, ...], _Folder | None] = {}

    def find(self, value: Any, key: str, where: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Path | None:
        """The file that ``value`` names, with or without its suffix; None if there is none.

        Raises:
            UserError: ``value`` is no path, or leads out of the scene's folder.
        """
        place = f"{where}, key '{key}'"
        if not isinstance(value, str) or not value or "\0" in value:
            raise UserError(f"{place}: the path of an image is expected, not {kind(value)}")
        if any(len(part.encode(errors="replace")) > MAX_NAME for part in value.replace("\\", "/").split("/")):
            raise UserError(f"{place}: '{bounded(value)}' cannot be opened (File name too long)")
        outside = False
        for text in dict.fromkeys((value, value.replace("\\", "/"))):
            relative = self._relative(text)
            if relative is None:
                outside = True
            elif (found := self._named(relative, suffixes, place)) is not None:
                return found
        for text in (value, value.replace("\\", "/")):
            parts = _absolute_parts(text)
            for first in range(1, min(len(parts), MAX_PARTS)):
                if (found := self._named(parts[first:], suffixes, place)) is not None:
                    self.notes.add(
                        f"elsewhere {key}",
                        f"{place}: '{bounded(value)}' is a path of another place; '{self.name(found)}' in the scene's "
                        "folder is taken for it",
                    )
                    return found
        if outside:
            raise UserError(f"{place}: '{bounded(value)}' leads out of the scene's folder '{self.root}'")
        return None

    def name(self, path: Path) -> str:
        """``path``, which :meth:`find` found, from the scene's folder on."""
        return path.relative_to(self.root).as_posix()

    def _relative(self, text: str) -> tuple[str, ...] | None:
        """The parts of a path from the root on, None where it leads out. By its letters: no file is asked about."""
        if PureWindowsPath(text).is_absolute() and not os.path.isabs(text):
            return None
        for root in (str(self.root), self._called):
            try:
                relative = os.path.relpath(os.path.join(root, text), root)
            except ValueError:  # another drive of Windows
                continue
            parts = tuple(part for part in relative.replace(os.sep, "/").split("/") if part not in ("", "."))
            if ".." not in parts:
                return parts
        return None

    def _named(self, parts: tuple[str, ...], suffixes: tuple[str, ...], place: str) -> Path | None:
        """The file that ``parts`` name, perhaps with another suffix, none or two, or in other letters."""
        if not parts or len(parts) > MAX_PARTS or ".." in parts:
            return None
        folder, name = self._folder(parts[:-1], place), parts[-1]
        if folder is None:
            return None
        for candidate in (name, *(name + suffix for suffix in suffixes)):
            if (found := self._file(folder, candidate, place)) is not None:
                return found
        stem = name
        while (suffix := os.path.splitext(stem)[1]).lower() in suffixes:
            stem = stem[: -len(suffix)]
        twice = (first + second for first, second in itertools.product(suffixes, suffixes))
        for other in (*suffixes, "", *twice):
            if (found := self._file(folder, stem + other, place)) is not None:
                self.notes.add(
                    "suffix",
                    f"{place}: there is no '{bounded(name)}'; '{bounded(found.name)}' is taken for it",
                )
                return found
        return None

    def _file(self, folder: _Folder, name: str, place: str) -> Path | None:
        entry = folder.entry(name)
        if entry is None:
            return None
        path = self._inside(folder.path / entry, place)
        return path if path.is_file() else None

    def _folder(self, parts: tuple[str, ...], place: str) -> _Folder | None:
        """The folder with this path from the root on, None if there is none."""
        if parts not in self._folders:
            found: _Folder | None = None
            if not parts:
                found = _Folder(self.root)
            elif (parent := self._folder(parts[:-1], place)) is not None:
                entry = parent.entry(parts[-1])
                if entry is not None and (path := self._inside(parent.path / entry, place)).is_dir():
                    found = _Folder(path)
            self._folders[parts] = found
        return self._folders[parts]

    def _inside(self, path: Path, place: str) -> Path:
        """``path``, once it is known to be allowed."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            if path.is_symlink():
                reason = "it is a link to something that is not there, or links lead in a circle"
            else:
                reason = getattr(error, "strerror", None) or bounded(error)
            raise UserError(f"{place}: '{bounded(path)}' cannot be opened ({reason})") from error
        if real.is_relative_to(self.root):
            return path if self.follow_links else real
        if self.follow_links:
            return path
        raise UserError(
            f"{place}: '{bounded(self.name(path))}' is a link that leads out of the scene's folder '{self.root}', to "
            f"'{bounded(real)}'; add --follow-links if you trust the scene"
        )


class _Folder:
    """The names in a folder, read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            names = os.listdir(path)
        except OSError:
            names = []
        self._names = set(names)
        self._folded: dict[str, list[str]] = {}
        for name in names:
            self._folded.setdefault(_folded(name), []).append(name)

    def entry(self, name: str) -> str | None:
        """``name``, or the only one that differs in no more than capital letters and how accents are written."""
        if name in self._names:
            return name
        alike = self._folded.get(_folded(name), [])
        return alike[0] if len(alike) == 1 else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _absolute_parts(text: str) -> tuple[str, ...]:
    """The parts of an absolute path of Unix or Windows, its root first; nothing for a relative one."""
    for kind_of_path in (PurePosixPath, PureWindowsPath):
        path = kind_of_path(text)
        if path.is_absolute():
            return path.parts
    return ()
