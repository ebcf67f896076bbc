"""Convolutions of images and their forms against Keras's, in value and gradient."""

import keras
import numpy as np
import pytest
from numerics import layer_gradients, run

from keras_sep.layers import backend_forms, convolution_forms
from keras_sep.layers.convolutions import Conv2D, Conv2DTranspose

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def check_equal(name, arguments, x):
    ours = {"Conv2D": Conv2D, "Conv2DTranspose": Conv2DTranspose}[name](*arguments)
    theirs = getattr(keras.layers, name)(*arguments)
    weights = []
    for layer in (ours, theirs):
        layer.build(x.shape)
        weights = weights or [normal(*weight.shape) for weight in layer.weights]
        layer.set_weights(weights)
    expected = run(theirs, x)
    np.testing.assert_allclose(run(ours, x), expected, rtol=1e-4, atol=1e-5)
    assert tuple(ours.compute_output_shape(x.shape)) == expected.shape
    cotangent = normal(*expected.shape)
    pairs = zip(
        layer_gradients(ours, x, cotangent), layer_gradients(theirs, x, cotangent), strict=True
    )
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fuses", [True, False])
@pytest.mark.parametrize("size", [(6, 8), (5, 6), (1, 1)])
def test_convolution_of_stride_2_equals_keras(monkeypatch, fuses, size):
    monkeypatch.setattr(backend_forms, "compiler_fuses", lambda: fuses)
    check_equal("Conv2D", (5, 4, 2, "same"), normal(2, *size, 3))


@pytest.mark.parametrize("convolve", [None, convolution_forms.native, convolution_forms.product])
@pytest.mark.parametrize("size", [(3, 4), (1, 1)])
def test_transposed_convolution_of_stride_2_equals_keras(monkeypatch, convolve, size):
    def doubling(inputs, kernel):
        return convolution_forms.doubling(inputs, kernel, convolve)

    if convolve:
        monkeypatch.setattr(backend_forms, "doubling_conv", doubling)
    check_equal("Conv2DTranspose", (5, 4, 2, "same"), normal(2, *size, 3))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Conv2D", (5, 1)),
        ("Conv2D", (5, 3, 1, "same")),
        ("Conv2D", (5, 4, 2)),
        ("Conv2D", (5, 4, 1, "same")),
        ("Conv2D", (5, 3, 2, "same")),
        ("Conv2D", (5, (2, 3), (1, 2), "same")),
        ("Conv2D", (5, 3, 1, "same", "channels_last", 2)),
        ("Conv2D", (6, 3, 1, "valid", "channels_last", 1, 3)),
        ("Conv2DTranspose", (5, 4, 2)),
        ("Conv2DTranspose", (5, 4, 2, "same")),
    ],
)
def test_other_arguments_equal_keras(name, arguments):
    check_equal(name, arguments, normal(2, 6, 8, 3))


def test_form_is_chosen_where_a_compiler_fuses(monkeypatch):
    calls = []
    for name in ("halving", "doubling"):
        form = getattr(convolution_forms, name)
        monkeypatch.setattr(
            convolution_forms, name, lambda *a, form=form: calls.append(form) or form(*a)
        )
    x, down, up = normal(1, 4, 4, 2), normal(4, 4, 2, 3), normal(4, 4, 3, 2)
    run(backend_forms.halving_conv, x, down)
    run(backend_forms.doubling_conv, x, up)
    assert len(calls) == (2 if keras.backend.backend() == "jax" else 0)


def test_weights_of_keras_layers_are_loaded(tmp_path):
    """Files of models made of Keras's own layers."""

    def model(layers):
        return keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(4, 4, 2, "same"),
                layers.Conv2D(4, 1),
                layers.Conv2DTranspose(3, 4, 2, "same"),
            ]
        )

    class Ours:
        Conv2D, Conv2DTranspose = Conv2D, Conv2DTranspose

    theirs, ours, x = model(keras.layers), model(Ours), normal(1, 8, 8, 3)
    theirs.save_weights(tmp_path / "their.weights.h5")
    ours.load_weights(tmp_path / "their.weights.h5")
    np.testing.assert_allclose(run(ours, x), run(theirs, x), rtol=1e-4, atol=1e-5)


def test_forms_in_mixed_precision(monkeypatch):
    monkeypatch.setattr(backend_forms, "compiler_fuses", lambda: True)
    x = normal(2, 4, 6, 3)
    for layer in (
        Conv2D(5, 4, 2, "same", dtype="mixed_bfloat16"),
        Conv2D(5, 1, dtype="mixed_bfloat16"),
        Conv2DTranspose(5, 4, 2, "same", dtype="mixed_bfloat16"),
    ):
        layer.build(x.shape)
        outputs = layer(x)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        assert layer.kernel.dtype == "float32"
