"""How soon a page of a model shows something, how it follows a hand, and how near it comes to Python's renderer.

    python tests/bench/page_opening.py runs/lego/model.trf
    python tests/bench/page_opening.py runs/lego/model.trf --openings 3 --size 1280 720 --compare 2 8 16

Writes the page as ``python -m taichi_rf page`` does, once with its model within and once beside it, and opens both in
headless Chromium, which draws in software: the first from the disk, the other from a web server on this machine through
a link of 1 Mbit/s. Each opening is in a browser of its own. Prints what the page says was done when, in ms since it was
asked for ("first" is the first picture, "sharp" the last), how many pictures a second there are while it turns and how
large they are, and, with ``--compare``, decibels at 400x400 of levels against the renderer in Python. What else runs on
the machine counts: the load is printed, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from taichi_rf.cli import page as command  # noqa: E402
from taichi_rf.cli.options import Page  # noqa: E402
from tests.e2e.browsers import browser  # noqa: E402
from tests.e2e.pages import Opened, hosted  # noqa: E402

LINK = 1e6 / 8  # bytes a second
LATENCY = 20.0  # ms
TURNING = 4.0  # seconds
SIDE = 400  # pixels


def opening(address: str, size: tuple[int, int], link: float | None) -> dict[str, int]:
    """When what was done, in a browser that is new."""
    driver = browser(logs=True)
    try:
        if link is not None:
            driver.execute_cdp_cmd("Network.enable", {})
            driver.execute_cdp_cmd(
                "Network.emulateNetworkConditions",
                {"offline": False, "latency": LATENCY, "downloadThroughput": link, "uploadThroughput": link},
            )
        page = Opened(driver, address, size)
        return page.when(lambda state: "loaded" in state["times"], "all levels")["times"]
    finally:
        driver.quit()


def turning(page: Opened, level: int) -> str:
    """Pictures a second while a level turns, and their size."""
    page.script(f"taichiRf.choose({level})")
    page.when(lambda state: state["shown"] == level, "the level")
    page.script("document.getElementById('turn').click()")
    time.sleep(1.0)  # until its pictures are as large as they will be
    begun, before = time.perf_counter(), page.state()["frames"]
    time.sleep(TURNING)
    state, seconds = page.state(), time.perf_counter() - begun
    page.script("document.getElementById('turn').click()")
    return f"{(state['frames'] - before) / seconds:.1f} pictures a second of {state['scale']:.0%} of the sides"


def decibels(page: Opened, path: Path, levels: list[int]) -> dict[int, float]:
    """PSNR of the page's pictures of the first view against those of Python's renderer."""
    from taichi_rf.core import backend
    from taichi_rf.motion.free_view import render_from_anywhere
    from taichi_rf.motion.orbit import Orbit
    from taichi_rf.storage.model_file import load_model

    backend.init("cpu")
    model = load_model(path)
    view = model.metadata.get("view")
    orbit = Orbit.from_state(view, model.world_box) if view else Orbit.around(model.world_box)
    found = {}
    for level in levels:
        ours = 255 * render_from_anywhere(model, orbit.camera(SIDE, SIDE), level=level, mode="colour")
        found[level] = float(-10 * np.log10(((page.picture(level, SIDE) - ours) ** 2).mean() / 255**2))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--openings", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720))
    parser.add_argument("--level", type=int, default=8, help="the level that turns")
    parser.add_argument("--compare", type=int, nargs="*", default=[], help="levels to compare with Python's renderer")
    given = parser.parse_args()
    size = (given.size[0], given.size[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site").mkdir()
        command.run(Page(str(given.model), folder / "page.html", arch="cpu"))
        command.run(Page(str(given.model), folder / "site" / "page.html", split=True, arch="cpu"))
        alone = (folder / "page.html").as_uri()
        for _ in range(given.openings):
            print(f"from the disk: {opening(alone, size, None)}, load {os.getloadavg()[0]:.1f}", flush=True)
        with hosted(folder / "site") as (address, _):
            for _ in range(given.openings):
                times = opening(f"{address}/page.html", size, LINK)
                print(f"beside its model, 1 Mbit/s: {times}, load {os.getloadavg()[0]:.1f}", flush=True)
        driver = browser(logs=True)
        try:
            page = Opened(driver, alone, size)
            page.loaded()
            print(turning(page, min(given.level, page.state()["total"])), flush=True)
            if given.compare:
                print(decibels(page, folder / "site" / "page.trf", given.compare), flush=True)
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
