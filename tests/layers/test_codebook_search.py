"""Lookups in chunks, draws and k-means against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import compiled, run
from numpy_vector_quantizer import nearest

from keras_sep.layers import codebook_search
from keras_sep.layers.codebook_search import draw, k_means, nearest_codes


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# Few sizes: JAX compiles each.
SIZES = [(1, 1), (1, 9), (5, 3), (6, 3), (7, 3), (40, 3), (41, 9)]


@pytest.mark.parametrize(("num_vectors", "num_codes"), SIZES)
def test_chunks_do_not_show(num_vectors, num_codes):
    vectors, codes = normal(num_vectors, 3), normal(num_codes, 3, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook_search, "_DISTANCES", 20)
        patch.setattr(codebook_search, "_FEWEST_VECTORS", 4)
        indices = run(lambda *arrays: nearest_codes(*arrays), vectors, codes)
    np.testing.assert_array_equal(indices, nearest(vectors, codes))


@pytest.mark.parametrize(
    ("num_vectors", "num_codes", "limit"), [(5000, 512, 2**19), (100, 2**16, 2**20)]
)
def test_memory_of_a_lookup(num_vectors, num_codes, limit, monkeypatch):
    """No more distances at a time than stated: 2 MB, or 16 for each code."""
    sizes = []

    class Ops:
        def __getattr__(self, name):
            return getattr(ops, name)

        def matmul(self, a, b):
            product = ops.matmul(a, b)
            sizes.append(int(np.prod(product.shape)))
            return product

    monkeypatch.setattr(codebook_search, "ops", Ops())
    run(nearest_codes, normal(num_vectors, 2), normal(num_codes, 2))
    assert limit / 2 < max(sizes) <= limit


def test_ties_and_nan():
    codes = np.array([[1.0], [0.0], [0.0], [5.0]], "float32")
    vectors = np.array([[0.0], [0.5], [np.nan]], "float32")
    np.testing.assert_array_equal(run(nearest_codes, vectors, codes), [1, 0, 3])


compiled_draw = compiled(draw)


@given(st.sampled_from([(1, 5), (6, 5), (40, 5), (6, 12), (12, 12)]), st.integers(0, 10**6))
def test_draws_are_different_vectors_that_count(sizes, seed):
    num_vectors, num = sizes
    rng = np.random.default_rng(seed)
    weights = (rng.random(num_vectors) < 0.7).astype("float32")
    weights[rng.integers(num_vectors)] = 1
    random = rng.random(num + 1).astype("float32")
    vectors = np.arange(num_vectors, dtype="float32")[:, None]
    drawn = compiled_draw(*map(ops.convert_to_tensor, (vectors, weights, random)))
    drawn = ops.convert_to_numpy(drawn)[:, 0].astype(int)
    assert drawn.shape == (num,)
    assert np.all(weights[drawn] == 1)
    assert len(set(drawn)) == min(num, int(weights.sum()))


@pytest.mark.parametrize(("num_vectors", "num"), [(40, 5), (6, 12), (12, 12)])
def test_without_weights_all_vectors_count(num_vectors, num):
    rng = np.random.default_rng(num)
    vectors, random = normal(num_vectors, 2), rng.random(num + 1).astype("float32")
    weights = np.ones(num_vectors, "float32")
    expected = run(draw, vectors, weights, random)
    drawn = run(lambda vectors, random: draw(vectors, None, random), vectors, random)
    np.testing.assert_array_equal(drawn, expected)
    expected = run(k_means, vectors, weights, random)
    clusters = run(lambda vectors, random: k_means(vectors, None, random), vectors, random)
    for ours, theirs in zip(clusters, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_draws_are_uniform():
    """The first and the last one drawn are each of 8 vectors about equally often."""
    rng = np.random.default_rng(0)
    arrays = np.arange(8, dtype="float32")[:, None], np.ones(8, "float32")
    draws = [
        compiled_draw(*map(ops.convert_to_tensor, (*arrays, r)))
        for r in rng.random((800, 5), "float32")
    ]
    for place in (0, -1):
        drawn = [int(ops.convert_to_numpy(vectors)[place, 0]) for vectors in draws]
        assert np.all(np.abs(np.bincount(drawn, minlength=8) - 100) < 5 * np.sqrt(100))


def test_k_means_is_lloyds():
    vectors, weights = normal(60, 2), np.ones(60, "float32")
    random = np.random.default_rng(1).random(6).astype("float32")
    centres = run(draw, vectors, weights, random)
    for _ in range(10):
        indices = nearest(vectors, centres)
        centres = np.stack([vectors[indices == k].mean(0) for k in range(5)])
    counts, means = run(k_means, vectors, weights, random)
    np.testing.assert_allclose(means, centres, atol=1e-5)
    np.testing.assert_array_equal(counts, np.bincount(indices, minlength=5))
