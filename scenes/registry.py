"""What there is to load: a folder, a built-in scene or a mesh, and which reader reads it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from scenes.base import Progress, Scene, background_colour
from scenes.builtin import registry as builtin
from scenes.posing import posed, video
from scenes.readers import blender, colmap, llff, nerfstudio, nsvf, photographs, rtmv
from scenes.readers.assembling import Options, check_downscale
from scenes.solids import meshes
from taichi_rf.core.errors import UserError
from taichi_rf.storage.world import World

FORMATS: dict[str, Any] = {
    "blender": blender, "nerfstudio": nerfstudio, "colmap": colmap, "llff": llff, "nsvf": nsvf, "rtmv": rtmv,
    "photos": photographs,
}  # fmt: skip
"""Readers of folders (and of videos, as photographs) by the name of their format, in the order in which they are asked
whether they recognise one."""


def load(
    source: str,
    *,
    downscale: int | Literal["auto"] = 1,
    views: int | None = None,
    background: str = "white",
    max_test_views: int | None = None,
    progress: Progress | None = None,
    render: bool = True,
    depth: bool = True,
    follow_links: bool = False,
    announce: Callable[[int], None] | None = None,
    stage: Callable[[str], None] | None = None,
    world: World | None = None,
) -> Scene:
    """The scene in the folder ``source``, or the built-in scene of that name (``lantern`` or ``builtin:lantern``), or
    the mesh in the file ``source`` as a :class:`~scenes.solids.meshes.MeshScene`.

    Args:
        downscale: average this many pixels a side into one; ``auto`` for as few as fit the memory comfortably, of
            which ``Scene.downscale`` tells.
        views: how many training views to use, evenly spread over all; None for all.
        background: ``white`` or ``black``, behind what is transparent. Where photographs show all of space and nothing
            is transparent, it is their mean colour instead, which a ray that meets nothing is likely to have.
        max_test_views: how many test views to load, evenly spread; None for all, 0 for none.
        progress: called with (images done, images in all).
        render: whether a built-in scene that is not in the cache may be rendered, which needs Taichi's own thread; all
            else may be loaded in any thread.
        depth: read the depth images of a folder, if it has any; otherwise nothing about them matters.
        follow_links: read images to which links lead out of the folder.
        announce: called with the bytes of memory that reading the images of a folder will take at its peak, before any
            are taken.
        stage: called with what is being done, where that is something else than reading images: photographs are posed.
            ``progress`` then counts that.
        world: how a folder becomes a scene: its format, box, near and far, scale, and what is up; by default as its
            reader chooses.

    Raises:
        UserError: there is no such scene, or it is broken; the message says what was expected.
        NotRendered: a built-in scene would have to be rendered, and ``render`` is False.
    """
    auto, downscale = downscale == "auto", 1 if downscale == "auto" else downscale
    check_downscale(downscale)
    world = world or World()
    world.check()
    if max_test_views is not None and max_test_views < 0:
        raise UserError(f"{max_test_views} test views: 0 (none) or more is expected")
    found = find(source)
    check_world(found, world)
    name = found.removeprefix("builtin:")
    if name != found:
        return builtin.load(
            name,
            downscale=downscale,
            views=views,
            background=background,
            max_test_views=max_test_views,
            progress=progress,
            render=render,
        )
    if is_mesh(found):
        return meshes.load(
            found,
            downscale=downscale,
            views=views,
            background=background,
            max_test_views=max_test_views,
            progress=progress,
        )
    colour = background_colour(background)
    options = Options(
        downscale, views, max_test_views, colour, progress, announce, depth, follow_links, stage, world, auto
    )
    scene: Scene = FORMATS[world.format or format_of(found) or "blender"].load(Path(found), options)
    return scene


def check_world(found: str, world: World) -> None:
    """UserError where something is said of how a folder becomes a scene, and ``found`` (see :func:`find`) is none."""
    said = next(iter(world.said()), None)
    if said is not None and (found.startswith("builtin:") or is_mesh(found)):
        kind, name = ("mesh", found) if is_mesh(found) else ("built-in scene", found.removeprefix("builtin:"))
        raise UserError(f"--{said} goes with a folder; '{name}' is a {kind}")


def format_of(folder: str | Path) -> str | None:
    """The name of the format that ``folder`` looks like, None for none; nothing in it is opened."""
    try:
        return next((name for name, reader in FORMATS.items() if reader.recognises(Path(folder))), None)
    except (OSError, ValueError):  # a name too long, or with a zero byte in it
        return None


def find(source: str) -> str:
    """What :func:`load` would read: ``builtin:NAME``, or the absolute path of a folder or mesh. A folder goes before a
    name.

    Raises:
        UserError: there is no such scene; nothing has been read yet.
    """
    name = source.removeprefix("builtin:")
    if name in builtin_names() and not (name == source and is_scene(source)):
        return f"builtin:{name}"
    if is_scene(source):
        return os.path.abspath(source)
    raise UserError(_unknown(source, name, Path(source)))


def builtin_names() -> tuple[str, ...]:
    """The scenes that need no files."""
    return builtin.NAMES


def is_scene(folder: str | Path) -> bool:
    """Whether ``folder`` looks like a scene that :func:`load` reads, or is a mesh; nothing in it is opened."""
    return format_of(folder) is not None or is_mesh(folder)


def is_mesh(path: str | Path) -> bool:
    """Whether ``path`` is a file that is called like a mesh; it is not opened."""
    try:
        return Path(path).suffix.lower() in meshes.SUFFIXES and Path(path).is_file()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a zero byte in it
        return False


def _unknown(source: str, name: str, folder: Path) -> str:
    known = f"built-in scenes: {', '.join(builtin_names())}"
    formats = (
        f"'{blender.MARKER}' (NeRF-synthetic), '{nerfstudio.MARKER}' (instant-ngp, nerfstudio), a model of COLMAP's in "
        f"'sparse/0', '{llff.MARKER}' (LLFF), '{nsvf.MARKER}' with 'pose' and 'rgb' (NSVF), '{rtmv.FIRST}' (RTMV), or "
        f"{posed.FEWEST} photographs at least"
    )
    if _exists(folder) and folder.is_dir():
        return f"'{source}' is no scene that is known: a folder with {formats} is expected; {known}"
    if _exists(folder):
        return (
            f"'{source}' is a file, but no mesh ({', '.join(meshes.SUFFIXES)}) and no video "
            f"({', '.join(video.SUFFIXES)}); otherwise a folder with {formats} is expected, or one of the {known}"
        )
    close = difflib.get_close_matches(name[:100].lower(), builtin_names(), n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"there is no scene '{source[:200]}': {hint}a folder with {formats} is expected, or one of the {known}"
