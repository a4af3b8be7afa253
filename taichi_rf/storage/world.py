"""What a person says of how a folder becomes a scene, where its reader would choose: the format, the box, what is up.

It is kept with a training, in ``config.json`` and in the model's file, so that whoever resumes or judges it sees the
scene in the same world. Nothing here needs Taichi, so that ``--help`` comes at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from taichi_rf.core.errors import UserError

Format = Literal["blender", "nerfstudio", "colmap", "llff", "nsvf", "rtmv", "photos"]
"""Names of the readers of :data:`scenes.registry.FORMATS`."""
Up = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]
SpaceName = Literal["auto", "box", "contract", "ndc"]
Corners = tuple[float, float, float, float, float, float]
"""x, y, z of the lowest corner of a box, and of its highest."""
SCALES = (1e-6, 1e6)
MAX_COORDINATE = 1e6
KEY = "world"
"""Of ``config.json`` and of a model's metadata."""


@dataclass(frozen=True)
class World:
    """How a folder becomes a scene, in place of what its reader would choose."""

    # The folder's format. Default: whichever is recognised.
    format: Format | None = None
    # What is to be learnt: x y z of the lowest corner of a box and x y z of its highest, in the units in which
    # inspect shows it. Default: made to fit.
    box: Corners | None = None
    # Where the field lies. box: a box of the world. contract: all of space, for captures with a background. ndc: the
    # frustum of cameras that look the same way. Default: auto, by the cameras and whether images have alpha.
    space: SpaceName | None = None
    # Begin rays at this distance from the camera, in the same units. Default: where a camera can first meet the box.
    near: float | None = None
    # End rays at this distance. Default: where a camera can last meet the box.
    far: float | None = None
    # Multiply the positions of cameras and points by this, around the origin: less than 1 brings more into the box.
    scale: float | None = None
    # The axis that points up; write a negative one as --up=-y. Default: auto, as the cameras stand, and in
    # NeRF-synthetic scenes z.
    up: Up | None = None

    def check(self) -> None:
        """Raise UserError for what no scene can have."""
        for name, known in (("format", get_args(Format)), ("space", get_args(SpaceName)), ("up", get_args(Up))):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise UserError(f"--{name} {value}: choose one of {', '.join(known)}")
        if self.box is not None:
            if not all(abs(value) <= MAX_COORDINATE for value in self.box):
                raise UserError(f"--box {_listed(self.box)}: numbers up to {MAX_COORDINATE:g} are expected")
            if not all(low < high for low, high in zip(self.box[:3], self.box[3:], strict=True)):
                raise UserError(
                    f"--box {_listed(self.box)}: x, y and z of the lowest corner and then those of the highest are "
                    "expected, each above the first"
                )
        for name in ("near", "far"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise UserError(f"--{name} {value:g}: 0 or more is expected")
        if self.near is not None and self.far is not None and self.near >= self.far:
            raise UserError(f"--near {self.near:g} and --far {self.far:g}: near is to be less than far")
        if self.scale is not None and not SCALES[0] <= self.scale <= SCALES[1]:
            raise UserError(f"--scale {self.scale:g}: {SCALES[0]:g} to {SCALES[1]:g} is expected")

    def said(self) -> dict[str, Any]:
        """What is not left to the reader, as values of JSON."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items() if v is not None}

    def with_said(self, other: World) -> World:
        """This world, but for what ``other`` says."""
        return replace(self, **{key: value for key, value in asdict(other).items() if value is not None})

    @staticmethod
    def from_json(values: Any) -> World:
        """The inverse of :meth:`said`. UserError for anything that it did not write."""
        try:
            if not isinstance(values, Mapping):
                raise TypeError("an object is expected")
            entries = dict(values)
            if entries.get("box") is not None:
                entries["box"] = tuple(_number(value) for value in entries["box"])
                if len(entries["box"]) != 6:
                    raise ValueError("a box has six numbers")
            for key in ("near", "far", "scale"):
                if entries.get(key) is not None:
                    entries[key] = _number(entries[key])
            for key in ("format", "space", "up"):
                if not isinstance(entries.get(key), str | None):
                    raise TypeError(f"{key} is a word")
            found = World(**entries)
            found.check()
        except (TypeError, ValueError, OverflowError, UserError) as error:
            raise UserError(f"'{KEY}' does not say how a scene is read ({error})") from None
        return found

    @staticmethod
    def of(metadata: Mapping[str, Any]) -> World:
        """In which a model with ``metadata`` was trained. UserError where they are spoilt."""
        return World.from_json(metadata.get(KEY, {}))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number is expected")
    return float(value)


def _listed(values: Corners) -> str:
    return " ".join(f"{value:g}" for value in values)
