"""Gets the model that a command needs: from an address, with a bar, or from a file that has to be whole."""

from __future__ import annotations

from pathlib import Path

from taichi_rf.cli.console import bar
from taichi_rf.core.errors import UserError
from taichi_rf.storage.trf import TrfFile, read_trf
from taichi_rf.streaming.download import PATIENCE, Incoming, fetch


def received(address: str, levels: int | None = None) -> Incoming:
    """The file at an address, or as much of it as its first ``levels`` need, with a bar.

    Raises:
        UserError: less of it came than is wanted.
    """
    with bar("receiving") as show:
        return fetch(
            address,
            levels,
            patience=PATIENCE,
            progress=lambda now: show(now.received / now.size if now.size else 0.0, now.trouble or ""),
        )


def fetched(address: str, levels: int | None, path: Path) -> int | None:
    """Write the file at an address, or what its first ``levels`` need of it, with a bar.

    Returns:
        The size in bytes of all of it, None where nobody says it.

    Raises:
        UserError: less of it came than is wanted, or it has not so many levels.
    """
    incoming = received(address, levels)
    incoming.save(path, levels or len(incoming.file().chunks))
    return incoming.progress.size


def whole(path: Path) -> TrfFile:
    """All of a file. One with fewer levels than it was first written with is whole if it ends after a level: that is
    how it was slimmed.

    Raises:
        UserError: it is cut off, damaged, or no model.
    """
    file = read_trf(path)
    if len(file.chunks) < file.total_levels and file.warnings:
        raise UserError(f"{file.warnings[0]}; to make do with those, ask for level {len(file.chunks)}")
    return file
