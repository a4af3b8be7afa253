"""One small capture written in every format: the readers have to find the same cameras in all of them."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from taichi_rf.kernels.rays import look_at

WIDTH, HEIGHT, FX, FY, CX, CY = 24, 16, 30.0, 31.0, 12.5, 7.75
COUNT = 17  # so that two or three are test views
POINTS = np.random.default_rng(0).normal(size=(400, 3))


def poses() -> np.ndarray:
    """(n, 3, 4) camera to world: around the origin, from outside the points, at different heights."""
    angles = np.linspace(0, 2 * math.pi, COUNT, endpoint=False)
    return np.stack([look_at((6 * math.cos(a), 6 * math.sin(a), 2 * math.sin(3 * a)), (0, 0, 0)) for a in angles])


def poses_ahead() -> np.ndarray:
    """(n, 3, 4): side by side in a plane, all looking the same way but for a few degrees."""
    steps = np.linspace(-1, 1, COUNT)
    return np.stack([look_at((s, 0.3 * math.sin(9 * s), 0.1 * s), (0.2 * s, 0, -9), (0, 1, 0)) for s in steps])


def write_images(folder: Path, width: int = WIDTH, height: int = HEIGHT, *, alpha: bool = False) -> list[str]:
    """One image a camera, each of its own colours; returns their names in the order of the cameras."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"IMG_{index:03}.png" for index in range(COUNT)]
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 256, (height, width, 4 if alpha else 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return names


def write_nerfstudio(root: Path, **keys: object) -> dict:
    """``transforms.json`` and its images; ``keys`` go into the file."""
    names = write_images(root / "images")
    frames = []
    for name, pose in zip(names, poses(), strict=True):
        frames.append({"file_path": f"images/{name}", "transform_matrix": [*pose.tolist(), [0, 0, 0, 1]]})
    data = {"w": WIDTH, "h": HEIGHT, "fl_x": FX, "fl_y": FY, "cx": CX, "cy": CY, **keys, "frames": frames}
    (root / "transforms.json").write_text(json.dumps(data))
    return data


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation (3, 3): the eigenvector of Bar-Itzhack 2000, which has no special cases."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    _, vectors = np.linalg.eigh(k)
    return vectors[[3, 0, 1, 2], -1]


def extrinsics(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COLMAP's quaternion and translation, world to camera, of a pose (3, 4)."""
    rotation = (pose[:, :3] * (1, -1, -1)).T.astype(np.float64)
    return quaternion(rotation), -rotation @ pose[:, 3]


def write_colmap(
    root: Path, *, text: bool = False, folder: str = "sparse/0", model: int = 1, parameters: tuple[float, ...] = (),
    images: str = "images", name: str = "PINHOLE", alpha: bool = False,
) -> list[str]:  # fmt: skip
    """A model of COLMAP's and its images; returns the names."""
    names = write_images(root / images, alpha=alpha)
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    parameters = parameters or (FX, FY, CX, CY)
    views = [extrinsics(pose) for pose in poses()]
    if text:
        numbers = " ".join(map(str, parameters))
        (place / "cameras.txt").write_text(f"# Camera list\n1 {name} {WIDTH} {HEIGHT} {numbers}\n")
        lines = ["# Image list"]
        for index, (q, t) in enumerate(views):
            lines += [
                f"{index + 1} {' '.join(map(repr, map(float, (*q, *t))))} 1 {names[index]}",
                "1.5 2.5 1 3.5 4.5 -1",
            ]
        (place / "images.txt").write_text("\n".join(lines) + "\n")
        (place / "points3D.txt").write_text(
            "".join(f"{i + 1} {x} {y} {z} 10 20 30 0.5 1 0\n" for i, (x, y, z) in enumerate(POINTS.tolist()))
        )
        return names
    with open(place / "cameras.bin", "wb") as file:
        file.write(struct.pack("<QiiQQ", 1, 1, model, WIDTH, HEIGHT) + struct.pack(f"<{len(parameters)}d", *parameters))
    with open(place / "images.bin", "wb") as file:
        file.write(struct.pack("<Q", COUNT))
        for index, (q, t) in enumerate(views):
            file.write(struct.pack("<i7di", index + 1, *q, *t, 1) + names[index].encode() + b"\0")
            file.write(struct.pack("<QddqddQ", 2, 1.5, 2.5, 1, 3.5, 4.5, 2**64 - 1))
    with open(place / "points3D.bin", "wb") as file:
        file.write(struct.pack("<Q", len(POINTS)))
        for index, point in enumerate(POINTS):
            file.write(struct.pack("<Q3d3BdQii", index + 1, *point, 10, 20, 30, 0.5, 1, 1, 0))
    return names


def write_llff(root: Path, images: str = "images", scale: int = 1, *, ahead: bool = False) -> np.ndarray:
    """``poses_bounds.npy`` and its images, ``scale`` times smaller than the poses say; returns what was written."""
    write_images(root / images, WIDTH // scale, HEIGHT // scale)
    rows = []
    for pose in poses_ahead() if ahead else poses():
        matrix = np.stack([-pose[:, 1], pose[:, 0], pose[:, 2], pose[:, 3], (HEIGHT, WIDTH, FX)], axis=1)
        rows.append(np.concatenate([matrix.ravel(), [3.0, 9.0]]))
    values = np.array(rows)
    np.save(root / "poses_bounds.npy", values)
    return values
