"""What a model's file can be read from, and what may go wrong with that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Broken(Exception):
    """The bytes do not come for the moment; the message says why. ``wait`` is how long the server asks for, in
    seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class Refused(Broken):
    """The server has answered, and gives nothing: at first that is final, later it may be mended."""


class Beyond(Broken):
    """The file is no longer than what has come."""


@dataclass(frozen=True)
class Identity:
    """What tells one version of a file from another, as far as a server says it."""

    size: int | None
    tag: str | None

    def differs(self, other: Identity) -> bool:
        """Whether ``other`` is surely of another version."""
        return any(
            a is not None and b is not None and a != b for a, b in ((self.size, other.size), (self.tag, other.tag))
        )


class Opened(Protocol):
    """A file that is being read."""

    identity: Identity
    begin: int
    """Where in the file the first byte is: where it was asked for, or 0 where a server knows no ranges."""

    def read(self, count: int) -> bytes:
        """At least one byte and up to ``count``, as soon as there are any; none at the end. Broken when it breaks."""

    def close(self) -> None:
        """End the connection, or close the file."""


class Source(Protocol):
    """A file that can be opened."""

    name: str
    """Who it is asked of, for people."""

    def open(self, offset: int, known: Identity | None) -> Opened:
        """Its bytes from ``offset`` on, of the version ``known``, else of any: the caller has to look.

        Raises:
            Broken: not now.
            UserError: not at all.
        """

    def close(self) -> None:
        """From any thread, for good: let what is being waited for break."""
