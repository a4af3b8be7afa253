"""A web server on this machine that serves one file, well or badly."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Trickle:
    """How ``data`` is served; may be changed at any time, and ``asked`` is what it was asked for."""

    data: bytes
    tag: str | None = '"first"'
    ranges: bool = True
    """Whether it answers with parts."""
    length: bool = True
    """Whether it says how long an answer is."""
    rate: float | None = None
    """Bytes a second."""
    cut: list[int] = field(default_factory=list)
    """Places in the file where a connection breaks, the first for the first connection that gets there, and so on."""
    stays_down: bool = False
    """Whether a server that broke a connection answers 503 from then on, until ``down`` is made false."""
    down: bool = False
    upto: int | None = None
    """What comes after so many bytes waits until this is raised."""
    hang: float = 0.0
    """Seconds before a byte of the file."""
    part_status: int = 206
    """What a part is answered with."""
    tags_change: bool = False
    """Whether every answer has a tag of its own."""
    status: list[int] = field(default_factory=list)
    """What the first requests are answered with instead."""
    headers: dict[str, str] = field(default_factory=dict)
    shift: int = 0
    """How far beside what it was asked for a part begins."""
    location: str | None = None
    """Where "/moved" leads."""
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def served(trickle: Trickle) -> Iterator[Trickle]:
    """Serve it; ``trickle.url`` is where."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the other side may go at any time
                _answer(self, trickle, over)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.handle_error = True, lambda *_: None  # type: ignore[method-assign]
    trickle.url = f"http://127.0.0.1:{server.server_port}/model.trf"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield trickle
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, trickle: Trickle, over: threading.Event) -> None:
    asked = {name.lower(): value for name, value in handler.headers.items()}
    trickle.asked.append(asked)
    handler.close_connection = True
    if trickle.down:
        _reply(handler, 503, {"Content-Length": "0"})
        return
    if trickle.status:
        _reply(handler, trickle.status.pop(0), {"Content-Length": "0"})
        return
    if trickle.location is not None and handler.path == "/moved":
        _reply(handler, 302, {"Location": trickle.location, "Content-Length": "0"})
        return
    if handler.path not in ("/model.trf", "/bucket/model.trf"):
        _reply(handler, 404, {"Content-Length": "0"})
        return
    data, begin = trickle.data, 0
    wanted = asked.get("range", "")
    condition = asked.get("if-range")
    if trickle.ranges and wanted and condition in (None, trickle.tag):
        begin = int(wanted.removeprefix("bytes=").partition("-")[0]) + trickle.shift
        if begin >= len(data):
            _reply(handler, 416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"})
            return
    headers = {} if trickle.tag is None else {"ETag": trickle.tag}
    if trickle.tags_change:
        headers["ETag"] = f'W/"{len(trickle.asked)}"'
    if begin:
        headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
    if trickle.length:
        headers["Content-Length"] = str(len(data) - begin)
    over.wait(trickle.hang)
    _reply(handler, trickle.part_status if begin else 200, {**headers, **trickle.headers})
    _send(handler, trickle, data, begin, over)


def _send(handler: BaseHTTPRequestHandler, trickle: Trickle, data: bytes, at: int, over: threading.Event) -> None:
    end, breaks = len(data), False
    if trickle.cut and trickle.cut[0] >= at:
        end, breaks = trickle.cut.pop(0), True
    block = len(data) if trickle.rate is None else max(int(trickle.rate * 0.02), 1)
    due = time.monotonic()
    while at < end and not over.is_set():
        if trickle.upto is not None and at >= trickle.upto:
            over.wait(0.01)
            continue
        part = data[at : min(at + block, end, end if trickle.upto is None else trickle.upto)]
        handler.wfile.write(part)
        handler.wfile.flush()
        at += len(part)
        if trickle.rate is not None:
            due += len(part) / trickle.rate
            over.wait(max(due - time.monotonic(), 0.0))
    trickle.down |= breaks and trickle.stays_down


def _reply(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
