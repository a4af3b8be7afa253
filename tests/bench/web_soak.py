"""Whether a training goes on, in flat memory, while many pages look on. Not a test: it prints a line a minute.

    python tests/bench/web_soak.py --minutes 30

Some pages move the camera and change the level, some never read what they are sent, one sends what it should not, and
one only looks. They are raw sockets that speak viser's protocol, on this computer only: that many browsers would need
more than the server. The server is ``run_viewer.py --web`` and trains a tiny scene.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.tiny import write_tiny_scene  # noqa: E402
from tests.web_client import PROTOCOL, answers, camera, packed, setting, unpacked  # noqa: E402

_PAUSE = 0.1  # seconds between two moves of a page
_IGNORED = 60.0  # seconds that a page which never reads stays before it comes again
_PATIENCE = 120.0  # seconds


class Seen:
    """What the pages were sent."""

    def __init__(self) -> None:
        self.pictures: dict[str, int] = {}
        self.iteration, self.slider, self.closed = 0, "", 0

    def take(self, name: str, messages: list[dict]) -> None:
        for message in messages:
            if message["type"] == "BackgroundImageMessage":
                self.pictures[name] = self.pictures.get(name, 0) + 1
            elif message["type"] == "GuiSliderMessage" and message["props"]["label"] == "rank":
                self.slider = message["uuid"]
            elif message["type"] == "GuiUpdateMessage":
                found = re.search(r"iteration ([\d,]+)", str(message["updates"]))
                if found:
                    self.iteration = int(found[1].replace(",", ""))


def dial(port: int, **options: object) -> connect:
    """A connection to the server; nothing but 127.0.0.1 is ever asked."""
    options = {"max_size": None, **options}
    return connect(f"ws://127.0.0.1:{port}", subprotocols=[PROTOCOL], compression=None, proxy=None, **options)


async def read(page: ClientConnection, name: str, seen: Seen) -> None:
    async for window in page:
        messages = unpacked(window)
        seen.take(name, messages)
        for answer in answers(messages):
            await page.send(answer)


async def look(port: int, name: str, seen: Seen, *, moves: bool) -> None:
    """A page that reads all it is sent, and steers if it ``moves``."""
    angle, size = random.random(), {"image_width": random.choice((160, 320, 640)), "image_height": 240}
    async with dial(port) as page:
        await page.send(camera(angle, **size))
        reading = asyncio.create_task(read(page, name, seen))
        try:
            while not reading.done():
                await asyncio.sleep(_PAUSE)
                if moves:
                    angle += 0.05
                    await page.send(camera(angle, **size))
                    if seen.slider and random.random() < 0.2:
                        await page.send(setting(seen.slider, value=random.randint(1, 4)))
        finally:
            reading.cancel()


async def ignore(port: int, seen: Seen) -> None:
    """A page that never reads; the server may end that, and it comes again."""
    async with dial(port, max_queue=1, ping_interval=None, close_timeout=1) as page:
        await page.send(camera(random.random()))
        await asyncio.sleep(_IGNORED)


async def attack(port: int, seen: Seen) -> None:
    """A page that sends what no page should, and windows of odd shapes."""
    async with dial(port, close_timeout=1) as page:
        await page.send(camera(image_width=random.choice((1, 16384)), image_height=random.choice((1, 16384))))
        reading = asyncio.create_task(read(page, "hostile", seen))
        try:
            for updates in ({"value": 99}, {"removed": True}, {"value": [1] * 1000}, {"value": float("nan")}):
                await page.send(setting(seen.slider, **updates))
            for rubbish in (b"\xc1" * 1000, "text", packed("ResetGuiMessage"), camera(position=[1e300, 0, 0])):
                await page.send(rubbish)
            await asyncio.sleep(2 * _PAUSE)
            await page.send(random.choice((bytes(100_000), msgspec.msgpack.encode([[]] * 1000))))
            await asyncio.sleep(2 * _PAUSE)
        finally:
            reading.cancel()


async def again(make: object, seen: Seen, until: float) -> None:
    """Come again whenever a connection ends."""
    while time.monotonic() < until:
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            await make()  # type: ignore[operator]
        seen.closed += 1
        await asyncio.sleep(0.5)


def resident(process: subprocess.Popen[bytes]) -> float:
    """MB in memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


async def soak(process: subprocess.Popen[bytes], log: Path, port: int, options: argparse.Namespace) -> bool:
    seen, begin = Seen(), time.monotonic()
    end = begin + 60 * options.minutes
    pages = [lambda: look(port, "looks", seen, moves=False), lambda: attack(port, seen)]
    pages += [lambda n=n: look(port, f"moves {n}", seen, moves=True) for n in range(options.moving)]
    pages += [lambda: ignore(port, seen)] * options.ignoring
    tasks = [asyncio.create_task(again(page, seen, end)) for page in pages]
    before, trained = dict(seen.pictures), 0
    while time.monotonic() < end and process.poll() is None:
        await asyncio.sleep(min(60.0, max(end - time.monotonic(), 0.1)))
        if process.poll() is not None:
            break
        counts = [seen.pictures.get(name, 0) - before.get(name, 0) for name in sorted(seen.pictures) if "moves" in name]
        looks = seen.pictures.get("looks", 0) - before.get("looks", 0)
        print(
            f"{(time.monotonic() - begin) / 60:5.1f} min  {resident(process):7.1f} MB  iteration {seen.iteration:8,}  "
            f"pictures: looks {looks}, moving {min(counts, default=0)} to {max(counts, default=0)}  "
            f"connections ended {seen.closed}  stderr {log.stat().st_size} bytes",
            flush=True,
        )
        before, went_on, trained = dict(seen.pictures), seen.iteration > trained, seen.iteration
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return process.poll() is None and went_on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--moving", type=int, default=10, help="pages that move and change levels")
    parser.add_argument("--ignoring", type=int, default=10, help="pages that never read")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tiny_scene(folder / "scene")
        environment = {**os.environ, "HOME": name, "PYTHONPATH": str(ROOT), "TINY_ITERATIONS": "1000000000"}
        command = [sys.executable, str(ROOT / "tests/e2e/tiny_viewer.py"), "scene", "--web", "--port", "0"]
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)
            try:
                port = port_of(folder / "out", process)
                good = asyncio.run(soak(process, folder / "err", port, options))
                process.send_signal(signal.SIGINT)
                process.wait(_PATIENCE)
            finally:
                process.kill()
        print((folder / "out").read_text()[-500:], (folder / "err").read_text()[-2000:], sep="\n")
    print("the training went on" if good else "THE SERVER OR THE TRAINING ENDED")
    sys.exit(0 if good else 1)


def port_of(out: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", out.read_text()):
            return int(found[1])
        time.sleep(0.2)
    sys.exit("the server did not start")


if __name__ == "__main__":
    main()
