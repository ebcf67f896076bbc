"""Counting by tracing, against counts by hand."""

import keras

from keras_sep.layers import DepthwiseConv2D
from keras_sep.models import ConvTasNet, layer_costs, multiply_adds


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
