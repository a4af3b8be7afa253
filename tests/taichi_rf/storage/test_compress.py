"""Models coded to a precision: what they lose is what was allowed, every prefix is a model, and liars are refused."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.coding.arrays import pack_arrays, unpack_arrays
from taichi_rf.coding.entropy import LARGEST
from taichi_rf.coding.weight_coding import rounded, signed, values_of, zigzag
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.compress import LADDER, LOSSES, Compactor
from taichi_rf.storage.model_file import load_model, model_chunks, save_model
from taichi_rf.storage.quality import Decibels, decibels, metadata_of
from taichi_rf.storage.sensitivity import random_rays, sensitivities
from taichi_rf.storage.trf import read_trf, truncate_trf, write_trf
from tests.hostile import lies
from tests.tiny import ROWS

RANKS = 3
PSNR = [20.0, 25.0, 30.0]


@pytest.fixture(scope="module", params=["sh", "mlp"])
def model(request: pytest.FixtureRequest) -> Model:
    """Untrained, but dense enough to see; an eighth of its space is empty. Later levels weigh less."""
    gc.collect()
    backend.reset()
    backend.init("cpu")
    field = VMField(ranks=RANKS, resolution=(17, 16, 15), density_shift=-1.0, rows=ROWS, seed=3)
    value = field.value.to_numpy() * 8
    value[..., 1:3] *= 0.3
    field.value.from_numpy(value)
    box = np.array([[-1.0, -1.0, -1.0], [1.0, 0.9, 0.8]], np.float32)
    made = RadianceModel(field, make_decoder(request.param, rows=ROWS, seed=4), box=box, near=2.0, far=6.0)
    made.distance_scale = 1.0
    cells = np.ones((14, 15, 16), bool)
    cells[:, :, :2] = False
    made.occupancy.set_cells(cells)
    made.metadata = {"scene": "noise", "level_psnr": PSNR, "warnings": ["of the file"], "prefix_bytes": [1, 2, 3]}
    return made


only_sh = pytest.mark.parametrize("model", ["sh"], indirect=True)


@pytest.fixture(scope="module")
def compactor(model: Model) -> Compactor:
    return Compactor(model, batches=16)


@pytest.fixture
def stored(compactor: Compactor, tmp_path: Path) -> Path:
    made = compactor.losing("small")
    assert write_trf(tmp_path / "small.trf", made.header, made.chunks) == made.sizes
    return tmp_path / "small.trf"


def contents(model: Model) -> list[dict[str, bytes]]:
    base = {**{p.name: p.value.to_numpy() for p in model.decoder.parameters()}, "occupancy": model.occupancy.packed()}
    factors = [
        model.field.level_factors(level, model.field.value.to_numpy()) for level in range(1, model.field.num_levels + 1)
    ]
    levels = [{"factors": own, "basis": model.field.pack(level)["basis"]} for level, own in enumerate(factors, 1)]
    return [{name: array.tobytes() for name, array in arrays.items()} for arrays in (base, *levels)]


# What numbers are worth


def test_sensitivities_are_sums_of_squared_derivatives(model):
    found = sensitivities(model, batches=64)
    rays = random_rays(model, 4096, np.random.default_rng(9))

    def pixels() -> np.ndarray:
        shown: np.ndarray = model.renderer.forward(*rays, seed=5).pixels.to_numpy()[:4096]
        return shown

    before, rng = pixels(), np.random.default_rng(1)
    for p, squares in zip(model.parameters(), found, strict=True):
        value, sums = p.value.to_numpy(), np.zeros(2)
        upper = np.flatnonzero(squares > np.quantile(squares[squares > 0], 0.7))  # more than rare rays meet them
        for flat in rng.choice(upper, 16, replace=False):
            changed = value.copy()
            changed.reshape(-1)[flat] += 0.02
            p.value.from_numpy(changed)
            model.published()
            sums += squares.reshape(-1)[flat], (((pixels() - before) / 0.02) ** 2).sum(axis=1).mean()
        p.value.from_numpy(value)
        model.published()
        assert 0.75 < sums[0] / sums[1] < 1.33, p.name  # 64 random signs: an eighth for each, a fraction for all
        assert not p.gradient.to_numpy().any()


@only_sh
def test_rays_begin_where_nothing_is_and_after_as_long_as_the_model_looks_from(model):
    origins, directions = random_rays(model, 500, np.random.default_rng(0))
    starts = (origins + model.near * directions - model.box[0]) / (model.box[1] - model.box[0])
    assert (starts[:, 0] < 2 / 16 + 1e-5).all()
    assert (starts[:, 1:].min(axis=0) < 0.05).all()
    assert (starts[:, 1:].max(axis=0) > 0.95).all()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=0.15)
    model.occupancy.fill()
    full, _ = random_rays(model, 500, np.random.default_rng(0))
    cells = np.ones((14, 15, 16), bool)
    cells[:, :, :2] = False
    model.occupancy.set_cells(cells)
    assert np.isfinite(full).all()


def test_the_error_that_is_expected_is_what_pixels_show(model, compactor, tmp_path):
    rays = random_rays(model, 4096, np.random.default_rng(7))
    before = model.renderer.forward(*rays).pixels.to_numpy()[:4096]
    for loss in (0.1, 0.4):
        made = compactor.losing(loss)
        assert 0.9 * loss < made.losses[-1] <= loss
        assert made.losses == sorted(made.losses)
        expected = 10 ** (-PSNR[-1] / 10) * (10 ** (made.losses[-1] / 10) - 1)
        write_trf(tmp_path / "coded.trf", made.header, made.chunks)
        error = (
            (load_model(tmp_path / "coded.trf").renderer.forward(*rays).pixels.to_numpy()[:4096] - before) ** 2
        ).mean()
        # an untrained MLP has weights so idle that a step takes many of them to zero, which costs less than it seems
        assert (0.2 if model.decoder.kind == "sh" else 0.05) * expected < error < 1.5 * expected


def base_schema(model: Model) -> dict[str, Any]:
    occupancy = {"occupancy": ("u1", (-(-14 * 15 * 16 // 8),))}
    header = {**model.field.header(), "coding": "compact"}
    return {**model.decoder.coded_schema(), **occupancy, **model.field.level_schema(header, 1)}


def test_weights_come_back_within_half_a_step_of_their_run():
    rng = np.random.default_rng(0)
    runs, values = (300, 5, 40), rng.standard_normal(345).astype(np.float32)
    weights = np.repeat(np.float32([1, 100, 1e-4]), runs)
    numbers, steps, error = rounded(values, weights, runs, 0.01)
    np.testing.assert_allclose(steps, [0.01, 0.001, 1.0], rtol=1e-3)
    found = values_of(numbers, steps, runs)
    assert (np.abs(found - values) <= 0.501 * np.repeat(steps.astype(np.float32), runs)).all()
    assert error == pytest.approx((weights * (found - values) ** 2).sum(), rel=1e-4)
    every = np.arange(-LARGEST, LARGEST + 1, dtype=np.int32)
    np.testing.assert_array_equal(signed(zigzag(every)), every)
    assert zigzag(np.int32([0, -1, 1, -2, 2])).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("value", [0.0, 1e30, 1e-30])
@pytest.mark.parametrize("weight", [0.0, 1e-30, 1e30])
def test_weights_of_any_size_are_finite(value, weight):
    values = np.full(9, value, np.float32)
    numbers, steps, _ = rounded(values, np.full_like(values, weight), (4, 5), 0.01)
    assert np.isfinite(values_of(numbers, steps, (4, 5))).all()


# Files


def test_a_coded_file_is_smaller_and_loads_as_what_it_was_rounded_to(model, compactor, stored, tmp_path):
    half = save_model(model, tmp_path / "half.trf")[-1]
    loaded = load_model(stored)
    assert stored.stat().st_size < 0.6 * half  # of random numbers on a small grid
    assert loaded.field.num_levels == RANKS
    assert "warnings" not in read_trf(stored).header["metadata"]
    losses = read_trf(stored).header["metadata"]["coding_loss"]
    np.testing.assert_allclose(losses, compactor.losing(LOSSES["small"]).losses, atol=1e-3)
    np.testing.assert_array_equal(loaded.occupancy.to_numpy(), model.occupancy.to_numpy())
    rays = random_rays(model, 4096, np.random.default_rng(7))
    was, now = (m.renderer.forward(*rays).pixels.to_numpy()[:4096] for m in (model, loaded))
    assert 0 < ((was - now) ** 2).mean() < 1.5 * 10 ** (-PSNR[-1] / 10) * (10 ** (LOSSES["small"] / 10) - 1)


@only_sh
def test_every_prefix_is_a_file_with_the_first_levels(stored, tmp_path):
    whole = load_model(stored)
    for level in range(1, RANKS + 1):
        truncate_trf(stored, level, tmp_path / "part.trf")
        assert contents(load_model(tmp_path / "part.trf")) == contents(whole)[: level + 1]
        assert contents(load_model(stored, level)) == contents(whole)[: level + 1]


@only_sh
def test_cut_anywhere_it_is_the_longest_good_prefix(stored):
    whole, data, sizes = load_model(stored), stored.read_bytes(), read_trf(stored).prefix_bytes
    for cut in (sizes[0], sizes[0] + 5, (sizes[0] + sizes[1]) // 2, sizes[1] + 1, sizes[2] - 1):
        stored.write_bytes(data[:cut])
        levels = sum(size <= cut for size in sizes)
        assert contents(load_model(stored)) == contents(whole)[: levels + 1]
    stored.write_bytes(data[: sizes[0] - 1])
    with pytest.raises(UserError, match="damaged"):
        load_model(stored)


@only_sh
def test_coding_again_adds_to_what_was_lost(stored):
    again = Compactor(load_model(stored), batches=4)
    first = read_trf(stored).header["metadata"]["coding_loss"]
    assert again.psnr == pytest.approx([p - loss for p, loss in zip(PSNR, first)])
    made = again.losing("tiny")
    np.testing.assert_allclose(made.header["metadata"]["coding_loss"], np.add(first, made.losses), atol=2e-3)


@only_sh
def test_a_coded_file_states_its_decibels_as_estimates_wherever_it_goes(model, compactor, stored, tmp_path):
    losses = compactor.losing("small").losses
    expected = [Decibels(pytest.approx(p - loss, abs=2e-3), measured=False) for p, loss in zip(PSNR, losses)]
    truncate_trf(stored, 2, tmp_path / "cut.trf")
    loaded = load_model(stored)
    save_model(loaded, tmp_path / "half.trf")
    for path, levels in ((stored, 3), (tmp_path / "cut.trf", 2), (tmp_path / "half.trf", 3)):
        found = [decibels(load_model(path).metadata, level) for level in range(1, levels + 1)]
        assert found == expected[:levels], path
        assert found == [decibels(metadata_of(read_trf(path).header), level) for level in range(1, levels + 1)]
    header, chunks = model_chunks(model)
    write_trf(tmp_path / "plain.trf", header, chunks)
    assert decibels(load_model(tmp_path / "plain.trf").metadata, 2) == Decibels(25.0)


@only_sh
def test_a_file_that_was_coded_without_a_word_is_known_by_what_it_holds(stored, tmp_path):
    file = read_trf(stored)
    del file.header["metadata"]["coding_loss"]
    write_trf(tmp_path / "silent.trf", file.header, file.chunks)
    loaded = load_model(tmp_path / "silent.trf")
    assert decibels(loaded.metadata, 3) == Decibels(30.0, measured=False)
    save_model(loaded, tmp_path / "half.trf")
    assert decibels(load_model(tmp_path / "half.trf").metadata, 3) == Decibels(30.0, measured=False)


# A size


@only_sh
def test_the_best_that_fits_a_size_is_found(compactor):
    tried = compactor.ladder()
    assert [tried[0].losses[-1], tried[-1].losses[-1]] == pytest.approx(LADDER, rel=0.05)
    for size in (min(t.sizes[0] for t in tried), tried[3].sizes[1] + 9, tried[0].sizes[-1]):
        made, level = compactor.under(size)
        best = max(
            PSNR[k] - t.losses[k] for t in tried for k in range(RANKS) if t.sizes[k] <= size
        )  # fmt: skip
        assert made.sizes[level - 1] <= size
        assert PSNR[level - 1] - made.losses[level - 1] == pytest.approx(best)
    with pytest.raises(UserError, match=r"rank 1.*--size [0-9]+kB or more"):
        compactor.under(1000)


@only_sh
def test_without_any_psnr_the_most_levels_of_a_good_precision_are_taken(compactor, monkeypatch):
    monkeypatch.setattr(compactor, "psnr", None)
    small = compactor.losing("small")
    made, level = compactor.under(small.sizes[1] + 200)
    assert (level, made.losses[-1] <= LOSSES["small"]) == (2, True)
    made, level = compactor.under(small.sizes[0] - 100)
    assert made.losses[-1] > LOSSES["small"]


def test_a_field_of_one_precision_says_so(monkeypatch, model):
    monkeypatch.setattr(VMField, "knows_space", True)
    monkeypatch.setattr(VMField, "coded", lambda *arguments: super(VMField, arguments[0]).coded(*arguments[1:]))
    with pytest.raises(UserError, match="one precision"):
        Compactor(model)


# Attack


def load(path: Path, otherwise: str) -> None:
    load_model(path)
    pytest.fail(otherwise)


@only_sh
def test_no_entry_of_a_coded_files_header_may_be_junk(stored, tmp_path):
    file = read_trf(stored)
    fine = ("near", "far", "step_ratio", "distance_scale", "weight_threshold", "density_shift")
    harmless: dict[str, tuple[Any, ...]] = {"metadata": ({},), **dict.fromkeys(fine, (0.5,))}
    for key, junk, spoilt in lies(file.header, harmless):
        if (key, junk) == ("decoder_coding", "nothing"):  # harmonics have no weights to code
            continue
        write_trf(tmp_path / "liar.trf", spoilt, file.chunks)
        with pytest.raises(UserError, match="array" if (key, junk) == ("coding", "nothing") else key):
            load(tmp_path / "liar.trf", f"the header's '{key}' may be {junk}")


@only_sh
def test_a_small_file_may_not_claim_a_grid_that_would_fill_the_memory(model):
    header = {**model.field.header(), "coding": "compact", "resolution": [600, 600, 600], "num_levels": 16}
    VMField.checked_header({**header, "coding": "half"}, 16)
    VMField.checked_header(header, 14)
    with pytest.raises(UserError, match="field.resolution"):
        VMField.checked_header(header, 16)


@only_sh
@pytest.mark.parametrize(
    ("level", "spoil", "says"),
    [
        (1, lambda a: a.pop("table"), "rank 1 lacks the array 'table'"),
        (2, lambda a: a.pop("planes"), "rank 2 lacks the array 'planes'"),
        (2, lambda a: a.update(table=np.zeros(3, np.uint8)), "rank 2 holds an array 'table'"),
        (2, lambda a: a.update(planes=a["planes"].reshape(1, -1)), "rank 2: array 'planes'"),
        (2, lambda a: a.update(planes=a["planes"].view(np.uint16)), "rank 2: array 'planes' is u2"),
        (2, lambda a: a.update(planes=np.insert(a["planes"], 0, np.full(9, 7, np.uint32))), "longer"),
        (2, lambda a: a.update(planes=np.append(a["planes"], np.uint32(0))), "damaged"),
        (1, lambda a: a["table"].fill(255), "table"),
        (1, lambda a: a["table"].fill(0), "context"),
        (2, lambda a: a["scales"].fill(200), "scale"),
        (2, lambda a: a["steps"].fill(np.inf), "'steps'"),
        (2, lambda a: a["steps"].fill(np.nan), "'steps'"),
    ],
)
def test_arrays_that_no_encoder_wrote_are_refused(model, stored, tmp_path, level, spoil, says):
    file = read_trf(stored)
    schema = base_schema(model) if level == 1 else VMField.level_schema(file.header["field"], level)
    arrays = unpack_arrays(file.chunks[level - 1], schema)
    spoil(arrays)
    chunks = list(file.chunks)
    chunks[level - 1] = pack_arrays(arrays)
    write_trf(tmp_path / "wrong.trf", file.header, chunks)
    with pytest.raises(UserError, match=says):
        load_model(tmp_path / "wrong.trf")


@only_sh
def test_streams_may_not_be_deflated(model, stored, tmp_path):
    """Of a deflated stream nobody would know the length before it is inflated."""
    file = read_trf(stored)
    arrays = unpack_arrays(file.chunks[1], VMField.level_schema(file.header["field"], 2))
    arrays["planes"] = np.zeros(1 << 20, np.uint32)
    write_trf(tmp_path / "bomb.trf", file.header, [file.chunks[0], pack_arrays(arrays, {"planes"}), file.chunks[2]])
    with pytest.raises(UserError, match="array 'planes'"):
        load_model(tmp_path / "bomb.trf")


@only_sh
def test_half_precision_is_as_it_was(model, tmp_path):
    header, chunks = model_chunks(model)
    assert "coding" not in header["field"]
    assert unpack_arrays(chunks[1], VMField.level_schema(header["field"], 2)).keys() == {"factors", "basis"}
