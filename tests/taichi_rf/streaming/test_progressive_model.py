"""Models that grow as their files come: at every level the picture of the file cut there, bit for bit."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Field
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.quantisers.registry import quantised
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.fields.vm.field import VMField
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import render
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.storage.compress import Compactor
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.storage.trf import TrfFile, read_trf, write_trf
from taichi_rf.streaming.progressive_model import Outline, Part, put, rehearse, reserve
from tests.tiny import tiny_scene

ROWS = 1 << 10
# What k-means made is stored, and read, as "learned" is; features as they are ("none") are those of "solid".
CODERS = {"learned": 3, "hash": 8, "lowrank": 4}
KINDS = ("vm", "compact", "solid", *CODERS)
BOX = np.array([[-1.0] * 3, [1.0] * 3], np.float32)


def fresh() -> None:
    gc.collect()
    backend.reset()
    backend.init("cpu")


def made(kind: str) -> Model:
    """A model of three or more levels, untrained but dense enough to be seen."""
    if kind == "vm":
        field: Field = VMField(ranks=18, resolution=(9, 8, 7), density_shift=-1.0, rows=ROWS, seed=3)
        assert isinstance(field, VMField)
        field.value.from_numpy(3 * field.value.to_numpy())
        return RadianceModel(
            field, make_decoder("sh", rows=ROWS, seed=4), box=BOX, near=2.0, far=6.0, distance_scale=1.0
        )
    rng = np.random.default_rng(0)
    points = rng.standard_normal((3000, 3))
    points *= 0.3 / np.linalg.norm(points, axis=1, keepdims=True)
    tree = Octree.from_points((0.5 + points).astype(np.float32), 4, 2)
    counts = tuple(len(layer.vertices) for layer in tree.layers)
    features = rng.standard_normal((sum(counts), 16)).astype(np.float32)
    if kind == "solid":
        features[:] = 0
        for level, first in ((1, 0), (2, counts[0]), (3, counts[0] + counts[1])):
            at = tree.vertex_positions(level)
            distance = np.linalg.norm(at - 0.5, axis=1) - 0.3
            features[first : first + len(at), 0] = distance if level == 1 else 0.02 * rng.standard_normal(len(at))
    if kind in ("none", "solid"):
        quantiser: Any = Uncompressed(counts, sum(counts))
        quantiser.value.from_numpy(features)
    else:
        quantiser = quantised(
            kind, CODERS[kind], features, np.ones(sum(counts)), tree, rate=0.02, logit_rate=0.1, sharpness=1.0, seed=0
        )  # type: ignore[arg-type]
    if kind == "solid":
        field = OctreeField(tree, quantiser, levels=3, rows=ROWS, activation="none")
        return SurfaceModel(field, make_decoder("none", rows=ROWS), box=BOX, near=1.0, far=6.0)
    field = OctreeField(tree, quantiser, levels=3, rows=ROWS, density_shift=0.0)
    return RadianceModel(
        field, make_decoder("small", rows=ROWS, seed=4), box=BOX, near=1.0, far=6.0, distance_scale=4.0
    )


@pytest.fixture(scope="module", params=KINDS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    fresh()
    path = tmp_path_factory.mktemp("model") / f"{request.param}.trf"
    if request.param == "compact":
        coded_file = Compactor(made("vm")).losing("small")
        write_trf(path, coded_file.header, coded_file.chunks)
    else:
        save_model(made(request.param), path)
    return path


@pytest.fixture
def _fresh() -> None:
    fresh()


def picture(model: Model, level: int) -> np.ndarray:
    return render(model, tiny_scene().test.cameras[0], level=level)


def parts(file: TrfFile, outline: Outline) -> Iterator[Part]:
    before = None
    for level, chunk in enumerate(file.chunks, 1):
        before = outline.unpack(level, chunk, before, file.prefix_bytes[level - 1])
        yield before


@pytest.mark.usefixtures("_fresh")
def test_at_every_level_it_shows_what_the_file_cut_there_shows(stored: Path) -> None:
    file = read_trf(stored)
    outline = Outline.of(file.header, file.total_levels)
    model = reserve(outline)
    rehearse(model, outline)
    seen = []
    for part in parts(file, outline):
        put(model, part)
        seen.append(picture(model, part.level))
        assert model.metadata["prefix_bytes"] == file.prefix_bytes[: part.level]
        if part.level in (1, file.total_levels):
            np.testing.assert_array_equal(seen[-1], picture(load_model(stored, part.level), part.level))
    for level, before in enumerate(seen, 1):
        np.testing.assert_array_equal(picture(model, level), before)  # those below are as they were
    whole = load_model(stored)
    np.testing.assert_array_equal(model.occupancy.to_numpy(), whole.occupancy.to_numpy())
    assert model.step_size == whole.step_size
    assert np.ptp(seen[0]) > 0.1
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(seen, seen[1:]))


# compact files are decoded into the same fields as others, and hashed codes are read by the kernels of learned ones
@pytest.mark.parametrize("stored", ["vm", "solid", "learned", "lowrank"], indirect=True)
@pytest.mark.usefixtures("_fresh")
def test_after_a_rehearsal_nothing_is_compiled(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = read_trf(stored)
    outline = Outline.of(file.header, file.total_levels)
    model = reserve(outline)
    rehearse(model, outline)
    kernels = __import__(f"{ti.__name__}.lang.kernel_impl", fromlist=["Kernel"]).Kernel
    compiled, materialize = [], kernels.materialize

    def counted(self: Any, key: Any = None, **arguments: Any) -> Any:
        if key not in self.compiled_kernels:
            compiled.append(self.func.__name__)
        return materialize(self, key, **arguments)

    monkeypatch.setattr(kernels, "materialize", counted)
    for part in parts(file, outline):
        put(model, part)
        picture(model, part.level)
    assert not compiled, " ".join(compiled)


@pytest.mark.parametrize("stored", ["vm", "learned"], indirect=True)
@pytest.mark.usefixtures("_fresh")
def test_room_is_taken_for_the_levels_that_the_file_was_written_with(stored: Path, tmp_path: Path) -> None:
    file = read_trf(stored)
    write_trf(tmp_path / "two.trf", file.header, file.chunks[:2])
    two = read_trf(tmp_path / "two.trf")
    outline = Outline.of(two.header, two.total_levels)
    model = reserve(outline)
    assert model.field.num_levels == 2
    for part in parts(two, outline):
        put(model, part)
    np.testing.assert_array_equal(picture(model, 2), picture(load_model(tmp_path / "two.trf"), 2))


@pytest.mark.usefixtures("_fresh")
def test_what_contradicts_the_header_or_the_levels_below_is_refused(stored: Path, tmp_path: Path) -> None:
    file = read_trf(stored)
    outline = Outline.of(file.header, file.total_levels)
    first, second, *_ = parts(file, outline)
    for chunk in (b"", b"junk", file.chunks[0][:-1], file.chunks[0] + b"\0"):
        with pytest.raises(UserError):
            outline.unpack(1, chunk, None, 0)
    with pytest.raises(UserError):
        outline.unpack(2, file.chunks[0], first, 0)
    with pytest.raises(UserError, match=r"field\.num_levels"):
        Outline.of(file.header, file.total_levels + 1)
    if first.level and isinstance(file.header["field"].get("cells"), list):
        cells = [*file.header["field"]["cells"]]
        cells[1] -= 1
        lying = Outline.of({**file.header, "field": {**file.header["field"], "cells": cells}}, file.total_levels)
        before = lying.unpack(1, file.chunks[0], None, 0)
        with pytest.raises(UserError, match="not the one that the header tells of|are told of"):
            lying.unpack(2, file.chunks[1], before, 0)
    assert second.level == 2


@pytest.mark.parametrize("kind", ["vm", "none"])
def test_what_is_promised_is_what_the_arrays_take(kind: str, tmp_path: Path) -> None:
    fresh()
    model = made(kind)
    save_model(model, tmp_path / "model.trf")
    file = read_trf(tmp_path / "model.trf")
    packed = [model.field.pack(level) for level in range(1, file.total_levels + 1)]
    size = sum(array.nbytes for arrays in packed for array in arrays.values())
    size += sum(array.nbytes for array in model.decoder.pack().values())
    size += 0 if model.field.knows_space else model.occupancy.packed().nbytes
    assert Outline.of(file.header, file.total_levels).promised == size
    write_trf(tmp_path / "large.trf", file.header, file.chunks)


def test_a_header_that_promises_more_than_is_taken_on_trust_is_refused() -> None:
    header = {
        "field": {
            "kind": "vm", "num_levels": 64, "resolution": [1024] * 3, "activation": "softplus", "density_shift": 0.0,
        },
        "decoder": "sh", "box": BOX.tolist(), "near": 1.0, "far": 2.0, "background": [0.0] * 3, "step_ratio": 0.5,
        "distance_scale": 25.0, "weight_threshold": 1e-4, "metadata": {},
    }  # fmt: skip
    with pytest.raises(UserError, match="asks for .* GiB of memory: more than is taken on trust"):
        Outline.of(header, 64)
    assert Outline.of({**header, "field": {**header["field"], "resolution": [64] * 3}}, 64).levels == 64
