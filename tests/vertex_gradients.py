"""Gradients of an octree's vertices, put where adjoints would leave them."""

import numpy as np

from taichi_rf.fields.quantisers.base import Gradients


def put_gradients(gradients: Gradients, features: np.ndarray, density: np.ndarray | None = None) -> None:
    """Ask for (capacity, 16) of the vertices' rows, and for (capacity,) of their densities alone."""
    density = np.zeros(len(features)) if density is None else density
    gradients.features.from_numpy(features.astype(np.float32))
    gradients.density.from_numpy(density.astype(np.float32))
    gradients.touched.from_numpy((features.any(axis=1) | (density != 0)).astype(np.int32))
