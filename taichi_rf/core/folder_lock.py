"""One process at a time writes to a folder: a lock that the system lets go of however the process ends."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import writing

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None
"""None on Windows, where nothing keeps two processes from writing to one folder."""

_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN)
"""What says that another process holds the lock. All else says that this disk knows no locks, as many network disks."""


@contextlib.contextmanager
def locked(path: Path, folder: str) -> Iterator[None]:
    """Hold the lock file ``path``, which is made if need be and gone afterwards.

    The file is removed while it is still locked, and whoever locks a file that is no longer the one of that name begins
    again: so no two processes ever hold it, however they come and go.

    Args:
        folder: what the lock is for, named in messages.

    Raises:
        UserError: another process holds it, or the file cannot be written.
    """
    while True:
        with writing(path):
            file = open(path, "a+")  # noqa: SIM115
        with file:
            _lock(file, folder)
            if not _still_there(path, file):
                continue
            with writing(path):
                file.truncate(0)
                file.write(f"{os.getpid()}\n")
                file.flush()
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
        return


def _lock(file: TextIO, folder: str) -> None:
    """Lock ``file``; a disk that has no locks is warned about once. UserError if another process holds it."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            file.seek(0)
            writer = file.read(20).strip()
            raise UserError(
                f"another process{f' ({writer})' if writer else ''} is writing to {folder}: wait for it, or choose "
                "another folder"
            ) from None
        warnings.warn(
            f"the disk of {folder} has no file locks ({error.strerror}): see to it that no other process writes there",
            stacklevel=2,
        )


def _still_there(path: Path, file: TextIO) -> bool:
    """Whether ``file`` is what lies at ``path``; its earlier holder may have removed it just before it was locked."""
    if fcntl is None:  # Windows removes no file that is open
        return True
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
