"""Residual blocks against PyTorch's convolutions."""

import numpy as np
import pytest
import torch
from numerics import run
from torch.nn import functional

from keras_sep.layers import ResidualStack


@pytest.mark.parametrize("rank", [1, 2])
def test_equals_pytorch(rank):
    layer = ResidualStack(2, 3, rank)
    x = np.random.default_rng(0).normal(size=(2, *[6, 7][:rank], 4)).astype("float32")
    layer.build(x.shape)
    conv = {1: functional.conv1d, 2: functional.conv2d}[rank]
    y = torch.tensor(np.moveaxis(x, -1, 1))
    weights = [torch.tensor(np.array(weight)) for weight in layer.get_weights()]
    for block in range(2):
        wide, wide_bias, narrow, narrow_bias = weights[4 * block : 4 * block + 4]
        wide, narrow = (w.movedim((-1, -2), (0, 1)) for w in (wide, narrow))
        hidden = torch.relu(conv(torch.relu(y), wide, wide_bias, padding=1))
        y = y + conv(hidden, narrow, narrow_bias)
    expected = np.moveaxis(torch.relu(y).numpy(), 1, -1)
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "num_blocks must be at least 1, got 0"),
        ((1, 0), "hidden_dim must be at least 1, got 0"),
        ((1, 1, 3), "rank must be 1 or 2, got 3"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResidualStack(*arguments)
