"""How the world of a capture was turned, moved and scaled for the training, and the way back.

A capture may be of any size, anywhere; a model lies around the origin. What leaves the program for others, such as a
mesh, is to lie where the capture's own coordinates have it: in metres where those are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.coding.headers import are_numbers, is_number

Points = npt.NDArray[np.float64]

KEY = "placement"
"""Of a model's metadata."""
_LARGEST = 1e12
_SKEW = 1e-3  # of a rotation's entries, which a file has to the last digit


@dataclass(frozen=True)
class Placement:
    """x becomes (rotation x + shift) scale.

    Args:
        rotation: (3, 3).
        shift: (3,).
        scale: above 0.
    """

    rotation: Points
    shift: Points
    scale: float

    @property
    def unmoved(self) -> bool:
        """Whether everything stays where it is."""
        return bool((self.rotation == np.eye(3)).all() and not self.shift.any() and self.scale == 1.0)

    def points(self, points: Points) -> Points:
        """Where points (..., 3) come to be."""
        return (points @ self.rotation.T + self.shift) * self.scale

    def back(self, points: Points) -> Points:
        """Where points (..., 3) came from: the inverse of :meth:`points`."""
        return (points / self.scale - self.shift) @ self.rotation

    def directions_back(self, directions: Points) -> Points:
        """Directions (..., 3) of the model's world in the capture's; their lengths stay."""
        return directions @ self.rotation

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, which :meth:`of` reads."""
        return {"rotation": self.rotation.tolist(), "shift": self.shift.tolist(), "scale": float(self.scale)}

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Placement | None:
        """That of a model with ``metadata``, which come from a file and may be anything; None where they tell of none
        that could be."""
        told = metadata.get(KEY)
        if not isinstance(told, Mapping):
            return None
        rows, shift = told.get("rotation"), told.get("shift")
        scale: Any = told.get("scale")
        if not (isinstance(rows, list) and len(rows) == 3 and all(are_numbers(row, 3, -2, 2) for row in rows)):
            return None
        if not (are_numbers(shift, 3, -_LARGEST, _LARGEST) and is_number(scale, 1 / _LARGEST, _LARGEST)):
            return None
        rotation = np.array(rows, np.float64)
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > _SKEW or np.linalg.det(rotation) < 0:
            return None
        return cls(rotation, np.array(shift, np.float64), float(scale))


UNMOVED = Placement(np.eye(3), np.zeros(3), 1.0)
"""Of a world that is left as it is."""
