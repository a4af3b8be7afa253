"""What every decoder offers: features and view directions in, colours out."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.fields.base import Schema
from taichi_rf.kernels.optim import Parameters


class Decoder(ABC):
    """Colours of rows of features. ``rows`` is how many it can hold at once."""

    kind: str
    features: int
    """Numbers in one row of the features that it reads."""

    compressed: frozenset[str] = frozenset()
    """Names of arrays of :meth:`pack` that are deflated. The MLP's are not: programs of before read its files."""

    @abstractmethod
    def forward(self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any) -> None:
        """colours[first + i] for row i of ``features``; its view direction is ``directions[rays[first + i]]``."""

    @abstractmethod
    def adjoint(
        self, n: int, first: int, features: Any, rays: Any, directions: Any, colours: Any, d_colours: Any
    ) -> Any:
        """After :meth:`forward` on the same rows: adds to the gradients, returns dL/d features (n, features)."""

    def parameters(self) -> list[Parameters]:
        """What the optimiser updates; nothing by default."""
        return []

    def published(self) -> None:
        """Called after parameters changed."""

    def pack(self) -> dict[str, np.ndarray]:
        """Arrays for the file, of the shapes that :meth:`schema` gives."""
        return {}

    def unpack(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`pack`."""

    @classmethod
    def schema(cls) -> Schema:
        """Name, type and shape of what :meth:`pack` stores."""
        return {}

    def coded(self, noise: float, squares: list[np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        """What a coded file stores (see :meth:`taichi_rf.fields.base.Field.coded`), and by how much that is expected to
        raise the mean squared error of a pixel's channel."""
        return {}, 0.0

    @classmethod
    def coded_schema(cls) -> Schema:
        """Name, type and shape of what :meth:`coded` stores."""
        return {}

    def unpack_coded(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of :meth:`coded`, but for what was rounded."""


@ti.func
def sigmoid(x):
    """1 / (1 + e^-x)"""
    return 1.0 / (1.0 + ti.exp(-x))
