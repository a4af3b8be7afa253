"""What a model takes of the machine's memory is what was estimated from its header, measured in another process."""

from __future__ import annotations

import pytest

from tests.bench.modelmemory import measured
from tests.costly import fog, full_octree


@pytest.mark.parametrize("kind", ["tensor", "octree"])
def test_a_model_takes_what_was_estimated_within_a_third(kind, tmp_path):
    path = tmp_path / "model.trf"
    estimate, taken = measured(fog(path, 300, ranks=8) if kind == "tensor" else full_octree(path, 5, 3))
    assert taken / 1.3 < estimate < 1.3 * taken
