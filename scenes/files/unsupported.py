"""Keys that other programs write into a scene's JSON, and that mean something which is not done here.

None of them is passed over in silence: it is refused where the result would be wrong, else warned about by its name.
Keys that are not listed are notes of whoever wrote them.
"""

from __future__ import annotations

from typing import Any

from scenes.files.values import Notes, kind, number
from taichi_rf.core.errors import UserError

NOT_APPLIED = {
    "scale": 1, "offset": 0, "aabb_scale": 1, "from_na": False, "from_mitsuba": False, "rolling_shutter": 0,
    "exposure": 0, "envmap": "", "white_transparent": False, "black_transparent": False,
    "mask_color": None, "fix_premult": False, "sharpen": 0, "lens_shift": 0, "shift_x": 0, "shift_y": 0,
}  # fmt: skip
"""Keys of instant-ngp and others with the value at which they change nothing."""
PLACING = ("aabb_scale",)
"""Those that say how large the box is: of no matter where it is made to fit."""
MASKS = ("mask_file_path", "dynamic_mask_path")
DEPTHS = ("depth_path", "depth_file", "integer_depth_scale")
MOVING = ("transform_matrix_start", "transform_matrix_end")


def check_keys(keys: dict[str, Any], where: str, notes: Notes, *, depth: bool, fitted: bool = False) -> None:
    """Refuse or note the keys of a file or of a frame that are not supported.

    Args:
        depth: whether depth images are wanted.
        fitted: the box is made to fit, so that keys which say where it lies change nothing.

    Raises:
        UserError: what the key asks for would change the result.
    """
    for key in MASKS:
        if keys.get(key):
            raise UserError(
                f"{where}, key '{key}': {kind(keys[key])}; masks are given by 'mask_path', white where there is "
                f"something to learn: rename the key, or remove '{key}' to learn from whole images"
            )
    for key in MOVING:
        if keys.get(key) is not None and keys[key] != keys.get("transform_matrix", keys[key]):
            raise UserError(f"{where}, key '{key}': cameras that move during an exposure are not supported")
    for key, neutral in NOT_APPLIED.items():
        value = keys.get(key)
        if value is not None and not (fitted and key in PLACING) and not _is_neutral(value, neutral):
            notes.add(f"key {key}", f"{where}, key '{key}': {kind(value)} is not applied: it is not supported")
    for key in DEPTHS:
        if depth and keys.get(key):
            notes.add(
                f"key {key}",
                f"{where}, key '{key}': {kind(keys[key])} is not read; depth images are given by 'depth_file_path', "
                "and their unit by 'depth_unit_scale_factor'",
            )


def check_still(frames: list[dict[str, Any]], where: str) -> None:
    """Raise UserError when the ``frames`` of the file ``where`` show different moments."""
    times = {number(frame, "time", where) for frame in frames if frame.get("time") is not None}
    if len(times) > 1:
        raise UserError(
            f"{where}, key 'time': frames from {min(times):g} to {max(times):g}; scenes that move are not supported: "
            "keep the frames of one moment, or remove 'time' if nothing moves"
        )


def _is_neutral(value: Any, neutral: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(item == neutral or (not item and not neutral) for item in values)
