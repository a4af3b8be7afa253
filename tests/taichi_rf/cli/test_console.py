"""Bars read well in a log file, too."""

from __future__ import annotations

from taichi_rf.cli.console import bar


def test_a_bar_begins_anew_under_another_title(capsys):
    with bar("looking") as show:
        show.counted(1, 2)
        show.counted(2, 2)
        show.begin("comparing")
        show.counted(0, 9)
        show.counted(9, 9)
    assert capsys.readouterr().out.splitlines() == [
        "looking  50% 1 of 2", "looking 100% 2 of 2", "comparing   0% 0 of 9", "comparing 100% 9 of 9",
    ]  # fmt: skip
