"""The report, made of fake parts: whatever a part does, the page and the JSON say it, and the rest goes on."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.cli.entry import Stopped
from taichi_rf.cli.gpu_report import process, run
from taichi_rf.cli.gpu_report.agreement import compared
from taichi_rf.cli.gpu_report.process import Ending
from taichi_rf.cli.gpu_report.report import JSON, PAGE, PLANS, Report, make_folder
from taichi_rf.cli.gpu_report.task import Task
from taichi_rf.cli.options import GpuReport
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import read_json
from tests.taichi_rf.cli.gpu_report.fakes import MACHINE, RESULTS, doing, row

CRASH = Ending("failed", 3.0, "SIGSEGV ended it", ("loading", "Segmentation fault <core> & all"))


def made(folder: Path, do: Any, *, minutes: float = 8.0) -> Report:
    make_folder(folder, overwrite=False)
    report = Report(folder, minutes, "lego")
    report.part("machine").state, report.part("machine").result = "done", MACHINE
    run.make(report, GpuReport(output=folder, minutes=minutes), "vulkan", time.monotonic() + 60 * minutes, do)
    return report


def states(folder: Path) -> dict[str, str]:
    return {part["name"]: part["state"] for part in read_json(folder / JSON)["parts"]}


def test_every_part_is_done_in_order_and_the_page_shows_what_they_found(tmp_path: Path) -> None:
    asked: list[Task] = []
    made(tmp_path, doing(seen=asked.append))
    assert [task.part for task in asked] == [plan.name for plan in PLANS[1:]]
    assert {task.arch for task in asked} == {"vulkan"}
    assert set(states(tmp_path).values()) == {"done"}
    text = (tmp_path / PAGE).read_text()
    for figure in (
        "34.90 dB",
        "33.40 dB",
        "660,123",
        "41.2",
        "8</b>comparisons with the CPU agree",
        "AMD &lt;Test&gt; 7800",
    ):
        assert figure in text
    assert text.count("data:image/jpeg;base64,") == 5
    assert not re.search(r"https?://|<script|<link|src='(?!data:)", text)  # it needs no other file, and no network
    assert 'http-equiv="refresh"' not in text
    assert read_json(tmp_path / JSON)["parts"][3]["result"]["copy_gigabytes_per_second"] == 590


def test_a_crash_ends_a_part_and_not_the_report(tmp_path: Path) -> None:
    made(tmp_path, doing({"bench": CRASH, "speed": Ending("cut", 20.0, "its 20 s were over", ("rank 16",))}))
    found = states(tmp_path)
    assert found["bench"] == "failed"
    assert found["speed"] == "cut"
    assert [found[name] for name in ("agreement", "balanced", "paper")] == ["done"] * 3
    text = (tmp_path / PAGE).read_text()
    assert "SIGSEGV ended it" in text
    assert "Segmentation fault &lt;core&gt; &amp; all" in text
    assert "41.2" in text  # what the part had found before its time was over


def test_what_needs_a_part_that_failed_is_not_begun(tmp_path: Path) -> None:
    made(tmp_path, doing({"reference": CRASH}))
    assert states(tmp_path)["agreement"] == "skipped"
    assert states(tmp_path)["bench"] == "done"
    assert "not compared with the CPU" in (tmp_path / PAGE).read_text()


def test_a_model_that_nobody_left_is_not_rendered(tmp_path: Path) -> None:
    made(tmp_path, doing({"balanced": Ending("cut", 9.0, "its 9 s were over")}))
    assert states(tmp_path)["speed"] == "skipped"
    assert states(tmp_path)["paper"] == "done"


def test_a_disagreement_is_the_first_thing_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*RESULTS["agreement"]["rows"], row("octree", "depth", None, agrees=False)]
    monkeypatch.setitem(RESULTS, "agreement", {"rows": rows, "agrees": False})
    made(tmp_path, doing())
    text = (tmp_path / PAGE).read_text()
    assert "1 of 9</b>comparisons with the CPU disagree" in text
    assert re.search(r"octree: depth.*no number.*DIFFERS", text)


def test_a_report_that_is_stopped_says_what_there_is(tmp_path: Path) -> None:
    def stop(task: Task) -> None:
        if task.part == "balanced":
            assert states(tmp_path)["balanced"] == "running"
            assert 'http-equiv="refresh"' in (tmp_path / PAGE).read_text()
            raise Stopped()

    with pytest.raises(Stopped):
        made(tmp_path, doing(seen=stop))
    found = states(tmp_path)
    assert (found["bench"], found["balanced"], found["paper"]) == ("done", "cut", "skipped")
    assert "660,123" in (tmp_path / PAGE).read_text()


def test_parts_share_the_time_and_none_is_begun_without_any(tmp_path: Path) -> None:
    left = 8 * 60.0
    for plan in PLANS[1:]:
        assert plan.seconds(left) >= run.LEAST
        left -= plan.seconds(left)
        assert left >= 0
    made(tmp_path, doing(), minutes=0.1)
    assert states(tmp_path)["reference"] == "skipped"


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="something else"):
        make_folder(tmp_path, overwrite=True)
    made(tmp_path / "a", doing())
    with pytest.raises(UserError, match="--overwrite"):
        make_folder(tmp_path / "a", overwrite=False)
    make_folder(tmp_path / "a", overwrite=True)
    assert not (tmp_path / "a" / JSON).exists()
    assert not any((tmp_path / "a" / "pictures").iterdir())


@pytest.mark.parametrize(
    ("code", "state", "said"),
    [
        ("print('all right')", "done", ""),
        ("print('before'); raise SystemExit(2)", "failed", "exit code 2"),
        ("import os; os.abort()", "failed", "SIGABRT"),
        ("import time; print('begun', flush=True); time.sleep(60)", "cut", "0 s were over"),
    ],
)
def test_a_process_is_ended_when_its_time_is_over_and_its_last_lines_are_kept(tmp_path, code, state, said):
    looks: list[int] = []
    seconds = 0.4 if state == "cut" else 60.0
    ending = process.run([sys.executable, "-I", "-S", "-c", code], tmp_path / "log", seconds, lambda: looks.append(1))
    assert ending.state == state
    assert said in ending.why
    assert ending.last_lines == {"failed": ("before",) * ("before" in code), "cut": ("begun",), "done": ()}[state]
    assert ending.seconds < 30


def test_where_there_is_no_gpu_it_says_what_it_would_do(tmp_path, monkeypatch, capsys):
    def no_gpu(task: Task, log: Path, seconds: float, look: Any) -> Ending:
        task.result.write_text('{"arch": "cpu", "device": "", "software": false}')
        return Ending("done", 1.0)

    monkeypatch.setattr(run, "in_process", no_gpu)
    run.run(GpuReport(output=tmp_path / "out", scene="lantern"))
    said = capsys.readouterr().out
    assert all(plan.title in said for plan in PLANS[1:])
    assert "lantern" in said
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="--minutes"):
        run.run(GpuReport(minutes=float("nan")))


def test_differences_are_measured_as_the_table_of_what_is_allowed_says() -> None:
    its = {
        "samples": np.array([1, 2, 3, 4]),
        "picture, level 1": np.zeros((2, 2, 3)),
        "gradient 1, basis": np.array([3.0, 4]),
    }
    same = compared("case", its, its)
    assert [entry["difference"] for entry in same] == [0, 0, 0]
    ours = {
        "samples": np.array([1, 2, 3, 5]),
        "picture, level 1": np.full((2, 2, 3), 0.5),
        "gradient 1, basis": np.array([3.0, 4.5]),
    }
    found = compared("case", its, ours)
    assert [entry["difference"] for entry in found] == [0.25, 0.5, 0.1]
    assert not any(entry["agrees"] for entry in found)
    broken = {"samples": np.array([1]), "picture, level 1": np.full((2, 2, 3), np.nan)}
    assert all(entry["difference"] == float("inf") for entry in compared("case", its, broken))
