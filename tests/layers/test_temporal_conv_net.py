"""Blocks and TCN against the paper's equations in NumPy; what they see of the past and future."""

import numpy as np
import pytest
from keras import tree
from numerics import run
from numpy_conv_tasnet import randomize, temporal_block, temporal_conv_net

from keras_sep.layers import TemporalBlock, TemporalConvNet


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def tcn(**arguments):
    defaults = {
        "num_sources": 2,
        "bottleneck_dim": 4,
        "hidden_dim": 6,
        "skip_dim": 3,
        "num_blocks": 2,
        "num_repeats": 2,
    }
    layer = TemporalConvNet(**(defaults | arguments))
    layer.build((None, None, 5))
    return randomize(layer)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"residual": False},
        {"skip_dim": None},
        {"normalization": "batch", "conv_kernel_size": 5},
        {"normalization": "cumulative", "causal": True, "conv_kernel_size": 2},
    ],
    ids=str,
)
def test_block_equals_the_paper(arguments):
    x = normal(2, 20, 4)
    block = TemporalBlock(**({"hidden_dim": 6, "skip_dim": 3, "dilation_rate": 4} | arguments))
    block.build(x.shape)
    randomize(block)
    outputs = run(lambda x: tree.flatten(block(x)), x)
    expected = [y for y in temporal_block(block, x) if y.shape[-1]]
    for y, reference in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(y, reference, atol=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mask_activation": "relu"},
        {"mask_activation": "softmax", "num_sources": 3},
        {"skip_dim": None, "num_repeats": 1},
        {"normalization": "batch", "num_blocks": 1},
        {"normalization": "cumulative", "causal": True, "conv_kernel_size": 2, "num_sources": 1},
    ],
    ids=str,
)
def test_network_equals_the_paper(arguments):
    layer = tcn(**arguments)
    x = normal(2, 15, 5)
    masks = run(layer, x)
    np.testing.assert_allclose(masks, temporal_conv_net(layer, x), atol=1e-4)


def test_softmax_masks_sum_to_one_over_the_sources():
    masks = run(tcn(num_sources=4, mask_activation="softmax"), normal(2, 9, 5))
    np.testing.assert_allclose(masks.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("taps", "blocks", "repeats"), [(3, 3, 1), (3, 2, 2), (5, 1, 2)])
def test_receptive_field(taps, blocks, repeats, causal):
    """One changed frame reaches 1 + R(P-1)(2^X-1) frames: around it, or from it on."""
    layer = tcn(
        conv_kernel_size=taps,
        num_blocks=blocks,
        num_repeats=repeats,
        normalization="batch",
        causal=causal,
    )
    x = normal(1, 41, 5)
    changed = x.copy()
    changed[:, 20] += 3
    before, after = (run(layer, y) for y in (x, changed))
    (reached,) = np.nonzero(np.any(before != after, axis=(0, 1, 3)))
    reach = repeats * (taps - 1) * (2**blocks - 1)
    first = 20 if causal else 20 - reach // 2
    assert (reached[0], reached[-1]) == (first, first + reach)


@pytest.mark.parametrize("dilation", [1, 2, 4, 8, 16, 32, 64, 128])
def test_a_causal_block_sees_no_later_frame(dilation):
    """At any dilation: what comes after frame 200 changes no output before, and does after."""
    layer = TemporalBlock(6, 3, dilation_rate=dilation, normalization="cumulative", causal=True)
    x = normal(1, 400, 4)
    changed = x.copy()
    changed[:, 200:] += normal(1, 200, 4)
    for before, after in zip(run(layer, x), run(layer, changed), strict=True):
        np.testing.assert_array_equal(before[:, :200], after[:, :200])
        assert np.all(np.any(before[:, 200:] != after[:, 200:], axis=-1))
    lone = x.copy()
    lone[:, 200] += 3
    batch = TemporalBlock(6, 3, dilation_rate=dilation, normalization="batch", causal=True)
    skips = [run(batch, y)[1] for y in (x, lone)]
    (reached,) = np.nonzero(np.any(skips[0] != skips[1], axis=(0, 2)))
    assert list(reached) == [200 + k * dilation for k in range(3) if 200 + k * dilation < 400]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"skip_dim": 0}, "skip_dim"),
        ({"conv_kernel_size": 0}, "conv_kernel_size"),
        ({"conv_kernel_size": 4}, "conv_kernel_size must be odd"),
        ({"dilation_rate": 0}, "dilation_rate"),
        ({"normalization": "instance"}, "normalization"),
        ({"causal": True}, "causal=True cannot use"),
        ({"residual": False, "skip_dim": None}, "residual=False takes a skip_dim"),
    ],
    ids=str,
)
def test_block_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=named):
        TemporalBlock(**({"hidden_dim": 6, "skip_dim": 3} | arguments))
