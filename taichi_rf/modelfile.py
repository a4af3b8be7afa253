"""A model as a progressive file: what goes into the header, the base chunk and the chunk of each level.

The header names the kinds and sizes from which every array's shape follows; chunks hold those arrays and nothing else.
Nothing in a file is trusted: sizes are bounded before memory is taken, and values are checked to be finite.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.decoders import DECODERS, make_decoder
from taichi_rf.errors import UserError
from taichi_rf.fields.vm import VMField
from taichi_rf.march import Occupancy
from taichi_rf.model import Model
from taichi_rf.storage import TrfFile, pack_arrays, read_trf, unpack_arrays, write_trf

MAX_NODES = 1024
"""Largest grid side that is read."""


def save_model(model: Model, path: Path) -> list[int]:
    """Write ``model`` and return the bytes that each prefix of its levels needs."""
    header, chunks = model_chunks(model)
    return write_trf(path, header, chunks)


def model_chunks(model: Model) -> tuple[dict[str, Any], list[bytes]]:
    """Header and chunks of a model: chunk i holds level i + 1, the first also decoder and occupancy."""
    field = model.field
    if not isinstance(field, VMField):
        raise TypeError(f"cannot store a field of kind {field.kind}")
    header = {
        "field": {
            "kind": field.kind,
            "num_levels": field.num_levels,
            "resolution": list(field.resolution),
            "activation": field.activation,
            "density_shift": field.density_shift,
        },
        "decoder": model.decoder.kind,
        "box": model.box.tolist(),
        "near": model.near,
        "far": model.far,
        "background": list(model.background),
        "step_ratio": model.step_ratio,
        "distance_scale": model.distance_scale,
        "weight_threshold": model.weight_threshold,
        "metadata": model.metadata,
    }
    base = {**model.decoder.pack(), "occupancy": model.occupancy.packed()}
    chunks = []
    for level in range(1, field.num_levels + 1):
        arrays = field.pack(level)
        chunks.append(pack_arrays({**base, **arrays} if level == 1 else arrays, compress={"occupancy"}))
    return header, chunks


def load_model(path: Path, level: int | None = None) -> Model:
    """Read the first ``level`` levels of a model, all by default.

    ``metadata["warnings"]`` lists what was wrong with the file where a good prefix could be used all the same, and
    ``metadata["prefix_bytes"]`` what each prefix needs on disk.

    Raises:
        UserError: the file is no model, or too damaged, or too new, or ``level`` is not in it.
    """
    file = read_trf(path, max_level=level)
    levels = len(file.chunks)
    if level is not None and not 1 <= level <= levels:
        raise UserError(f"level {level} is outside {path}: choose 1 to {levels}")
    header = _checked(file, path)
    shape, field_header = header["field"]["resolution"], header["field"]
    schema_field = VMField.level_schema(tuple(shape))
    # everything is unpacked and checked before device memory is taken
    occupancy_bytes = -(-math.prod(n - 1 for n in shape) // 8)
    base_schema = {**DECODERS[header["decoder"]].schema(), "occupancy": ("u1", (occupancy_bytes,))}
    arrays = []
    for i, chunk in enumerate(file.chunks):
        schema = {**base_schema, **schema_field} if i == 0 else schema_field
        unpacked = unpack_arrays(chunk, schema, where=f"{path}: {VMField.level_name} {i + 1}")
        for name, values in unpacked.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise UserError(f"{path}: {VMField.level_name} {i + 1} holds numbers that are not finite in '{name}'")
        arrays.append(unpacked)
    field = VMField(
        ranks=levels,
        resolution=tuple(shape),
        activation=field_header["activation"],
        density_shift=field_header["density_shift"],
        seed=None,
    )
    field.unpack_all({i + 1: {k: a[k] for k in schema_field} for i, a in enumerate(arrays)})
    decoder = make_decoder(header["decoder"], rows=field.rows)
    decoder.unpack(arrays[0])
    metadata = dict(header["metadata"])
    metadata |= {"warnings": list(file.warnings), "prefix_bytes": list(file.prefix_bytes)}
    model = Model(
        field,
        decoder,
        box=np.array(header["box"], np.float32),
        near=header["near"],
        far=header["far"],
        background=tuple(header["background"]),
        step_ratio=header["step_ratio"],
        distance_scale=header["distance_scale"],
        weight_threshold=header["weight_threshold"],
        metadata=metadata,
    )
    model.occupancy = Occupancy(field.resolution)
    model.occupancy.set_packed(arrays[0]["occupancy"])
    return model


def _checked(file: TrfFile, path: Path) -> dict[str, Any]:
    """The header, every entry of the type and range that the loader relies on."""
    header = file.header

    def broken(key: str, expected: str) -> UserError:
        return UserError(f"{path}: the header's '{key}' should be {expected}")

    def number(value: Any, low: float, high: float) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    field = header.get("field")
    if not isinstance(field, dict) or field.get("kind") != VMField.kind:
        raise broken("field", f"a field of kind '{VMField.kind}'; a newer version may know this one")
    levels = field.get("num_levels")
    if not isinstance(levels, int) or not len(file.chunks) <= levels <= 64:
        raise broken("field.num_levels", "1 to 64 and cover the levels in the file")
    shape = field.get("resolution")
    if not (isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 2 <= n <= MAX_NODES for n in shape)):
        raise broken("field.resolution", f"three whole numbers from 2 to {MAX_NODES}")
    if field.get("activation") not in ("softplus", "relu"):
        raise broken("field.activation", "softplus or relu")
    if not number(field.get("density_shift"), -100, 100):
        raise broken("field.density_shift", "a number from -100 to 100")
    if not isinstance(header.get("decoder"), str) or header["decoder"] not in DECODERS:
        raise broken("decoder", f"one of {', '.join(DECODERS)}")
    box = header.get("box")
    if not (isinstance(box, list) and len(box) == 2 and all(isinstance(r, list) and len(r) == 3 for r in box)):
        raise broken("box", "two corners of three numbers")
    if not all(number(a, -1e6, 1e6) and number(b, -1e6, 1e6) and b - a > 1e-6 for a, b in zip(*box, strict=True)):
        raise broken("box", "two finite corners, the first below the second")
    if not number(header.get("near"), 0, 1e6) or not number(header.get("far"), 1e-6, 1e7):
        raise broken("near/far", "numbers of 0 or more")
    background = header.get("background")
    if not (isinstance(background, list) and len(background) == 3 and all(number(c, 0, 1) for c in background)):
        raise broken("background", "three numbers from 0 to 1")
    if not number(header.get("step_ratio"), 0.05, 16) or not number(header.get("distance_scale"), 1e-3, 1e4):
        raise broken("step_ratio/distance_scale", "positive numbers")
    if not number(header.get("weight_threshold"), 0, 1):
        raise broken("weight_threshold", "a number from 0 to 1")
    if not isinstance(header.get("metadata"), dict):
        raise broken("metadata", "an object")
    return header
