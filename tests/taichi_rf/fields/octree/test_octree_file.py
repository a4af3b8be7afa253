"""Octree models as files: what was saved comes back at every prefix by every quantiser; lies are refused by name."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.coding.arrays import pack_arrays, unpack_arrays
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.quantisers.registry import quantised
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import load_model, model_chunks, save_model
from taichi_rf.storage.trf import truncate_trf, write_trf
from tests.hostile import lies

ROWS = 64
CODERS: dict[str, int] = {"learned": 6, "kmeans": 3, "hash": 8, "lowrank": 4, "none": 0}
"""Kind -> bits, or numbers a vertex."""


@pytest.fixture(scope="module", params=CODERS)
def model(request: pytest.FixtureRequest) -> Model:
    """A sphere of three levels with random features."""
    gc.collect()
    backend.reset()
    backend.init("cpu")
    rng = np.random.default_rng(0)
    points = rng.standard_normal((3000, 3))
    points *= 0.3 / np.linalg.norm(points, axis=1, keepdims=True)
    tree = Octree.from_points((0.5 + points).astype(np.float32), 4, 2)
    counts = tuple(len(layer.vertices) for layer in tree.layers)
    features = rng.standard_normal((sum(counts), 16)).astype(np.float32)
    if request.param == "none":
        quantiser: Any = Uncompressed(counts, sum(counts))
    else:
        quantiser = quantised(
            request.param, CODERS[request.param], features, np.ones(sum(counts)), tree, rate=0.02, logit_rate=0.1,
            sharpness=1.0, seed=0,
        )  # fmt: skip
    field = OctreeField(tree, quantiser, levels=3, rows=ROWS)
    box = np.array([[-1, -1, -1], [1, 1, 1]], np.float32)
    return RadianceModel(field, make_decoder("small", rows=ROWS), box=box, near=1.0, far=5.0)


def octree(model: Model) -> OctreeField:
    assert isinstance(model.field, OctreeField)
    return model.field


def test_every_prefix_is_the_first_levels_and_all_of_it_is_the_model(model, tmp_path):
    sizes = save_model(model, tmp_path / "all.trf")
    stored = octree(model)
    for level in (1, 2, 3):
        assert truncate_trf(tmp_path / "all.trf", level, tmp_path / "part.trf") == sizes[level - 1]
        field = octree(load_model(tmp_path / "part.trf"))
        assert field.num_levels == level
        assert field.finest_depth == stored.finest_depth  # which decides the steps along rays
        for layer, before in zip(field.tree.layers, stored.tree.layers):
            np.testing.assert_array_equal(layer.cells, before.cells)
        features = field.quantiser.features()
        np.testing.assert_allclose(features, stored.quantiser.features()[: len(features)], atol=2e-3)
    assert model_chunks(load_model(tmp_path / "all.trf"))[1] == model_chunks(model)[1]


def test_the_file_holds_no_occupancy_but_the_tree(model):
    header, chunks = model_chunks(model)
    schema = OctreeField.level_schema(header["field"], 1)
    assert unpack_arrays(chunks[0], {**model.decoder.schema(), **schema}).keys() == {"small", *schema}


def test_no_entry_of_the_header_may_be_missing_or_junk(model, tmp_path):
    header, chunks = model_chunks(model)
    numbers = ("near", "step_ratio", "distance_scale", "weight_threshold", "density_shift")
    for key, junk, spoilt in lies(header, {"metadata": ({},), **dict.fromkeys(numbers, (0.5,))}):
        write_trf(tmp_path / "liar.trf", spoilt, chunks)
        with pytest.raises(UserError, match=key):
            load(tmp_path / "liar.trf", f"the header's '{key}' may be {junk}")


def load(path: Path, otherwise: str) -> None:
    load_model(path)
    pytest.fail(otherwise)


only_learned = pytest.mark.parametrize("model", ["learned"], indirect=True)


@only_learned
@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"cells": [65, 112, 383]}, "field.cells"),  # more than 4 x 4 x 4
        ({"cells": [32, 257, 383]}, "field.cells"),  # more than eight children each
        ({"cells": [32, 112]}, "field.cells"),
        ({"vertices": [1 << 24, 1 << 24, 1 << 24]}, "field.vertices"),
        ({"vertices": [81, 249, 1 << 40]}, "field.vertices"),
        ({"vertices": [-81, 249, 811]}, "field.vertices"),
        ({"base_depth": 3}, "finest_depth|tree"),
        ({"base_depth": 8, "finest_depth": 10}, "field.base_depth"),
        ({"finest_depth": 3}, "field.finest_depth"),
        ({"codes": "kmeans", "bits": 9}, "field.bits"),
        ({"codes": "lowrank", "rank": 16}, "field.rank|'values'"),
        ({"bits": 5}, "'codebook'"),
        ({"codes": "none"}, "'features'|'codebook'"),
        ({"activation": "relu"}, "field.activation"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(model, tmp_path, changes, names):
    header, chunks = model_chunks(model)
    header["field"] |= changes
    write_trf(tmp_path / "liar.trf", header, chunks)
    with pytest.raises(UserError, match=names):
        load_model(tmp_path / "liar.trf")


@only_learned
@pytest.mark.parametrize("decoder", ["sh", "mlp"])
def test_a_decoder_of_wider_rows_is_refused(model, tmp_path, decoder):
    header, chunks = model_chunks(model)
    write_trf(tmp_path / "liar.trf", header | {"decoder": decoder}, chunks)
    with pytest.raises(UserError, match="decoder.*kind 'octree': small"):
        load_model(tmp_path / "liar.trf")


@only_learned
def test_a_tree_that_is_not_the_headers_is_refused(model, tmp_path):
    header, chunks = model_chunks(model)
    schema = OctreeField.level_schema(header["field"], 2)
    for seed in range(20):
        arrays = unpack_arrays(chunks[1], schema)
        arrays["tree"][seed % len(arrays["tree"])] ^= 1 << seed % 8
        write_trf(tmp_path / "liar.trf", header, [chunks[0], pack_arrays(arrays), chunks[2]])
        with pytest.raises(UserError, match="octree|header"):
            load_model(tmp_path / "liar.trf")
