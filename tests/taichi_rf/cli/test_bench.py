"""The benchmark runs on every kind of field, and says of each stage what it is put beside."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taichi_rf.cli import bench
from taichi_rf.cli.measure import stages
from taichi_rf.core import backend
from tests.bench import vqad
from tests.tiny import tiny_scene


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything once, and nothing that only measures the machine."""
    gc.collect()
    backend.reset()
    backend.init("cpu")
    monkeypatch.setattr(stages, "REPEATS", 1)
    monkeypatch.setattr(stages, "TIMED_STEPS", 1)
    monkeypatch.setattr(stages, "SIDE", 16)
    products = ("blas", "mlp_forward", "mlp_adjoint", "blas_adjoint")
    monkeypatch.setattr(stages, "products", lambda: {f"{name}_gflops": 1.0 for name in products})
    monkeypatch.setattr(stages, "copy_rate", lambda: 1.0)
    cold = {"empty_cache_seconds": 1.0, "warm_cache_seconds": 1.0}
    monkeypatch.setattr(stages, "cold_start", lambda arch, method: cold)


STAGES = {"march", "density", "volume", "lookup features", "volume adjoint", "scatter features", "scatter density"}
OWN = {
    "slimmerf": {"basis", "basis adjoint", "occupancy", "Adam", "decoder sh", "decoder mlp adjoint"},
    "vqad": {"update of codes 'learned'", "decoder small", "decoder small adjoint"},
}


@pytest.mark.parametrize("method", OWN)
def test_every_stage_of_a_method_is_measured(quick, method):
    result = bench.bench(tiny_scene(), method=method, settle_steps=40)
    found = result["stages"]
    assert found.keys() >= STAGES | OWN[method]
    assert not found.keys() & set().union(*(own for name, own in OWN.items() if name != method))
    for stage in found.values():
        assert stage["items"] > 0
        assert np.isfinite(stage["rate"])
    for name in ("density", "lookup features", "scatter features", "scatter density"):
        assert found[name]["gigabytes_per_second"] > 0
    assert result["method"] == method
    assert len(bench.rows(result)) == len(found)
    assert dict(bench.summary(result))["method"] == method


@given(
    vertices=st.lists(st.integers(1, 200_000), min_size=1, max_size=5), bits=st.integers(1, 8)
)  # fmt: skip
def test_a_hash_of_equal_size_is_the_nearest_there_is(vertices, bits):
    learned = sum(vqad.feature_bytes("learned", bits, count) for count in vertices)
    found = vqad.hash_bits(vertices, bits)
    ratio = len(vertices) * vqad.feature_bytes("hash", found, 0) / learned
    assert ratio <= 1.4143 or found == 1
    assert ratio >= 0.7071 or found == vqad.MOST_HASH_BITS


def test_scenes_of_the_table_are_named_with_or_without_a_downscale():
    assert vqad.parsed("lego=a/lego:2") == ("lego", "a/lego", 2)
    assert vqad.parsed("lantern") == ("lantern", "lantern", 1)
    assert vqad.parsed("l=builtin:lantern") == ("l", "builtin:lantern", 1)
    assert vqad.parsed("l=builtin:lantern:4") == ("l", "builtin:lantern", 4)


def test_bytes_and_operations_of_the_tensor_are_those_counted_by_hand():
    """Of one sample: 4 texels of a plane and 2 of a line in each of 3 modes, 64 bytes each; 144 products of 4 bytes."""
    gc.collect()
    backend.reset()
    backend.init("cpu")
    from taichi_rf.fields.vm.field import VMField

    field = VMField(ranks=16, resolution=(8, 8, 8), rows=4)
    density, lookup, basis = field.forward_stages(1, None, None, 1, None, 16)
    assert density.size == 18 * 64
    assert lookup.size == 3 * 18 * 64 + 144 * 4
    assert basis.operations == 2 * 144 * 27
    adjoint, scatter, scatter_density = field.backward_stages(1, None, None, None, 1, None, None, 16)
    assert adjoint.operations == 4 * 144 * 27
    assert scatter.size == 3 * 54 * 64  # the texel is read, its gradient read and written
    assert scatter_density.size == 54 * 64
