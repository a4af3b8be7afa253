"""A run that replaces another: a kill at any moment leaves the one or the other whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import write_json
from taichi_rf.storage.trf import load_checkpoint, save_checkpoint
from taichi_rf.training import checkpoint
from taichi_rf.training.run import CONFIG, FILES, LOCK, NEW, Recipe, RunFolder
from tests.places import ROOT
from tests.tiny import TINY
from viewer.app.loading import Loading, plan_run

KILLED = """
import os, pathlib, signal, sys
from taichi_rf.training.run import Recipe, RunFolder
from taichi_rf.storage.trf import save_checkpoint
from tests.tiny import TINY

class Trainer:
    def save(self, folder):
        save_checkpoint(pathlib.Path(folder) / "checkpoint", {}, {"run": "new"})

def killed_before(operation):
    def watch(event, arguments):
        nonlocal operation
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            operation -= 1
            if not operation:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch

for number, folder in enumerate(sys.argv[1:], 1):
    if not (child := os.fork()):
        run = RunFolder(folder)
        with run.claimed(new=True, overwrite=True):
            sys.addaudithook(killed_before(number))
            run.begin(Recipe(TINY, "new"), Trainer())
            os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""
OLD = {name: "old " + name for name in FILES if name not in (CONFIG, checkpoint.NAME)}


class FakeTrainer:
    def save(self, folder: Path) -> None:
        save_checkpoint(folder / checkpoint.NAME, {}, {"run": "new"})


def old_run(path: Path) -> RunFolder:
    path.mkdir()
    for name, text in OLD.items():
        (path / name).write_text(text)
    save_checkpoint(path / checkpoint.NAME, {}, {"run": "old"})
    write_json(path / CONFIG, Recipe(TINY, "old").to_json())
    return RunFolder(path)


def whole(folder: RunFolder) -> str:
    """Which run ``folder`` holds: all of it, and nothing else."""
    _, state = load_checkpoint(folder / checkpoint.NAME)
    assert folder.recipe().source == state["run"]
    names = {path.name for path in folder.path.iterdir()} - {LOCK}
    assert names == (set(FILES) if state["run"] == "old" else {CONFIG, checkpoint.NAME})
    assert all((folder / name).read_text() == text for name, text in OLD.items() if state["run"] == "old")
    return str(state["run"])


def claimed(folder: RunFolder) -> RunFolder:
    with folder.claimed(new=False):
        return folder


def test_a_kill_at_any_moment_leaves_one_of_the_two_whole(tmp_path):
    folders = [old_run(tmp_path / f"{number}") for number in range(1, 31)]
    script = [sys.executable, "-c", KILLED, *(str(folder.path) for folder in folders)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    killed = [status == "9" for status in done.stdout.split()]
    assert killed == sorted(killed, reverse=True)
    assert 12 < sum(killed) < len(killed)
    found = [whole(claimed(folder)) for folder in folders]
    assert found == sorted(found, reverse=True)
    assert 5 < found.count("old") < sum(killed) - 5
    assert found[sum(killed)] == "new"


def new_run(folder: RunFolder) -> None:
    """As it is when a process is killed just before it takes the place of what is there."""
    (folder / NEW).mkdir()
    FakeTrainer().save(folder / NEW)
    write_json(folder / NEW / CONFIG, Recipe(TINY, "new").to_json())


def test_who_looks_at_a_run_that_was_killed_as_it_took_over_sees_the_new_one(tmp_path):
    folder = old_run(tmp_path / "run")
    with folder.claimed(new=False):  # someone writes here: nothing is done to it
        new_run(folder)
        folder.settle()
        assert (folder / NEW / CONFIG).exists()
        assert folder.recipe().source == "old"
    with pytest.raises(UserError, match="no scene 'new'"):
        plan_run(folder, Loading("", lambda loading: None))
    assert whole(folder) == "new"


@pytest.mark.parametrize("error", [UserError("the disk is full"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_the_earlier_run_and_no_trace(tmp_path, monkeypatch, error):
    folder = old_run(tmp_path / "run")

    def refuse(*_: object) -> None:
        raise error

    for what in ("taichi_rf.training.run.write_json", f"{__name__}.save_checkpoint"):
        with monkeypatch.context() as patch, folder.claimed(new=True, overwrite=True):
            patch.setattr(what, refuse)
            with pytest.raises(type(error)):
                folder.begin(Recipe(TINY, "new"), FakeTrainer())  # type: ignore[arg-type]
        assert whole(folder) == "old"


def test_a_folder_of_which_only_the_new_run_was_written_holds_a_run(tmp_path):
    folder = RunFolder(tmp_path)
    new_run(folder)
    with pytest.raises(UserError, match="--overwrite"), folder.claimed(new=True):
        pass
    assert whole(folder) == "new"
