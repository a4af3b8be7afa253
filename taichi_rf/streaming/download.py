"""Download a model file: one thread fetches, checks and unpacks it; the thread that has Taichi takes the levels over.

The thread never touches Taichi. A connection that breaks is opened again where it broke, for as long as it takes, and
what came stays. Bytes of two versions of a file never meet: sizes and tags of the server are compared, bytes that come
twice are, and the chain of checksums ends at the first that does not fit.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from taichi_rf.core.errors import UserError
from taichi_rf.storage.trf import TrfFile
from taichi_rf.streaming.parser import LIMIT, Feed
from taichi_rf.streaming.progressive_model import Outline, Part
from taichi_rf.streaming.rate import Pace
from taichi_rf.streaming.source import Beyond, Broken, Identity, Opened, Refused, Source
from taichi_rf.streaming.transport import source_of

FIRST_ATTEMPTS = 4
"""Of connecting, as long as nothing has ever come: then it is said rather than tried for ever."""
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds before the next attempt
_BLOCK = 1 << 16  # bytes read at a time at most
_SLICE = 0.05  # seconds of a limited bandwidth that are read at once
_RATE_SECONDS = 3.0  # over which the rate is measured
_PROGRESS = 1 << 10  # bytes that a connection has to bring for the next failure to count as the first
_SLOWEST, _SLOW_SECONDS = 64.0, 30.0  # bytes a second under which, over so long, a connection counts as broken
LEAST = 1000.0
"""Bytes a second that a file has to come with, over ``patience`` seconds, for somebody to go on waiting for it. The
slowest links that people have bring several times as much."""
PATIENCE = 60.0
"""Seconds that a command line waits for a file that does not come."""


@dataclass(frozen=True)
class Progress:
    """How far a file has come."""

    levels: int
    """That are there."""
    total: int
    """That are promised; 0 until the header is there."""
    received: int
    size: int | None
    """Bytes in all; None where the server does not say."""
    share: float
    """Of the level that is coming, 0..1."""
    rate: float
    """Bytes a second, over the last seconds."""
    trouble: str | None
    """Why nothing comes at the moment, and what is done about it."""
    over: bool
    """Nothing more will come."""


class Incoming:
    """One file that comes, from an address or slowly from a disk.

    Args:
        address: see :func:`taichi_rf.streaming.transport.source_of`.
        bandwidth: bytes a second that are taken at most.
        levels: stop after so many; None for all.
        patience: seconds over which fewer than ``LEAST`` bytes a second end it, and nothing new at all, too; None for
            never, because somebody looks on.
        model: whether it is to be shown: whether levels are taken apart, too.

    Raises:
        UserError: the address is none, or of a kind that is not followed.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        *,
        bandwidth: float | None = None,
        levels: int | None = None,
        patience: float | None = None,
        model: bool = True,
        source: Source | None = None,
    ) -> None:
        self.address, self.bandwidth, self.patience = str(address), bandwidth, patience
        self._wanted, self._model = levels, model
        self._source = source or source_of(address)
        self._feed = Feed(self.address, limit=LIMIT)
        self._known: Identity | None = None
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._shown = Pace(_RATE_SECONDS)
        self._pace = Pace(patience or PATIENCE)
        self._least = LEAST if bandwidth is None else min(LEAST, bandwidth / 4)
        self._due = 0.0  # when a limited bandwidth has brought what was read
        self._retaken = -1  # the level that came damaged, and is fetched once more
        self._ended = -1  # where a file of unknown size has ended once
        # What the others look at; set by the thread, under ``_news``.
        self.outline: Outline | None = None
        """As soon as the header is there."""
        self.parts: list[Part] = []
        self.error: UserError | None = None
        """Why there is no model at all."""
        self.warning: str | None = None
        """Why no more came than did."""
        self._come, self._share = (0, 0, 0), 0.0
        self._trouble: str | None = None
        self._over = False

    def start(self) -> Incoming:
        """Fetch in a thread that ends with the program."""
        threading.Thread(target=self._run, name="incoming", daemon=True).start()
        return self

    def close(self) -> None:
        """Fetch no more; what came stays."""
        self._closed.set()
        self._source.close()

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Whether ``ready`` or the end has come, ``seconds`` from now at the latest."""
        with self._news:
            return self._news.wait_for(lambda: ready() or self._over, seconds)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self._over

    @property
    def progress(self) -> Progress:
        """How far the file has come."""
        with self._news:
            size = None if self._known is None else self._known.size
            return Progress(*self._come, size, self._share, self._shown.rate, self._trouble, self._over)

    @property
    def shortfall(self) -> str | None:
        """After the end: why less came than the file has or than was wanted, and how much did; None where all did."""
        if self.warning is None:
            return None
        return f"{self.warning} ({self._amount}); to make do with that, ask for level {self._good}"

    def save(self, path: str | os.PathLike[str], level: int) -> int:
        """Write the first ``level`` levels as a file; return its size in bytes. UserError if that fails."""
        if not 1 <= level <= len(self._feed.chunks):
            raise UserError(f"level {level} of {self.address} is not there: choose 1 to {len(self._feed.chunks)}")
        return self._feed.save(path, level)

    def file(self) -> TrfFile:
        """All that came, after the end. UserError if that is no model."""
        if self.error is not None:
            raise self.error
        file = self._feed.close()
        if self.warning is not None and not file.warnings:
            file.warnings.append(self.warning)
        return file

    # The thread

    def _run(self) -> None:
        try:
            self._receive()
            if not self._complete and not self._closed.is_set():
                file = self._feed.close()
                self.warning = next(iter(file.warnings), None)
        except UserError as error:
            self._fail(str(error))
        except Exception as error:  # a bug: whoever waits is told all the same
            self._fail(f"{self.address}: {type(error).__name__}: {error}")
        finally:
            with self._news:
                self._over, self._trouble = True, None
                self._news.notify_all()

    def _fail(self, words: str) -> None:
        """What came stays; where that is nothing, there is nothing."""
        count, total = self._good, self._feed.total_levels
        if count:
            self.warning = f"{words}; {f'levels 1 to {count}' if count > 1 else 'level 1'} of {total} came"
        else:
            self.error = UserError(words if not self._feed.received else f"{words} ({self._amount})")

    @property
    def _good(self) -> int:
        """How many levels have come that can be used."""
        return len(self.parts) if self._model else len(self._feed.chunks)

    @property
    def _amount(self) -> str:
        """How many bytes have come, of how many."""
        size = None if self._known is None else self._known.size
        return f"{self._feed.received:,} {'' if size is None else f'of {size:,} '}bytes came"

    @property
    def _complete(self) -> bool:
        return self._feed.whole or (self._wanted is not None and len(self._feed.chunks) >= self._wanted)

    def _receive(self) -> None:
        failures, patient_until = 0, self._deadline()
        self._pace.begin()
        while not self._closed.is_set():
            before = self._feed.received
            try:
                with closing(self._source.open(before, self._known)) as opened:
                    self._recognise(opened)
                    self._read(opened, before)
                return
            except Beyond as error:
                if self._known is None or self._known.size is None:  # and that was the end
                    return
                raise self._changed() from error
            except Broken as error:
                if self._closed.is_set():
                    return
                if self._feed.received >= before + _PROGRESS:
                    failures, patient_until = 0, self._deadline()
                failures += 1
                hopeless = isinstance(error, Refused) or failures >= FIRST_ATTEMPTS
                if not self._feed.received and hopeless:
                    raise UserError(f"{self.address}: {error}") from None
                if time.monotonic() >= patient_until or self._too_slow:
                    raise UserError(
                        f"{self.address}: {error}, and hardly anything came for {self.patience:g} s (less than "
                        f"{self._least:.0f} bytes a second)"
                    ) from None
                self._pause(error, max(error.wait, _WAITS[min(failures, len(_WAITS)) - 1]))

    def _deadline(self) -> float:
        return float("inf") if self.patience is None else time.monotonic() + self.patience

    @property
    def _too_slow(self) -> bool:
        """Whether it comes so slowly that nobody is to wait for it."""
        return self.patience is not None and self._pace.slower_than(self._least)

    def _pause(self, error: Broken, seconds: float) -> None:
        with self._news:
            kept = "what came is kept; " if self._feed.chunks else ""
            self._trouble = f"{self._source.name}: {error}; {kept}trying again"
            self._shown.begin()
            self._news.notify_all()
        self._closed.wait(seconds)

    def _recognise(self, opened: Opened) -> None:
        """Look whether it is the file that it was before."""
        found = opened.identity
        if self._known is not None and self._known.differs(found):
            raise self._changed()
        if self._known is None or not self._feed.received:
            self._known = found
        self._feed.size = self._known.size
        if found.size is not None and found.size > LIMIT:
            raise UserError(f"{self.address} is {found.size >> 20} MiB long: {LIMIT >> 20} MiB are taken at most")

    def _changed(self) -> UserError:
        return UserError(
            f"{self.address} was changed meanwhile: what came before is kept, open it again for the new one"
        )

    def _read(self, opened: Opened, before: int) -> None:
        """Read to the end, or as far as is wanted. Broken before that."""
        at, feed = opened.begin, self._feed
        since, amount = time.monotonic(), 0
        count = _BLOCK
        if self.bandwidth is not None:
            count = int(min(max(self.bandwidth * _SLICE, 256), _BLOCK))
            self._due = max(self._due, time.monotonic())
        while not self._closed.is_set():
            data = opened.read(count)
            if not data:
                self._end()
                return
            self._slow_down(len(data))
            amount += len(data)
            self._pace.add(len(data))
            if (passed := time.monotonic() - since) > _SLOW_SECONDS:
                if amount < passed * min(_SLOWEST, self._least):
                    raise Broken("hardly anything comes")
                since, amount = time.monotonic(), 0
            if at < before:  # the server begins from the front again: it has to be the same
                known = data[: before - at]
                if not feed.matches(at, known):
                    raise self._changed()
                at += len(known)
                data = data[len(known) :]
            if data and self._take(data):
                return
            if self._too_slow:
                raise UserError(
                    f"{self.address}: hardly anything comes: {self._pace.rate:.0f} bytes a second over the last "
                    f"{self.patience:g} s, where {self._least:.0f} are the least that is waited for"
                )

    def _take(self, data: bytes) -> bool:
        """Take the bytes that come next; whether no more are wanted."""
        feed = self._feed
        for chunk in feed.push(data):
            self._arrived(chunk)
        if self._model and self.outline is None and feed.header is not None:
            self._begin()
        with self._news:
            slow = self._pace.slower_than(self._least)
            self._trouble = f"{self._source.name}: hardly anything comes; still waiting" if slow else None
            self._come = (len(feed.chunks), feed.total_levels, feed.received)
            began, end = feed.prefix_bytes[-1] if feed.prefix_bytes else 0, feed.expected or math.inf
            self._share = min((feed.received - began) / max(end - began, 1), 1.0)
            self._shown.add(len(data))
            self._news.notify_all()
        if self._complete:
            return True
        if feed.received > feed.limit:
            raise UserError(f"{self.address}: more comes than its header promises")
        if feed.damage is None:
            return False
        if self._retaken == len(feed.chunks):
            return True
        self._retaken = len(feed.chunks)
        reason = feed.damage
        feed.rewind()
        raise Broken(f"level {len(feed.chunks) + 1} came damaged ({reason})")

    def _begin(self) -> None:
        feed = self._feed
        assert feed.header is not None
        try:
            outline = Outline.of(feed.header, feed.total_levels, feed.size)
        except UserError as error:
            raise UserError(f"{self.address}: {error}") from None
        feed.limit = min(feed.limit, 2 * outline.promised + (1 << 20))  # deflating what cannot be costs little
        with self._news:
            self.outline = outline
            self._news.notify_all()

    def _arrived(self, chunk: bytes) -> None:
        if not self._model:
            return
        if self.outline is None:
            self._begin()
        assert self.outline is not None
        level, before = len(self.parts) + 1, self.parts[-1] if self.parts else None
        try:
            part = self.outline.unpack(level, chunk, before, self._feed.prefix_bytes[level - 1])
        except UserError as error:
            raise UserError(f"{self.address}: {error}") from None
        with self._news:
            self.parts.append(part)
            self._news.notify_all()

    def _end(self) -> None:
        """The server has no more: whether that is the file's end. Broken where it is not."""
        feed, size = self._feed, None if self._known is None else self._known.size
        if size is None:
            if self._ended == feed.received:
                return
            self._ended = feed.received
            raise Broken("the connection ended early")
        if feed.received < size:
            raise Broken("the connection ended early")

    def _slow_down(self, count: int) -> None:
        """Wait until a limited bandwidth would have brought ``count`` bytes more."""
        if self.bandwidth is not None:
            self._due += count / self.bandwidth
            self._closed.wait(max(self._due - time.monotonic(), 0.0))


def fetch(
    address: str,
    levels: int | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    patience: float = PATIENCE,
) -> Incoming:
    """All of a file, or its first ``levels`` levels, without taking them apart.

    Raises:
        UserError: it is not there, or no model, or damaged; or it ended, or came no faster than ``LEAST`` bytes a
            second over ``patience`` seconds, before all that is wanted was there.
    """
    incoming = Incoming(address, levels=levels, patience=patience, model=False).start()
    try:
        while not incoming.wait(lambda: False, 0.1):
            if progress is not None:
                progress(incoming.progress)
    finally:
        incoming.close()
    incoming.file()
    if incoming.shortfall is not None:
        raise UserError(incoming.shortfall)
    return incoming
