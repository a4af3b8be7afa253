"""The controls of one browser's panel: what each was last set to is known, so that only what changes is sent.

viser's controls may be touched by its own loop alone: what is set is collected here and handed over in one go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from viewer.web.client_events import ClientEvents, Deeds
from viewer.web.wire import Wire

NOTHING = object()
"""Equals no value: what was never shown."""


class Controls:
    """One browser's controls by name.

    Args:
        client: viser's handle of the browser, which has a panel of its own.
        client_events: collects what it does to the controls.
        wire: to viser's loop.
    """

    def __init__(self, client: Any, client_events: ClientEvents, wire: Wire) -> None:
        self.gui = client.gui
        self._client_id: int = client.client_id
        self._client_events, self._wire = client_events, wire
        self._handles: dict[str, Any] = {}
        self._known: dict[tuple[str, str], object] = {}  # what every property was last set to, by us or by the client
        self._changes: list[tuple[str, Any, str, object]] = []  # name, control, property and value; not yet sent

    # Laying out, on viser's loop

    def clear(self) -> None:
        """Take all controls away."""
        self.gui.reset()
        self._handles, self._known, self._changes = {}, {}, []

    def add(self, name: str, handle: Any) -> None:
        """Know a control that is only shown, or a group of them."""
        self._handles[name] = handle

    def choice(self, name: str, handle: Any) -> None:
        """Know a control that the person sets, whose value comes as ``name``."""
        self._handles[name] = handle
        self._known[name, "value"] = handle.value
        self._client_events.watch(self._client_id, name, handle)

    def button(self, name: str, handle: Any, choices: tuple[str, ...] = ()) -> None:
        """Know a button, or a group of them with ``choices``, whose presses come as ``name``."""
        self._handles[name] = handle
        self._client_events.count(self._client_id, name, handle, choices)

    def believe(self, name: str, **properties: object) -> None:
        """Take ``properties`` of a control to be what they were made with."""
        self._known |= {(name, key): value for key, value in properties.items()}

    # In

    def heard(self, deeds: Deeds) -> None:
        """Know what the person has set."""
        self._known |= {(name, "value"): value for name, value in deeds.values.items()}

    def refuse(self, name: str) -> None:
        """What the person has set ``name`` to makes no sense: with the next :meth:`set` it is put back."""
        self._known[name, "value"] = NOTHING

    # Out

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def set(self, name: str, **properties: Any) -> None:
        """Set properties of a control that are not so already; every one set is a message to the browser."""
        for key, value in properties.items():
            if name in self._handles and self._known.get((name, key), NOTHING) != value:
                self._known[name, key] = value
                self._changes.append((name, self._handles[name], key, value))

    def image(self, name: str, state: object, draw: Callable[[], Any]) -> None:
        """Draw an image anew if what it shows has changed."""
        if name in self._handles and self._known.get((name, "image"), NOTHING) != state:
            self._known[name, "image"] = state
            self._changes.append((name, self._handles[name], "image", draw()))

    def post(self) -> None:
        """Hand what was set to viser's loop."""
        if self._changes:
            self._wire.post(self._change, self._changes)
            self._changes = []

    def _change(self, changes: list[tuple[str, Any, str, object]]) -> None:
        for name, handle, key, value in changes:
            # Where the person has set it meanwhile, the next events bring it, and it counts.
            if key != "value" or not self._client_events.has_value(self._client_id, name):
                setattr(handle, key, value)
