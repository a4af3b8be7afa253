"""Allocate every level that a file's header announces; fill each as its chunk arrives.

:class:`Outline` and :meth:`Outline.unpack` need no device and may be used in any thread; :func:`reserve` and
:func:`put` are for the thread that has Taichi. A picture of what has come is that of the file cut there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import HALF, Arrays, Field, Header
from taichi_rf.kernels.pixel_rays import camera_rays
from taichi_rf.kernels.rays import Camera
from taichi_rf.rendering.model import Model
from taichi_rf.storage.model_file import base_schema, checked, level_schema, model_around, take_base, unpacked_level
from taichi_rf.storage.requirements import check_asked, memory

MAX_ASKED = 3 << 29
"""Bytes that a header may ask for, before any of what it promises has come. The largest presets ask for half of
that."""

UNLIKELY, LIKELY_RATIO = 256 << 20, 64
"""Above so many bytes, arrays that are so many times smaller in the file are not waited for: trained numbers are
deflated by a sixth, and coded to a tenth."""


_RAYS = 16  # of a rehearsal


@dataclass(frozen=True)
class Part:
    """One level that has come, ready for the device."""

    level: int
    header: Header
    base: Arrays
    """Of level 1: what the model has besides its field. Empty for the others."""
    prepared: Any
    size: int
    """Bytes of the file up to the end of this level."""


@dataclass(frozen=True)
class Outline:
    """A checked header: what the model will be."""

    kind: type[Field]
    header: Header
    levels: int

    @classmethod
    def of(cls, header: Header, levels: int, size: int | None = None) -> Outline:
        """The outline of a file of ``size`` bytes that promises ``levels`` levels.

        Raises:
            UserError: the header is none of a model, or promises more than is good for this machine, or than a file of
                that size can hold.
        """
        kind, header = checked(header, levels)
        header = {**header, "field": {**header["field"], "num_levels": levels}}  # room is taken for no more
        outline = cls(kind, header, levels)
        asked = memory(kind, header, levels)
        if asked > MAX_ASKED:
            raise UserError(
                f"its header asks for {asked / 2**30:.1f} GiB of memory: more than is taken on trust; download the "
                "file and open that"
            )
        check_asked(kind, header, levels)
        if size is not None and asked > UNLIKELY and outline.promised > LIKELY_RATIO * size:
            raise UserError(
                f"its header promises {outline.promised >> 20} MiB, but the file has {size:,} bytes; download the file "
                "and open that, if it is what you want"
            )
        return outline

    @property
    def promised(self) -> int:
        """Bytes of the arrays of all levels in half precision, none of them deflated."""
        plain = {**self.header, "decoder_coding": HALF, "field": {**self.header["field"], "coding": HALF}}
        schemas = [level_schema(self.kind, plain, level) for level in range(1, self.levels + 1)]
        return sum(math.prod(shape) * np.dtype(kind).itemsize for s in schemas for kind, shape in s.values())

    def unpack(self, level: int, chunk: bytes, before: Part | None, size: int) -> Part:
        """The next level from its chunk, after the part ``before``. UserError where it does not fit."""
        arrays = unpacked_level(self.kind, self.header, level, chunk)
        base = {name: arrays.pop(name) for name in base_schema(self.kind, self.header)} if level == 1 else {}
        prepared = self.kind.prepared(self.header["field"], arrays, None if before is None else before.prepared)
        return Part(level, self.header, base, prepared, size)


def reserve(outline: Outline) -> Model:
    """A model with room for all levels, of which none has come."""
    model = model_around(outline.kind.reserved(outline.header["field"]), outline.header)
    model.metadata |= {"warnings": [], "prefix_bytes": []}
    return model


def rehearsal(model: Model, outline: Outline) -> Iterator[None]:
    """Compile all that a picture of a reserved model needs, while its first level is on its way: a few rays through
    what is in it so far, which means nothing. In pieces, so that a window lives meanwhile."""
    model.field.rehearse(outline.header["field"])
    occupancy = model.occupancy
    occupancy.set_cells(np.ones(occupancy.cells[::-1], bool))
    yield
    yield from picture_kernels(model)


def picture_kernels(model: Model) -> Iterator[None]:
    """Compile all that a picture of ``model`` needs by a few rays through it, in pieces."""
    camera_rays(Camera(np.eye(3, 4, dtype=np.float32), 1, 1, 0.5, 0.5, 1, 1))
    origins = np.tile(model.world_box.mean(axis=0, dtype=np.float32), (_RAYS, 1))
    directions = np.random.default_rng(0).standard_normal((_RAYS, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # see everything in the box, and take every sample for worth shading, at the first level
    side = float(np.max(model.world_box[1] - model.world_box[0]))
    yield from model.renderer.rehearsal(
        origins, directions, model.settings(1, near=1e-3 * side, far=side, weight_threshold=-1.0)
    )


def rehearse(model: Model, outline: Outline) -> None:
    """All of :func:`rehearsal`."""
    for _ in rehearsal(model, outline):
        pass


def put(model: Model, part: Part) -> None:
    """Give a reserved model its next level."""
    if part.level == 1:
        take_base(model, part.header, part.base)
    model.field.put(part.level, part.prepared)
    model.metadata["prefix_bytes"].append(part.size)
