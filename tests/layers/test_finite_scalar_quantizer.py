"""Rounding to levels against the paper's formula in NumPy and lucidrains' FSQ."""

import numpy as np
import pytest
import torch
from keras import ops
from numerics import gradients, run
from vector_quantize_pytorch import FSQ

from keras_sep.layers import FiniteScalarQuantizer

LEVELS = [[8, 5, 5, 5], [2, 3], [7]]


def normal(*shape, seed=0):
    return 2 * np.random.default_rng(seed).normal(size=shape).astype("float32")


def bounded(x, levels):
    """f of the paper's section 3.1, with the shift of its appendix."""
    levels = np.array(levels)
    half = (levels - 1) * 1.001 / 2
    offset = np.where(levels % 2 == 0, 0.5, 0)
    return np.tanh(x + np.arctanh(offset / half)) * half - offset


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_equals_the_paper(levels):
    layer, x = FiniteScalarQuantizer(levels), normal(3, 50, len(levels))
    widths = np.array(levels) // 2
    rounded = np.round(bounded(x.astype("float64"), levels))
    np.testing.assert_allclose(run(layer, x), rounded / widths, atol=1e-6)
    places = np.cumprod([1, *levels[:-1]])
    np.testing.assert_array_equal(run(layer.encode, x), ((rounded + widths) * places).sum(-1))


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_lucidrains(levels):
    theirs = FSQ(levels, preserve_symmetry=False) if 2 not in levels else None
    layer, x = FiniteScalarQuantizer(levels), normal(3, 50, len(levels))
    weight = normal(3, 50, len(levels), seed=1)
    leaf = torch.tensor(x, requires_grad=True)
    if theirs is None:  # They refuse two levels; the rounding itself works.
        theirs = FSQ([4] * len(levels))
        theirs._levels = torch.tensor(levels)
        outputs = theirs.bound(leaf)
    else:
        outputs, indices = theirs(leaf)
        np.testing.assert_array_equal(run(layer.encode, x), indices)
    (gradient,) = torch.autograd.grad((outputs * torch.tensor(weight)).sum(), leaf)
    np.testing.assert_allclose(run(layer, x), outputs.detach(), atol=1e-6)
    by_input = gradients(lambda y: ops.sum(ops.multiply(layer(y), weight)), x)[0]
    np.testing.assert_allclose(by_input, gradient, atol=1e-5)


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_codes_number_all_vectors(levels):
    layer = FiniteScalarQuantizer(levels)
    codes = np.arange(layer.num_embeddings, dtype="int32")
    vectors = run(layer.decode, codes)
    assert len(np.unique(vectors, axis=0)) == len(codes) == np.prod(levels)
    assert vectors.min() == -1
    beyond = 20 * np.sign(vectors).astype("float32")
    extreme = run(layer, beyond)
    np.testing.assert_array_equal(run(layer.decode, run(layer.encode, beyond)), extreme)
    x = normal(100, len(levels))
    np.testing.assert_array_equal(run(layer.decode, run(layer.encode, x)), run(layer, x))


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_every_level_can_be_reached(levels):
    x = np.linspace(-5, 5, 1001, dtype="float32")[:, None].repeat(len(levels), axis=1)
    reached = [len(np.unique(channel)) for channel in run(FiniteScalarQuantizer(levels), x).T]
    assert reached == levels


@pytest.mark.parametrize("levels", [[], [4, 1]], ids=str)
def test_levels_out_of_range(levels):
    with pytest.raises(ValueError, match="levels must be numbers from 2 on, one a channel, got"):
        FiniteScalarQuantizer(levels)


@pytest.mark.parametrize("channels", [1, 3])
def test_another_number_of_channels(channels):
    """Before and after it is built; one channel does not count as all."""
    layer, x = FiniteScalarQuantizer([4, 4]), np.zeros((2, channels), "float32")
    message = rf"quantizes 2 channels.* got an input of shape \(2, {channels}\)"
    for function in (layer, layer.encode):
        with pytest.raises(ValueError, match=message):
            function(x)
    layer(np.zeros((2, 2), "float32"))
    with pytest.raises(ValueError, match=message):
        layer(x)
