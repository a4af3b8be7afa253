"""Some of the thousands of ``tests/bench/mutate.py``: whatever a file says, it is refused in a sentence, or used."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from taichi_rf.coding.arrays import pack_arrays
from taichi_rf.core.errors import UserError
from taichi_rf.core.files import parse_json
from taichi_rf.streaming.progressive_model import Outline
from tests.bench.mutate import NEW_ONES, outcome
from tests.victims import MODELS, Training, model

ENDS = {"refused", "used", "unpacked", "not made"}


def test_a_model_file_that_was_tampered_with_is_refused_in_a_sentence_or_fits(tmp_path):
    victims = {kind: model(kind) for kind in MODELS}
    found = collections.Counter[str]()
    for seed in range(400):
        if seed % NEW_ONES:  # the others would be compiled
            what, text = outcome("models", victims, seed, tmp_path)
            assert what in ENDS, f"seed {seed}: {text}"
            found[what] += 1
    assert found["refused"] > 200
    assert found["unpacked"] > 20


def test_indices_of_a_level_that_comes_from_a_server_are_checked_before_the_device_has_them():
    header, levels = model("learned")
    levels[0]["indices"] = np.full_like(levels[0]["indices"], 0xFF)  # 15 of 8 rows
    outline = Outline.of(header, 3)
    with pytest.raises(UserError, match="should be zero|cannot be 15"):
        outline.unpack(1, pack_arrays(levels[0]), None, 0)


def test_a_number_of_thousands_of_digits_is_not_quoted_in_full():
    with pytest.raises(UserError) as refused:
        parse_json(b'{"near": -' + 5000 * b"9" + b".0}", "the header")
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("kind", ["tensor"])
def test_a_training_goes_on_from_a_checkpoint_that_was_tampered_with_or_refuses_it(kind, tmp_path):
    victims = [Training(kind)] * 4
    found = collections.Counter[str]()
    for seed in range(1000, 1080):
        what, text = outcome("checkpoints", victims, seed, tmp_path)
        assert what in ENDS, f"seed {seed}: {text}"
        found[what] += 1
    assert found["refused"] > 30
    assert found["used"] > 8
