"""Poses are kept whole or not at all, beside the photographs or in the user's cache, under what the content says."""

from __future__ import annotations

import os
import time

import pytest

from scenes.posing import cache
from taichi_rf.core.errors import UserError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def made(place, key, text="x"):
    with cache.new_entry(place, key) as folder:
        (folder / "model").write_text(text)
        return cache.keep(folder, key)


def test_an_entry_is_found_beside_the_photographs_and_nothing_else_is_left(place):
    assert cache.find(place, "k") is None
    entry = made(place, "k")
    assert cache.find(place, "k") == entry == place / cache.NAME / "k"
    assert os.listdir(place / cache.NAME) == ["k"]
    assert (entry / "model").read_text() == "x"


def test_an_entry_replaces_an_older_one(place):
    made(place, "k")
    assert (made(place, "k", "y") / "model").read_text() == "y"


def test_what_fails_leaves_nothing(place):
    def interrupted():
        with cache.new_entry(place, "k") as folder:
            (folder / "model").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(place) == []


def test_where_nothing_can_be_written_it_is_the_users_cache(place, tmp_path):
    (place / cache.NAME).write_text("a file where the folder should be")  # root may write anywhere else
    entry = made(place, "k")
    assert entry == tmp_path / "cache/poses/k"
    assert cache.find(place, "k") == entry


def test_where_nothing_can_be_written_anywhere_that_is_said(place, tmp_path):
    (place / cache.NAME).write_text("")
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="TAICHI_RF_CACHE"):
        made(place, "k")


def test_what_a_killed_process_left_is_removed_a_day_later(place):
    old, new = place / cache.NAME / ".part-old", place / cache.NAME / ".part-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * cache.STALE_SECONDS,) * 2)
    made(place, "k")
    assert not old.exists()
    assert new.exists()


def test_a_key_changes_with_names_contents_and_settings(tmp_path):
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_text("1")
    two.write_text("2")
    keys = [cache.key_of([one, two]), cache.key_of([one]), cache.key_of([one, two], 5)]
    two.write_text("3")
    keys.append(cache.key_of([one, two]))
    two.rename(tmp_path / "c")
    keys.append(cache.key_of([one, tmp_path / "c"]))
    assert len(set(keys)) == len(keys)
    with pytest.raises(UserError, match="cannot be read"):
        cache.key_of([two])
