"""A page without a browser: a raw socket that speaks viser's protocol."""

from __future__ import annotations

import math

import msgspec
import viser
import zstandard
from websockets.sync.client import ClientConnection, connect

PROTOCOL = f"viser-v{viser.__version__}"


def dial(port: int, **options) -> ClientConnection:
    """A connection to the server on 127.0.0.1, of the version that it speaks."""
    options = {"subprotocols": [PROTOCOL], "compression": None, "max_size": None, "proxy": None} | options
    return connect(f"ws://127.0.0.1:{port}", **options)


def packed(kind: str, **fields) -> bytes:
    """A message as a page sends it."""
    return msgspec.msgpack.encode({"type": kind, **fields})


def camera(angle: float = 0.0, **fields) -> bytes:
    """That the page's camera stands at ``angle`` around the origin."""
    return packed("ViewerCameraMessage", **camera_fields(angle, **fields))


def camera_fields(angle: float = 0.0, **fields) -> dict:
    place = {
        "wxyz": [1.0, 0.0, 0.0, 0.0], "position": [3 * math.cos(angle), 3 * math.sin(angle), 1.0], "fov": 0.7,
        "near": 0.1, "far": 10.0, "image_height": 120, "image_width": 160, "look_at": [0.0, 0.0, 0.0],
        "up_direction": [0.0, 0.0, 1.0],
    }  # fmt: skip
    return place | fields


def setting(control: str, **updates) -> bytes:
    """That the page has set properties of ``control``."""
    return packed("GuiUpdateMessage", uuid=control, updates=updates)


def unpacked(window: bytes) -> list[dict]:
    """The messages to a page in what came over the socket."""
    size = int.from_bytes(window[8:16], "little")
    return msgspec.msgpack.decode(zstandard.decompress(window[16 : 16 + size]))["messages"]


def answers(messages: list[dict]) -> list[bytes]:
    """What a page answers to ``messages``: that it has the pictures among them."""
    return [
        packed("LocalStorageGetItemResponseMessage", request_uuid=message["request_uuid"], value=None, error=None)
        for message in messages
        if message["type"] == "LocalStorageGetItemRequestMessage"
    ]
