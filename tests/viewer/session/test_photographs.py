"""Which photographs go with a model: those it was trained on. No path that came with a file is opened for that."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import scenes
from scenes.origin import load_to_judge, source_of
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json
from taichi_rf.storage.metadata import origin
from taichi_rf.storage.scene_identity import identity
from taichi_rf.storage.trf import save_checkpoint, write_trf
from taichi_rf.training import checkpoint
from taichi_rf.training.run import CONFIG, MODEL, Recipe, RunFolder
from tests.tiny import TINY, write_tiny_scene
from viewer.app.loading import Loading, Plan, load_photographs, plan_model, plan_run

QUIET = Loading("", lambda loading: None)
REMOTE = [
    "//host/share",
    "\\\\host\\share",
    "/\\host/share",
    "\\/host",
    "\\\\?\\UNC\\host\\share",
    "\\??\\UNC\\host\\x",
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A scene, and the folder of a run of it that is over."""
    scene = scenes.load(str(write_tiny_scene(tmp_path / "balls")))
    run = tmp_path / "run"
    run.mkdir()
    configure(run, str(tmp_path / "balls"))
    model(run / MODEL, **origin(scene), downscale=1)
    write_json(run / "metrics.json", {"iterations": TINY.iterations})
    return tmp_path


def configure(run: Path, source: str) -> None:
    write_json(run / CONFIG, Recipe(TINY, source).to_json())


def model(path: Path, **metadata: Any) -> None:
    write_trf(path, {"metadata": metadata}, [b"base"])


def paint(scene: Path, view: int) -> None:
    Image.new("RGBA", (24, 24), (255, 0, 0, 255)).save(scene / "train" / f"r_{view}.png")


def plans(run: Path) -> list[Plan]:
    return [plan_run(RunFolder(run), QUIET), plan_model(run / MODEL, QUIET)]


def test_photographs_of_a_run_are_found_wherever_the_run_lies(place):
    (place / "run").rename(place / "moved")
    for plan in plans(place / "moved"):
        assert len(load_photographs(plan, QUIET).train) == 8


def test_photographs_that_were_replaced_are_not_shown_and_why_is_said(place):
    saved = identity(scenes.load(str(place / "balls")))
    paint(place / "balls", 3)
    for plan in plans(place / "run"):
        with pytest.raises(UserError, match="does not hold what the model was trained on$"):
            load_photographs(plan, QUIET)
    save_checkpoint(place / "run" / checkpoint.NAME, {}, {"scene": saved})
    for plan in plans(place / "run"):
        with pytest.raises(UserError, match="trained on .*1 of 8, the first is .*r_3"):
            load_photographs(plan, QUIET)


def test_a_model_of_version_0_1_0_goes_by_its_checkpoint(place):
    model(place / "run" / MODEL, scene="balls", source=str(place / "balls"))
    plan = plan_model(place / "run" / MODEL, QUIET)
    with pytest.raises(UserError, match="does not hold"):
        load_photographs(plan, QUIET)
    save_checkpoint(place / "run" / checkpoint.NAME, {}, {"scene": identity(scenes.load(str(place / "balls")))})
    assert len(load_photographs(plan, QUIET).train) == 8


@pytest.mark.parametrize("state", [{}, {"scene": 3}, {"scene": {"mesh": "", "images": None}}])
def test_a_checkpoint_that_makes_no_sense_shows_nothing(place, state):
    model(place / "run" / MODEL, content="of another scene")
    save_checkpoint(place / "run" / checkpoint.NAME, {}, state)
    with pytest.raises(UserError, match="does not hold"):
        load_photographs(plans(place / "run")[0], QUIET)


def test_a_path_in_a_lone_model_is_nothing_to_open(place):
    shutil.move(place / "run" / MODEL, place / "lone.trf")
    for source in (str(place / "balls"), *REMOTE):
        model(place / "lone.trf", source=source)
        assert plan_model(place / "lone.trf", QUIET).photographs is None
        with pytest.raises(UserError, match="name it behind the model"):
            source_of(place / "lone.trf", {"source": source})
    model(place / "lone.trf", source="builtin:lantern", downscale=4)
    found = plan_model(place / "lone.trf", QUIET).photographs
    assert found is not None
    assert (found.source, found.downscale) == ("builtin:lantern", 4)
    assert source_of(place / "lone.trf", {"source": "builtin:lantern"}) == "builtin:lantern"


@pytest.mark.parametrize("source", REMOTE)
@pytest.mark.parametrize("finished", [True, False])
def test_a_path_to_another_machine_is_not_opened_by_looking(place, monkeypatch, source, finished):
    run = place / "run"
    configure(run, source)
    if not finished:
        (run / "metrics.json").unlink()
        save_checkpoint(run / checkpoint.NAME, {}, {})
    monkeypatch.setattr(scenes, "load", lambda *_, **__: pytest.fail("it was opened"))
    plan = plan_run(RunFolder(run), QUIET)
    assert (plan.recipe, plan.photographs, plan.train) == (None, None, False)
    assert any("another machine" in note for note in plan.notes)
    with pytest.raises(UserError, match="another machine"):
        load_photographs(plan_model(run / MODEL, QUIET), QUIET)
    with pytest.raises(UserError, match="another machine"):
        source_of(run / MODEL, {})


def test_a_model_is_judged_by_the_scene_of_its_run_and_by_another_with_a_word(place):
    scene = scenes.load(str(place / "balls"))
    said = {**origin(scene), "downscale": 1}
    source = source_of(place / "run" / MODEL, said)
    assert source == str(place / "balls")
    judge = partial(load_to_judge, source, place / "run" / MODEL)
    found, warning = judge(said, 1, depth=False)
    assert (len(found.test), warning) == (2, None)
    assert judge(said, 2)[1] is None  # of another size: nothing can be said
    assert judge({"scene": "balls"}, 1)[1] is None  # of version 0.1.0
    found, warning = judge({**said, "views": 100}, 1)
    assert len(found.test) == 2
    assert "nobody knows" in (warning or "")
    assert "100" in (warning or "")
    paint(place / "balls", 4)
    assert judge(said, 1)[1] == f"{source} does not hold what this model was trained on"
    save_checkpoint(place / "run" / checkpoint.NAME, {}, {"scene": identity(scene)})
    assert "(images: they have changed, 1 of 8, the first is" in (judge(said, 1)[1] or "")
    with pytest.raises(UserError, match="there is no scene"):
        load_to_judge(str(place / "gone"), place / "run" / MODEL, said, 1)
