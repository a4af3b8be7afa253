"""The progressive file, its arrays and the checkpoint: round trips, every prefix, and thousands of damaged files."""

from __future__ import annotations

import gc
import json
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.trf import (
    outline,
    pack_arrays,
    prefix_bytes,
    read_trf,
    truncate_trf,
    unpack_arrays,
    write_trf,
)

PREAMBLE = 24  # bytes before the JSON header: magic 8, version 4, levels 4, header length 4, crc 4
FRAME = 24  # bytes before each payload: tag 4, index 4, length 8, checksum 8
HEADER = {"kind": "vm", "levels": 6, "box": [[-1.5, -1.5, -1.5], [1.5, 1.5, 1.5]], "scene": "Löwe", "psnr": None}


def payloads(seed: int, levels: int = 6) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(source.choice([0, 1, 40, 300, 700])) for _ in range(levels)]


def file_bytes(path: Path, header: dict[str, Any], chunks: list[bytes]) -> bytes:
    write_trf(path, header, chunks)
    return path.read_bytes()


def forged(header: bytes, *, version: int = 1, levels: int = 6, length: int | None = None, tail: bytes = b"") -> bytes:
    """A file whose header passes its checksum whatever it says, as an attacker would make it."""
    counts = struct.pack("<III", version, levels, len(header) if length is None else length)
    return b"\x89TRF\r\n\x1a\n" + counts + struct.pack("<I", zlib.crc32(counts + header)) + header + tail


# ------------------------------------------------------------------------------------------------- the progressive file


def test_a_file_brings_back_its_header_and_chunks(tmp_path: Path) -> None:
    chunks = payloads(0)
    sizes = write_trf(tmp_path / "model.trf", HEADER, chunks)
    trf = read_trf(tmp_path / "model.trf")
    assert (trf.header, trf.chunks, trf.warnings, trf.total_levels) == (HEADER, chunks, [], 6)
    assert sizes == trf.prefix_bytes == prefix_bytes(HEADER, [len(chunk) for chunk in chunks])
    assert sizes[-1] == (tmp_path / "model.trf").stat().st_size
    assert outline(tmp_path / "model.trf") == (HEADER, sizes)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    reverse = dict(reversed(HEADER.items()))
    assert file_bytes(tmp_path / "a", HEADER, payloads(0)) == file_bytes(tmp_path / "b", reverse, payloads(0))


def test_every_prefix_is_a_file_of_the_promised_size(tmp_path: Path) -> None:
    source, small = tmp_path / "model.trf", tmp_path / "small.trf"
    chunks = payloads(1)
    sizes = write_trf(source, HEADER, chunks)
    for level in range(1, 7):
        assert truncate_trf(source, level, small) == sizes[level - 1] == small.stat().st_size
        assert small.read_bytes() == source.read_bytes()[: sizes[level - 1]]
        trf = read_trf(small)
        assert (trf.header, trf.chunks, trf.warnings, trf.total_levels) == (HEADER, chunks[:level], [], 6)
        assert trf.prefix_bytes == sizes[:level]
        part = read_trf(source, level)
        assert (part.chunks, part.warnings) == (chunks[:level], [])
    assert read_trf(source, 99).chunks == chunks


def test_slimming_twice_and_in_place_is_slimming_once(tmp_path: Path) -> None:
    path, once = tmp_path / "model.trf", tmp_path / "once.trf"
    write_trf(path, HEADER, payloads(2))
    truncate_trf(path, 2, once)
    truncate_trf(path, 4, path)
    truncate_trf(path, 2, path)
    assert path.read_bytes() == once.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.trf", "once.trf"]


def test_levels_that_are_not_there_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path, out = tmp_path / "model.trf", tmp_path / "out.trf"
    write_trf(path, HEADER, payloads(0))
    truncate_trf(path, 3, path)
    for level in (-1, 0, 4, 7, 10**9):
        with pytest.raises(UserError, match="choose 1 to 3"):
            truncate_trf(path, level, out)
    with pytest.raises(UserError, match="levels start at 1"):
        read_trf(path, 0)
    assert not out.exists()


def test_cutting_anywhere_leaves_every_level_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    chunks = payloads(3)
    sizes = write_trf(path, HEADER, chunks)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        whole = sum(size <= length for size in sizes)
        if whole == 0:
            with pytest.raises(UserError):
                read_trf(path)
            continue
        trf = read_trf(path)
        assert trf.chunks == chunks[:whole]
        assert bool(trf.warnings) == (length not in sizes)
        assert outline(path) == (HEADER, sizes[:whole])


def test_a_damaged_level_is_left_out_with_a_warning_that_names_it(tmp_path: Path) -> None:
    path, out = tmp_path / "model.trf", tmp_path / "out.trf"
    chunks = [bytes([level]) * 100 for level in range(6)]
    sizes = write_trf(path, HEADER, chunks)
    data = bytearray(path.read_bytes())
    data[sizes[3] + FRAME + 50] ^= 4
    path.write_bytes(data)
    trf = read_trf(path)
    assert trf.chunks == chunks[:4]
    assert trf.warnings == [f"{path}: level 5 is damaged (checksum); loaded levels 1 to 4 of 6"]
    assert read_trf(path, 4).warnings == []
    truncate_trf(path, 4, out)
    with pytest.raises(UserError, match="level 5 is damaged"):
        truncate_trf(path, 5, out)
    assert read_trf(out).chunks == chunks[:4]  # the earlier result is still there


def test_bytes_after_the_last_level_are_ignored_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    data = file_bytes(path, HEADER, payloads(0))
    path.write_bytes(data + b"garbage")
    trf = read_trf(path)
    assert trf.chunks == payloads(0)
    assert "7 bytes after the last level" in trf.warnings[0]


def test_levels_of_another_model_are_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    chunks = [bytes([level]) * 100 for level in range(6)]
    mine = file_bytes(path, HEADER, chunks)
    other = file_bytes(path, HEADER, [b"x" * 100, *chunks[1:]])  # same header, same later levels, another base
    sizes = prefix_bytes(HEADER, [100] * 6)
    path.write_bytes(mine[: sizes[0]] + other[sizes[0] :])
    trf = read_trf(path)
    assert trf.chunks == chunks[:1]
    assert "level 2 is damaged" in trf.warnings[0]


def test_files_that_are_no_model_or_newer_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    good = file_bytes(path, HEADER, payloads(0))
    frame = struct.pack("<4sIQ8s", b"LEVL", 0, 2**60, bytes(8))
    text = json.dumps(HEADER).encode()
    for data, reason in {
        b"": "is not a .trf model",
        b"\x89PNG\r\n\x1a\n" + good[8:]: "is not a .trf model",
        good.replace(b"\r\n", b"\n", 1): "is not a .trf model",
        good[:20]: "ends within its header",
        good[:40]: "ends within its header",
        good[: PREAMBLE + 5] + b"?" + good[PREAMBLE + 6 :]: "header is damaged",
        forged(text): "ends before the base chunk",
        forged(text, version=3): "version 3, this program reads up to 2: please update",
        forged(text, version=0): "claims version 0",
        forged(text, levels=0): "0 levels",
        forged(text, levels=2**32 - 1): "4294967295 levels",
        forged(text, length=2**32 - 1): "claims 4294967295 bytes",
        forged(text, tail=frame): "base chunk is damaged .it claims 1152921504606846976 bytes",
        forged(text, tail=struct.pack("<4sIQ8s", b"LEVL", 0, 1000, bytes(8))): "ends within it, after 0 of 1000 bytes",
        forged(b"[1]"): "not a JSON object",
        forged(b'{"a":NaN}'): "not valid JSON",
        forged(b'{"a":1e400}'): "not valid JSON",
        forged(b"\xff"): "not valid JSON",
        forged(b'{"a":' * 5000 + b"1" + b"}" * 5000): "not valid JSON",
        forged(b"[" * 65000): "not valid JSON",
    }.items():
        path.write_bytes(data)
        with pytest.raises(UserError, match=reason):
            read_trf(path)
        with pytest.raises(UserError):
            truncate_trf(path, 1, tmp_path / "out.trf")
        if reason != "ends before the base chunk":
            with pytest.raises(UserError):
                outline(path)
    with pytest.raises(UserError, match="no such file"):
        read_trf(tmp_path / "missing.trf")
    with pytest.raises(UserError, match="not a file"):
        read_trf(tmp_path)


def test_a_level_that_claims_the_earth_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    sizes = write_trf(path, HEADER, payloads(0))
    data = bytearray(path.read_bytes())
    for claim in (2**60, 2**63, 2**64 - 1, 2**30 + 1, 2**30):
        data[sizes[1] + 8 : sizes[1] + 16] = struct.pack("<Q", claim)
        path.write_bytes(data)
        tracemalloc.start()
        trf = read_trf(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(trf.chunks) == 2
        assert str(claim) in trf.warnings[0]
        assert peak < 4 << 20


def test_what_the_format_cannot_hold_is_a_bug_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    for header, chunks in (({}, []), ({}, [b""] * 1025), ({"a": "x" * (64 << 10)}, [b""])):
        with pytest.raises(ValueError):
            write_trf(path, header, chunks)
    assert not path.exists()


# ------------------------------------------------------------------------------------------------------- damaged files


def mutated(source: random.Random, data: bytes, other: bytes, fields: list[int]) -> bytes:
    """One or several of: flipped bits, overwritten bytes, a cut, an edited length, a splice from within or without."""
    result = bytearray(data)
    for _ in range(source.choice([1, 1, 1, 2, 4])):
        if not result:
            break
        at, end = sorted(source.randrange(len(result) + 1) for _ in range(2))
        kind = source.randrange(8)
        if kind == 0:
            result[source.randrange(len(result))] ^= 1 << source.randrange(8)
        elif kind == 1:
            result[source.randrange(len(result))] = source.randrange(256)
        elif kind == 2:
            del result[source.randrange(len(result) + 1) :]
        elif kind == 3:
            field, width = source.choice(fields), source.choice([1, 2, 4, 8])
            value = source.choice([0, 1, 23, len(data), 2**31, 2**32 - 1, 2**60, 2**64 - 1, source.getrandbits(64)])
            result[field : field + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")
        elif kind == 4:
            del result[at:end]
        elif kind == 5:
            result[at:at] = result[at:end]
        elif kind == 6:
            result[at:] = other[source.randrange(len(other)) :]
        else:
            result[at:end] = other[at:end]
    return bytes(result)


def within(megabytes: float, work: Callable[[], None]) -> None:
    """Do the work and check that it never held more memory than that."""
    tracemalloc.start()
    try:
        work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 2**20, f"{peak} bytes were taken"


def test_a_thousand_damaged_files_load_a_good_prefix_or_are_refused(tmp_path: Path) -> None:
    source, path, out = random.Random(2004), tmp_path / "model.trf", tmp_path / "out.trf"
    originals = [(HEADER, payloads(0)), ({**HEADER, "scene": "other"}, payloads(5))]
    data, other = (file_bytes(path, *original) for original in originals)
    starts = [0, *prefix_bytes(*originals[0][:1], [len(chunk) for chunk in originals[0][1]])]
    starts[0] = starts[1] - FRAME - len(originals[0][1][0])
    fields = [8, 12, 16, 20] + [start + offset for start in starts[:-1] for offset in (0, 4, 8, 16)]
    outcomes = {"refused": 0, "part": 0, "whole": 0}

    def work() -> None:
        for count in range(1000):
            if count % 200 == 0:
                gc.collect()  # what was refused is in circles with its traceback
            path.write_bytes(mutated(source, data, other, fields))
            try:
                trf = read_trf(path)
            except UserError:
                outcomes["refused"] += 1
                with pytest.raises(UserError):
                    truncate_trf(path, 1, out)
                continue
            # A splice may have turned it into the other model: still a model as it was written.
            header, chunks = next(original for original in originals if original[0] == trf.header)
            assert 1 <= len(trf.chunks) <= 6
            assert trf.chunks == chunks[: len(trf.chunks)]
            outcomes["whole" if len(trf.chunks) == 6 else "part"] += 1
            truncate_trf(path, len(trf.chunks), out)
            assert read_trf(out).chunks == trf.chunks

    within(4, work)
    # The mutations reach every outcome; "whole" only by garbage at the end or a change undone.
    assert min(outcomes["refused"], outcomes["part"]) > 150, outcomes
    assert outcomes["whole"] > 0


def test_two_thousand_damaged_array_blocks_give_the_schema_or_are_refused() -> None:
    source = random.Random(77)
    schema = {"plane": ("f2", (3, 5, 4)), "line": ("f4", (7,)), "occupancy": ("u1", (64, 8, 8))}
    blocks = []
    for seed in (0, 1):
        generator = np.random.default_rng(seed)
        arrays = {name: (generator.random(shape) * 2).astype(dtype) for name, (dtype, shape) in schema.items()}
        blocks.append(pack_arrays(arrays, {"occupancy"}))
    fields = [at for at in range(len(blocks[0])) if at < 40 or blocks[0][at : at + 4] in (b"line", b"occu")]
    fields += [field + offset for field in fields[40:] for offset in range(4, 40)]
    outcomes = [0, 0]

    def work() -> None:
        for _ in range(2000):
            try:
                arrays = unpack_arrays(mutated(source, blocks[0], blocks[1], fields), schema)
            except UserError:
                outcomes[0] += 1
                continue
            outcomes[1] += 1
            assert {name: (a.dtype.str[1:], a.shape) for name, a in arrays.items()} == schema

    within(4, work)
    assert min(outcomes) > 50, outcomes


# --------------------------------------------------------------------------------------------------- arrays in a chunk


# --------------------------------------------------------------------------------------------------- exact checkpoint
