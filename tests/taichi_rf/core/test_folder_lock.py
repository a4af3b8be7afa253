"""A folder is held by one process at a time, whatever the others do, and on disks without locks by anyone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from taichi_rf.core import folder_lock as folderlock
from taichi_rf.core.errors import UserError
from tests.places import ROOT

CLAIMS = """
import os, sys, time
from pathlib import Path
from taichi_rf.core.errors import UserError
from taichi_rf.core.folder_lock import locked
folder, held, overlaps = Path(sys.argv[1]), 0, 0
until = time.monotonic() + 20
while held < 150 and time.monotonic() < until:
    try:
        with locked(folder / ".lock", "it"):
            try:
                os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                overlaps += 1
            held += 1
            (folder / "inside").unlink(missing_ok=True)
    except UserError:
        pass
print(held, overlaps)
"""


@pytest.mark.skipif(folderlock.fcntl is None, reason="Windows has no flock")
def test_claims_of_several_processes_never_overlap(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]  # fmt: skip
    results = [process.communicate(timeout=120)[0].split() for process in processes]
    assert sum(int(held) for held, _ in results) >= 300
    assert [int(overlaps) for _, overlaps in results] == [0] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL, errno.EIO])
def test_a_disk_without_locks_is_said_and_used(tmp_path, monkeypatch, number):
    def flock(*of: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folderlock.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="no file locks"), folderlock.locked(tmp_path / ".lock", "runs/a"):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN])
def test_a_lock_that_is_taken_is_another_process(tmp_path, monkeypatch, number):
    (tmp_path / ".lock").write_text("4711\n")

    def flock(*of: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folderlock.fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"another process \(4711\) is writing to runs/a"):
        with folderlock.locked(tmp_path / ".lock", "runs/a"):
            pass
    assert (tmp_path / ".lock").read_text() == "4711\n"
