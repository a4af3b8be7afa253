"""Built-in scenes: rendered by ourselves from analytic geometry, with exact poses and depth, so nothing is downloaded.

A rendered scene is kept in a folder of the user's (:func:`taichi_rf.core.user_folders.cache_folder`). What is broken
there is rendered again; where the folder cannot be written, or the user has no home, nothing is kept.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenes.base import (
    MIN_TRAIN_VIEWS,
    Progress,
    Scene,
    Split,
    background_colour,
    check_memory,
    empty_split,
    spread,
)
from scenes.files.shrinking import smaller_size
from scenes.framing import HALF_BOX
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.core.user_folders import cache_folder
from taichi_rf.kernels.rays import Cameras, look_at

NEAR, FAR = 2.0, 6.0  # their cameras stand 4 from the centre, and nothing is farther than 2 from that
NAMES = ("lantern", "orrery", "rotunda")
BASE_SIZE = 400  # pixels a side at --downscale 1
MIN_SIZE = 16
TRAIN_VIEWS, TEST_VIEWS, MAX_VIEWS = 100, 20, 1000
DISTANCE = 4.0  # of every camera from the centre
ANGLE_OF_VIEW = 0.6911112  # radians across, as in NeRF-synthetic
LOWEST, HIGHEST = -0.05, 0.96  # sines of the training cameras' elevations
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
CACHE_VERSION = 1  # raise it whenever what is rendered changes
STALE_SECONDS = 3600
Step = Callable[[], None]
FILES = ("shapes", "tracer")  # sources, besides the scene's own, that decide what is rendered


class NotRendered(UserError):
    """A built-in scene is not in the cache, and was not to be rendered: that takes Taichi, and so the main thread."""


def load(
    name: str,
    *,
    downscale: int = 1,
    views: int | None = None,
    background: str = "white",
    max_test_views: int | None = None,
    progress: Progress | None = None,
    render: bool = True,
) -> Scene:
    """The built-in scene ``name``, from the cache or rendered now.

    Images have 400 / ``downscale`` pixels a side. ``views`` training cameras (100 unless told) are spread evenly over
    the upper half of a sphere; the 20 test cameras go once round it, up and down. Depths are exact at pixel centres.

    Raises:
        UserError: there is no such scene, or the numbers are out of range.
        NotRendered: it is not in the cache, and with ``render`` False nothing else will do.
    """
    if name not in NAMES:
        raise UserError(f"there is no built-in scene '{name}'; there are: {', '.join(NAMES)}")
    colour = background_colour(background)
    size, _ = smaller_size(BASE_SIZE, BASE_SIZE, downscale)
    if downscale < 1 or size < MIN_SIZE:
        raise UserError(f"--downscale {downscale}: 1 to {BASE_SIZE // MIN_SIZE} is expected for a built-in scene")
    if views is not None and not MIN_TRAIN_VIEWS <= views <= MAX_VIEWS:
        raise UserError(f"--views {views}: {MIN_TRAIN_VIEWS} to {MAX_VIEWS} is expected for a built-in scene")
    train_poses = _train_poses(views or TRAIN_VIEWS)
    test_poses = _test_poses()[spread(TEST_VIEWS, max_test_views)] if max_test_views != 0 else np.zeros((0, 3, 4))
    total = len(train_poses) + len(test_poses)
    check_memory(f"built-in scene '{name}'", total * size * size * 12)

    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    train = _split(name, "train", train_poses, size, step, render)
    test = _split(name, "test", test_poses, size, step, render)
    box = np.array([[-HALF_BOX] * 3, [HALF_BOX] * 3], np.float32)
    return Scene(name, train, test, box, NEAR, FAR, colour, f"builtin:{name}", downscale=downscale)


def _train_poses(count: int) -> npt.NDArray[np.float32]:
    """``count`` cameras evenly over the upper half of a sphere: a golden-angle spiral from horizon to zenith."""
    order = np.arange(count, dtype=np.float64)
    return _orbit(order * GOLDEN_ANGLE, LOWEST + (HIGHEST - LOWEST) * (order + 0.5) / count)


def _test_poses() -> npt.NDArray[np.float32]:
    """Once round, up and down three times: between the training cameras, and a camera path worth watching."""
    turn = 2 * math.pi * (np.arange(TEST_VIEWS) + 0.5) / TEST_VIEWS
    return _orbit(turn, 0.42 + 0.3 * np.sin(3 * turn))


def _orbit(azimuth: npt.NDArray[np.float64], height: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(N, 3, 4) poses at DISTANCE from the origin, looking at it; ``height`` is the sine of the elevation."""
    flat = np.sqrt(1 - height**2)
    eyes = DISTANCE * np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], axis=1)
    return np.stack([look_at(eye, (0, 0, 0), (0, 0, 1)) for eye in eyes])


def _split(name: str, split: str, poses: npt.NDArray[np.floating], size: int, step: Step, render: bool) -> Split:
    """The views from ``poses``, out of the cache where it has them; calls ``step`` after each view."""
    if not len(poses):
        return empty_split()
    focal = size / 2 / math.tan(ANGLE_OF_VIEW / 2)
    intrinsics = np.tile(np.array([focal, focal, size / 2, size / 2], np.float32), (len(poses), 1))
    cameras = Cameras(poses.astype(np.float32), intrinsics, size, size)
    path = _cache_path(name, split, cameras)
    cached = None if path is None else _read_cache(path, cameras)
    if cached is None and not render:
        raise NotRendered(f"the built-in scene '{name}' has not been rendered at this size yet")
    if cached is None:
        images, depths = _render(name, cameras, step)
        if path is not None:
            _write_cache(path, images, depths)
    else:
        images, depths = cached
        for _ in range(len(cameras)):
            step()
    return Split(PixelPool.of(images), cameras, tuple(f"{split} {index}" for index in range(len(cameras))), depths)


def _render(name: str, cameras: Cameras, step: Step) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
    from scenes.builtin.tracer import make_renderer  # here, so that a cached scene needs no Taichi
    from taichi_rf.core import backend

    backend.current()
    render = make_renderer(importlib.import_module(f"scenes.builtin.{name}").MODEL)
    images = np.empty((len(cameras), cameras[0].height, cameras[0].width, 4), np.float16)
    depths = np.empty((len(cameras), cameras[0].height, cameras[0].width), np.float32)
    for index, camera in enumerate(cameras):
        images[index], depths[index] = render(camera)
        step()
    return images, depths


def _cache_path(name: str, split: str, cameras: Cameras) -> Path | None:
    """A name that changes with whatever the pictures depend on: the cameras, and the code that draws the scene. None
    where nothing is kept."""
    folder = cache_folder()
    if folder is None:
        return None
    content = hashlib.sha256()
    for array in (cameras.poses, cameras.intrinsics):
        content.update(array.tobytes())
    for module in (*FILES, name):
        content.update((Path(__file__).parent / f"{module}.py").read_bytes())
    title = f"{name}-{split}-{len(cameras)}x{cameras[0].width}-v{CACHE_VERSION}-{content.hexdigest()[:16]}.npz"
    return folder / title


def _read_cache(path: Path, cameras: Cameras) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]] | None:
    """The images and depths in ``path``, or None when they are not there, not whole or not what is wanted."""
    shape = (len(cameras), cameras[0].height, cameras[0].width)
    try:
        with np.load(path, allow_pickle=False) as archive:  # zip members carry checksums
            images, depths = archive["images"], archive["depths"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError):
        return None
    if images.shape != (*shape, 4) or images.dtype != np.float16 or depths.shape != shape or depths.dtype != np.float32:
        return None
    return images, depths


def _write_cache(path: Path, images: npt.NDArray[np.float16], depths: npt.NDArray[np.float32]) -> None:
    """Write beside the final name, then rename: an interrupted write leaves nothing that looks whole."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob("*.part"):  # of a process that was killed long ago
            if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink()
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, images=images, depths=depths)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:  # full, read-only, or a file where the folder should be: no cache then
        pass
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
