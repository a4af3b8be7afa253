"""What is said of a model's quality beside what is measured, after it was coded to several sizes. Not a test: a table.

    python tests/bench/decibels.py MODEL SCENE [--sizes 1MB 300kB] [--views 20]

MODEL is the file that a training has left, SCENE what it was trained on. Every row is the highest level of one file:
what info, window, browser and plot show, which is one function, and what evaluate finds on as many test views as are
asked for (0: all).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from taichi_rf.storage.quality import decibels, metadata_of
from taichi_rf.storage.trf import read_trf


def command(*words: object) -> None:
    """Run ``python -m taichi_rf`` with these words; its output is kept for when it fails."""
    done = subprocess.run([sys.executable, "-m", "taichi_rf", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def row(name: str, path: Path, scene: str, views: int, folder: Path) -> None:
    """Print a file's bytes, level, and decibels as they are shown and as they are measured."""
    file = read_trf(path)
    level = len(file.chunks)
    said = decibels(metadata_of(file.header), level)
    asked = ["--eval-views", views] if views else []
    command("evaluate", path, scene, "--json", folder / "found.json", *asked)
    measured = json.loads((folder / "found.json").read_text())["levels"][-1]["psnr"]
    text, apart = ("not known", "") if said is None else (said.text(), f"{said.value - measured:+.2f}")
    print(f"| {name} | {file.prefix_bytes[-1]:,} | {level} | {text} | {measured:.2f} | {apart} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("scene")
    parser.add_argument("--sizes", nargs="+", default=["1MB", "300kB"])
    parser.add_argument("--views", type=int, default=0)
    options = parser.parse_args()
    print("| file | bytes | level | shown (dB) | measured (dB) | apart |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="decibels-") as place:
        folder = Path(place)
        row("as trained", options.model, options.scene, options.views, folder)
        for size in options.sizes:
            command("slim", options.model, "--size", size, "--output", folder / "slim.trf", "--overwrite")
            row(f"slim --size {size}", folder / "slim.trf", options.scene, options.views, folder)


if __name__ == "__main__":
    main()
