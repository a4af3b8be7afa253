"""What the viewer remembers from one time to the next: the window, the way it was used, and what was opened.

It is one JSON file in the user's configuration folder. A setting that is missing or broken there has its default, one
out of range is brought into it, and where the file cannot be written the viewer goes on without.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, write_json
from taichi_rf.core.user_folders import CONFIG_VARIABLE, config_folder
from taichi_rf.storage.world import World

NAME = "settings.json"

_MOST_RECENT = 12
_LONGEST = 4096  # characters of a path
_MOST_BYTES = 1 << 20
_RANGES: dict[str, tuple[float, float]] = {
    "width": (320, 7680),
    "height": (240, 4320),
    "share": (0.0, 1.0),
    "downscale": (1, 64),
}


class Shares(Protocol):
    """What is needed of a session."""

    @property
    def share(self) -> float:
        """Part of the time that training gets, 0 to 1."""


class Choices(Protocol):
    """What is needed of a studio."""

    preset: str
    method: str
    downscale: int

    @property
    def session(self) -> Shares | None:
        """What is shown, None for nothing."""


@dataclass(frozen=True)
class Settings:
    """What is remembered. Any values may be given: :meth:`save` writes only what is in range."""

    width: int = 1280
    """Of the window, in pixels, as is ``height``."""
    height: int = 720
    hidden: bool = False
    """Whether the panels are."""
    share: float = 0.85
    """Of the time, given to training."""
    preset: str = "quick"
    method: str = "slimmerf"
    downscale: int = 2
    """Of the scene's photographs. Check ``preset`` and ``method``: they may be unknown here."""
    folder: str = ""
    """Where scenes were last looked for; empty at first. It may be gone."""
    recent: tuple[str, ...] = ()
    """What was opened, the last first: scene names, folders and model files, some of which may be gone."""
    worlds: tuple[tuple[str, World], ...] = ()
    """Folders of scenes and what was said of them, the last first."""

    @classmethod
    def load(cls, path: Path | None = None) -> Settings:
        """Read ``path``, by default :func:`settings_file`, and never fail."""
        try:
            return cls.from_json(read_json(path or settings_file(), _MOST_BYTES))
        except (UserError, OSError, ValueError):
            return cls()

    def save(self, path: Path | None = None) -> str | None:
        """Write ``path``, by default :func:`settings_file`; return why that failed, or None."""
        try:
            path = path or settings_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, dataclasses.asdict(Settings.from_json(dataclasses.asdict(self))))
        except (UserError, OSError, ValueError, TypeError) as error:
            return str(error)
        return None

    @classmethod
    def from_json(cls, values: Any) -> Settings:
        """Take from ``values`` what has the right type, brought into its range."""
        given = values if isinstance(values, dict) else {}
        usual = {entry.name: entry.default for entry in dataclasses.fields(cls)}
        return cls(**{name: _usable(name, given.get(name), default) for name, default in usual.items()})

    def opened(self, what: str | os.PathLike[str]) -> Settings:
        """These settings with ``what`` in front of ``recent``, and the oldest forgotten."""
        text = os.fspath(what)
        return replace(self, recent=_distinct([text, *self.recent])) if _is_text(text) and text else self

    def placed(self, source: str, world: World) -> Settings:
        """These settings with what was said of the scene in ``source``, and the oldest of all that forgotten."""
        others = [(other, value) for other, value in self.worlds if other != source]
        said = [(source, world)] if world.said() and _is_text(source) else []
        return replace(self, worlds=tuple([*said, *others][:_MOST_RECENT]))

    def world_of(self, source: str) -> World:
        """What was said of the scene in ``source``."""
        return dict(self.worlds).get(source, World())

    def chosen(self, studio: Choices) -> Settings:
        """These settings with what is chosen in ``studio``."""
        share = self.share if studio.session is None else studio.session.share
        return replace(self, preset=studio.preset, method=studio.method, downscale=studio.downscale, share=share)


def settings_file() -> Path:
    """Where the settings are: in the user's configuration folder, or in the one that ``TAICHI_RF_CONFIG`` names.

    Raises:
        UserError: the user has no home, as the users that containers make up.
    """
    folder = config_folder()
    if folder is None:
        raise UserError(f"there is no home folder to keep settings in: name one in {CONFIG_VARIABLE}")
    return folder / NAME


def _usable(name: str, value: Any, default: Any) -> Any:
    """``value``, brought into the range of the setting ``name``, or the default where it is of another kind."""
    if isinstance(default, bool):
        return value if isinstance(value, bool) else default
    if isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return default
        low, high = _RANGES[name]
        return type(default)(min(max(value, low), high))
    if name == "worlds":
        return _worlds(value)
    if isinstance(default, tuple):
        texts = value if isinstance(value, list | tuple) else []
        return _distinct([text for text in texts if text and _is_text(text)])
    return value if _is_text(value) else default


def _worlds(value: Any) -> tuple[tuple[str, World], ...]:
    """Pairs of a scene and what was said of it; those that are broken are left out."""
    found = {}
    for entry in value if isinstance(value, list | tuple) else []:
        with contextlib.suppress(UserError):
            if isinstance(entry, list | tuple) and len(entry) == 2 and _is_text(entry[0]):
                found[entry[0]] = World.from_json(entry[1])
    return tuple(found.items())[:_MOST_RECENT]


def _is_text(value: Any) -> bool:
    """Whether ``value`` is text that a file can hold: names that are not Unicode on disk cannot be written back."""
    if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _distinct(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))[:_MOST_RECENT]
