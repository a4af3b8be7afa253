"""What the viewer needs of a model, and how its pictures are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Field(Protocol):
    """What the viewer needs of a field."""

    @property
    def num_levels(self) -> int:
        """How many levels there are."""

    @property
    def level_name(self) -> str:
        """What a level is called: "rank" or "LOD"."""


class Model(Protocol):
    """What the viewer needs of a model."""

    @property
    def field(self) -> Field:
        """What has the levels."""

    @property
    def world_box(self) -> npt.NDArray[np.float32]:
        """(2, 3) of what there is to turn around, world units."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known of where the model comes from."""

    def bytes_at(self, level: int) -> int:
        """What a file of the first ``level`` levels takes."""


Render = Callable[..., npt.NDArray[np.float32]]
"""render(model, camera, level=, mode=) -> (H, W, 3) float32 in [0, 1]."""
