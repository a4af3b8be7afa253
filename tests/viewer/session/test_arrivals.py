"""A session over a model that is on its way: what it shows, how it follows, and what is left when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.motion.orbit import Orbit
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.model import Model
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.storage.quality import Decibels
from taichi_rf.storage.trf import read_trf, write_trf
from taichi_rf.streaming import progressive_model as growing
from taichi_rf.streaming.download import Incoming
from taichi_rf.streaming.progressive_model import reserve
from tests.tiny import ROWS
from tests.trickle import Trickle, served
from tests.viewer_fakes import BOX, RAYS_PER_SECOND, Clock, FakeModel, FakeRender
from viewer.app.studio import Studio
from viewer.desktop.pages import column
from viewer.desktop.panels import Panels
from viewer.session.progressive import Progressive, View
from viewer.session.session import Session
from viewer.session.stats import stats_of

LEVELS = 4
SOON = 60.0  # seconds, on a busy machine
Serve = Callable[..., Trickle]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend.init("cpu")
    field = VMField(ranks=LEVELS, resolution=(9, 8, 7), density_shift=-1.0, rows=ROWS, seed=3)
    field.value.from_numpy(5 * field.value.to_numpy())
    box = np.array([[-1.0] * 3, [1.0] * 3], np.float32)
    path = tmp_path_factory.mktemp("model") / "model.trf"
    model = RadianceModel(field, make_decoder("sh", rows=ROWS, seed=4), box=box, near=2.0, far=6.0, distance_scale=1.0)
    model.metadata = {"level_psnr": [20.0, 25.0, 28.0, 30.0], "source": "lantern"}
    save_model(model, path)
    return path


@pytest.fixture
def sizes(path: Path) -> list[int]:
    return read_trf(path).prefix_bytes


@pytest.fixture
def serve(path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(served(Trickle(**{"data": path.read_bytes(), **how})))


def watching(server: Trickle) -> Session:
    incoming = Incoming(server.url).start()
    assert incoming.wait(lambda: incoming.outline is not None, SOON)
    assert incoming.outline is not None
    return Session(reserve(incoming.outline), incoming=incoming)


def until(session: Session, ready: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not ready():
        assert time.monotonic() < end, stats_of(session).arriving
        session.frame(32, 24, 0.05)
        session.work(0.0)
        time.sleep(0.005)


def came(session: Session) -> int:
    assert session.arrivals is not None
    return session.arrivals.level


def shows(session: Session, level: int) -> None:
    until(session, lambda: came(session) >= level and session.composer.complete)
    session.frame(32, 24, 5.0)
    assert session.composer.sides[0].shown is not None
    assert session.composer.sides[0].shown.level == level


def test_the_picture_follows_what_has_come_and_is_that_of_the_file(serve: Serve, sizes: list[int], path: Path) -> None:
    server = serve(upto=sizes[0] - 1)
    session = watching(server)
    words = session.frame(320, 240, 0.05).copy()
    session.work(0.0)
    assert np.ptp(words) > 100  # something is there to read
    assert (session.level, session.num_levels, came(session), session.levels.decibels(1)) == (
        1,
        LEVELS,
        0,
        Decibels(20.0),
    )
    for level, size in enumerate(sizes, 1):
        server.upto = size
        shows(session, level)
        whole = Session(load_model(path, level))
        np.testing.assert_array_equal(session.snapshot(32, 24), whole.snapshot(32, 24))
        np.testing.assert_array_equal(session.composer.picture, session.snapshot(32, 24))
        assert [point.megabytes for point in session.levels.curve()] == [size / 1e6 for size in sizes[:level]]
    assert stats_of(session).arriving.over


def test_a_level_more_replaces_the_picture_without_a_coarse_one_in_between(serve: Serve, sizes: list[int]) -> None:
    server = serve(upto=sizes[1])
    session = watching(server)
    shows(session, 2)
    server.upto = None
    divisors = set()

    def done() -> bool:
        divisors.add(session.composer.divisor)
        return came(session) == LEVELS and session.composer.complete and session.level == LEVELS

    until(session, done)
    assert divisors == {1}
    session.levels.choose(1)
    session.frame(640, 480, 0.0)
    assert session.composer.divisor > 1  # but a person sees at once what they asked for


def test_a_picture_in_the_making_goes_on_with_what_comes_and_is_made_again_above() -> None:
    """Else levels that come faster than pictures are made would never be seen below the top."""
    clock = Clock()
    render = FakeRender(clock)
    progressive = Progressive(lambda camera, level, mode: render(FakeModel(), camera, level=level, mode=mode), clock)
    camera = Orbit.from_state(None, BOX).camera(64, 48)
    whole = camera.width * camera.height / RAYS_PER_SECOND  # seconds
    while not progressive.complete:
        progressive.advance(View(camera, 1, "colour", came=1), whole)
    first = progressive.picture.copy()
    progressive.advance(View(camera, 2, "colour", came=2), whole / 4)
    progressive.advance(View(camera, 3, "colour", came=3), whole / 4)
    assert not progressive.complete
    assert progressive.divisor == 1
    rows = [progressive.picture[row].copy() for row in (0, 20, 47)]
    while not progressive.complete:
        progressive.advance(View(camera, 3, "colour", came=3), whole)
    assert progressive.shown is not None
    assert progressive.shown.level == 3
    last = progressive.picture
    assert not np.array_equal(rows[0], first[0])  # of level 2
    assert not np.array_equal(rows[0], last[0])
    np.testing.assert_array_equal(rows[1], last[20])  # of level 3 at once
    np.testing.assert_array_equal(rows[2], first[47])  # not reached yet
    assert progressive.advance(View(camera, 1, "colour"), 0.0)
    assert progressive.divisor > 1  # what a person asks for is seen at once


def test_one_who_chose_a_level_stays_there(serve: Serve, sizes: list[int]) -> None:
    server = serve(upto=sizes[1])
    session = watching(server)
    shows(session, 2)
    session.levels.choose(1)
    server.upto = None
    until(session, lambda: came(session) == LEVELS)
    assert session.level == 1
    session.levels.choose(3)
    assert session.level == 3
    server = serve(upto=sizes[1])
    session = watching(server)
    session.levels.choose(3)  # which has not come
    shows(session, 2)
    server.upto = None
    until(session, lambda: came(session) == LEVELS)
    assert session.level == 3


def test_a_file_that_was_slimmed_has_as_many_levels_as_came(serve: Serve, sizes: list[int], path: Path) -> None:
    session = watching(serve(data=path.read_bytes()[: sizes[1]]))
    shows(session, 2)
    until(session, lambda: session.arrivals and session.arrivals.over)
    assert (session.num_levels, session.level, session.message) == (2, 2, None)
    with pytest.raises(UserError, match="rank 1 to 2"):
        session.levels.check(3)


def test_what_breaks_is_told_and_what_is_damaged_for_good_too(serve: Serve, sizes: list[int], path: Path) -> None:
    server = serve(cut=[sizes[1] + 5], stays_down=True)
    session = watching(server)
    until(session, lambda: stats_of(session).arriving.trouble)
    shows(session, 2)
    panels = Panels()
    studio = Studio(arch="cpu")
    studio.session = session
    rows = [row.text for panel in column(panels.menu, studio, 700) for row in panel.rows if hasattr(row, "text")]
    assert any("trying again" in text for text in rows)
    server.data = path.read_bytes()[: sizes[1]]  # shorter than it was
    server.down = False
    until(session, lambda: session.arrivals and session.arrivals.over)
    session.work(0.0)
    assert session.message is not None
    assert session.message.alarm
    assert "was changed" in session.message.text
    assert (session.level, session.num_levels) == (2, 2)


def test_where_the_first_level_is_damaged_that_is_what_there_is_to_read(serve: Serve, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1 - sum(len(chunk) + 24 for chunk in read_trf(path).chunks[1:])] ^= 1
    session = watching(serve(data=bytes(data)))
    until(session, lambda: session.arrivals and session.arrivals.over)
    assert session.arrivals is not None
    assert "the base chunk is damaged" in str(session.arrivals.failure)
    session.frame(320, 240, 0.05)
    session.work(0.0)
    assert session.message is not None
    assert "the base chunk is damaged" in session.message.text
    session.keeper.picture()
    assert session.keeper.job is None
    assert session.keeper.level() is None


def test_what_came_can_be_kept_while_the_rest_comes(serve: Serve, sizes: list[int], path: Path, tmp_path: Path) -> None:
    server = serve(upto=sizes[2])
    session = watching(server)
    session.keeper.folder = tmp_path
    shows(session, 3)
    session.levels.choose(2)
    saved = session.keeper.level()
    assert saved is not None
    assert saved.read_bytes() == path.read_bytes()[: sizes[1]]


def test_it_is_rehearsed_once_and_only_while_nothing_has_come(
    serve: Serve, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsals = []
    rehearsal = growing.rehearsal

    def counted(model: Model, outline: growing.Outline) -> Iterator[None]:
        for piece in rehearsal(model, outline):
            rehearsals.append(piece)
            yield

    monkeypatch.setattr(growing, "rehearsal", counted)
    server = serve(upto=sizes[0] - 1)
    session = watching(server)
    for pieces in (1, 2, 3, 3, 3):  # one between two frames
        session.work(0.0)
        assert len(rehearsals) == pieces
    server.upto = None
    until(session, lambda: came(session) == LEVELS)
    early = watching(serve())
    until(early, lambda: came(early) == LEVELS)
    assert len(rehearsals) < 6


def test_the_studio_opens_addresses_and_lets_go_of_them(serve: Serve, sizes: list[int], path: Path) -> None:
    studio = Studio(arch="cpu")
    server = serve(upto=sizes[1])
    studio.open_now(server.url)
    session = studio.session
    assert session is not None
    assert session.arrivals is not None
    shows(session, 2)
    first = session.arrivals.incoming
    end = time.monotonic() + SOON
    for wrong, words in ((server.url.replace("http", "ftp"), "not followed"), (server.url + "x", "answered 404")):
        assert studio.open(wrong)
        while studio.pending is not None and time.monotonic() < end:
            time.sleep(0.01)
        assert studio.message is not None
        assert words in studio.message.text
    assert studio.session is session
    assert not first.over
    assert studio.open(path)
    while not studio.ready and time.monotonic() < end:
        time.sleep(0.01)
    studio.switch()
    assert first.wait(lambda: False, SOON)  # nobody looks at it any more
    studio.open_now(path, bandwidth=1e9)
    assert studio.session is not None
    until(studio.session, lambda: studio.session and came(studio.session) == LEVELS)
    studio.open_now(server.url)
    assert studio.session is not None
    assert studio.session.arrivals is not None
    last = studio.session.arrivals.incoming
    studio.close()
    assert last.wait(lambda: False, SOON)


def test_what_cannot_be_shown_brings_back_what_was_coming(
    serve: Serve, sizes: list[int], path: Path, tmp_path: Path
) -> None:
    studio = Studio(arch="cpu")
    server = serve(upto=sizes[1])
    studio.open_now(server.url)
    assert studio.session is not None
    shows(studio.session, 2)
    studio.session.levels.choose(1)
    before = studio.session
    bad = tmp_path / "bad.trf"
    trf = read_trf(path)
    write_trf(bad, {**trf.header, "near": "no"}, trf.chunks)
    assert studio.open(bad)
    end = time.monotonic() + SOON
    while not studio.ready and time.monotonic() < end:
        time.sleep(0.01)
    studio.switch()
    assert studio.session is not None
    assert studio.session is not before
    server.upto = None
    until(studio.session, lambda: studio.session and came(studio.session) == LEVELS)
    assert studio.session.level == 1
    studio.close()
