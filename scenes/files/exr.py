"""OpenEXR images: linear light as floating point, made what a screen shows; and depth images of the same kind.

The header is parsed here, so that what a file asks for is judged before a decoder sees it; pixels are decoded by
OpenEXR's own library, the extra ``exr``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scenes.files.values import bounded
from taichi_rf.core.errors import UserError

MAGIC = b"v/1\x01"
MAX_HEADER = 1 << 16
"""Bytes; headers of renderers have some hundred."""
MAX_ATTRIBUTES, MAX_CHANNELS, MAX_SIDE = 512, 64, 16384
BYTES_OF = {0: 4, 1: 2, 2: 4}
"""Of a channel's pixels by their type: whole numbers, half and single precision."""
OTHER_KINDS = {0x800: "deep", 0x1000: "of several parts"}
INSTALL = "pip install 'taichi-rf[exr]'"
LINEAR_PART = 0.0031308
"""Below which sRGB's curve is a line (IEC 61966-2-1)."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ExrHeader:
    """What the header says: the size, and the channels with the bytes that a pixel takes in each."""

    width: int
    height: int
    channels: dict[str, int]

    @property
    def decoding(self) -> int:
        """Bytes that decoding takes at most: all channels, and what the library unpacks at once."""
        return self.width * self.height * sum(self.channels.values()) * 5 // 4


def is_exr(path: Path) -> bool:
    """Whether the file begins as OpenEXR files do."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def exr_header(path: Path, where: str) -> ExrHeader:
    """What the header of ``path`` says; ``where`` (file, frame, key) opens every error message.

    Raises:
        UserError: it is broken, or of a kind that is not read.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_HEADER)
    try:
        flags = struct.unpack_from("<I", data, 4)[0]
        for bit, kind in OTHER_KINDS.items():
            if flags & bit:
                raise UserError(f"{where}: '{bounded(path)}' is an OpenEXR image that is {kind}, which is not read")
        attributes = _attributes(data)
        left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
        if attributes.get("displayWindow", attributes["dataWindow"]) != attributes["dataWindow"]:
            raise UserError(f"{where}: '{bounded(path)}' holds a part of its picture alone: save the whole of it")
        channels = _channels(attributes["channels"])
    except (struct.error, KeyError, ValueError, IndexError) as error:
        raise UserError(f"{where}: '{bounded(path)}' is an OpenEXR image that is broken ({bounded(error)})") from error
    width, height = right - left + 1, bottom - top + 1
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise UserError(f"{where}: '{bounded(path)}' is {width} x {height} pixels; up to {MAX_SIDE} a side are read")
    return ExrHeader(width, height, channels)


def exr_colour(path: Path, header: ExrHeader, where: str, *, straight: bool = False) -> Callable[[int, int], Array]:
    """A function that reads rows of a picture as (rows, columns, 4) RGBA in [0, 1], premultiplied, as a screen shows
    it: linear light is brought to sRGB's curve and clipped to what white is.

    Args:
        straight: colours are not multiplied by alpha in the file, as OpenEXR's standard has it.

    Raises:
        UserError: it is broken, has no colours, or OpenEXR is not installed.
    """
    names = ("R", "G", "B") if {"R", "G", "B"} <= header.channels.keys() else ("Y", "Y", "Y")
    if names[0] not in header.channels:
        raise UserError(
            f"{where}: '{bounded(path)}' has the channels {bounded(', '.join(header.channels))}; R, G and B, or Y, "
            "are expected"
        )
    arrays = _pixels(path, header, where)
    alphas = arrays.get("A")

    def read(first: int, end: int) -> Array:
        colour = np.stack([arrays[name][first:end].astype(np.float32) for name in names], axis=-1)
        alpha = np.ones((*colour.shape[:2], 1), np.float32)
        if alphas is not None:
            alpha = np.clip(np.nan_to_num(alphas[first:end, :, None].astype(np.float32)), 0, 1)
            if not straight:
                colour = np.divide(colour, alpha, out=np.zeros_like(colour), where=alpha > 0)
        return np.concatenate([srgb(colour) * alpha, alpha], axis=-1)

    return read


def exr_depth(path: Path, header: ExrHeader, where: str) -> Array:
    """The (height, width) numbers of a depth image: its channel Z, R or Y, or the only one.

    Raises:
        UserError: it is broken, has no such channel, or OpenEXR is not installed.
    """
    names = [name for name in ("Z", "R", "Y", *header.channels) if name in header.channels]
    if not names or (len(header.channels) > 1 and names[0] not in ("Z", "R", "Y")):
        raise UserError(f"{where}: '{bounded(path)}' has no channel Z, R or Y, so it is no depth image")
    return _pixels(path, header, where)[names[0]]


def srgb(light: Array) -> Array:
    """Linear light, of any shape, as sRGB has it (IEC 61966-2-1), clipped to [0, 1]; what is no number becomes 0."""
    light = np.clip(np.nan_to_num(light, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    bright = 1.055 * np.maximum(light, LINEAR_PART) ** (1 / 2.4) - 0.055
    return np.where(light <= LINEAR_PART, 12.92 * light, bright).astype(np.float32)


def _pixels(path: Path, header: ExrHeader, where: str) -> dict[str, Array]:
    """All channels, (height, width) each."""
    try:
        import OpenEXR  # the optional extra 'exr'
    except ImportError as error:
        raise UserError(f"{where}: '{bounded(path)}' is an OpenEXR image; to read those: {INSTALL}") from error
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            found = {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}
    except MemoryError:
        raise
    except Exception as error:  # the library raises anything on broken files
        raise UserError(
            f"{where}: '{bounded(path)}' is an OpenEXR image that is broken or truncated ({bounded(error)})"
        ) from error
    if (
        any(array.shape != (header.height, header.width) for array in found.values())
        or found.keys() != header.channels.keys()
    ):
        raise UserError(f"{where}: '{bounded(path)}' changed while it was read")
    return found


def _attributes(data: bytes) -> dict[str, bytes]:
    """The header's attributes by their names. ValueError, IndexError or struct.error where it is broken."""
    found: dict[str, bytes] = {}
    at = 8
    while data[at] != 0:
        if len(found) >= MAX_ATTRIBUTES:
            raise ValueError(f"more than {MAX_ATTRIBUTES} attributes")
        name, at = _text(data, at)
        _, at = _text(data, at)
        size = struct.unpack_from("<i", data, at)[0]
        at += 4
        if not 0 <= size <= len(data) - at:
            raise ValueError(f"the attribute '{name}' ends beyond the header")
        found[name] = data[at : at + size]
        at += size
    return found


def _channels(data: bytes) -> dict[str, int]:
    """The bytes a pixel takes in each channel by its name."""
    found: dict[str, int] = {}
    at = 0
    while data[at] != 0:
        if len(found) >= MAX_CHANNELS:
            raise ValueError(f"more than {MAX_CHANNELS} channels")
        name, at = _text(data, at)
        kind, _, across, down = struct.unpack_from("<iIii", data, at)
        at += 16
        if kind not in BYTES_OF or (across, down) != (1, 1):
            raise ValueError(f"the channel '{name}' is of an unknown type, or has fewer pixels than the image")
        found[name] = BYTES_OF[kind]
    if not found:
        raise ValueError("no channels")
    return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A text that ends with a zero, and where the next thing begins."""
    end = data.index(b"\0", at)
    return data[at:end].decode("latin-1"), end + 1
