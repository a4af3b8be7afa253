"""Everything a camera sees, as numbers: colour with alpha, depth and normals, for other programs to work with.

Colours are those of the viewer to the bit; with alpha, over the model's own background they are the same again. Depth
is measured along the view axis (z-depth, as scenes read it), in world units, of what stops half of the light or more;
normals are in the world's axes. As files: 8-bit PNG for colour, 16-bit PNG for depth and normals, or all of it in one
OpenEXR image a frame (the extra ``exr``).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, get_args

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write, replacing
from taichi_rf.kernels.pixel_rays import camera_rays
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.bands import quantise
from taichi_rf.motion.free_view import render_from_anywhere
from taichi_rf.rendering.ray_parts import in_parts

Layer = Literal["colour", "depth", "normals"]
LAYERS: tuple[Layer, ...] = get_args(Layer)

SOLID = 0.5
"""Opacity below which there is neither a depth nor a normal."""
BAND = 1 << 17
"""Rays that are rendered between two looks at the progress."""
STEPS = 65534
"""Of a 16-bit depth: 0 is none, and 65535 counts as none in other programs."""
INSTALL = "OpenEXR images are written by OpenEXR's library, which is not here: pip install 'taichi-rf[exr]'"
LINEAR_PART = 0.04045
"""Below which sRGB's curve is a line (IEC 61966-2-1)."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What a camera sees: ``colour`` (H, W, 3), or (H, W, 4) with alpha, by which it is not multiplied; ``depth`` (H,
    W), 0 where there is none; ``normals`` (H, W, 3) of unit length, 0 where there are none. None is not asked for."""

    colour: Floats | None
    depth: Floats | None
    normals: Floats | None


def see(
    model: Any,
    camera: Camera,
    layers: Sequence[Layer],
    *,
    level: int,
    alpha: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Seen:
    """Render some of :data:`LAYERS` of a model.

    Args:
        alpha: whether colours have it.
        progress: told how much is done, 0 to 1.
    """
    rows = max(1, BAND // camera.width)
    found: dict[str, list[Floats]] = {layer: [] for layer in layers}
    for first in range(0, camera.height, rows):
        part = replace(camera, cy=camera.cy - first, height=min(rows, camera.height - first))
        for layer in layers:
            if layer == "colour" and not alpha:
                found[layer].append(render_from_anywhere(model, part, level=level, mode="colour"))
            else:
                found[layer].append(_layer(model, part, layer, level))
        if progress is not None:
            progress((first + part.height) / camera.height)
    whole = {layer: np.concatenate(bands) for layer, bands in found.items()}
    return Seen(whole.get("colour"), whole.get("depth"), whole.get("normals"))


def _layer(model: Any, camera: Camera, layer: Layer, level: int) -> Floats:
    near, far = model.space.depth_range(model.box, camera.position)
    origins, directions = camera_rays(camera)
    renderer = model.renderer

    def colour(origins: Floats, directions: Floats, settings: Any) -> Floats:
        black = np.zeros(3, np.float32)
        colours = renderer.colours(origins, directions, settings, background=black)
        _, opacity = renderer.depths(origins, directions, settings)
        straight = colours / np.maximum(opacity, 1e-6)[:, None]
        return np.concatenate([np.clip(straight, 0, 1), opacity[:, None]], axis=1)

    def depth(origins: Floats, directions: Floats, settings: Any) -> Floats:
        distances, opacity = renderer.depths(origins, directions, settings)
        along = distances * (directions @ -camera.pose[:, 2])
        return np.where(opacity > SOLID, np.nan_to_num(along), 0).astype(np.float32)[:, None]

    def normals(origins: Floats, directions: Floats, settings: Any) -> Floats:
        found, opacity = renderer.normals(origins, directions, settings)
        return np.where(opacity[:, None] > SOLID, np.nan_to_num(found), 0).astype(np.float32)

    make = {"colour": colour, "depth": depth, "normals": normals}[layer]
    settings = model.settings(level, near=near, far=far)
    values = np.concatenate(in_parts(make, origins, directions, settings))
    shape = (camera.height, camera.width) if layer == "depth" else (camera.height, camera.width, -1)
    return np.nan_to_num(values).astype(np.float32).reshape(shape)


def farthest(cameras: Sequence[Camera], box: npt.ArrayLike) -> float:
    """The largest z-depth that anything in ``box`` (2, 3) of the world can have before one of the cameras."""
    low, high = np.asarray(box, np.float64)
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    depths = [((corners - camera.position) @ -camera.pose[:, 2].astype(np.float64)).max() for camera in cameras]
    return max(float(np.max(depths)), 1e-6)


# Files


def check_exr() -> None:
    """UserError where OpenEXR's library is not installed."""
    try:
        import OpenEXR  # noqa: F401
    except ImportError:
        raise UserError(INSTALL) from None


def save_colour(path: Path, colour: Floats) -> None:
    """Write colours (H, W, 3), or (H, W, 4) with alpha, as PNG of 8 bits. UserError where that cannot be."""
    with atomic_write(path) as file:
        iio.imwrite(file, quantise(colour), plugin="pillow", extension=".png")


def save_depth(path: Path, depth: Floats, unit: float) -> None:
    """Write depths (H, W) as grey PNG of 16 bits in steps of ``unit`` world units, 0 for none, as
    ``depth_unit_scale_factor`` says it to readers of scenes. UserError where that cannot be."""
    steps = np.where(depth > 0, np.clip(np.rint(depth / unit), 1, STEPS), 0).astype(np.uint16)
    with atomic_write(path) as file:
        write_png16(file, steps)


def save_normals(path: Path, normals: Floats) -> None:
    """Write normals (H, W, 3) as PNG of 16 bits: -1 to 1 as 0 to 65535, and 32768 throughout where there is none.
    UserError where that cannot be."""
    steps = np.clip(np.rint((normals + 1) * 32767.5), 0, 65535).astype(np.uint16)
    steps[~normals.any(axis=2)] = 32768
    with atomic_write(path) as file:
        write_png16(file, steps)


def write_png16(file: IO[bytes], values: npt.NDArray[np.uint16]) -> None:
    """Write (H, W) grey or (H, W, 3) colours as PNG of 16 bits, which pillow has for grey alone (PNG, 3rd edition).

    Every row is stored as differences from the one above, which suits smooth numbers.
    """
    height, width = values.shape[:2]
    big = np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(height, -1)
    up = big.copy()
    up[1:] -= big[:-1]
    rows = np.concatenate([np.full((height, 1), 2, np.uint8), up], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0)
    file.write(b"\x89PNG\r\n\x1a\n")
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")):
        file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def save_exr(path: Path, seen: Seen) -> None:
    """Write all that was seen as one OpenEXR image: R, G, B in linear light and A in half precision, multiplied by it
    as the format has it; Z in single; N.X, N.Y, N.Z in half. UserError where that cannot be."""
    check_exr()
    import OpenEXR

    channels: dict[str, Any] = {}
    if seen.colour is not None:
        light = linear(seen.colour[..., :3])
        if seen.colour.shape[2] == 4:
            light = light * seen.colour[..., 3:]
            channels["A"] = np.ascontiguousarray(seen.colour[..., 3], np.float16)
        channels |= {name: np.ascontiguousarray(light[..., c], np.float16) for c, name in enumerate("RGB")}
    if seen.depth is not None:
        channels["Z"] = np.ascontiguousarray(seen.depth, np.float32)
    if seen.normals is not None:
        channels |= {f"N.{a}": np.ascontiguousarray(seen.normals[..., c], np.float16) for c, a in enumerate("XYZ")}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with replacing(path) as partial:
        OpenEXR.File(header, channels).write(str(partial))


def linear(colours: Floats) -> Floats:
    """Colours on sRGB's curve as linear light (IEC 61966-2-1)."""
    low = colours / 12.92
    high = ((np.maximum(colours, LINEAR_PART) + 0.055) / 1.055) ** 2.4
    return np.where(colours <= LINEAR_PART, low, high).astype(np.float32)
