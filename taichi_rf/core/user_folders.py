"""Where a user's caches and settings are kept, by the conventions of the operating system."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "TAICHI_RF_CACHE"
"""The environment variable that names another folder for what is cached."""
CONFIG_VARIABLE = "TAICHI_RF_CONFIG"
"""The environment variable that names another folder for the settings."""
_APPLICATION = "taichi-rf"


def cache_folder() -> Path | None:
    """Where rendered scenes are kept; it may not exist yet. None for a user who has no home.

    On Linux this is the folder of version 0.1.0. On macOS and Windows that kept them in ``~/.cache``, too: they are
    rendered anew once.
    """
    return _folder(CACHE_VARIABLE, lambda: platformdirs.user_cache_dir(_APPLICATION, appauthor=False))


def config_folder() -> Path | None:
    """Where settings are kept; it may not exist yet. None for a user who has no home."""
    return _folder(CONFIG_VARIABLE, lambda: platformdirs.user_config_dir(_APPLICATION, appauthor=False))


def _folder(variable: str, find: Callable[[], str]) -> Path | None:
    if own := os.environ.get(variable):
        return Path(own)
    try:
        folder = Path(find())
    except RuntimeError:  # there is no home, say some versions of platformdirs; others leave a "~"
        return None
    return folder if folder.is_absolute() else None
