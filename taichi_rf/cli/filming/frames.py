"""A folder of frames: written one by one, each whole or not there, so that what was interrupted can be gone on with."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json, write_json, writing
from taichi_rf.kernels.rays import Camera
from taichi_rf.motion.layers import STEPS, Layer, Seen, save_colour, save_depth, save_exr, save_normals

PLAN, CAMERAS = "frames.json", "transforms.json"
"""What the folder's frames are of, and their cameras as other programs read them."""
TABLE, PAGE, SCORES = "metrics.csv", "index.html", "scores.jsonl"
"""What a scene's views have beside their frames."""
OURS = re.compile(r"\d{5}[\w.-]*\.(png|exr)")
"""Names of frames."""


@dataclass(frozen=True)
class Shot:
    """A frame that is to be made: ``stem`` names its files."""

    stem: str
    camera: Camera
    level: int


@dataclass(frozen=True)
class Form:
    """What is saved of every frame: which layers, whether colours have alpha, and whether it is one OpenEXR image."""

    layers: tuple[Layer, ...] = ("colour",)
    alpha: bool = False
    exr: bool = False
    mode: str = "colour"

    def names(self, stem: str) -> list[str]:
        """The files of a frame."""
        if self.exr:
            return [f"{stem}.exr"]
        return [f"{stem}.png" if layer == "colour" else f"{stem}-{layer}.png" for layer in self.layers]

    def save(self, folder: Path, stem: str, seen: Seen, unit: float) -> None:
        """Write the files of a frame; ``unit`` is that of depth as :func:`taichi_rf.motion.layers.save_depth` has it.
        UserError where that cannot be."""
        if self.exr:
            save_exr(folder / f"{stem}.exr", seen)
            return
        for layer, name in zip(self.layers, self.names(stem), strict=True):
            if layer == "colour" and seen.colour is not None:
                save_colour(folder / name, seen.colour)
            elif layer == "depth" and seen.depth is not None:
                save_depth(folder / name, seen.depth, unit)
            elif layer == "normals" and seen.normals is not None:
                save_normals(folder / name, seen.normals)


class FrameFolder:
    """A folder for the frames of ``shots``.

    Args:
        path: is made where it is not there.
        recipe: what identifies the rendering, see :mod:`taichi_rf.cli.filming.recipe`.
        differs: in what another recipe is not this one, in words; the folder's own is given to it.
        shots: all of the journey, of which only some may be asked for now.
        unit: of depth.
        resume: keep the frames that are there, if they were made by the same recipe.
        overwrite: replace them, and what was written beside them.

    Raises:
        UserError: there are frames and neither is asked for, they are of something else, or the folder cannot be used.
    """

    def __init__(
        self,
        path: Path,
        recipe: dict[str, Any],
        differs: Callable[[Any], list[str]],
        shots: Sequence[Shot],
        form: Form,
        unit: float,
        *,
        resume: bool,
        overwrite: bool,
    ) -> None:
        self.path, self.shots, self.form, self.unit = path, shots, form, unit
        with writing(path):
            there = sorted(os.listdir(path)) if path.is_dir() else []
        if PLAN in there and not overwrite:
            if not resume:
                raise UserError(f"{path} holds frames already: go on with --resume, or replace them with --overwrite")
            if different := differs(read_json(path / PLAN)):
                raise UserError(
                    f"{path} holds frames of another {', '.join(different)}: choose another --output, or give "
                    "--overwrite"
                )
        elif there and PLAN not in there:
            raise UserError(f"{path} is there and holds other files: choose a folder that is new or empty")
        elif PLAN in there:
            with writing(path):
                for name in there:
                    if OURS.fullmatch(name) or name in (CAMERAS, TABLE, PAGE, SCORES):
                        (path / name).unlink()
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        write_json(path / PLAN, recipe)

    def has(self, shot: Shot) -> bool:
        """Whether all files of a frame are there; what is there is whole."""
        return all((self.path / name).is_file() for name in self.form.names(shot.stem))

    def save(self, shot: Shot, seen: Seen) -> None:
        """Write the files of a frame. UserError where that cannot be."""
        self.form.save(self.path, shot.stem, seen, self.unit)

    def finish(self) -> None:
        """Write the cameras of the frames that are there, as instant-ngp, nerfstudio and this program read them, where
        frames are colours, which can be learnt from; else see that there are none."""
        pinholes = [shot for shot in self.shots if self.has(shot) and shot.camera.lens is None]
        if not pinholes or "colour" not in self.form.layers or self.form.mode != "colour":
            with writing(self.path):
                (self.path / CAMERAS).unlink(missing_ok=True)
            return
        entries = []
        for shot in pinholes:
            names = dict(zip(self.form.layers, self.form.names(shot.stem)))
            camera = shot.camera
            entry: dict[str, Any] = {
                "file_path": self.form.names(shot.stem)[0] if self.form.exr else names["colour"],
                "fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy, "w": camera.width,
                "h": camera.height, "level": shot.level,
                "transform_matrix": [*camera.pose.astype(float).tolist(), [0.0, 0.0, 0.0, 1.0]],
            }  # fmt: skip
            if "depth" in names and not self.form.exr:
                entry["depth_file_path"] = names["depth"]
            entries.append(entry)
        write_json(
            self.path / CAMERAS,
            {"camera_model": "PINHOLE", "depth_unit_scale_factor": self.unit, "frames": entries},
        )

    def remove(self) -> None:
        """Delete the frames, and the folder if nothing else is in it."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path):
                if OURS.fullmatch(name) or name in (PLAN, CAMERAS):
                    (self.path / name).unlink()
            self.path.rmdir()


def unit_of(farthest: float) -> float:
    """World units of a step of a 16-bit depth, a number of three digits, so that ``farthest`` has one."""
    exact = farthest / (STEPS - 1)
    digit = 10.0 ** (math.floor(math.log10(exact)) - 2)
    return float(f"{math.ceil(exact / digit) * digit:.3g}")
