"""What every reader returns: images with exact cameras, in a box.

Readers (``blender.py``, ``builtin.py``) make these; trainer, evaluation and viewer only read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from taichi_rf.core import memory
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool
from taichi_rf.core.pixels import over
from taichi_rf.kernels.rays import Cameras
from taichi_rf.kernels.spaces import BOX, Space
from taichi_rf.storage.placement import UNMOVED, Placement

Depths = npt.NDArray[np.float32] | Sequence[npt.NDArray[np.float32]]
"""(N, H, W), or N images (H, W) where they are of several sizes."""
Progress = Callable[[int, int], None]
"""Called with (images done, images in all) while a scene loads."""

BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}
MIN_TRAIN_VIEWS = 2  # from one image alone nothing says how far anything is


@dataclass(frozen=True)
class Split:
    """N posed images; N may be 0, and each may be of another size.

    ``pixels`` are RGBA in [0, 1] with the colour already multiplied by alpha (premultiplied), so that averages of
    pixels are right. ``depths`` are N images (H, W) float32 or None: distance along the view axis (z-depth) in world
    units, 0 where there is none. ``names`` are for people: the image files, or what a scene calls its views.

    Raises:
        ValueError: the shapes do not agree.
    """

    pixels: PixelPool
    cameras: Cameras
    names: tuple[str, ...]
    depths: Depths | None = None

    def __post_init__(self) -> None:
        count, cameras = len(self.cameras), self.cameras
        sizes = np.stack([cameras.heights, cameras.widths], axis=1)
        found = np.stack([self.pixels.heights, self.pixels.widths], axis=1)
        if found.shape != sizes.shape or (found != sizes).any():
            raise ValueError(f"images of {sizes.tolist()} rows and columns are expected; got {found.tolist()}")
        if len(self.names) != count:
            raise ValueError(f"{count} images have as many names; got {len(self.names)}")
        if self.depths is None:
            return
        if len(self.depths) != count:
            raise ValueError(f"{count} images have as many depth images; got {len(self.depths)}")
        for depth, size in zip(self.depths, sizes, strict=True):
            if depth.shape != tuple(size) or depth.dtype != np.float32:
                raise ValueError(f"depths are {tuple(size)} float32; got {depth.shape} {depth.dtype}")

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def images(self) -> npt.NDArray[np.float16]:
        """Images of one size as one array (N, H, W, 4), which is a copy unless they are kept so.

        Raises:
            ValueError: they are of several sizes.
        """
        if not len(self):
            return np.zeros((0, 1, 1, 4), np.float16)
        if np.ptp(self.cameras.widths) or np.ptp(self.cameras.heights):
            raise ValueError("images of several sizes are no one array; see pixels")
        stored = self.pixels.stored
        if isinstance(stored, np.ndarray) and stored.dtype == np.float16:
            return stored.reshape(len(self), *self.pixels[0].shape).astype(np.float16, copy=False)
        return np.stack([self.pixels[index] for index in range(len(self))])

    def composite(self, index: int, background: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Image ``index`` over ``background`` (3,): (H, W, 3) float32.

        Args:
            index: of the view, from 0.
            background: (3,) in [0, 1].
        """
        return over(self.pixels[index].astype(np.float32), background)


@dataclass(frozen=True)
class Scene:
    """A name, what to learn from (``train``), what to judge by (``test``, may be empty), and where it all lies.

    ``box`` is (2, 3) float32: the corners, in world units, between which the object is. Rays are worth following from
    ``near`` to ``far``. ``source`` is the folder the scene came from, or ``builtin:NAME``.

    Raises:
        ValueError: the box is not (2, 3) with min below max, or not 0 <= near < far.
    """

    name: str
    train: Split
    test: Split
    box: npt.NDArray[np.float32]
    near: float
    far: float
    background: tuple[float, float, float]
    source: str
    warnings: tuple[str, ...] = field(default=(), kw_only=True)
    """What the person should know about how it was read, in sentences. Readers print nothing: whoever loads it does."""
    space: Space = field(default=BOX, kw_only=True)
    """How the world lies in the box of a field."""
    field_box: npt.NDArray[np.float32] | None = field(default=None, kw_only=True)
    """(2, 3) of a field, in the coordinates of a space that is no box."""
    format: str = field(default="", kw_only=True)
    """What it was read as, in words."""
    points: npt.NDArray[np.float32] | None = field(default=None, kw_only=True)
    """(m, 3) sparse points in world units, where the scene came with some."""
    reprojection_error: float | None = field(default=None, kw_only=True)
    """Mean distance in pixels, of the images that the points were found in, between where they were found and where the
    cameras show them."""
    downscale: int = field(default=1, kw_only=True)
    """How many pixels a side were averaged into one."""
    placement: Placement = field(default=UNMOVED, kw_only=True)
    """How the world of the files was turned, moved and scaled."""
    shows: ClassVar[str] = "photograph"
    """What its pictures are."""

    def __post_init__(self) -> None:
        if self.box.shape != (2, 3) or not (self.box[0] < self.box[1]).all():
            raise ValueError(f"a box is (2, 3), its min row below its max row; got {self.box!r}")
        if not 0 <= self.near < self.far:
            raise ValueError(f"near and far are 0 <= near < far; got {self.near} and {self.far}")
        if len(self.background) != 3:
            raise ValueError(f"a background is three numbers; got {self.background!r}")

    def describe(self) -> str:
        """What it holds, in a line."""
        return (
            f"{self.name}: {len(self.train)} training and {len(self.test)} test views of "
            f"{sizes_in_words(self.train.cameras)}"
        )


def empty_split() -> Split:
    """A split of no views, for a scene that holds nothing back."""
    cameras = Cameras(np.zeros((0, 3, 4), np.float32), np.zeros((0, 4), np.float32), 1, 1)
    return Split(PixelPool(np.zeros((0, 4), np.float16), (), ()), cameras, ())


def sizes_in_words(cameras: Cameras) -> str:
    """How large the images of ``cameras`` are."""
    sizes = sorted({(int(w), int(h)) for w, h in zip(cameras.widths, cameras.heights, strict=True)})
    across, down = (
        f"{min(sides)}" if min(sides) == max(sides) else f"{min(sides)} to {max(sides)}"
        for sides in zip(*sizes, strict=True)
    )
    return f"{across} x {down} pixels"


def background_colour(name: str) -> tuple[float, float, float]:
    """White or black as three numbers. Raises UserError for any other name."""
    if name not in BACKGROUNDS:
        raise UserError(f"unknown background '{name}': choose one of {', '.join(BACKGROUNDS)}")
    return BACKGROUNDS[name]


def spread(count: int, wanted: int | None) -> list[int]:
    """``wanted`` of the indices 0..count-1, evenly spread and always with the first and the last; all for None."""
    if wanted is None or wanted >= count:
        return list(range(count))
    return [int(index) for index in np.round(np.linspace(0, count - 1, wanted))]


def pick_views(where: str, count: int, views: int | None) -> list[int]:
    """The training views to use of ``count``: all, or ``views`` of them evenly spread. Raises UserError if too few."""
    if views is not None and views < MIN_TRAIN_VIEWS:
        raise UserError(f"--views {views} is too few: training needs at least {MIN_TRAIN_VIEWS} views")
    if count < MIN_TRAIN_VIEWS:
        raise UserError(
            f"{where}: only {count} training image{'s' * (count != 1)}; a radiance field needs at least "
            f"{MIN_TRAIN_VIEWS}, from different places (dozens are better)"
        )
    if views is not None and views > count:
        raise UserError(f"--views {views} is more than {where} has: it has {count} training views")
    return spread(count, views)


def check_memory(what: str, needed: int) -> None:
    """Raise UserError when ``needed`` bytes for ``what`` are more than this machine has free; unknown passes."""
    memory.check_memory(what, needed, "make it smaller with --downscale or --views")
