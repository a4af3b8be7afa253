"""A model file on its way: one thread fetches it, checks it and takes it apart; whoever has Taichi takes what has come.

The thread never touches Taichi. A connection that breaks is opened again where it broke, for as long as it takes, and
what came stays. Bytes of two versions of a file never meet: sizes and tags of the server are compared, bytes that come
twice are, and the chain of checksums ends at the first that does not fit.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from taichi_rf.errors import UserError
from taichi_rf.feed import LIMIT, Feed
from taichi_rf.growing import Outline, Part
from taichi_rf.source import Beyond, Broken, Identity, Opened, Refused, Source, source_of
from taichi_rf.storage import TrfFile

FIRST_ATTEMPTS = 4
"""Of connecting, as long as nothing has ever come: then it is said rather than tried for ever."""
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds before the next attempt
_BLOCK = 1 << 16  # bytes read at a time at most
_SLICE = 0.05  # seconds of a limited bandwidth that are read at once
_RATE_SECONDS = 3.0  # over which the rate is measured
_PROGRESS = 1 << 10  # bytes that a connection has to bring for the next failure to count as the first
_SLOWEST, _SLOW_SECONDS = 64.0, 30.0  # bytes a second under which, over so long, a connection counts as broken


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
        address: see :func:`taichi_rf.source.source_of`.
        bandwidth: bytes a second that are taken at most.
        levels: stop after so many; None for all.
        patience: seconds without a byte after which it is given up; None for never.
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
        self._rates: deque[tuple[float, int]] = deque()
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
        with self._news:
            size = None if self._known is None else self._known.size
            return Progress(*self._come, size, self._share, self._rate(), self._trouble, self._over)

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
        if self.parts or (not self._model and self._feed.chunks):
            self.warning = words
        else:
            self.error = UserError(words)

    @property
    def _complete(self) -> bool:
        return self._feed.whole or (self._wanted is not None and len(self._feed.chunks) >= self._wanted)

    def _receive(self) -> None:
        failures, patient_until = 0, self._deadline()
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
                if (not self._feed.received and hopeless) or time.monotonic() >= patient_until:
                    raise UserError(f"{self.address}: {error}") from None
                self._pause(error, max(error.wait, _WAITS[min(failures, len(_WAITS)) - 1]))

    def _deadline(self) -> float:
        return float("inf") if self.patience is None else time.monotonic() + self.patience

    def _pause(self, error: Broken, seconds: float) -> None:
        with self._news:
            kept = "what came is kept; " if self._feed.chunks else ""
            self._trouble = f"{self._source.name}: {error}; {kept}trying again"
            self._rates.clear()
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
            if (passed := time.monotonic() - since) > _SLOW_SECONDS:
                if amount < passed * min(_SLOWEST, (self.bandwidth or _SLOWEST) / 2):
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

    def _take(self, data: bytes) -> bool:
        """Take the bytes that come next; whether no more are wanted."""
        feed = self._feed
        for chunk in feed.push(data):
            self._arrived(chunk)
        if self._model and self.outline is None and feed.header is not None:
            self._begin()
        with self._news:
            now = time.monotonic()
            self._trouble = None
            self._come = (len(feed.chunks), feed.total_levels, feed.received)
            began, end = feed.prefix_bytes[-1] if feed.prefix_bytes else 0, feed.expected or math.inf
            self._share = min((feed.received - began) / max(end - began, 1), 1.0)
            self._rates.append((now, feed.received))
            while self._rates[0][0] < now - _RATE_SECONDS:
                self._rates.popleft()
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
            outline = Outline.of(feed.header, feed.total_levels)
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

    def _rate(self) -> float:
        if not self._rates:
            return 0.0
        (then, first), last = self._rates[0], self._rates[-1][1]
        return (last - first) / max(time.monotonic() - then, 0.25)


def fetch(
    address: str,
    levels: int | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    patience: float = 60.0,
) -> Incoming:
    """All of a file, or its first ``levels`` levels, without taking them apart.

    Raises:
        UserError: it is not there, or no model, or stopped coming for ``patience`` seconds.
    """
    incoming = Incoming(address, levels=levels, patience=patience, model=False).start()
    try:
        while not incoming.wait(lambda: False, 0.1):
            if progress is not None:
                progress(incoming.progress)
    finally:
        incoming.close()
    incoming.file()
    return incoming


def bandwidth(text: str) -> float:
    """Bytes a second from "1M" (bits, as links are told) or "125kB" (bytes, with a capital B).

    k, M and G are 1000, 1000^2 and 1000^3; "bit", "bit/s", "B/s" and the like may follow.

    Raises:
        UserError: it says nothing of the kind, or nothing would come.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?([kKMG]?)(B|bit|b)?(?:/s|ps)?", text.strip())
    amount = float(found[1]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[found[2]] if found else 0.0
    if found is not None and found[3] != "B":
        amount /= 8
    if not 16 <= amount <= 1e12:
        raise UserError(f"a bandwidth of '{text}': say it in bits a second, as 1M or 500k, or in bytes, as 125kB")
    return amount
