"""Small scenes in folders, for the tests of their reader: written whole, then spoilt."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import look_at


def plain_image(width: int = 8, height: int = 6) -> Image.Image:
    """One colour but for a pixel in the corner: a scene of one colour alone has nothing to learn and is refused."""
    image = Image.new("RGBA", (width, height), (200, 100, 50, 255))
    image.putpixel((0, 0), (0, 0, 0, 255))
    return image


def write_scene(folder: Path, images: list[Image.Image] | None = None, splits: tuple[str, ...] = ("train",)) -> dict:
    """A small scene in ``folder``; returns its train json, to be spoilt and written again with :func:`rewrite`."""
    images = images or [plain_image()] * 3
    data: dict = {}
    for split in splits:
        (folder / split).mkdir(parents=True)
        data = {"camera_angle_x": 0.7, "frames": []}
        for index, image in enumerate(images):
            image.save(folder / split / f"r_{index}.png")
            matrix = np.eye(4)
            matrix[:3] = look_at((4 * math.cos(index), 4 * math.sin(index), 0.5), (0, 0, 0), (0, 0, 1))
            data["frames"].append({"file_path": f"./{split}/r_{index}", "transform_matrix": matrix.tolist()})
        (folder / f"transforms_{split}.json").write_text(json.dumps(data))
    return json.loads((folder / "transforms_train.json").read_text())


def rewrite(folder: Path, data: object) -> None:
    """Put ``data``, text or what becomes JSON, in the place of the train json."""
    (folder / "transforms_train.json").write_text(data if isinstance(data, str) else json.dumps(data))


def refused(folder: Path, **options) -> str:
    """What the reader says when it refuses the scene, as it must."""
    with pytest.raises(UserError) as caught:
        scenes.load(str(folder), **options)
    return str(caught.value)


def warned(folder: Path, **options) -> str:
    """What the reader warns about, as it must, a warning a line."""
    texts = scenes.load(str(folder), **options).warnings
    assert texts
    return "\n".join(texts)


def spoil(**changes):
    """A change of frame 1's keys, or of top-level keys given with a leading ``top_``; None removes the key."""

    def change(data: dict) -> None:
        for key, value in changes.items():
            where = data if key.startswith("top_") else data["frames"][1]
            key = key.removeprefix("top_")
            if value is None:
                where.pop(key, None)
            else:
                where[key] = value

    return change


def pose(**cells) -> list[list[float]]:
    """A camera that looks at the centre, with cells like ``c03`` changed."""
    matrix = np.eye(4)
    matrix[:3] = look_at((4, 0, 0.5), (0, 0, 0), (0, 0, 1))
    for cell, value in cells.items():
        matrix[int(cell[1]), int(cell[2])] = value
    return matrix.tolist()
