"""Whether a training that is stopped at any moment leaves a run that goes on: python tests/bench/interrupt.py

Each of these happens at random moments between the start and the end of a tiny training: Ctrl-C, SIGTERM, SIGHUP, a
reader of the output that goes away (``| head``), an output that is closed from the start. Prints a line each: exit
codes, and how many runs could be resumed to their end with the parameters of a run that was never stopped.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.storage import load_checkpoint  # noqa: E402
from tests.tiny import write_tiny_scene  # noqa: E402

ITERATIONS = 150
WAYS = ("SIGINT", "SIGTERM", "SIGHUP", "head", "closed")
TRAIN = [sys.executable, str(ROOT / "tests" / "e2e" / "tiny_train.py")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_tiny_scene(folder / "balls")
        started = time.monotonic()
        assert train(folder, "whole", "whole", 0.0)[0] == 0
        length = time.monotonic() - started
        print(f"a run that nothing stops takes {length:.1f} s")
        for way in WAYS:
            codes: collections.Counter[int] = collections.Counter()
            nothing, equal, said = 0, 0, set()
            for index in range(options.times):
                name = f"{way}-{index}"
                code, errors = train(folder, name, way, dice.uniform(0.3, length))
                codes[code] += 1
                said |= {line for line in errors.splitlines() if "Traceback" in line}
                if not (folder / name / "checkpoint").exists():
                    nothing += 1
                elif resumes(folder, name):
                    equal += 1
            print(
                f"{way:>8}: exit codes {dict(codes)}; {equal} resumed to the same parameters, {nothing} had not begun "
                f"to train, {options.times - equal - nothing} lost{'; ' + '; '.join(said) if said else ''}",
                flush=True,
            )


def train(folder: Path, name: str, way: str, moment: float) -> tuple[int, str]:
    """Train into ``name``, interrupted in that ``way`` after ``moment`` seconds; returns exit code and errors."""
    command = [*TRAIN, "balls", "--iterations", str(ITERATIONS), "--out", name]
    if way == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    if way.startswith("SIG"):
        time.sleep(moment)
        process.send_signal(getattr(signal, way))
    elif way == "head":
        time.sleep(moment)
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        return process.wait(), errors
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def resumes(folder: Path, name: str) -> bool:
    """Whether the run goes on to its end, and to the very parameters of the one that was never stopped."""
    if subprocess.run([*TRAIN, "--resume", name], cwd=folder, capture_output=True, timeout=300).returncode != 0:
        return False
    arrays, whole = (load_checkpoint(folder / run / "checkpoint")[0] for run in (name, "whole"))
    return arrays.keys() == whole.keys() and all((arrays[key] == whole[key]).all() for key in whole)


if __name__ == "__main__":
    main()
