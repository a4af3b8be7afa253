"""Opens a model's file on a server, in a bucket, or on a disk that is to be read slowly.

A source can be opened anywhere in the file, again and again. http and https need nothing but Python; buckets and the
like go through fsspec, an optional extra. Only schemes that are meant are followed, and nothing leads to local files.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from taichi_rf.core.errors import UserError
from taichi_rf.core.files import open_regular
from taichi_rf.streaming.bucket import BUCKETS, Bucket
from taichi_rf.streaming.source import Beyond, Broken, Identity, Opened, Refused, Source

WEB = ("http", "https")
TIMEOUT = 10.0  # seconds without a byte after which a connection counts as broken
_ANSWER = 2.0  # times that, for everything a server says before the first byte of the file
_TEMPORARY = (408, 425, 429)  # and all from 500 on: what a server may answer otherwise in a moment


def is_address(text: str | os.PathLike[str]) -> bool:
    """Whether ``text`` is meant as an address, not as the name of a file."""
    return "://" in str(text)


def source_of(text: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> Source:
    """The source at an address, or of a local file.

    Raises:
        UserError: an address that is none, or of a kind that is not followed.
    """
    if not is_address(text):
        return File(text)
    address = str(text)
    scheme = address.partition("://")[0].lower()
    if scheme in WEB:
        return Web(address, timeout)
    if scheme in BUCKETS and "::" not in address:  # that would be an address within an address
        return Bucket(address, scheme)
    known = ", ".join((*WEB, *BUCKETS))
    raise UserError(f"{address}: addresses of this kind are not followed: use one of {known}, or name a file")


class File:
    """A local file, for the demonstration of slow connections."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.name = path, str(path)

    def open(self, offset: int, known: Identity | None) -> Opened:
        """Open the file at byte ``offset``."""
        return _OpenedFile(self.path, offset)

    def close(self) -> None:
        """Nothing is kept open."""


class _OpenedFile:
    def __init__(self, path: str | os.PathLike[str], offset: int) -> None:
        self._stack = contextlib.ExitStack()
        self._file, size = self._stack.enter_context(open_regular(path))
        self._file.seek(offset)
        self.identity, self.begin = Identity(size, str(os.fstat(self._file.fileno()).st_mtime_ns)), offset

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def close(self) -> None:
        self._stack.close()


# http and https


class Web:
    """A file on a web server. Redirects are followed, but not from https to http, and to nothing else."""

    def __init__(self, address: str, timeout: float) -> None:
        self.address, self.timeout = _checked(address), timeout
        self.name = urlsplit(self.address).hostname or self.address
        self._socket: socket.socket | None = None  # of the connection in use
        self._aborted = self._closed = False
        self._proxy = _proxy_of(self.address)
        self._ranges = True  # until the server has shown that it cannot
        director = self._director = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(), urllib.request.UnknownHandler(), urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(), _Redirects(), _handler(self, "http"), _handler(self, "https"),
        ):  # fmt: skip
            director.add_handler(handler)
        director.addheaders = []

    def connected(self, connection: http.client.HTTPConnection) -> None:
        """For the handlers: what is being used, so that it can be aborted."""
        self._socket = connection.sock
        if self._aborted or self._closed:
            self.abort()

    def close(self) -> None:
        """End what is being read, and open nothing more."""
        self._closed = True
        self.abort()

    def open(self, offset: int, known: Identity | None) -> Opened:
        """Ask the server for the file from byte ``offset`` on, or all of it where it gives no parts."""
        self._aborted = self._closed
        request = urllib.request.Request(
            self.address, headers={"Accept-Encoding": "identity", "User-Agent": "taichi-rf"}
        )
        if offset and self._ranges:
            request.add_header("Range", f"bytes={offset}-")
            if known is not None and known.tag and known.tag.startswith('"'):
                request.add_header("If-Range", known.tag)
        deadline = threading.Timer(_ANSWER * self.timeout, self.abort)
        deadline.daemon = True
        deadline.start()
        try:
            with _breaking(self):
                response = self._director.open(request, timeout=self.timeout)
        finally:
            deadline.cancel()
        try:
            if self._aborted:  # an answer that was cut short may still look like one
                raise Broken(self.trouble())
            return self._opened(response, offset)
        except BaseException:
            response.close()
            raise

    def abort(self) -> None:
        """Let the connection break that is in use."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def trouble(self) -> str:
        """For a connection that ended otherwise than by itself."""
        return "no answer came in time" if self._aborted else "the connection broke"

    def unreached(self, reason: str) -> str:
        """For a connection that could not be made, and ``reason``, why."""
        return reason if self._proxy is None else f"{reason}, says the proxy that is set, {self._proxy}"

    def _opened(self, response: Any, offset: int) -> Opened:
        headers = response.headers
        if headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise UserError(f"{self.address}: the server sends it compressed, which cannot be resumed: turn that off")
        begin, size = 0, _number(headers.get("Content-Length"))
        part = headers.get("Content-Range", "").strip()
        if response.status == 206 or (response.status == 200 and offset and part):  # some answer 200 with a part
            found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", part, re.IGNORECASE)
            if found is None or int(found[1]) != offset:
                self._ranges = False
                raise Broken("the server sent another part than it was asked for")
            begin, size = offset, _number(found[2])
        elif response.status != 200:
            raise Refused(f"the server answered {response.status} {response.reason}".rstrip())
        tag = headers.get("ETag") or headers.get("Last-Modified")
        if tag is not None and tag.startswith("W/"):  # some servers make a new one for every answer: checksums decide
            tag = None
        return _OpenedResponse(self, response, Identity(size, tag), begin)


class _OpenedResponse:
    def __init__(self, web: Web, response: Any, identity: Identity, begin: int) -> None:
        self._web, self._response, self.identity, self.begin = web, response, identity, begin

    def read(self, count: int) -> bytes:
        with _breaking(self._web):
            data: bytes = self._response.read1(count)
            return data

    def close(self) -> None:
        self._web.abort()  # first: the rest of a long answer is not waited for
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._response.close()


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            target = _checked(newurl)
        except UserError as error:
            raise UserError(f"{req.full_url} leads elsewhere: {error}") from None
        if req.type == "https" and urlsplit(target).scheme != "https":
            raise UserError(f"{req.full_url} leads to an address that is not encrypted, {newurl}: this is not followed")
        request = super().redirect_request(req, fp, code, msg, headers, target)
        if request is not None and req.has_header("Range"):
            for name in ("Range", "If-range"):
                if req.has_header(name):
                    request.add_header(name, req.get_header(name))
        return request


def _handler(web: Web, scheme: str) -> Any:
    """What opens connections of ``scheme``, and tells ``web`` which one is in use."""
    base: Any = urllib.request.HTTPHandler if scheme == "http" else urllib.request.HTTPSHandler
    kind: Any = http.client.HTTPConnection if scheme == "http" else http.client.HTTPSConnection

    def connection(*arguments: Any, **options: Any) -> Any:
        made = kind(*arguments, **options)
        connect = made.connect

        def connecting() -> None:
            connect()
            web.connected(made)

        made.connect = connecting
        return made

    class Handler(base):  # type: ignore[misc]
        def do_open(self, http_class: Any, request: Any, **options: Any) -> Any:
            return super().do_open(connection, request, **options)

    return Handler()


@contextlib.contextmanager
def _breaking(web: Web) -> Iterator[None]:
    """Turn everything that a network can do into Broken."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        words = f"the server answered {error.code} {error.reason or ''}".rstrip()
        if "infinite loop" in str(error.reason):  # says urllib
            words = "the server leads from one address to the next without end"
        if error.code >= 500 or error.code in _TEMPORARY:
            raise Broken(words, min(_number(error.headers.get("Retry-After")) or 0, 60)) from None
        raise (Beyond if error.code == 416 else Refused)(words) from None
    except TimeoutError:
        raise Broken(f"no bytes came for {web.timeout:g} s") from None
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, TimeoutError):
            raise Broken(f"no answer came for {web.timeout:g} s") from None
        words = getattr(reason, "strerror", None) or str(reason) or web.trouble()
        raise Broken(web.unreached(words)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a socket that was shut meanwhile
        raise Broken(getattr(error, "strerror", None) or web.trouble()) from None


def _checked(address: str) -> str:
    """The address as it is sent. UserError where it is none."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
        if parts.scheme.lower() not in WEB or not host or re.search(r"[\s\x00-\x1f\x7f]", address):
            raise ValueError
        name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except ValueError:
        raise UserError(f"{address} is not an address: it looks like https://host/model.trf") from None
    if parts.username is not None or parts.password is not None:
        raise UserError(f"the address of {host} holds a user's name or password: that is not supported")
    place = name if port is None else f"{name}:{port}"
    path, query = (quote(text, safe="%/:;=&?@!$'()*+,~-._[]") for text in (parts.path or "/", parts.query))
    return urlunsplit((parts.scheme.lower(), place, path, query, ""))


def _proxy_of(address: str) -> str | None:
    """Host and port of the proxy that is asked for ``address``, and who says so; None without one."""
    parts = urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None or urllib.request.proxy_bypass(parts.netloc):
        return None
    return f"{proxy.rpartition('@')[2].removeprefix('http://').rstrip('/')} ({parts.scheme}_proxy)"


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text.strip()) else None
