"""Counting by tracing, against counts by hand."""

import keras
import pytest

from keras_sep.layers import DepthwiseConv2D, DepthwiseSeparableConv2D
from keras_sep.models import (
    VQVAE2,
    ConvTasNet,
    PixelCNN,
    SoundClassifier,
    layer_costs,
    multiply_adds,
)


def test_layers_by_hand():
    model = keras.Sequential(
        [
            keras.Input((8, 6, 3)),
            keras.layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
            DepthwiseConv2D(3),
            keras.layers.Conv2DTranspose(5, 2, strides=2, use_bias=False),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(7),
        ]
    )
    products = [4 * 3 * 9 * 3 * 4, 2 * 1 * 9 * 4, 2 * 1 * 4 * 4 * 5, 0, 5 * 7]
    costs = layer_costs(model, (8, 6, 3))
    assert [cost.multiply_adds for cost in costs] == products
    assert [cost.parameters for cost in costs] == [108, 40, 80, 0, 42]
    assert [cost.output_shape for cost in costs][:2] == [(4, 3, 4), (2, 1, 4)]
    assert multiply_adds(model, (8, 6, 3)) == sum(products)


@pytest.mark.parametrize("taps", [3, 5])
def test_separable_convolution_costs_what_its_paper_says(taps):
    """D_K²·M·D_F² + M·N·D_F², which is 1/N + 1/D_K² of a full convolution."""
    channels, filters, size = 6, 10, 7
    block = DepthwiseSeparableConv2D(filters, taps)
    model = keras.Sequential([keras.Input((size, size, channels)), block])
    counted = multiply_adds(model, (size, size, channels))
    assert counted == taps**2 * channels * size**2 + channels * filters * size**2
    full = taps**2 * channels * filters * size**2
    assert counted / full == pytest.approx(1 / filters + 1 / taps**2)


def test_conv_tasnet_equals_its_own_table():
    """But for masks times features, which have no kernel, and for edges."""
    model = ConvTasNet(
        filters=8, bottleneck_dim=4, hidden_dim=6, skip_dim=3, num_blocks=2, num_repeats=1
    )
    model.build((None, None))
    seconds = 100
    masks = model.num_sources * model.filters * model.sample_rate / model.strides
    expected = sum(row.multiply_adds for row in model.costs()) - masks
    counted = multiply_adds(model, (seconds * model.sample_rate,))
    assert abs(counted / seconds / expected - 1) < 1e-4


def test_each_patch_of_a_sound_counts():
    """The patches of one waveform are a batch to the network inside."""
    model = SoundClassifier(["a", "b", "c"], alpha=1 / 16)
    of_patch = multiply_adds(model.network, (96, 64, 1))
    assert of_patch > 0
    assert multiply_adds(model, (15600,)) == of_patch
    assert multiply_adds(model, (16000,)) == 2 * of_patch
    network = layer_costs(model, (16000,))[-1]
    assert (network.output_shape, network.parameters) == ((3,), model.count_params())


def test_vq_vae_2_by_hand():
    model = VQVAE2(
        num_embeddings=4, embedding_dim=4, hidden_dim=8, residual_dim=2, num_residual_blocks=1
    )
    residual = 9 * 8 * 2 + 2 * 8
    positions = {  # products at each pixel of maps of that size
        8: 16 * 3 * 4 + 16 * 4 * 3,  # the first convolution, the last transposed one
        4: 16 * 4 * 8 + 9 * 8 * 8 + residual  # the rest of the bottom encoder
        + (8 + 4) * 4  # its projection, with what is decoded from the top
        + 9 * (4 + 4) * 8 + residual + 16 * 8 * 4,  # the rest of the decoder
        2: 16 * 8 * 4 + 9 * 4 * 8 + residual + 8 * 4  # the top encoder and its projection
        + 9 * 4 * 8 + residual + 16 * 8 * 4  # what is decoded from the top
        + 16 * 4 * 4,  # the top's vectors, upsampled
    }  # fmt: skip
    expected = sum(size**2 * products for size, products in positions.items())
    assert multiply_adds(model, (16, 16, 3)) == expected


def test_pixelcnn_by_hand():
    model = PixelCNN(
        num_embeddings=5,
        filters=4,
        num_layers=2,
        kernel_size=3,
        first_kernel_size=3,
        num_attention_layers=1,
        num_heads=2,
        key_dim=3,
    )
    # Of a block: vertical and horizontal stack, the link between them, and what leaves the block.
    first = 3 * 4 * 8 + 4 * 8 + 8 * 8 + 4 * 4
    second = 2 * 3 * 4 * 8 + 2 * 4 * 8 + 8 * 8 + 4 * 4
    attention = 2 * (4 + 2) * 6 + 4 * 6 + 6 * 4
    assert multiply_adds(model, (3, 4)) == 12 * (first + second + attention + 4 * 4 + 4 * 5)
