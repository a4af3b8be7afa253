"""Model files: what was saved comes back at every prefix, and what was not written by us is refused before it costs."""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from taichi_rf.coding.arrays import pack_arrays, unpack_arrays
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.rendering.decoders.registry import DECODERS, make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.pictures import render
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import load_model, model_chunks, save_model
from taichi_rf.storage.trf import read_trf, truncate_trf, write_trf
from tests.hostile import lies
from tests.tiny import ROWS, tiny_scene

RANKS = 3


@pytest.fixture(scope="module", params=["sh", "mlp"])
def model(request: pytest.FixtureRequest) -> Model:
    """Untrained, but dense enough to see; part of its space is known to be empty."""
    fresh()
    field = VMField(ranks=RANKS, resolution=(9, 8, 7), density_shift=-1.0, rows=ROWS, seed=3)
    field.value.from_numpy(5 * field.value.to_numpy())
    box = np.array([[-1.0, -1.0, -1.0], [1.0, 0.9, 0.8]], np.float32)
    made = RadianceModel(field, make_decoder(request.param, rows=ROWS, seed=4), box=box, near=2.0, far=6.0)
    made.distance_scale = 1.0
    cells = np.ones((6, 7, 8), bool)
    cells[:, :, :3] = False
    made.occupancy.set_cells(cells)
    made.metadata = {"scene": "noise", "level_psnr": [1.0, 2.0, 3.0]}
    return made


only_sh = pytest.mark.parametrize("model", ["sh"], indirect=True)


def fresh() -> None:
    """Restart Taichi: kernels that were compiled before are found again."""
    gc.collect()
    backend.reset()
    backend.init("cpu")


@pytest.fixture
def stored(model: Model, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model.trf")
    return tmp_path / "model.trf"


def picture(model: Model, level: int | None = None) -> np.ndarray:
    return render(model, tiny_scene().test.cameras[0], level=level)


def contents(model: Model) -> list[dict[str, bytes]]:
    """Every number that makes the model's pictures."""
    base = {**model.decoder.pack(), "occupancy": model.occupancy.packed()}
    levels = [model.field.pack(level) for level in range(1, model.field.num_levels + 1)]
    return [{name: array.tobytes() for name, array in arrays.items()} for arrays in (base, *levels)]


# Round trips


def test_what_is_loaded_looks_like_what_was_saved(model, stored):
    loaded = load_model(stored)
    assert loaded.field.num_levels == RANKS
    assert loaded.metadata["scene"] == "noise"
    assert loaded.metadata["warnings"] == []
    np.testing.assert_array_equal(loaded.box, model.box)
    np.testing.assert_array_equal(loaded.occupancy.to_numpy(), model.occupancy.to_numpy())
    for level in range(1, RANKS + 1):
        np.testing.assert_allclose(picture(loaded, level), picture(model, level), atol=5e-3)  # half precision
    assert np.abs(picture(loaded, 1) - picture(loaded, RANKS)).max() > 0.02


def test_a_prefix_looks_like_the_full_model_at_that_level(stored):
    full, part = load_model(stored), load_model(stored, 2)
    assert part.field.num_levels == 2
    np.testing.assert_allclose(picture(part), picture(full, 2), atol=1e-6)


@only_sh
def test_every_prefix_of_the_file_is_a_file_with_the_first_levels(model, stored, tmp_path):
    full = load_model(stored)
    for level in range(1, RANKS + 1):
        size = truncate_trf(stored, level, tmp_path / "part.trf")
        assert size == full.metadata["prefix_bytes"][level - 1] == (tmp_path / "part.trf").stat().st_size
        assert contents(load_model(tmp_path / "part.trf")) == contents(load_model(stored, level))
        assert contents(load_model(tmp_path / "part.trf")) == contents(full)[: level + 1]


@only_sh
def test_saving_what_was_loaded_writes_the_same_chunks(model, stored, tmp_path):
    save_model(load_model(stored), tmp_path / "again.trf")
    assert read_trf(tmp_path / "again.trf").chunks == read_trf(stored).chunks


@only_sh
def test_numbers_beyond_half_precision_are_stored_as_its_largest(model, tmp_path):
    value = model.field.value.to_numpy()
    spoilt = value.copy()
    spoilt[0, 0] = 1e9
    model.field.value.from_numpy(spoilt)
    save_model(model, tmp_path / "large.trf")
    model.field.value.from_numpy(value)
    assert np.isfinite(load_model(tmp_path / "large.trf").field.value.to_numpy()).all()


@pytest.mark.parametrize("decoder", ["sh", "mlp"])
def test_a_file_of_version_1_reads_as_it_always_did(tmp_path, decoder):
    """Written down by hand from the first description of the format, so that later writers cannot agree with it."""
    fresh()
    rng = np.random.default_rng(2)
    texels = 4 * 3 + 4 * 2 + 3 * 2 + 2 + 3 + 4  # planes xy, xz, yz, lines z, y, x of 4 x 3 x 2 nodes
    levels: list[dict[str, np.ndarray]] = [
        {
            "factors": rng.standard_normal((4, texels)).astype(np.float16),
            "basis": rng.standard_normal((3, 3, 27)).astype(np.float16),
        }
        for _ in range(2)
    ]
    weights = rng.standard_normal(151 * 128 + 129 * 128 + 129 * 3).astype(np.float16)
    base = {"mlp": weights} if decoder == "mlp" else {}
    occupancy = np.array([0b101101], np.uint8)  # six cells
    header = {
        "field": {
            "kind": "vm", "num_levels": 2, "resolution": [4, 3, 2], "activation": "softplus", "density_shift": -3.5
        },
        "decoder": decoder, "box": [[-1, -2, -3], [1, 2, 3]], "near": 1, "far": 9.5, "background": [0, 0.5, 1],
        "step_ratio": 0.5, "distance_scale": 25, "weight_threshold": 1e-4, "metadata": {"scene": "hand"},
    }  # fmt: skip
    chunks = [pack_arrays({**base, "occupancy": occupancy, **levels[0]}, {"occupancy"}), pack_arrays(levels[1])]
    write_trf(tmp_path / "old.trf", header, chunks)
    loaded = load_model(tmp_path / "old.trf")
    assert isinstance(loaded.field, VMField)
    assert (loaded.field.num_levels, loaded.field.resolution, loaded.field.density_shift) == (2, (4, 3, 2), -3.5)
    assert (loaded.near, loaded.far, loaded.background) == (1, 9.5, (0, 0.5, 1))
    assert loaded.occupancy.packed().tolist() == occupancy.tolist()
    for level, stored in enumerate(levels, 1):
        for name, values in loaded.field.pack(level).items():
            np.testing.assert_array_equal(values, stored[name])
    for values in loaded.decoder.pack().values():
        np.testing.assert_array_equal(values, weights)
    assert model_chunks(loaded)[1] == chunks  # and what is written now, older programs can read


# Damage


@only_sh
@pytest.mark.parametrize("level", [1, 2])
def test_a_file_cut_off_within_a_level_is_the_levels_before_it(model, stored, level):
    full = load_model(stored)
    sizes = full.metadata["prefix_bytes"]
    stored.write_bytes(stored.read_bytes()[: (sizes[level - 1] + sizes[level]) // 2])
    part = load_model(stored)
    assert part.field.num_levels == level
    assert f"level {level + 1} is damaged" in part.metadata["warnings"][0]
    assert contents(part) == contents(full)[: level + 1]
    with pytest.raises(UserError, match=f"choose 1 to {level}"):
        load_model(stored, level + 1)


@only_sh
def test_a_flipped_bit_costs_its_level_and_those_above(model, stored):
    data, sizes = bytearray(stored.read_bytes()), read_trf(stored).prefix_bytes
    data[sizes[1] + 100] ^= 4
    stored.write_bytes(data)
    assert load_model(stored).field.num_levels == 2
    data[sizes[0] - 10] ^= 4
    stored.write_bytes(data)
    with pytest.raises(UserError, match="base chunk is damaged"):
        load_model(stored)


# Attack: whole files, checksums right, contents wrong


def change(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(header: dict[str, Any]) -> None:
        for key in keys[:-1]:
            header = header[key]
        if to is None:
            del header[keys[-1]]
        else:
            header[keys[-1]] = to

    return apply


@only_sh
@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (change("field", to=None), "field"),
        (change("field", to=[]), "field"),
        (change("field", "kind", to="hologram"), "'hologram'.*vm.*newer version"),
        (change("field", "kind", to=["vm"]), "field.kind"),
        (change("field", "kind", to="__class__"), "field.kind"),
        (change("field", "kind", to="x" * 10_000), "field.kind.{,300}$"),
        (change("field", "num_levels", to=2), "num_levels"),
        (change("field", "num_levels", to=1 << 60), "num_levels"),
        (change("field", "num_levels", to="3"), "num_levels"),
        (change("field", "num_levels", to=65), "num_levels"),
        (change("field", "resolution", to=[1 << 60, 1 << 60, 1 << 60]), "resolution"),
        (change("field", "resolution", to=[1024, 1024, 1024]), "factors|occupancy"),
        (change("field", "resolution", to=[9, 8]), "resolution"),
        (change("field", "resolution", to=[9, 8, -7]), "resolution"),
        (change("field", "resolution", to=[9.0, 8, 7]), "resolution"),
        (change("field", "resolution", to=[9, 8, True]), "resolution"),
        (change("field", "resolution", to=[1025, 2, 2]), "resolution"),
        (change("field", "resolution", to=[9, 8, 8]), "factors|occupancy"),
        (change("field", "activation", to="exp"), "activation"),
        (change("field", "density_shift", to="-10"), "density_shift"),
        (change("field", "density_shift", to=True), "density_shift"),
        (change("decoder", to="transformer"), "decoder"),
        (change("decoder", to="small"), "decoder.*kind 'vm': sh, mlp"),
        (change("decoder", to=["sh"]), "decoder"),
        (change("decoder", to={}), "decoder"),
        (change("box", to=[[0, 0, 0], [1, 1, 0]]), "box"),
        (change("box", to=[[0, 0, 0], [1e300, 1, 1]]), "box"),
        (change("box", to=[[999999.99] * 3, [1e6] * 3]), "box"),
        (change("box", to=[0, 1]), "box"),
        (change("box", to=[["a", 0, 0], [1, 1, 1]]), "box"),
        (change("near", to=-1), "near"),
        (change("far", to=0), "far"),
        (change("far", to=1e-6), "near/far"),
        (change("near", to=1e6), "near/far"),
        (change("background", to=[1, 1]), "background"),
        (change("background", to=[1, 1, 2]), "background"),
        (change("background", to=[1, 1, True]), "background"),
        (change("step_ratio", to=1e-9), "step_ratio"),
        (change("distance_scale", to=None), "distance_scale"),
        (change("metadata", to=3), "metadata"),
    ],
)
def test_a_header_that_lies_is_refused_by_the_name_of_its_entry(model, tmp_path, spoil, names):
    header, chunks = model_chunks(model)
    spoil(header)
    write_trf(tmp_path / "liar.trf", header, chunks)
    with pytest.raises(UserError, match=names) as raised:
        load_model(tmp_path / "liar.trf")
    assert str(raised.value).startswith(f"{tmp_path / 'liar.trf'}: ")


def load(path: Path, otherwise: str) -> None:
    load_model(path)
    pytest.fail(otherwise)


@only_sh
def test_no_entry_of_the_header_may_be_missing_or_junk(model, tmp_path):
    header, chunks = model_chunks(model)
    harmless = {"metadata": ({},), "near": (0.5,), "step_ratio": (0.5,), "distance_scale": (0.5,)}
    harmless |= {"weight_threshold": (0.5,), "density_shift": (0.5,)}
    for key, junk, spoilt in lies(header, harmless):
        write_trf(tmp_path / "liar.trf", spoilt, chunks)
        with pytest.raises(UserError, match=key):
            load(tmp_path / "liar.trf", f"the header's '{key}' may be {junk}")


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["vm", "relu"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(key=st.sampled_from(["kind", "num_levels", "resolution", "activation", "density_shift"]), value=json)
def test_a_header_is_refused_or_gives_shapes_of_bounded_size(key, value):
    header = {"kind": "vm", "num_levels": 3, "resolution": [9, 8, 7], "activation": "relu", "density_shift": 0}
    header[key] = value
    try:
        VMField.checked_header(header, 2)
    except UserError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        event("refused")
        assert f"field.{key}" in refused
        return
    assert 2 <= header["num_levels"] <= 64
    for level in (1, 2):
        for kind, shape in VMField.level_schema(header, level).values():
            assert kind == "f2"
            assert 0 < math.prod(shape) < 1 << 24


@only_sh
@pytest.mark.parametrize(
    ("level", "spoil", "says"),
    [
        (1, lambda arrays: arrays.pop("occupancy"), "rank 1 lacks the array 'occupancy'"),
        (1, lambda arrays: arrays.pop("factors"), "rank 1 lacks the array 'factors'"),
        (2, lambda arrays: arrays.pop("basis"), "rank 2 lacks the array 'basis'"),
        (2, lambda arrays: arrays.update(occupancy=np.zeros(42, np.uint8)), "rank 2 holds an array 'occupancy'"),
        (2, lambda arrays: arrays.update(mlp=np.zeros(9, np.float16)), "rank 2 holds an array 'mlp'"),
        (1, lambda arrays: arrays.update(basis=arrays["basis"].astype(np.float32)), "rank 1: array 'basis' is f4"),
        (1, lambda arrays: arrays.update(basis=arrays["basis"].view(np.uint16)), "rank 1: array 'basis' is u2"),
        (2, lambda arrays: arrays.update(factors=arrays["factors"][:3]), "rank 2: array 'factors'"),
        (1, lambda arrays: arrays.update(occupancy=arrays["occupancy"][:-1]), "rank 1: array 'occupancy'"),
        (2, lambda arrays: arrays.clear(), "rank 2 lacks"),
    ],
)
def test_arrays_that_do_not_belong_are_refused_by_level_and_name(model, tmp_path, level, spoil, says):
    header, chunks = model_chunks(model)
    schema = dict(model.field.level_schema(model.field.header(), level))
    if level == 1:
        schema["occupancy"] = ("u1", (42,))  # 8 x 7 x 6 cells
    arrays = unpack_arrays(chunks[level - 1], schema)
    spoil(arrays)
    chunks[level - 1] = pack_arrays(arrays)
    write_trf(tmp_path / "wrong.trf", header, chunks)
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'wrong.trf'}: {says}")):
        load_model(tmp_path / "wrong.trf")


@only_sh
def test_a_field_that_knows_its_space_brings_it_along_and_the_file_has_no_other(model, tmp_path, monkeypatch):
    monkeypatch.setattr(VMField, "knows_space", True)
    monkeypatch.setattr(VMField, "compressed", frozenset({"basis"}))
    header, chunks = model_chunks(model)
    schema = model.field.level_schema(header["field"], 1)
    assert unpack_arrays(chunks[0], schema).keys() == schema.keys()
    zeros = {"basis": np.zeros((3, 3, 27), np.float16)}
    monkeypatch.setattr(model.field, "pack", lambda level: zeros)
    assert len(model_chunks(model)[1][1]) < zeros["basis"].nbytes < len(pack_arrays(zeros))
    write_trf(tmp_path / "knows.trf", header, chunks)
    read = []
    monkeypatch.setattr(VMField, "from_file", classmethod(lambda cls, header, arrays, **options: read.extend(arrays)))
    with pytest.raises(AttributeError):  # there is no field to go on with
        load_model(tmp_path / "knows.trf")
    assert [arrays.keys() for arrays in read] == 3 * [schema.keys()]


@only_sh
def test_what_the_field_itself_refuses_names_the_file(stored, monkeypatch):
    def refuse(cls: type, header: Any, arrays: Any, **options: Any) -> None:
        raise UserError("an octree without a cell")

    monkeypatch.setattr(VMField, "from_file", classmethod(refuse))
    with pytest.raises(UserError, match=re.escape(f"{stored}: an octree without a cell")):
        load_model(stored)


@only_sh
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("array", ["factors", "basis"])
def test_numbers_that_are_not_finite_are_refused(model, tmp_path, array, value):
    header, chunks = model_chunks(model)
    arrays = unpack_arrays(chunks[1], model.field.level_schema(model.field.header(), 2))
    arrays[array].reshape(-1)[5] = value
    write_trf(tmp_path / "nan.trf", header, [chunks[0], pack_arrays(arrays), chunks[2]])
    with pytest.raises(UserError, match=f"rank 2: '{array}'"):
        load_model(tmp_path / "nan.trf")
    assert load_model(tmp_path / "nan.trf", 1).field.num_levels == 1


def test_arrays_of_another_decoder_are_refused(model, tmp_path):
    header, chunks = model_chunks(model)
    header["decoder"] = next(kind for kind in DECODERS if kind != header["decoder"])
    write_trf(tmp_path / "swapped.trf", header, chunks)
    with pytest.raises(UserError, match="mlp"):
        load_model(tmp_path / "swapped.trf")


@only_sh
def test_chunks_in_another_order_are_refused(model, tmp_path):
    header, chunks = model_chunks(model)
    write_trf(tmp_path / "shuffled.trf", header, [chunks[1], chunks[0], chunks[2]])
    with pytest.raises(UserError):
        load_model(tmp_path / "shuffled.trf")
