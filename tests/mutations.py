"""Model files and checkpoints that somebody has tampered with: structured, seeded, all checksums right.

A mutation changes what a file says and not how it says it: entries of the header, arrays, their types, shapes and
numbers, chunks and their lengths. Without right checksums none of that would get past the first check.
"""

from __future__ import annotations

import copy
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from taichi_rf.coding.arrays import pack_arrays
from taichi_rf.core.files import plain
from taichi_rf.storage.container import CHUNK, MAGIC, PREAMBLE, TAG, VERSION, chunk_checksum, header_crc, start_checksum
from taichi_rf.storage.trf import save_checkpoint

Arrays = dict[str, np.ndarray]
Generator = np.random.Generator

NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 7, 64, 255, 1023, 1025, 1 << 16, 1 << 24, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 63, 1 << 200,
    0.5, -0.5, 1e-30, 1e-300, 1e30, 1e38, 1e300, -1e300, float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
JUNK: tuple[Any, ...] = (None, True, False, "", "1", "\0\x1b[2J", "x" * 5000, [], {}, [[]], [{}], [0] * 1000, {"": 0})
TYPES = ("f2", "f4", "u1", "u2", "u4", "i4", "i8", "u8")


def mutated_model(rng: Generator, header: dict[str, Any], levels: list[Arrays]) -> bytes:
    """A model file that is ``header`` and ``levels`` but for one to three changes."""
    header, levels = copy.deepcopy(header), [dict(arrays) for arrays in levels]
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.5 else 1):
        what = rng.random()
        if what < 0.45:
            mutate_json(rng, header)
        elif what < 0.9:
            mutate_arrays(rng, levels[int(rng.integers(len(levels)))])
        elif what < 0.95:
            i, j = rng.integers(len(levels), size=2)
            levels[i], levels[j] = levels[j], levels[i]
        else:
            del levels[-1:]
    chunks = [mutated_bytes(rng, packed(rng, arrays)) for arrays in levels]
    text = mutated_text(rng, json.dumps(header))
    count = _any(rng, NUMBERS[:8]) if rng.random() < 0.02 else max(len(chunks), 1)
    return assembled(rng, text, chunks, count & 0xFFFF)


def assembled(rng: Generator, text: bytes, chunks: list[bytes], count: int) -> bytes:
    """The bytes of a file, with checksums that are right; the lengths of chunks are now and then not."""
    start = PREAMBLE.pack(MAGIC, VERSION, count, len(text), header_crc(VERSION, count, text)) + text
    parts, checksum = [start], start_checksum(start)
    for index, chunk in enumerate(chunks):
        length = len(chunk) if rng.random() > 0.01 else _any(rng, (0, 1, 1 << 20, 1 << 40, (1 << 63) - 1))
        checksum = chunk_checksum(checksum, index, length, chunk)
        parts += [CHUNK.pack(TAG, index, length, checksum), chunk]
    return b"".join(parts)


def write_mutated_checkpoint(rng: Generator, path: Path, arrays: Arrays, state: dict[str, Any]) -> None:
    """Write a checkpoint that is ``arrays`` and ``state`` but for one to three changes."""
    arrays, state = dict(arrays), copy.deepcopy(state)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.4 else 1):
        if rng.random() < 0.5:
            mutate_json(rng, state)
        else:
            mutate_arrays(rng, arrays)
    good = {name: values for name, values in arrays.items() if values.dtype.str[1:] in (*TYPES, "f8", "i1", "i2", "b1")}
    save_checkpoint(path, good, state)


def mutate_json(rng: Generator, table: dict[str, Any]) -> None:
    """Change one entry of a JSON object, at any depth."""
    places = list(_places(table))
    holder, key = places[int(rng.integers(len(places)))]
    value, what = holder[key], rng.random()
    if what < 0.35:
        holder[key] = _any(rng, NUMBERS)
    elif what < 0.5:
        holder[key] = _any(rng, JUNK)
    elif what < 0.6:
        del holder[key]
    elif what < 0.7:
        other, name = places[int(rng.integers(len(places)))]
        holder[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else value)
    elif what < 0.75:
        deep: Any = []
        for _ in range(int(rng.integers(1, 900))):
            deep = [deep]
        holder[key] = deep
    elif what < 0.85 and isinstance(value, list):
        holder[key] = value * int(rng.integers(0, 4))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = (
            value + int(rng.integers(-2, 3)) if rng.random() < 0.5 else value * float(rng.choice([-1, 0.5, 2]))
        )
    elif isinstance(value, str):
        holder[key] = str(
            _any(rng, ("half", "compact", "vm", "octree", "sh", "mlp", "small", "none", "hash", "kmeans"))
        )
    else:
        holder[key] = {"a": value} if rng.random() < 0.5 else [value]


def mutate_arrays(rng: Generator, arrays: Arrays) -> None:
    """Change one array: its type, shape, numbers or name."""
    if not arrays:
        return
    names = list(arrays)
    name = names[int(rng.integers(len(names)))]
    values, what = arrays[name], rng.random()
    if what < 0.12:
        with np.errstate(all="ignore"):
            arrays[name] = values.astype(str(rng.choice(TYPES)))
    elif what < 0.2:
        arrays[name] = _any(rng, (values[:-1], values[1:], values[None], values.reshape(-1), np.repeat(values, 2, 0)))
    elif what < 0.25:
        del arrays[name]
    elif what < 0.3:
        arrays[str(_any(rng, (name + "2", "tree", "factors", "occupancy", "\xff")))] = values
    elif what < 0.35:
        arrays[name] = arrays[names[int(rng.integers(len(names)))]]
    elif what < 0.4:
        arrays[name] = np.broadcast_to(values.reshape(-1)[:1], values.shape).copy() if values.size else values
    else:
        arrays[name] = _spoilt(rng, values)


def _spoilt(rng: Generator, values: np.ndarray) -> np.ndarray:
    """The same but for some numbers: one, a stretch or all."""
    spoilt = values.copy()
    flat = spoilt.reshape(-1)
    if not flat.size:
        return spoilt
    first = int(rng.integers(flat.size))
    last = int(rng.choice([first + 1, first + 8, flat.size]))
    if values.dtype.kind == "f":
        limit = float(np.finfo(values.dtype).max)
        extremes = (
            float("nan"),
            float("inf"),
            -float("inf"),
            limit,
            -limit,
            float(np.finfo(values.dtype).tiny),
            0.0,
            -1.0,
        )
    elif values.dtype.kind == "b":
        extremes = (0.0, 1.0)
    else:
        info = np.iinfo(values.dtype)
        extremes = (info.min, info.max, 0, 1, info.max // 2, 0x0F, 0xF0)
        if rng.random() < 0.4:
            raw = flat[first:last].view(np.uint8)
            raw ^= rng.integers(0, 256, len(raw), dtype=np.uint8)
            return spoilt
    flat[first:last] = np.asarray(_any(rng, extremes)).astype(values.dtype)
    return spoilt


def packed(rng: Generator, arrays: Arrays) -> bytes:
    """A chunk, deflated or not."""
    fitting = {n: v for n, v in arrays.items() if v.dtype.str[1:] in TYPES and v.ndim <= 8}
    return pack_arrays(fitting, fitting if rng.random() < 0.5 else ())


def mutated_bytes(rng: Generator, chunk: bytes) -> bytes:
    """Now and then with some bytes changed, missing or too many, of which no checksum tells."""
    what = rng.random()
    if what > 0.04 or not chunk:
        return chunk
    at = int(rng.integers(len(chunk)))
    if what < 0.01:
        return chunk[:at]
    if what < 0.02:
        return chunk + bytes(rng.integers(0, 256, int(rng.integers(1, 50)), dtype=np.uint8))
    if what < 0.03:
        return chunk[:at] + struct.pack("<Q", _any(rng, (0, 1 << 20, 1 << 40, (1 << 64) - 1))) + chunk[at + 8 :]
    return chunk[:at] + bytes([chunk[at] ^ int(rng.integers(1, 256))]) + chunk[at + 1 :]


def mutated_text(rng: Generator, text: str) -> bytes:
    """Now and then with keys that are there twice, nesting without end, or no JSON."""
    what = rng.random()
    if what < 0.01:
        text = text[:-1] + "," + text[1:]  # every key twice
    elif what < 0.015:
        text = '{"field":' * 5000 + "0" + "}" * 5000
    elif what < 0.02:
        text = text[: int(rng.integers(len(text)))]
    elif what < 0.025:
        text = text.replace("1", "9" * 5000, 1)
    return text.encode(errors="replace")


def plain_copy(state: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it, so that every part can be replaced."""
    made: dict[str, Any] = json.loads(json.dumps(plain(state, non_finite=True)))
    return made


def _places(value: Any) -> Any:
    """(container, key) of everything in a JSON value; the first four of each list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def _any(rng: Generator, choices: tuple[Any, ...]) -> Any:
    return copy.deepcopy(choices[int(rng.integers(len(choices)))])
