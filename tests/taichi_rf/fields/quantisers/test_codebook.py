"""What vertices' features are made of, against numpy: indices learnt straight through, k-means, hashes, low rank, and
numbers as they are."""

import numpy as np
import pytest

from taichi_rf.coding.bits import pack_bits
from taichi_rf.core.device import BLOCK, Block, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.fields.quantisers.codebook import MAX_HASH_BITS, Codebook
from taichi_rf.fields.quantisers.hashed import hashed
from taichi_rf.fields.quantisers.learned import packed, unpacked
from taichi_rf.kernels.optim import Adam
from tests.taichi_rf.fields.quantisers.cases import (
    BETA1,
    BETA2,
    BITS,
    CAPACITY,
    COUNTS,
    LEVEL,
    RATE,
    TOTAL,
    CodesTwin,
    _exponentials,
    ask,
    assert_taken,
    cpu,
    learn,
    logits,
    randomised,
    widths,
)
from tests.twins import assert_gradient
from tests.vertex_gradients import put_gradients


def test_the_logits_step_along_the_straight_through_gradient(shared, rng):
    """RMSprop begins with the gradient's square as its second moment, so that one step tells the gradient."""
    for bits in widths():
        quantiser, twin = randomised(shared, rng, bits)
        d = ask(shared, rng)
        before = logits(quantiser, without=0)
        learn(shared, quantiser)
        moved = before - logits(quantiser, without=0)
        found = np.sqrt(logits(quantiser, quantiser.logit_second, without=0).astype(np.float64)) * np.sign(moved)
        expected, may = twin.logit_gradient(d), np.isfinite(twin.logits)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())
        assert_gradient(lambda d=d, twin=twin: np.vdot(d, twin.features()), twin.logits, found, rng, only=may)
        sure = np.abs(expected) > 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(moved[sure], RATE * np.sign(expected[sure]), atol=1e-5)
        assert_taken(shared)


def test_a_rows_gradient_is_the_sum_over_the_vertices_that_took_it(shared, rng):
    for bits in widths():
        quantiser, twin = randomised(shared, rng, bits)
        d = ask(shared, rng)
        took = logits(quantiser).argmax(1)
        learn(shared, quantiser)
        expected = np.zeros((3, 1 << bits, BLOCK))
        np.add.at(expected, (LEVEL, took), d)
        found = quantiser.book_gradient.to_numpy().reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        hard = (LEVEL, took)
        assert_gradient(lambda d=d, twin=twin, hard=hard: np.vdot(d, twin.books[hard]), twin.books, found, rng)


def test_only_vertices_that_were_asked_change_and_every_index_is_its_largest_logit(shared, rng):
    for bits in widths():
        quantiser, _ = randomised(shared, rng, bits)
        changed = np.zeros(TOTAL, bool)
        for _ in range(3):
            before = [a.to_numpy().tobytes() for a in (quantiser.book, quantiser.candidates)]
            parts = [quantiser.logits, quantiser.logit_second, quantiser.index]
            rows = [a.to_numpy().reshape(CAPACITY, -1) for a in parts]
            asked = ask(shared, rng).any(axis=1)
            learn(shared, quantiser)
            after = [a.to_numpy().reshape(CAPACITY, -1) for a in parts]
            for old, new in zip(rows, after):
                np.testing.assert_array_equal(new[:TOTAL][~asked], old[:TOTAL][~asked])
                np.testing.assert_array_equal(new[TOTAL:], old[TOTAL:])
            for old, new in zip(rows[:2], after[:2]):
                assert (new[:TOTAL][asked] != old[:TOTAL][asked]).any(axis=1).all()
            assert [a.to_numpy().tobytes() for a in (quantiser.book, quantiser.candidates)] == before
            np.testing.assert_array_equal(quantiser.indices(), logits(quantiser).argmax(1))
            changed |= (after[2] != rows[2])[:TOTAL, 0]
        assert changed.any()
        padding = quantiser.logits.to_numpy()[:TOTAL, quantiser.choices :]
        assert (padding < -1e29).all()  # rows that do not exist are never taken


def test_steps_are_those_of_rmsprop_that_skips_what_is_not_asked(shared, rng):
    quantiser, twin = randomised(shared, rng, 6)
    second = np.zeros_like(twin.logits)
    sure = np.ones(second.shape, bool)
    for _ in range(6):
        d = ask(shared, rng)
        touched = d.any(axis=1)
        g = twin.logit_gradient(d)[touched]
        sure[touched] &= np.abs(g) > 1e-4 * np.abs(g).max(1, keepdims=True)  # of others rounding decides the sign
        first_time = second[touched] == 0
        second[touched] = np.where(first_time, g**2, BETA2 * second[touched] + (1 - BETA2) * g**2)
        twin.logits[touched] -= RATE * g / (np.sqrt(second[touched]) + 1e-15)
        learn(shared, quantiser)
    sure &= np.isfinite(twin.logits)
    assert sure.sum() > 0.8 * TOTAL * BLOCK
    np.testing.assert_allclose(logits(quantiser, quantiser.logit_second)[sure], second[sure], rtol=2e-3)
    np.testing.assert_allclose(logits(quantiser)[sure], twin.logits[sure], atol=0.02 * RATE)


@pytest.mark.parametrize("bits", [2, 6])
def test_the_codebook_learns_too_and_the_next_step_uses_it(shared, rng, bits):
    quantiser, twin = randomised(shared, rng, bits)
    d = ask(shared, rng)
    took = quantiser.indices()
    Adam(BETA1, BETA2).step(quantiser.parameters(shared.gradients), 1.0)
    quantiser.published()
    asked = np.zeros(twin.books.shape)
    np.add.at(asked, (LEVEL, took), d)
    expected = twin.books - RATE * asked / (np.abs(asked) + 1e-8)  # Adam's first step
    books = quantiser.book.to_numpy().reshape(expected.shape)
    np.testing.assert_allclose(books, expected, atol=2e-3 * RATE)  # what cancels in a sum is not known exactly
    twin = CodesTwin(logits(quantiser), books)
    for parameters in quantiser.parameters(shared.gradients):
        parameters.reset()
    d = ask(shared, rng)
    learn(shared, quantiser)
    second = logits(quantiser, quantiser.logit_second, without=0)
    np.testing.assert_allclose(np.sqrt(second), np.abs(twin.logit_gradient(d)), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bits", [2, 6])
def test_what_was_restored_has_the_indices_of_its_logits(shared, rng, bits):
    quantiser, _ = randomised(shared, rng, bits)
    ask(shared, rng)
    learn(shared, quantiser)
    codes = quantiser.parameters(shared.gradients)[0]
    saved, before = codes.state(), quantiser.indices()
    randomised(shared, rng, bits)
    assert (quantiser.indices() != before).any()
    codes.restore(saved)
    np.testing.assert_array_equal(quantiser.indices(), before)
    np.testing.assert_array_equal(quantiser.indices(), logits(quantiser).argmax(1))
    for name, array in codes.state().items():
        np.testing.assert_array_equal(array, saved[name])


@cpu
def test_a_vertex_may_take_the_sixteen_rows_that_it_began_nearest_to(shared, rng):
    given = rng.standard_normal((TOTAL, 256)).astype(np.float32)
    quantiser = shared.get("learned", 8)
    quantiser.begin(0, given)
    kept = np.isfinite(logits(quantiser))
    np.testing.assert_array_equal(kept.sum(axis=1), 16)
    np.testing.assert_array_equal(given[kept], logits(quantiser)[kept])
    assert (given[kept].reshape(TOTAL, 16).min(axis=1) > given[~kept].reshape(TOTAL, 240).max(axis=1)).all()
    np.testing.assert_array_equal(quantiser.indices(), given.argmax(axis=1))


@cpu
@pytest.mark.parametrize("bits", [2, 6])
def test_a_checkpoint_with_rows_that_the_codebook_lacks_is_refused(shared, rng, bits):
    quantiser, _ = randomised(shared, rng, bits)
    codes = quantiser.parameters(shared.gradients)[0]
    fine = {key.removeprefix("codes."): array[:TOTAL] for key, array in codes.state().items()}
    assert fine.keys() == {"value", "second", "candidates"}
    for key, array in fine.items():
        codes.check(key, array)
    for place in ((3, 1), (0, 15)):  # of four rows the sixteenth is never taken, but read
        candidates = unpacked(fine["candidates"])
        candidates[place] = 1 << bits
        with pytest.raises(UserError, match=rf"'codes.candidates' should be indices from 0 to {(1 << bits) - 1}"):
            codes.check("candidates", packed(candidates))
    with pytest.raises(UserError, match="'codes.second' should hold no number below 0"):
        codes.check("second", fine["second"] - 1)
    none = fine["value"].copy()
    none[5] = -1e30
    with pytest.raises(UserError, match=f"prefers rows that the codebook of {1 << bits} does not have"):
        codes.check("value", none)
    if bits == 2:
        beyond = fine["value"].copy()
        beyond[5, 4] = 0.0
        with pytest.raises(UserError, match="prefers rows that the codebook of 4 does not have"):
            codes.check("value", beyond)


def test_a_vertex_learns_the_row_that_it_wants(shared, rng):
    """Each vertex wants one of its rows, and its gradient is the difference to it: in the end it takes that row."""
    quantiser, twin = randomised(shared, rng, 6)
    wanted = unpacked(quantiser.candidates.to_numpy())[np.arange(TOTAL), rng.integers(0, BLOCK, TOTAL)]
    target = twin.books[LEVEL, wanted]
    assert (quantiser.indices() == wanted).mean() < 0.3
    for _ in range(120):
        d = np.zeros((CAPACITY, BLOCK), np.float32)
        d[:TOTAL] = quantiser.features() - target
        put_gradients(shared.gradients, d)
        learn(shared, quantiser)
    assert (quantiser.indices() == wanted).mean() > 0.95


def test_exponentials_are_those_of_the_library(shared, rng):
    x = np.concatenate([np.linspace(-1, 0, 1600), np.linspace(-80, 0, 16000), [0, -1e-8, -1e-3, -np.log(2)]])
    x = np.concatenate([x, np.zeros(-len(x) % BLOCK)]).astype(np.float32).reshape(-1, BLOCK)
    result = empty(Block, len(x))
    _exponentials(upload(x, Block), result)
    expected = np.exp(x.astype(np.float64))
    error = np.abs(result.to_numpy() / expected - 1)
    assert error[x >= -8].max() < 1e-6
    assert (error / (1 + np.abs(x))).max() < 2e-7  # the argument itself is known to half a unit of its last place only
    assert result.to_numpy()[x == 0].tolist() == [1.0] * int((x == 0).sum())
    far = np.full((1, BLOCK), -1e30, np.float32)
    result = empty(Block, 1)
    _exponentials(upload(far, Block), result)
    assert (np.abs(result.to_numpy()) < 1e-37).all()


@pytest.mark.parametrize(("kind", "bits"), [("hash", 3), ("kmeans", 5)])
def test_fixed_indices_gather_their_rows_gradients_and_stay(shared, rng, kind, bits):
    quantiser = shared.get(kind, bits)
    d, took, books = ask(shared, rng), quantiser.indices(), quantiser.book.to_numpy()
    learn(shared, quantiser)
    expected = np.zeros((3, 1 << bits, BLOCK))
    np.add.at(expected, (LEVEL, took), d)
    found = quantiser.book_gradient.to_numpy()
    np.testing.assert_allclose(found, expected.reshape(-1, BLOCK), rtol=1e-5, atol=1e-5)
    assert_taken(shared)
    ask(shared, rng)
    Adam().step(quantiser.parameters(shared.gradients), 1.0)
    np.testing.assert_array_equal(quantiser.indices(), took)
    moved = (quantiser.book.to_numpy() != books).any()
    assert moved == (kind == "hash")  # k-means comes after training
    assert not quantiser.book_gradient.to_numpy().any()


@pytest.mark.parametrize("bits", [1, 4, 10, MAX_HASH_BITS])
def test_hashes_are_in_range_spread_out_and_depend_on_the_place_alone(rng, bits):
    places = rng.integers(0, 257, (20000, 3))
    rows = hashed(places, bits)
    assert rows.dtype == np.int32
    assert 0 <= rows.min() <= rows.max() < 1 << bits
    order = rng.permutation(len(places))
    np.testing.assert_array_equal(hashed(places[order], bits), rows[order])
    for (x, y, z), row in zip(places[:100].tolist(), rows.tolist()):
        assert row == (x ^ y * 2654435761 ^ z * 805459861) % (1 << bits)
    counts = np.bincount(rows, minlength=1 << bits)
    assert counts.std() < 2 * np.sqrt(len(places) / (1 << bits)) + 1


@cpu
@pytest.mark.parametrize("bits", BITS)
def test_packed_indices_come_back_for_every_width_and_odd_counts(shared, rng, bits):
    indices = rng.integers(0, 1 << bits, TOTAL)
    book = rng.standard_normal((3, 1 << bits, BLOCK)).astype(np.float32)
    options = {"bits": bits, "trains": False}
    written = Codebook(COUNTS, TOTAL, indices=indices, book=book, **options)
    read = Codebook(COUNTS, TOTAL, seed=None, **options)
    first = 0
    for level, count in enumerate(COUNTS, 1):
        arrays = written.pack(level)
        shapes = {name: (a.dtype.str[1:], a.shape) for name, a in arrays.items()}
        assert shapes == Codebook.schema(written.header(), count)
        assert len(arrays["indices"]) <= 2 * len(pack_bits(indices[first : first + count], bits)) + 1
        read.unpack(level, arrays)
        first += count
    np.testing.assert_array_equal(read.indices(), indices)
    np.testing.assert_allclose(read.features(), written.features(), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(written.features(), book[LEVEL, indices])
