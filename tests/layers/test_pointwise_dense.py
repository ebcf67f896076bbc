"""The product over channels against NumPy's in float64, values and gradients."""

import numpy as np
import pytest
from keras import ops
from numerics import layer_gradients, run

from keras_sep.layers.pointwise_dense import PointwiseDense


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 20), ("mixed_bfloat16", 7)])
def test_values_and_gradients(dtype, bits):
    rng = np.random.default_rng(0)
    # Numbers that bfloat16 has, as the layer would round them.
    shapes = {"inputs": (2, 9, 33), "kernel": (33, 7), "bias": (7,), "cotangent": (2, 9, 7)}
    inputs, kernel, bias, cotangent = (
        rng.integers(-128, 129, shape).astype("float32") / 64 for shape in shapes.values()
    )
    layer = PointwiseDense(7, dtype=dtype)
    layer.build(inputs.shape)
    layer.set_weights([kernel, bias])
    outputs = run(layer, inputs)
    assert outputs.dtype == layer.compute_dtype
    found = [outputs, *layer_gradients(layer, inputs, ops.cast(cotangent, layer.compute_dtype))]
    x, kernel, cotangent = (array.astype("float64") for array in (inputs, kernel, cotangent))
    expected = [
        x @ kernel + bias,
        cotangent @ kernel.T,
        np.einsum("btc,btf->cf", x, cotangent),
        cotangent.sum((0, 1)),
    ]
    for ours, theirs in zip(found, expected, strict=True):
        error = np.abs(np.asarray(ours, "float64") - theirs)
        assert (error <= 2.0**-bits * np.abs(theirs).max()).all()
