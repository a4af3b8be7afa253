"""What of a page's messages reaches viser: values by type and range, cameras that make sense, and nothing else."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import msgspec
import pytest
from viser import _messages

from tests.web_client import camera, camera_fields, packed, setting
from viewer.web.sieve import sift

SLIDER = SimpleNamespace(value=2, min=1, max=4, visible=True, disabled=False)
REAL = SimpleNamespace(value=0.5, min=0.0, max=1.0, visible=True, disabled=False)
CHECKBOX = SimpleNamespace(value=False, visible=True, disabled=False)
CHOICE = SimpleNamespace(value="colour", options=("colour", "depth"), visible=True, disabled=False)
HIDDEN = SimpleNamespace(value=2, min=1, max=4, visible=False, disabled=False)
DISABLED = SimpleNamespace(value=False, visible=True, disabled=True)
TEXT = SimpleNamespace(value="a", visible=True, disabled=False)
BAR = SimpleNamespace(value=50.0, visible=True)  # of progress: viser's has no ``disabled``
PICTURE = SimpleNamespace(visible=True)
CONTROLS = {
    "slider": SLIDER, "real": REAL, "checkbox": CHECKBOX, "choice": CHOICE, "hidden": HIDDEN, "disabled": DISABLED,
    "text": TEXT, "bar": BAR, "picture": PICTURE,
}  # fmt: skip


def sifted(raw):
    clean = sift(raw, CONTROLS.get)
    return None if clean is None else msgspec.msgpack.decode(clean)


@pytest.mark.parametrize(
    ("control", "sent", "kept"),
    [
        ("slider", 3, 3), ("slider", 2.6, 3), ("slider", 99, 4), ("slider", -5, 1), ("slider", 1e300, None),
        ("slider", math.nan, None), ("slider", math.inf, None), ("slider", True, None), ("slider", "3", None),
        ("slider", None, None), ("slider", [3], None), ("slider", {"a": 3}, None), ("slider", b"3", None),
        ("real", 1, 1.0), ("real", 0.25, 0.25), ("real", -math.inf, None), ("checkbox", True, True),
        ("checkbox", 1, None), ("checkbox", "true", None), ("choice", "depth", "depth"), ("choice", "sun", None),
        ("choice", 0, None), ("choice", ["depth"], None), ("hidden", 3, None), ("disabled", True, None),
        ("text", "b", "b"), ("text", "a\n", None), ("text", "x" * 2000, None), ("text", 5, None),
        ("bar", 60.0, None), ("picture", 1, None), ("no such control", 3, None),
    ],
)  # fmt: skip
def test_value_of_a_control_may_change_by_type_and_range(control, sent, kept):
    clean = sifted(setting(control, value=sent))
    assert clean == (
        None if kept is None else {"type": "GuiUpdateMessage", "uuid": control, "updates": {"value": kept}}
    )
    if kept is not None:
        assert type(clean["updates"]["value"]) is type(kept)


@pytest.mark.parametrize("name", ["removed", "visible", "disabled", "order", "label", "min", "update_cb", "__class__"])
def test_nothing_but_the_value_of_a_control_may_change(name):
    assert sifted(setting("slider", **{name: True})) is None
    assert sifted(setting("slider", value=3, **{name: True}))["updates"] == {"value": 3}


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": [1e12, 0, 0]}, {"position": [math.nan, 0, 0]}, {"position": [1, 2]}, {"position": "far"},
        {"position": [[1], 2, 3]}, {"position": None}, {"position": [True, 0, 0]}, {"wxyz": [math.nan] * 4},
        {"wxyz": []}, {"fov": math.nan}, {"fov": [1]}, {"near": math.inf}, {"far": "x"}, {"look_at": [3.0, 0.0, 1.0]},
        {"up_direction": [0, 0, 0]}, {"image_width": 0}, {"image_height": 10**7}, {"image_width": math.nan},
        {"image_width": "640"},
    ],
    ids=str,
)  # fmt: skip
def test_camera_that_makes_no_sense_does_not_reach_viser(wrong):
    assert sifted(camera(0.0, **wrong)) is None


def test_camera_that_makes_sense_reaches_viser_without_what_is_no_part_of_it():
    assert sifted(camera(0.5, other=[1, 2])) == {"type": "ViewerCameraMessage", **camera_fields(0.5)}
    assert sifted(camera(0.0, position=[3, 0, 1]))["position"] == [3.0, 0.0, 1.0]


def test_kinds_of_messages_that_the_page_does_not_send_do_not_reach_viser():
    kinds = _messages.Message.get_subclasses()
    assert len(kinds) > 50
    for kind in kinds:
        fields = {field.name: "slider" for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
        clean = sifted(packed(kind.__name__, **fields))
        assert clean is None or kind is _messages.LocalStorageGetItemResponseMessage


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\x00", b"\xc1" * 100, b"\x91" * 30_000, b"\x81\xa1a" * 5_000, "text", msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"type": ["ViewerCameraMessage"]}), msgspec.msgpack.encode({1: 2}),
        packed("LocalStorageGetItemResponseMessage", request_uuid="a" * 10_000, value=None, error=None),
        packed("LocalStorageGetItemResponseMessage", request_uuid=5, value=None, error=None),
    ],
    ids=range(11),
)  # fmt: skip
def test_rubbish_does_not_reach_viser(raw):
    assert sifted(raw) is None


def test_answer_reaches_viser_without_what_the_storage_holds():
    sent = packed("LocalStorageGetItemResponseMessage", request_uuid="abc", value="x" * 1000, error="y" * 1000)
    assert sifted(sent) == {
        "type": "LocalStorageGetItemResponseMessage", "request_uuid": "abc", "value": None, "error": None
    }  # fmt: skip
