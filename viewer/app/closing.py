"""Closes a studio: whatever ends it, what was trained is saved, and the person is told how to go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from taichi_rf.cli.console import say
from taichi_rf.cli.entry import Stopped
from taichi_rf.core.errors import UserError
from viewer.app.opening import reason
from viewer.app.studio import Studio

_UNSAVED = "not saved; the last checkpoint is kept"


@contextlib.contextmanager
def until_closed(studio: Studio) -> Iterator[None]:
    """Close ``studio`` at the end of the block, tell what it has to say, and write its settings.

    An error of the block, Ctrl-C above all, stays what it is whatever becomes of the saving.

    Raises:
        UserError: the block ended well, but what was trained cannot be saved, or an error ended the training.
        Stopped: someone wanted to stop; its words say what became of the training.
    """
    try:
        yield
    except BaseException as error:
        words = _closed(studio)
        if isinstance(error, Stopped):
            _explain(error, words)
        elif words:
            say(words)
        raise
    _keep_settings(studio)
    failed = studio.session is not None and studio.session.failure is not None
    try:
        words = studio.close()
    except Stopped as stopped:
        _explain(stopped, _UNSAVED)
        raise
    if words and failed:
        raise UserError(words)
    if words:
        say(words)


def _closed(studio: Studio) -> str | None:
    """Close it, and return what to tell the person, also where that fails."""
    _keep_settings(studio)
    try:
        return studio.close()
    except KeyboardInterrupt:  # a second one
        return _UNSAVED
    except Exception as error:
        return f"{_UNSAVED} ({reason(error)})"


def _explain(stopped: Stopped, words: str | None) -> None:
    if words and not str(stopped):
        stopped.args = (f"stopped by {stopped.name}: {words}",)


def _keep_settings(studio: Studio) -> None:
    """What was chosen is chosen the next time, too. That they cannot be written is not told."""
    if studio.settings is not None:
        studio.settings = studio.settings.chosen(studio)
        studio.settings.save()
