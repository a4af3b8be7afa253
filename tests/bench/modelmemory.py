"""How much memory reading a model and a picture of it takes, beside what is estimated from its header. Not a test.

    python tests/bench/modelmemory.py MODEL.trf ...

Each is read in a process of its own, of which the peak counts from when Taichi has started.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def measured(path: Path) -> tuple[int, int]:
    """Bytes that a process of its own estimated, and took, for the model in ``path`` and a picture of it."""
    made = subprocess.run([sys.executable, __file__, "--in-child", str(path)], capture_output=True, text=True)
    if made.returncode:
        raise RuntimeError(made.stderr)
    estimate, taken = json.loads(made.stdout.splitlines()[-1])
    return estimate, taken


def peak() -> int:
    """Bytes. Linux counts its parent's in ``ru_maxrss`` of a child, but not here."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_child(path: Path) -> None:
    from taichi_rf.core import backend
    from taichi_rf.kernels.rays import Camera, look_at
    from taichi_rf.rendering.pictures import render
    from taichi_rf.storage.model_file import checked, load_model
    from taichi_rf.storage.requirements import memory
    from taichi_rf.storage.trf import read_trf

    backend.init("cpu")
    before = peak()
    file = read_trf(path)
    levels = len(file.chunks)
    estimate = memory(*checked(file.header, levels), levels)
    del file
    model = load_model(path)
    camera = Camera(look_at((3.0, 1.0, 1.0), (0, 0, 0), (0, 0, 1)), 50, 50, 20, 20, 40, 40)
    render(model, camera)
    print(json.dumps([estimate, peak() - before]))


def main() -> None:
    if sys.argv[1] == "--in-child":
        in_child(Path(sys.argv[2]))
        return
    for path in sys.argv[1:]:
        estimate, taken = measured(Path(path))
        print(f"{estimate / 1e6:7.0f} MB estimated, {taken / 1e6:7.0f} MB taken, {estimate / taken:.2f}: {path}")


if __name__ == "__main__":
    main()
