"""Meshes and points as files: glTF (binary), PLY and OBJ.

glTF's y is up, this program's z: such a file is turned by a quarter, and importers that know glTF, as Blender's, turn
it back. Its vertex colours are linear light (glTF 2.0, 3.7.2.1), and its material says that light is in them already
(KHR_materials_unlit), so that viewers show the colours as they are. PLY and OBJ keep the scene's own axes and the
colours' bytes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import atomic_write
from taichi_rf.core.version import VERSION
from taichi_rf.meshing.libraries import library
from taichi_rf.meshing.surface import Mesh
from taichi_rf.motion.layers import linear

FORMATS = (".glb", ".ply", ".obj")
Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""From z up to y up: x stays, y becomes -z, z becomes y."""
VERTICES, ELEMENTS = 34962, 34963
"""glTF's names for what a buffer holds: numbers of vertices, and indices."""
COMPONENTS = {"<f4": 5126, "<u2": 5123, "<u4": 5125}
"""Its names for types of numbers."""


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
    if ending == "glb":
        return _write(path, glb(mesh, normals, colours))
    made = library("trimesh").Trimesh(
        mesh.vertices, mesh.faces, vertex_normals=normals, process=False, validate=False,
        vertex_colors=None if colours is None else rgba(colours),
    )  # fmt: skip
    options = {"ply": {"vertex_normal": True}, "obj": {"include_normals": True}}
    data = made.export(file_type=ending, **options[ending])
    return _write(path, data.encode() if isinstance(data, str) else data)


def glb(mesh: Mesh, normals: npt.NDArray[np.float64], colours: npt.NDArray[np.float32] | None) -> bytes:
    """A mesh as binary glTF 2.0, turned so that y is up; the arguments are those of :func:`write_mesh`."""
    columns: list[tuple[str, npt.NDArray[Any], str]] = [
        ("POSITION", (mesh.vertices @ Y_UP.T).astype("<f4"), "VEC3"),
        ("NORMAL", (normals @ Y_UP.T).astype("<f4"), "VEC3"),
    ]
    if colours is not None:  # of sixteen bits: eight of linear light would show steps in the dark
        opaque = np.full((len(colours), 4), 65535, "<u2")
        opaque[:, :3] = np.rint(linear(np.clip(np.nan_to_num(colours), 0, 1).astype(np.float32)) * 65535)
        columns.append(("COLOR_0", opaque, "VEC4"))
    columns.append(("indices", mesh.faces.reshape(-1).astype("<u4"), "SCALAR"))
    views: list[dict[str, int]] = []
    accessors: list[dict[str, Any]] = []
    data = b""
    for name, values, kind in columns:
        target = ELEMENTS if name == "indices" else VERTICES
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes, "target": target})
        accessor: dict[str, Any] = {
            "bufferView": len(accessors), "componentType": COMPONENTS[values.dtype.str], "count": len(values),
            "type": kind,
        }  # fmt: skip
        if name == "COLOR_0":
            accessor["normalized"] = True
        if name == "POSITION":
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        accessors.append(accessor)
        data += values.tobytes()
    attributes = {name: index for index, (name, _, _) in enumerate(columns[:-1])}
    surface = {"attributes": attributes, "indices": len(columns) - 1}
    head: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"Taichi RF {VERSION}"}, "scene": 0, "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}], "meshes": [{"primitives": [surface]}], "accessors": accessors,
        "bufferViews": views, "buffers": [{"byteLength": len(data)}],
    }  # fmt: skip
    if colours is not None:
        plain = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}
        head["materials"] = [{**plain, "extensions": {"KHR_materials_unlit": {}}}]
        head["extensionsUsed"] = ["KHR_materials_unlit"]
        surface["material"] = 0
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


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
