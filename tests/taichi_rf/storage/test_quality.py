"""What is said of a level's quality is measured, estimated or nothing, whatever the metadata hold."""

from __future__ import annotations

import math

import pytest

from taichi_rf.storage.quality import Decibels, decibels, metadata_of

PSNR = [20.0, 25.0, 28.0]


def test_a_number_is_measured_estimated_or_unknown_and_says_which():
    assert decibels({"level_psnr": PSNR}, 2) == Decibels(25.0)
    assert decibels({"level_psnr": PSNR, "coding_loss": [0.1, 0.2, 0.75]}, 3) == Decibels(27.25, measured=False)
    assert decibels({"coding_loss": [0.1]}, 1) is None
    assert decibels({"level_psnr": PSNR}, 4) is None
    assert Decibels(29.456).text() == "29.46"
    assert Decibels(29.456).text(1) == "29.5"
    assert Decibels(28.756, measured=False).text() == Decibels(28.756, measured=False).text(1) == "≈ 28.8"


@pytest.mark.parametrize("junk", [None, "0.2", True, [], {}, [None], [math.nan], ["x"], [-3.0], [1e9]])
def test_losses_that_are_none_leave_an_estimate_and_spoil_no_number(junk):
    assert decibels({"level_psnr": PSNR, "coding_loss": junk}, 1) == Decibels(20.0, measured=False)


@pytest.mark.parametrize("junk", [None, "20", [True], [math.nan], [1e9], ["x"], []])
def test_what_is_no_number_of_decibels_is_unknown(junk):
    assert decibels({"level_psnr": junk}, 1) is None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"field": {"coding": "compact"}}, {"coding_loss": []}),
        ({"decoder_coding": "compact", "metadata": {"scene": "x"}}, {"coding_loss": [], "scene": "x"}),
        ({"field": {"coding": "compact"}, "metadata": {"coding_loss": [0.5]}}, {"coding_loss": [0.5]}),
        ({"field": {"coding": "half"}, "metadata": {"scene": "x"}}, {"scene": "x"}),
        ({"field": "junk", "metadata": "junk"}, {}),
    ],
)
def test_metadata_of_a_coded_file_never_read_as_measured(header, said):
    assert metadata_of(header) == said
