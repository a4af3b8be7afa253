"""Scenes written as two data sets are published of which no copy can be had: a scene that is at hand, converted.

Layouts: https://github.com/facebookresearch/NSVF (README, ``load_intrinsics``), and RTMV as kaolin-wisp reads it:
columns of ``cam2world`` as rows, distances along rays, colours that are not multiplied by alpha.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from scenes.base import Scene, Split
from taichi_rf.kernels.rays import Camera

NOTHING = -3.0e38
"""What renderers write where a ray meets nothing."""


def straight(image: np.ndarray) -> np.ndarray:
    """(H, W, 4) with colours that are not multiplied by alpha."""
    image = image.astype(np.float32)
    colour = np.divide(image[..., :3], image[..., 3:], out=np.zeros_like(image[..., :3]), where=image[..., 3:] > 0)
    return np.concatenate([colour, image[..., 3:]], axis=-1)


def light(colour: np.ndarray) -> np.ndarray:
    """sRGB to linear light (IEC 61966-2-1)."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def write_nsvf(scene: Scene, root: Path, *, old_intrinsics: bool = False) -> None:
    """``scene`` as NSVF has it; with ``old_intrinsics`` as its synthetic scenes have them."""
    for name in ("rgb", "pose"):
        (root / name).mkdir(parents=True)
    for prefix, split in (("0", scene.train), ("2", scene.test)):
        for index in range(len(split)):
            pixels = np.round(255 * straight(split.images[index])).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"rgb/{prefix}_{index:04}.png")
            pose = np.eye(4)
            pose[:3] = split.cameras.poses[index] * (1, -1, -1, 1)  # right, down, forward
            np.savetxt(root / f"pose/{prefix}_{index:04}.txt", pose)
    camera = scene.train.cameras[0]
    matrix = np.eye(4)
    matrix[:2, :3] = [[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy]]
    if old_intrinsics:
        text = f"{camera.fx} {camera.cx} {camera.cy} 0.\n0. 0. 0.\n0.\n1.\n{camera.height} {camera.width}\n"
        (root / "intrinsics.txt").write_text(text)
    else:
        np.savetxt(root / "intrinsics.txt", matrix)
    (root / "bbox.txt").write_text(" ".join(f"{value:g}" for value in scene.box.ravel()) + " 0.1\n")


def write_rtmv(scene: Scene, root: Path) -> None:
    """``scene`` as RTMV has it: training views first, then the test views."""
    import OpenEXR

    root.mkdir(parents=True)
    number = 0
    for split in (scene.train, scene.test):
        for index, camera in enumerate(split.cameras):
            image = straight(split.images[index])
            image[..., :3] = light(image[..., :3])
            rgba = {name: image[..., at].astype(np.float16) for at, name in enumerate("RGBA")}
            header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, rgba).write(str(root / f"{number:05}.exr"))
            depth = _along_rays(split, index)
            OpenEXR.File(header, dict.fromkeys("RGB", depth)).write(str(root / f"{number:05}.depth.exr"))
            (root / f"{number:05}.json").write_text(json.dumps(_view(scene, camera)))
            number += 1


def _along_rays(split: Split, index: int) -> np.ndarray:
    """Distances from the camera of the view's depths along its axis."""
    assert split.depths is not None
    camera, depth = split.cameras[index], split.depths[index]
    _, directions = camera.rays()
    cosines = (directions @ -camera.pose[:, 2]).reshape(depth.shape)
    return np.where(depth > 0, depth / cosines, NOTHING).astype(np.float32)


def _view(scene: Scene, camera: Camera) -> dict:
    matrix = np.eye(4)
    matrix[:3] = camera.pose
    eye = camera.position.astype(float)
    return {
        "camera_data": {
            "width": camera.width, "height": camera.height,
            "camera_look_at": {
                "at": (eye - camera.pose[:, 2]).tolist(), "eye": eye.tolist(), "up": camera.pose[:, 1].tolist(),
            },
            "camera_view_matrix": np.linalg.inv(matrix).T.tolist(),
            "cam2world": matrix.T.tolist(),
            "location_world": eye.tolist(),
            "intrinsics": {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy},
            "scene_min_3d_box": scene.box[0].tolist(), "scene_max_3d_box": scene.box[1].tolist(),
            "scene_center_3d_box": scene.box.mean(axis=0).tolist(),
        },
        "objects": [],
    }  # fmt: skip
