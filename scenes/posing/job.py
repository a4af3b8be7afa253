"""What the process that finds poses is asked to do, and what it says while it does it: JSON, one line a message."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scenes.posing.cameras import CameraGuess

FEATURES, MATCHES = "looking for features", "comparing photographs"
MAP, AT_ONCE = "placing photographs", "placing them all at once"
"""The stages, as a person is told."""


@dataclass(frozen=True)
class Photograph:
    """One photograph: the file, the name that it has in the model, and which of the job's cameras took it."""

    path: str
    name: str
    camera: int


@dataclass(frozen=True)
class Job:
    """Photographs to pose, what shares a camera, which to compare, and the folder to write the model into."""

    photographs: tuple[Photograph, ...]
    cameras: tuple[CameraGuess, ...]
    pairs: tuple[tuple[int, int], ...]
    output: str

    def write(self, path: Path) -> None:
        """Write it for the other process."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def read_job(path: Path) -> Job:
    """What :meth:`Job.write` wrote."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        tuple(Photograph(**one) for one in data["photographs"]),
        tuple(CameraGuess(**one) for one in data["cameras"]),
        tuple((int(i), int(j)) for i, j in data["pairs"]),
        data["output"],
    )
