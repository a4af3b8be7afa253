"""From a folder of photographs or a video to a model of COLMAP's: found in the cache, or made now."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scenes.base import Progress
from scenes.files.images import read_header
from scenes.files.locate import Finder
from scenes.files.values import Notes, bounded
from scenes.posing import cache, process, video
from scenes.posing.cameras import CameraGuess, guess_camera
from scenes.posing.job import Job, Photograph
from scenes.posing.pairs import pairs_to_match
from taichi_rf.core.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif")
FOLDERS = (".", "images", "input")
"""Where photographs lie in a folder."""
FEWEST = 3
"""Photographs: with two, nothing says whether what was found is right."""
MOST = 5000
"""Photographs."""
MODEL, FRAMES = "sparse/0", "images"
"""In an entry of the cache: the model, and the frames of a video."""
ADVICE = (
    "photographs need texture, two thirds in common with the next, and a place of their own each (walk around, do not "
    "turn on the spot)"
)

Stage = Callable[[str], None]
"""Called with what is being done now."""


@dataclass(frozen=True)
class Posed:
    """Where the model of some photographs is, the folder that these lie in, and the names of all, placed or not."""

    model: Path
    images: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What is to be posed: photographs in ``images``, or the ``video``, of which ``images`` are the frames once they
    have been chosen."""

    images: Path
    names: tuple[str, ...] = ()
    video: Path | None = None

    @property
    def home(self) -> Path:
        """The folder beside whose content poses are kept."""
        return self.images if self.video is None else self.video.parent

    def key(self) -> str:
        """The name of its entry in the cache. UserError where it cannot be read."""
        if self.video is not None:
            return cache.key_of([self.video], video.FRAMES)
        return cache.key_of([self.images / name for name in self.names])


def photographs_in(folder: Path, most: int | None = None) -> tuple[Path, list[str]]:
    """The folder with photographs in or below ``folder``, and the names of these in order, at most ``most``; nothing is
    opened. With fewer than :data:`FEWEST`, none."""
    for name in FOLDERS:
        found: list[str] = []
        try:
            with os.scandir(folder / name) as entries:
                for entry in entries:
                    if Path(entry.name).suffix.lower() in SUFFIXES and entry.name[0] != "." and entry.is_file():
                        found.append(entry.name)
                        if len(found) == most:
                            break
        except (OSError, ValueError):
            continue
        if len(found) >= FEWEST:
            return folder / name, sorted(found)
    return folder, []


def source_of(path: Path) -> Source:
    """What there is to pose in ``path``, a folder or a video.

    Raises:
        UserError: too few photographs, or too many.
    """
    if video.is_video(path):
        return Source(path.parent, video=path)
    folder, names = photographs_in(path, MOST + 1)
    if not names:
        raise UserError(f"'{path}' holds too few photographs: at least {FEWEST} are needed, and dozens are better")
    if len(names) > MOST:
        raise UserError(f"'{folder}' holds more than {MOST} photographs: that many are not posed here")
    if unreadable := [name for name in names if bounded(name, len(name)) != name]:
        raise UserError(f"'{folder}': the name '{bounded(unreadable[0])}' is no Unicode: rename it")
    return Source(folder, tuple(names))


def pose(
    source: Source, *, follow_links: bool, progress: Progress | None, stage: Stage | None, again: bool = False
) -> Posed:
    """The model of ``source``: from the cache, unless it is to be made ``again``.

    Args:
        follow_links: read photographs to which links lead out of the folder.
        progress: called with (done, in all) of each stage.
        stage: called with what is being done, before the first of its progress.

    Raises:
        UserError: nothing could be placed, a photograph or the video is broken, or something is not installed.
    """
    key = source.key()
    entry = cache.find(source.home, key)
    if entry is None or again:
        process.check_installed()
        with cache.new_entry(source.home, key) as made:
            _make(source, made, follow_links, progress, stage)
            entry = cache.keep(made, key)
    if source.video is not None:
        folder, names = photographs_in(entry / FRAMES)
        return Posed(entry / MODEL, folder, tuple(names))
    return Posed(entry / MODEL, source.images, source.names)


def _make(source: Source, made: Path, follow_links: bool, progress: Progress | None, stage: Stage | None) -> None:
    """Fill ``made`` with the model, and the frames of a video.

    Raises:
        UserError: as :func:`pose`.
    """
    if source.video is not None:
        (made / FRAMES).mkdir()
        files = video.write_frames(source.video, made / FRAMES, progress, stage)
        if len(files) < FEWEST:
            raise UserError(f"'{source.video}' has {len(files)} frames: at least {FEWEST} are needed")
        source = replace(source, images=made / FRAMES, names=tuple(path.name for path in files))
    work = made / "work"
    work.mkdir()
    photographs, cameras = _with_cameras(source, follow_links)
    pairs = pairs_to_match(len(photographs), in_order=source.video is not None)
    job = Job(tuple(photographs), tuple(cameras), tuple(pairs), str(made / MODEL))
    placed = process.run(job, work, progress, stage)
    if len(placed) < FEWEST:
        what = f"frames of '{source.video}'" if source.video is not None else f"photographs in '{source.images}'"
        raise UserError(f"none of the {len(photographs)} {what} could be placed: {ADVICE}")
    cache.remove(work)


def _with_cameras(source: Source, follow_links: bool) -> tuple[list[Photograph], list[CameraGuess]]:
    """The photographs, each with the number of its camera, and the cameras: those that are alike in size and EXIF data
    are one.

    Raises:
        UserError: one is no image, or a link leads out of the folder.
    """
    finder = Finder(source.images, Notes(), follow_links=follow_links)
    photographs: list[Photograph] = []
    cameras: dict[CameraGuess, int] = {}
    for name in source.names:
        where = f"'{source.images}', photograph '{bounded(name)}'"
        path = finder.find(name, "name", where)
        if path is None:
            raise UserError(f"{where}: it is there no more")
        header = read_header(path, where)
        guess = guess_camera(path, *header.size(header.orientation))
        photographs.append(Photograph(str(path), name, cameras.setdefault(guess, len(cameras))))
    return photographs, list(cameras)
