"""Find a folder in which Taichi can keep the kernels that it compiles: it crashes where it cannot write there.

Import this before Taichi. Measured on 1.7.4: without ``HOME`` it aborts as it starts, and with a ``HOME`` that cannot
be written it ends with a segmentation fault after everything is done.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from taichi_rf.core.errors import UserError


def provide_cache() -> None:
    """See to it that Taichi finds a folder that it can write to: the user's cache, else one of the user's own among the
    temporary files.

    Raises:
        UserError: there is no folder at all that can be written.
    """
    if os.name == "nt":  # Taichi asks Windows itself
        return
    base = _base()
    if base is not None and _writable(Path(base) / "taichi" / "ticache"):
        return
    try:
        folder = Path(tempfile.gettempdir()) / f"taichi-rf-{os.geteuid()}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        if not _ours(folder):  # compiled kernels are code: nobody else may put any there
            folder = Path(tempfile.mkdtemp(prefix="taichi-rf-"))
    except OSError as error:
        raise UserError(
            f"neither a cache nor a temporary folder can be written ({error.strerror or error}): set XDG_CACHE_HOME to "
            "a folder that can"
        ) from error
    os.environ["XDG_CACHE_HOME"] = str(folder)


def cache_of(processor: str | None) -> dict[str, str]:
    """What ``ti.init`` is told so that kernels for a processor of this name are kept apart, for Taichi would mix them
    with those that were compiled before it had the name. Nothing where there is no name, where someone has named a
    folder, or where none can be written."""
    base = _base()
    if processor is None or base is None or "TI_OFFLINE_CACHE_FILE_PATH" in os.environ:
        return {}
    folder = Path(base) / "taichi" / f"ticache-{processor}"
    return {"offline_cache_file_path": str(folder)} if _writable(folder) else {}


def _base() -> str | None:
    """The folder of the user's caches, as Taichi finds it."""
    return os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if (home := os.environ.get("HOME")) else None)


def _ours(folder: Path) -> bool:
    """Whether ``folder`` is a folder of this user's, and no link, that no one else can write to or look into."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _writable(folder: Path) -> bool:
    """Whether a file can be made in ``folder``, which is made if need be, and what is there of Taichi's written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index = (found.path for found in os.scandir(folder) if found.is_dir() or found.name.endswith(".tcb"))
        if not all(os.access(path, os.W_OK) for path in index):
            return False
        handle, name = tempfile.mkstemp(dir=folder)
        os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(name)
        return True
    except (OSError, ValueError):
        return False
