"""Models cut to a box: what is inside stays as it was, what is outside is gone, at every level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.errors import UserError
from taichi_rf.kernels.spaces import CONTRACTED_BOX, Contraction
from taichi_rf.rendering.model import Model
from taichi_rf.storage.cropping import crop, occupancy
from taichi_rf.storage.model_file import load_model, read_stored
from taichi_rf.storage.trf import read_trf, truncate_trf, write_trf

DATA = Path(__file__).resolve().parents[2] / "data"
BOX = np.array([[-1.0, -0.9, -1.0], [0.5, 1.0, 0.2]])
NAMES = ("tensor", "compressed_tensor", "octree")


@pytest.fixture(scope="module", autouse=True)
def device() -> None:
    backend.init("cpu")


def cropped(name: str, folder: Path, box: np.ndarray = BOX) -> Path:
    found = crop(read_stored(DATA / f"{name}.trf"), box)
    write_trf(folder / "cut.trf", found.stored.header, found.stored.chunks())
    return folder / "cut.trf"


def densities(model: Model, points: np.ndarray, level: int) -> np.ndarray:
    """(n,) at places (n, 3) of the world."""
    unit = (points - model.box[0]) / (model.box[1] - model.box[0])
    positions, density = ti.Vector.ndarray(3, ti.f32, len(points)), ti.ndarray(ti.f32, len(points))
    positions.from_numpy(unit.astype(np.float32))
    model.field.density(len(points), positions, density, level)
    return density.to_numpy()


@pytest.mark.parametrize("name", NAMES)
def test_the_field_inside_the_box_is_the_same_at_every_level(name, tmp_path):
    whole, part = load_model(DATA / f"{name}.trf"), load_model(cropped(name, tmp_path))
    margin = 0.3 if name == "octree" else 0.0  # cells of its first level, of which only those with a child stay
    points = np.random.default_rng(0).uniform(BOX[0] + margin, BOX[1] - margin, (2000, 3))
    for level in range(1, whole.num_levels + 1):
        before, after = densities(whole, points, level), densities(part, points, level)
        assert before.max() > 1e-2
        np.testing.assert_allclose(after, before, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("name", ["tensor", "octree"])
def test_nothing_is_left_outside_the_box_but_for_a_cell(name, tmp_path):
    model = load_model(cropped(name, tmp_path))
    cells = model.occupancy.to_numpy()
    low, high = model.box.astype(np.float64)
    side = (high - low) / cells.shape[::-1]
    middles = low + (np.argwhere(cells)[:, ::-1] + 0.5) * side
    assert len(middles)
    assert (middles > BOX[0] - side).all()
    assert (middles < BOX[1] + side).all()
    assert (tmp_path / "cut.trf").stat().st_size < (DATA / f"{name}.trf").stat().st_size


def test_of_coded_levels_the_same_numbers_stay_and_the_part_is_coded_in_fewer_bytes(tmp_path):
    before = read_stored(DATA / "compressed_tensor.trf")
    after = read_stored(cropped("compressed_tensor", tmp_path))
    assert after.header["field"]["coding"] == "compact"
    for old, new in zip(before.levels, after.levels, strict=True):
        np.testing.assert_array_equal(old["steps"], new["steps"])
        np.testing.assert_array_equal(old["basis"], new["basis"])


def test_a_box_around_all_of_it_changes_no_number():
    stored = read_stored(DATA / "tensor.trf")
    found = crop(stored, [[-9, -9, -9], [9, 9, 9]])
    assert found.stored.header["box"] == stored.header["box"]
    assert found.kept == found.occupied == occupancy(stored).sum()
    for old, new in zip(stored.levels, found.stored.levels, strict=True):
        np.testing.assert_array_equal(old["factors"], new["factors"])


def test_in_a_contraction_the_grid_stays_and_cells_outside_are_empty():
    stored = read_stored(DATA / "tensor.trf")
    header = {**stored.header, "box": CONTRACTED_BOX.tolist(), "space": Contraction().describe()}
    full = {**stored.base, "occupancy": np.full_like(stored.base["occupancy"], 255)}
    box = np.array([[-3.0, -1, -1], [1, 1, 0.5]])  # -3 of the world is -5/3 of the field
    found = crop(replace(stored, header=header, base=full), box)
    cells = occupancy(found.stored)
    assert found.stored.header["field"] == stored.header["field"]
    middles = -2 + 4 * (np.argwhere(cells)[:, ::-1] + 0.5) / cells.shape[::-1]
    assert middles[:, 0].min() == pytest.approx(-5 / 3, abs=4 / cells.shape[2])
    assert middles[:, 2].max() == pytest.approx(0.5, abs=4 / cells.shape[0])
    assert len(middles) == found.kept < found.occupied


def test_what_was_measured_on_the_whole_is_left_out(tmp_path):
    stored = read_stored(DATA / "tensor.trf")
    metadata = {**stored.header["metadata"], "level_psnr": [1, 2, 3, 4], "coding_loss": [0.1] * 4, "note": "stays"}
    found = crop(replace(stored, header={**stored.header, "metadata": metadata}), BOX)
    kept = found.stored.header["metadata"]
    assert "level_psnr" not in kept
    assert "coding_loss" not in kept
    assert kept["note"] == "stays"


@pytest.mark.parametrize("name", NAMES)
def test_a_box_beside_the_model_is_refused(name):
    with pytest.raises(UserError, match="nothing of the model lies in --box"):
        crop(read_stored(DATA / f"{name}.trf"), [[5, 5, 5], [6, 6, 6]])


def test_a_slimmed_octree_is_cropped(tmp_path):
    truncate_trf(DATA / "octree.trf", 2, tmp_path / "slim.trf")
    found = crop(read_stored(tmp_path / "slim.trf"), BOX)
    write_trf(tmp_path / "cut.trf", found.stored.header, found.stored.chunks())
    assert len(read_trf(tmp_path / "cut.trf").chunks) == 2
    assert len(read_stored(tmp_path / "cut.trf").levels) == 2


def test_a_solid_is_refused():
    stored = read_stored(DATA / "octree.trf")
    with pytest.raises(UserError, match="a solid cannot be cropped"):
        crop(replace(stored, header={**stored.header, "render": "surface"}), BOX)
