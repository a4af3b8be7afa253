"""Checkpoints: they come back bit for bit, and what is damaged, hostile or half written is refused."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import struct
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.storage import trf as storage
from taichi_rf.storage.trf import (
    load_checkpoint,
    save_checkpoint,
    write_trf,
)
from tests.places import ROOT
from tests.taichi_rf.storage.test_trf import mutated, within


def test_a_thousand_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    source, path = random.Random(9), tmp_path / "checkpoint"
    images = []
    for seed in (0, 1):
        weights = np.random.default_rng(seed).random((20, 20)).astype(np.float32)
        save_checkpoint(path, {"weights": weights, "step": np.arange(5)}, {"iteration": seed, "name": "x" * 50})
        images.append(path.read_bytes())

    def work() -> None:
        for _ in range(1000):
            data = mutated(source, images[0], images[1], [8, 12, 20, 24, 30, 40])
            path.write_bytes(data)
            if data in images:
                load_checkpoint(path)
                continue
            with pytest.raises(UserError, match="checkpoint"):
                load_checkpoint(path)

    within(4, work)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        f"random {code}": np.frombuffer(generator.bytes(24 * np.dtype(code).itemsize), code).reshape(2, 3, 4)
        for code in storage.CHECKPOINT_TYPES
        if code != "b1"
    }
    arrays |= {
        "flags": np.array([True, False, True]),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(7, np.int64),
        "transposed": generator.random((30, 20)).astype(np.float32).T,
        "more than one block": generator.random((3, 200_001)).astype(np.float32),
    }
    state = {
        "random": generator.bit_generator.state,  # integers of 128 bits
        "best": math.inf,
        "loss": math.nan,
        "third": 1 / 3,
        "single": np.float32(0.1),
        "scene": "Löwe",
        "events": [{"iteration": 1, "rank": None}],
        "done": False,
    }
    save_checkpoint(tmp_path / "checkpoint", arrays, state)
    loaded, returned = load_checkpoint(tmp_path / "checkpoint")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape), name
        assert loaded[name].tobytes() == np.ascontiguousarray(array).tobytes(), name
        assert loaded[name].flags.writeable
    assert math.isnan(returned.pop("loss"))
    assert returned == {key: value for key, value in state.items() if key != "loss"}


def test_a_large_checkpoint_is_streamed(tmp_path: Path) -> None:
    arrays = {f"factor {k}": np.full((1 << 20,), k, np.float64) for k in range(4)}  # 32 MB

    within(3, lambda: save_checkpoint(tmp_path / "checkpoint", arrays, {}))
    within(36, lambda: np.testing.assert_equal(len(load_checkpoint(tmp_path / "checkpoint")[0]), 4))


def test_checkpoints_written_to_attack_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"

    def forge(index: object, tail: bytes = b"") -> bytes:
        text = index if isinstance(index, bytes) else json.dumps(index).encode()
        return struct.pack("<8sIQI", b"\x89TRFCKP\n", 1, len(text), zlib.crc32(text)) + text + tail

    def entry(*fields: object) -> bytes:
        return forge({"arrays": [list(fields)], "state": {}}, bytes(100))

    def work() -> None:
        for data in [
            b"",
            b"\x89TRFCKP\n",
            struct.pack("<8sIQI", b"\x89TRFCKP\n", 1, 2**60, 0),
            forge(b"null"),
            forge(b"[" * 50_000),
            forge({"arrays": []}),
            forge({"state": {}}),
            forge({"arrays": {}, "state": {}}),
            forge({"arrays": [], "state": []}),
            forge({"arrays": [], "state": {}}, b"garbage"),
            entry("a", "f4"),
            entry("a", "f4", [2**60]),
            entry("a", "f4", [2**60, 0]),
            entry("a", "f4", [-1, -23]),
            entry("a", "f4", [2.5]),
            entry("a", "f4", [True]),
            entry("a", "f4", ["23"]),
            entry("a", "f4", [23]),  # the right size, the wrong checksum
            entry("a", "O8", [1]),
            entry("a", "f4", [1] * 9),
            entry(["a"], "f4", [23]),
            forge({"arrays": [["a", "u1", [1]]] * 2, "state": {}}, bytes(18)),
        ]:
            path.write_bytes(data)
            with pytest.raises(UserError, match="checkpoint"):
                load_checkpoint(path)

    within(8, work)
    path.write_bytes(struct.pack("<8sIQI", b"\x89TRFCKP\n", 2, 0, 0))
    with pytest.raises(UserError, match="version 2, this program reads up to 1: please update"):
        load_checkpoint(path)


def test_nothing_that_could_run_code_is_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        save_checkpoint(tmp_path / "checkpoint", {"a": np.array([object()])}, {})
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "checkpoint", {}, {"a": object()})
    assert not (tmp_path / "checkpoint").exists()


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    save_checkpoint(path, {"a": np.arange(3)}, {"iteration": 1})
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")

    def full(descriptor: int, mode: str, buffering: int) -> object:
        os.close(descriptor)
        return open("/dev/full", mode, buffering)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        for size in (10, 1 << 20):
            with pytest.raises(UserError, match=r"cannot write .*checkpoint: the disk is full"):
                save_checkpoint(path, {"a": np.zeros(size)}, {"iteration": 2})
        with pytest.raises(UserError, match="the disk is full"):
            write_trf(tmp_path / "model.trf", {}, [b"x"])
    assert load_checkpoint(path)[1] == {"iteration": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_during_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    code = f"""
        import itertools
        import numpy as np
        from taichi_rf.storage.trf import save_checkpoint
        weights = np.zeros(1 << 20, np.float32)
        for iteration in itertools.count(1):
            weights[:] = iteration
            save_checkpoint({str(path)!r}, {{"weights": weights}}, {{"iteration": iteration}})
            print(iteration, flush=True)
        """
    source, latest = random.Random(0), 0
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        for _ in range(source.randrange(1, 4)):
            latest = int(child.stdout.readline())
        try:
            child.wait(source.random() * 0.02)
        except subprocess.TimeoutExpired:
            child.kill()
        assert child.wait(30) == -signal.SIGKILL
        child.stdout.close()
        arrays, state = load_checkpoint(path)
        assert state["iteration"] >= latest
        assert (arrays["weights"] == state["iteration"]).all()
