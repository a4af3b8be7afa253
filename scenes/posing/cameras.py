"""Which photographs share a camera, and what their EXIF data say of its focal length."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from scenes.files.images import open_image

FOCAL_LENGTH, IN_35_MM, MAKE, MODEL, EXIF = 0x920A, 0xA405, 0x010F, 0x0110, 0x8769
"""EXIF tags: millimetres, millimetres of a camera for 35 mm film, who made it, what it is called; and where all but the
names are."""
DIAGONAL_OF_FILM = 43.27
"""Millimetres: of the 36 x 24 mm that equivalent focal lengths speak of (CIPA DCG-001)."""
USUAL_FOCAL = 1.2
"""Focal length over the longer side where nobody says it, as in COLMAP: it is refined."""
WIDEST, LONGEST = 0.2, 20.0
"""Focal lengths over the longer side between which EXIF is believed."""


@dataclass(frozen=True)
class CameraGuess:
    """What photographs have to agree in to share a camera: size in pixels as they are seen, and what EXIF says."""

    width: int
    height: int
    make: str = ""
    model: str = ""
    millimetres: float = 0.0
    """Focal length as EXIF has it, 0 where it does not say."""
    focal: float = 0.0
    """Focal length in pixels by EXIF, 0 where it does not say."""

    @property
    def start(self) -> float:
        """The focal length in pixels to begin with."""
        return self.focal or USUAL_FOCAL * max(self.width, self.height)


def guess_camera(path: Path, width: int, height: int) -> CameraGuess:
    """What is known of the camera of the photograph in ``path``, which is ``width`` x ``height`` pixels as it is seen.

    Broken EXIF data count as none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(path) as image:
                exif = Image.Image.getexif(image)
                more = exif.get_ifd(EXIF)
    except Exception:  # PIL's parsers raise anything on broken files
        return CameraGuess(width, height)
    equivalent = _number(more.get(IN_35_MM))
    focal = equivalent * math.hypot(width, height) / DIAGONAL_OF_FILM
    if not WIDEST < focal / max(width, height) < LONGEST:
        focal = 0.0
    return CameraGuess(
        width, height, _text(exif.get(MAKE)), _text(exif.get(MODEL)), _number(more.get(FOCAL_LENGTH)), focal
    )


def _number(value: object) -> float:
    try:
        found = float(value)  # type: ignore[arg-type]  # ratios, too
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return 0.0
    return round(found, 2) if math.isfinite(found) and found > 0 else 0.0


def _text(value: object) -> str:
    return value.strip("\0 ")[:80] if isinstance(value, str) else ""
