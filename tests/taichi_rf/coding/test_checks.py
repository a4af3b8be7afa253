"""What a kernel uses as an index is checked where it is read, in model files and in checkpoints; so is every number.

Kernels check nothing: an index out of range reads or writes the memory of something else. The two tables below name
every array of whole numbers that a file can bring, what it is an index into, and how it can be wrong at either end; the
first test of each half sees to it that no such array is missing.
"""

from __future__ import annotations

import copy
import gc
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
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
from taichi_rf.fields.registry import field_type
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.fields.vm.field import VMField
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import coded_chunks, level_schema, load_model, model_chunks
from taichi_rf.storage.trf import write_trf
from taichi_rf.training import checkpoint, restoring
from taichi_rf.training.configs import slimmerf, solid, vqad
from taichi_rf.training.configs.base import Config
from taichi_rf.training.methods.registry import read_config
from taichi_rf.training.trainer import Trainer
from tests.tiny import tiny_config, tiny_octree_config, tiny_scene

ROWS = 64
CODES = {"learned": 3, "kmeans": 3, "hash": 5, "lowrank": 4, "none": 0}
"""Kind -> bits, or numbers a vertex. Three bits leave spare ones where they are stored, and spare rows of a block."""


@dataclass(frozen=True)
class Index:
    """An array of whole numbers of a file."""

    into: str
    wrong: tuple[Callable[[np.ndarray], np.ndarray], ...]
    """Ways in which it leaves its range; empty where its numbers are indices into nothing."""


def everywhere(value: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: np.full_like(array, value)


def somewhere(value: int, place: int) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(array: np.ndarray) -> np.ndarray:
        spoilt = array.copy()
        spoilt.reshape(-1)[place] = value
        return spoilt

    return spoil


def longer(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array, array[-1:]])


def shorter(array: np.ndarray) -> np.ndarray:
    return array[:-1]


BITS = (everywhere(0), everywhere(255), longer, shorter)
IN_A_MODEL = {
    "tree": Index("cells, children and vertices of an octree, whose counts the header tells", BITS),
    "indices": Index("rows of a codebook", (everywhere(255), somewhere(0xF0, 0), somewhere(0x0F, -1), longer, shorter)),
    "occupancy": Index("nothing: a bit for each cell", ()),
    "scales": Index("contexts of coded planes", (everywhere(255), somewhere(16, 0), somewhere(16, -1))),
    "table": Index("weights of coded numbers", (everywhere(255), somewhere(255, 0), somewhere(255, -1))),
    "planes": Index("nothing: coded numbers, whose distributions have an end", (everywhere(0), shorter)),
    "lines": Index("nothing: numbers of steps", ()),
    "small.coded": Index("nothing: numbers of steps", ()),
}
"""By name. What is stored has no sign: the lower end cannot be passed but where there is nothing at all."""

IN_A_CHECKPOINT = {
    "codes.index": Index(
        "rows of a codebook",
        tuple(
            somewhere(value, place)
            for place in (0, -1)
            for value in (-1, -(1 << 31), 1 << CODES["hash"], (1 << 31) - 1)
        ),
    ),
    "codes.candidates": Index(
        "four rows of a codebook in each number",
        tuple(somewhere(value, place) for place in (0, -1) for value in (-1, 1 << CODES["learned"], 9 << 8, 8 << 24)),
    ),
    "field.tree.1": Index("cells, children and vertices of an octree", (everywhere(0), longer, shorter)),
    "field.tree.2": Index("cells, children and vertices of an octree", BITS),
    "field.tree.3": Index("cells, children and vertices of an octree", (everywhere(0), longer, shorter)),
    "pixels": Index("pixels of all training images", (everywhere(0), longer, shorter)),
    "occupancy": Index("nothing: a bit for each cell", (longer, shorter)),
}


def refused(call: Callable[..., Any], *args: Any, what: str) -> None:
    """See that ``call`` ends in a UserError."""
    try:
        call(*args)
    except UserError:
        return
    pytest.fail(f"{what} was taken")


def fresh() -> None:
    gc.collect()
    backend.reset()
    backend.init("cpu")


# Model files


def octree_model(codes: str) -> Model:
    """A sphere of three levels with random features."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((800, 3))
    points *= 0.3 / np.linalg.norm(points, axis=1, keepdims=True)
    tree = Octree.from_points((0.5 + points).astype(np.float32), 4, 2)
    counts = tuple(len(layer.vertices) for layer in tree.layers)
    features = rng.standard_normal((sum(counts), 16)).astype(np.float32)
    quantiser: Any = Uncompressed(counts, sum(counts))
    if codes != "none":
        quantiser = quantised(
            codes, CODES[codes], features, np.ones(sum(counts)), tree, rate=0.02, logit_rate=0.1, sharpness=1.0, seed=0
        )  # type: ignore[arg-type]
    field = OctreeField(tree, quantiser, levels=3, rows=ROWS)
    box = np.array([[-1, -1, -1], [1, 1, 1]], np.float32)
    return RadianceModel(field, make_decoder("small", rows=ROWS), box=box, near=1.0, far=5.0)


def grid_model() -> Model:
    field = VMField(ranks=2, resolution=(5, 6, 7), rows=ROWS, seed=3)
    box = np.array([[-1, -1, -1], [1, 1, 1]], np.float32)
    return RadianceModel(field, make_decoder("sh", rows=ROWS), box=box, near=1.0, far=5.0)


def stored(kind: str) -> tuple[dict[str, Any], list[bytes]]:
    """Header and chunks of a small model."""
    fresh()
    if kind not in ("grid", "coded grid"):
        return model_chunks(octree_model(kind))
    model = grid_model()
    if kind == "grid":
        return model_chunks(model)
    squares = [np.ones(p.value.shape + (16,) if p.name == "factors" else p.value.shape) for p in model.parameters()]
    field_squares = [array.astype(np.float32) for array in squares]
    return coded_chunks(model, model.field.coded(0.01, field_squares, model.occupancy.to_numpy()), {})


@pytest.fixture(scope="module", params=[*CODES, "grid", "coded grid"])
def file(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[bytes]]:
    return stored(request.param)


def arrays_of(header: dict[str, Any], chunks: list[bytes]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    kind = field_type(header["field"]["kind"])
    for level, chunk in enumerate(chunks, 1):
        yield level, unpack_arrays(chunk, level_schema(kind, header, level))


def test_every_array_of_whole_numbers_in_a_model_file_is_in_the_table(file):
    found = {n for _, arrays in arrays_of(*file) for n, values in arrays.items() if values.dtype.kind in "iu"}
    assert found <= IN_A_MODEL.keys()


def test_an_index_out_of_range_in_a_model_file_is_refused(file, tmp_path):
    header, chunks = file
    load_model(write(tmp_path, header, chunks))
    for level, arrays in arrays_of(header, chunks):
        for name, values in arrays.items():
            for spoil in IN_A_MODEL[name].wrong if values.dtype.kind in "iu" else ():
                spoilt = [*chunks]
                spoilt[level - 1] = pack_arrays({**arrays, name: spoil(values)})
                if not np.array_equal(spoil(values), values):
                    refused(load_model, write(tmp_path, header, spoilt), what=f"'{name}' of level {level}")


@pytest.mark.parametrize("codes", ["learned", "none"])
def test_counts_of_a_header_that_are_not_the_trees_are_refused(codes, tmp_path):
    header, chunks = stored(codes)
    for key in ("cells", "vertices"):
        for level in range(3):
            for change in (-1, 1):
                spoilt = copy.deepcopy(header)
                spoilt["field"][key][level] += change
                refused(load_model, write(tmp_path, spoilt, chunks), what=f"'{key}' of level {level + 1}")


def write(folder: Path, header: dict[str, Any], chunks: list[bytes]) -> Path:
    write_trf(folder / "model.trf", header, chunks)
    return folder / "model.trf"


# Checkpoints


KINDS: dict[str, Config] = {
    "grid": tiny_config(iterations=20, shrink_at=0.3, filter_at=0.4, upsample_at=(0.5,), ranks="prefix"),
    **{
        codes: tiny_octree_config(
            iterations=12, codes=codes, bits=max(bits, 1), grow_at=(0.2,), filter_at=0.3, quantise_at=0.5, lods=3
        )
        for codes, bits in CODES.items()
    },
}


@dataclass
class Saved:
    """A training that is over, and what its checkpoint would hold."""

    trainer: Trainer
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]

    def restore(self, **changes: np.ndarray | None) -> None:
        """With arrays that are others, or are not there where they are None."""
        self.trainer.sampler.filtered = False  # as a new trainer's
        arrays = {**self.arrays, **changes}
        checkpoint.restore(self.trainer, {n: values for n, values in arrays.items() if values is not None}, self.state)


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest) -> Saved:
    fresh()
    trainer = Trainer(tiny_scene(train=4), KINDS[request.param].changed(batch_rays=64), rows=1 << 10)
    while trainer.iteration < trainer.config.iterations - 1:  # within the stretch of which the mean is kept
        trainer.step()
    return Saved(trainer, *checkpoint.capture(trainer))


def test_every_array_of_whole_numbers_in_a_checkpoint_is_in_the_table(saved):
    assert {n for n, values in saved.arrays.items() if values.dtype.kind in "iub"} <= IN_A_CHECKPOINT.keys()
    saved.restore()


def test_an_index_out_of_range_in_a_checkpoint_is_refused(saved):
    for name in saved.arrays.keys() & IN_A_CHECKPOINT.keys():
        values = saved.arrays[name]
        for spoil in IN_A_CHECKPOINT[name].wrong:
            refused(lambda: saved.restore(**{name: spoil(values)}), what=f"'{name}'")  # noqa: B023
    saved.restore()


@pytest.mark.parametrize("saved", ["learned"], indirect=True)
def test_logits_that_prefer_a_row_that_is_not_there_are_refused(saved):
    logits = saved.arrays["codes.value"]
    assert logits.shape[1:] == (16,)  # of which eight are rows
    wrong = [logits[:-1]]
    for place, value in (((0, 8), 1e30), ((-1, 15), 0.0), ((5,), -3e38)):
        wrong.append(logits.copy())
        wrong[-1][place] = value
    for spoilt in wrong:
        with pytest.raises(UserError, match=r"codes\.value"):
            saved.restore(**{"codes.value": spoilt})
    saved.restore()


def spoilt_arrays(name: str, values: np.ndarray) -> Iterator[np.ndarray | None]:
    """What cannot be the array of that name of a checkpoint."""
    yield from (values.astype("f8"), values.astype("u4"), values[None], values[..., None], values.reshape(-1)[0])
    if name != "pixels":  # which are not there where all are learnt from
        yield None
    first = np.arange(values.size).reshape(values.shape) == 0
    if values.dtype.kind == "f":
        yield from (np.where(first, np.float32(number), values) for number in (np.nan, np.inf, -np.inf))
        yield np.zeros((10 * len(values) + 10**5, *values.shape[1:]), values.dtype)
    if name.endswith(".second"):
        yield np.where(first, np.float32(-1e-3), values)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("saved", ["grid", "learned"], indirect=True)
def test_every_array_of_a_checkpoint_is_checked_for_its_type_shape_and_numbers(saved):
    parameters = {f"{p.name}.{key}": p for p in saved.trainer.model.parameters() for key in p.arrays()}
    for name, values in saved.arrays.items():
        for spoilt in spoilt_arrays(name, values) if values.size else ():
            what = f"'{name}' as {None if spoilt is None else (spoilt.dtype, spoilt.shape)}"
            arrays = {n: a for n, a in {**saved.arrays, name: spoilt}.items() if a is not None}
            if name in parameters:
                refused(restoring.parameter_values, arrays, parameters[name], what=what)
            else:
                refused(lambda: saved.restore(**{name: spoilt}), what=what)  # noqa: B023


JUNK: tuple[Any, ...] = (None, "1", [], {}, [[]], math.nan, -math.inf, -(1 << 70), 1 << 70, -1e300, 1e300, -1)
MAY_BE: dict[str, tuple[Any, ...]] = {
    "last_loss": (None, 1 << 70, 1e300),
    "recent_loss": (1 << 70,),
    "psnr": (-1,),
    "event": ("1",),
    "box": (-1,),
}
"""Junk that an entry may well be, by the name of the entry, or of the list that it is in."""
FREE = {"config", "scene", "seconds", "loss", "cause", "note"}
"""Entries that others check, or that nothing depends on."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the numbers and texts of a JSON value are, the first two of each list."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in FREE:
                yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            yield from leaves(item, (*path, index))
    else:
        yield path


def test_every_number_of_a_checkpoint_is_checked_for_its_type_and_range(saved):
    for path in leaves(saved.state):
        if path[0] == "events" and path[-1] not in ("iteration", "level", "event"):
            continue
        name = next(key for key in reversed(path) if isinstance(key, str))
        for junk in JUNK:
            if any(junk is fine or (type(junk) is type(fine) and junk == fine) for fine in MAY_BE.get(name, ())):
                continue
            spoilt = copy.deepcopy(saved.state)
            place = spoilt
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = junk
            refused(checkpoint.check, saved.trainer, spoilt, what=f"{path} as {junk!r}")
    checkpoint.check(saved.trainer, saved.state)


# Configurations


@pytest.mark.parametrize("config", [*slimmerf.PRESETS.values(), *vqad.PRESETS.values(), *solid.PRESETS.values()])
def test_every_entry_of_a_configuration_is_checked_and_those_of_presets_pass(config):
    values = config.to_json()
    own = values["strategy"]
    assert read_config(values) == config
    assert read_config(json.loads(json.dumps(values))) == config
    for key, value in {**values, **own}.items():
        for junk in ({}, [[]], math.nan, math.inf, -(1 << 70), 1 << 200, -1e300, 1e300, "?", b"?"):
            if (key == "preset" and isinstance(junk, str)) or (key == "strategy" and junk == {}):
                continue
            with pytest.raises(UserError, match=key):
                read_config({**values, "strategy": {**own, key: junk}} if key in own else {**values, key: junk})
        if isinstance(value, tuple):
            with pytest.raises(UserError, match=key):
                read_config({**values, "strategy": {**own, key: [0.5] * 1000}})


@pytest.mark.parametrize("entries", [slimmerf.QUICK, vqad.QUICK], ids=["slimmerf", "vqad"])
def test_every_entry_is_checked_where_they_lie_side_by_side_as_in_files_of_0_1_0(entries):
    flat = entries.to_json()
    flat |= flat.pop("strategy")
    assert read_config(flat) == entries
    both = {**flat, **asdict(slimmerf.QUICK.strategy), **asdict(vqad.QUICK.strategy), **flat}
    assert read_config(both) == entries
    for key in both:
        for junk in ({}, [[]], math.nan, -(1 << 70), b"?"):
            with pytest.raises(UserError, match=key):
                read_config({**both, key: junk})
    with pytest.raises(UserError, match="unknown entries: ranks_of_the_future"):
        read_config({**both, "ranks_of_the_future": 3})


def test_entries_of_another_method_are_unknown_in_a_method_s_own_part():
    values = vqad.QUICK.to_json()
    with pytest.raises(UserError, match="unknown entries: num_ranks"):
        read_config({**values, "strategy": {**values["strategy"], "num_ranks": 4}})
    with pytest.raises(UserError, match="unknown entries: num_ranks"):
        vqad.QUICK.changed(num_ranks=4)


@pytest.mark.parametrize("config", [*slimmerf.PRESETS.values(), *vqad.PRESETS.values()])
def test_every_number_of_a_configuration_has_limits(config):
    for part in (config, config.strategy):
        numbers = {f.name for f in fields(part) if any(n in str(f.type) for n in ("int", "float"))}
        assert numbers == type(part).LIMITS.keys()


# The functions themselves
