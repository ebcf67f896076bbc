"""Bits per dimension against its definition, over batches, with weights."""

import numpy as np
import pytest

from keras_sep.metrics import BitsPerDimension


def test_definition():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 3, 2, 5)).astype("float32")
    codes = rng.integers(0, 5, size=(4, 3, 2)).astype("int32")
    p = np.exp(logits.astype("float64"))
    p /= p.sum(-1, keepdims=True)
    bits = -np.log2(np.take_along_axis(p, codes[..., None], -1)[..., 0])
    metric = BitsPerDimension()
    assert float(metric.result()) == 0
    metric.update_state(codes[:3], logits[:3])
    metric.update_state(codes[3:], logits[3:])
    assert float(metric.result()) == pytest.approx(bits.mean(), rel=1e-5)
    metric.reset_state()
    weights = np.array([1.0, 0.0, 2.0, 0.0], "float32")
    metric.update_state(codes, logits, weights)
    expected = np.average(bits.mean((1, 2)), weights=weights)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_the_uniform_distribution_costs_the_bits_of_a_fixed_length():
    metric = BitsPerDimension()
    metric.update_state(np.zeros((2, 7), "int32"), np.zeros((2, 7, 128), "float32"))
    assert float(metric.result()) == pytest.approx(7.0, rel=1e-6)
