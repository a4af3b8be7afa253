"""What of a page's messages reaches viser: three kinds, of each only what our page sends, checked by type and range.

viser trusts its pages: any of some hundred kinds of message is decoded, and a page may set any attribute of any
control. Our page moves its camera, sets the values of controls and says that it has a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from viewer.web.client_events import Report

_LONGEST_NAME = 100  # characters of an identifier
_LONGEST_TEXT = 1000  # characters that a person writes
_VECTORS = {"wxyz": 4, "position": 3, "look_at": 3, "up_direction": 3}
_NUMBERS = ("fov", "near", "far")
_SIZES = ("image_width", "image_height")
_LARGEST = 1e9  # of a number that a camera is described with
_NOTHING = object()  # equals no value: what may not be set


def sift(raw: bytes | str, control: Callable[[str], Any]) -> bytes | None:
    """What viser may read of a message, or None where that is nothing.

    Args:
        raw: as it came from a page.
        control: the control of the page with an identifier, as viser keeps it; None where there is none.
    """
    if isinstance(raw, str):
        return None
    try:
        message = msgspec.msgpack.decode(raw)
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None
    if not isinstance(message, dict):
        return None
    kind = message.get("type")
    if kind == "ViewerCameraMessage":
        clean = _camera(message)
    elif kind == "GuiUpdateMessage":
        clean = _update(message, control)
    elif kind == "LocalStorageGetItemResponseMessage":
        clean = _answer(message)
    else:
        clean = None
    return None if clean is None else msgspec.msgpack.encode({"type": kind, **clean})


def _permitted(control: Any, sent: Any) -> Any:
    now, options = getattr(control, "value", _NOTHING), getattr(control, "options", None)
    # Text, pictures and bars of progress are controls, too, of which there is nothing that a page may set.
    if now is _NOTHING or getattr(control, "disabled", True) or not control.visible:
        return _NOTHING
    if options is not None:
        return sent if isinstance(sent, str) and sent in options else _NOTHING
    if isinstance(now, bool):
        return sent if isinstance(sent, bool) else _NOTHING
    if isinstance(now, str):
        return sent if isinstance(sent, str) and len(sent) <= _LONGEST_TEXT and sent.isprintable() else _NOTHING
    low, high = getattr(control, "min", None), getattr(control, "max", None)
    if low is None or high is None or not _is_number(sent):
        return _NOTHING
    # A page may be a moment behind a range that has changed.
    kept = min(max(sent, low), high)
    return round(kept) if isinstance(now, int) else float(kept)


def _update(message: dict[str, Any], control: Callable[[str], Any]) -> dict[str, Any] | None:
    name, updates = message.get("uuid"), message.get("updates")
    if not isinstance(name, str) or not isinstance(updates, dict) or "value" not in updates:
        return None
    handle = control(name)
    if handle is None:
        return None
    value = _permitted(handle, updates["value"])
    return None if value is _NOTHING else {"uuid": name, "updates": {"value": value}}


def _camera(message: dict[str, Any]) -> dict[str, Any] | None:
    clean: dict[str, Any] = {}
    for name, length in _VECTORS.items():
        vector = message.get(name)
        if not isinstance(vector, list) or len(vector) != length or not all(map(_is_number, vector)):
            return None
        clean[name] = [float(number) for number in vector]
    for name in (*_NUMBERS, *_SIZES):
        if not _is_number(message.get(name)):
            return None
        clean[name] = float(message[name]) if name in _NUMBERS else int(message[name])
    return None if Report.of(SimpleNamespace(**clean)) is None else clean


def _answer(message: dict[str, Any]) -> dict[str, Any] | None:
    """That a picture has come; what the page's storage holds is of no interest."""
    name = message.get("request_uuid")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return None
    return {"request_uuid": name, "value": None, "error": None}


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) < _LARGEST
