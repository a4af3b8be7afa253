"""A file that comes in pieces is the file that is read at once: whatever the pieces, and whatever is wrong with it."""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from taichi_rf.core.errors import UserError
from taichi_rf.storage.trf import TrfFile, read_trf, truncate_trf, write_trf
from taichi_rf.streaming.parser import Feed

HEADER = {"kind": "vm", "scene": "Löwe", "psnr": None}


def made(path: Path, seed: int = 0, levels: int = 5) -> bytes:
    source = random.Random(seed)
    write_trf(path, HEADER, [source.randbytes(source.choice([0, 1, 40, 300])) for _ in range(levels)])
    return path.read_bytes()


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    yield from (data[a:b] for a, b in zip(edges, edges[1:]))


def fed(path: Path, data: bytes, cuts: list[int], size: int | None) -> TrfFile | str:
    feed = Feed(path, size=size)
    try:
        for piece in pieces(data, cuts):
            feed.push(piece)
        return feed.close()
    except UserError as error:
        return str(error)


def read(path: Path) -> TrfFile | str:
    try:
        return read_trf(path)
    except UserError as error:
        return str(error)


CUTS = st.lists(st.integers(0, 1 << 12), max_size=12)


@given(cuts=CUTS, end=st.integers(0, 1 << 12), seed=st.integers(0, 5))
def test_any_split_of_any_prefix_gives_what_the_file_of_that_prefix_gives(cuts: list[int], end: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.trf"
        data = made(path, seed)
        data = data[: min(end, len(data))]
        path.write_bytes(data)
        wanted = read(path)
        event("refused" if isinstance(wanted, str) else f"{len(wanted.chunks)} levels")
        assert fed(path, data, cuts, len(data)) == wanted


@given(cuts=CUTS, seed=st.integers(0, 5), data=st.data())
def test_a_damaged_file_gives_the_same_prefix_in_the_same_words(
    cuts: list[int], seed: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.trf"
        content = bytearray(made(path, seed))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content) - 1))
            value = data.draw(st.sampled_from([0, 50, 2**60, 2**64 - 1]))
            match data.draw(st.sampled_from(["bit", "length", "insert"])):
                case "bit":
                    content[at] ^= 1 << data.draw(st.integers(0, 7))
                case "length":
                    content[at : at + 8] = value.to_bytes(8, "little")
                case "insert":
                    content[at:at] = b"junk"
        path.write_bytes(content)
        wanted = read(path)
        event("refused" if isinstance(wanted, str) else f"{len(wanted.chunks)} levels")
        assert fed(path, bytes(content), cuts, len(content)) == wanted


def test_levels_are_handed_out_as_soon_as_their_last_byte_is_there(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    data, sizes = made(path), read_trf(path).prefix_bytes
    feed, when = Feed(path), {}
    for at in range(len(data)):
        if feed.push(data[at : at + 1]):
            when[len(feed.chunks)] = at + 1
    assert [when[level] for level in sorted(when)] == sorted(set(sizes))  # an empty level comes with the one before
    assert feed.whole
    assert feed.close() == read_trf(path)


def test_what_has_come_can_be_saved_and_is_the_slimmed_file(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    data, sizes = made(path, 3), read_trf(path).prefix_bytes
    feed = Feed(path)
    feed.push(data[: sizes[2] + 10])
    for level in (1, 2, 3):
        truncate_trf(path, level, tmp_path / "slim.trf")
        assert feed.save(tmp_path / "came.trf", level) == sizes[level - 1]
        assert (tmp_path / "came.trf").read_bytes() == (tmp_path / "slim.trf").read_bytes()


def test_after_a_rewind_it_goes_on_where_the_level_began(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    data, sizes = made(path, 1), read_trf(path).prefix_bytes
    for extra in (0, 5, 24, 30):
        feed = Feed(path, size=len(data))
        feed.push(data[: sizes[1]] + b"\x00" * extra)
        assert feed.rewind() == feed.received == sizes[1]
        feed.push(data[sizes[1] :])
        assert feed.close() == read_trf(path)


def test_bytes_that_come_twice_are_told_from_others(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    data = made(path, 2)
    feed = Feed(path)
    feed.push(data[:-7])
    source = random.Random(0)
    for _ in range(300):
        first, last = sorted(source.sample(range(len(data) - 6), 2))
        part = bytearray(data[first:last])
        assert feed.matches(first, bytes(part))
        part[source.randrange(len(part))] ^= 1
        assert not feed.matches(first, bytes(part))
    assert not feed.matches(0, data)  # the last bytes have not come


def test_a_level_that_claims_the_earth_takes_no_memory_and_one_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.trf"
    data, sizes = bytearray(made(path)), read_trf(path).prefix_bytes
    for claim in (2**64 - 1, 2**30, 2**20):
        data[sizes[1] + 8 : sizes[1] + 16] = claim.to_bytes(8, "little")
        feed = Feed(path, limit=1 << 20)
        tracemalloc.start()
        feed.push(bytes(data))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20
        file = feed.close()
        assert len(file.chunks) == 2
        assert f"it claims {claim} bytes" in file.warnings[0]
        assert feed.push(b"more") == []


def test_what_is_no_model_is_refused_as_soon_as_that_can_be_seen() -> None:
    with pytest.raises(UserError, match="is not a .trf model"):
        Feed("https://host/x").push(b"<!DOCTYPE html><html><head>")
