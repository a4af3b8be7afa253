"""What an octree's levels cost: sizes read off the file's bytes, and the published formula at its published figures."""

from __future__ import annotations

import numpy as np
import pytest

from taichi_rf.coding.arrays import pack_arrays, stored_sizes
from taichi_rf.core.errors import UserError
from taichi_rf.fields.accounts import formula, octree_accounts, vm_accounts


def test_sizes_of_arrays_are_those_in_the_block():
    arrays = {"zeros": np.zeros(1000, np.uint8), "é": np.arange(12, dtype=np.float16).reshape(3, 4)}
    plain, deflated = pack_arrays(arrays), pack_arrays(arrays, {"zeros"})
    assert stored_sizes(plain) == {"zeros": 1000, "é": 24}
    assert stored_sizes(deflated) == {"zeros": 1000 - (len(plain) - len(deflated)), "é": 24}
    assert stored_sizes(pack_arrays({})) == {}


def test_a_block_that_is_cut_off_or_too_long_is_refused():
    block = pack_arrays({"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.uint8)})
    for length in range(len(block)):
        with pytest.raises(UserError, match="cut off"):
            stored_sizes(block[:length])
    with pytest.raises(UserError, match="cut off"):
        stored_sizes(block + b"x")


@pytest.mark.parametrize(("bits", "published"), [(6, 40.9), (4, 61.3)])
def test_the_formula_gives_the_published_ratios(bits, published):
    """Those of Takikawa et al. 2022, for the 636,000 vertices that a file of 20 MB of features has. They count more
    than the formula does, by a twentieth at most."""
    assert formula(636_000, bits, 4) == pytest.approx(published, rel=0.05)


def test_a_table_has_a_column_a_level_and_one_for_all():
    header = {"codes": "learned", "bits": 2, "cells": [10, 40, 90], "vertices": [30, 100, 200]}
    stored = [{"tree": 5, "indices": 8, "codebook": 100, "small": 1000}, {"tree": 10, "indices": 25, "codebook": 110}]
    rows = {row[0]: row[1:] for row in octree_accounts(header, stored, [1200, 180]).rows}
    assert rows["LOD"] == ("1", "2", "all")
    assert rows["cells"] == ("10", "40", "50")
    assert rows["vertices"] == ("30", "100", "130")
    assert rows["indices"] == ("8", "25", "33")
    assert rows["codebook"] == ("100", "110", "210")
    assert rows["tree"] == ("5", "10", "15")
    assert rows["decoder"] == ("1,000", "0", "1,000")
    assert rows["chunk"] == ("1,200", "180", "1,380")
    assert rows["half precision"] == ("960", "3,200", "4,160")
    assert rows["smaller"] == ("8.9x", "23.7x", "17.1x")  # 960 / 108, 3200 / 135, 4160 / 243
    assert rows["formula"] == ("61.9x", "97.0x", "85.8x")  # 7680 / (60 + 64), 25600 / (200 + 64), 33280 / (260 + 128)


def test_features_as_they_are_have_no_formula():
    header = {"codes": "none", "cells": [10], "vertices": [30]}
    accounts = octree_accounts(header, [{"tree": 5, "features": 800}], [900])
    assert "formula" not in {row[0] for row in accounts.rows}
    assert not any("formula" in note for note in accounts.notes)


def test_the_parts_of_a_tensors_file_add_up_to_its_chunks():
    stored = [{"occupancy": 100, "table": 30, "planes": 500, "basis": 20}, {"planes": 300, "basis": 20}]
    found = vm_accounts(stored, [700, 350], half=2175)
    assert found.rows[0] == ("part", "bytes", "share")
    assert {row[0]: int(row[1].replace(",", "")) for row in found.rows[1:]} == {
        "occupancy": 100, "table": 30, "planes": 800, "basis": 40, "frames": 80, "all levels": 1050,
    }  # fmt: skip
    assert found.rows[3] == ("planes", "800", "76.2%")
    assert found.notes == ("factors and basis: 870 bytes, in half precision 4,350: 5.0x smaller",)
