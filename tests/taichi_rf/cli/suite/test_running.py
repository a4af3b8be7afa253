"""The runs of a suite as processes: side by side, stopped, failing, gone on with. A script stands in for trainings."""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from taichi_rf.cli import entry
from taichi_rf.cli.suite import command, local, running, working
from taichi_rf.core.errors import UserError
from taichi_rf.core.version import VERSION
from taichi_rf.suite.plan import Failure, Plan, PlannedRun, read_plan
from taichi_rf.training.configs.slimmerf import QUICK
from taichi_rf.training.run import CONFIG, Recipe
from tests.places import ROOT

STEPS = 5
CHILD = Path(__file__).with_name("child.py")


def plan_of(*variants: str) -> Plan:
    return Plan("suite", tuple(PlannedRun(f"s-{v}", "s", "/s", v, 0, ()) for v in variants))


@pytest.fixture
def how(monkeypatch):
    """What becomes of each run, by its variant; those that are not named end well."""
    said: dict[str, str] = {}

    def command(folder: Path, run: PlannedRun, threads: int | None) -> list[str]:
        (folder / run.name).mkdir(parents=True, exist_ok=True)
        recipe = Recipe(QUICK.changed(iterations=STEPS), run.source)
        (folder / run.name / CONFIG).write_text(json.dumps(recipe.to_json()))
        return [sys.executable, str(CHILD), str(folder / run.name), str(STEPS), said.get(run.variant, "well")]

    monkeypatch.setattr(working, "command", command)
    return said


def run(plan: Plan, folder: Path, jobs: int = 2) -> running.Suite:
    suite = running.Suite(plan, folder, local.LocalRuns(folder, jobs))
    suite.run()
    return suite


def log(folder: Path, name: str) -> str:
    return (folder / "logs" / f"{name}.log").read_text()


def test_a_run_that_fails_is_written_down_and_the_rest_go_on(how, tmp_path):
    how["b"] = "fails"
    suite = run(plan_of("a", "b", "c"), tmp_path)
    assert [r.variant for r in suite.failed] == ["b"]
    assert {r.variant for r in suite.done} == {"a", "c"}
    assert read_plan(tmp_path).failures == {"s-b": Failure(2, ("starts at 0", "the disk is full"))}


def test_the_same_again_runs_what_is_missing_alone(how, tmp_path):
    how["b"] = "fails"
    run(plan_of("a", "b"), tmp_path)
    (tmp_path / "logs" / "s-a.log").unlink()
    how.clear()
    suite = run(read_plan(tmp_path), tmp_path)
    assert not suite.failed
    assert not (tmp_path / "logs" / "s-a.log").exists()
    assert read_plan(tmp_path).failures == {}


class Interrupted(local.LocalRuns):
    """Somebody presses Ctrl-C once all have begun."""

    def collect(self):
        begun = [(self._folder / r.name / "checkpoint").exists() for r in self.running()]
        if len(begun) == 2 and all(begun) and not self.pressed:
            self.pressed = True
            raise entry.Stopped
        return super().collect()

    pressed = False


def test_ctrl_c_has_what_runs_saved_and_the_same_again_goes_on(how, tmp_path):
    how.update(a="waits", b="waits")
    plan = plan_of("a", "b", "c")
    with pytest.raises(entry.Stopped) as stopped:
        running.Suite(plan, tmp_path, Interrupted(tmp_path, 2)).run()
    assert "0 of 3 runs are done, what was under way is saved" in str(stopped.value)
    assert not (tmp_path / "s-c").exists()
    (tmp_path / "s-a" / "checkpoint").write_text("3")
    how.clear()
    assert not run(plan, tmp_path).failed
    assert "starts at 3" in log(tmp_path, "s-a")


HANGS = """
import signal, time
from taichi_rf.cli.train import __main__ as train
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
train.LAST = 0.5
train.stop_with_input()
print("begun", flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("asked to stop", flush=True)
"""
KILLED = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from taichi_rf.cli.suite import working
from taichi_rf.suite.plan import PlannedRun
working.command = lambda *_: [sys.executable, "-c", sys.argv[2]]
process = working.start(Path(sys.argv[1]), PlannedRun("r", "s", "/s", "v", 0, ()), None)
print(process.pid, flush=True)
time.sleep(600)
"""


def test_a_run_that_hangs_does_not_outlive_a_suite_that_was_killed(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(tmp_path), HANGS]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as suite:
        run = int(suite.stdout.readline())
        wait_until(lambda: "begun" in log(tmp_path, "r"))
        suite.kill()
    wait_until(lambda: not alive(run))
    assert log(tmp_path, "r").splitlines() == [
        "begun", "asked to stop",
        "train.py: it was to stop and did not within 0.5 s: the last checkpoint is what is there",
    ]  # fmt: skip


def wait_until(what) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs that is none of ours: one that has ended may wait for whoever looks after orphans."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_cores_are_shared_out():
    assert working.shares(8, 3) == [3, 3, 2]
    assert working.shares(2, 4) == [1, 1, 1, 1]
    assert working.shares(8, 1) == [None]


def test_progress_is_the_last_that_was_printed(tmp_path):
    planned = plan_of("a").runs[0]
    assert working.progress(tmp_path, planned) is None
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "s-a.log").write_text("loading\n")
    assert working.progress(tmp_path, planned).stage == "starting"
    (tmp_path / "logs" / "s-a.log").write_text("loading images 100% 3 of 3\ntraining  42% 100 · 20.0 dB\nwarning: x\n")
    found = working.progress(tmp_path, planned)
    assert (found.stage, found.fraction, found.details) == ("training", 0.42, "100 · 20.0 dB")


def test_a_new_run_is_told_everything_and_one_that_is_there_only_where_it_is(tmp_path):
    planned = PlannedRun("r", "s", "/s", "v", 3, ("--bits=4", "--save-seconds=5"))
    new = working.command(tmp_path, planned, 2)
    assert new[3:] == ["/s", "--bits=4", "--save-seconds=5", "--seed=3", "--out", str(tmp_path / "r"), "--threads=2"]
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / CONFIG).write_text(json.dumps(Recipe(QUICK, "/s").to_json()))
    again = working.command(tmp_path, planned, None)
    assert again[3:] == ["--resume", str(tmp_path / "r"), "--save-seconds=5"]


def test_a_folder_with_a_run_of_no_suite_is_left_alone(tmp_path):
    (tmp_path / "s-a").mkdir()
    (tmp_path / "s-a" / CONFIG).write_text("{}")
    from taichi_rf.cli.options import Suite

    with pytest.raises(UserError, match="belongs to no suite"):
        command._prepared(plan_of("a"), tmp_path, Suite())


def test_a_worker_says_in_one_line_what_it_lacks(tmp_path):
    from taichi_rf.cli.suite.cluster import work

    planned = PlannedRun("r", "s", str(tmp_path / "nowhere"), "v", 0, ())
    assert work(str(tmp_path), planned, 1, "0.0.1") == (
        2,
        f"the worker on {platform.node()} has Taichi RF {VERSION}, not 0.0.1",
    )
    code, said = work(str(tmp_path), planned, 1, VERSION)
    assert (code, "does not see the suite in" in said) == (2, True)
    (tmp_path / "suite.json").write_text("{}")
    code, said = work(str(tmp_path), planned, 1, VERSION)
    assert (code, "does not see the scene" in said, "nowhere" in said, "\n" in said) == (2, True, True, False)


def test_a_run_without_results_or_words_is_explained(tmp_path, monkeypatch):
    planned = plan_of("a").runs[0]
    (tmp_path / "logs").mkdir()
    assert "do all machines share that folder?" in working.failure(tmp_path, planned, 0).lines[-1]
    assert working.failure(tmp_path, planned, 2).lines == ()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert "is full" in working.failure(tmp_path, planned, 2).lines[-1]


def test_without_a_cluster_that_is_said(tmp_path):
    importlib.import_module("ray")  # fails, not skips, where it is missing
    from taichi_rf.cli.suite.cluster import ClusterRuns

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        addresses = {
            "auto": "there is no Ray cluster at 'auto'",
            f"127.0.0.1:{nobody.getsockname()[1]}": "there is no Ray cluster at '127.0.0.1:",
            "host:99999999": "a machine and a port such as",
            "nonsense": "the Ray cluster at 'nonsense' cannot be used",
        }
        for address, because in addresses.items():
            with pytest.raises(UserError, match=because):
                ClusterRuns(tmp_path, address, cpus=1, gpus=0)
