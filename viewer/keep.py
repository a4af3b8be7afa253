"""What a session writes to disk: pictures, slimmed models and the camera. Nothing is ever replaced."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from taichi_rf.files import atomic_write, writing
from taichi_rf.rays import Camera
from taichi_rf.storage import truncate_trf
from viewer.progressive import Progressive, RenderBand, View


class Still:
    """A picture of any size on its way to a PNG file, a bounded piece of work at a time.

    Raises nothing: what went wrong is in ``failure``, and then no file is there.
    """

    what = "picture"

    def __init__(self, path: Path, camera: Camera, render: RenderBand, *, level: int, mode: str) -> None:
        self.path = path
        self.failure: Exception | None = None
        self.done = False
        self._progressive = Progressive(render)
        self._progressive.begin_sharp(View(camera, level, mode))

    @property
    def progress(self) -> float:
        return self._progressive.progress

    def advance(self, budget: float) -> None:
        """Render for about ``budget`` seconds; the file is written when the picture is complete."""
        if self.done:
            return
        try:
            if self._progressive.sharpen(budget):
                save_picture(self.path, self._progressive.picture)
                self.done = True
        except Exception as error:
            self.failure, self.done = error, True

    def cancel(self) -> None:
        self.done = True


def save_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write (H, W, 3) as PNG, atomically. UserError when that fails."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        Image.fromarray(np.ascontiguousarray(picture)).save(file, format="PNG")


def save_level(model: Any, file: Path | None, level: int, folder: Path) -> Path:
    """Write the first ``level`` levels as a file of their own and return where.

    ``file`` is the one that ``model`` was read from; without one the model is written whole first, as it is now.

    Raises:
        UserError: it cannot be written.
    """
    stem = slug(model.metadata.get("scene") or "model")
    path = free_file(folder, f"{stem}-{slug(model.field.level_name).lower()}{level}", ".trf")
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    if file is not None:
        truncate_trf(file, level, path)
        return path
    with writing(path), tempfile.TemporaryDirectory(prefix=".slim-", dir=folder) as whole:
        model.save(Path(whole) / "whole.trf")
        truncate_trf(Path(whole) / "whole.trf", level, path)
    return path


def save_camera(folder: Path, camera: dict[str, Any]) -> Path:
    """Write the camera as JSON and return where. UserError when that fails."""
    path = free_file(folder, "camera", ".json")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as out:
        out.write(json.dumps(camera, indent=2).encode() + b"\n")
    return path


def camera_json(camera: Camera, extra: dict[str, Any]) -> dict[str, Any]:
    """A camera as numbers: ``camera_to_world`` is 4x4, x right, y up and looking down -z; intrinsics in pixels."""
    pose = [[float(value) for value in row] for row in camera.pose]
    return {
        "camera_to_world": [*pose, [0.0, 0.0, 0.0, 1.0]],
        "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy,
        "width": camera.width, "height": camera.height,
        **extra,
    }  # fmt: skip


def free_file(folder: Path, stem: str, suffix: str) -> Path:
    """The first of stem.suffix, stem-2.suffix, ... that does not exist in ``folder``."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def slug(text: object) -> str:
    """What of ``text`` is fit for a file's name."""
    return re.sub(r"[^\w.-]+", "-", str(text))[:60].strip("-.") or "scene"
