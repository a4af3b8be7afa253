"""Draws a box of the world over the picture: its edges, and a handle on each of its faces.

Edges that the box itself hides are faint. Handles have the colour of their axis, as in other programs: x red, y green,
z blue.
"""

from __future__ import annotations

import itertools
import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw

from taichi_rf.evaluation.plot import DARK
from taichi_rf.kernels.rays import Camera
from viewer.overlay.blend import Overlay

REACH = 13.0
"""Pixels from a handle's middle, at scale 1, from which the mouse takes hold of it."""
_SMOOTH = 2  # times larger it is drawn, and shrunk in the end
_PARTS = 32  # of an edge: a lens bends it, and what lies behind the camera is left out
_HANDLE, _HOT = 7.0, 9.5  # radius
_LINE, _EDGE = 2.0, 1.5  # width of a line; of what sets it off from a picture of any colour
_AXES = ("#ff6b6b", "#5fd96b", "#6aa8ff")
_OUTSIDE = 8.0  # times the picture's sides away, what is drawn ends
_FAINT = 90  # of 255
_EDGES = [(a, a | 1 << axis) for axis in range(3) for a in range(8) if not a >> axis & 1]

Points = npt.NDArray[np.float64]
Line = list[tuple[float, float]]


class Draggable(Protocol):
    """What is needed of a box."""

    hot: int | None

    def corners(self) -> Points:
        """(8, 3) world units; bit 0 of a corner's number says x, bit 1 y, bit 2 z."""

    def handles(self, camera: Camera) -> Points:
        """(6, 2) pixels; NaN for what lies behind the camera."""

    def facing(self, eye: npt.ArrayLike) -> list[bool]:
        """Of each face whether it is seen from outside."""


class Wireframe:
    """Draws one box; the last drawing is kept until something changes."""

    def __init__(self) -> None:
        self._shows: object = None
        self._drawn: list[Overlay] = []

    def draw(self, box: Draggable, camera: Camera, unit: float) -> list[Overlay]:
        """The box over the picture of ``camera``; ``unit`` is how much larger than in a window of 1280 x 720 it is.
        Nothing where none of it is in the picture."""
        corners, handles, facing = box.corners(), box.handles(camera), box.facing(camera.position)
        shows = (
            corners.tobytes(), handles.tobytes(), tuple(facing), box.hot, camera.pose.tobytes(), camera.fx, camera.fy,
            camera.width, camera.height, unit,
        )  # fmt: skip
        if shows != self._shows:
            self._shows = shows
            self._drawn = self._made(_edges(corners, facing, camera), handles, facing, box.hot, camera, unit)
        return self._drawn

    def _made(
        self,
        edges: list[tuple[Line, bool]],
        handles: Points,
        facing: list[bool],
        hot: int | None,
        camera: Camera,
        unit: float,
    ) -> list[Overlay]:
        points = [point for line, _ in edges for point in line]
        points += [(x, y) for x, y in handles.tolist() if math.isfinite(x) and math.isfinite(y)]
        room = (_HOT + _EDGE + 2) * unit
        if not points:
            return []
        (left, top), (right, bottom) = np.min(points, axis=0) - room, np.max(points, axis=0) + room
        left, top = max(math.floor(left), 0), max(math.floor(top), 0)
        right, bottom = min(math.ceil(right), camera.width), min(math.ceil(bottom), camera.height)
        if left >= right or top >= bottom:
            return []
        image = Image.new("RGBA", (_SMOOTH * (right - left), _SMOOTH * (bottom - top)), (*_rgb(DARK.paper), 0))
        pen = _Pen(ImageDraw.Draw(image), left, top, unit)
        order = sorted(edges, key=lambda edge: edge[1])  # faint ones first
        for line, near in order:
            pen.line(line, near)
        inside = not any(facing)
        for face in sorted(range(6), key=lambda face: (face == hot, facing[face])):
            if np.isfinite(handles[face]).all():
                pen.handle(handles[face], _AXES[face // 2], facing[face] or inside, face == hot)
        small = image.reduce(_SMOOTH)
        return [Overlay(left, top, np.asarray(small))]


class _Pen:
    """Draws on an image that is ``_SMOOTH`` times as large as the part of the picture from ``left`` and ``top``."""

    def __init__(self, draw: ImageDraw.ImageDraw, left: int, top: int, unit: float) -> None:
        self._draw, self._left, self._top, self._unit = draw, left, top, unit

    def line(self, points: Line, near: bool) -> None:
        """An edge of the box."""
        places = [self._at(x, y) for x, y in points]
        opacity = 255 if near else _FAINT
        for width, colour in ((_LINE + 2 * _EDGE, DARK.paper), (_LINE, DARK.mark)):
            dark = opacity * 3 // 5 if colour == DARK.paper else opacity
            self._draw.line(places, (*_rgb(colour), dark), max(1, round(_SMOOTH * width * self._unit)))

    def handle(self, place: Points, colour: str, near: bool, hot: bool) -> None:
        """What a face is taken hold of by."""
        x, y = self._at(*place)
        radius = (_HOT if hot else _HANDLE) * self._unit * _SMOOTH
        edge = _EDGE * self._unit * _SMOOTH
        for r, fill in ((radius + edge, DARK.paper), (radius, DARK.ink), (radius - edge, colour)):
            opacity = 255 if near or hot else 150
            self._draw.ellipse((x - r, y - r, x + r, y + r), (*_rgb(fill), opacity))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return _SMOOTH * (x - self._left), _SMOOTH * (y - self._top)


def _edges(corners: Points, facing: list[bool], camera: Camera) -> list[tuple[Line, bool]]:
    """The parts of the box's edges that lie before the camera, in pixels, and whether none of the box hides them."""
    found = []
    limit = _OUTSIDE * max(camera.width, camera.height)
    inside = not any(facing)
    share = np.linspace(0, 1, _PARTS + 1)[:, None]
    for a, b in _EDGES:
        axis = (a ^ b).bit_length() - 1
        faces = [2 * other + (a >> other & 1) for other in range(3) if other != axis]
        near = inside or any(facing[face] for face in faces)
        places, depth = camera.project(corners[a] + share * (corners[b] - corners[a]))
        good = (depth > 0) & np.isfinite(places).all(axis=1)
        good &= (np.abs(np.where(np.isfinite(places), places, np.inf)) < limit).all(axis=1)
        for shown, part in itertools.groupby(range(_PARTS + 1), key=lambda i: bool(good[i])):
            line = [(float(places[i, 0]), float(places[i, 1])) for i in part] if shown else []
            if len(line) > 1:
                found.append((line if camera.lens is not None else [line[0], line[-1]], near))
    return found


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue
