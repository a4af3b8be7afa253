"""Colours of a mesh from the photographs that a model was learnt from.

A vertex has the colour for which the mesh looks most like the photographs that see it, on average over them. Which
pixels see which triangle a z-buffer says. It begins with the mean of what is seen, each pixel counting for the corners
of its triangle by how near they are; a few corrections may then add, in the same way, what the mesh so coloured is off
by (Landweber's iteration, as SIRT in tomography), which takes back the blur of that mean. How many do is found with
every eighth photograph kept back: where geometry is poor or pixels are few, corrections fit the noise.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.rays import Cameras
from taichi_rf.meshing.surface import Mesh
from taichi_rf.meshing.zbuffer import ZBuffer, shares_at

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

CORRECTIONS = 4
"""Times that what is off is added, at most."""
KEPT_BACK = 8
"""Of so many photographs one is kept back to find how often; with fewer than twice as many the mean has to do."""
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
    buffer, every = ZBuffer(mesh), _every(photographs.cameras)
    for index in range(count):
        parts.append(_seen(buffer, photographs, index, every))
        yield 0.8 * (index + 1) / count
    corrections = _corrections(mesh, parts)
    yield 0.9
    colours, weights = next(islice(_better(mesh, parts), corrections, None))
    seen = weights >= SEEN
    return np.where(seen[:, None], colours, 0).astype(np.float32), seen


def _corrections(mesh: Mesh, parts: list[_Part]) -> int:
    """How many corrections come nearest to photographs that are kept back meanwhile; none where they are too few."""
    if len(parts) < 2 * KEPT_BACK:
        return 0
    kept = parts[KEPT_BACK - 1 :: KEPT_BACK]
    others = [part for index, part in enumerate(parts) if index % KEPT_BACK != KEPT_BACK - 1]
    errors = [
        sum(float(((part.colour / 255.0 - _shown(mesh, part, colours)) ** 2).sum()) for part in kept)
        for colours, _ in _better(mesh, others)
    ]
    return int(np.argmin(errors))


def _better(mesh: Mesh, parts: list[_Part]) -> Iterator[tuple[Float64Array, Float64Array]]:
    """The colours (n, 3) of vertices by parts, better from one to the next: the mean, and after each correction; and
    how many pixels (n,) are due to each vertex."""
    sums, weights = np.zeros((len(mesh.vertices), 3)), np.zeros(len(mesh.vertices))
    for part in parts:
        _add(mesh, part, part.colour / 255.0, sums, weights)
    safe = np.maximum(weights, 1e-9)[:, None]
    colours = sums / safe
    yield colours, weights
    for _ in range(CORRECTIONS):
        sums = np.zeros_like(colours)
        for part in parts:
            _add(mesh, part, part.colour / 255.0 - _shown(mesh, part, colours), sums)
        colours = np.clip(colours + sums / safe, 0, 1)
        yield colours, weights


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
