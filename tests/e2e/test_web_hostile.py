"""A page that sends everything it should not, while another one looks on: that one gets its pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from viser import _messages
from websockets.exceptions import WebSocketException

from tests.e2e.test_web import ROOT, Server
from tests.web_client import answers, camera, camera_fields, dial, packed, setting, unpacked

WRONG = (
    None,
    True,
    99,
    -1,
    2**62,
    1e300,
    math.nan,
    math.inf,
    "text",
    b"bytes",
    [],
    [1, 2, 3],
    {},
    {"a": [1]},
    "x" * 9000,
)
ATTRIBUTES = (
    "value", "removed", "visible", "disabled", "order", "label", "min", "max", "step", "hint", "uuid", "gui_api",
    "props", "parent_container_id", "update_cb", "update_timestamp", "is_button", "sync_cb", "options", "__class__",
)  # fmt: skip
SIZES = ((1, 16384), (16384, 1), (16384, 16384), (0, 0), (-5, 480), (2**40, 480), (math.nan, 480), ("640", 480))


class Looker(threading.Thread):
    """An honest page: takes its pictures, and notes the controls that it is shown."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.page = dial(port)
        self.pictures, self.controls, self.angle = 0, set(), 0.0
        self.page.send(camera())
        self.start()

    def run(self) -> None:
        with contextlib.suppress(WebSocketException, OSError):
            for window in self.page:
                messages = unpacked(window)
                self.pictures += sum(message["type"] == "BackgroundImageMessage" for message in messages)
                self.controls |= {m["uuid"] for m in messages if m["type"].startswith("Gui") and "uuid" in m}
                for answer in answers(messages):
                    self.page.send(answer)

    def sees(self, count: int) -> None:
        """Look from elsewhere again and again until ``count`` more pictures have come.

        Training alone is no reason for a picture: what it learns may not be seen from where the camera stands, and
        the other page may have hidden the figures that are laid over it.
        """
        end, wanted = time.monotonic() + 30.0, self.pictures + count
        while self.pictures < wanted:
            assert self.is_alive(), "the server closed the honest page's connection"
            assert time.monotonic() < end, "no more pictures came"
            self.angle += 0.1
            self.page.send(camera(self.angle))
            time.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server([str(ROOT / "tests" / "e2e" / "fake_web.py"), "trainer", "STATE"], tmp_path)
    yield server
    server.process.kill()
    server.process.wait()
    server.log.close()


def hostile_messages(controls: set[str]) -> Iterator[bytes | str]:
    """Every kind of message, every attribute of every control, cameras of every sort, and no messages at all."""
    for kind in _messages.Message.get_subclasses():
        fields = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
        yield packed(kind.__name__)
        yield packed(kind.__name__, **dict.fromkeys(fields, 1))
        yield packed(kind.__name__, **dict.fromkeys(fields, "root"))
    for control in sorted(controls):
        for name in ATTRIBUTES:
            yield setting(control, **{name: True})
        for value in WRONG:
            yield setting(control, value=value)
    for name in camera_fields():
        for value in WRONG:
            yield camera(**{name: value})
    for position in ([1e300, 0, 0], [1e5, 1e5, 1e5], [-1e8, 0, 3]):
        yield camera(position=position)
    for width, height in SIZES:
        yield camera(image_width=width, image_height=height)
    yield from (b"", b"\xc1" * 1000, b"\x91" * 30_000, msgspec.msgpack.encode({1: 2}), "text")


def test_hostile_page_takes_nothing_from_another(server):
    port = int(server.address.rpartition(":")[2])
    looker = Looker(port)
    looker.sees(3)
    trained = server.state()["training"]["iteration"]
    half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    half_open[0].sendall(b"GET / HTTP/1.1\r\nHost: local")
    with dial(port) as page:
        page.send(camera(0.5))
        for message in hostile_messages(looker.controls):
            page.send(message)
        looker.sees(3)
    for rubbish in (bytes(10_000_000), [b""] * 10_000, "x" * 100_000):
        with contextlib.suppress(WebSocketException, OSError), dial(port) as page:
            page.send(rubbish)
    looker.sees(3)

    def moved(state: dict) -> bool:
        looker.page.send(camera(1.0))  # again and again: a page is not heard for a moment after it was moved
        return abs(state["camera"]["azimuth"] - math.degrees(1.0)) < 1

    server.wait(moved, "the honest page's own camera")
    assert server.state()["training"]["iteration"] > trained
    for connection in half_open:
        connection.close()
    looker.page.close()
    assert server.close() == 0
    assert "saved 1" in server.output
    assert len(server.output) < 3000
