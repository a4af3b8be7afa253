"""What the viewer needs of a model, and how its pictures are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Field(Protocol):
    """What the viewer needs of a field."""

    @property
    def num_levels(self) -> int: ...
    @property
    def level_name(self) -> str: ...


class Model(Protocol):
    """What the viewer needs of a model."""

    @property
    def field(self) -> Field: ...
    @property
    def box(self) -> npt.NDArray[np.float32]: ...
    @property
    def metadata(self) -> dict[str, Any]: ...
    def bytes_at(self, level: int) -> int: ...


Render = Callable[..., npt.NDArray[np.float32]]
"""render(model, camera, level=, mode=) -> (H, W, 3) float32 in [0, 1]."""
