"""A stand-in for ``python -m scenes.posing`` that ends in the way that TAICHI_RF_TEST_END names."""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    end = os.environ["TAICHI_RF_TEST_END"]
    say(stage="comparing photographs", done=1, total=4)
    print("E1129 matching.cc:12] Check failed: the sky", file=sys.stderr, flush=True)
    if end == "error":
        say(error="photograph 'a.png' is broken")
        sys.exit(2)
    if end == "hang":
        time.sleep(600)
    if end == "half":
        sys.stdout.write('{"placed": ["a.png')
        sys.exit(0)
    if end == "done":
        say(stage="placing photographs", done=0, total=3)
        say(placed=["a.png"])
        sys.exit(0)
    os.kill(os.getpid(), getattr(signal, end))
