"""The forms of a block for XLA against PyTorch's operations and gradients in float64."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from numerics import BACKEND, compiled, compiled_gradients

from keras_sep.layers import TemporalBlock
from keras_sep.layers.global_norm_forms import normalized_depthwise, normalized_product
from keras_sep.models import ConvTasNet

pytestmark = pytest.mark.skipif(
    BACKEND == "torch", reason="forms for XLA, which PyTorch never runs"
)

EPSILON = 1e-8
CHANNELS, FILTERS = 5, 7


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def weights(*kernel_shape, bias):
    """Slope, γ, β, kernel and bias, none of them as at first."""
    norm = (1 + normal(1, CHANNELS) / 2, normal(2, CHANNELS) / 2)
    return np.full((1, 1), 0.3, "float32"), *norm, normal(3, *kernel_shape), normal(4, bias)


def normalized(x, slope, gamma, beta):
    p = torch.clamp(x, min=0) + slope * torch.clamp(x, max=0)
    mean = p.mean((1, 2), keepdim=True)
    deviation = (p.var((1, 2), keepdim=True, correction=0) + EPSILON).sqrt()
    return gamma * (p - mean) / deviation + beta


def expected_depthwise(x, slope, gamma, beta, kernel, bias, dilation):
    x = normalized(x, slope, gamma, beta).transpose(1, 2)
    padding = dilation * (len(kernel) // 2)
    kernel = kernel.T[:, None]
    y = torch.nn.functional.conv1d(
        x, kernel, bias, padding=padding, dilation=dilation, groups=len(bias)
    )
    return y.transpose(1, 2)


def expected_product(x, slope, gamma, beta, kernel, bias):
    return normalized(x, slope, gamma, beta) @ kernel + bias


def check(function, expected, x, parts, outputs_channels):
    """Values, and gradients by the inputs and all weights."""
    cotangent = normal(5, *x.shape[:2], outputs_channels)
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, *parts)]
    outputs = expected(*tensors)
    (outputs * torch.from_numpy(cotangent)).sum().backward()
    values = compiled(function)(*map(ops.convert_to_tensor, (x, *parts)))
    np.testing.assert_allclose(ops.convert_to_numpy(values), outputs.detach(), atol=1e-4)
    found = compiled_gradients(lambda *a: ops.sum(function(*a) * cotangent), x, *parts)
    for gradient, tensor in zip(found, tensors, strict=True):
        wanted = tensor.grad.numpy()
        np.testing.assert_allclose(gradient, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


@settings(max_examples=6, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(2, 40),
    taps=st.sampled_from([1, 3, 5]),
    dilation=st.sampled_from([1, 2, 9, 50]),
)
def test_depthwise(batch, frames, taps, dilation):
    parts = weights(taps, CHANNELS, bias=CHANNELS)
    check(
        lambda x, *parts: normalized_depthwise(x, parts, dilation, EPSILON),
        lambda *tensors: expected_depthwise(*tensors, dilation),
        normal(0, batch, frames, CHANNELS),
        parts,
        CHANNELS,
    )


@settings(max_examples=6, deadline=None)
@given(batch=st.integers(1, 3), frames=st.integers(2, 40))
def test_product(batch, frames):
    check(
        lambda x, *parts: normalized_product(x, parts, EPSILON),
        expected_product,
        normal(0, batch, frames, CHANNELS),
        weights(CHANNELS, FILTERS, bias=FILTERS),
        FILTERS,
    )


@pytest.mark.parametrize(
    "arguments", [{}, {"skip_dim": None}, {"residual": False}, {"conv_kernel_size": 5}], ids=str
)
def test_a_block_in_training_equals_the_plain_one(arguments):
    block = TemporalBlock(**({"hidden_dim": 6, "skip_dim": 3, "dilation_rate": 2} | arguments))
    x = normal(0, 2, 21, 4)
    block.build(x.shape)
    arrays = [normal(i, *w.shape) for i, w in enumerate(block.trainable_variables)]

    def loss(training):
        def of(x, *arrays):
            outputs, _ = block.stateless_call(list(arrays), [], x, training=training)
            return sum(ops.sum(ops.sin(y)) for y in keras.tree.flatten(outputs))

        return of

    plain, trained = (compiled_gradients(loss(training), x, *arrays) for training in (False, True))
    for p, t in zip(plain, trained, strict=True):
        np.testing.assert_allclose(t, p, atol=1e-4 * max(1, np.abs(p).max()))
    assert any(np.any(t != p) for p, t in zip(plain, trained, strict=True))


def test_a_model_in_training_runs_them(monkeypatch):
    """`fit` has the model know that it trains, and its prediction takes the plain form."""
    calls = []
    monkeypatch.setattr(
        "keras_sep.layers.temporal_block.normalized_product",
        lambda *arguments: calls.append(arguments) or normalized_product(*arguments),
    )
    model = ConvTasNet(
        filters=8, kernel_size=4, bottleneck_dim=4, hidden_dim=6, num_blocks=2, num_repeats=1
    )
    model.compile("sgd", "mse", jit_compile=True)
    sources = normal(0, 2, 2, 40)
    model.predict(sources.sum(1), verbose=0)
    assert not calls
    model.train_on_batch(sources.sum(1), sources)
    assert len(calls) >= 2
