"""A page of a model in headless Chromium: opened from the disk or from a small web server, asked, and looked at."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from selenium import webdriver

from tests.e2e.browsers import patiently

SIZE = (800, 600)


class Opened:
    """A page in the browser's tab."""

    def __init__(self, driver: webdriver.Chrome, address: str, size: tuple[int, int] = SIZE) -> None:
        self.driver = driver
        driver.get("about:blank")
        for name in ("performance", "browser"):
            driver.get_log(name)  # what was before is not this page's
        phone = size[0] < 500
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": phone},
        )
        driver.get(address)

    def script(self, text: str) -> Any:
        return self.driver.execute_script(text)

    def state(self) -> dict[str, Any]:
        return self.script("return window.taichiRf?.stage?.view ? taichiRf.state() : {}")

    def text(self) -> str:
        return self.script("return document.body.innerText")

    def when(self, wanted: Any, what: str) -> dict[str, Any]:
        """The first state seen that is as ``wanted``."""

        def look() -> dict[str, Any] | None:
            state = self.state()
            return state if state and wanted(state) else None

        return patiently(look, what, lambda: f"{self.state()} {self.text()}")  # type: ignore[return-value]

    def loaded(self) -> dict[str, Any]:
        return self.when(lambda state: not state["loading"] and state["levels"] > 0, "all levels")

    def sharp(self) -> dict[str, Any]:
        return self.when(
            lambda s: s["sharp"] and not s["loading"] and s["shown"] == min(s["level"], s["levels"]), "a sharp picture"
        )

    def notice(self) -> str:
        """What stands in place of the page, as soon as something does that is not "Opening"."""
        script = "return document.body.classList.contains('failed') && document.getElementById('notice').innerText"
        return str(patiently(lambda: self.script(script), "a notice", self.text))

    def toast(self) -> str:
        script = "return !document.getElementById('toast').hidden && document.getElementById('toast').innerText"
        return str(patiently(lambda: self.script(script), "a warning", self.text))

    def picture(self, level: int, side: int, *, direct: bool = False) -> np.ndarray:
        """(side, side, 3) of 0 to 255, from the first view, before the model's own background; ``direct`` of planes and
        lines, and not of what was baked of them."""
        data = self.script(f"return taichiRf.picture({level}, {side}, {side}, null, {str(direct).lower()})")
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(side, side, 4)[..., :3].astype(float)

    def screenshot(self) -> np.ndarray:
        picture = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        return np.asarray(picture).astype(float)

    def asked_for(self) -> list[str]:
        """Addresses that were asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; a part of a file where that is asked for, and ``ranges`` says so."""

    ranges = True
    breaks: list[int] = []
    asked: list[tuple[str, str | None]] = []

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        path, part = Path(self.translate_path(self.path)), self.headers.get("Range")
        self.asked.append((path.name, part))
        if not path.is_file():
            self.send_error(404)
            return
        data, status, headers = path.read_bytes(), 200, {}
        if part is not None and self.ranges:
            first, last = (int(number) for number in part.removeprefix("bytes=").split("-"))
            if first >= len(data):
                self.send_error(416)
                return
            size = len(data)
            data, status = data[first : last + 1], 206
            headers["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/{size}"
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if path.suffix == ".html" else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        broken = self.breaks and path.suffix == ".trf"
        self.wfile.write(data[: self.breaks.pop(0)] if broken else data)


@contextmanager
def hosted(
    folder: Path, *, ranges: bool = True, breaks: list[int] | None = None
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Serve a folder on this machine: its address, and (file, Range) of every request so far.

    Args:
        breaks: after so many bytes the connections of the first answers with a model break.
    """
    asked: list[tuple[str, str | None]] = []
    handler = type("Handler", (_Handler,), {"ranges": ranges, "asked": asked, "breaks": list(breaks or [])})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
