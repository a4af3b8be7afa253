"""Where poses are kept: beside the photographs, or in the user's cache folder where nothing can be written there.

An entry is a folder that is called after the content of the photographs, so that others are posed anew. It is made
under another name and renamed, so that it is whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from taichi_rf.core.errors import UserError
from taichi_rf.core.user_folders import CACHE_VARIABLE, cache_folder

NAME = ".taichi-rf-poses"
"""Of the folder beside the photographs."""
VERSION = 2
"""Raise it whenever the same photographs are to be posed anew."""
PARTIAL = ".part-"
STALE_SECONDS = 24 * 3600.0


def key_of(files: list[Path], *settings: object) -> str:
    """What an entry for ``files`` is called: it changes with their names, contents and ``settings``.

    Raises:
        UserError: one cannot be read.
    """
    content = hashlib.sha256(repr((VERSION, *settings)).encode())
    for path in files:
        content.update(os.fsencode(path.name) + b"\0")
        try:
            with open(path, "rb") as file:
                one = hashlib.sha256()
                while block := file.read(1 << 20):
                    one.update(block)
        except OSError as error:
            raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from error
        content.update(one.digest())
    return content.hexdigest()[:32]


def find(folder: Path, key: str) -> Path | None:
    """The entry of that key for photographs in ``folder``, None where there is none."""
    return next((home / key for home in _homes(folder) if (home / key).is_dir()), None)


@contextlib.contextmanager
def new_entry(folder: Path, key: str) -> Iterator[Path]:
    """Give a folder to fill, which :func:`keep` makes the entry; what is not kept is removed at the end of the block.

    Raises:
        UserError: nothing can be written anywhere.
    """
    made = _make(folder, key)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are in there
            made.parent.rmdir()


def keep(made: Path, key: str) -> Path:
    """Make the folder ``made`` the entry of that key, in place of one that is there; where it is now."""
    entry = made.parent / key
    for _ in range(2):
        try:
            os.replace(made, entry)
            return entry
        except OSError:  # there is one already, which was found broken, or was made meanwhile
            shutil.rmtree(entry, ignore_errors=True)
    raise UserError(f"'{entry}' cannot be written: remove it, or set {CACHE_VARIABLE} to another folder")


def remove(folder: Path) -> None:
    """Remove a folder that is needed no more."""
    shutil.rmtree(folder, ignore_errors=True)


def _homes(folder: Path) -> list[Path]:
    """Where entries may be, the likeliest first."""
    own = cache_folder()
    return [folder / NAME, *([own / "poses"] if own is not None else [])]


def _make(folder: Path, key: str) -> Path:
    """A new folder beside where the entry will be."""
    reason = ""
    for home in _homes(folder):
        try:
            home.mkdir(parents=True, exist_ok=True)
            _remove_stale(home)
            return Path(tempfile.mkdtemp(prefix=f"{PARTIAL}{key[:8]}-", dir=home))
        except OSError as error:
            reason = error.strerror or str(error)
    places = " nor in ".join(f"'{home}'" for home in _homes(folder))
    raise UserError(
        f"poses cannot be kept in {places} ({reason}): set {CACHE_VARIABLE} to a folder that can be written"
    )


def _remove_stale(home: Path) -> None:
    """Remove what a process left that was killed long ago."""
    for path in home.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
