"""What a model's file says about where it comes from: names and numbers for people, and nothing about a machine.

Files are passed on. So they name no place: the scene that a model was trained on is known by its content, see
:mod:`taichi_rf.storage.scene_identity`, and a built-in one by its name, which means the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from taichi_rf.core.plain_text import visible
from taichi_rf.storage.placement import KEY, UNMOVED

OF_THE_FILE = ("warnings", "prefix_bytes")
"""What a loaded model's metadata say of the file that it was read from, and no other file."""

LONGEST_TITLE = 100

_BUILTIN = re.compile(r"builtin:[a-z]+")


def is_builtin(source: Any) -> bool:
    """Whether ``source`` names a built-in scene, as opposed to a place on somebody's disk."""
    return isinstance(source, str) and _BUILTIN.fullmatch(source) is not None


def title(metadata: Mapping[str, Any], otherwise: str) -> str:
    """What to call a model's scene: the name in its file as one line that can be shown, of ``LONGEST_TITLE`` characters
    at most; ``otherwise`` where it has none."""
    name = metadata.get("scene")
    return (visible(name[:LONGEST_TITLE].strip()) if isinstance(name, str) else "") or otherwise


def origin(scene: Any) -> dict[str, Any]:
    """Which scene a model is trained on, for its metadata: its name, its content, how many views are learnt from, and
    how its world was turned, moved and scaled, where it was.

    Args:
        scene: as :class:`~taichi_rf.training.trainer.Trainer` takes it.
    """
    from taichi_rf.storage.scene_identity import content

    found = {"scene": scene.name, "content": content(scene), "views": len(scene.train.cameras)}
    placement = getattr(scene, "placement", UNMOVED)
    if not placement.unmoved:
        found[KEY] = placement.to_json()
    return found | ({"source": scene.source} if is_builtin(scene.source) else {})


def is_of(metadata: Mapping[str, Any], scene: Any) -> bool | None:
    """Whether ``scene``, loaded as for the training, is the one that a model with ``metadata`` was trained on; None
    where they do not say it. A built-in one goes by its name: another device renders its pictures a little otherwise.
    """
    from taichi_rf.storage.scene_identity import content

    if is_builtin(scene.source) and "source" in metadata:
        return bool(metadata["source"] == scene.source)
    return bool(metadata["content"] == content(scene)) if "content" in metadata else None


def passed_on(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """``metadata`` as they go into a file: without what the file they were read from was, and without the path that
    version 0.1.0 wrote as ``source``."""
    return {
        key: value
        for key, value in metadata.items()
        if key not in OF_THE_FILE and (key != "source" or is_builtin(value))
    }
