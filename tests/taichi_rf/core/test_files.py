"""Files are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import math
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.core import files
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import append_line, atomic_write, parse_json, read_json, read_lines, write_json
from tests.places import ROOT


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_finished_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for content in (b"first", b"second, longer"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ["checkpoint"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_a_new_file_has_the_permissions_that_open_would_give(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a") as file:
        file.write(b"")
    (tmp_path / "b").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_the_block_keeps_the_earlier_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "model.trf"
    path.write_bytes(b"earlier")

    def fail() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_bytes() == b"earlier"
    assert names(tmp_path) == ["model.trf"]


def test_a_link_is_followed_rather_than_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"earlier")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_a_plain_message_and_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"earlier")

    def full(descriptor: int, mode: str, buffering: int) -> object:
        os.close(descriptor)
        return open("/dev/full", mode, buffering)

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(UserError, match=r"checkpoint.*disk is full"), atomic_write(path) as file:
        file.write(b"x" * 100)  # stays in the buffer: the error comes with the flush
    with pytest.raises(UserError, match="disk is full"), atomic_write(path) as file:
        file.write(b"x" * (3 << 20))  # the error comes here
    assert path.read_bytes() == b"earlier"
    assert names(tmp_path) == ["checkpoint"]
    with pytest.raises(UserError, match="disk is full"):
        append_line("/dev/full", {"iteration": 1})


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
def test_a_file_size_limit_hit_in_the_middle_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"earlier")
    code = f"""
        import resource
        from taichi_rf.core.errors import UserError
        from taichi_rf.core.files import atomic_write
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
        try:
            with atomic_write({str(path)!r}) as file:
                for _ in range(5):
                    file.write(bytes(1 << 20))
        except UserError as error:
            print("refused:", error)
        """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.startswith("refused: cannot write"), result.stderr
    assert path.read_bytes() == b"earlier"
    assert names(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.EBUSY])
def test_every_error_of_the_system_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with (
        pytest.raises(UserError, match=r"cannot write .*model\.trf: \w+"),
        atomic_write(tmp_path / "model.trf") as file,
    ):
        file.write(b"x")
    assert names(tmp_path) == []


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for bad in ("folder", "missing/model.trf", "file/model.trf", "x" * 300):
        with pytest.raises(UserError, match="cannot write"), atomic_write(tmp_path / bad):
            pass
        with pytest.raises(UserError, match="cannot write"):
            append_line(tmp_path / bad, {})
    assert names(tmp_path) == ["file", "folder"]
    if os.path.exists("/dev/null"):  # renaming over a device would destroy it
        with pytest.raises(UserError, match="device"), atomic_write("/dev/null"):
            pass


def test_the_message_names_another_file_that_failed_inside_the_block(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"other\.bin"), atomic_write(tmp_path / "model.trf"):
        open(tmp_path / "other.bin", "rb")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_in_the_middle_leaves_the_earlier_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"earlier")
    code = f"""
        import time
        from taichi_rf.core.files import atomic_write
        with atomic_write({str(path)!r}) as file:
            file.write(bytes(4 << 20))
            print("half", flush=True)
            time.sleep(60)
        """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"half\n"
    child.kill()
    assert child.wait(30) == -signal.SIGKILL
    child.stdout.close()
    assert path.read_bytes() == b"earlier"

    leftover = [name for name in names(tmp_path) if name != "checkpoint"]
    assert len(leftover) == 1  # nobody could remove it ...
    with atomic_write(path) as file:
        file.write(b"soon after")
    assert leftover[0] in names(tmp_path)  # ... and it might still be in use,
    old = time.time() - 2 * files._STALE_SECONDS
    os.utime(tmp_path / leftover[0], (old, old))
    with atomic_write(path) as file:
        file.write(b"later")
    assert names(tmp_path) == ["checkpoint"]  # until it has not changed for long
    assert path.read_bytes() == b"later"


def test_json_comes_back_with_numpy_values_as_plain_ones(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"psnr": np.float32(27.5), "levels": (1, np.int64(2)), "box": np.zeros((2, 3)), "out": tmp_path})
    assert read_json(path) == {"psnr": 27.5, "levels": [1, 2], "box": [[0, 0, 0], [0, 0, 0]], "out": str(tmp_path)}
    write_json(path, {"psnr": math.inf, "ssim": np.float32("nan"), "name": "Zürich"})
    assert read_json(path) == {"psnr": None, "ssim": None, "name": "Zürich"}


def test_what_json_cannot_say_is_a_bug_and_keeps_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_json(path, {"seed": 1})
    for bad in ({1: "key"}, {"value": object()}, {"value": {1, 2}}):
        with pytest.raises(TypeError):
            write_json(path, bad)
    assert read_json(path) == {"seed": 1}


def test_the_mark_that_windows_puts_before_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "x.json") == {"a": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe{}",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b"9" * 60_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_json_that_is_broken_or_hostile_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    if data == b"9" * 60_000 and not hasattr(sys, "get_int_max_str_digits"):
        return
    with pytest.raises(UserError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_json_of_reasonable_depth_is_accepted() -> None:
    assert parse_json(b"[" * 32 + b"]" * 32, "x")
    assert parse_json(b'{"a": [1.5, "b", null]}', "x") == {"a": [1.5, "b", None]}


def test_files_that_are_missing_too_long_or_no_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "long.json").write_bytes(b"[" + b"1," * 1000 + b"1]")
    with pytest.raises(UserError, match=r"long\.json is 2003 bytes long"):
        read_json(tmp_path / "long.json", 2000)
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "missing.json")
    with pytest.raises(UserError, match="is not a file"):
        read_json(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
        with pytest.raises(UserError, match="is not a file"):
            read_json(tmp_path / "pipe")


def test_lines_are_appended_and_a_torn_one_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    append_line(path, {"iteration": 1, "psnr": 20.0})
    append_line(path, {"iteration": 2, "psnr": math.nan})
    with open(path, "ab") as file:
        file.write(b'{"iteration": 3, "ps')  # killed here
    append_line(path, {"iteration": 4})
    assert path.read_bytes().count(b"\n") == 4
    assert read_lines(path) == [{"iteration": 1, "psnr": 20.0}, {"iteration": 2, "psnr": None}, {"iteration": 4}]


def test_bytes_of_a_name_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "config.json", {"source": name})
    append_line(tmp_path / "events.jsonl", {"source": name})
    (tmp_path / "config.json").read_bytes().decode()  # is UTF-8 all the same
    assert read_json(tmp_path / "config.json") == {"source": name}
    assert read_lines(tmp_path / "events.jsonl") == [{"source": name}]
