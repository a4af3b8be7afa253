"""Each worker has a core of its own where there are as many as cores, and is left alone where there are not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taichi_rf.core.cpu import worker_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets threads be given cores")

ROOT = Path(__file__).resolve().parents[4]

WORKING = """
import json, os, sys
from taichi_rf.core import backend
from taichi_rf.core.backend import ti
from taichi_rf.core.cpu.worker_threads import alive

def seconds(thread):
    return sum(map(int, open(f"/proc/self/task/{thread}/stat").read().rsplit(")", 1)[1].split()[11:13]))

@ti.kernel
def work(n: int) -> float:
    total = 0.0
    for i in range(n):
        x = ti.cast(i, ti.f32)
        for _ in range(3000):
            x = ti.sin(x) + 0.5
        total += x
    return total

backend.init("cpu", threads=int(sys.argv[1]))
work(1)  # compiles, in threads of its own
main = os.getpid()
before = {t: seconds(t) for t in alive()}
work(40000)
spent = {t: seconds(t) - before[t] for t in before if t != main}
busy = [t for t in spent if spent[t] > 0.1 * max(spent.values())]
print(json.dumps([sorted(os.sched_getaffinity(t)) for t in busy] + [sorted(os.sched_getaffinity(main))]))
"""


def cores_of(workers: int, folder: Path) -> tuple[list[list[int]], list[int]]:
    """The cores of each thread that computes, and of the one that waits for them."""
    script = folder / "working.py"  # Taichi reads a kernel's source from its file
    script.write_text(WORKING)
    done = subprocess.run(
        [sys.executable, str(script), str(workers)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    *busy, main = json.loads(done.stdout.splitlines()[-1])
    return busy, main


def test_as_many_workers_as_cores_have_one_each(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    busy, main = cores_of(len(cores), tmp_path)
    assert main == cores
    assert sorted(busy) == [[core] for core in cores]


def test_fewer_workers_than_cores_go_where_the_system_puts_them(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        busy, main = cores_of(len(cores) - 1, tmp_path)
        assert len(busy) == len(cores) - 1
        assert busy == [cores] * len(busy)
        assert main == cores


def test_threads_that_cannot_be_moved_stay(monkeypatch):
    monkeypatch.setattr(worker_threads, "alive", lambda: {1, 2, 3})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    moved = []

    def refuse(thread, cores):
        moved.append((thread, cores))
        raise OSError("no such thread")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    worker_threads.spread({1}, 2)
    assert moved == [(2, {0}), (3, {1})]
    worker_threads.spread({1, 2}, 2)  # not as many threads as there should be
    worker_threads.spread({1}, 1)
    assert len(moved) == 2
