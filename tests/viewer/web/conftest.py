"""A site over a fake server, with a model or with a training."""

from __future__ import annotations

import pickle

import pytest

from tests.viewer.web.browsers import Browsers, studio_with
from tests.viewer_fakes import Clock, FakeModel, FakeRender, FakeTrainer
from viewer.session.session import Session
from viewer.web import frame_sender


@pytest.fixture
def lossless(monkeypatch):
    """Pictures come as they were sent; what JPEG does to them is not tested here."""
    monkeypatch.setattr(frame_sender, "compressed", lambda picture, quality: pickle.dumps(picture))


@pytest.fixture
def browsers():
    clock = Clock()
    return Browsers(studio_with(Session(FakeModel(), render=FakeRender(clock), clock=clock)), clock)


@pytest.fixture
def training():
    clock = Clock()
    trainer = FakeTrainer(clock, steps=1000)
    return Browsers(studio_with(Session(trainer=trainer, render=FakeRender(clock), clock=clock)), clock)
