"""A file that comes in part only, or is cut off: commands that need more say why, and write nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from taichi_rf.cli import obtain, pictures
from taichi_rf.cli.main import run
from taichi_rf.cli.options import Info, Render, Slim
from taichi_rf.core import backend
from taichi_rf.core.errors import UserError
from taichi_rf.fields.vm.field import VMField
from taichi_rf.rendering.decoders.registry import make_decoder
from taichi_rf.rendering.radiance_model import RadianceModel
from taichi_rf.storage.model_file import load_model, save_model
from taichi_rf.storage.trf import read_trf
from taichi_rf.streaming import download as incoming
from taichi_rf.streaming.download import Incoming, fetch
from taichi_rf.streaming.rate import Pace
from tests.tiny import ROWS
from tests.trickle import Trickle, served

LEVELS = 4
SOON = 20.0  # seconds, on a busy machine
Serve = Callable[..., Trickle]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    backend.init("cpu")
    field = VMField(ranks=LEVELS, resolution=(9, 8, 7), rows=ROWS, seed=3)
    box = np.array([[-1.0] * 3, [1.0] * 3], np.float32)
    path = tmp_path_factory.mktemp("model") / "model.trf"
    save_model(RadianceModel(field, make_decoder("sh", rows=ROWS, seed=4), box=box, near=2.0, far=6.0), path)
    return path


@pytest.fixture
def sizes(model: Path) -> list[int]:
    return read_trf(model).prefix_bytes


@pytest.fixture
def serve(model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setattr(incoming, "_WAITS", (0.01,))
    monkeypatch.setattr(obtain, "PATIENCE", 0.3)
    monkeypatch.setattr(pictures, "PATIENCE", 0.3)
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(served(Trickle(**{"data": model.read_bytes(), **how})))


def test_a_connection_that_stays_broken_gives_no_smaller_model(
    serve: Serve, model: Path, sizes: list[int], tmp_path: Path
) -> None:
    """What was written before: a whole model of rank 2, without a word."""
    output = tmp_path / "small.trf"
    words = (
        rf"the server answered 503 .*hardly anything came for 0.3 s .*; levels 1 to 2 of 4 came "
        rf"\({sizes[1] + 20:,} of {sizes[3]:,} bytes came\); to make do with that, ask for level 2"
    )
    for command in (
        Slim("", output, precision="small"),
        Slim("", output, size="1GB"),
        Slim("", output, level=3),
        Slim("", output, level=4, precision="small"),
        Info(""),
        Render("", output.with_suffix(".png"), arch="cpu"),
        Render("", output.with_suffix(".png"), level="3", arch="cpu"),
    ):
        server = serve(cut=[sizes[1] + 20], stays_down=True)
        with pytest.raises(UserError, match=words) as error:
            run(type(command)(**{**vars(command), "model": server.url}))
        assert str(error.value).startswith(f"{server.url}: ")
        assert list(tmp_path.iterdir()) == []
    server = serve(cut=[sizes[1] + 20], stays_down=True)
    run(Slim(server.url, output, level=2))
    assert output.read_bytes() == model.read_bytes()[: sizes[1]]


def test_before_the_first_level_it_is_said_how_much_came(serve: Serve, sizes: list[int]) -> None:
    server = serve(cut=[sizes[0] - 7], stays_down=True)
    with pytest.raises(UserError, match=rf"\({sizes[0] - 7:,} of {sizes[3]:,} bytes came\)$"):
        obtain.received(server.url)


@pytest.mark.parametrize("beyond", [9, 50])
def test_a_file_that_is_cut_off_is_no_whole_model_from_a_server_or_the_disk(
    serve: Serve, model: Path, sizes: list[int], tmp_path: Path, beyond: int
) -> None:
    data, output = model.read_bytes()[: sizes[1] + beyond], tmp_path / "small.trf"
    cut = tmp_path / "cut.trf"
    cut.write_bytes(data)
    for source in (str(cut), serve(data=data).url):
        for command in (Slim(source, output, precision="small"), Slim(source, output, size="1GB")):
            with pytest.raises(UserError, match="level 3 is damaged .the file ends within it.*ask for level 2"):
                run(command)
        with pytest.raises(UserError, match="level 3 is damaged .the file ends within it"):
            run(Slim(source, output, level=3))
        assert not output.exists()
        run(Slim(source, output, level=2))
        assert output.read_bytes() == data[: sizes[1]]
        output.unlink()
    with pytest.raises(UserError, match="choose 1 to 2 .*level 3 is damaged"):
        load_model(cut, 3)


def test_a_slimmed_file_is_whole_and_says_which_levels_it_holds(
    serve: Serve, model: Path, sizes: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slim, output = tmp_path / "two.trf", tmp_path / "small.trf"
    slim.write_bytes(model.read_bytes()[: sizes[1]])
    for source in (str(slim), serve(data=slim.read_bytes()).url):
        run(Slim(source, output, size="1GB", overwrite=True))
        assert output.read_bytes() == slim.read_bytes()
        assert f"{source} holds levels 1 to 2 of 4" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------------------------
# Too slow to be waited for


class Clock:
    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


def test_a_pace_is_that_of_the_last_seconds_however_the_bytes_are_cut() -> None:
    """Links of 800, 1100 and 7000 bytes a second (a 56k modem), in pieces of 1 byte to 64 kB, and the same after a
    fast beginning."""
    for beginning in (0, 10_000_000):
        for rate, piece, slow in ((800, 1, True), (800, 10_000, True), (1100, 100, False), (7000, 65536, False)):
            clock = Clock()
            pace = Pace(60.0, clock)
            pace.add(beginning)
            for _ in range(int(200 * rate / piece)):
                clock.now += piece / rate
                pace.add(piece)
            assert pace.slower_than(1000.0) == slow
            assert pace.rate == pytest.approx(rate, rel=0.02 + piece / rate / 60)


def test_nobody_is_called_slow_before_the_time_is_over() -> None:
    clock = Clock()
    pace = Pace(60.0, clock)
    clock.now += 59.0
    assert not pace.slower_than(1000.0)
    clock.now += 1.0
    assert pace.slower_than(1000.0)
    pace.begin()
    assert not pace.slower_than(1000.0)


def test_a_server_that_drips_is_given_up_though_something_always_comes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2000 bytes a second are too few here, in one connection or in many that break."""
    monkeypatch.setattr(incoming, "LEAST", 20_000.0)
    for how in (
        {"rate": 2000.0},
        {"rate": 2000.0, "ranges": False},
        {"rate": 4000.0, "cut": [*range(1200, 9999, 1200)]},
    ):
        with pytest.raises(UserError, match="hardly anything c.* 0.5 s.*20000"):
            fetch(serve(**how).url, patience=0.5)


def test_one_who_looks_on_is_told_of_a_drip_and_it_goes_on(
    serve: Serve, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "LEAST", 1e9)
    monkeypatch.setattr(incoming, "PATIENCE", 0.2)
    some = Incoming(serve(rate=len(model.read_bytes()) / 1.0).url).start()
    trouble = set()
    while not some.wait(lambda: False, 0.05):
        trouble.add(some.progress.trouble)
    assert "127.0.0.1: hardly anything comes; still waiting" in trouble
    assert (some.file(), some.warning) == (read_trf(model), None)


def test_a_bandwidth_that_was_asked_for_is_not_too_slow(model: Path) -> None:
    size = model.stat().st_size
    some = Incoming(model, bandwidth=size, patience=0.3).start()
    assert some.wait(lambda: False, SOON)
    assert some.file() == read_trf(model)
