"""A mesh as a scene: a solid to fit a signed distance to, and pictures of it to compare with.

The mesh is moved and scaled so that its largest side spans ``SPAN`` of the box [-1, 1]^3. Its pictures show the
triangles themselves, shaded as the model's surface is. The file is untrusted: the memory that it can need is known
before it is read, every number is checked, and complaints name the line.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from scenes.base import Progress, Scene, Split, background_colour, check_memory, empty_split, spread
from taichi_rf.errors import UserError
from taichi_rf.rays import Cameras, look_at
from taichi_rf.shading import shade
from taichi_rf.shape import Shape

SUFFIXES = (".obj",)
SPAN = 0.9
"""Of the box's side, what the mesh's largest side spans: distances need room around the surface."""
BOX = np.array([[-1.0] * 3, [1.0] * 3], np.float32)
SIZE = 400  # pixels a side of a picture
ANGLE_OF_VIEW = math.radians(40)
DISTANCE = 3.4  # of the cameras from the centre
TRAIN_VIEWS, TEST_VIEWS = 4, 12
MIN_VIEWS, MAX_VIEWS = 1, 100

MAX_BYTES = 1 << 30
MEMORY_PER_BYTE = 24
"""Bytes of memory that reading can take for a byte of the file: "v 0 0 0" becomes three numbers, several copies."""
MAX_FACES = 20_000_000
MAX_CORNERS = 1000
"""Of one face."""
MAX_COORDINATE = 1e30


@dataclass(frozen=True)
class MeshScene(Scene):
    """A scene of one solid. ``train`` and ``test`` are pictures of the mesh; what is learnt from is ``shape``."""

    shape: Shape
    """In the unit box; the box's corners are (0, 0, 0) and (1, 1, 1)."""
    centre: tuple[float, float, float]
    """Of the mesh's bounds, in the file's own units."""
    scale: float
    """Lengths of the unit box in one unit of the file."""
    notes: tuple[str, ...] = ()
    """What the person should know of the mesh, in sentences."""
    shows: ClassVar[str] = "mesh"

    def describe(self) -> str:
        shape = self.shape
        words = f"{self.name}: a mesh of {len(shape.vertices):,} vertices and {len(shape.faces):,} triangles"
        return ". ".join([words, *self.notes])


def load(
    source: str,
    *,
    downscale: int = 1,
    views: int | None = None,
    background: str = "white",
    max_test_views: int | None = None,
    progress: Progress | None = None,
) -> MeshScene:
    """The mesh in the file ``source`` as a scene; arguments as :func:`scenes.load`.

    Raises:
        UserError: the file is no mesh, is empty, broken or too large, encloses nothing, or libigl is missing.
    """
    if views is not None and not MIN_VIEWS <= views <= MAX_VIEWS:
        raise UserError(f"--views {views}: {MIN_VIEWS} to {MAX_VIEWS} is expected for the pictures of a mesh")
    path = Path(source)
    vertices, faces = read_obj(path)
    vertices, faces, dropped = _tidied(path, vertices, faces)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre, extent = (low + high) / 2, float((high - low).max())
    if not extent > 0:
        raise UserError(f"{path}: all its triangles lie in one point")
    scale = SPAN / extent
    shape = Shape((vertices - centre) * scale + 0.5, faces)
    notes = _checked(path, shape, dropped)

    size = max(1, SIZE // downscale)
    train, test = views or TRAIN_VIEWS, spread(TEST_VIEWS, max_test_views)
    total = train + len(test)
    splits, done = [], 0
    for name, poses in (("train", _poses(np.arange(train), train, 0.0)), ("test", _poses(test, TEST_VIEWS, 0.5))):
        if not len(poses):
            splits.append(empty_split(size, size))
            continue
        cameras = _cameras(poses, size)
        images = np.empty((len(cameras), size, size, 4), np.float16)
        for index in range(len(cameras)):
            images[index] = _picture(shape, cameras, index)
            done += 1
            if progress is not None:
                progress(done, total)
        splits.append(Split(images, cameras, tuple(f"{name} {index}" for index in range(len(cameras)))))
    reach = math.sqrt(3.0)
    return MeshScene(
        path.stem, splits[0], splits[1], BOX.copy(), DISTANCE - reach, DISTANCE + reach, background_colour(background),
        str(path.resolve()), shape, (float(centre[0]), float(centre[1]), float(centre[2])), scale, notes,
    )  # fmt: skip


def read_obj(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Vertices (n, 3) and triangles (m, 3) of a Wavefront OBJ file; polygons become fans.

    Only ``v`` and ``f`` are read: texture, normals, colours, groups and materials are passed over.

    Raises:
        UserError: the file cannot be read, is no OBJ, is too large, or has no vertices or faces.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UserError(f"{path} has {size / 1e9:.1f} GB: meshes of up to {MAX_BYTES / 1e9:.1f} GB are read")
        check_memory(f"reading {path}", size * MEMORY_PER_BYTE)
        numbers, corners = array("d"), array("q")
        with open(path, "rb") as file:
            for line, text in enumerate(file, 1):
                if text.startswith(b"v "):
                    _vertex(path, line, text, numbers)
                elif text.startswith(b"f "):
                    _face(path, line, text, len(numbers) // 3, corners)
                elif line == 1 and text.startswith((b"\x89", b"PK", b"glTF", b"ply", b"OFF", b"solid")):
                    raise UserError(f"{path} is no Wavefront OBJ file, whatever it is called")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    vertices, faces = np.array(numbers).reshape(-1, 3), np.array(corners, np.int64).reshape(-1, 3)
    if not len(vertices):
        raise UserError(f"{path} has no vertices (lines that begin with 'v '): it is no mesh in Wavefront OBJ format")
    if not len(faces):
        raise UserError(f"{path} has {len(vertices):,} vertices but no faces: a signed distance needs a closed surface")
    bad = np.flatnonzero((faces < 0) | (faces >= len(vertices)))
    if len(bad):
        raise UserError(
            f"{path}: a face names vertex {faces.reshape(-1)[bad[0]] + 1}, but the file has {len(vertices):,}"
        )
    return vertices, faces


def _vertex(path: Path, line: int, text: bytes, numbers: array[float]) -> None:
    words = text.split(None, 4)[1:4]
    try:
        x, y, z = map(float, words)
    except ValueError:
        raise UserError(f"{path}, line {line}: three coordinates are expected, not {_quoted(text)}") from None
    if not abs(x) + abs(y) + abs(z) < MAX_COORDINATE:  # nor NaN
        raise UserError(f"{path}, line {line}: the vertex is not finite: {_quoted(text)}")
    numbers.extend((x, y, z))


def _face(path: Path, line: int, text: bytes, known: int, corners: array[int]) -> None:
    words = text.split()[1:]
    if not 3 <= len(words) <= MAX_CORNERS:
        raise UserError(f"{path}, line {line}: a face of {len(words)} corners; 3 to {MAX_CORNERS} are expected")
    try:
        indices = [int(word.partition(b"/")[0]) for word in words]
    except ValueError:
        raise UserError(f"{path}, line {line}: whole numbers are expected, not {_quoted(text)}") from None
    # counted from 1, or back from the latest vertex; what is out of range is found once all vertices are known
    indices = [index - 1 if index > 0 else known + index if index < 0 else -1 for index in indices]
    if max(indices) >= 1 << 62 or min(indices) < 0:
        raise UserError(f"{path}, line {line}: no such vertex: {_quoted(text)}")
    for second, third in zip(indices[1:], indices[2:]):
        corners.extend((indices[0], second, third))
    if len(corners) > 3 * MAX_FACES:
        raise UserError(f"{path} has more than {MAX_FACES:,} triangles: simplify it first")


def _quoted(text: bytes) -> str:
    return repr(text.decode("utf-8", "replace").strip()[:60])


def _tidied(
    path: Path, vertices: npt.NDArray[np.float64], faces: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
    """Vertices at the same place joined, those of no face left out, triangles without area dropped; how many."""
    used, index = np.unique(vertices[np.unique(faces)], axis=0, return_inverse=True)
    places = np.zeros(len(vertices), np.int64)
    places[np.unique(faces)] = index.reshape(-1)
    joined = places[faces]
    a, b, c = joined.T
    keep = (a != b) & (b != c) & (c != a)
    if not keep.any():
        raise UserError(f"{path}: none of its {len(faces):,} triangles has an area")
    return used, joined[keep], int((~keep).sum())


def _checked(path: Path, shape: Shape, dropped: int) -> tuple[str, ...]:
    """Sentences about what is odd. UserError for a mesh that encloses nothing."""
    notes = []
    if dropped:
        notes.append(f"{dropped:,} of its triangles have no area and were left out")
    if shape.open_edges:
        probe, _ = shape.surface(2000, np.random.default_rng(0))
        around = np.random.default_rng(1).normal(0, 0.01, probe.shape)
        inside = shape.contains(probe + around).mean()
        if inside < 0.02:
            raise UserError(
                f"{path} encloses nothing: its surface is open ({shape.open_edges:,} edges without a partner), so it "
                "has no inside; close it first"
            )
        notes.append(
            f"the mesh is not watertight ({shape.open_edges:,} open edges): what is inside is decided by the winding "
            "number"
        )
    return tuple(notes)


def _poses(order: npt.ArrayLike, count: int, shift: float) -> npt.NDArray[np.float32]:
    """Cameras once round, up and down three times; the first from a little above the front, left or right of it."""
    azimuth = 2 * math.pi * (np.asarray(order, np.float64) + shift) / count + 0.3
    height = 0.15 + 0.55 * np.sin(3 * azimuth - 1.2)
    flat = np.sqrt(1 - height**2)
    eyes = DISTANCE * np.stack([flat * np.sin(azimuth), height, flat * np.cos(azimuth)], axis=1)
    poses = [look_at(eye, (0, 0, 0), (0, 1, 0)) for eye in eyes]
    return np.array(poses, np.float32).reshape(-1, 3, 4)


def _cameras(poses: npt.NDArray[np.float32], size: int) -> Cameras:
    focal = size / 2 / math.tan(ANGLE_OF_VIEW / 2)
    intrinsics = np.tile(np.array([focal, focal, size / 2, size / 2], np.float32), (len(poses), 1))
    return Cameras(poses, intrinsics, size, size)


def _picture(shape: Shape, cameras: Cameras, index: int) -> npt.NDArray[np.float32]:
    """(height, width, 4) RGBA of the triangles, one ray a pixel."""
    origins, directions = cameras[index].rays()
    side = float(BOX[1, 0] - BOX[0, 0])
    hits = shape.rays((origins - BOX[0]) / side, directions / side)
    image = np.zeros((len(origins), 4), np.float32)
    image[hits.hit, :3] = shade(hits.normals[hits.hit], directions[hits.hit])
    image[hits.hit, 3] = 1
    return image.reshape(cameras.height, cameras.width, 4)
