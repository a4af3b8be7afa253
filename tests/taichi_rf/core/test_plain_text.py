"""No text from outside can do more to a terminal than be read."""

from __future__ import annotations

import io
import unicodedata

import pytest
from rich.console import Console

from taichi_rf.cli import console
from taichi_rf.core.plain_text import visible

HOSTILE = "a\x1b]0;title\x07\r\nfake line\x9b31m\u202egpj.exe\u2028\udce9"


def test_everything_that_is_not_printed_as_itself_is_escaped():
    assert visible(HOSTILE) == r"a\x1b]0;title\x07\r\nfake line\x9b31m\u202egpj.exe\u2028\xe9"


def test_what_people_write_stays():
    for text in ("lego 50 % · 31.2 dB", "Büste des Äthiopiers", "日本語", "C:\\data\\lego", "👍"):
        assert visible(text) == text


@pytest.mark.parametrize("show", [console.say, lambda text: console.plain_table([["name"], [text]])])
def test_what_is_shown_in_a_terminal_is_escaped(show, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=shown, force_terminal=True, color_system=None, width=200))
    show(HOSTILE)
    assert r"\x1b]0;title\x07\r\nfake line" in shown.getvalue()
    assert {c for c in shown.getvalue() if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")} <= {"\n"}
