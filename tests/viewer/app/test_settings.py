"""What the viewer remembers: kept over a restart, harmless when it is broken, never in the way."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taichi_rf.core import files
from taichi_rf.core.user_folders import CONFIG_VARIABLE
from taichi_rf.storage.world import World
from viewer.app.settings import NAME, Settings, settings_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config" / "taichi-rf"))
    return tmp_path / "config" / "taichi-rf"


def test_what_was_saved_is_loaded_and_no_more_is_left_behind(folder: Path) -> None:
    settings = Settings(1920, 1080, True, 0.25, "balanced", "tensorf", 2, "/scenes", ("lego", "/a/b.trf"))
    assert settings.save() is None
    assert Settings.load() == settings
    assert os.listdir(folder) == [NAME]


def test_what_was_said_of_scenes_is_kept_and_what_makes_no_sense_left_out(folder: Path) -> None:
    settings = Settings().placed("/a", World(up="y")).placed("/b", World(scale=0.5, box=(0, 0, 0, 1, 1, 1)))
    assert settings.save() is None
    found = Settings.load()
    assert found == settings
    assert (found.world_of("/a"), found.world_of("/c")) == (World(up="y"), World())
    assert found.placed("/a", World()).worlds == found.worlds[:1]
    values = json.loads((folder / NAME).read_text())
    values["worlds"] += [3, ["/d"], ["/e", {"up": "north"}], [[], {}]]
    (folder / NAME).write_text(json.dumps(values))
    assert Settings.load() == settings


def test_first_start_has_the_defaults_and_writes_nothing(folder: Path) -> None:
    assert Settings.load() == Settings()
    assert not folder.exists()


def test_settings_are_in_the_users_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    assert settings_file().parent.name == "taichi-rf"
    assert settings_file().is_absolute()
    assert Path.cwd() not in settings_file().parents
    monkeypatch.setenv(CONFIG_VARIABLE, "/elsewhere")
    assert settings_file() == Path("/elsewhere") / NAME


@pytest.mark.parametrize("raises", [True, False])  # versions of platformdirs differ
def test_without_a_home_there_are_defaults_and_nothing_is_saved(monkeypatch, tmp_path, raises):
    def without_home(*args: object, **options: object) -> str:
        if raises:
            raise RuntimeError("could not determine home directory")
        return "~/.config/taichi-rf"

    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.setattr(platformdirs, "user_config_dir", without_home)
    monkeypatch.chdir(tmp_path)
    assert Settings.load() == Settings()
    assert CONFIG_VARIABLE in (Settings().save() or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[" * 100_000, b'{"width": 1e999}', b'{"width": NaN}', b"\0" * 99],
)
def test_broken_file_counts_as_none(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(content)
    assert Settings.load() == Settings()
    assert Settings(width=800).save() is None
    assert Settings.load().width == 800


def test_file_that_is_huge_or_no_file_counts_as_none(folder: Path) -> None:
    (folder / NAME).mkdir(parents=True)
    assert Settings.load() == Settings()
    assert Settings().save() is not None
    (folder / NAME).rmdir()
    (folder / NAME).write_text(json.dumps({"width": 800, "recent": ["x" * 100] * 20_000}))
    assert Settings.load() == Settings()


def test_values_are_brought_into_range_and_wrong_ones_left_out() -> None:
    values = {
        "width": 1, "height": 10**9, "share": -3, "downscale": 2.9, "hidden": 1, "preset": "x" * 5000,
        "method": "tensorf", "folder": "/a\0b", "recent": ["a", 7, "", "a", None, "b", "\ud800"], "more": {},
    }  # fmt: skip
    assert Settings.from_json(values) == Settings(
        width=320, height=4320, share=0.0, downscale=2, method="tensorf", recent=("a", "b")
    )
    assert Settings.from_json({"width": 10**400}).width == 7680
    assert Settings.from_json({"width": True, "share": math.nan, "recent": "abc"}) == Settings()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=9,
)
NAMES = st.sampled_from([entry.name for entry in dataclasses.fields(Settings)]) | st.text(max_size=5)


@given(st.dictionaries(NAMES, JSON))
def test_whatever_a_file_says_the_settings_are_usable_and_stay_as_they_are(values: dict) -> None:
    settings = Settings.from_json(values)
    assert 320 <= settings.width <= 7680
    assert 240 <= settings.height <= 4320
    assert 0 <= settings.share <= 1
    for entry in dataclasses.fields(settings):
        assert type(getattr(settings, entry.name)) is type(getattr(Settings(), entry.name))
    assert Settings.from_json(json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


def test_last_opened_comes_first_and_the_oldest_are_forgotten() -> None:
    settings = Settings()
    for name in ["lego", *(f"scene{k}" for k in range(30)), "lego", Path("/models/a.trf"), "", "scene29"]:
        settings = settings.opened(name)
    assert settings.recent[:4] == ("scene29", "/models/a.trf", "lego", "scene28")
    assert len(settings.recent) == 12
    assert len(set(settings.recent)) == 12


def test_folder_that_cannot_be_made_is_said_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "file" / "folder"))
    assert "file" in (Settings().save() or "")
    assert Settings.load() == Settings()


def test_name_that_is_not_unicode_does_not_keep_the_rest_from_being_saved(folder: Path) -> None:
    settings = Settings(width=800, folder="/scenes/\udcff").opened("/scenes/\udcff")
    assert settings.save() is None
    assert Settings.load() == Settings(width=800)


def test_disk_that_is_full_leaves_the_earlier_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(width=800).save() is None

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert "full" in (Settings(width=900).save() or "")
    assert Settings.load().width == 800
    assert os.listdir(folder) == [NAME]
