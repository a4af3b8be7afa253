"""Small files that ask for much: what they would take is told from their headers, and bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taichi_rf.coding.arrays import pack_arrays
from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.kernels.march import Marcher, TooManySamples
from taichi_rf.kernels.occupancy import Occupancy
from taichi_rf.kernels.rays import Camera, look_at
from taichi_rf.rendering.pictures import render, render_prefixes
from taichi_rf.rendering.ray_parts import cuts, in_parts
from taichi_rf.rendering.settings import RenderSettings
from taichi_rf.storage import requirements as asks
from taichi_rf.storage.model_file import checked, level_schema, load_model
from taichi_rf.storage.trf import read_trf, write_trf
from taichi_rf.streaming.progressive_model import Outline
from taichi_rf.training.configs import vqad
from taichi_rf.training.methods.registry import read_config
from taichi_rf.training.strategies.vm import check_grid_memory
from tests.costly import fog, full_octree, header_around, octree_header

GIB = 1 << 30


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Sets how many bytes are free."""
    return lambda free: monkeypatch.setattr("taichi_rf.core.memory.available_memory", lambda: free)


def asked(path: Path) -> int:
    file = read_trf(path)
    return asks.memory(*checked(file.header, len(file.chunks)), len(file.chunks))


def camera(pixels: int) -> Camera:
    pose = look_at((2.6, 1.4, 1.2), (0, 0, 0), (0, 0, 1))
    return Camera(pose, pixels * 1.2, pixels * 1.2, pixels / 2, pixels / 2, pixels, pixels)


def test_a_tensor_of_155_kilobytes_that_takes_gigabytes_is_refused_where_there_are_none(tmp_path, machine):
    path = fog(tmp_path / "large.trf", 1024)
    assert path.stat().st_size < 200_000
    assert 1.2 * GIB < asked(path) < 1.8 * GIB
    machine(GIB)
    with pytest.raises(UserError, match=r"large\.trf: this model would take 2\.0 GiB of memory, but 1\.0 GiB are"):
        load_model(path)


def test_much_memory_is_told_of_before_it_is_taken(tmp_path, machine):
    path, said = fog(tmp_path / "small.trf", 8), []
    machine(64 * GIB)
    load_model(path, told=said.append)
    assert said == []
    file = read_trf(fog(tmp_path / "large.trf", 1024))
    asks.check_asked(*checked(file.header, 1), 1, said.append)
    assert len(said) == 1
    assert "GiB of memory" in said[0]


def test_steps_too_short_for_any_picture_to_end_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"'step_ratio' should be 0\.11 or more"):
        load_model(fog(tmp_path / "short.trf", 512, step_ratio=0.05))
    header = header_around(read_trf(fog(tmp_path / "long.trf", 8)).header["field"], "sh", step_ratio=0.05)
    checked(header, 1)  # of which a ray takes but 243
    header["field"]["resolution"] = [1024] * 3
    with pytest.raises(UserError, match="step_ratio"):
        checked(header, 1)
    checked({**header, "step_ratio": 0.25}, 1)


def test_an_octree_whose_cells_claim_more_children_than_are_told_of_is_refused_before_any_is_made(tmp_path):
    tree = Octree.from_cells(np.arange(8**4), 4, 4).subdivided()
    cells, vertices = ([len(getattr(layer, key)) for layer in tree.layers] for key in ("cells", "vertices"))
    field = octree_header(4, [*cells, cells[1]], [*vertices, vertices[1]]) | {"codes": "hash", "bits": 1}
    header = header_around(field, "small")
    kind, _ = checked(header, 3)
    chunks = []
    for level in (1, 2, 3):
        schema = level_schema(kind, header, level)
        arrays = {name: np.full(shape, 255 if name == "tree" else 0, t) for name, (t, shape) in schema.items()}
        chunks.append(pack_arrays(arrays, schema))
    write_trf(tmp_path / "eight.trf", header, chunks)
    with pytest.raises(UserError, match=r"level 3: its bits stand for 262,144 cells, but 32,768 are told of"):
        load_model(tmp_path / "eight.trf")


def test_a_header_that_promises_gigabytes_reserves_nothing_while_streaming(machine):
    machine(64 * GIB)
    octree = octree_header(7, [2_000_000], [16_000_000]) | {"codes": "hash", "bits": 1}
    with pytest.raises(UserError, match="more than is taken on trust"):
        Outline.of(header_around(octree, "small"), 1, 1 << 30)
    tensor = {"kind": "vm", "num_levels": 16, "resolution": [300] * 3, "activation": "relu", "density_shift": 0.0}
    header = header_around(tensor, "sh")
    promised = Outline.of(header, 16, 34_000_000).promised
    assert promised == Outline.of(header, 16).promised  # of no known length
    with pytest.raises(UserError, match=r"promises \d+ MiB, but the file has 390 bytes"):
        Outline.of(header, 16, 390)
    machine(1 << 20)
    with pytest.raises(UserError, match="this model would take"):
        Outline.of(header, 16, 34_000_000)


def test_a_configuration_that_asks_for_more_memory_than_there_is_is_refused(machine):
    machine(4 * GIB)
    check_grid_memory(16, 120_000, 200)
    with pytest.raises(UserError, match=r"training 64 ranks on a grid of 1024\^3 would take [\d.]+ GiB"):
        check_grid_memory(64, 3_200_000, 1024)
    for entry in ({"base_depth": 12}, {"lods": 9}, {"batch_rays": 1 << 24}, {"step_ratio": 0.05}):
        with pytest.raises(UserError, match=next(iter(entry))):
            read_config(vqad.QUICK.to_json() | entry)


def test_rays_are_cut_where_their_samples_are_too_many():
    assert cuts(np.array([3, 3, 3, 10, 1, 1]), 6) == [0, 2, 3, 4, 6]
    assert cuts(np.array([0, 0]), 6) == [0, 2]
    assert cuts(np.full(10, 1 << 30), 1 << 22) == list(range(11))


def test_a_batch_with_too_many_samples_is_made_in_parts():
    met = []

    def make(origins, directions, settings):
        met.append(len(origins))
        if len(origins) > 4:
            raise TooManySamples(np.full(len(origins), settings.most_samples // 4))
        return origins

    rays = np.arange(30, dtype=np.float32).reshape(10, 3)
    settings = RenderSettings(level=1, near=0.0, far=1.0, weight_threshold=0.0)
    parts = in_parts(make, rays, rays, settings)
    assert met == [10, 4, 4, 2]
    assert settings.most_samples is None
    np.testing.assert_array_equal(np.concatenate(parts), rays)


@pytest.mark.parametrize("mode", ["colour", "depth", "normals", "opacity"])
def test_a_picture_in_parts_is_the_same_bit_for_bit(tmp_path, monkeypatch, mode):
    model = load_model(fog(tmp_path / "fog.trf", 24, density_shift=-3.0))
    whole = render(model, camera(20), mode=mode)
    assert np.ptp(whole) > 0.05
    together = []
    march = Marcher.march
    monkeypatch.setattr("taichi_rf.rendering.ray_parts.in_parts.__kwdefaults__", {"most": 700})
    monkeypatch.setattr(Marcher, "march", lambda *args, **more: together.append(march(*args, **more)) or together[-1])
    np.testing.assert_array_equal(render(model, camera(20), mode=mode), whole)
    assert len(together) > 5
    assert max(samples.count for samples in together) <= 700


def test_all_levels_in_parts_are_the_same_bit_for_bit(tmp_path, monkeypatch):
    model = load_model(fog(tmp_path / "fog.trf", 16, ranks=2, density_shift=-3.0))
    whole = render_prefixes(model, camera(16))
    monkeypatch.setattr("taichi_rf.rendering.prefixes.MOST", 1000)
    np.testing.assert_array_equal(render_prefixes(model, camera(16)), whole)


def test_occupancy_is_unpacked_in_bands(monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("taichi_rf.kernels.occupancy.BAND", 500)
    for nodes in ((8, 8, 31), (34, 6, 18), (2, 2, 2), (66, 3, 9)):
        grid = Occupancy(nodes)
        cells = rng.random(grid.cells[::-1]) < 0.3
        grid.set_packed(np.packbits(cells.reshape(-1), bitorder="little"))
        np.testing.assert_array_equal(grid.to_numpy(), cells)


def test_the_bits_of_an_octree_are_those_of_its_mask(tmp_path):
    tree = Octree.from_points(np.random.default_rng(1).random((300, 3)).astype(np.float32), 6, 2)
    for level in range(1, 6):
        np.testing.assert_array_equal(tree.words(level), Occupancy.words_of(tree.mask(level)))
    assert full_octree(tmp_path / "full.trf", 3, 2).stat().st_size < 2000
