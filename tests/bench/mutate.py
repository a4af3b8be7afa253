"""Thousands of model files and checkpoints that somebody has tampered with, rendered or resumed in child processes.

    python tests/bench/mutate.py models --count 10000 --seed 1
    python tests/bench/mutate.py checkpoints --count 10000 --seed 1

A child handles many, one after the other. It is watched from outside: who takes more than ten seconds of a processor
for one (and its compiling), or more than three gigabytes, is ended, and another child goes on behind that one. Every
bad end is printed with its seed; ``--first SEED --count 1`` does it again. Whose structure is still that of the
original is put, level by level, into a model that is there, as one that comes from a server is: nothing is compiled
anew for it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.storage.model_file import load_model  # noqa: E402

PATIENCE = 10.0  # seconds of a processor for one
COMPILING = 40.0  # where a structure of its own may be compiled: an honest model takes ten
WALL = 1000.0  # seconds on the clock, however busy the machine
MOST = 3 << 30  # bytes of a child
FRESH = 9 << 28  # bytes at which Taichi is started anew
GOOD = ("refused", "used", "unpacked")
NEW_ONES = 20
"""Of those whose structure is another, and which pass, every so many-th is compiled and rendered: it takes seconds."""


def outcome(kind: str, victims: Any, seed: int, folder: Path) -> tuple[str, str]:
    """What became of mutant ``seed``: one of :data:`GOOD`, or "traceback", and in what words."""
    import numpy as np

    from taichi_rf.core.errors import UserError
    from tests.mutations import mutated_model, write_mutated_checkpoint

    rng = np.random.default_rng(seed)
    path = folder / "mutant"
    try:
        if kind == "models":
            names = list(victims)
            path.write_bytes(mutated_model(rng, *victims[names[seed % len(names)]]))
        else:
            training = victims[{9: 2, 19: 3}.get(seed % 100, int(seed % 10 > 5))]  # codes are compiled anew
            write_mutated_checkpoint(rng, path, training.arrays, training.state)
    except (ValueError, TypeError, UserError, OverflowError, KeyError, AttributeError, RecursionError) as error:
        return "not made", f"{type(error).__name__}: {error}"
    try:
        if kind == "models":
            show(path, seed)
        else:
            training.resume(path)
    except Unpacked:
        return "unpacked", ""
    except UserError as error:
        text = str(error)
        return ("traceback", f"not one short line: {text!r}") if "\n" in text or len(text) > 2000 else ("refused", text)
    except FloatingPointError as error:  # of a step; whoever trains is told so in a sentence
        return "refused", str(error)
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        if kind == "checkpoints":
            return "refused", f"(caught) {type(error).__name__}: {error} {where()}"  # as checkpoint.load does
        return "traceback", f"{type(error).__name__}: {error} {where()}"
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error} {where()}"
    return "used", ""


def write(path: Path, header: dict[str, Any], levels: list[Any]) -> Path:
    from taichi_rf.coding.arrays import pack_arrays
    from taichi_rf.storage.trf import write_trf

    write_trf(path, header, [pack_arrays(arrays) for arrays in levels])
    return path


def where() -> str:
    last = traceback.extract_tb(sys.exc_info()[2])[-1]
    return f"({Path(last.filename).name}:{last.lineno})"


def show(path: Path, seed: int | None = None) -> None:
    """Render a model at its first, middle and last level, from outside and from within."""
    import numpy as np

    from taichi_rf.kernels.rays import Camera, look_at
    from taichi_rf.rendering.pictures import render

    model, top = put_or_loaded(path, seed)
    eye = tuple(float(c) for c in np.clip(model.box[1] + (model.box[1] - model.box[0]), -1e5, 1e5))
    centre = tuple(float(c) for c in model.box.mean(axis=0))
    camera = Camera(look_at(eye, centre, (0, 0.1, 1)), 18, 18, 8, 8, 16, 16)
    for level in sorted({1, (top + 1) // 2, top}):
        picture = render(model, camera, level=level)
        if not np.isfinite(picture).all():
            raise ValueError("the picture is not finite")


MODELS: dict[str, Any] = {}
"""By their structure, those that there is room for."""


class Unpacked(Exception):
    """All of a mutant passed, but it is another structure, and not its turn to be compiled."""


def put_or_loaded(path: Path, seed: int | None) -> tuple[Any, int]:
    """The model in a file, and how many of its levels there are; ``seed`` is None for what is not tampered with."""
    import numpy as np

    from taichi_rf.storage.model_file import checked
    from taichi_rf.storage.trf import read_trf
    from taichi_rf.streaming.progressive_model import Outline, put, reserve

    file = read_trf(path)
    header = checked(file.header, len(file.chunks))[1]
    shape = [header["field"], header["decoder"], header.get("decoder_coding"), header.get("render")]
    key = json.dumps(shape, sort_keys=True)
    outline = Outline.of(header, header["field"]["num_levels"])
    before, parts = None, []
    for level, chunk in enumerate(file.chunks, 1):
        before = outline.unpack(level, chunk, before, 0)
        parts.append(before)
    if key not in MODELS:
        if seed is not None and seed % NEW_ONES:
            raise Unpacked
        if seed is not None:
            model = load_model(path)
            return model, model.field.num_levels
        MODELS[key] = reserve(outline)
    model = MODELS[key]
    model.box, model.near, model.far = np.array(header["box"], np.float32), header["near"], header["far"]
    model.background = tuple(header["background"])
    model.step_ratio, model.distance_scale = header["step_ratio"], header["distance_scale"]
    model.weight_threshold = header["weight_threshold"]
    for part in parts:
        put(model, part)
    return model, len(parts)


def child(kind: str, first: int, count: int) -> None:
    """Say "begin SEED" and how it ended, in JSON, for each."""
    from taichi_rf.core import backend
    from tests import victims as kinds

    backend.init("cpu")
    if kind == "models":
        victims: Any = {name: kinds.model(name) for name in kinds.MODELS}
        with tempfile.TemporaryDirectory() as folder:  # these are what is kept
            for header, levels in victims.values():
                show(write(Path(folder) / "good", header, levels))
    else:
        victims = [kinds.Training(name) for name in kinds.CHECKPOINTS]
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Taichi prints goes elsewhere
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            out.write(f"begin {seed}\n")
            out.flush()
            out.write(json.dumps([seed, *outcome(kind, victims, seed, Path(folder))]) + "\n")
            out.flush()
            if kind == "models" and resident(os.getpid()) > FRESH:
                MODELS.clear()
                backend.reset()
                backend.init("cpu")


def resident(pid: int) -> int:
    """Bytes of memory of a process; 0 where there is none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def busy(pid: int) -> float:
    """Seconds of a processor that a process has taken; 0 where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


class Watch:
    """Runs children, and counts what becomes of the mutants."""

    def __init__(self, kind: str) -> None:
        self.kind, self.counts, self.bad = kind, collections.Counter[str](), list[str]()

    def run(self, first: int, count: int) -> None:
        end = first + count
        while first < end:
            first = self._one_child(first, end)

    def _one_child(self, first: int, end: int) -> int:
        """Returns the seed after the last that was dealt with."""
        command = [
            sys.executable,
            __file__,
            self.kind,
            "--in-child",
            "--first",
            str(first),
            "--count",
            str(end - first),
        ]
        errors = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT)
        assert process.stdout is not None
        rest, seed, since, began = b"", first - 1, (time.monotonic(), 0.0), False
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 0.1)
            data = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                since = (time.monotonic(), busy(process.pid))
                if line.startswith(b"begin "):
                    seed, began = int(line[6:]), True
                elif line.startswith(b"["):
                    seed, what, text = json.loads(line)
                    began = False
                    self._note(seed, what, text)
            if ready and not data:
                process.wait()
                if process.returncode:
                    errors.seek(0)
                    self._note(seed + (not began), f"crash ({process.returncode})", errors.read()[-400:])
                    return seed + 1 + (not began)
                return end
            patience = COMPILING if self.kind == "models" and seed % NEW_ONES == 0 else PATIENCE
            late = time.monotonic() - since[0] > WALL or (began and busy(process.pid) - since[1] > patience)
            if late or resident(process.pid) > MOST:
                process.kill()
                process.wait()
                self._note(seed, "hang" if late else "over memory", "")
                return seed + 1

    def _note(self, seed: int, what: str, text: str) -> None:
        self.counts[what] += 1
        if what not in (*GOOD, "not made"):
            self.bad.append(f"{seed}: {what} {text}")
            print(f"  seed {seed}: {what}: {text}", flush=True)
        if sum(self.counts.values()) % 500 == 0:
            self.table()

    def table(self) -> None:
        """Print what became of those so far."""
        words = ", ".join(f"{count:,} {what}" for what, count in self.counts.most_common())
        print(f"{time.strftime('%H:%M:%S')} {self.kind}, {sum(self.counts.values()):,} mutants: {words}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["models", "checkpoints"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", "--seed", type=int, default=0, help="seed of the first")
    parser.add_argument("--in-child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_child:
        child(options.kind, options.first, options.count)
        return 0
    watch = Watch(options.kind)
    watch.run(options.first, options.count)
    watch.table()
    return 1 if watch.bad else 0


if __name__ == "__main__":
    sys.exit(main())
