"""A suite of real trainings of seconds, and a Ray cluster of two machines that can be switched off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.places import ROOT

TIMEOUT = 240
SUITE = """
about = "Two trainings of seconds"
scenes = ["balls"]
seeds = [0, 1]
[settings]
iterations = 150
save-seconds = 0.05
arch = "cpu"
num_ranks = 2
resolutions = [16, 20]
upsample_at = [0.8]
batch_rays = 256
shrink_at = 0.6
occupancy_every = 4
occupancy_threshold = 0.2
density_shift = -4
ranks.rank_deadlines = [0.1, 0.5]
[variants.train]
ranks = "train"
[[published]]
name = "Somebody"
variant = "train"
psnr = 30.5
"""


def start(here: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "COLUMNS": "120"}
    return subprocess.Popen(
        [sys.executable, "-m", "taichi_rf", "suite", "tiny.toml", *arguments],
        cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def trains(folder: Path, name: str) -> bool:
    """Whether a run has trained some and saved that: the model is written with a checkpoint, and not before."""
    return (folder / name / "model.trf").exists()


@contextmanager
def cluster_of_two() -> Iterator[Any]:
    """A Ray cluster of two machines that have a processor each, and a head that has none."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 10}
    little = {"include_dashboard": False, "object_store_memory": 1 << 27}  # what runs hand over is a few lines
    head = {"num_cpus": 0, "_system_config": quick, **little}
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            found.add_node(num_cpus=1, **little)
        yield found
    finally:
        found.shutdown()


def kill_machine_of(cluster: Any, name: str) -> None:
    """End the raylet and all of its processes under which a run trains, as when a machine is switched off."""
    for node in cluster.worker_nodes:
        raylet = node.all_processes["raylet"][0].process.pid
        pids = [raylet, *below(raylet)]
        if any(name in command_of(pid) for pid in pids):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            return
    raise AssertionError(f"{name} trains nowhere")


def below(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended
                continue
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [grandchild for child in found for grandchild in below(child)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
