"""How cameras and box fit together: where rays can meet the box, and whether the cameras look at it at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from taichi_rf.errors import UserError
from taichi_rf.rays import Cameras

HALF_BOX = 1.5  # the NeRF-synthetic objects fit in [-1.5, 1.5]^3
CLASSIC_NEAR, CLASSIC_FAR = 2.0, 6.0  # of the published NeRF-synthetic numbers
CLASSIC_DISTANCES = (CLASSIC_NEAR + HALF_BOX, CLASSIC_FAR - HALF_BOX)  # camera to centre: 2..6 holds the ball of 1.5
MIN_NEAR = 0.05  # for cameras beside or inside the box


def near_far(positions: npt.NDArray[np.floating], box: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Where rays from cameras at ``positions`` (N, 3) can meet the box: NeRF-synthetic's 2 and 6 where that fits."""
    positions = positions.astype(np.float64)
    from_centre = np.linalg.norm(positions - box.mean(axis=0), axis=1)
    if CLASSIC_DISTANCES[0] <= from_centre.min() and from_centre.max() <= CLASSIC_DISTANCES[1]:
        return CLASSIC_NEAR, CLASSIC_FAR
    to_box = np.linalg.norm(positions - np.clip(positions, box[0], box[1]), axis=1)
    to_far_corner = np.linalg.norm(np.maximum(positions - box[0], box[1] - positions), axis=1)
    return max(MIN_NEAR, float(to_box.min())), float(to_far_corner.max())


def check_aim(cameras: Cameras, box: npt.NDArray[np.float32], where: str) -> None:
    """Raise UserError when no camera sees the box."""
    for camera in cameras:
        origins, directions = camera.resized(min(camera.width, 33), min(camera.height, 33)).rays()
        with np.errstate(divide="ignore", invalid="ignore"):
            slabs = (box[:, None, :] - origins) / directions
        enter, leave = np.fmin(slabs[0], slabs[1]).max(axis=-1), np.fmax(slabs[0], slabs[1]).min(axis=-1)
        if ((enter < leave) & (leave > 0)).any():
            return
    distances = np.linalg.norm(cameras.poses[:, :, 3], axis=1)
    raise UserError(
        f"'{where}': all {len(cameras)} cameras miss the box from {box[0].tolist()} to {box[1].tolist()} (they stand "
        f"{distances.min():.3g} to {distances.max():.3g} from its centre); centre the object at the origin, scale "
        "it to fit, and have the cameras look down their -z axis"
    )
