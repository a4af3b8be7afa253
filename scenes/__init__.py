"""Scenes: posed images to learn from, read from a folder or rendered by ourselves; or a mesh to fit.

:func:`load` takes a folder, the name of a built-in scene or a mesh file, and returns a :class:`Scene`.
"""

from scenes.base import Progress, Scene, Split
from scenes.builtin.registry import NotRendered
from scenes.readers.photographs import LOADING
from scenes.registry import builtin_names, check_world, find, is_mesh, is_scene, load

__all__ = [
    "LOADING",
    "NotRendered",
    "Progress",
    "Scene",
    "Split",
    "builtin_names",
    "check_world",
    "find",
    "is_mesh",
    "is_scene",
    "load",
]
