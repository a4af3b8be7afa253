"""Named arrays as bytes: they come back bit for bit, compressed or not, and never beyond what was expected."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taichi_rf.coding import arrays as array_blocks
from taichi_rf.core.errors import UserError
from taichi_rf.storage import trf as storage
from taichi_rf.storage.trf import (
    pack_arrays,
    unpack_arrays,
)
from tests.taichi_rf.storage.test_trf import within


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20),
        st.tuples(st.sampled_from(storage.ARRAY_TYPES), st.lists(st.integers(0, 5), max_size=4).map(tuple)),
        max_size=4,
    ),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_any_arrays_come_back_bit_for_bit(
    schema: dict[str, tuple[str, tuple[int, ...]]], compress: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, (dtype, shape) in schema.items():  # random bits: NaN payloads and signed zeros are to survive too
        raw = generator.bytes(math.prod(shape) * np.dtype(dtype).itemsize)
        arrays[name] = np.frombuffer(raw, dtype).reshape(shape)
    result = unpack_arrays(pack_arrays(arrays, set(arrays) if compress else ()), schema)
    assert list(result) == list(arrays)
    for name, array in arrays.items():
        assert (result[name].dtype, result[name].shape) == (array.dtype, array.shape)
        assert result[name].tobytes() == array.tobytes()
        assert result[name].flags.writeable


def test_arrays_in_any_memory_order_are_stored_by_value() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for view in (array.T, array[:, ::-1], array[..., ::2], array.astype(">f4"), np.asfortranarray(array)):
        result = unpack_arrays(pack_arrays({"a": view}), {"a": ("f4", view.shape)})["a"]
        np.testing.assert_array_equal(result, view)
        assert result.dtype == np.float32


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({}, "'a' that does not belong"),
        ({"a": ("f2", (2, 3)), "b": ("f4", ())}, "lacks the array 'b'"),
        ({"a": ("f4", (2, 3))}, r"level 3: array 'a' is f2\[2, 3\], expected f4\[2, 3\]"),
        ({"a": ("f2", (3, 2))}, r"expected f2\[3, 2\]"),
        ({"a": ("f2", (6,))}, r"expected f2\[6\]"),
    ],
)
def test_arrays_other_than_the_expected_are_refused(
    schema: dict[str, tuple[str, tuple[int, ...]]], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        unpack_arrays(pack_arrays({"a": np.zeros((2, 3), np.float16)}), schema, where="level 3")


def stored_size(array: np.ndarray, *, compress: bool) -> int:
    return len(pack_arrays({"a": array}, {"a"} if compress else ())) - len(pack_arrays({"a": array[:0]}))


def test_compressing_costs_nothing_where_it_does_not_help() -> None:
    generator = np.random.default_rng(3)
    for count in (0, 1, 7, 5000):
        for code in ("u1", "f2", "i8"):
            array = np.frombuffer(generator.bytes(count * np.dtype(code).itemsize), code)
            assert stored_size(array, compress=True) <= stored_size(array, compress=False) == array.nbytes


def test_numbers_without_repetitions_come_near_their_entropy() -> None:
    """Indices of 6 bits in a byte each, and the half-precision weights of a layer, whose low bytes are noise."""
    generator = np.random.default_rng(4)
    indices = generator.integers(0, 64, 50_000).astype(np.uint8)
    assert stored_size(indices, compress=True) < 1.01 * 6 / 8 * indices.nbytes
    weights = (0.1 * generator.standard_normal(50_000)).astype(np.float16)
    counts = np.bincount(weights.view(np.uint16) >> 8, minlength=256)
    shares = counts[counts > 0] / counts.sum()
    high_byte = -(shares * np.log2(shares)).sum() / 8
    assert stored_size(weights, compress=True) < 1.01 * (high_byte + 1) * len(weights) < 0.85 * weights.nbytes


def test_sorted_bytes_begin_with_the_highest_of_every_number() -> None:
    """As a program would write them that knows the description alone."""
    values = zlib.compress(bytes([0x12, 0x56, 0x34, 0x78]))
    block = struct.pack("<HB1s2sBBQQ", 1, 1, b"a", b"u2", 2, 1, len(values), 2) + values
    assert unpack_arrays(block, {"a": ("u2", (2,))})["a"].tolist() == [0x1234, 0x5678]
    with pytest.raises(UserError, match="malformed"):
        unpack_arrays(block.replace(b"u2\x02", b"u2\x03"), {"a": ("u2", (2,))})
    empty = struct.pack("<HB1s2sBBQQ", 1, 1, b"a", b"f4", 2, 1, 8, 0) + zlib.compress(b"")
    assert unpack_arrays(empty, {"a": ("f4", (0,))})["a"].shape == (0,)


def test_what_is_too_large_to_be_inflated_again_is_stored_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_blocks, "MAX_INFLATED", 100)
    assert stored_size(np.zeros(101, np.uint8), compress=True) == 101
    assert stored_size(np.zeros(100, np.uint8), compress=True) < 20


@pytest.mark.parametrize("form", [1, 2])
def test_compressed_arrays_cannot_inflate_beyond_the_schema(form: int) -> None:
    def block(shape: tuple[int, ...], stored: bytes) -> bytes:
        head = struct.pack("<HB1s2sBBQ", 1, 1, b"o", b"u1", form, len(shape), len(stored))
        return head + struct.pack(f"<{len(shape)}Q", *shape) + stored

    bomb = zlib.compress(bytes(200 << 20), 9)
    hundred = zlib.compress(bytes(100))

    def work() -> None:
        for shape, stored in [
            ((100,), bomb),  # inflates to more than it says
            ((200 << 20,), bomb[:2000]),  # cut off
            ((101,), hundred),
            ((99,), hundred),
            ((0,), hundred),
            ((100,), hundred[:-1]),
            ((100,), hundred + b"x"),
            ((100,), b""),
            ((100,), b"no deflate stream" * 10),
            ((2**40,), bomb),  # more than any occupancy grid needs
            ((2**62,), hundred),
        ]:
            with pytest.raises(UserError):
                unpack_arrays(block(shape, stored), {"o": ("u1", shape)})

    within(8, work)
    assert unpack_arrays(block((100,), hundred), {"o": ("u1", (100,))})["o"].sum() == 0
    assert array_blocks.MAX_INFLATED < 2**40


def test_arrays_the_format_does_not_have_are_a_bug_of_the_caller() -> None:
    for array in (np.zeros(3), np.zeros(3, bool), np.zeros(3, object), np.zeros(3, complex), np.array(["a"])):
        with pytest.raises(ValueError, match="cannot be stored"):
            pack_arrays({"a": array})
    for name, array in (("", np.zeros(1, "f4")), ("x" * 256, np.zeros(1, "f4")), ("a", np.zeros((1,) * 9, "f4"))):
        with pytest.raises(ValueError, match="does not fit"):
            pack_arrays({name: array})
