"""Whether two checkouts train the same models: python tests/bench/same_bits.py ANOTHER_CHECKOUT

Trains lego at 100 pixels for 300 steps, by every order of ranks and by levels of detail, and a solid, with the
``train.py`` of the other checkout and with this one's, on the CPU from one seed. Prints a line each: whether all arrays
of the model file and of the checkpoint are equal byte for byte. Exits with 1 if one is not. Some 15 minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.storage.trf import load_checkpoint, read_trf  # noqa: E402
from tests.places import DATA  # noqa: E402

LEGO = (str(DATA / "nerf_synthetic/lego"), "--downscale", "8", "--iterations", "300")
CASES = {
    "prefix": (*LEGO, "--ranks", "prefix"),
    "train": (*LEGO, "--ranks", "train"),
    "plain": (*LEGO, "--ranks", "plain"),
    "vqad": (*LEGO, "--method", "vqad"),
    "solid": (str(DATA / "meshes/bunny.obj"), "--method", "vqad", "--iterations", "100", "--eval-views", "1"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout of another version, for example a git worktree")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--keep", type=Path, help="a folder for the runs; those of the other that are there are used")
    options = parser.parse_args()
    equal = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = options.keep or Path(temporary)
        for case in options.cases:
            runs = [place / f"{case}-{which}" for which in ("other", "this")]
            if not (runs[0] / "metrics.json").exists():
                train(options.other.resolve(), CASES[case], runs[0])
            train(ROOT, CASES[case], runs[1])
            found = differences(*runs)
            equal += not found
            print(f"{case}: {'equal' if not found else 'DIFFERENT: ' + ', '.join(found)}", flush=True)
    print(f"{equal} of {len(options.cases)} equal")
    return int(equal < len(options.cases))


def train(checkout: Path, arguments: tuple[str, ...], run: Path) -> None:
    """Train with a checkout's own code, to the end."""
    command = [sys.executable, "train.py", *arguments, "--seed", "0", "--arch", "cpu", "--out", str(run), "--overwrite"]
    done = subprocess.run(
        command, cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{checkout}: {' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def differences(one: Path, other: Path) -> list[str]:
    """What of two runs is not equal: chunks of the model file, and arrays of the checkpoint."""
    chunks = [read_trf(run / "model.trf").chunks for run in (one, other)]
    found = [f"level {level}" for level, (a, b) in enumerate(zip(*chunks), 1) if a != b]
    if len(chunks[0]) != len(chunks[1]):
        found.append(f"{len(chunks[0])} and {len(chunks[1])} levels")
    a, b = (load_checkpoint(run / "checkpoint")[0] for run in (one, other))
    found += [f"'{name}' in one only" for name in sorted(a.keys() ^ b.keys())]
    for name in sorted(a.keys() & b.keys()):
        if a[name].dtype != b[name].dtype or a[name].tobytes() != b[name].tobytes():
            found.append(f"'{name}'")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
