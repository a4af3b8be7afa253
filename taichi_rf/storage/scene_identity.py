"""What a scene holds, as a few kilobytes of JSON: by it a checkpoint knows the scene that it was trained on.

Content decides, wherever the files lie and whatever they are called: every camera and every decoded image has a digest
of its own, so that it can be said which ones differ. What is judged by, the test views, is no part of it: nothing is
learnt from them, and how many are loaded may change from one time to the next.
"""

from __future__ import annotations

import contextlib
import weakref
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.coding.checks import shown
from taichi_rf.core.errors import UserError
from taichi_rf.core.pixel_pool import PixelPool

BLOCKS = 4
"""A side: an image's look is the mean colour and alpha of so many blocks by so many."""

SAME_LOOK = 2
"""Of 255, by which the means of blocks may differ when another decoder, or another device in the case of a built-in
scene, has made the same picture."""

_last: tuple[weakref.ref[Any], dict[str, Any]] | None = None  # one scene is trained on at a time, and saved often


def identity(scene: Any) -> dict[str, Any]:
    """What tells whether a scene is the one that was trained on, as JSON.

    Args:
        scene: as :class:`~taichi_rf.training.trainer.Trainer` takes it, and not changed in place later. Of a solid the
            mesh alone decides: its pictures are drawn from it.

    Returns:
        ``name`` (for people), ``images`` (their number), ``size`` (one, or one an image), ``mesh``, and without a mesh
        ``cameras``, ``pixels`` and ``looks`` (one entry an image) and ``depths`` (one digest, empty where there are
        none).
    """
    global _last
    last = _last  # a thread that loads photographs may be here, too
    if last is not None and last[0]() is scene:
        return last[1]
    split, shape = scene.train, getattr(scene, "shape", None)
    cameras = split.cameras
    found: dict[str, Any] = {
        "name": scene.name,
        "images": len(cameras),
        "size": _sizes(cameras),
        "mesh": "" if shape is None else shape.digest,
    }
    if shape is None:
        depths = getattr(split, "depths", None)
        lenses = getattr(cameras, "lenses", ()) or [None] * len(cameras)
        found["cameras"] = [
            _digest(pose, inside) if lens is None else _digest(pose, inside, lens.numbers())
            for pose, inside, lens in zip(cameras.poses, cameras.intrinsics, lenses, strict=True)
        ]
        pixels = split.pixels
        found["pixels"] = [_digest(pixels.raw(index)) for index in range(len(pixels))]
        found["looks"] = [look(pixels, index).tobytes().hex() for index in range(len(pixels))]
        found["depths"] = "" if depths is None else _digest(*depths)
    with contextlib.suppress(TypeError):  # a scene of a kind that cannot be referred to weakly is computed anew
        _last = weakref.ref(scene), found
    return found


def content(scene: Any) -> str:
    """One digest of all that :func:`identity` finds but the name: equal for the same cameras and pixels, or mesh."""
    found = identity(scene)
    if found["mesh"]:
        return str(found["mesh"])
    parts = [*map(str, found["size"]), *found["cameras"], *found["pixels"]]
    return blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()


def compare(saved: dict[str, Any], scene: Any, *, depth: bool) -> tuple[str, ...]:
    """Warnings about a scene that may be the one with the identity ``saved``, none where it is for sure.

    Args:
        depth: whether depth images are learnt from.

    Raises:
        UserError: it is another scene; the message says what differs and which image first.
        KeyError, TypeError, ValueError: ``saved`` is no identity.
    """
    now = identity(scene)
    if saved["mesh"] != now["mesh"]:
        raise UserError("mesh: it has changed")
    if now["mesh"]:
        return ()
    for key, label in (("images", "number of training images"), ("size", "image size")):
        if saved[key] != now[key]:
            raise UserError(f"{label}: {shown(saved[key])} then, {shown(now[key])} now")
    names, count = scene.train.names, now["images"]
    if isinstance(saved["cameras"], str):  # as version 0.1.0 wrote it
        if saved["cameras"] != _digest(scene.train.cameras.poses, scene.train.cameras.intrinsics):
            raise UserError("cameras: they have changed")
        return (
            "the checkpoint is of version 0.1.0, which did not note what the images were: see that they are the same",
        )
    if moved := _different(saved["cameras"], now["cameras"]):
        raise UserError(f"cameras: they have changed, {_which(moved, count, names)}")
    other = _different(saved["pixels"], now["pixels"])
    looks = saved["looks"]
    if len(looks) != count:
        raise ValueError(f"{count} images have as many looks, not {len(looks)}")
    replaced = [index for index in other if not _alike(looks[index], now["looks"][index])]
    if replaced:
        raise UserError(f"images: they have changed, {_which(replaced, count, names)}")
    if depth and saved["depths"] != now["depths"]:
        gone = "" if now["depths"] else "; there are none now"
        raise UserError(f"depth images: they have changed{gone}")
    if other:
        return (
            f"images differ a little from those that were trained on, {_which(other, count, names)}: they were decoded "
            "in another way, or retouched",
        )
    return ()


def _sizes(cameras: Any) -> Any:
    """Width and height of the images; where they differ, of each of them."""
    sizes = np.stack([cameras.widths, cameras.heights], axis=1).tolist()
    return sizes[0] if sizes and all(size == sizes[0] for size in sizes) else sizes


def look(pixels: PixelPool, index: int) -> npt.NDArray[np.uint8]:
    """The mean of each of the blocks of image ``index``, (rows, columns, 4) of 0 to 255; of a large one, of every n-th
    pixel."""
    step = max(1, int(min(pixels.widths[index], pixels.heights[index])) // 128)
    some = pixels.thinned(index, step).astype(np.float32)
    for axis in (0, 1):
        size = some.shape[axis]
        starts = np.arange(min(BLOCKS, size)) * size // min(BLOCKS, size)
        sums = np.add.reduceat(some, starts, axis=axis)
        lengths = np.diff(starts, append=size).astype(np.float32)
        some = sums / lengths.reshape([-1 if i == axis else 1 for i in range(3)])
    means: npt.NDArray[np.uint8] = (np.clip(np.nan_to_num(some), 0, 1) * 255).round().astype(np.uint8)
    return means


def _digest(*arrays: npt.NDArray[Any]) -> str:
    found = blake2b(digest_size=8)
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _alike(one: str, other: str) -> bool:
    a, b = (np.frombuffer(bytes.fromhex(text), np.uint8).astype(int) for text in (one, other))
    return a.shape == b.shape and bool((np.abs(a - b) <= SAME_LOOK).all())


def _different(saved: list[str], now: list[str]) -> list[int]:
    return [index for index, (a, b) in enumerate(zip(saved, now, strict=True)) if a != b]


def _which(found: list[int], count: int, names: tuple[str, ...]) -> str:
    return f"{len(found)} of {count}, the first is {names[found[0]]!r}"
