"""What a hostile page may not do to the viewer's server, over viser's real server with raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import urllib.request
from types import SimpleNamespace
from urllib.error import HTTPError

import numpy as np
import pytest
from viser.infra._async_message_buffer import AsyncMessageBuffer
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.viewer_fakes import BOX, Clock, FakeRender, FakeTrainer
from tests.web_client import PROTOCOL, answers, camera, camera_fields, dial, setting, unpacked
from viewer.app.studio import Studio
from viewer.session.session import Session
from viewer.web import gate, visitor
from viewer.web import site as web
from viewer.web.client_events import ClientEvents, Report
from viewer.web.complaints import Complaints
from viewer.web.gate import Allowance
from viewer.web.hosts import is_foreign, own_names
from viewer.web.offers import Offers
from viewer.web.page.controls import Controls
from viewer.web.server import start
from viewer.web.wire import Wire

PATIENCE = 20.0  # seconds


def until(there):
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def server():
    server = start("127.0.0.1", 0)
    yield server
    server.stop()


def studio():
    clock, shown = Clock(), Studio()
    shown.session = Session(trainer=FakeTrainer(clock, steps=100_000), render=FakeRender(clock), clock=clock)
    return shown


def test_a_page_that_was_made_is_sent_by_the_rules_of_the_others_and_belongs_to_no_site(tmp_path):
    (tmp_path / "page.html").write_text("<p>it</p>")
    offers = Offers()
    server = start("127.0.0.1", 0, offers=offers)
    try:
        address = f"http://127.0.0.1:{server.get_port()}{offers.offer(7, tmp_path / 'page.html')}"
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            assert answer.read() == b"<p>it</p>"
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            policies = answer.headers.get_all("Content-Security-Policy")
            assert {"sandbox allow-scripts", "frame-ancestors 'none'"} <= set(policies)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            with pytest.raises(HTTPError, match="403"):
                urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=PATIENCE)
        offers.withdraw(7)
        assert not (tmp_path / "page.html").exists()
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(address, timeout=PATIENCE)
    finally:
        server.stop()


# Threads


def test_level_of_a_page_is_followed_and_removed_is_not(server):
    """Both attributes in one message, or one after the other, used to end the server."""
    site = web.Site(server, studio())
    with dial(server.get_port()) as client:
        client.send(camera())
        until(server.get_clients)
        site.turn()
        slider = site.visitors[0].page._controls._handles["level"]
        for updates in ({"value": 99, "removed": True}, {"removed": True}, {"visible": False}, {"value": 3}):
            client.send(setting(slider._impl.uuid, **updates))
        until(lambda: slider.value == 3)
        site.turn()
        assert not slider._impl.removed
        assert slider.visible


def test_everything_is_sent_by_the_servers_own_thread(server, monkeypatch):
    """viser's buffers wake their readers with asyncio's events, which other threads must not touch."""
    push, threads = AsyncMessageBuffer.push, set()

    def watched(buffer, message):
        threads.add(threading.current_thread())
        push(buffer, message)

    monkeypatch.setattr(AsyncMessageBuffer, "push", watched)
    shown = studio()
    site = web.Site(server, shown)
    with dial(server.get_port()) as client:
        client.send(camera())
        until(server.get_clients)
        for turn in range(20):
            shown.session.levels.choose(1 + turn % 4)
            site.turn()
        shown.session.reset_view()
        site.turn()
        pictures = 0
        while not pictures:
            site.turn()
            pictures += sum(message["type"] == "BackgroundImageMessage" for message in unpacked(client.recv(PATIENCE)))
    assert threads == {server._websock_server._server_thread}


def test_what_fails_on_the_servers_thread_is_told_once_and_ends_nothing(server, capfd):
    wire = Wire(server.get_event_loop(), Complaints())
    for _ in range(100):
        wire.post(lambda: 1 // 0)
    assert wire.call(lambda: 7) == 7
    assert wire.idle
    with pytest.raises(ZeroDivisionError):
        wire.call(lambda: 1 // 0)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in said


def test_training_goes_on_when_the_server_has_ended(server, capfd):
    shown = studio()
    site = web.Site(server, shown)
    site.turn()
    server.stop()
    before = shown.session.trainer.iteration
    for _ in range(5):
        site.turn()
    assert shown.session.trainer.iteration > before
    assert capfd.readouterr().err.count("\n") <= 2


def test_training_goes_on_when_nothing_can_be_drawn(server, monkeypatch, capfd):
    shown = studio()
    site = web.Site(server, shown)
    with dial(server.get_port()) as client:
        client.send(camera())
        until(server.get_clients)
        monkeypatch.setattr(Session, "frame", lambda *_: 1 // 0)
        before = shown.session.trainer.iteration
        for _ in range(20):
            site.turn()
    assert shown.session.trainer.iteration > before + 3
    assert capfd.readouterr().err.count("\n") == 1


def test_page_whose_wishes_fail_keeps_no_picture_from_the_others(server, monkeypatch, capfd):
    shown = studio()
    site = web.Site(server, shown)
    with dial(server.get_port()) as bad, dial(server.get_port()) as good:
        for page in (bad, good):
            page.send(camera())
        until(lambda: len(server.get_clients()) == 2)
        site.turn()
        first, second = site.visitors
        monkeypatch.setattr(first, "moved", lambda *_: 1 // 0)
        pictures, end = 0, time.monotonic() + PATIENCE
        while pictures < 3 or not site._complain._said:
            assert time.monotonic() < end
            second.session.levels.choose(1 + pictures)
            bad.send(camera(time.monotonic()))
            site.turn()
            with contextlib.suppress(TimeoutError):
                messages = unpacked(good.recv(timeout=0.05))
                pictures += sum(message["type"] == "BackgroundImageMessage" for message in messages)
                for answer in answers(messages):
                    good.send(answer)
    assert capfd.readouterr().err.count("\n") == 1


def test_wish_of_a_page_is_not_overwritten_by_what_was_under_way():
    client_events = ClientEvents()
    client_events._of(5).values["level"] = 2
    controls = Controls(SimpleNamespace(gui=None, client_id=5), client_events, None)
    level, other = SimpleNamespace(value=2), SimpleNamespace(value=1)
    controls._change([("level", level, "value", 4), ("level", level, "max", 9), ("other", other, "value", 3)])
    assert (level.value, level.max, other.value) == (2, 9, 3)


def test_pages_that_leave_before_anybody_looks_leave_nothing():
    client_events = ClientEvents()
    view = SimpleNamespace(**camera_fields(), on_update=lambda callback: None)
    for number in range(50):
        client = SimpleNamespace(client_id=number, camera=view)
        asyncio.run(client_events.join(client))
        asyncio.run(client_events.leave(client))
    events = client_events.take()
    assert (events.joined, events.left, events.deeds) == ([], set(), {})


# Sizes and places


def test_odd_windows_cost_no_memory():
    for width, height in ((1, 16384), (16384, 1), (640, 480), (3, 4000)):
        across, down = visitor.bounded(width, height)
        assert across * down <= 1920 * 1080
        assert max(across / down, down / across) <= 8


def test_camera_far_away_is_brought_back_without_being_turned():
    far = Report((9e5 + 3.0, 0.0, 0.0), (9e5, 0.0, 0.0), (0.0, 0.0, 1.0), 0.7, 640, 480)
    near = far.within(BOX)
    extent = np.linalg.norm(BOX[1] - BOX[0])
    assert np.linalg.norm(near.target) == pytest.approx(20 * extent)
    np.testing.assert_allclose(np.subtract(near.position, near.target), (3.0, 0.0, 0.0), atol=1e-6)
    here = Report((3.0, 0.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.7, 640, 480)
    assert here.within(BOX) == here


# Connections


@pytest.mark.parametrize(
    ("asked", "origin", "host", "foreign"),
    [
        ("evil.example:8080", "http://evil.example:8080", "0.0.0.0", True),
        ("evil.example:8080", None, "0.0.0.0", True),
        ("192.0.2.7:8080", "http://192.0.2.7:8080", "0.0.0.0", False),
        ("[2001:db8::7]:8080", None, "::", False),
        ("localhost:8080", "http://localhost:8080", "0.0.0.0", False),
        ("GPU.Example.:8080", None, "gpu.example", False),
        ("192.0.2.7.evil.example:8080", None, "0.0.0.0", True),
        ("192.0.2.7:8080", None, "127.0.0.1", True),
        ("1.2.3.4.5", None, "0.0.0.0", True),
        ("[::1", None, "0.0.0.0", True),
        ("", None, "0.0.0.0", True),
        ("localhost:8080", "http://[", "127.0.0.1", True),
    ],
)
def test_names_that_the_server_does_not_have_are_foreign(asked, origin, host, foreign):
    assert is_foreign(asked, origin, host) is foreign


def test_own_name_of_the_machine_is_known_where_others_may_connect():
    assert socket.gethostname().lower().rstrip(".") in own_names("0.0.0.0")
    assert own_names("127.0.0.1") == {"localhost"}


def fetch(server, path="/", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{server.get_port()}{path}", headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def test_page_is_not_shown_inside_others(server):
    status, headers, page = fetch(server)
    assert status == 200
    assert b"<html" in page
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    refused = fetch(server, Host="evil.example")
    assert refused[0] == 403
    assert refused[1]["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/C:/Windows/win.ini", "/c%3A/x", "/../../etc/passwd", "/%2e%2e/x", "/none"])
def test_files_that_are_no_part_of_the_page_are_not_there(server, path):
    assert fetch(server, path)[0] == 404


def test_path_that_no_file_can_have_is_refused(server):
    assert fetch(server, "/" + "a" * 5000)[0] in (400, 404)
    assert fetch(server)[0] == 200


def test_nobody_is_let_in_before_the_server_is_ready():
    rules = gate.Gate("127.0.0.1", Complaints())
    connection = SimpleNamespace(respond=lambda status, text: SimpleNamespace(status=status, headers={}))
    request = SimpleNamespace(headers={"Host": "localhost"}, path="/")
    assert rules.check(connection, request, lambda *_: None).status == 503
    rules.open = True
    assert rules.check(connection, request, lambda *_: None) is None


def test_there_are_only_so_many_browsers_and_sockets(server, monkeypatch):
    monkeypatch.setattr(gate, "PAGES", 2)
    monkeypatch.setattr(gate, "_SOCKETS", 4)
    port = server.get_port()
    pages = [dial(port), dial(port)]
    with pytest.raises(InvalidStatus, match="503"):
        dial(port)
    silent = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(12)]
    assert silent[0].recv(1) == b""  # the oldest of those that say nothing has been closed
    assert fetch(server)[0] == 200  # and there is room for who says something
    pages.pop().close()
    until(lambda: can_dial(port))
    for connection in (*pages, *silent):
        connection.close()


def can_dial(port):
    try:
        dial(port).close()
    except InvalidStatus:
        return False
    return True


@pytest.mark.parametrize("rubbish", [bytes(100_000), [b"a"] * 1000, [b""] * 1000], ids=("size", "parts", "nothing"))
def test_message_that_is_too_large_or_in_too_many_parts_ends_its_connection(server, rubbish):
    with dial(server.get_port()) as client:
        assert ended(client, lambda: client.send(rubbish))


def test_flood_of_pings_ends_its_connection(server):
    with dial(server.get_port()) as client:
        assert ended(client, lambda: [client.ping(number.to_bytes(100, "big")) for number in range(100_000)])


def ended(client, act):
    """Whether the server ends the connection while or after a client does something."""
    try:
        act()
        for _ in range(1000):
            client.recv(PATIENCE)
    except (ConnectionClosed, OSError):
        return True
    return False


def test_allowance_lets_through_its_rate_and_its_burst():
    clock = Clock()
    allowance = Allowance(10, 5, clock)
    assert [allowance.take(1) for _ in range(5)] == [0.0] * 5
    assert allowance.take(1) == pytest.approx(0.1)
    clock.spend(0.1)
    assert allowance.take(1) == pytest.approx(0.1)
    clock.spend(60)
    assert [allowance.take(1) for _ in range(5)] == [0.0] * 5
    assert allowance.take(1) > 0


# What is told


def test_complaints_are_one_line_a_kind_and_end(capfd):
    complain = Complaints()
    for _ in range(1000):
        complain("it broke", ValueError("\x1b]0;title\x07\nfalse line " + "x" * 10_000))
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert len(said) < 1000
    for number in range(1000):
        complain(f"kind {number}")
    assert capfd.readouterr().err.count("\n") < 20


def test_hostile_pages_do_not_fill_stderr(server, capfd):
    port = server.get_port()
    for number in range(60):
        with dial(port) as client:
            client.send([b"\x00rubbish", "text", bytes(40_000)][number % 3])
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as rude:
            rude.sendall(b"GET / HTTP/1.1\r\n" + b"\xff" * 50 + b"\r\n\r\n")
    for protocol in ("viser-v0", "other"):
        with pytest.raises((ConnectionClosed, InvalidStatus)), dial(port, subprotocols=[protocol]) as client:
            client.recv(PATIENCE)
    assert PROTOCOL.startswith("viser-v")
    assert len(capfd.readouterr().err) < 2000
