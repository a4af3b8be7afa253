"""Rays on their way to the device."""

from typing import Any

import numpy as np

from taichi_rf.core.device import copy_rows
from taichi_rf.kernels.rays import sound


def copy_rays(origins: np.ndarray, directions: np.ndarray, box: np.ndarray, o: Any, d: Any) -> None:
    """Copy rays (n, 3), (n, 3) to the first n elements of two arrays of Vec3. Those that mean nothing miss ``box``."""
    origins, directions = sound(origins, directions, box)
    copy_rows(origins, o)
    copy_rows(directions, d)
