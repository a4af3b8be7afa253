"""What a page asks for is made between its pictures, sent to it alone, and leaves nothing here."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from taichi_rf.page.writing import page_of_file
from tests.places import ROOT
from tests.viewer.web.browsers import Browsers, Client, studio_with
from tests.viewer_fakes import Clock, FakeModel, FakeRender
from viewer.session.session import Session
from viewer.web.offers import Offers
from viewer.web.page import keep

pytestmark = pytest.mark.usefixtures("lossless")


@pytest.fixture
def offers():
    return Offers()


@pytest.fixture
def site(tmp_path, offers):
    clock = Clock()
    session = Session(FakeModel(), render=FakeRender(clock), clock=clock, file=ROOT / "tests/data/tensor.trf")
    return Browsers(studio_with(session), clock, folder=tmp_path, offers=offers)


def until_sent(site, client):
    for _ in range(2000):
        if client.downloads:
            return client.downloads.pop()
        site.turns()
    raise AssertionError(site.session.message)


def test_a_picture_goes_to_the_visitor_who_asked_and_is_what_that_one_sees(site, tmp_path):
    first, second = site.join(Client(0, size=(64, 32))), site.join(Client(1, size=(32, 64)))
    site.settle()
    second.move(position=(0.0, 3.0, 1.0))
    second.gui.made["rank"].change(2)
    site.turns(5)
    second.gui.made["Picture (PNG)"].change(True)
    name, content = until_sent(site, second)
    assert name.endswith("rank2.png")
    session = site.site.visitors[1].session
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content)))[..., :3], session.snapshot(32, 64))
    assert not first.downloads
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_model_is_slimmed_to_the_level_shown(site, tmp_path):
    client = site.join(Client())
    site.settle()
    client.gui.made["rank"].change(1)
    site.turns(3)
    client.gui.made["Model at this level (.trf)"].change(True)
    name, content = until_sent(site, client)
    assert name.endswith("rank1.trf")
    assert 0 < len(content) < (ROOT / "tests/data/tensor.trf").stat().st_size
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_too_large_is_not_sent(site, monkeypatch):
    monkeypatch.setattr(keep, "_LARGEST", 100)
    client = site.join(Client())
    site.settle()
    client.gui.made["Model at this level (.trf)"].change(True)
    site.turns(3)
    assert not client.downloads
    assert "too large" in site.session.message.text


def test_a_visitor_who_leaves_leaves_nothing(site, tmp_path):
    client = site.join(Client(0))
    site.join(Client(1))
    site.settle()
    client.gui.made["Picture (PNG)"].change(True)
    site.leave(client)
    site.turns(50)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_page_is_offered_at_an_address_until_another_is_made_or_its_visitor_leaves(site, offers, tmp_path):
    client = site.join(Client())
    site.settle()
    addresses = []
    for _ in range(2):
        before = client.gui.made["add_html"].content
        client.gui.made["Render in this browser"].change(True)
        site.turns(3)
        shown = client.gui.made["add_html"]
        assert shown.visible
        assert shown.content != before
        addresses.append(re.search('href="([^"]+)"', shown.content)[1])
    assert offers.answer(None, addresses[0]) is None
    body = offers.answer(None, addresses[1]).body
    assert body.decode() == page_of_file(ROOT / "tests/data/tensor.trf")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    site.leave(client)
    site.turns(3)
    assert offers.answer(None, addresses[1]) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_of_many_pages_on_their_way_those_that_began_first_are_ended(offers, tmp_path):
    (tmp_path / "page.html").write_text("it")
    address, ended = offers.offer(0, tmp_path / "page.html"), []

    class Connection:
        def __init__(self, number):
            self.transport = SimpleNamespace(abort=lambda: ended.append(number))

    connections = [Connection(number) for number in range(4)]
    offers.answer(connections[0], address)
    offers.sent(connections[0])
    for connection in connections[1:]:
        offers.answer(connection, address)
    assert ended == [1]
