"""Models of every kind that a page shows, made with numpy alone, and what Python's renderer makes of them.

``python -m tests.page_models`` renders anew the pictures that ``tests/data/page_pictures.npz`` holds of each, from its
first view, at its first and at its last level: a minute of compiling, which tests of pages need not repeat.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.coding.arrays import pack_arrays, unpack_arrays
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.page.writing import page_of_file
from taichi_rf.storage.model_file import checked, level_schema
from taichi_rf.storage.trf import read_trf, write_trf
from tests.places import ROOT

DATA = ROOT / "tests" / "data"
PICTURES = DATA / "page_pictures.npz"
SIDE = 100  # pixels
PERCEPTRONS = {"mlp": (150, 128), "small": (24, 64)}
KINDS = ("tensor", "compressed_tensor", "octree", "mlp", "contract", "ndc", "solid", "lowrank", "hash")


def write_model(kind: str, path: Path, **metadata: Any) -> Path:
    """Write a model of one of :data:`KINDS`; its metadata have these entries, too. Returns ``path``."""
    if kind in ("tensor", "compressed_tensor", "octree"):
        file = read_trf(DATA / f"{kind}.trf")
        header, chunks = file.header, file.chunks
    else:
        header, chunks = {"solid": _solid, "lowrank": _recoded, "hash": _recoded}.get(kind, _tensor)(kind)
    write_trf(path, {**header, "metadata": {**header["metadata"], **metadata}}, chunks)
    return path


def _levels(name: str) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """Header and arrays, level by level, of a file of tests/data."""
    file = read_trf(DATA / f"{name}.trf")
    kind, header = checked(file.header, len(file.chunks))
    return header, [unpack_arrays(chunk, level_schema(kind, header, l)) for l, chunk in enumerate(file.chunks, 1)]


def _tensor(kind: str) -> tuple[dict[str, Any], list[bytes]]:
    """The tensor with a perceptron of random weights, or in another space."""
    header, levels = _levels("tensor")
    if kind == "mlp":
        inputs, hidden = PERCEPTRONS[kind]
        rng = np.random.default_rng(3)
        layers = [(inputs, hidden), (hidden, hidden), (hidden, 3)]
        parts = [rng.normal(0, 1.6 / fan**0.5, (fan + 1) * out) for fan, out in layers]
        levels[0][kind] = np.concatenate(parts).astype(np.float16)
        header = {**header, "decoder": kind}
    elif kind == "contract":
        header = {**header, "box": [[-2.0] * 3, [2.0] * 3], "space": {"kind": "contract"}}
    else:
        header = {**header, "box": [[-1.0] * 3, [1.0] * 3], "space": {"kind": "ndc", "focal": [1.5, 1.5]}}
    return header, [pack_arrays(arrays, {"occupancy"}) for arrays in levels]


def _recoded(kind: str) -> tuple[dict[str, Any], list[bytes]]:
    """The octree with other codes, whose numbers are random."""
    header, levels = _levels("octree")
    rng = np.random.default_rng(4)
    field = {key: value for key, value in header["field"].items() if key != "bits"} | {"codes": kind}
    if kind == "hash":
        field["bits"] = 6
    else:
        field["rank"] = 3
    for arrays, vertices in zip(levels, field["vertices"]):
        del arrays["indices"], arrays["codebook"]
        if kind == "hash":
            arrays["codebook"] = rng.normal(0, 2, (64, 16)).astype(np.float16)
        else:
            arrays["factors"] = rng.normal(0, 1, (vertices, 3)).astype(np.float16)
            arrays["matrix"] = rng.normal(0, 2, (3, 16)).astype(np.float16)
    return {**header, "field": field}, [pack_arrays(arrays, {"tree"}) for arrays in levels]


def _solid(kind: str) -> tuple[dict[str, Any], list[bytes]]:
    """A ball with a dent, as a signed distance on an octree of three levels."""
    rng = np.random.default_rng(5)
    towards = rng.normal(size=(200_000, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    tree = Octree.from_points((0.5 + 0.36 * towards).astype(np.float32), 5, 3, grow=1)

    def distance(points: np.ndarray) -> np.ndarray:
        ball = np.linalg.norm(points - 0.5, axis=1) - 0.36
        dent = 0.15 - np.linalg.norm(points - np.array([0.75, 0.6, 0.75]), axis=1)
        return np.maximum(ball, dent)

    chunks, known = [], None
    for level, layer in enumerate(tree.layers, 1):
        features = np.zeros((len(layer.vertices), 16))
        features[:, 0] = distance(tree.vertex_positions(level))
        before = 0 if known is None else tree.prolonged(level, known)
        stored = (features - before).astype(np.float16)
        known = stored.astype(np.float64) + before
        chunks.append(pack_arrays({"tree": tree.pack(level), "features": stored}, {"tree"}))
    field = {
        "kind": "octree", "num_levels": 3, "base_depth": 3, "finest_depth": 5, "activation": "none",
        "density_shift": 0.0, "codes": "none",
        "cells": [len(layer.cells) for layer in tree.layers],
        "vertices": [len(layer.vertices) for layer in tree.layers],
    }  # fmt: skip
    header = {
        "field": field, "decoder": "none", "box": [[-1.0] * 3, [1.0] * 3], "near": 0.1, "far": 10.0,
        "background": [1.0, 1.0, 1.0], "step_ratio": 1.0, "distance_scale": 1.0, "weight_threshold": 0.0,
        "render": "surface", "metadata": {"scene": "ball"},
    }  # fmt: skip
    return json.loads(json.dumps(header)), chunks


def spoilt(path: Path, byte: int) -> Path:
    """Turn one bit of a byte of a file, counted from the end where it is negative. Returns ``path``."""
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
    return path


def chunk_begins(path: Path) -> list[int]:
    """Where the frames of a file's chunks begin, and where it ends."""
    sizes = read_trf(path).prefix_bytes
    data = path.read_bytes()
    return [24 + struct.unpack_from("<I", data, 16)[0], *sizes]


def page_text(path: Path, *, file: str | None = None, caption: str = "") -> str:
    """The page of a model's file, which holds it or, where ``file`` says its address, does not."""
    return page_of_file(path, caption=caption, beside=file)


def _render_all() -> None:
    from taichi_rf.core import backend
    from taichi_rf.motion.free_view import render_from_anywhere
    from taichi_rf.motion.orbit import Orbit
    from taichi_rf.storage.model_file import load_model

    backend.init("cpu")
    pictures = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            model = load_model(write_model(kind, Path(folder) / f"{kind}.trf"))
            camera = Orbit.around(model.world_box).camera(SIDE, SIDE)
            for level in {1, model.num_levels}:
                picture = render_from_anywhere(model, camera, level=level, mode="colour")
                pictures[f"{kind}.{level}"] = np.round(255 * picture).astype(np.uint8)
    np.savez_compressed(PICTURES, **pictures)


if __name__ == "__main__":
    _render_all()
