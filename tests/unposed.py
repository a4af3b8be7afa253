"""Photographs without poses for the tests: real ones made small, and a stand-in for the process that poses them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.posing.job import FEATURES, MAP, MATCHES, Job
from tests.capture_files import POINTS, extrinsics, poses
from tests.places import DATA

WIDTH, HEIGHT = 24, 16


def write_photographs(folder: Path, count: int = 10, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[str]:
    """Small photographs, each of its own colours; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"IMG_{index:03}.png" for index in range(count)]
    for index, name in enumerate(names):
        pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return names


def write_fern(folder: Path, width: int = 504) -> list[str]:
    """Eight photographs of one scene; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for path in sorted((DATA / "llff/fern/images_8").iterdir())[:8]:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((width, round(width * image.height / image.width)))
            small.save(folder / f"{path.stem}.png")
        names.append(f"{path.stem}.png")
    return names


class Placing:
    """In place of :func:`scenes.posing.process.run`: "places" photographs without looking at them.

    Args:
        places: how many of the photographs, the first of them.
    """

    def __init__(self, places: int | None = None) -> None:
        self.places = places
        self.jobs: list[Job] = []

    def __call__(
        self, job: Job, folder: Path, progress: Callable[[int, int], None] | None, stage: Callable[[str], None] | None
    ) -> list[str]:
        self.jobs.append(job)
        assert folder.is_dir()
        total = len(job.photographs)
        for name in (FEATURES, MATCHES, MAP):
            if stage is not None:
                stage(name)
            if progress is not None:
                progress(total, total)
        placed = list(job.photographs)[: self.places]
        if placed:
            write_model(job, [photograph.name for photograph in placed])
        return [photograph.name for photograph in placed]


def write_model(job: Job, names: list[str]) -> None:
    """A model of COLMAP's in which the first photographs of ``job`` stand around the origin."""
    place = Path(job.output)
    place.mkdir(parents=True)
    cameras = {photograph.name: photograph.camera for photograph in job.photographs}
    with open(place / "cameras.bin", "wb") as file:
        file.write(struct.pack("<Q", len(job.cameras)))
        for index, camera in enumerate(job.cameras):
            file.write(struct.pack("<iiQQ", index + 1, 2, camera.width, camera.height))
            file.write(struct.pack("<4d", camera.start, camera.width / 2, camera.height / 2, 0.0))
    with open(place / "images.bin", "wb") as file:
        file.write(struct.pack("<Q", len(names)))
        for index, (name, pose) in enumerate(zip(names, poses())):
            q, t = extrinsics(pose)
            file.write(struct.pack("<i7di", index + 1, *q, *t, cameras[name] + 1) + name.encode() + b"\0")
            file.write(struct.pack("<Q", 0))
    with open(place / "points3D.bin", "wb") as file:
        file.write(struct.pack("<Q", len(POINTS)))
        for index, point in enumerate(POINTS):
            file.write(struct.pack("<Q3d3BdQii", index + 1, *point, 10, 20, 30, 0.5, 1, 1, 0))
