"""Whether going on with a model costs quality: a training in one go against one in two halves, in equal iterations.

    python tests/bench/going_on.py ../shared/data/nerf_synthetic/lego --downscale 2 --iterations 5000 --views 25

Three ways to the same number of iterations: all at once; half of them and then ``--resume`` with ``--more``; half of
them and then ``--from`` with as many. Iterations are counted, not seconds, so that other work on the machine changes
nothing; on an idle machine a ``quick`` training of lego takes 2,500 in about 300 s on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from taichi_rf.core.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
LESS = 0.2
"""dB that going on may cost, at most."""


def train(*arguments: object) -> None:
    subprocess.run([sys.executable, str(ROOT / "train.py"), *map(str, arguments)], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=5000, help="of the training in one go")
    parser.add_argument("--views", type=int, default=25, help="test views to score")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--out", type=Path, help="keep the runs here")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = given.out or Path(folder)
        scene = Path(given.scene).resolve() if Path(given.scene).exists() else given.scene
        half = given.iterations // 2
        begin = (scene, "--downscale", given.downscale, "--preset", given.preset, "--eval-views", given.views)
        train(*begin, "--iterations", given.iterations, "--out", runs / "whole")
        train(*begin, "--iterations", half, "--out", runs / "half")
        train("--from", runs / "half", "--iterations", given.iterations - half, "--out", runs / "from")
        metrics = {"half": read_json(runs / "half" / "metrics.json")}
        train("--resume", runs / "half", "--more", given.iterations - half)
        metrics |= {
            "whole": read_json(runs / "whole" / "metrics.json"),
            "from": read_json(runs / "from" / "metrics.json"),
            "more": read_json(runs / "half" / "metrics.json"),
        }
    ways = ("half", "whole", "more", "from")
    print("PSNR in dB by level: half of the iterations, all at once, --resume --more, --from")
    table = {way: [level["psnr"] for level in metrics[way]["levels"]] for way in ways}
    for level, row in enumerate(zip(*table.values(), strict=True), 1):
        print(f"{level:5}  " + "  ".join(f"{psnr:6.2f}" for psnr in row))
    lost = {way: table["whole"][-1] - table[way][-1] for way in ("more", "from")}
    for way, less in lost.items():
        print(f"{way}: {less:+.2f} dB less than all at once ({'within' if less <= LESS else 'MORE THAN'} {LESS})")
    if given.json is not None:
        write_json(given.json, {"psnr": table, "lost": lost, "iterations": given.iterations})
    sys.exit(max(lost.values()) > LESS)


if __name__ == "__main__":
    main()
