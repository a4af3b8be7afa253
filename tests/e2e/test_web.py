"""The viewer in a real browser: headless Chromium, with a hand on its mouse and keyboard.

Nothing here sleeps and hopes: the server writes a line of state for every turn of its loop, and the tests wait for the
line, or for the page, that they want.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.e2e.browsers import PATIENCE, browser, patiently

ROOT = Path(__file__).resolve().parents[2]
SIZE = (1280, 720)
LEVELS = 4
PSNR = {1: 20.0, 2: 25.0, 3: 28.0, 4: 30.0}


class Server:
    """A running server and its states."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.state_file, self.log = folder / "state.jsonl", open(folder / "log.txt", "w+")
        command = [sys.executable, *(word.replace("STATE", str(self.state_file)) for word in command)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DISPLAY": ""}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    @property
    def output(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def state(self) -> dict:
        """The last whole line of state; empty before the first."""
        if not self.state_file.exists():
            return {}
        with open(self.state_file, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 8192, 0))
            lines = file.read().rpartition(b"\n")[0].splitlines()
        return json.loads(lines[-1]) if lines else {}

    def wait(self, wanted: Callable[[dict], object], what: str) -> dict:
        """The first state seen that is as ``wanted``."""

        def look() -> dict | None:
            state = self.state()
            assert self.process.poll() is None, f"the server ended while waiting for {what}:\n{self.output}"
            return state if state and wanted(state) else None

        return patiently(look, what, lambda: f"{self.state()}\n{self.output}")

    @property
    def address(self) -> str:
        return self.wait(lambda state: state["address"], "the address")["address"][0]

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    servers = []

    def serve(kind: str) -> Server:
        servers.append(Server([str(ROOT / "tests" / "e2e" / "fake_web.py"), kind, "STATE"], tmp_path))
        return servers[-1]

    yield serve
    for server in servers:
        server.process.kill()
        server.process.wait()
        server.log.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """One browser for all tests; it may not reach anything but this computer."""
    driver = browser(SIZE)
    yield driver
    driver.quit()


class Page:
    """The viewer in one tab."""

    def __init__(self, driver: webdriver.Chrome, address: str, panel: str = f"of {LEVELS}") -> None:
        self.driver = driver
        driver.get(address)
        patiently(lambda: driver.find_elements(By.TAG_NAME, "canvas"), "the picture's canvas", self.text)
        patiently(lambda: panel in self.text(), "the panel", self.text)

    def text(self) -> str:
        return self.driver.execute_script("return document.body.innerText")

    def reads(self, *words: str) -> None:
        """Wait until the page says all ``words``."""
        patiently(lambda: all(word in self.text() for word in words), f"{words}", self.text)

    def labelled(self, label: str, below: str) -> WebElement:
        """The element ``below`` (a CSS selector) in the innermost part of the panel that has it and ``label``."""
        found = self.driver.execute_script(
            """
            const labels = [...document.querySelectorAll("label, div, button")].filter(
                e => e.textContent.trim() === arguments[0]).reverse();
            for (const label of labels)
                for (let part = label; part; part = part.parentElement) {
                    const found = part.matches(arguments[1]) ? part : part.querySelector(arguments[1]);
                    if (found) return found;
                }
            return null;""",
            label, below,
        )  # fmt: skip
        assert found is not None, f"there is no {label} on the page: {self.text()}"
        return found

    def press(self, label: str) -> None:
        def pressed() -> bool:
            self.labelled(label, "button").click()
            return True

        patiently(pressed, f"the button {label}", self.text)

    def slide(self, label: str, fraction: float) -> None:
        """Press the mouse where a slider's handle is and let it go at ``fraction`` of the way from left to right."""

        def slid() -> bool:
            self._slide(label, fraction)
            return True

        patiently(slid, f"the slider {label}", self.text)

    def _slide(self, label: str, fraction: float) -> None:
        thumb, place = self.labelled(label, "[role=slider]"), None
        while place != (place := thumb.rect):  # a row above it may just have come
            time.sleep(0.1)
        low, high, now = (float(thumb.get_attribute(f"aria-value{name}")) for name in ("min", "max", "now"))
        width = self.labelled(label, ".mantine-Slider-track").rect["width"]
        distance = round((fraction - (now - low) / (high - low)) * width)
        chain = ActionChains(self.driver, duration=50).move_to_element(thumb).click_and_hold()
        chain.move_by_offset(distance // 2, 0).move_by_offset(distance - distance // 2, 0).release().perform()

    def set_level(self, level: int, label: str = "rank") -> None:
        self.slide(label, (level - 1) / (LEVELS - 1))

    def choose(self, label: str, option: str) -> None:
        def opened() -> bool:
            self.labelled(label, "input:not([type=hidden])").click()
            return True

        patiently(opened, f"the choice {label}", self.text)
        patiently(
            lambda: [e for e in self.driver.find_elements(By.CSS_SELECTOR, "[role=option]") if e.text == option],
            f"the option {option}", self.text,
        )[0].click()  # fmt: skip

    def drag(self, right: int, down: int) -> None:
        canvas = self.canvas()
        chain = ActionChains(self.driver, duration=50).move_to_element(canvas).click_and_hold()
        for _ in range(5):
            chain.move_by_offset(right // 5, down // 5)
        chain.release().perform()

    def canvas(self) -> WebElement:
        return max(self.driver.find_elements(By.TAG_NAME, "canvas"), key=lambda canvas: canvas.size["width"])

    def screenshot(self) -> np.ndarray:
        """(height, width, 3) of the tab."""
        picture = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        return np.asarray(picture).astype(float)

    def picture(self) -> np.ndarray:
        """What is seen of the scene: no panel, no figures, no notice of the browser's."""
        place = self.canvas().rect
        across, down = int(place["width"]), int(place["height"])
        return self.screenshot()[down // 3 : int(0.8 * down), across // 3 : across]

    def becomes(self, wanted: Callable[[np.ndarray], bool], what: str) -> np.ndarray:
        return patiently(lambda: (lambda p: [p] if wanted(p) else [])(self.picture()), what)[0]


def expected(state: dict, level: int, like: np.ndarray, page: Page) -> np.ndarray:
    """What the scene has to look like at ``level`` from where ``state`` says that the camera stands."""
    from taichi_rf.motion.orbit import Orbit
    from tests.viewer_fakes import BOX, Clock, FakeModel, FakeRender

    place = page.canvas().rect
    across, down = int(place["width"]), int(place["height"])
    camera = Orbit.from_state(state["camera"], BOX).camera(across, down)
    picture = 255 * FakeRender(Clock())(FakeModel(), camera, level=level, mode="colour")
    return picture[down // 3 : int(0.8 * down), across // 3 : across]


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """But for JPEG and for pixels of the picture that are not the screen's."""
    return a.shape == b.shape and float(np.abs(a - b).mean()) < 3


def test_page_shows_the_scene_and_its_figures(serve, chromium):
    server = serve("model")
    page = Page(chromium, server.address)
    assert chromium.title == "Taichi RF"
    page.reads("rank 4 of 4", "1.00 MB", "30.00 dB")
    state = server.wait(lambda state: state["complete"], "a complete picture")
    page.becomes(lambda p: alike(p, expected(state, 4, p, page)), "the picture of level 4")
    for word in ("Viser", "viser", "Share"):
        assert word not in page.text()
    assert server.close() == 0


def test_level_slider_changes_picture_and_figures(serve, chromium):
    server = serve("model")
    page = Page(chromium, server.address)
    for level in (1, 3, 2, 4):
        page.set_level(level)
        state = server.wait(lambda state, level=level: state["level"] == level, f"level {level}")
        page.reads(f"rank {level} of 4", f"{0.25 * level:.2f} MB", f"{PSNR[level]:.2f} dB")
        page.becomes(
            lambda p, level=level, state=state: alike(p, expected(state, level, p, page)), f"the picture of {level}"
        )
    for level in (3, 2):
        page.labelled("rank", "[role=slider]").send_keys(Keys.ARROW_LEFT)
        server.wait(lambda state, level=level: state["level"] == level, f"level {level} by the keyboard")


def test_drag_turns_the_scene_and_first_view_brings_it_back(serve, chromium):
    server = serve("model")
    page = Page(chromium, server.address)
    first = server.wait(lambda state: state["complete"], "a complete picture")["camera"]
    page.drag(-200, 0)
    state = server.wait(lambda state: abs(state["camera"]["azimuth"] - first["azimuth"]) > 10, "a turn")
    assert state["camera"]["elevation"] == pytest.approx(first["elevation"], abs=1.0)
    assert state["camera"]["distance"] == pytest.approx(first["distance"], rel=0.01)
    page.press("First view")
    state = server.wait(lambda state: state["camera"] == first, "the first view")
    page.becomes(lambda p: alike(p, expected(state, 4, p, page)), "the picture of the first view")

    # The page's own camera has followed, so that a drag goes on from there. It is told once nothing moves any more.
    def turned() -> dict | None:
        page.drag(0, 50)
        state = server.state()
        return state if state["camera"] != first else None

    state = patiently(turned, "a drag after the first view")
    assert state["camera"]["azimuth"] == pytest.approx(first["azimuth"], abs=2.0)


def test_modes_and_comparison(serve, chromium):
    server = serve("model")
    page = Page(chromium, server.address)
    page.choose("Show", "depth")
    server.wait(lambda state: state["mode"] == "depth", "depth")
    page.choose("Show", "colour")
    page.choose("Compare with", "another level")
    state = server.wait(lambda state: state["compare"]["kind"] == "level", "a comparison")
    page.reads("Other level", "Divider")
    page.slide("Divider", 0.1)
    page.set_level(2, "Other level")
    state = server.wait(
        lambda state: state["compare"]["right"].startswith("rank 2 ") and state["complete"], "rank 2 on the right"
    )
    page.becomes(lambda p: alike(p, expected(state, 2, p, page)), "rank 2 on the right of the line")


def test_slider_goes_to_a_photograph(serve, chromium):
    server = serve("trainer")
    page = Page(chromium, server.address)
    page.press("Pause")
    page.reads("paused", "Resume")  # nothing on the page changes its place any more
    for fraction, index in ((1.0, 1), (0.0, 0)):
        page.slide("Photograph", fraction)
        server.wait(lambda state, index=index: (state["view"] or {}).get("index") == index, f"view {index}")
        page.reads(f"train view {index + 1} of 2")


def test_page_without_anything_says_what_to_do(serve, chromium):
    server = serve("nothing")
    page = Page(chromium, server.address, "Nothing is open")
    page.reads("run_viewer.py NAME --web", "lantern")
    assert "Train" not in page.text()
    page.becomes(lambda p: p.max() > 200, "words in the picture")
    assert server.close() == 0


def test_training_pauses_and_resumes(serve, chromium):
    server = serve("trainer")
    page = Page(chromium, server.address)
    page.reads("running")
    server.wait(lambda state: state["training"]["iteration"] > 5, "some steps")
    page.press("Pause")
    paused = server.wait(lambda state: state["training"]["state"] != "running", "a pause")["training"]["iteration"]
    page.reads("paused", "Resume")

    def bar_and_box() -> list[dict]:
        """The bar is there as long as the mouse is over what it scrolls, and moves."""
        box = page.labelled("rank", "input[type=text]")
        ActionChains(chromium).move_to_element(box).perform()
        bars = chromium.find_elements(By.CSS_SELECTOR, ".mantine-ScrollArea-scrollbar[data-orientation=vertical]")
        return [bars[0].rect, box.rect] if bars else []

    bar, box = patiently(bar_and_box, "the bar that scrolls the panel", page.text)
    assert box["x"] + box["width"] <= bar["x"]  # which would cover it
    page.set_level(1)
    state = server.wait(lambda state: state["level"] == 1, "level 1")
    page.becomes(lambda p: alike(p, expected(state, 1, p, page)), "the picture of level 1")
    assert server.state()["training"]["iteration"] == paused
    page.press("Resume")
    server.wait(lambda state: state["training"]["iteration"] > paused, "more steps")
    assert server.close() == 0
    assert server.output.strip().endswith("saved 1")


def test_two_browsers_have_two_cameras_and_both_are_served(serve, chromium):
    server = serve("trainer")
    page = Page(chromium, server.address)
    first = chromium.current_window_handle
    chromium.switch_to.new_window("window")
    try:
        other = Page(chromium, server.address)
        other.reads("2 visitors")
        cameras = [visitor["camera"] for visitor in server.state()["visitors"]]
        other.drag(-200, 0)
        other.set_level(2)

        def apart(state: dict) -> bool:
            here, there = state["visitors"]
            turned = abs(here["camera"]["azimuth"] - there["camera"]["azimuth"]) > 10
            return turned and (here["level"], there["level"]) == (4, 2)

        state = server.wait(apart, "two cameras and two levels")
        assert state["visitors"][0]["camera"] == cameras[0]
        other.becomes(lambda p: alike(p, expected(state["visitors"][1], 2, p, other)), "the second one's picture")
        chromium.switch_to.window(first)
        page.reads("rank 4 of 4", "2 visitors")
        page.becomes(lambda p: alike(p, expected(state["visitors"][0], 4, p, page)), "the first one's picture")
        chromium.switch_to.window(chromium.window_handles[-1])
    finally:
        chromium.close()
        chromium.switch_to.window(first)
    before = server.wait(lambda state: len(state["visitors"]) == 1, "one to leave")["training"]["iteration"]
    page.set_level(1)
    server.wait(lambda state: state["level"] == 1, "level 1")
    chromium.get("about:blank")  # and now nobody looks
    server.wait(lambda state: state["training"]["iteration"] > before + 20, "training unwatched")
