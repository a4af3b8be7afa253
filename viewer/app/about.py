"""What something that was opened once is, in two short lines, from what can be read quickly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from taichi_rf.core.errors import UserError
from taichi_rf.core.plain_text import visible
from taichi_rf.core.sizes import megabytes
from taichi_rf.storage.metadata import title
from taichi_rf.storage.quality import decibels, metadata_of
from taichi_rf.storage.trf import outline
from taichi_rf.training.run import MODEL, THUMBNAIL
from viewer.app.catalogue import Kind, kind_of

_MOST_BYTES, _MOST_PIXELS = 1 << 20, 512  # of a picture, and of its sides: it is small, or not ours


@dataclass(frozen=True)
class About:
    """What something is called, what is to be known of it, and a small picture (h, w, 3) where there is one."""

    name: str
    detail: str
    kind: Kind
    picture: npt.NDArray[np.uint8] | None = None


def about(path: Path) -> About:
    """What is at ``path``: a run, a model file, a scene, or nothing any more. Never raises; reads no level."""
    kind, name = kind_of(path), visible(path.name)
    if kind == "scene":
        return About(name, f"scene in {visible(path.parent.name) or '/'}", kind)
    if kind not in ("run", "model"):
        return About(name, "is gone", kind)
    try:
        header, sizes = outline(path / MODEL if kind == "run" else path)
    except UserError:
        return About(name, "begun, nothing is saved" if kind == "run" else "cannot be read", kind)
    metadata = metadata_of(header)
    quality, method = decibels(metadata, len(sizes)), metadata.get("method")
    parts = [title(metadata, "unnamed"), *([visible(method[:20])] if isinstance(method, str) else [])]
    parts += [f"{quality.text(1)} dB"] if quality is not None else []
    return About(name, ", ".join([*parts, megabytes(sizes[-1])]), kind, _thumbnail(path) if kind == "run" else None)


def _thumbnail(run: Path) -> npt.NDArray[np.uint8] | None:
    """The small picture that a finished training leaves."""
    path = run / THUMBNAIL
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        with Image.open(path, formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB")) if max(image.size) <= _MOST_PIXELS else None
    except (OSError, ValueError, SyntaxError):
        return None
