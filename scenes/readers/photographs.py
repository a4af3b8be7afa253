"""Photographs without poses, in a folder or a video: posed by COLMAP, and then read as one of its models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scenes.base import Scene
from scenes.files.colmap_files import ColmapModel, read_model
from scenes.files.locate import Finder
from scenes.files.values import Notes, bounded
from scenes.posing import posed, video
from scenes.readers import colmap
from scenes.readers.assembling import Options
from taichi_rf.core.errors import UserError

LOADING = "loading images"
"""The stage after all others."""
MOST_NAMED = 9
"""Photographs that a report names."""


def recognises(path: Path) -> bool:
    """Whether ``path`` is a video or a folder of photographs; nothing is opened. It is the last format to be asked:
    what has poses has photographs, too."""
    return video.is_video(path) or bool(posed.photographs_in(path, posed.FEWEST)[1])


def load(path: Path, options: Options) -> Scene:
    """Pose the photographs in ``path``, unless that has been done, and read them; every eighth is to judge by.

    Raises:
        UserError: nothing could be placed, a photograph or the video is broken, or pycolmap is not installed.
    """
    source = posed.source_of(path)
    found, model = _model(source, options)
    if options.stage is not None:
        options.stage(LOADING)
    notes = Notes()
    if text := report(model, found.names, "frames" if source.video else "photographs"):
        notes.add("placed", text)
    finder = Finder(found.images, notes, follow_links=options.follow_links)
    kind = "a video" if source.video else "photographs"
    scene = colmap.scene_of(model, finder, options, notes, f"{kind}, posed by COLMAP", upright=True)
    return replace(scene, name=path.resolve().name, source=str(path.resolve()))


def report(model: ColmapModel, names: tuple[str, ...], what: str) -> str | None:
    """What there is to say of photographs that were not placed, None where all were.

    Args:
        names: of all photographs.
        what: they are called.
    """
    placed = {image.name for image in model.images}
    left = [name for name in names if name not in placed]
    if not left:
        return None
    named = ", ".join(bounded(name, 60) for name in left[:MOST_NAMED]) + (", ..." if len(left) > MOST_NAMED else "")
    which = "this one shares" if len(left) == 1 else f"these {len(left)} share"
    return (
        f"{len(placed)} of {len(names)} {what} could be placed and are used; {which} too little with the others: "
        f"{named}"
    )


def _model(source: posed.Source, options: Options) -> tuple[posed.Posed, ColmapModel]:
    """The model of ``source``; one in the cache that is damaged is made again."""
    for again in (False, True):
        found = posed.pose(
            source, follow_links=options.follow_links, progress=options.progress, stage=options.stage, again=again
        )
        try:
            return found, read_model(found.model)
        except UserError:
            if again:
                raise
    raise AssertionError
