"""Focal lengths and principal points from a scene's JSON.

A frame's own keys go before those of the whole file. Two sources that contradict each other are never mixed in silence.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from scenes.files.images import Header
from scenes.files.values import Notes, bounded, number
from taichi_rf.core.errors import UserError

Keys = dict[str, Any]

ALIASES = {"fl_x": "fx", "fl_y": "fy"}
SAID, REFUSED = 1.01, 1.1
"""Factors by which an angle of view and a focal length may differ before that is said, and before it is refused."""
FOCAL_RANGE = (0.01, 1000.0)
"""Focal lengths over the image's side that a camera can have: angles of view of 178 degrees to 3 arc minutes."""
USUAL_ANGLES = (10.0, 140.0)
"""Degrees; beyond them it is likelier that the focal length belongs to images of another size."""
OFF_CENTRE = (0.15, 0.4)
"""Of a side, by which a principal point may be off the middle before it is said, and, without 'w' and 'h', refused."""
TOLD_SIDES = (1.0, 1e6)
"""Pixels that 'w' and 'h' can be."""
OBLONG = 1.05
"""Height of a pixel over its width, or the reverse, before it is said."""
MATRIX = "K"
SKEWED = 1e-3
"""Of the focal length, below which the skew of a matrix is rounding."""
ADD_SIZE = "if it belongs to images of another size, add 'w' and 'h', the size of those"


def with_matrix(keys: Keys, where: str) -> Keys:
    """``keys`` with the focal lengths and the principal point of a 3 x 3 matrix ``K`` among them, where they have one.

    Raises:
        UserError: it is no such matrix, is skewed, or contradicts what stands beside it.
    """
    value = keys.get(MATRIX)
    if value is None:
        return keys
    place = f"{where}, key '{MATRIX}'"
    try:
        matrix = np.array(value, dtype=np.float64).reshape(3, 3)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{place}: 3 rows of 3 numbers are expected ({bounded(error)})") from error
    if not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise UserError(f"{place}: finite numbers with focal lengths above 0 on the diagonal are expected")
    if np.abs(matrix[2] - (0, 0, 1)).max() > 1e-6 or abs(matrix[1, 0]) > 1e-6 * matrix[1, 1]:
        raise UserError(f"{place}: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] is expected, not {bounded(matrix.tolist())}")
    if abs(matrix[0, 1]) > SKEWED * matrix[0, 0]:
        raise UserError(f"{place}: a skew of {matrix[0, 1]:g} is not supported; it is 0 for every usual camera")
    found = dict(zip(("fl_x", "fl_y", "cx", "cy"), matrix[[0, 1, 0, 1], [0, 1, 2, 2]].tolist(), strict=True))
    for name, number_there in found.items():
        told = keys.get(name)
        if told is not None and abs(number({name: told}, name, where) - number_there) > (SAID - 1) * abs(number_there):
            raise UserError(f"{where}: '{MATRIX}' and '{name}' contradict each other; leave one of them")
    return {**found, **{key: value for key, value in keys.items() if value is not None}}


def choose_orientation(top: Keys, frame: Keys, header: Header, where: str, notes: Notes) -> int:
    """The EXIF orientation by which the image has to be turned for the JSON's camera: the file's own, or 1 for none.

    A JSON whose size, or else whose principal point, is that of the stored pixels was made by a program that does not
    look at the orientation: its poses go with those pixels, too.
    """
    if header.orientation == 1:
        return 1
    told = _told_size(top, frame, where)
    if told is not None and header.orientation >= 5 and header.width != header.height:
        stored, upright = (_mismatch(told, header.size(turn)) for turn in (1, header.orientation))
        if stored < upright:
            notes.add(
                "not turned",
                f"{where}: the image's EXIF orientation {header.orientation} is not applied, for 'w', 'h' or 'cx', "
                "'cy' describe it as it is stored",
            )
            return 1
    notes.add("turned", f"{where}: the image is turned as its EXIF orientation {header.orientation} says")
    return header.orientation


def read_intrinsics(
    top: Keys, frame: Keys, size: tuple[int, int], where: str, notes: Notes
) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy in pixels of an upright image of ``size`` (width, height).

    Args:
        top: the keys of the whole file; ``frame`` those of the frame, which go before them.
        where: file and frame, the opening of every message.
        notes: told what is odd but usable.

    Raises:
        UserError: a number is missing, is none, contradicts another, or cannot be a pinhole camera's.
    """
    width, height = size
    told = _told_size(top, frame, where) if "w" in {**top, **frame} or "h" in {**top, **frame} else None
    if told is not None and any(side and abs(side - real) > 1 for side, real in zip(told, size, strict=True)):
        notes.add(
            "copies",
            f"{where}: the image is {width} x {height} pixels, and 'w' and 'h' say {told[0] or width:g} x "
            f"{told[1] or height:g}; the focal length is scaled to it",
        )
    levels = [
        _Level(keys, {**other, **keys}, size, where) for keys, other in ((frame, top), (top, frame))
    ]  # focal lengths may be of another size, which their own level tells best
    own_x = [level for level in levels if level.has("fl_x") or "camera_angle_x" in level.keys]
    own_y = [level for level in levels if level.has("fl_y") or "camera_angle_y" in level.keys]
    if own_x:
        fx, across, down = own_x[0].focal("x", notes), own_x[0].across, own_x[0].down
        fy = fx / across * down
    elif own_y:
        fy = own_y[0].focal("y", notes)
        fx = fy / own_y[0].down * own_y[0].across
    else:
        raise UserError(
            f"{where}: neither 'camera_angle_x' nor 'fl_x' is given; one of them is needed at the top level"
        )
    if own_x and own_y and (own_y[0].has("fl_y") or not own_x[0].has("fl_x")):
        fy = own_y[0].focal("y", notes)
    if len(own_x) == 2 and _factor(fx, general := own_x[1].focal("x", notes)) > SAID:
        own, other = (level.says("x") for level in own_x)
        notes.add(
            "two levels",
            f"{where}: its own '{own}', a focal length of {fx:.6g} pixels, is used, though the file's '{other}' says "
            f"{general:.6g}",
        )
    centres = []
    for key, side, name in (("cx", width, "across"), ("cy", height, "down")):
        level = levels[0] if key in frame else levels[1]
        scale = getattr(level, name)
        centres.append(number(level.keys, key, where, default=side / scale / 2) * scale)
    _check_focal("x", fx, width, where)
    _check_focal("y", fy, height, where)
    if told is None and not {"cx", "cy", "camera_angle_x", "camera_angle_y"} & {*top, *frame}:
        notes.add(
            "size",
            f"{where}: nothing tells the size of the images to which the focal length belongs, so it is taken for "
            f"{width} x {height} pixels, where {fx:.6g} pixels are an angle of view of {_degrees(fx, width):.3g} "
            f"degrees; {ADD_SIZE}",
        )
    elif told is None and not USUAL_ANGLES[0] <= _degrees(fx, width) <= USUAL_ANGLES[1]:
        notes.add(
            "angle of view",
            f"{where}: a focal length of {fx:.6g} pixels for an image of {width} is an angle of view of "
            f"{_degrees(fx, width):.3g} degrees; {ADD_SIZE}",
        )
    _check_centre(centres, size, where, told, notes)
    if _factor(fx, fy) > OBLONG:
        notes.add(
            "oblong", f"{where}: focal lengths of {fx:.4g} across and {fy:.4g} down say that pixels are not square"
        )
    return fx, fy, centres[0], centres[1]


class _Level:
    """The keys of a frame or of the whole file, with the size to which they refer."""

    def __init__(self, keys: Keys, merged: Keys, size: tuple[int, int], where: str) -> None:
        self.keys, self.where = keys, where
        self.width, self.height = size
        self.across = self.down = 1.0
        told = _told_size(merged, {}, where) if "w" in merged or "h" in merged else None
        if told is None:
            return
        told = (told[0] or told[1] * self.width / self.height, told[1] or told[0] * self.height / self.width)
        if not all(TOLD_SIDES[0] <= side <= TOLD_SIDES[1] for side in told):
            raise UserError(f"{where}, keys 'w' and 'h': {told[0]:g} x {told[1]:g} is not the size of an image")
        if _mismatch(told, size) > 0:
            turned = _mismatch(told[::-1], size) == 0
            raise UserError(
                f"{where}, keys 'w' and 'h': {told[0]:g} x {told[1]:g} is not the shape of its image, which is "
                f"{self.width} x {self.height} pixels" + ("; width and height are swapped" if turned else "")
            )
        self.across, self.down = self.width / told[0], self.height / told[1]

    def has(self, key: str) -> bool:
        return key in self.keys or ALIASES[key] in self.keys

    def says(self, axis: str) -> str:
        """The key that decides about the focal length along ``axis``."""
        return next(key for key in (f"fl_{axis}", f"f{axis}", f"camera_angle_{axis}") if key in self.keys)

    def focal(self, axis: str, notes: Notes) -> float:
        """The focal length along ``axis`` in pixels of the image; explicit ones go before angles of view."""
        key, angle = f"fl_{axis}", f"camera_angle_{axis}"
        side, scale = (self.width, self.across) if axis == "x" else (self.height, self.down)
        by_angle = _focal(self.keys, angle, side, self.where) if angle in self.keys else None
        if not self.has(key):
            assert by_angle is not None
            return by_angle
        found = {
            name: number(self.keys, name, self.where, low=0.0) for name in (key, ALIASES[key]) if name in self.keys
        }
        explicit = found.get(key, found.get(ALIASES[key], 0.0))
        if len(found) == 2 and _factor(*found.values()) > SAID:
            raise UserError(f"{self.where}: '{key}' and '{ALIASES[key]}' contradict each other; leave one of them")
        explicit *= scale
        if by_angle is not None and (factor := _factor(explicit, by_angle)) > SAID:
            text = (
                f"{self.where}: '{next(iter(found))}' is a focal length of {explicit:.6g} pixels of the image, but "
                f"'{angle}' says {by_angle:.6g}"
            )
            if factor > REFUSED and axis == "x":
                raise UserError(f"{text}; remove the wrong one, or {ADD_SIZE}")
            notes.add(f"angle {axis}", f"{text}; the focal length is used")
        return explicit


def _told_size(top: Keys, frame: Keys, where: str) -> tuple[float, float] | None:
    """Width and height that the JSON has in mind, 0 for one that it does not tell; without either, twice the principal
    point; else None."""
    keys = {**top, **frame}
    if "w" in keys or "h" in keys:
        width, height = (number(keys, key, where, low=0.0) if key in keys else 0.0 for key in ("w", "h"))
        return width, height
    if "cx" in keys and "cy" in keys:
        cx, cy = (number(keys, key, where) for key in ("cx", "cy"))
        return (2 * cx, 2 * cy) if cx > 0 and cy > 0 else None
    return None


def _mismatch(told: tuple[float, ...], size: tuple[int, int]) -> float:
    """How far two sizes are from being scaled copies, 0 where rounding to whole pixels explains it."""
    if 0 in told:
        return 0.0
    low = max((side - 1) / other for side, other in zip(size, told))
    high = min((side + 1) / other for side, other in zip(size, told))
    return max(0.0, low - high) / max(low, 1e-300)


def _factor(a: float, b: float) -> float:
    """The larger of two positive numbers over the smaller."""
    low, high = sorted((a, b))
    return high / low if low > 0 else math.inf


def _focal(keys: Keys, key: str, side: int, where: str) -> float:
    angle = number(keys, key, where, low=0.0)
    if angle >= math.pi:
        raise UserError(
            f"{where}, key '{key}': {angle:g} is not an angle of view; radians between 0 and pi are expected"
        )
    tangent = math.tan(angle / 2)
    return side / 2 / tangent if tangent > 0 else math.inf


def _degrees(focal: float, side: int) -> float:
    """The angle of view of ``side`` pixels."""
    return math.degrees(2 * math.atan(side / 2 / focal))


def _check_focal(axis: str, focal: float, side: int, where: str) -> None:
    """Refuse what no pinhole camera has."""
    if not FOCAL_RANGE[0] * side <= focal <= FOCAL_RANGE[1] * side:
        raise UserError(
            f"{where}, key 'fl_{axis}' or 'camera_angle_{axis}': a focal length of {focal:g} pixels for an image of "
            f"{side} cannot be; {ADD_SIZE}"
        )


def _check_centre(centres: list[float], size: tuple[int, int], where: str, told: object, notes: Notes) -> None:
    off = max(abs(centre / side - 0.5) for centre, side in zip(centres, size))
    text = (
        f"{where}, keys 'cx' and 'cy': the principal point {centres[0]:g}, {centres[1]:g} is far from the middle of "
        f"the image, which is {size[0]} x {size[1]} pixels"
    )
    if not off < (0.5 if told is not None else OFF_CENTRE[1]):
        raise UserError(f"{text}; {ADD_SIZE}")
    if off > OFF_CENTRE[0]:
        notes.add("off centre", f"{text}; {ADD_SIZE}")
