"""What identifies a rendering: all that its pixels depend on. Frames are gone on with only where it is the same."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.cli.filming.frames import Form, Shot
from taichi_rf.core.files import writing

WORDS = {
    "model": "model",
    "journey": "way, size or level",
    "layers": "layers",
    "alpha": "--transparent",
    "exr": "--exr",
    "mode": "--mode",
    "caption": "--caption",
    "unit": "unit of depth",
    "photographs": "scene",
}
"""The entries of a recipe as a person knows them."""


def recipe_of(
    model: str, shots: Sequence[Shot], form: Form, unit: float, *, captioned: bool = False, photographs: str = ""
) -> dict[str, Any]:
    """What identifies a rendering, as values of JSON, an entry for each of ``WORDS``.

    Args:
        model: see :func:`digest_of`.
        shots: all of the journey, of which only some may be asked for now.
        unit: world units of a step of a 16-bit depth.
        captioned: whether level, size and PSNR stand on the frames.
        photographs: what views are compared with, see :func:`photographs_of`.
    """
    return {
        "model": model,
        "journey": _journey(shots),
        "layers": list(form.layers),
        "alpha": form.alpha,
        "exr": form.exr,
        "mode": form.mode,
        "caption": captioned,
        "unit": unit,
        "photographs": photographs,
    }


def differences(found: Any, recipe: dict[str, Any]) -> list[str]:
    """In what ``found``, which a folder holds and which may be anything, is not ``recipe``, in a person's words."""
    if not isinstance(found, dict):
        return list(WORDS.values())
    return [words for key, words in WORDS.items() if key not in found or found[key] != recipe[key]]


def digest_of(path: Path | None, name: str) -> str:
    """What identifies a model: the bytes of its file, or ``name`` where it has none."""
    digest = blake2b(digest_size=16)
    if path is None:
        digest.update(name.encode())
        return digest.hexdigest()
    with writing(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def photographs_of(scene: Any, split: str) -> str:
    """What identifies the photographs that views are compared with: where they lie, and how small they were made."""
    return f"{scene.source}, {split}, 1/{scene.downscale}"


def _journey(shots: Sequence[Shot]) -> str:
    digest = blake2b(digest_size=16)
    for shot in shots:
        camera = shot.camera
        numbers = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, shot.level)
        for part in (camera.pose.tobytes(), np.array(numbers, np.float64).tobytes(), repr(camera.lens), shot.stem):
            data = part if isinstance(part, bytes) else part.encode()
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
