"""Files are passed on, so they name no place: not when they are written, and not when an old one is made smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage.container import passed_on_start
from taichi_rf.storage.metadata import is_builtin, is_of, origin, passed_on
from taichi_rf.storage.scene_identity import content
from taichi_rf.storage.trf import read_trf, truncate_trf, write_trf
from taichi_rf.streaming.parser import Feed
from tests.tiny import tiny_scene

PLACE = "/home/somebody/data/lego"
CHUNKS = [b"base" * 100_000, b"", b"two"]


def old_file(path: Path, **metadata: object) -> Path:
    write_trf(path, {"box": [1.5, 2], "metadata": {"scene": "lego", "downscale": 2, **metadata}}, CHUNKS)
    return path


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("private", [{"source": PLACE}, {"warnings": [f"{PLACE}: cut"], "prefix_bytes": [1, 2, 3]}])
def test_an_old_file_made_smaller_names_no_place_any_more(tmp_path, level, private):
    old = old_file(tmp_path / "old.trf", **private)
    size = truncate_trf(old, level, tmp_path / "small.trf")
    feed = Feed("old")
    feed.push(old.read_bytes())
    assert feed.save(tmp_path / "saved.trf", level) == size
    assert (tmp_path / "saved.trf").read_bytes() == (tmp_path / "small.trf").read_bytes()
    small = read_trf(tmp_path / "small.trf")
    assert size == (tmp_path / "small.trf").stat().st_size == small.prefix_bytes[-1]
    assert (small.chunks, small.total_levels, small.warnings) == (CHUNKS[:level], 3, [])
    assert small.header == {"box": [1.5, 2], "metadata": {"scene": "lego", "downscale": 2}}
    assert b"/home" not in (tmp_path / "small.trf").read_bytes()
    truncate_trf(old, level, old)  # onto itself
    assert old.read_bytes() == (tmp_path / "small.trf").read_bytes()


def test_a_built_in_scene_keeps_its_name_and_the_file_its_bytes(tmp_path):
    old = old_file(tmp_path / "old.trf", source="builtin:lantern")
    truncate_trf(old, 3, tmp_path / "same.trf")
    assert (tmp_path / "same.trf").read_bytes() == old.read_bytes()


def test_a_header_that_has_no_room_once_it_is_written_anew_is_an_error():
    words = "\u00e9" * 20_000  # two bytes each in a file that others wrote, six as we write them
    with pytest.raises(UserError, match="header may be 65536 bytes"):
        passed_on_start({"metadata": {"scene": words, "source": PLACE}}, 1, b"")


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("builtin:lantern", True), (PLACE, False), ("lantern", False), ("builtin:", False), ("builtin:../x", False),
        ("builtin:\\\\host\\share", False), ("builtin:lantern\n", False), (None, False), (["builtin:lantern"], False),
    ],
)  # fmt: skip
def test_only_the_name_of_a_built_in_scene_is_a_source(source, named):
    assert is_builtin(source) is named
    assert ("source" in passed_on({"source": source})) is named


def test_a_model_says_which_scene_it_learnt_from_by_content():
    scene = replace(tiny_scene(), source=PLACE)
    said = origin(scene)
    assert said == {"scene": "balls", "content": content(scene), "views": 8}
    assert is_of(said, replace(scene, name="renamed", source="/elsewhere")) is True
    assert is_of(said, tiny_scene(train=7)) is False
    assert is_of({}, scene) is None
    built_in = replace(scene, source="builtin:lantern")
    assert origin(built_in)["source"] == "builtin:lantern"
    assert is_of({"source": "builtin:lantern", "content": "of another device"}, built_in) is True
    assert is_of({"source": "builtin:orrery"}, built_in) is False
