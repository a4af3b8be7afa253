"""How long a visitor waits for a picture after moving the camera, alone and with another visitor beside.

    python tests/bench/web_latency.py runs/lantern-1
    python tests/bench/web_latency.py tests/data/tensor.trf --moves 40 --width 1280 --height 720

Starts ``run_viewer.py MODEL --web`` and looks at it with raw sockets that speak viser's protocol and answer as a
browser does, so that no browser's own drawing counts. A visitor moves the camera, and the time until the first picture
from there has come is taken; between two moves the picture has the time to become sharp. Prints the median and the
slowest tenth in milliseconds, for one visitor and for two who move at once, and pictures a second of each while both
keep moving.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from websockets.exceptions import WebSocketException

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.web_client import answers, camera, dial, unpacked  # noqa: E402

_QUIET = 0.4  # seconds without a picture, after which it is sharp
_PATIENCE = 20.0
_DEAF = 3.0  # seconds after its coming in which a page that does not move to where it is told to is not heard


class Visitor:
    """A browser that takes every picture at once, and notes when."""

    def __init__(self, port: int, size: tuple[int, int]) -> None:
        self._page, self._size = dial(port), {"image_width": size[0], "image_height": size[1]}
        self.pictures, self.came = 0, threading.Event()
        self._last = time.monotonic()
        self.move(0.0)
        threading.Thread(target=self._listen, daemon=True).start()

    def move(self, angle: float) -> None:
        self.came.clear()
        self._page.send(camera(angle, **self._size))

    def _listen(self) -> None:
        try:
            for window in self._page:
                messages = unpacked(window)
                if any(message["type"] == "BackgroundImageMessage" for message in messages):
                    self.pictures, self._last = self.pictures + 1, time.monotonic()
                    self.came.set()
                for answer in answers(messages):
                    self._page.send(answer)
        except (WebSocketException, OSError):
            pass

    def wait_until_sharp(self) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() - self._last < _QUIET and time.monotonic() < end:
            time.sleep(0.02)

    def close(self) -> None:
        self._page.close()


def latencies(visitors: list[Visitor], moves: int) -> list[list[float]]:
    """Milliseconds from every move to its picture, for every visitor; all move at once."""
    found: list[list[float]] = [[] for _ in visitors]

    def timed(index: int, angle: float) -> None:
        start = time.monotonic()
        visitors[index].move(angle)
        if visitors[index].came.wait(_PATIENCE):
            found[index].append(1000 * (time.monotonic() - start))

    for step in range(moves):
        for visitor in visitors:
            visitor.wait_until_sharp()
        threads = [threading.Thread(target=timed, args=(index, 0.2 * (step + 1))) for index in range(len(visitors))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def rates(visitors: list[Visitor], seconds: float) -> list[float]:
    """Pictures a second of every visitor while all keep moving."""
    before, end, angle = [visitor.pictures for visitor in visitors], time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        angle += 0.02
        for visitor in visitors:
            visitor.move(angle)
        time.sleep(0.03)
    return [(visitor.pictures - count) / seconds for visitor, count in zip(visitors, before, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    options = parser.parse_args()
    command = [sys.executable, str(ROOT / "run_viewer.py"), options.model, "--web", "--port", "0"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": ""}
    )
    try:
        assert server.stdout is not None
        lines = (re.search(r"http://[^:]+:(\d+)", line) for line in server.stdout)
        port = int(next(found for found in lines if found)[1])
        print(f"{options.width}x{options.height}, milliseconds to the first picture")
        print(f"{'visitors':>8} {'median':>8} {'slowest tenth':>14} {'pictures a second':>18}")
        visitors: list[Visitor] = []
        for count in (1, 2):
            visitors.append(Visitor(port, (options.width, options.height)))
            time.sleep(_DEAF)
            latencies(visitors, 2)  # kernels compile
            found, speed = latencies(visitors, options.moves), rates(visitors, options.seconds)
            for times, rate in zip(found, speed, strict=True):
                slow = sorted(times)[int(0.9 * len(times))]
                print(f"{count:>8} {statistics.median(times):>8.0f} {slow:>14.0f} {rate:>18.1f}")
        for visitor in visitors:
            visitor.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(_PATIENCE)


if __name__ == "__main__":
    main()
