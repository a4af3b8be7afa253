"""The end of a studio: nothing that ends it costs what was trained, or is mistaken for something else."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taichi_rf.cli.entry import Stopped
from taichi_rf.core.errors import UserError
from viewer.app.closing import until_closed
from viewer.app.settings import Settings


class FakeStudio:
    """What the end of a studio needs of it; ``answer`` is what closing says, or raises."""

    def __init__(self, answer: Any, failure: Exception | None = None) -> None:
        self.preset, self.method, self.downscale = "balanced", "slimmerf", 4
        self.session = SimpleNamespace(share=0.25, failure=failure)
        self.settings = Settings()
        self.closed = 0
        self._answer = answer

    def close(self) -> str | None:
        self.closed += 1
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAICHI_RF_CONFIG", str(tmp_path))
    return tmp_path / "settings.json"


def end(studio: FakeStudio, how: BaseException | None) -> None:
    with until_closed(studio):  # type: ignore[arg-type]
        if how is not None:
            raise how


@pytest.mark.parametrize("how", [None, Stopped(), KeyboardInterrupt(), UserError("no window"), ZeroDivisionError()])
@pytest.mark.parametrize("answer", ["saved; go on with: x", None, UserError("the disk is full"), Stopped()])
def test_whatever_ends_it_the_studio_is_closed_once_and_its_settings_are_written(how, answer):
    studio = FakeStudio(answer)
    try:
        end(studio, how)
    except BaseException as error:
        # Without another end, that of closing; else the one that there was.
        assert error is (answer if how is None else how)  # noqa: PT017
    else:
        assert how is None
    assert studio.closed == 1
    settings = Settings.load()
    assert (settings.preset, settings.downscale, settings.share) == ("balanced", 4, 0.25)


def test_a_good_end_is_told(capsys):
    end(FakeStudio("saved; go on with: x"), None)
    assert capsys.readouterr().out == "saved; go on with: x\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("saved; go on with: x", "saved; go on with: x"),
        (UserError("the disk is full"), "not saved; the last checkpoint is kept (the disk is full)"),
        (Stopped(), "not saved; the last checkpoint is kept"),
    ],
)
def test_ctrl_c_says_what_became_of_the_training_and_an_error_is_told_beside_it(answer, words, capsys):
    with pytest.raises(Stopped) as stopped:
        end(FakeStudio(answer), Stopped(signal.SIGINT))
    assert str(stopped.value) == f"stopped by Ctrl-C: {words}"
    with pytest.raises(ZeroDivisionError):
        end(FakeStudio(answer), ZeroDivisionError())
    assert capsys.readouterr().out == f"{words}\n"


def test_ctrl_c_that_says_something_itself_is_left_alone():
    stopped = Stopped()
    stopped.args = ("stopped by Ctrl-C: the training is done",)
    with pytest.raises(Stopped, match="^stopped by Ctrl-C: the training is done$"):
        end(FakeStudio("anything else"), stopped)


def test_ctrl_c_while_saving_at_a_good_end_says_so():
    with pytest.raises(Stopped, match="not saved"):
        end(FakeStudio(Stopped()), None)


def test_an_error_that_ended_the_training_is_an_error_of_the_program():
    with pytest.raises(UserError, match="the loss became nan; go on"):
        end(FakeStudio("the loss became nan; go on with: x", FloatingPointError("nan")), None)


def test_settings_that_cannot_be_written_change_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAICHI_RF_CONFIG", str(tmp_path / "file"))
    studio = FakeStudio(None)
    end(studio, None)
    assert studio.closed == 1
