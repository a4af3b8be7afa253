"""The server itself: who may connect, what is refused, and how it ends."""

from __future__ import annotations

import contextlib
import math
import socket
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import viser
from viser import _messages
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from taichi_rf.core.errors import UserError
from taichi_rf.streaming import progressive_model as growing
from taichi_rf.streaming.download import Progress
from tests.viewer.web.browsers import JPEG, PATIENCE, Browsers, Client, studio_with
from tests.viewer_fakes import Clock, FakeModel, FakeRender, FakeTrainer
from tests.web_client import unpacked
from viewer.session.session import Session
from viewer.web import frame_sender
from viewer.web import site as web
from viewer.web.hosts import is_foreign
from viewer.web.server import start

pytestmark = pytest.mark.usefixtures("lossless")


def test_without_viser_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r"taichi-rf\[web\]"):
        web.serve(None, stop=lambda: True)


def test_port_that_is_taken_and_host_that_is_not_ours_are_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}"):
            web.serve(None, port=port, stop=lambda: True)
    for host, port in [("no such host", 8080), ("127.0.0.1", 99999), ("192.0.2.1", 8080)]:
        with pytest.raises(UserError, match=host):
            web.serve(None, host=host, port=port, stop=lambda: True)


@pytest.mark.parametrize(
    ("asked", "origin", "host", "foreign"),
    [
        ("localhost:8080", "http://localhost:8080", "127.0.0.1", False),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", False),
        ("localhost:9999", "http://localhost:9999", "127.0.0.1", False),  # through a tunnel
        ("[::1]:8080", "http://[::1]:8080", "::1", False),
        ("localhost:8080", None, "127.0.0.1", False),
        ("localhost:8080", "http://localhost:3000", "127.0.0.1", True),
        ("127.0.0.1:8080", "https://evil.example", "127.0.0.1", True),
        ("localhost:8080", "null", "127.0.0.1", True),
        ("evil.example:8080", "http://evil.example:8080", "127.0.0.1", True),  # a name made to mean this computer
        ("gpu.example:8080", "http://gpu.example:8080", "gpu.example", False),
        ("gpu.example:8080", "http://gpu.example:8080", "0.0.0.0", True),  # a name that anybody may have
        ("gpu.example:8080", "https://evil.example", "0.0.0.0", True),
        ("", None, "127.0.0.1", True),
    ],
)
def test_pages_of_other_sites_are_told_apart(asked, origin, host, foreign):
    assert is_foreign(asked, origin, host) is foreign


@pytest.fixture
def server():
    server = start("127.0.0.1", 0)
    yield server
    server.stop()


def dial(server, **options):
    address = f"ws://127.0.0.1:{server.get_port()}"
    return connect(address, subprotocols=[f"viser-v{viser.__version__}"], compression=None, **options)


def camera_message(angle):
    position = [3 * math.cos(angle), 3 * math.sin(angle), 1.0]
    return msgspec.msgpack.encode({
        "type": "ViewerCameraMessage", "wxyz": [1.0, 0.0, 0.0, 0.0], "position": position, "fov": 0.7, "near": 0.1,
        "far": 10.0, "image_height": 120, "image_width": 160, "look_at": [0.0, 0.0, 0.0],
        "up_direction": [0.0, 0.0, 1.0],
    })  # fmt: skip


def test_server_turns_other_sites_away(server):
    with pytest.raises(InvalidStatus, match="403"):
        dial(server, origin="https://evil.example")
    dial(server, origin=f"http://127.0.0.1:{server.get_port()}").close()


def test_no_client_can_open_a_public_tunnel(server):
    with dial(server) as client:
        client.send(msgspec.msgpack.encode({"type": "ShareUrlRequest"}))
        client.send(camera_message(0.0))
        until(server.get_clients)
    assert server._share_tunnel is None


def test_no_client_can_send_files(server):
    heard = threading.Event()
    with dial(server) as client:
        client.send(camera_message(0.0))
        until(server.get_clients)
        (page,) = server.get_clients().values()
        slider = page.gui.add_slider("rank", 1, 4, 1, 1)
        slider.on_update(lambda event: heard.set())
        uuid = slider._impl.uuid
        for message in (
            {
                "type": "FileTransferStartUpload", "source_component_uuid": uuid, "transfer_uuid": "a",
                "filename": "file", "mime_type": "text/plain", "part_count": 2, "size_bytes": 8,
            },
            {
                "type": "FileTransferPart", "source_component_uuid": uuid, "transfer_uuid": "a", "part_index": 0,
                "content": b"1234",
            },
            {"type": "GuiUpdateMessage", "uuid": uuid, "updates": {"value": 3}},
        ):  # fmt: skip
            client.send(msgspec.msgpack.encode(message))
        assert heard.wait(PATIENCE)  # messages are handled in their order
        assert not page.gui._current_file_upload_states
    for kind in (_messages.FileTransferStartUpload, _messages.FileTransferPart):
        assert not server._websock_server._incoming_handlers.get(kind)


def until(there):
    """Wait for something to be so."""
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_real_client_that_never_answers_grows_no_queue(server, monkeypatch):
    """It steers all the time and is sent a picture each time; only one is ever on its way."""
    monkeypatch.setattr(frame_sender, "compressed", JPEG)
    clock = Clock()
    site = web.Site(server, studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)))
    with dial(server, max_size=None) as client:
        client.send(camera_message(0.0))
        until(server.get_clients)
        for turn in range(60):
            client.send(camera_message(0.1 * turn))
            site.turn()
            time.sleep(0.01)
        (handle,) = server.get_clients().values()
        assert len(handle._websock_connection.get_message_buffer().message_from_id) <= 2
        received = []
        with contextlib.suppress(TimeoutError):
            while True:
                received.append(client.recv(timeout=0.5))
        messages = [message for window in received for message in unpacked(window)]
        assert sum(bool(message.get("rgb_data")) for message in messages) == 1
    until(lambda: not server.get_clients())
    site.turn()
    assert not site._visitors


def test_messages_that_mean_nothing_harm_nobody(server):
    clock = Clock()
    site = web.Site(server, studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)))
    with dial(server) as good:
        good.send(camera_message(0.0))
        until(server.get_clients)
        for rubbish in (b"\x00rubbish", "text", msgspec.msgpack.encode({"type": "NoSuchMessage"})):
            with contextlib.suppress(Exception), dial(server) as bad:
                bad.send(rubbish)
                bad.recv(timeout=0.2)
        for _ in range(20):
            site.turn()
        assert len(site._visitors) == 1


def test_serve_trains_and_ends_frees_the_port_and_prints_nothing(capfd):
    clock = Clock()
    session = Session(trainer=FakeTrainer(clock, steps=1000), render=FakeRender(clock), clock=clock)
    turns, addresses = iter(range(5)), []
    web.serve(studio_with(session), port=0, stop=lambda: next(turns, None) is None, ready=addresses.append)
    assert session.trainer.iteration > 0
    assert session.trainer.saved == 0  # that is for the studio's owner to do
    assert_closed(addresses[0])
    assert capfd.readouterr() == ("", "")


def assert_closed(address):
    port = int(address.rpartition(":")[2])
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


def test_training_that_fails_is_said_and_the_page_stays(training):
    training.session.trainer.fails_at = 3
    training.turns(10)
    training.join(Client())
    training.turns(10)
    assert "loss is not a number" in training.texts()
    assert training.gui.made["Pause"].disabled


def test_ctrl_c_goes_through_with_the_server_down():
    clock, addresses = Clock(), []
    session = Session(FakeModel(), render=FakeRender(clock), clock=clock)

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        web.serve(studio_with(session), port=0, stop=stop, ready=addresses.append)
    assert_closed(addresses[0])


def test_a_model_on_its_way_is_shown_as_it_comes_and_the_slider_ends_where_it_ends(monkeypatch):
    monkeypatch.setattr(growing, "put", lambda model, part: None)
    monkeypatch.setattr(growing, "rehearsal", lambda model, outline: iter(()))
    clock, incoming = Clock(), SimpleNamespace(
        outline=SimpleNamespace(levels=4), parts=[], over=False, error=None, warning=None,
        progress=Progress(0, 4, 900, 9000, 0.4, 1e5, None, False),
    )  # fmt: skip
    session = Session(FakeModel(), render=FakeRender(clock), clock=clock, incoming=incoming)
    browsers = Browsers(studio_with(session), clock)
    client = browsers.join(Client(size=(320, 180)))
    browsers.turns(30)
    waiting = client.pictures[-1]
    assert np.ptp(waiting) > 100  # something is there to read
    sent = len(client.pictures)
    for received in range(910, 940):
        incoming.progress = replace(incoming.progress, received=received)
        browsers.turns()
    assert len(client.pictures) == sent  # bytes alone are no reason for another picture
    slider = browsers.gui.made["rank"]
    for level in (1, 2):
        incoming.parts.append(SimpleNamespace(level=level))
        incoming.progress = replace(incoming.progress, levels=level)
        browsers.turns(60)
        assert slider.value == level
        assert f"rank {level} of 4" in browsers.texts()
    assert not np.array_equal(client.pictures[-1], waiting)
    incoming.over, incoming.warning = True, "level 3 is damaged"
    browsers.turns(60)
    assert (slider.value, slider.max) == (2, 2)
    assert browsers.session.message.text == "level 3 is damaged"
