"""One part of the report as it really is: processes of their own, and software Vulkan in the place of a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from taichi_rf.cli.gpu_report import run
from taichi_rf.cli.gpu_report.report import make_folder
from taichi_rf.cli.gpu_report.task import Task
from taichi_rf.core.files import read_json


def test_software_vulkan_computes_what_the_cpu_does(tmp_path: Path) -> None:
    make_folder(tmp_path, overwrite=False)
    task = Task("reference", "vulkan", tmp_path, 600.0, cases=("harmonics",))
    for part in ("reference", "agreement"):
        ending = run.in_process(replace(task, part=part), tmp_path / "log", 600.0, lambda: None)
        assert ending.state == "done", (tmp_path / "log").read_text()
    found = read_json(tmp_path / "parts" / "agreement.json")
    assert found["arch"] == "vulkan"
    kinds = {"samples", "picture of every prefix", "depth", "gradient 1, factors", "gradient 2, basis",
             "step, factors", "occupied"}  # fmt: skip
    assert {row["what"] for row in found["rows"]} >= kinds
    assert [row for row in found["rows"] if not row["agrees"]] == []
    gradients = [row["difference"] for row in found["rows"] if row["what"].startswith("gradient")]
    assert max(gradients) > 0  # sums in another order: it was another device that computed
