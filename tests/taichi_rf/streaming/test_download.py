"""Fetching: a file from a server that serves it well, badly, slowly, twice, differently, or not at all."""

from __future__ import annotations

import importlib
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import save_model
from taichi_rf.storage.trf import read_trf, write_trf
from taichi_rf.streaming import download as incoming
from taichi_rf.streaming import transport as source
from taichi_rf.streaming.download import Incoming, fetch
from tests.tiny import ROWS
from tests.trickle import Trickle, served

LEVELS = 4
SOON = 20.0  # seconds, on a busy machine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend.init("cpu")
    field = VMField(ranks=LEVELS, resolution=(9, 8, 7), rows=ROWS, seed=3)
    box = np.array([[-1.0] * 3, [1.0] * 3], np.float32)
    path = tmp_path_factory.mktemp("model") / "model.trf"
    save_model(RadianceModel(field, make_decoder("sh", rows=ROWS, seed=4), box=box, near=2.0, far=6.0), path)
    return path


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_WAITS", (0.01,))


Serve = Callable[..., Trickle]


@pytest.fixture
def serve(model: Path) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(served(Trickle(**{"data": model.read_bytes(), **how})))


def ended(some: Incoming) -> Incoming:
    assert some.wait(lambda: False, SOON), some.progress
    some.close()
    return some


def came(some: Incoming, model: Path) -> None:
    """All of it, as it was sent."""
    wanted = read_trf(model)
    file = some.file()
    assert (file.header, file.chunks, file.warnings) == (wanted.header, wanted.chunks, [])
    assert [part.level for part in some.parts] == list(range(1, LEVELS + 1))
    assert [part.size for part in some.parts] == wanted.prefix_bytes


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_comes_whole_and_every_level_of_it(serve: Serve, model: Path, ranges: bool, length: bool) -> None:
    server = serve(ranges=ranges, length=length)
    came(ended(Incoming(server.url).start()), model)
    assert len(server.asked) == 1


@pytest.mark.parametrize("tag", ['"strong"', 'W/"weak"', None])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_resumed_where_it_broke(
    serve: Serve, model: Path, ranges: bool, tag: str | None
) -> None:
    sizes = read_trf(model).prefix_bytes
    cuts = [10, 40, sizes[0] - 3, sizes[0], sizes[1] + 9, sizes[3] - 1]
    server = serve(cut=list(cuts), ranges=ranges, tag=tag)
    came(ended(Incoming(server.url).start()), model)
    assert [asked.get("range") for asked in server.asked[1:]] == [f"bytes={cut}-" for cut in cuts]
    assert all(asked.get("if-range") == ('"strong"' if tag == '"strong"' else None) for asked in server.asked[1:])


def test_a_file_of_unknown_length_is_resumed_and_its_end_is_found(serve: Serve, model: Path) -> None:
    sizes = read_trf(model).prefix_bytes
    came(ended(Incoming(serve(cut=[sizes[1] + 9], length=False).url).start()), model)
    for ranges in (True, False):
        slim = serve(data=model.read_bytes()[: sizes[1]], length=False, ranges=ranges)
        some = ended(Incoming(slim.url).start())
        assert len(some.parts) == 2
        assert some.warning is None


def test_a_slimmed_file_ends_without_a_word_and_one_that_is_cut_off_with_one(serve: Serve, model: Path) -> None:
    data, sizes = model.read_bytes(), read_trf(model).prefix_bytes
    some = ended(Incoming(serve(data=data[: sizes[1]]).url).start())
    assert (len(some.parts), some.warning, some.error) == (2, None, None)
    some = ended(Incoming(serve(data=data[: sizes[1] + 50]).url).start())
    assert len(some.parts) == 2
    assert some.warning is not None
    assert "level 3 is damaged" in some.warning


@pytest.mark.parametrize("tag", ['"first"', None])
@pytest.mark.parametrize("ranges", [True, False])
def test_two_versions_of_a_file_are_never_mixed(serve: Serve, model: Path, ranges: bool, tag: str | None) -> None:
    """Of the same length: without a tag, bytes that come twice or the checksums tell them apart."""
    data, sizes = model.read_bytes(), read_trf(model).prefix_bytes
    trf = read_trf(model)
    changed = [bytes(b ^ (i > 0 and at == len(c) - 1) for at, b in enumerate(c)) for i, c in enumerate(trf.chunks)]
    write_trf(model.with_name("other.trf"), {**trf.header, "near": 2.5}, changed)
    other = model.with_name("other.trf").read_bytes()
    assert len(other) == len(data)
    server = serve(cut=[sizes[1] + 200], ranges=ranges, tag=tag)
    some = Incoming(server.url)
    some._pause = lambda error, seconds: _replace(server, other, '"second"' if tag else None)  # type: ignore[method-assign]
    ended(some.start())
    assert [part.level for part in some.parts] == [1, 2]
    assert some.file().chunks == trf.chunks[:2]
    assert some.warning is not None
    assert ("was changed" in some.warning) or ("level 3 is damaged" in some.warning)


def _replace(server: Trickle, data: bytes, tag: str | None) -> None:
    server.data, server.tag = data, tag


def test_a_file_that_has_become_shorter_is_another(serve: Serve, model: Path) -> None:
    data, sizes = model.read_bytes(), read_trf(model).prefix_bytes
    server = serve(cut=[sizes[2] + 1], tag=None)
    some = Incoming(server.url)
    some._pause = lambda error, seconds: _replace(server, data[: sizes[1]], None)  # type: ignore[method-assign]
    ended(some.start())
    assert len(some.parts) == 3
    assert "was changed" in str(some.warning)


def test_a_level_that_came_damaged_is_fetched_again_and_twice_is_the_end(serve: Serve, model: Path) -> None:
    data, sizes = model.read_bytes(), read_trf(model).prefix_bytes
    spoilt = bytearray(data)
    spoilt[sizes[1] + 100] ^= 1
    server = serve(data=bytes(spoilt))
    some = Incoming(server.url)
    some._pause = lambda error, seconds: _replace(server, data, server.tag)  # type: ignore[method-assign]
    came(ended(some.start()), model)
    assert server.asked[1]["range"] == f"bytes={sizes[1]}-"
    some = ended(Incoming(serve(data=bytes(spoilt)).url).start())
    assert len(some.parts) == 2
    assert "level 3 is damaged (checksum)" in str(some.warning)


def test_a_server_that_sends_another_part_than_asked_is_asked_for_all(serve: Serve, model: Path) -> None:
    server = serve(cut=[2000], shift=1)
    came(ended(Incoming(server.url).start()), model)
    assert ["range" in asked for asked in server.asked] == [False, True, False]


@pytest.mark.parametrize("how", [{"part_status": 200}, {"tags_change": True}, {"headers": {"content-range": "Bytes "}}])
def test_a_server_that_says_200_for_a_part_or_makes_tags_anew_is_understood(serve: Serve, model: Path, how) -> None:
    if "headers" in how:
        size = model.stat().st_size
        how = {"headers": {"Content-Range": f"Bytes 2000-{size - 1}/{size}"}, "ranges": True}
    server = serve(cut=[2000], **how)
    came(ended(Incoming(server.url).start()), model)
    assert [asked.get("range") for asked in server.asked] == [None, "bytes=2000-"]


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://somebody:secret@127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "")
    some = ended(Incoming("http://model.invalid/model.trf").start())
    assert "proxy that is set, 127.0.0.1:9 (http_proxy)" in str(some.error)
    assert "secret" not in str(some.error)


def test_answers_that_may_get_better_are_waited_for_and_others_are_said(serve: Serve, model: Path) -> None:
    came(ended(Incoming(serve(status=[503, 429, 500]).url).start()), model)
    came(ended(Incoming(serve(cut=[500], status=[]).url).start()), model)
    server = serve(cut=[2000])
    some = Incoming(server.url)
    some._pause = lambda error, seconds: server.status.append(404) if len(server.asked) < 3 else None  # type: ignore[method-assign]
    came(ended(some.start()), model)  # later on, that may be mended too
    for status in (404, 403, 410):
        some = ended(Incoming(serve(status=[status]).url).start())
        assert f"the server answered {status}" in str(some.error)
        assert some.parts == []
    some = ended(Incoming(serve(status=[503] * 9).url).start())
    assert "the server answered 503" in str(some.error)


def test_while_nothing_comes_it_says_why_and_what_came_stays(serve: Serve, model: Path) -> None:
    sizes = read_trf(model).prefix_bytes
    server = serve(cut=[sizes[1] + 9])
    some = Incoming(server.url)
    waiting, go = threading.Event(), threading.Event()
    pause = some._pause

    def held(error: source.Broken, seconds: float) -> None:
        pause(error, 0.0)
        waiting.set()
        go.wait(SOON)

    some._pause = held  # type: ignore[method-assign]
    some.start()
    assert waiting.wait(SOON)
    progress = some.progress
    assert progress.trouble == "127.0.0.1: the connection ended early; what came is kept; trying again"
    assert (progress.levels, progress.total, progress.over) == (2, LEVELS, False)
    assert len(some.parts) == 2
    go.set()
    came(ended(some), model)
    assert some.progress.trouble is None


def test_a_server_that_hangs_or_hardly_sends_anything_is_given_up(
    serve: Serve, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(server: Trickle) -> Incoming:
        return Incoming(server.url, source=source.Web(server.url, 0.3), patience=0.5)

    assert "no bytes came for 0.3 s" in str(ended(hasty(serve(hang=60.0)).start()).error)
    monkeypatch.setattr(incoming, "_SLOW_SECONDS", 0.5)
    assert "hardly anything" in str(ended(hasty(serve(rate=20.0)).start()).error)


def test_a_server_that_sends_its_answer_letter_by_letter_is_given_up(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not over.wait(0.05):
                    try:
                        connection.sendall(b"X")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        web = source.Web(f"http://127.0.0.1:{listening.getsockname()[1]}/model.trf", 0.3)
        with pytest.raises(source.Broken, match="no answer came in time"):
            web.open(0, None)
        over.set()
        thread.join()


def test_redirects_are_followed_but_not_to_files_or_from_safe_to_unsafe(serve: Serve, model: Path) -> None:
    server = serve(cut=[2000])
    server.location = server.url
    came(ended(Incoming(server.url.replace("model.trf", "moved")).start()), model)
    for target in (f"file://{model}", "ftp://127.0.0.1/x", "data:,x", f"s3://{model}"):
        server.location = target
        some = ended(Incoming(server.url.replace("model.trf", "moved")).start())
        assert "leads elsewhere" in str(some.error) or "is not allowed" in str(some.error)
        assert some.parts == []
    server.location = server.url.replace("model.trf", "moved")
    assert "leads from one address to the next without end" in str(ended(Incoming(server.location).start()).error)
    safe = source._Redirects()
    request = urllib.request.Request("https://host/x")
    with pytest.raises(UserError, match="not encrypted"):
        safe.redirect_request(request, None, 302, "Found", {}, "http://host/y")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("file:///etc/passwd", "not followed"), ("ftp://host/x", "not followed"), ("local://x", "not followed"),
        ("simplecache::http://host/x", "not followed"), ("s3://a::file:///etc/passwd", "not followed"),
        ("zip://x::s3://y", "not followed"), ("://", "not followed"), ("http://", "not an address"),
        ("http://a b/", "not an address"), ("http://host:99999/x", "not an address"),
        ("http://[::1/", "not an address"), ("http://host/\r\nX: y", "not an address"),
        ("https://user:secret@host/x", "name or password"),
    ],
)  # fmt: skip
def test_addresses_that_are_not_meant_are_refused_and_secrets_are_not_repeated(address: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        Incoming(address)
    assert "secret" not in str(error.value)


def test_what_is_compressed_on_the_way_or_no_model_or_too_long_is_refused(serve: Serve, model: Path) -> None:
    some = ended(Incoming(serve(headers={"Content-Encoding": "gzip"}).url).start())
    assert "compressed" in str(some.error)
    for data, words in (
        (b"<html>" * 100, "is not a .trf model: it is a web page"),
        (b"\r\n<!doctype html><html>", "is not a .trf model: it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "a pointer of Git LFS"),
        (b"PK\x03\x04" * 9, "a zip archive"),
    ):
        some = ended(Incoming(serve(data=data).url).start())
        assert words in str(some.error)
    some = ended(Incoming(serve(data=b"").url).start())
    assert "is not a .trf model" in str(some.error)
    some = ended(Incoming(serve(headers={"Content-Length": str(1 << 40)}, length=False).url).start())
    assert "1024 MiB are taken at most" in str(some.error)
    more = serve(data=model.read_bytes() + b"junk" * 1000)
    some = ended(Incoming(more.url).start())
    assert some.file().chunks == read_trf(model).chunks
    assert (some.file().warnings, some.warning) == ([f"{more.url}: 4000 bytes after the last level were ignored"], None)


def test_headers_that_promise_the_earth_or_nothing_are_refused_before_a_level_comes(
    serve: Serve, model: Path, tmp_path: Path
) -> None:
    header = read_trf(model).header
    large = {**header["field"], "resolution": [1024] * 3, "num_levels": 64}
    for change, levels, words in (
        ({"field": large}, 64, "GiB of memory: more than is taken on trust"),
        ({"field": {**header["field"], "num_levels": 2}}, 4, "field.num_levels"),
        ({"decoder": "other"}, 4, "decoder"),
    ):
        write_trf(tmp_path / "lies.trf", {**header, **change}, [b"junk"] * levels)
        some = ended(Incoming(serve(data=(tmp_path / "lies.trf").read_bytes()).url).start())
        assert words in str(some.error)
        assert some.outline is None


def test_levels_that_are_not_what_the_header_says_end_it_and_what_came_stays(
    serve: Serve, model: Path, tmp_path: Path
) -> None:
    trf = read_trf(model)
    write_trf(tmp_path / "odd.trf", trf.header, [*trf.chunks[:2], b"junk", trf.chunks[3]])
    some = ended(Incoming(serve(data=(tmp_path / "odd.trf").read_bytes()).url).start())
    assert len(some.parts) == 2
    assert "rank 3" in str(some.warning)


def test_only_as_many_levels_are_fetched_as_are_wanted(serve: Serve, model: Path) -> None:
    trf = read_trf(model)
    server = serve(cut=[trf.prefix_bytes[1]])  # what comes after these levels never comes
    some = ended(Incoming(server.url, levels=2).start())
    assert [part.level for part in some.parts] == [1, 2]
    assert len(server.asked) == 1


def test_a_limited_bandwidth_is_kept_and_closing_does_not_wait_for_it(model: Path) -> None:
    size = model.stat().st_size
    began = time.monotonic()
    came(ended(Incoming(model, bandwidth=size / 0.5).start()), model)
    assert time.monotonic() - began > 0.45
    some = Incoming(model, bandwidth=100.0).start()
    some.close()
    assert some.wait(lambda: False, SOON)


def test_closing_ends_a_wait_for_a_server_at_once(serve: Serve) -> None:
    for how in ({"hang": 60.0}, {"rate": 20.0}):
        server = serve(**how)
        some = Incoming(server.url, source=source.Web(server.url, timeout=600.0)).start()
        while not server.asked:
            time.sleep(0.01)
        time.sleep(0.1)  # before the answer, or within it
        some.close()
        assert some.wait(lambda: False, SOON)


def test_fetching_gives_the_file_as_it_is_and_its_first_levels(serve: Serve, model: Path, tmp_path: Path) -> None:
    server = serve()
    assert fetch(server.url).file() == read_trf(model)
    some = fetch(server.url, 2)
    some.save(tmp_path / "two.trf", 2)
    assert (tmp_path / "two.trf").read_bytes() == model.read_bytes()[: read_trf(model).prefix_bytes[1]]
    with pytest.raises(UserError, match="choose 1 to"):
        some.save(tmp_path / "five.trf", LEVELS + 1)
    with pytest.raises(UserError, match="answered 404"):
        fetch(server.url + "x")
    with pytest.raises(UserError, match="no such file"):
        fetch(str(model) + "x")


def test_buckets_go_through_fsspec(serve: Serve, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = importlib.import_module("fsspec")
    monkeypatch.setitem(source.BUCKETS, "memory", "fsspec")
    fsspec.filesystem("memory").pipe("/bucket/model.trf", model.read_bytes())
    came(ended(Incoming("memory://bucket/model.trf").start()), model)
    assert "FileNotFoundError" in str(ended(Incoming("memory://bucket/none.trf").start()).error)
    sizes = read_trf(model).prefix_bytes
    opened = source.source_of("memory://bucket/model.trf").open(sizes[1], None)
    assert opened.read(4) == b"LEVL"
