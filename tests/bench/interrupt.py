"""Whether a training that is stopped at any moment leaves a run that goes on: python tests/bench/interrupt.py

Each of these happens at random moments of a tiny training, from its first checkpoint to its end: Ctrl-C, SIGTERM,
SIGHUP, a reader of the output that goes away (``| head``), one that stays and reads nothing until SIGTERM comes, an
output that is closed from the start. Prints a line each: exit codes, and how many runs went on to their end, with the
model of a run that was never stopped.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.storage.trf import load_checkpoint  # noqa: E402
from taichi_rf.training.run import METRICS  # noqa: E402
from tests.tiny import write_tiny_scene  # noqa: E402

WAYS = ("SIGINT", "SIGTERM", "SIGHUP", "head", "unread", "closed")
TRAIN = [sys.executable, str(ROOT / "tests" / "e2e" / "tiny_train.py")]
PATIENCE = 300.0
"""Seconds, for whatever should have happened long before."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_tiny_scene(folder / "balls")
        code, errors, length = train(folder, "whole", "whole", 0.0, options.iterations)
        assert code == 0, errors
        print(f"from its first checkpoint, a run that nothing stops takes {length:.1f} s", flush=True)
        for way in options.ways:
            codes: collections.Counter[int] = collections.Counter()
            early, equal, bad = 0, 0, set()
            for index in range(options.times):
                name = f"{way}-{index}"
                code, errors, _ = train(folder, name, way, dice.uniform(0.0, length), options.iterations)
                codes[code] += 1
                early += not (folder / name / METRICS).exists()
                bad |= {line for line in errors.splitlines() if "Traceback" in line}
                if resumes(folder, name, bad):
                    equal += 1
            print(
                f"{way:>8}: exit codes {dict(codes)}; {early} ended early; {equal} of {options.times} resumed to the "
                f"same model{'; ' + '; '.join(bad) if bad else ''}",
                flush=True,
            )


def train(folder: Path, name: str, way: str, moment: float, iterations: int) -> tuple[int, str, float]:
    """Train into ``name``, disturbed in that ``way`` ``moment`` seconds after the first checkpoint is there.

    Returns:
        Exit code, errors, and seconds from the first checkpoint to the end.
    """
    command = [*TRAIN, "balls", "--iterations", str(iterations), "--out", name]
    if way == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=errors,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup ignores
        )  # fmt: skip
        assert process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while not (folder / name / "checkpoint").exists() and process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                raise SystemExit("no checkpoint came")
            time.sleep(0.01)
        begun = time.monotonic()
        if way == "unread":
            narrow(process.stdout)
        if way not in ("whole", "closed"):
            time.sleep(moment)
        if way == "head":
            process.stdout.close()
        elif way == "unread":
            process.send_signal(signal.SIGTERM)
        elif way.startswith("SIG"):
            process.send_signal(getattr(signal, way))
        if way in ("head", "unread"):
            process.wait(PATIENCE)
        else:
            process.communicate(timeout=PATIENCE)
        errors.seek(0)
        return process.returncode, errors.read().decode(), time.monotonic() - begun


def narrow(pipe: IO[bytes]) -> None:
    """Leave hardly any room in ``pipe``, so that it is soon full."""
    with contextlib.suppress(OSError):  # it holds more than that already
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, 4096)


def resumes(folder: Path, name: str, bad: set[str]) -> bool:
    """Whether the run goes on to its end, and to the very model of the one that was never stopped."""
    finished = (folder / name / METRICS).exists()
    done = subprocess.run(
        [*TRAIN, "--resume", name], cwd=folder, capture_output=True, timeout=PATIENCE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode != 0 and not finished:
        bad.add(done.stderr.strip()[-200:])
        return False
    arrays, whole = (load_checkpoint(folder / run / "checkpoint")[0] for run in (name, "whole"))
    differing = [key for key in whole if key not in arrays or (arrays[key] != whole[key]).any()]
    if differing:
        bad.add(f"other values: {', '.join(differing[:4])}")
    return not differing


if __name__ == "__main__":
    main()
