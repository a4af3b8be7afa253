"""The libraries of the extra ``mesh``, imported when they are needed, and what to install without them."""

from __future__ import annotations

import importlib
from typing import Any

from taichi_rf.core.errors import UserError
from taichi_rf.sdf.mesh import INSTALL

NEEDED = {
    "skimage.measure": "scikit-image",
    "trimesh": "trimesh",
    "fast_simplification": "fast-simplification",
    "scipy.sparse": "scipy",
    "scipy.sparse.csgraph": "scipy",
}
"""Modules, and the packages that they are in."""


def library(module: str) -> Any:
    """The module of that name, one of ``NEEDED``.

    Raises:
        UserError: its package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"meshes need {NEEDED[module]}: {INSTALL}") from error
