"""The lens that a scene's JSON describes, or the reason why its camera is none that is supported.

instant-ngp, nerfstudio and others write OpenCV's numbers under OpenCV's names; a frame's own go before the file's.
"""

from __future__ import annotations

from typing import Any

from scenes.files.values import MAX_QUOTED, bounded, kind, number
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.lenses import Lens

Keys = dict[str, Any]

MODELS = {
    "PINHOLE": "", "SIMPLE_PINHOLE": "", "PERSPECTIVE": "", "PERSP": "", "SIMPLE_RADIAL": "k1", "RADIAL": "k1 k2",
    "OPENCV": "k1 k2 p1 p2 k3", "FULL_OPENCV": "k1 k2 p1 p2 k3 k4 k5 k6", "OPENCV_FISHEYE": "k1 k2 k3 k4",
    "FISHEYE": "k1 k2 k3 k4", "SIMPLE_RADIAL_FISHEYE": "k1", "RADIAL_FISHEYE": "k1 k2",
}  # fmt: skip
"""Camera models, and the numbers that each has, in the order of OpenCV's lists."""
MODEL_KEYS = ("camera_model", "camera_type", "lens_model", "projection", "projection_type")
FISHEYES = ("is_fisheye", "fisheye")
OTHER_CAMERAS = (
    "is_equirectangular", "equirectangular", "is_orthographic", "orthographic", "ortho", "ortho_scale",
    "is_spherical", "spherical", "is_panorama", "panorama", "is_latlong", "latlong", "ftheta_p0", "ftheta_p1", "vr180",
)  # fmt: skip
SPEAKING_OF_CAMERAS = ("camera", "lens", "project", "model", "type", "distortion")
"""Of whatever key contains one of these, the value must name none of OTHER_WORDS."""
OTHER_WORDS = ("equirect", "orthogra", "orthopho", "panoram", "spheric", "omnidir", "cylind", "latlong")
DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s1", "s2", "s3", "s4")
DISTORTION_LISTS = ("distortion", "distortion_params", "distortion_coefficients", "dist_coeffs", "distortion_coeffs")
MAX_NUMBER = 1e3
"""Of distortion: no camera has numbers like that, and their squares overflow."""


def read_lens(top: Keys, frame: Keys, where: str) -> Lens | None:
    """The lens of a frame; None for a pinhole.

    Args:
        top: the keys of the whole file; ``frame`` those of the frame, which go before them.
        where: file and frame, the opening of every message.

    Raises:
        UserError: the camera is of another kind, or its numbers contradict its model.
    """
    keys = {**top, **{key: value for key, value in frame.items() if value is not None}}
    model = _model(keys, where)
    values = _numbers(keys, where)
    fisheye = "FISHEYE" in model or any(keys.get(key) for key in FISHEYES)
    if fisheye and model in MODELS and "FISHEYE" not in model and model:
        # instant-ngp writes the model as OPENCV and says beside it that it is a fisheye.
        if model not in ("OPENCV", "PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
            raise UserError(f"{where}: a camera of model {model} is no fisheye; remove one of both")
        model = "OPENCV_FISHEYE"
    if model:
        unknown = [name for name in values if values[name] and name not in MODELS[model].split()]
        if unknown:
            raise UserError(
                f"{where}, key '{unknown[0]}': a camera of model {model} has no such number; {_said(model)}"
            )
    elif not fisheye and values.get("k4"):
        raise UserError(
            f"{where}, key 'k4': it is the last number of a fisheye and a divisor of OpenCV's full model: say which "
            "with 'camera_model', OPENCV_FISHEYE or FULL_OPENCV"
        )
    k1, k2, k3, k4, k5, k6, p1, p2, s1, s2, s3, s4 = (values.get(name, 0.0) for name in DISTORTION)
    if fisheye and (p1 or p2):
        raise UserError(f"{where}, keys 'p1' and 'p2': OpenCV's fisheye has no such numbers")
    lens = Lens("fisheye" if fisheye else "perspective", (k1, k2, k3, k4, k5, k6), (p1, p2), (s1, s2, s3, s4))
    return None if lens.is_pinhole else lens


def _model(keys: Keys, where: str) -> str:
    """The camera's model by its name; empty where none is told."""
    found = ""
    for key in MODEL_KEYS:
        model = keys.get(key)
        if model is None:
            continue
        if not isinstance(model, str) or model.strip().upper() not in MODELS:
            raise UserError(
                f"{where}, key '{key}': {kind(model)} is not supported; known are {', '.join(MODELS)}: reproject the "
                "images"
            )
        found = model.strip().upper()
    told = [key for key in OTHER_CAMERAS if keys.get(key)]
    for key, value in keys.items():
        if isinstance(value, str) and any(word in key.lower() for word in SPEAKING_OF_CAMERAS):
            told += [key] if any(word in value[:MAX_QUOTED].lower() for word in OTHER_WORDS) else []
    if told:
        raise UserError(
            f"{where}, key '{bounded(told[0])}': {kind(keys[told[0]])}; only perspective and fisheye cameras are "
            "supported: reproject the images"
        )
    return found


def _numbers(keys: Keys, where: str) -> dict[str, float]:
    """The numbers of the distortion by their names, from keys of their own or from a list or object of them."""
    found: dict[str, float] = {}
    for name in DISTORTION:
        if keys.get(name) is not None:
            found[name] = number(keys, name, where)
    for key in DISTORTION_LISTS:
        values = keys.get(key)
        if isinstance(values, list):
            names = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4")
            if len(values) > len(names):
                raise UserError(f"{where}, key '{key}': {len(values)} numbers; OpenCV has {len(names)} at most")
            values = dict(zip(names, values))
        elif not isinstance(values, dict):
            if values:
                raise UserError(f"{where}, key '{key}': a list of numbers is expected, not {kind(values)}")
            continue
        for name, value in values.items():
            if name not in DISTORTION:
                raise UserError(f"{where}, key '{key}': '{bounded(name)}' is no number of a lens that is known")
            other = number({key: value}, key, where)
            if found.setdefault(name, other) != other:
                raise UserError(f"{where}: '{key}' and '{name}' contradict each other; leave one of them")
    for name, value in found.items():
        if abs(value) > MAX_NUMBER:
            raise UserError(f"{where}, key '{name}': {value:g} cannot be the distortion of a lens")
    return found


def _said(model: str) -> str:
    names = MODELS[model].split()
    return f"it has {', '.join(names)}" if names else "it has none"
