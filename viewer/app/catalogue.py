"""Lists what can be opened: built-in scenes, scene folders on the disk, and the runs so far.

The lists are for a person to choose from: nothing that takes long is read, nothing raises, and an entry that cannot be
read says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import scenes
from scenes.registry import format_of
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from taichi_rf.training.checkpoint import NAME as CHECKPOINT
from taichi_rf.training.run import CONFIG, METRICS, MODEL, RunFolder

MOST_ENTRIES = 500
"""Of a folder; what comes after them by name is left out, and said to be."""

Kind = Literal["scene", "run", "model", "folder", "nothing"]


@dataclass(frozen=True)
class Entry:
    """Something in a folder: a "scene", a "run", a "model" (.trf) or a "folder" to look into."""

    name: str
    path: Path
    kind: Kind


@dataclass(frozen=True)
class Listing:
    """What :func:`browse` found: ``parent`` is the folder above, None at the top, ``note`` what went wrong."""

    folder: Path
    parent: Path | None
    entries: list[Entry] = field(default_factory=list)
    note: str | None = None


@dataclass(frozen=True)
class RunEntry:
    """A run: ``psnr`` in dB at its highest level, None as long as nobody has evaluated it; ``note`` is what is wrong
    with it."""

    name: str
    path: Path
    finished: bool
    psnr: float | None
    modified: float
    """When it was written to last, in seconds since 1970."""
    note: str | None = None


def builtin_scenes() -> list[str]:
    """Names of the scenes that need no files."""
    return list(scenes.builtin_names())


def kind_of(path: Path | str) -> Kind:
    """What lies at ``path``, without reading any of it."""
    path = Path(path)
    try:
        if path.is_dir():
            if (path / MODEL).is_file() or (path / CONFIG).is_file() and (path / CHECKPOINT).is_file():
                return "run"
            return "scene" if scenes.is_scene(path) else "folder"
        if scenes.is_scene(path):  # a mesh or a video
            return "scene"
        return "model" if path.suffix.lower() == ".trf" and path.is_file() else "nothing"
    except (OSError, ValueError):  # may not be looked at, too long a name, a zero byte in it
        return "nothing"


def browse(folder: Path | str) -> Listing:
    """What can be opened or looked into in ``folder``: scenes first, then runs, models and folders, by name.

    Hidden entries are left out. A folder of photographs with other folders in it is there twice, as a scene and as a
    folder to look into. A folder that cannot be read is an empty listing with a note.
    """
    path = Path(os.path.abspath(folder)) if "\0" not in str(folder) else Path("/")
    parent = path.parent if path.parent != path else None
    try:
        names = sorted(os.listdir(path), key=str.lower)
    except (OSError, ValueError) as error:
        return Listing(path, parent, note=f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
    note = None
    entries: list[Entry] = []
    for name in names:
        if name.startswith("."):
            continue
        kind = kind_of(path / name)
        if kind == "nothing":
            continue
        if len(entries) == MOST_ENTRIES:
            note = f"only the first {MOST_ENTRIES} entries are listed"
            break
        entries.append(Entry(_shown(name), path / name, kind))
        if kind == "scene" and _holds_more(path / name):
            entries.append(Entry(_shown(name), path / name, "folder"))
    order = ("scene", "run", "model", "folder")
    entries.sort(key=lambda entry: order.index(entry.kind))
    return Listing(path, parent, entries, note)


def _holds_more(path: Path) -> bool:
    """Whether ``path`` holds photographs without poses, and folders beside them."""
    if path.is_file() or format_of(path) != "photos":
        return False
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())


def runs(folder: Path | str) -> list[RunEntry]:
    """The runs in ``folder``, the one written to last first; none where there is no such folder."""
    try:
        paths = [path for path in Path(folder).iterdir() if not path.name.startswith(".") and kind_of(path) == "run"]
    except (OSError, ValueError):
        return []
    return sorted(map(_run, paths), key=lambda entry: -entry.modified)[:MOST_ENTRIES]


def _run(path: Path) -> RunEntry:
    modified = max(_modified(path / name) for name in (CHECKPOINT, METRICS, MODEL, CONFIG))
    name = _shown(path.name)
    try:
        finished = RunFolder(path).finished(RunFolder(path).recipe())
        return RunEntry(name, path, finished, _psnr(path) if finished else None, modified)
    except Exception as error:  # whatever a file can cause: one odd folder does not hide the others
        return RunEntry(name, path, False, None, modified, _shown(str(error)))


def _psnr(path: Path) -> float | None:
    """What the metrics say of the highest level."""
    try:
        value: Any = read_json(path / METRICS)["levels"][-1]["psnr"]
    except (UserError, KeyError, IndexError, TypeError):
        return None
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15  # nor NaN
    return float(value) if good else None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _shown(name: str) -> str:
    """A file's name as text that can be printed, whatever bytes it has."""
    return name.encode("utf-8", "replace").decode("utf-8", "replace")
