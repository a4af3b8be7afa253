"""Blends translucent pixels into a picture, fast enough for every frame.

A card changes seldom, the picture always. So a card's part of the sum is computed once, in whole numbers and in the
order of the picture's memory; a frame costs a multiplication and an addition for each pixel that is covered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom

_Order = tuple[bool, bool, bool]  # whether x runs slower than y in memory, and whether either runs backwards there
_WORD = np.dtype("<u4")  # four bytes as one number whose lowest is red


@dataclass(frozen=True)
class Overlay:
    """Pixels (h, w, 4) uint8, and where their top left corner goes in the picture."""

    x: int
    y: int
    pixels: Pixels
    _ready: dict[tuple[bool, _Order], tuple[np.ndarray, np.ndarray, np.ndarray]] = field(
        default_factory=dict, repr=False, compare=False
    )

    _laid: dict[_Order, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    _opaque: list[bool] = field(default_factory=list, repr=False, compare=False)

    @property
    def opaque(self) -> bool:
        """Whether it lets nothing through."""
        if not self._opaque:
            self._opaque.append(bool((self.pixels[..., 3] == 255).all()))
        return self._opaque[0]

    @property
    def box(self) -> Box:
        """What it covers: left, top, right and bottom, in pixels of the picture."""
        return self.x, self.y, self.x + self.pixels.shape[1], self.y + self.pixels.shape[0]

    def at(self, x: int, y: int) -> Overlay:
        """The same pixels in another place."""
        return self if (x, y) == (self.x, self.y) else replace(self, x=x, y=y)


def blend(picture: Pixels, overlays: Iterable[Overlay]) -> None:
    """Lay ``overlays`` over ``picture``, (H, W, 3) or (H, W, 4) uint8, in place, the first lowest.

    What reaches beyond the picture is cut off; a fourth channel stays as it is. Any layout in memory will do; pixels
    of four bytes, as windows have them, are the fastest, also when only three of the bytes are shown here.

    Args:
        picture: changed in place.
        overlays: each with its place; those further on cover those before.

    Raises:
        ValueError: the picture has another shape or type.
    """
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype != np.uint8:
        raise ValueError(f"a picture is (H, W, 3) or (H, W, 4) uint8, got {picture.shape} {picture.dtype}")
    words = _words(picture)
    for overlay in overlays:
        left, top, right, bottom = overlay.box
        across = slice(max(left, 0), min(right, picture.shape[1]))
        down = slice(max(top, 0), min(bottom, picture.shape[0]))
        if across.start >= across.stop or down.start >= down.stop:
            continue
        region = (picture[..., :3] if words is None else words)[down, across]
        order = _order_of(picture)
        if words is not None and overlay.opaque:
            part = slice(down.start - top, down.stop - top), slice(across.start - left, across.stop - left)
            _lay(_ordered(region, order), _ordered(_laid_words(overlay, order)[part], order))
            continue
        part = slice(down.start - top, down.stop - top), slice(across.start - left, across.stop - left)
        ready = tuple(_ordered(array[part], order) for array in _prepared(overlay, words is not None, order))
        (_mix_bytes if words is None else _mix_words)(_ordered(region, order), *ready)


def _lay(region: np.ndarray, colours: np.ndarray) -> None:
    """Replace whole pixels; their fourth byte stays as it is."""
    region &= 0xFF000000
    region |= colours


def _laid_words(overlay: Overlay, order: _Order) -> np.ndarray:
    """The colours of an overlay as words with nothing in the fourth byte, laid out in memory as the picture is."""
    if order not in overlay._laid:
        if len(overlay._laid) > 3:
            overlay._laid.clear()
        colours = overlay.pixels.astype(_WORD)
        overlay._laid[order] = _in_order(colours[..., 0] | colours[..., 1] << 8 | colours[..., 2] << 16, order)
    return overlay._laid[order]


def _mix_words(region: np.ndarray, rest: np.ndarray, red_blue: np.ndarray, green: np.ndarray) -> None:
    """Mix whole pixels: red and blue at once in two halves of a word, where a product of two bytes has room."""
    mixed = region & 0x00FF00FF
    mixed *= rest
    mixed += red_blue
    mixed >>= 8
    mixed &= 0x00FF00FF
    middle = region & 0x0000FF00
    middle >>= 8
    middle *= rest
    middle += green
    middle &= 0x0000FF00
    mixed |= middle
    np.bitwise_and(region, 0xFF000000, out=middle)
    mixed |= middle
    region[...] = mixed


def _mix_bytes(region: np.ndarray, rest: np.ndarray, colours: np.ndarray, _: np.ndarray) -> None:
    mixed = np.multiply(region, rest, dtype=np.uint16)
    mixed += colours
    mixed >>= 8
    np.copyto(region, mixed, casting="unsafe")


def _prepared(overlay: Overlay, words: bool, order: _Order) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What an overlay adds to each pixel, times 256, and the part of 256 that is left to the picture."""
    if (words, order) not in overlay._ready:
        if len(overlay._ready) > 3:  # windows and browsers have an order each; more come from pictures by the way
            overlay._ready.clear()
        colours = overlay.pixels.astype(np.uint32)
        opacity = colours[..., 3:]
        opacity = opacity + (opacity >> 7)  # 0 to 256, so that 255 covers and a shift divides
        rest, colours = 256 - opacity, colours[..., :3] * opacity + 128
        if words:
            made = [rest[..., 0], colours[..., 0] | colours[..., 2] << 16, colours[..., 1]]
            arrays = [_in_order(array.astype(_WORD), order) for array in made]
        else:
            made = [rest.repeat(3, axis=2), colours, colours[:0]]
            arrays = [_in_order(array.astype(np.uint16), order) for array in made]
        overlay._ready[words, order] = arrays[0], arrays[1], arrays[2]
    return overlay._ready[words, order]


def _words(picture: Pixels) -> np.ndarray | None:
    """The picture's pixels as one number each, (H, W), sharing its memory, or None where they have not four bytes."""
    down, across, channel = picture.strides
    if channel != 1 or down % 4 or across % 4 or not (down and across):
        return None
    if picture.shape[2] == 4:
        return picture.view(_WORD)[..., 0]
    owner: np.ndarray = picture
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    (_, end), (_, owned) = _bounds(picture), _bounds(owner)
    if end + 1 > owned:  # the last pixel's fourth byte would be somebody else's
        return None
    whole = np.lib.stride_tricks.as_strided(picture, (*picture.shape[:2], 4), picture.strides)
    return whole.view(_WORD)[..., 0]


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """The addresses of the first byte of an array and of the first behind it."""
    start = array.__array_interface__["data"][0]
    reaches = [(length - 1) * stride for length, stride in zip(array.shape, array.strides)]
    low = start + sum(min(reach, 0) for reach in reaches)
    return low, start + sum(max(reach, 0) for reach in reaches) + array.itemsize


def _order_of(picture: Pixels) -> _Order:
    down, across, _ = picture.strides
    return abs(down) < abs(across), down < 0, across < 0


def _ordered(array: np.ndarray, order: _Order) -> np.ndarray:
    """A view of (h, w, ...) whose axes run as memory does."""
    turned, up, back = order
    array = array[:: -1 if up else 1, :: -1 if back else 1]
    return array.swapaxes(0, 1) if turned else array


def _in_order(array: np.ndarray, order: _Order) -> np.ndarray:
    """The same (h, w, ...) array, laid out in memory as the picture is."""
    turned, up, back = order
    laid = np.ascontiguousarray(_ordered(array, order))
    laid = laid.swapaxes(0, 1) if turned else laid
    return laid[:: -1 if up else 1, :: -1 if back else 1]
