"""Browsers that are none, and a site over them: controls, event loop and clients do at once what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import html
import pickle
import threading
import time
from types import SimpleNamespace

from viser import _messages

from viewer.app.studio import Studio
from viewer.web import frame_sender
from viewer.web import site as web
from viewer.web.frame_sender import SHORTEST

PATIENCE = 20.0  # seconds


JPEG = frame_sender.compressed


class Handle:
    """Any control: remembers what it was set to and does what a client does to it."""

    def __init__(self, value=None, **properties):
        self.value, self.visible, self._called = value, True, []
        vars(self).update(properties)

    def on_update(self, callback):
        self._called.append(callback)

    on_click = on_update

    def change(self, value=None, client_id=1):
        self.value = value
        for callback in self._called:
            asyncio.run(callback(SimpleNamespace(client_id=client_id)))


class Gui:
    """Makes a handle for everything it is asked to add, by label."""

    def __init__(self):
        self.main_panel, self.made = SimpleNamespace(dock_right=lambda: None), {}
        self.every = []

    def reset(self):
        self.made.clear()
        self.every = []

    def set_panel_label(self, label):
        self.label = label

    def add_folder(self, label, **_):
        return contextlib.nullcontext()

    def __getattr__(self, name):
        def add(label, *arguments, initial_value=None, visible=True, **_):
            value = initial_value if initial_value is not None else arguments[-1] if arguments else None
            key = label if isinstance(label, str) and label else name
            while key in self.made:  # text has no label: add_markdown, add_markdown', ...
                key += "'"
            self.made[key] = Handle(value, content="", image=None)
            self.made[key].visible = visible
            self.every.append(self.made[key])
            return self.made[key]

        return add


class Loop:
    """An event loop that does at once what it is handed."""

    def call_soon_threadsafe(self, function, *arguments):
        function(*arguments)


class Client:
    """A browser that has every picture at once, or only when it is told (``slow``)."""

    def __init__(self, client_id=0, *, slow=False, size=(64, 32)):
        self.client_id, self.pictures, self.moves, self.may_answer = client_id, [], 0, threading.Event()
        self.gui, self.downloads = Gui(), []
        if not slow:
            self.may_answer.set()
        self.asked = threading.Event()
        self._websock_connection = SimpleNamespace(
            queue_message=self._take, register_handler=lambda kind, handler: setattr(self, "_answered", handler)
        )
        self.camera = SimpleNamespace(
            position=(3.0, 0.0, 1.0), look_at=(0.0, 0.0, 0.0), up_direction=(0.0, 0.0, 1.0), fov=0.7,
            image_width=size[0], image_height=size[1], on_update=lambda callback: setattr(self, "_moved", callback),
        )  # fmt: skip

    def _take(self, message):
        if isinstance(message, _messages.BackgroundImageMessage):
            self.pictures.append(pickle.loads(message.rgb_data))
        else:
            self.asked.set()
            self._question = message.request_uuid
            if self.may_answer.is_set():
                self.answer()

    def answer(self):
        self.may_answer.set()
        self._answered(self.client_id, SimpleNamespace(request_uuid=self._question))

    def flush(self):
        pass

    def send_file_download(self, name, content, chunk_size, save_immediately):
        self.downloads.append((name, content))

    @contextlib.contextmanager
    def atomic(self):
        self.moves += 1
        yield

    def move(self, **camera):
        vars(self.camera).update(camera)
        asyncio.run(self._moved(self.camera))


class Browsers:
    """A site over a fake server, its time, and the browsers at it."""

    def __init__(self, studio, clock, **options):
        self.studio, self.clock = studio, clock
        scene = SimpleNamespace(set_up_direction=lambda up: None)
        server = SimpleNamespace(
            scene=scene, initial_camera=SimpleNamespace(), get_event_loop=Loop,
            on_client_connect=lambda callback: setattr(self, "_joined", callback),
            on_client_disconnect=lambda callback: setattr(self, "_left", callback),
        )  # fmt: skip
        self.site = web.Site(server, studio, clock, **options)
        self.slept = []
        self.site._client_events.wait = lambda seconds: (self.slept.append(seconds), clock.spend(seconds))

    def join(self, client):
        asyncio.run(self._joined(client))
        return client

    def leave(self, client):
        asyncio.run(self._left(client))

    @property
    def first(self):
        """The visitor who came first."""
        return next(iter(self.site._visitors.values()), None)

    @property
    def session(self):
        """The session of the visitor who came first; before, the one as which visitors begin."""
        return self.studio.session if self.first is None else self.first.session

    @property
    def gui(self):
        """The panel of the visitor who came first."""
        return self.first.client.gui

    def texts(self):
        return html.unescape("\n".join(handle.content for handle in self.gui.every))

    def turns(self, count=1):
        """Turns of the loop; after each, every picture has arrived whose browser answers."""
        for _ in range(count):
            self.site.turn()
            self.clock.spend(SHORTEST)
            end = time.monotonic() + PATIENCE
            for visitor in self.site._visitors.values():
                while visitor.sender.due > 0 and visitor.client.may_answer.is_set():
                    assert time.monotonic() < end
                    time.sleep(0.0005)

    def settle(self):
        self.turns(40)
        assert self.session.composer.complete


def studio_with(session):
    studio = Studio()
    studio.session = session
    return studio
