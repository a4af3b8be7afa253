"""Camera-to-world matrices from files: checked to be a rotation and a place, whoever wrote them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenes.files.values import Notes
from taichi_rf.core.errors import UserError

MAX_COORDINATE = 1e6
ROTATION_TOLERANCE = 1e-2
SCALES = (1e-4, 1e4)
"""Of a rotation that some programs multiply into it; beyond these it is no scale but nonsense."""


def checked_pose(matrix: npt.NDArray[np.float64], where: str, notes: Notes) -> npt.NDArray[np.float64]:
    """(3, 4) camera to world whose left part is a rotation; a uniform scale is taken out of it, and that is noted.

    Args:
        matrix: (3, 4), or (4, 4) with the last row 0, 0, 0, 1.
        where: file, frame and key, the opening of every message.

    Raises:
        UserError: it is neither a rotation nor a scaled one, mirrors, or is not finite.
    """
    if not np.isfinite(matrix).all():
        raise UserError(f"{where} holds NaN or infinity; finite numbers are expected")
    if matrix.shape[0] == 4 and np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise UserError(f"{where}: the last row is {matrix[3].tolist()}; [0, 0, 0, 1] is expected")
    if np.abs(matrix[:3]).max() > MAX_COORDINATE:
        raise UserError(f"{where} holds {np.abs(matrix[:3]).max():g}; up to {MAX_COORDINATE:g} is expected")
    rotation = matrix[:3, :3]
    determinant = float(np.linalg.det(rotation))
    scale = float(np.cbrt(abs(determinant)))
    unscaled = rotation / scale if SCALES[0] <= scale <= SCALES[1] else rotation
    error = float(np.abs(unscaled.T @ unscaled - np.eye(3)).max())
    if error > ROTATION_TOLERANCE:
        error = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
        raise UserError(
            f"{where}: its left 3 x 3 part is not a rotation (columns off from unit length and right angles by "
            f"{error:.2g}); remove scale and shear from the camera"
        )
    if determinant < 0:
        raise UserError(f"{where}: the rotation is left-handed (it mirrors); flip one of its axes")
    if abs(scale - 1) <= ROTATION_TOLERANCE:
        return matrix[:3]
    notes.add("scale in pose", f"{where}: its rotation is scaled by {scale:.4g}, which is taken out")
    return np.concatenate([unscaled, matrix[:3, 3:]], axis=1)
