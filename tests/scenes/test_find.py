"""Which scene a name means, and that built-in ones are rendered only where that is allowed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import scenes
from scenes.builtin import registry as builtin
from taichi_rf.core.errors import UserError
from tests.places import ROOT
from tests.tiny import write_tiny_scene


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAICHI_RF_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_a_name_is_the_built_in_scene_unless_a_folder_of_that_name_is_a_scene(here):
    assert scenes.find("lantern") == scenes.find("builtin:lantern") == "builtin:lantern"
    (here / "lantern").mkdir()
    assert scenes.find("lantern") == "builtin:lantern"  # a folder, but no scene
    (here / "lantern").rmdir()
    write_tiny_scene(here / "lantern")
    assert scenes.find("lantern") == scenes.find("./lantern") == str(here / "lantern")
    assert scenes.find("builtin:lantern") == "builtin:lantern"
    assert scenes.is_scene("lantern")
    assert not scenes.is_scene(here)


@pytest.mark.parametrize(
    ("source", "because"),
    [
        ("lantren", "did you mean 'lantern'"),
        ("", "is no scene that is known"),
        (".", "is no scene that is known"),
        ("builtin:lego", "there is no scene"),
        ("a\0b", "there is no scene"),
        ("x" * 5000, "there is no scene"),
    ],
)
def test_what_is_no_scene_is_said(here, source, because):
    for reader in (scenes.find, scenes.load):
        with pytest.raises(UserError, match=because):
            reader(source)


def test_a_built_in_scene_that_is_not_in_the_cache_is_not_rendered_where_it_may_not_be(here):
    asked = {"downscale": 25, "views": 2, "max_test_views": 1}
    with pytest.raises(scenes.NotRendered, match="lantern"):
        scenes.load("lantern", **asked, render=False)
    assert not (here / "cache").exists()
    rendered = scenes.load("lantern", **asked)
    (scene, seen) = scenes.load("lantern", **asked, render=False), []
    assert (scene.train.images == rendered.train.images).all()
    with pytest.raises(scenes.NotRendered):
        scenes.load("lantern", **{**asked, "max_test_views": 2}, progress=lambda *step: seen.append(step), render=False)


def test_a_process_of_its_own_renders_into_the_cache_and_says_how_far_it_is(here):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "scenes", *arguments], env=environment, capture_output=True, text=True, timeout=300
        )

    done = run("lantern", "--downscale", "25", "--views", "2", "--test-views", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["1 3", "2 3", "3 3", ""]
    assert len(scenes.load("lantern", downscale=25, views=2, max_test_views=1, render=False).train) == 2
    refused = run("lantern", "--downscale", "1000")
    assert refused.returncode == 2
    assert "--downscale 1000" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_command_lines_names_are_the_built_in_ones():
    assert scenes.builtin_names() == builtin.NAMES
