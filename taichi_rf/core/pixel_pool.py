"""Pixels of many images, which may be of different sizes: packed one image after the other, row by row."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from taichi_rf.core.pixel_file import PixelFile

Half = npt.NDArray[np.float16]
Single = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

VALUES = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(np.float16)
"""(256,) what a byte of an image is worth, in half precision."""


class PixelPool:
    """The pixels of N images, premultiplied RGBA in [0, 1].

    Args:
        stored: (pixels of all images, 4) float16, premultiplied RGBA; or (pixels of all images, 3) uint8, RGB of images
            that are opaque. As an array, or in a file.
        widths, heights: (N,) of the images, in pixels.

    Raises:
        ValueError: the shapes do not agree.
    """

    def __init__(
        self, stored: npt.NDArray[np.generic] | PixelFile, widths: npt.ArrayLike, heights: npt.ArrayLike
    ) -> None:
        self.stored = stored
        self.widths, self.heights = np.asarray(widths, np.int64), np.asarray(heights, np.int64)
        if (stored.dtype, stored.shape[1:]) not in ((np.dtype(np.float16), (4,)), (np.dtype(np.uint8), (3,))):
            raise ValueError(f"pixels are (n, 4) float16 or (n, 3) uint8; got {stored.shape} {stored.dtype}")
        if len(stored) != self.total:
            raise ValueError(f"the images have {self.total} pixels; got {len(stored)}")

    @classmethod
    def of(cls, images: Half) -> PixelPool:
        """Images of one size, (N, H, W, 4) float16, which are not copied.

        Raises:
            ValueError: they are something else.
        """
        if images.ndim != 4:
            raise ValueError(f"images are (N, H, W, 4) float16; got {images.shape} {images.dtype}")
        count, height, width, channels = images.shape
        return cls(images.reshape(-1, channels), np.full(count, width), np.full(count, height))

    def __len__(self) -> int:
        return len(self.widths)

    @cached_property
    def offsets(self) -> Indices:
        """(N + 1,) where each image begins, and the number of all pixels."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.widths * self.heights)])

    @property
    def total(self) -> int:
        """Pixels of all images."""
        return int(self.offsets[-1])

    @property
    def opaque(self) -> bool:
        """Whether all images are known to be opaque without a look at them."""
        return self.stored.dtype == np.uint8

    def raw(self, index: int) -> npt.NDArray[np.generic]:
        """Image ``index`` as it is stored, (H, W, 4) float16 or (H, W, 3) uint8."""
        first, end = self.offsets[index], self.offsets[index + 1]
        return self.stored[first:end].reshape(int(self.heights[index]), int(self.widths[index]), -1)

    def __getitem__(self, index: int) -> Half:
        """Image ``index``, (H, W, 4)."""
        return _worth(self.raw(index))

    def blank(self, index: int) -> npt.NDArray[np.generic]:
        """Room for image ``index`` as it is stored, to be filled and given to :meth:`put`."""
        if isinstance(self.stored, PixelFile):
            shape = int(self.heights[index]), int(self.widths[index]), self.stored.shape[1]
            return np.empty(shape, self.stored.dtype)
        return self.raw(index)

    def put(self, index: int, image: npt.NDArray[np.generic]) -> None:
        """Keep image ``index``, which :meth:`blank` gave the room for. Any thread may."""
        if isinstance(self.stored, PixelFile):
            self.stored.write(int(self.offsets[index]), image.reshape(-1, image.shape[-1]))

    def alpha(self, index: int) -> Half:
        """The alpha of image ``index``, (H, W)."""
        if self.opaque:
            return np.broadcast_to(np.float16(1), (int(self.heights[index]), int(self.widths[index])))
        return self.raw(index)[..., 3].astype(np.float16, copy=False)

    def alpha_range(self, index: int) -> tuple[float, float]:
        """The least and the largest alpha of image ``index``."""
        if self.opaque:
            return 1.0, 1.0
        # Half precision that is not negative is in the order of its bits, which are quicker to compare.
        bits = self.alpha(index).view(np.uint16)
        return float(bits.min().view(np.float16)), float(bits.max().view(np.float16))

    def take(self, pixels: Indices) -> Single:
        """The pixels with the numbers ``pixels`` (n,), (n, 4)."""
        return _worth(self.stored[pixels]).astype(np.float32)

    def thinned(self, index: int, step: int) -> Half:
        """Every ``step``-th pixel of every ``step``-th row of image ``index``."""
        if not isinstance(self.stored, PixelFile):
            return _worth(self.raw(index)[::step, ::step])
        rows, columns = np.arange(0, self.heights[index], step), np.arange(0, self.widths[index], step)
        numbers = self.offsets[index] + rows[:, None] * self.widths[index] + columns
        return _worth(self.stored[numbers.reshape(-1)]).reshape(len(rows), len(columns), 4)


def _worth(stored: npt.NDArray[np.generic]) -> Half:
    """(..., 4) of what is stored."""
    if stored.dtype == np.float16:
        return stored  # type: ignore[return-value]
    found = np.ones((*stored.shape[:-1], 4), np.float16)
    found[..., :3] = VALUES[stored]
    return found
