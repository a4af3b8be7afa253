"""What was understood of a scene, in lines to read and in a picture: cameras, points and box from two sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scenes.base import Scene, sizes_in_words, spread
from scenes.files.images import focal_by_exif
from scenes.framing import focus_of, masked
from scenes.posing.epipolar import agreement
from taichi_rf.evaluation.plot import BLUE, MUTED, ORANGE, Page, fit_text
from taichi_rf.kernels.rays import Camera, Cameras

WIDTH, HEIGHT, PICTURES = 1160, 910, 4
"""Pixels of the page, at most, and how many photographs are shown."""
EDGE, GAP, HEAD = 20, 10, 60
"""Pixels around the page, between its pictures, and above them."""
MOST_POINTS = 6000
BACKWARDS = np.array([1, -1, -1, 1], np.float32)
"""Signs of a pose's columns by which OpenCV's axes become ours."""
AROUND = 0.8
"""Length of the mean of the cameras' axes below which they look in many directions."""
UPSIDE_DOWN = -0.3
"""Mean height of the cameras' y axes below which most of them are upside down."""
LOOKED_AT, DIAGONAL, OTHER_FOCAL = 8, 43.27, 1.3
"""Photographs whose EXIF is read; millimetres across 35 mm film; a factor that crops and rounding do not explain."""
MOST_OFF = 3.0
"""Pixels between shared features and their epipolar lines, in the middle, from which poses are doubted."""
FRUSTUM = 0.12
"""Length of a drawn camera over half of the side of what is shown."""


SPACES = {
    "box": "a box: what is outside is not learnt",
    "contract": "all of space, contracted; what is in the box keeps its shape",
    "ndc": "device coordinates (NDC): all that is ahead of the cameras",
}
"""Where the field lies, in words."""


def facts(scene: Scene) -> list[tuple[str, str]]:
    """Labels and what is known, for a table."""
    train, test = scene.train.cameras, scene.test.cameras
    every = np.concatenate([train.poses, test.poses])
    away = np.linalg.norm(every[:, :, 3] - scene.box.mean(axis=0), axis=1)
    focus = focus_of(train)
    lenses = sorted({lens.projection.replace("_", " ") for lens in (*train.lenses, *test.lenses) if lens is not None})
    rows = [
        ("format", scene.format or "built in"),
        ("views", f"{len(train)} to train with, {len(test)} to judge by"),
        ("images", f"{sizes_in_words(train)}, {'with' if masked(scene.train) else 'without'} alpha"),
        ("angle of view", f"{_span(_angles(train), '{:.1f}')} degrees across"),
        ("lens", f"distorted ({', '.join(lenses)})" if lenses else "none: pinholes"),
        ("depth images", "none" if scene.train.depths is None else "yes"),
        ("space", SPACES[scene.space.kind]),
        ("box", f"{_vector(scene.box[0])} to {_vector(scene.box[1])}"),
        ("near, far", f"{scene.near:.3g}, {scene.far:.3g}"),
        ("cameras", f"{_span(away, '{:.3g}')} from the middle of the box"),
        ("they look at", "no common point" if focus is None else _vector(focus)),
    ]
    if scene.points is not None:
        inside = ((scene.points >= scene.box[0]) & (scene.points <= scene.box[1])).all(axis=1).mean()
        rows.append(("points", f"{len(scene.points):,}, {inside:.0%} of them in the box"))
    if scene.reprojection_error is not None:
        rows.append(("reprojection", f"{scene.reprojection_error:.2f} pixels off on average"))
    return rows


def suspicions(scene: Scene) -> list[str]:
    """What is likely wrong though it can be used, in sentences."""
    cameras, found = scene.train.cameras, []
    positions = cameras.poses[:, :, 3].astype(np.float64)
    middle = scene.box.mean(axis=0)
    forward = -cameras.poses[:, :, 2]
    away = ((middle - positions) * forward).sum(axis=1) < 0
    outside = ((positions < scene.box[0]) | (positions > scene.box[1])).any(axis=1)
    if (turned := int((away & outside).sum())) > 0:
        found.append(f"{turned} of {len(cameras)} cameras stand outside the box and look away from it")
    gaps = np.linalg.norm(positions[:, None] - positions[None], axis=2) + np.eye(len(positions)) * 1e9
    if len(positions) > 1 and gaps.min() < 1e-6 * float((scene.box[1] - scene.box[0]).max()):
        a, b = np.unravel_index(int(gaps.argmin()), gaps.shape)
        found.append(f"'{scene.train.names[a]}' and '{scene.train.names[b]}' were taken from the same place")
    found += _axes(cameras) + _against_exif(scene)
    if scene.reprojection_error is not None and scene.reprojection_error > 2:
        found.append(
            f"points are shown {scene.reprojection_error:.1f} pixels from where they were found: the cameras are not "
            "well known, or their lens was not understood"
        )
    return found


def compared(scene: Scene) -> tuple[list[tuple[str, str]], list[str]]:
    """A row for :func:`facts` and a sentence for :func:`suspicions`, if any, of how far features that two photographs
    share lie from where the poses say. Takes seconds; nothing where points have said it already."""
    if scene.reprojection_error is not None:
        return [], []
    label = "poses"
    try:
        found = agreement(scene.train)
    except ImportError:
        return [(label, "not compared with the photographs: pip install 'taichi-rf[photos]'")], []
    if found is None:
        return [(label, "not compared: photographs that stand near one another share too few features")], []
    row = f"features of {found.pairs} pairs are {found.pixels:.2f} pixels off (median of {found.matches:,})"
    if found.pixels <= MOST_OFF:
        return [(label, row)], []
    return [(label, row)], [
        f"features that two photographs share lie {found.pixels:.0f} pixels from where the poses say: the poses, their "
        "axes, the focal length or the lens is wrong, or the photographs belong to other poses"
    ]


def _axes(cameras: Cameras) -> list[str]:
    """What speaks for axes that another convention has."""
    found = []
    all_around = float(np.linalg.norm(cameras.poses[:, :, 2].mean(axis=0))) < AROUND
    if (
        all_around
        and focus_of(cameras) is None
        and focus_of(replace(cameras, poses=cameras.poses * BACKWARDS)) is not None
    ):
        found.append(
            "the cameras look away from where their axes meet: unless they look around from within, their axes are "
            "OpenCV's (y down, z forward) where y up and z backward are expected"
        )
    if len(cameras) and float(cameras.poses[:, 2, 1].mean()) < UPSIDE_DOWN:
        found.append("the cameras stand on their heads: say with --up what is up, or see whether their y axis is up")
    return found


def _against_exif(scene: Scene) -> list[str]:
    """Whether the focal length is another than some photographs' EXIF says."""
    folder, cameras = Path(scene.source), scene.train.cameras
    if not folder.is_dir():
        return []
    film = DIAGONAL / np.hypot(cameras.widths, cameras.heights)
    pairs = [
        (float(cameras.intrinsics[index, 0] * film[index]), told)
        for index in spread(len(cameras), min(LOOKED_AT, len(cameras)))
        if (told := focal_by_exif(folder / scene.train.names[index])) is not None
    ]
    if not pairs:
        return []
    ours, told = np.median(pairs, axis=0)
    if max(ours / told, told / ours) < OTHER_FOCAL:
        return []
    return [
        f"the cameras have a focal length of {ours:.0f} mm, as on 35 mm film, and the photographs' EXIF says "
        f"{told:.0f} mm: images were cropped or zoomed, or one of them is wrong"
    ]


def picture(scene: Scene, width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """The page: cameras as frusta, points and box from two sides, and four photographs below.

    Args:
        width, height: of the page at most, in pixels; it is no larger than it has to be.
    """
    strip = (width - 2 * EDGE - 3 * GAP) / PICTURES
    tall = strip * scene.train.cameras.heights[0] / scene.train.cameras.widths[0]
    tall = max(min(tall, 0.3 * (height - HEAD)), 1)
    side = max(min((width - 2 * EDGE - 2 * GAP) / 2, height - HEAD - tall - 2 * EDGE), 1)
    page = Page(width, round(HEAD + side + EDGE + tall + EDGE))
    page.text((EDGE, 34), fit_text(scene.name, 22, width / 2), 22)
    page.text(
        (width - EDGE, 34),
        f"{scene.format or 'built in'} · {len(scene.train)} + {len(scene.test)} views",
        14,
        MUTED,
        "rs",
    )
    half = _half(scene)
    titles = ("from behind", "from above") if scene.space.ahead_only else ("from above", "from the side")  # where z is
    for column, (axes, title) in enumerate(zip(((0, 1), (0, 2)), titles, strict=True)):
        left = width / 2 + (GAP if column else -GAP - side)
        _view(page, scene, axes, (left, HEAD, left + side, HEAD + side), half)
        page.text((left + 10, HEAD + 22), title, 14, MUTED)
    top = HEAD + side + EDGE
    for index, view in enumerate(spread(len(scene.train), min(PICTURES, len(scene.train)))):
        x = EDGE + index * (strip + GAP)
        page.picture(np.clip(scene.train.composite(view, scene.background), 0, 1), (x, top, x + strip, top + tall))
    return page.finish()


def _view(page: Page, scene: Scene, axes: tuple[int, int], place: tuple[float, ...], half: float) -> None:
    """One parallel projection onto two axes of the world."""
    left, top, right, bottom = place
    side = right - left
    middle = scene.box.mean(axis=0)
    page.rectangle((left, top, right, bottom), outline=page.theme.rule)

    def at(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        flat = (np.asarray(points, np.float64) - middle)[..., list(axes)] / half
        return np.stack(
            [(left + right) / 2 + flat[..., 0] * side / 2, (top + bottom) / 2 - flat[..., 1] * side / 2], -1
        )

    def inside(spots: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        x, y = spots[..., 0], spots[..., 1]
        return (x > left + 1) & (x < right - 1) & (y > top + 1) & (y < bottom - 1)

    if scene.points is not None:
        step = max(1, len(scene.points) // MOST_POINTS)
        spots = at(scene.points[::step])
        for x, y in spots[inside(spots)]:
            page.rectangle((x, y, x + 0.7, y + 0.7), fill="#98a2b3")
    low, high = at(scene.box[0]), at(scene.box[1])
    page.line([(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]), (low[0], low[1])], width=1.5)
    for cameras, colour in ((scene.train.cameras, BLUE), (scene.test.cameras, ORANGE)):
        for camera in cameras:
            eye, *corners = at(_frustum(camera, FRUSTUM * half))
            if not inside(np.stack([eye, *corners])).all():
                continue
            for corner in corners:
                page.line([tuple(eye), tuple(corner)], colour, 0.7)
            page.line([tuple(corner) for corner in (*corners, corners[0])], colour, 0.7)


def _frustum(camera: Camera, length: float) -> npt.NDArray[np.float64]:
    """The eye and four corners (5, 3) of a camera's picture at a distance."""
    across, down = 0.5 * camera.width / camera.fx, 0.5 * camera.height / camera.fy
    corners = np.array([(-across, down, -1), (across, down, -1), (across, -down, -1), (-across, -down, -1)]) * length
    return np.concatenate([camera.position[None], corners @ camera.pose[:, :3].T + camera.position])


def _half(scene: Scene) -> float:
    """Half of the side of what is shown: the box and nearly all cameras."""
    every = np.concatenate([scene.train.cameras.poses, scene.test.cameras.poses])[:, :, 3]
    reach = np.abs(every - scene.box.mean(axis=0)).max(axis=1)
    return 1.15 * float(max(np.percentile(reach, 98), (scene.box[1] - scene.box[0]).max() / 2))


def _angles(cameras: Cameras) -> npt.NDArray[np.float64]:
    return np.degrees(2 * np.arctan(0.5 * cameras.widths / cameras.intrinsics[:, 0]))


def _span(values: npt.NDArray[np.float64], style: str) -> str:
    low, high = style.format(float(values.min())), style.format(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _vector(values: npt.ArrayLike) -> str:
    return f"({', '.join(f'{value:.3g}' for value in np.asarray(values))})"
