"""What a person is offered to open: nothing raises, and what is offered is what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from taichi_rf.training.run import CONFIG, METRICS, MODEL, Recipe
from tests.tiny import tiny_config
from tests.unposed import write_photographs
from viewer.app import catalogue
from viewer.app.catalogue import Entry


def make_run(folder: Path, *, psnr: float | None = 30.0, iterations: int = 60, when: float = 1e9) -> Path:
    """A run's folder as far as the catalogue reads it; ``iterations`` are done of sixty."""
    folder.mkdir(parents=True)
    recipe = Recipe(tiny_config(preset="quick"), "/data/lego")
    (folder / CONFIG).write_text(json.dumps(recipe.to_json()))
    (folder / "checkpoint").write_bytes(b"")
    if iterations:
        metrics = {"iterations": iterations, "train_seconds": 5.0, "levels": [{"psnr": 10.0}, {"psnr": psnr}]}
        (folder / METRICS).write_text(json.dumps(metrics))
    for path in folder.iterdir():
        os.utime(path, (when, when))
    return folder


def make_scene(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "transforms_train.json").touch()
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    make_run(tmp_path / "a run")
    make_scene(tmp_path / "z scene")
    make_scene(tmp_path / ".hidden")
    (tmp_path / "B folder").mkdir()
    (tmp_path / "a folder").mkdir()
    (tmp_path / "report.png").touch()
    (tmp_path / "small.TRF").touch()
    return tmp_path


def test_a_folder_is_listed_with_what_can_be_opened_first(place):
    listing = catalogue.browse(place)
    assert [(entry.name, entry.kind) for entry in listing.entries] == [
        ("z scene", "scene"), ("a run", "run"), ("small.TRF", "model"), ("a folder", "folder"), ("B folder", "folder"),
    ]  # fmt: skip
    assert listing.entries[0] == Entry("z scene", place / "z scene", "scene")
    assert (listing.folder, listing.parent, listing.note) == (place, place.parent, None)


def test_a_relative_folder_and_the_root_have_the_right_parents(place, monkeypatch):
    monkeypatch.chdir(place / "a folder")
    assert catalogue.browse("..").folder == place
    assert catalogue.browse(".").parent == place
    assert catalogue.browse("/").parent is None


@pytest.mark.parametrize("name", ["nowhere", "small.TRF", "x" * 5000, "a\0b"])
def test_a_folder_that_cannot_be_read_is_an_empty_listing_that_says_so(place, name):
    listing = catalogue.browse(place / name)
    assert listing.note or "\0" in name
    assert listing.entries == [] or "\0" in name
    assert catalogue.runs(place / name) == []


def test_a_folder_that_may_not_be_read_is_an_empty_listing_that_says_so(place, monkeypatch):
    def forbidden(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", forbidden)
    listing = catalogue.browse(place)
    assert (listing.entries, listing.parent) == ([], place.parent)
    assert "Permission denied" in (listing.note or "")


def test_more_entries_than_anyone_can_choose_from_are_left_out_and_said_to_be(tmp_path, monkeypatch):
    for number in range(6):
        make_scene(tmp_path / f"scene {number}")
    monkeypatch.setattr(catalogue, "MOST_ENTRIES", 4)
    listing = catalogue.browse(tmp_path)
    assert [entry.name for entry in listing.entries] == [f"scene {number}" for number in range(4)]
    assert "4" in (listing.note or "")


def test_names_that_are_no_text_can_be_shown_and_opened(tmp_path):
    raw = os.fsencode(tmp_path) + b"/b\xff"
    os.mkdir(raw)
    (entry,) = catalogue.browse(tmp_path).entries
    entry.name.encode()
    assert os.fsencode(entry.path) == raw


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.mkdir(), "folder"),
        (make_scene, "scene"),
        (make_run, "run"),
        (lambda path: make_scene(path) and (path / MODEL).touch(), "run"),
        (lambda path: path.mkdir() or (path / CONFIG).write_text("{}"), "folder"),  # of some other program
        (lambda path: path.touch(), "nothing"),
        (lambda path: path.symlink_to(path), "nothing"),
        (lambda path: None, "nothing"),
    ],
)
def test_what_a_path_is(tmp_path, make, kind):
    make(tmp_path / "it")
    assert catalogue.kind_of(tmp_path / "it") == kind


def test_runs_are_listed_the_newest_first_with_what_is_known_of_them(tmp_path):
    make_run(tmp_path / "old", psnr=29.5, when=1e9)
    make_run(tmp_path / "new", iterations=0, when=3e9)
    make_run(tmp_path / "longer", iterations=59, when=2e9)
    make_run(tmp_path / "blind", psnr=None, when=1.5e9)
    (tmp_path / "no run").mkdir()
    runs = catalogue.runs(tmp_path)
    assert [(run.name, run.finished, run.psnr) for run in runs] == [
        ("new", False, None), ("longer", False, None), ("blind", True, None), ("old", True, 29.5),
    ]  # fmt: skip
    assert {run.note for run in runs} == {None}
    assert runs[0].modified == 3e9


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"levels": []}', b'{"levels": [{"psnr": "good"}]}'])
def test_a_run_with_broken_files_is_listed_with_what_is_wrong(tmp_path, damage):
    make_run(tmp_path / "metrics")
    (tmp_path / "metrics" / METRICS).write_bytes(damage)
    make_run(tmp_path / "config")
    (tmp_path / "config" / CONFIG).write_bytes(damage)
    runs = {run.name: run for run in catalogue.runs(tmp_path)}
    assert (runs["metrics"].finished, runs["metrics"].psnr) == (False, None)
    assert CONFIG in (runs["config"].note or "")


@pytest.mark.parametrize(
    "config",
    [
        {"config": [], "arch": "cpu", "scene": {"source": "x"}},
        {"config": {"iterations": {}}, "arch": "cpu", "scene": {"source": "x"}},
        {"config": {"resolutions": 3}, "arch": "cpu", "scene": {"source": "x"}},
        {"config": {}, "arch": "cpu", "scene": [1]},
    ],
)
def test_one_odd_run_does_not_hide_the_others(tmp_path, config):
    make_run(tmp_path / "good", when=2e9)
    make_run(tmp_path / "odd")
    (tmp_path / "odd" / CONFIG).write_text(json.dumps(config))
    good, odd = catalogue.runs(tmp_path)
    if good.name == "odd":
        good, odd = odd, good
    assert (good.psnr, good.note) == (30.0, None)
    assert odd.note


def test_even_a_bug_in_reading_one_run_does_not_hide_the_others(tmp_path, monkeypatch):
    make_run(tmp_path / "good")

    def broken(self: object) -> None:
        raise ZeroDivisionError("of the reader")

    monkeypatch.setattr("taichi_rf.training.run.RunFolder.recipe", broken)
    (entry,) = catalogue.runs(tmp_path)
    assert entry.note == "of the reader"


@pytest.mark.parametrize("number", [10**400, -(10**400), 10**30, True])
def test_a_psnr_that_can_be_none_is_left_out(tmp_path, number):
    make_run(tmp_path / "run")
    metrics = {"iterations": 10**400, "train_seconds": 5.0, "levels": [{"psnr": number}]}
    (tmp_path / "run" / METRICS).write_text(json.dumps(metrics))
    (entry,) = catalogue.runs(tmp_path)
    assert (entry.finished, entry.psnr, entry.note) == (True, None, None)


def test_built_in_scenes_are_those_that_can_be_loaded():
    assert set(catalogue.builtin_scenes()) == {"lantern", "orrery", "rotunda"}


def test_photographs_are_a_scene_and_the_folders_among_them_can_still_be_reached(tmp_path):
    write_photographs(tmp_path / "album", 3)
    write_photographs(tmp_path / "pictures", 3)
    (tmp_path / "pictures/2024").mkdir()
    (tmp_path / "walk.mp4").write_bytes(b"")
    listed = [(entry.name, entry.kind) for entry in catalogue.browse(tmp_path).entries]
    assert listed == [("album", "scene"), ("pictures", "scene"), ("walk.mp4", "scene"), ("pictures", "folder")]
