"""Colours of a mesh from the photographs that a model was learnt from.

A vertex has the colour for which the mesh looks most like the photographs that see it, on average over them. Which
pixels see which triangle a z-buffer says. It begins with the mean of what is seen, each pixel counting for the corners
of its triangle by how near they are; a few corrections then add, in the same way, what the mesh so coloured is off by
(Landweber's iteration, as SIRT in tomography), which takes back the blur of that mean.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Cameras
from taichi_rf.meshing.surface import Mesh
from taichi_rf.meshing.zbuffer import ZBuffer, shares_at

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

CORRECTIONS = 4
"""Times that what is off is added."""
MOST_PIXELS = 24_000_000
"""That are looked at in all, some 15 bytes each; of more, every second, third, ... is."""
OPAQUE = 0.5
"""Alpha above which a pixel shows the object."""
SEEN = 0.25
"""Of a pixel: a vertex that so much or more of them is due to has been seen."""


@dataclass(frozen=True)
class Photographs:
    """Posed photographs."""

    cameras: Cameras
    pixels: Any
    """By index: (H, W, 4) RGBA in [0, 1], the colour multiplied by alpha."""


@dataclass(frozen=True)
class _Part:
    """What a photograph shows of a mesh, at k pixels: the triangle (k,), the shares (k, 2) of its first two corners,
    and the colour (k, 3) as bytes."""

    face: npt.NDArray[np.int32]
    shares: npt.NDArray[np.float32]
    colour: npt.NDArray[np.uint8]


def photograph_colours(
    mesh: Mesh, photographs: Photographs
) -> Generator[float, None, tuple[Float32Array, npt.NDArray[np.bool_]]]:
    """The colours of a mesh's vertices by photographs.

    Yields:
        What share is done; the generator's value in the end are the colours (n, 3) in [0, 1], and which vertices (n,)
        a photograph sees. The others are black.
    """
    count = len(photographs.cameras)
    parts: list[_Part] = []
    sums, weights = np.zeros((len(mesh.vertices), 3)), np.zeros(len(mesh.vertices))
    buffer, every = ZBuffer(mesh), _every(photographs.cameras)
    for index in range(count):
        part = _seen(buffer, photographs, index, every)
        parts.append(part)
        _add(mesh, part, part.colour / 255.0, sums, weights)
        yield 0.8 * (index + 1) / count
    seen = weights >= SEEN
    safe = np.maximum(weights, 1e-9)[:, None]
    colours = sums / safe
    for done in range(CORRECTIONS):
        sums[:] = 0
        for part in parts:
            _add(mesh, part, part.colour / 255.0 - _shown(mesh, part, colours), sums)
        colours = np.clip(colours + sums / safe, 0, 1)
        yield 0.8 + 0.2 * (done + 1) / CORRECTIONS
    return np.where(seen[:, None], colours, 0).astype(np.float32), seen


def _every(cameras: Cameras) -> int:
    """Of how many pixels one is looked at."""
    return max(1, -(-int((cameras.widths * cameras.heights).sum()) // MOST_PIXELS))


def _seen(buffer: ZBuffer, photographs: Photographs, index: int, every: int) -> _Part:
    cameras = photographs.cameras
    faces = buffer.view(cameras[index]).face.reshape(-1)
    pixels = np.flatnonzero(faces >= 0)
    pixels = pixels[(pixels + index) % every == 0]
    face, (y, x) = faces[pixels], np.divmod(pixels, int(cameras.widths[index]))
    shares = shares_at(buffer.mesh, face, *cameras.pixel_rays(np.full(len(x), index), x, y))
    rgba = np.asarray(photographs.pixels[index]).reshape(-1, 4)[pixels].astype(np.float32)
    keep = (rgba[:, 3] > OPAQUE) & np.isfinite(shares).all(axis=1)
    rgba = rgba[keep]
    colour = np.rint(np.clip(rgba[:, :3] / rgba[:, 3:], 0, 1) * 255).astype(np.uint8)
    return _Part(face[keep].astype(np.int32), shares[keep, :2].astype(np.float32), colour)


def _shown(mesh: Mesh, part: _Part, colours: Float64Array) -> Float64Array:
    """Colours (k, 3) that the mesh shows at the pixels of a part."""
    a, b, c = (colours[mesh.faces[part.face, corner]] for corner in range(3))
    u, v = part.shares[:, :1], part.shares[:, 1:]
    found: Float64Array = a * u + b * v + c * (1 - u - v)
    return found


def _add(
    mesh: Mesh, part: _Part, values: Float64Array, sums: Float64Array, weights: Float64Array | None = None
) -> None:
    """Add values (k, 3) at the pixels of a part to the corners of their triangles, by share, and the shares."""
    u, v = part.shares.T
    for corner, share in enumerate((u, v, 1 - u - v)):
        at = mesh.faces[part.face, corner]
        for channel in range(3):
            sums[:, channel] += np.bincount(at, share * values[:, channel], len(sums))
        if weights is not None:
            weights += np.bincount(at, share, len(sums))
