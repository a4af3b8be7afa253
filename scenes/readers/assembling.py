"""From parsed frames to a scene: what every reader of photographs does once it knows cameras, images and box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scenes.base import Progress, Scene, Split, check_memory, empty_split, pick_views, spread
from scenes.files.values import Notes
from scenes.framing import (
    HALF_BOX,
    check_aim,
    check_content,
    check_framing,
    check_rays,
    focus_of,
    masked,
    mean_colour,
    near_far,
)  # fmt: skip
from scenes.readers.decoding import cameras_of, images_at_once, memory_needed, read_split
from scenes.readers.masking import check_masks
from scenes.readers.storing import fitting_downscale, storages
from scenes.readers.transforms import Frame, Frames, check_sizes
from scenes.readers.unbounded import BEFORE_NEAREST, ahead, choose, contraction, device_space, nearest_depth
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.rays import Cameras
from taichi_rf.kernels.spaces import BOX, CONTRACTED_BOX, FARTHEST, Contraction, Space
from taichi_rf.storage.placement import Placement
from taichi_rf.storage.world import Up, World

EVERY = 8
"""Where nobody says which views are to judge by, every so many-th is one, the first among them, as LLFF has it."""
OF_POINTS = (1.0, 99.0)
"""Percentiles of the points' coordinates between which the box lies; few of the points beyond are no mistakes."""
MARGIN = 1.1
"""By which a box is larger than the points in it."""
FEWEST_POINTS = 100
OF_DISTANCE = 0.75
"""Half of the box's side over the distance of the cameras to what they look at, where there are no points."""
OF_SPREAD = 3.0
"""Half of the box's side over the spread of cameras that look at no common point."""
NEAR_IN_CONTRACTION = 0.1
"""Where rays begin where nothing says how near anything is, in half sides of the inner cube."""
LEAST_NEAR, MOST_NEAR = 0.02, 0.5
"""Between which they begin otherwise."""
LEVEL = 15.0
"""Degrees by which the mean of what is up for the cameras may be off the z axis before the world is turned."""


@dataclass(frozen=True)
class Options:
    """What the person asks of every reader.

    Attributes: as the arguments of :func:`scenes.load`.
    """

    downscale: int = 1
    views: int | None = None
    max_test_views: int | None = None
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    progress: Progress | None = None
    announce: Callable[[int], None] | None = None
    depth: bool = True
    follow_links: bool = False
    stage: Callable[[str], None] | None = None
    world: World = field(default_factory=World)
    auto: bool = False
    """Whether ``downscale`` is to be chosen, the smallest at which the images fit the memory."""


def split_frames(
    every: Frames, options: Options, training: set[str] | None = None, testing: set[str] | None = None
) -> list[Frames]:
    """Frames to train with and, unless none are wanted, to test with.

    Args:
        every: all frames, in their order.
        training, testing: the names of those to train and to test with, where the scene says it; else every eighth one
            of all by name is a test view.

    Raises:
        UserError: too few are left to train with.
    """
    order = sorted(range(len(every.frames)), key=lambda index: every.frames[index].name)
    if testing is None:
        tests = order[::EVERY] if len(order) > EVERY else []
        trains = [index for index in order if index not in set(tests)]
    else:
        tests = [index for index in order if every.frames[index].name in testing]
        others = ({frame.name for frame in every.frames} if training is None else training) - testing
        trains = [index for index in order if every.frames[index].name in others]
    chosen = pick_views(f"'{every.path}'", len(trains), options.views)
    parts = [every.chosen([trains[index] for index in chosen])]
    if tests and (options.max_test_views is None or options.max_test_views > 0):
        parts.append(every.chosen([tests[index] for index in spread(len(tests), options.max_test_views)]))
    return parts


def placed(placement: Placement, part: Frames) -> Frames:
    """``part`` with its cameras where ``placement`` brings them."""

    def moved(frame: Frame) -> Frame:
        place = placement.points(frame.pose[:, 3])
        return replace(frame, pose=np.concatenate([placement.rotation @ frame.pose[:, :3], place[:, None]], axis=1))

    frames = [moved(frame) for frame in part.frames]
    return replace(part, frames=frames, depth_scale=part.depth_scale * placement.scale)


def as_said(world: World) -> Placement:
    """Of a format that says where its box lies: turned and scaled as ``world`` asks."""
    return Placement(turned(world.up, np.eye(3)), np.zeros(3), world.scale or 1.0)


@dataclass(frozen=True)
class Fit:
    """Where a capture lies once it has been put in place."""

    box: npt.NDArray[np.float32]
    """(2, 3) of what there is to turn around, world units."""
    placement: Placement
    """What was done to the world."""
    space: Space = BOX
    field_box: npt.NDArray[np.float32] | None = None
    """As in :class:`scenes.base.Scene`."""
    near_far: tuple[float, float] | None = None
    """Between which distances rays are worth following; None where the box says it."""


def fitted(
    every: Frames,
    points: npt.NDArray[np.float64] | None,
    world: World,
    notes: Notes,
    nearest: float | None = None,
) -> tuple[Frames, Fit]:
    """Frames turned, moved and scaled so that what there is to learn lies well in the space that suits it.

    In a box: of +-1.5 around the origin, to which the training is tuned. In a contraction: what the cameras look at in
    the inner cube of +-1. In both, the viewer's z is upwards. In device coordinates: the mean camera at the origin, the
    near plane at a distance of 1. A capture may be of any size, anywhere.

    Args:
        every: all frames, also those that are not learnt from: a model that was trained on some of the views has to lie
            where the scene lies when it is judged.
        points: (m, 3) sparse points in the frames' world, where there are any.
        world: what the person says: the space, what is up, and by how much more to scale what is in it.
        notes: told what was done.
        nearest: the least depth at which a camera sees something; by default found from the points.

    Returns:
        The frames, and where they lie; ``world.scale`` changes no box.

    Raises:
        UserError: the space that was asked for does not suit the cameras.
    """
    nearest = nearest_depth(every, points) if nearest is None else nearest
    kind = choose(every, nearest, world.space or "auto")
    if world.box is not None and kind != "box":  # in the units that inspect shows, which are those of that space
        every, fit = fitted(every, points, replace(world, box=None, space=kind), notes, nearest)
        return every, Fit(fit.box, fit.placement)
    if kind == "ndc":
        placement = Placement(*ahead(every, nearest))
        every = placed(placement, every)
        space, field_box = device_space(every)
        notes.add("box", f"'{every.path}': its cameras look ahead: it is learnt in normalised device coordinates")
        return every, Fit(space.world_box(field_box), placement, space, field_box, (0.0, FARTHEST))
    if kind == "contract":
        return _contracted(every, nearest, world, notes)
    rotation = turned(world.up, upright(np.stack([frame.pose for frame in every.frames])))
    every = placed(Placement(rotation, np.zeros(3), 1.0), every)
    cameras = cameras_of(every)
    positions = cameras.poses[:, :, 3].astype(np.float64)
    if points is not None and len(points) >= FEWEST_POINTS:
        low, high = np.percentile(points @ rotation.T, OF_POINTS, axis=0)
        centre, half = (low + high) / 2, MARGIN * (high - low) / 2
        source = f"its {len(points):,} points"
    elif (focus := focus_of(cameras)) is not None:
        centre = focus
        half = np.full(3, OF_DISTANCE * float(np.median(np.linalg.norm(positions - focus, axis=1))))
        source = "what its cameras look at"
    else:
        centre = positions.mean(axis=0)
        half = np.full(3, OF_SPREAD * max(float(np.ptp(positions, axis=0).max()), 1e-6))
        source = "where its cameras stand"
    half = np.maximum(half, 0.2 * half.max())
    scale = HALF_BOX / float(half.max())
    box = (np.stack([-half, half]) * scale).astype(np.float32)
    scale *= world.scale or 1.0
    aside = "" if (rotation == np.eye(3)).all() else "turned upright, "
    notes.add(
        "box",
        f"'{every.path}': the box is made from {source}: the scene is {aside}moved by {_vector(-centre)} and "
        f"scaled by {scale:.4g}",
    )
    return placed(Placement(np.eye(3), -centre, scale), every), Fit(box, Placement(rotation, -centre, scale))


def _contracted(every: Frames, nearest: float | None, world: World, notes: Notes) -> tuple[Frames, Fit]:
    """:func:`fitted` in a contraction."""
    rotation = turned(world.up, upright(np.stack([frame.pose for frame in every.frames])))
    every = placed(Placement(rotation, np.zeros(3), 1.0), every)
    centre, half = contraction(cameras_of(every))
    scale = (world.scale or 1.0) / half
    near = NEAR_IN_CONTRACTION if nearest is None else BEFORE_NEAREST * nearest * scale
    aside = "" if (rotation == np.eye(3)).all() else "turned upright, "
    notes.add(
        "box",
        f"'{every.path}': it has a background, so all of space is learnt, in a contraction: the scene is {aside}moved "
        f"by {_vector(-centre)} and scaled by {scale:.4g}",
    )
    space = Contraction()
    near = float(np.clip(near, LEAST_NEAR, MOST_NEAR))
    placement = Placement(rotation, -centre, scale)
    fit = Fit(space.world_box(CONTRACTED_BOX), placement, space, CONTRACTED_BOX.copy(), (near, FARTHEST))
    return placed(Placement(np.eye(3), -centre, scale), every), fit


def upright(poses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rotation (3, 3) that brings what is up for cameras (n, 3, 4) in the mean to z; none where it nearly is there,
    or where cameras do not agree."""
    up = poses[:, :, 1].mean(axis=0)
    length = float(np.linalg.norm(up))
    if length < 0.2 or up[2] >= length * np.cos(np.radians(LEVEL)):
        return np.eye(3)
    up = up / length
    aside = np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])
    aside /= np.linalg.norm(aside)
    return np.stack([aside, np.cross(up, aside), up])


def assembled(
    root: Path,
    parts: list[Frames],
    fit: Fit,
    options: Options,
    notes: Notes,
    format: str,
    *,
    points: npt.NDArray[np.float64] | None = None,
    reprojection_error: float | None = None,
) -> Scene:
    """Decode the images of ``parts`` (training views, and test views where there are any), and check that they fit.

    Args:
        fit: where it lies.
        format, points, reprojection_error: as in :class:`scenes.base.Scene`.

    Raises:
        UserError: an image is broken, the memory does not suffice, or the cameras do not look at the box.
    """
    box, bounded = fit.box, fit.space is BOX
    if bounded and options.world.box is not None:
        box = np.array(options.world.box, np.float32).reshape(2, 3)
    downscale = options.downscale
    if options.auto:
        downscale = fitting_downscale(parts) or downscale
        parts = [replace(part, downscale=downscale) for part in parts]
        notes.add("downscale", f"'{root}': --downscale auto is {downscale}, at which its images fit the memory")
    for part in parts:
        check_sizes(part)
    kept = storages(parts, notes)
    at_once = images_at_once(parts, kept)
    needed = memory_needed(parts, kept, at_once)
    check_memory(f"'{root}' at --downscale {downscale}", needed)
    if options.announce is not None:
        options.announce(needed)
    cameras = cameras_of(parts[0])
    if bounded:
        check_aim(cameras, box, str(parts[0].path))
    total = sum(len(part.frames) for part in parts)
    splits: list[Split] = []
    for part, storage in zip(parts, kept, strict=True):
        splits.append(read_split(part, storage, at_once, sum(len(split) for split in splits), total, options.progress))
    if len(splits) == 1:
        splits.append(empty_split())
    for part, split in zip(parts, splits, strict=False):
        check_masks(part, split, notes)
    framing: tuple[str, ...] = ()
    background = options.background if bounded or masked(splits[0]) else mean_colour(splits[0])
    if bounded:
        framing = check_framing(splits[0], box, str(parts[0].path), chosen=options.world.box is not None)
    else:
        check_content(splits[0], str(parts[0].path))
    framing += check_rays(splits[0].cameras, str(parts[0].path))
    near, far = fit.near_far or near_far(_together([split.cameras for split in splits]), box)
    near = near if options.world.near is None else options.world.near
    far = far if options.world.far is None else options.world.far
    if near >= far:
        raise UserError(f"--near or --far: rays would go from {near:g} to {far:g}; inspect shows what is usual here")
    return Scene(
        root.name, splits[0], splits[1], box, near, far, background, str(root),
        warnings=(*notes.texts(), *framing), format=format,
        points=None if points is None else points.astype(np.float32), reprojection_error=reprojection_error,
        space=fit.space, field_box=fit.field_box, placement=fit.placement,
        downscale=downscale,
    )  # fmt: skip


def _together(every: list[Cameras]) -> Cameras:
    """All cameras as those of one split; where they stand is what counts."""
    return Cameras(
        np.concatenate([cameras.poses for cameras in every]),
        np.concatenate([cameras.intrinsics for cameras in every]),
        np.concatenate([cameras.widths for cameras in every]),
        np.concatenate([cameras.heights for cameras in every]),
    )


def check_downscale(downscale: int) -> None:
    """Raise UserError for a number of pixels that cannot be averaged."""
    if downscale < 1:
        raise UserError(f"--downscale {downscale}: 1 (full size) or more is expected")


def turned(up: Up | None, otherwise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The rotation (3, 3) that brings the axis ``up`` to z; ``otherwise`` where none is named."""
    if up is None or up == "auto":
        return otherwise
    # The axes change places in turn, so that nothing is mirrored; for a negative axis two of them change their signs.
    turn = np.roll(np.eye(3), {"x": 1, "y": 2, "z": 0}[up[-1]], axis=1)
    return np.diag([1.0, -1.0, -1.0]) @ turn if up.startswith("-") else turn


def _vector(values: npt.NDArray[np.float64]) -> str:
    return f"({', '.join(f'{value + 0.0:.4g}' for value in values)})"
