"""Orders from likeness, cross-fades, and overlaps that grow until every source is heard."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from keras_sep.inference.chunk_joiner import ChunkJoiner, best_order


@given(
    st.integers(1, 6).flatmap(
        lambda n: npst.arrays("float64", (n, n), elements=st.floats(-1e6, 1e6))
    )
)
def test_best_order_is_the_best_of_all(similarity):
    n = len(similarity)
    order = best_order(similarity)
    assert sorted(order) == list(range(n))
    best = max(similarity[range(n), other].sum() for other in permutations(range(n)))
    assert similarity[range(n), order].sum() == pytest.approx(best)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_a_tie_keeps_the_order(n):
    np.testing.assert_array_equal(best_order(np.zeros((n, n))), np.arange(n))


def test_twelve_sources_in_reverse():
    np.testing.assert_array_equal(best_order(np.eye(12)[::-1]), np.arange(12)[::-1])


@pytest.mark.parametrize("hop", [6, 5, 1])
def test_cross_fade_is_linear_and_ends_with_the_new_chunk(hop):
    joiner = ChunkJoiner(10, 4)
    before, now = np.zeros((1, 1, 10), "float32"), np.ones((1, 1, 10), "float32")
    joined = np.concatenate([joiner.add(before, 0), joiner.add(now, hop), joiner.rest()], -1)
    expected = [0.0] * 6 + [0.2, 0.4, 0.6, 0.8] + [1.0] * hop
    np.testing.assert_allclose(joined[0, 0], expected, atol=1e-6)


def test_channels_get_the_same_order():
    sources = np.random.default_rng(0).normal(size=(3, 40)).astype("float32")
    orders = [[0, 1, 2], [2, 0, 1], [1, 0, 2]]
    chunk = np.stack([0.5 * sources[order] for order in orders])
    joiner = ChunkJoiner(40, 10)
    joined = np.concatenate([joiner.add(chunk, 0), joiner.rest()], -1)
    np.testing.assert_array_equal(joined, np.stack([0.5 * sources] * 3))


@pytest.mark.parametrize(("silent", "overlap"), [(0, 10), (5, 10), (10, 11), (29, 30), (60, 50)])
def test_overlap_grows_until_every_source_is_heard(silent, overlap):
    sources = np.ones((1, 2, 100), "float32")
    sources[0, 1, 100 - silent :] = 0.0
    # One loud sample tells enough.
    sources[0, 1, 99 - silent] = 10.0
    joiner = ChunkJoiner(100, 10)
    joiner.add(sources, 0)
    assert 100 - joiner.next_hop() == overlap


def test_a_source_that_is_never_heard_asks_for_no_overlap():
    joiner = ChunkJoiner(100, 10)
    joiner.add(np.zeros((1, 2, 100), "float32"), 0)
    assert joiner.next_hop() == 90
