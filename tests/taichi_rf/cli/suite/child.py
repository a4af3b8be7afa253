"""Stands in for a training: counts in a file, saves when its input ends, and writes ``metrics.json`` in the end.

python child.py FOLDER STEPS HOW    HOW: well, fails, waits (until its input ends)
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

ended = threading.Event()


def watch() -> None:
    while os.read(0, 64):
        pass
    ended.set()


def main(folder: Path, steps: int, how: str) -> int:
    threading.Thread(target=watch, daemon=True).start()
    at = int((folder / "checkpoint").read_text()) if (folder / "checkpoint").exists() else 0
    print("starts at", at, flush=True)
    if how == "fails":
        print("the disk is full", flush=True)
        return 2
    while at < steps and not ended.is_set():
        at += how != "waits"
        (folder / "checkpoint").write_text(str(at))
        time.sleep(0.001)
    if ended.is_set():
        return 130
    levels = [{"level": 1, "psnr": 20.0, "ssim": 0.5, "bytes": 1000}]
    metrics = {"levels": levels, "iterations": steps, "train_seconds": 1.0}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
