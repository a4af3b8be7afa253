"""Where no X server tells of the wheel, that is said and nothing turns; the real window has a test of what it tells."""

from __future__ import annotations

import pytest

from viewer.desktop.wheel import Wheel


@pytest.mark.parametrize("display", ["", ":9999"])
def test_without_a_display_there_is_no_wheel(display, monkeypatch):
    monkeypatch.setenv("DISPLAY", display)
    wheel = Wheel()
    assert (wheel.works, wheel.turned, wheel.take()) == (False, False, 0)
