"""The registry of methods: every entry is whole, and a third one needs nothing but its own parts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import pytest

from taichi_rf.core.errors import UserError
from taichi_rf.training.configs import slimmerf, vqad
from taichi_rf.training.configs.base import Config, StrategyConfig, names_of
from taichi_rf.training.limits import Range
from taichi_rf.training.methods import registry
from taichi_rf.training.methods.base import Method
from taichi_rf.training.samplers.base import Sampler
from taichi_rf.training.schedule import JointLevels
from taichi_rf.training.strategies.base import Strategy
from tests.places import ROOT


@pytest.mark.parametrize("method", registry.METHODS, ids=lambda m: f"{m.name}-{m.learns_from}")
def test_every_entry_names_parts_that_there_are(method):
    assert issubclass(method.strategy_type(), Strategy)
    assert issubclass(method.sampler_type(), Sampler)
    assert tuple(method.presets) == registry.PRESETS
    for name, config in method.presets.items():
        assert (config.method, config.preset) == (method.name, name)
        assert method.level_schedule(config).highest >= 1
        assert not names_of(type(config.strategy)) & names_of(Config)
        assert config.decoder in (*method.decoders, "none")
    options = method.options()
    assert all(not getattr(options, field.name) for field in fields(options))
    assert method.entries(options) == {}


def test_what_there_is_not_is_refused_with_what_there_is():
    with pytest.raises(UserError, match="unknown method 'ngp': choose one of slimmerf, vqad"):
        registry.find("ngp")
    with pytest.raises(UserError, match="--method slimmerf cannot fit a mesh: give --method vqad"):
        registry.find("slimmerf", "mesh")
    with pytest.raises(UserError, match="no preset 'slow': choose one of quick, balanced, paper"):
        registry.find_preset("vqad", "slow")


def test_a_third_method_is_its_parts_and_an_entry(monkeypatch):
    @dataclass(frozen=True)
    class Third(StrategyConfig):
        LIMITS: ClassVar[Mapping[str, Range]] = {"planes": (1, 9)}
        planes: int = 3

    presets = {name: Config("third", Third(), preset=name) for name in registry.PRESETS}
    third = Method(
        "third", "planes", "photographs", presets, JointLevels,
        strategy="taichi_rf.training.strategies.vm:VMStrategy",
        sampler="taichi_rf.training.samplers.pixels:PixelSampler",
        options=vqad.VqadOptions, entries=vqad.entries,
    )  # fmt: skip
    monkeypatch.setattr(registry, "METHODS", (*registry.METHODS, third))
    assert registry.names() == ("slimmerf", "vqad", "third")
    changed = registry.find_preset("third", "quick").changed(planes=5, iterations=7)
    assert (changed.strategy, changed.iterations) == (Third(5), 7)
    assert registry.read_config(changed.to_json()) == changed
    for planes in (0, 10, "3", None):
        with pytest.raises(UserError, match="planes"):
            registry.read_config({**changed.to_json(), "strategy": {"planes": planes}})
    with pytest.raises(UserError, match="unknown entries: bits"):
        changed.changed(bits=4)
    assert registry.find_preset("slimmerf", "quick") is slimmerf.QUICK


def test_options_and_presets_are_known_without_taichi():
    script = "import sys; from taichi_rf.cli.train import options; options.parse([]); print('taichi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("False", "")
