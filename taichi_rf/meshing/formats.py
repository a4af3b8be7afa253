"""Meshes and points as files: glTF (binary), PLY and OBJ.

glTF's y is up, this program's z: such a file is turned by a quarter, and importers that know glTF, as Blender's, turn
it back. PLY and OBJ keep the scene's own axes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.meshing.libraries import library
from taichi_rf.meshing.surface import Mesh

FORMATS = (".glb", ".ply", ".obj")
Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""From z up to y up: x stays, y becomes -z, z becomes y."""


def check_name(path: Path, points: bool = False) -> None:
    """Raise UserError for a name whose ending is none of ``FORMATS``, or not the one that points are written in."""
    ending = path.suffix.lower()
    if points and ending != ".ply":
        raise UserError(f"--output {path}: points are written as .ply")
    if ending not in FORMATS:
        raise UserError(f"--output {path}: a mesh ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")


def write_mesh(
    path: Path,
    mesh: Mesh,
    normals: npt.NDArray[np.float64],
    colours: npt.NDArray[np.float32] | None,
) -> int:
    """Write a mesh by its name's ending, atomically; returns its size in bytes.

    Args:
        normals: (n, 3) of unit length.
        colours: (n, 3) in [0, 1], or None.

    Raises:
        UserError: it cannot be written, or the ending is unknown.
    """
    check_name(path)
    ending = path.suffix.lower()[1:]
    vertices = mesh.vertices
    if ending == "glb":
        vertices, normals = vertices @ Y_UP.T, normals @ Y_UP.T
    made = library("trimesh").Trimesh(
        vertices, mesh.faces, vertex_normals=normals, process=False, validate=False,
        vertex_colors=None if colours is None else rgba(colours),
    )  # fmt: skip
    options = {"glb": {"include_normals": True}, "ply": {"vertex_normal": True}, "obj": {"include_normals": True}}
    data = made.export(file_type=ending, **options[ending])
    return _write(path, data.encode() if isinstance(data, str) else data)


def write_points(
    path: Path,
    points: npt.NDArray[np.float64],
    normals: npt.NDArray[np.float64],
    colours: npt.NDArray[np.float32] | None,
) -> int:
    """Write points (n, 3) with normals (n, 3) and, if they have any, colours (n, 3) as binary PLY, atomically; returns
    its size in bytes. UserError where it cannot be written."""
    names = ["x", "y", "z", "nx", "ny", "nz"]
    columns: list[tuple[str, str]] = [(name, "<f4") for name in names]
    if colours is not None:
        columns += [(name, "u1") for name in ("red", "green", "blue")]
    rows = np.zeros(len(points), columns)
    for index, name in enumerate(names):
        rows[name] = (points if index < 3 else normals)[:, index % 3]
    if colours is not None:
        for index, name in enumerate(("red", "green", "blue")):
            rows[name] = rgba(colours)[:, index]
    kinds = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind in columns] + ["end_header", ""]
    return _write(path, "\n".join(header).encode() + rows.tobytes())


def rgba(colours: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Colours (n, 3) in [0, 1] as (n, 4) bytes, opaque."""
    found = np.full((len(colours), 4), 255, np.uint8)
    found[:, :3] = np.rint(np.clip(np.nan_to_num(colours), 0, 1) * 255)
    return found


def _write(path: Path, data: bytes) -> int:
    with atomic_write(path) as file:
        file.write(data)
    return len(data)
