"""How cameras, images and box fit together: what the cameras look at, whether it lies in the box, and how far it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scenes.base import Split
from taichi_rf.core.errors import UserError
from taichi_rf.geometry.silhouettes import OPAQUE, SOLID
from taichi_rf.kernels.rays import Cameras

HALF_BOX = 1.5  # the NeRF-synthetic objects fit in [-1.5, 1.5]^3
MIN_NEAR = 0.05  # for cameras beside or inside the box
NEAR_OF_FOCUS = 0.1  # where what they look at is nearer than that, near is this fraction of its distance
REFUSED, WARNED = 0.5, 0.95  # shares of cameras or opaque pixels that look through the box
TINY = 0.1  # of the box's half side: an object of this radius is a cell or two of the first grid
ONE_PLACE = 1e-4  # of the box's side: cameras that are no farther apart stand in one place
CONVERGE = 0.2  # of the distance to the focus: how far the cameras' axes miss it, if they have one
SAMPLED = 256  # opaque pixels of each image
FINE = 256  # pixels a side, of which those without a ray are counted

Points = npt.NDArray[np.float64]


def near_far(cameras: Cameras, box: npt.NDArray[np.float32]) -> tuple[float, float]:
    """The nearest and the farthest distance at which a ray of ``cameras`` can meet ``box`` (2, 3), in world units.

    For cameras within the box, nearest is a little before the lens.

    Args:
        cameras: of one split.
        box: min and max corner.

    Returns:
        Nearest and farthest distance, in world units.
    """
    positions = cameras.poses[:, :, 3].astype(np.float64)
    to_box = np.linalg.norm(positions - np.clip(positions, box[0], box[1]), axis=1)
    to_far_corner = np.linalg.norm(np.maximum(positions - box[0], box[1] - positions), axis=1)
    near = float(to_box.min())
    if near < MIN_NEAR:
        focus = focus_of(cameras)
        least = np.inf if focus is None else NEAR_OF_FOCUS * float(np.linalg.norm(positions - focus, axis=1).min())
        near = max(near, min(MIN_NEAR, least))
    return near, float(to_far_corner.max())


def focus_of(cameras: Cameras) -> Points | None:
    """The point (3,) that the cameras look at: that nearest to all their axes, in the mean of squares. None where the
    axes have no such point, as those of cameras that look ahead or around."""
    positions, axes = cameras.poses[:, :, 3].astype(np.float64), -cameras.poses[:, :, 2].astype(np.float64)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]  # projects on the plane across each axis
    total = across.sum(axis=0)
    if len(cameras) < 2 or np.linalg.cond(total) > 1e6:
        return None
    focus: Points = np.linalg.solve(total, np.einsum("nij,nj->i", across, positions))
    offset = focus - positions
    along = (offset * axes).sum(axis=1)
    missed = np.linalg.norm(np.einsum("nij,nj->ni", across, offset), axis=1)
    return focus if np.median(along) > 0 and np.median(missed) < CONVERGE * np.median(along) else None


def check_aim(cameras: Cameras, box: npt.NDArray[np.float32], where: str) -> None:
    """Check that cameras see something of ``box`` (2, 3) and do not all stand in one place; images are not needed.

    Args:
        cameras: of one split.
        box: min and max corner, in world units.
        where: the file that errors name.

    Raises:
        UserError: they do not; ``where`` is the file to name.
    """
    positions = cameras.poses[:, :, 3].astype(np.float64)
    if len(cameras) > 1 and np.ptp(positions, axis=0).max() <= ONE_PLACE * float((box[1] - box[0]).max()):
        raise UserError(
            f"'{where}': all {len(cameras)} cameras stand in one place, {_vector(positions[0])}, so that nothing says "
            "how far anything is: check the translations, the last column of each 'transform_matrix', and that it goes "
            "from the camera to the world"
        )
    seeing = np.array([bool(_meets(*_some_rays(cameras, i), box).any()) for i in range(len(cameras))])
    if seeing.any():
        return
    distances = np.linalg.norm(positions - box.mean(axis=0), axis=1)
    raise UserError(
        f"'{where}': all {len(cameras)} cameras miss the box from {box[0].tolist()} to {box[1].tolist()} (they stand "
        f"{distances.min():.3g} to {distances.max():.3g} from its centre); centre the object at the origin, scale "
        f"it to fit, and have the cameras look down their -z axis{_advice(cameras, box, None)}"
    )


def check_framing(split: Split, box: npt.NDArray[np.float32], where: str, *, chosen: bool = False) -> tuple[str, ...]:
    """What is wrong with the way in which a split's images show ``box`` (2, 3).

    Measured are the shares of the cameras, and of opaque pixels where images have alpha, that look through the box.

    Args:
        split: images with their cameras.
        box: min and max corner, in world units.
        where: the file that errors name.
        chosen: a person has chosen the box, and is told what lies outside instead of being refused.

    Returns:
        Warnings, where it is usable.

    Raises:
        UserError: the images show nothing, what they show lies outside the box, or most of it does.
    """
    check_content(split, where)
    cameras = split.cameras
    share = float(np.mean([bool(_meets(*_some_rays(cameras, i), box).any()) for i in range(len(cameras))]))
    what, radius = f"{share:.0%} of the cameras look", None
    if masked(split):
        inside, radius = _opaque_pixels(split, box)
        if inside < share:
            share, what = inside, f"{inside:.0%} of the opaque pixels look"
    low, high = box[0].tolist(), box[1].tolist()
    focus = focus_of(cameras)
    if focus is not None and not ((box[0] <= focus) & (focus <= box[1])).all():
        text = f"'{where}': the cameras look at {_vector(focus)}, which is outside the box from {low} to {high}"
        if chosen:
            return (text,)
        raise UserError(text + _advice(cameras, box, radius))
    if share < REFUSED and not chosen:
        raise UserError(f"'{where}': only {what} through the box from {low} to {high}{_advice(cameras, box, radius)}")
    if share < WARNED:
        return (
            f"'{where}': only {what} through the box from {low} to {high}, and the rest is cut off"
            f"{_advice(cameras, box, radius)}",
        )
    if radius is not None and radius < TINY * HALF_BOX:
        return (
            f"'{where}': what the images show is some {2 * radius:.2g} wide, which is little of the box from {low} to "
            f"{high}{_advice(cameras, box, radius)}",
        )
    return ()


def check_rays(cameras: Cameras, where: str) -> tuple[str, ...]:
    """A warning where pixels have no ray, because a lens's distortion folds over before it reaches them.

    Args:
        cameras: of one split.
        where: the file that it names.
    """
    lenses: dict[object, list[int]] = {}
    for index, lens in enumerate(cameras.lenses):
        if lens is not None:
            size = int(cameras.widths[index]), int(cameras.heights[index])
            lenses.setdefault((lens, size, *cameras.intrinsics[index].tolist()), []).append(index)
    images, worst, most = 0, 0.0, 0
    for same in lenses.values():
        _, directions = _some_rays(cameras, same[0])
        if not np.isnan(directions).any():
            continue
        camera = cameras[same[0]]
        _, directions = camera.resized(min(camera.width, FINE), min(camera.height, FINE)).rays()
        share = float(np.isnan(directions).any(axis=1).mean())
        images, worst, most = (
            images + len(same),
            max(worst, share),
            max(most, round(share * camera.width * camera.height)),
        )
    if not images:
        return ()
    return (
        f"'{where}': the distortion of the lens cannot be undone at the rim of {images} of {len(cameras)} images: up "
        f"to {worst:.1%} of an image's pixels ({most:,}) have no ray and are not used",
    )


def masked(split: Split) -> bool:
    """Whether most images have transparent pixels: then the opaque ones are what there is to see."""
    return bool(np.mean([split.pixels.alpha_range(i)[0] <= OPAQUE for i in range(len(split))]) > 0.5)


def mean_colour(split: Split) -> tuple[float, float, float]:
    """What opaque images show on average: what a ray through such a capture is likely to have met where nothing was
    learnt."""
    red, green, blue = (float(channel) for channel in _some_pixels(split)[:, :3].mean(axis=0))
    return red, green, blue


def _some_pixels(split: Split) -> npt.NDArray[np.float32]:
    """(n, 4) pixels here and there, some hundreds of each image."""
    steps = np.maximum(1, np.minimum(split.cameras.widths, split.cameras.heights) // 16)
    some = [split.pixels.thinned(i, int(step)).reshape(-1, 4) for i, step in enumerate(steps)]
    return np.concatenate(some).astype(np.float32)


def check_content(split: Split, where: str) -> None:
    """Raise UserError where the images show nothing: no opaque pixel, or one colour."""
    if split.pixels.total == len(split):
        return  # one pixel an image: who knows
    if np.ptp(_some_pixels(split), axis=0).max() > 1 / 255:
        return
    if max(split.pixels.alpha_range(i)[1] for i in range(len(split))) <= OPAQUE:
        raise UserError(f"'{where}': all {len(split)} images are transparent throughout; there is nothing to learn")
    images = (split.pixels[i] for i in range(len(split)))
    least, most = zip(*((image.min(axis=(0, 1)), image.max(axis=(0, 1))) for image in images), strict=True)
    if (np.max(most, axis=0) - np.min(least, axis=0)).max() <= 1 / 255:
        raise UserError(f"'{where}': all {len(split)} images are of one colour throughout; there is nothing to learn")


def _opaque_pixels(split: Split, box: npt.NDArray[np.float32]) -> tuple[float, float | None]:
    """The share of the opaque pixels whose rays meet the box, and the radius, in world units, of what they show around
    the focus; None without a focus."""
    dice = np.random.default_rng(0)
    focus = focus_of(split.cameras)
    inside, radii = [], []
    for i in range(len(split)):
        opaque = np.flatnonzero(split.pixels.alpha(i).reshape(-1) > SOLID)
        if not len(opaque):
            continue
        chosen = dice.choice(opaque, min(SAMPLED, len(opaque)), replace=False)
        rows, columns = np.divmod(chosen, split.cameras.widths[i])
        origins, directions = split.cameras.pixel_rays(np.full(len(rows), i), columns, rows)
        inside.append(_meets(origins, directions, box))
        if focus is not None:
            radii.append(np.percentile(np.linalg.norm(np.cross(focus - origins, directions), axis=1), 95))
    share = float(np.concatenate(inside).mean()) if inside else 1.0
    return share, float(np.percentile(radii, 90)) if radii else None


def _advice(cameras: Cameras, box: npt.NDArray[np.float32], radius: float | None) -> str:
    """By what the camera positions would have to be moved and scaled, as the end of a message; empty if unknown."""
    focus = focus_of(cameras)
    if focus is None:
        return ""
    half = float((box[1] - box[0]).min()) / 2
    shift = box.mean(axis=0) - focus
    moved = f"move the cameras' positions by {_vector(shift)}" if np.abs(shift).max() > 0.1 * half else ""
    scaled = ""
    if radius is not None and radius > 0 and not TINY * half <= radius <= half:
        scaled = f"scale {'them' if moved else 'the positions of the cameras (--scale)'} by {0.8 * half / radius:.2g}"
    return ": " + " and ".join(part for part in (moved, scaled) if part) if moved or scaled else ""


def _some_rays(cameras: Cameras, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    camera = cameras[index]
    return camera.resized(min(camera.width, 33), min(camera.height, 33)).rays()


def _meets(
    origins: npt.NDArray[np.floating], directions: npt.NDArray[np.floating], box: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Which rays, (N, 3) and (N, 3), meet the box."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slabs = (box[:, None, :] - origins) / directions
    enter, leave = np.fmin(slabs[0], slabs[1]).max(axis=-1), np.fmax(slabs[0], slabs[1]).min(axis=-1)
    return np.asarray((enter < leave) & (leave > 0))


def _vector(values: npt.NDArray[np.floating]) -> str:
    """In words, without what rounding leaves of a zero."""
    least = 1e-4 * float(np.abs(values).max())
    return f"({', '.join('0' if abs(v) <= least else f'{float(v):.3g}' for v in values)})"
