"""The depthwise convolution against its definition and Keras's; its forms against each other."""

import keras
import numpy as np
import pytest
import torch
from keras import ops
from numerics import BACKEND, compiled, gradients, layer_gradients, run

from keras_sep.layers import DepthwiseConv1D, backend_forms, depthwise_forms

RNG = np.random.default_rng(0)
FORMS = [depthwise_forms.shifted, depthwise_forms.native]
if BACKEND == "torch":
    from keras_sep.layers.convolutions_torch import columns

    FORMS.append(columns)
else:
    FORMS.append(depthwise_forms.fused)


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def zeros_of(padding, frames, reach, strides):
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach, 0
    total = max((-(-frames // strides) - 1) * strides + reach + 1 - frames, 0)
    return total // 2, total - total // 2


def by_definition(x, kernel, strides, dilation, padding):
    taps, channels, _ = kernel.shape
    reach = dilation * (taps - 1)
    x = np.pad(x, ((0, 0), zeros_of(padding, x.shape[1], reach, strides), (0, 0)))
    starts = range(0, x.shape[1] - reach, strides)
    y = np.zeros((x.shape[0], len(starts), channels))
    for t, start in enumerate(starts):
        for k in range(taps):
            y[:, t] += kernel[k, :, 0] * x[:, start + k * dilation]
    return y


def built(inputs, *arguments, **keywords):
    layer = DepthwiseConv1D(*arguments, **keywords)
    layer.build(inputs.shape)
    layer.bias.assign(normal(inputs.shape[-1]))
    return layer


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation"),
    [(1, 1, 1), (2, 1, 3), (3, 1, 1), (3, 2, 1), (4, 3, 1), (3, 2, 2), (5, 1, 7), (2, 5, 1)],
)
@pytest.mark.parametrize("frames", [29, 30])
def test_definition(kernel_size, strides, dilation, padding, frames):
    x = normal(2, frames, 3)
    layer = built(x, kernel_size, strides, dilation, padding)
    expected = by_definition(x, ops.convert_to_numpy(layer.kernel), strides, dilation, padding)
    expected += ops.convert_to_numpy(layer.bias)
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)
    if BACKEND == "torch":
        import torch

        with torch.no_grad():  # As `predict` does: another form of it.
            np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation"),
    [(3, 1, 2**i) for i in range(8)] + [(5, 1, 1), (5, 1, 128), (7, 1, 8), (3, 2, 1), (7, 2, 1)],
)
def test_equals_keras_in_value_and_gradient(kernel_size, strides, dilation, padding):
    x = normal(2, dilation * (kernel_size - 1) + 8, 3)
    layer = built(x, kernel_size, strides, dilation, padding)
    theirs = keras.layers.DepthwiseConv1D(
        kernel_size, strides, padding, dilation_rate=dilation, data_format="channels_last"
    )
    theirs.build(x.shape)
    theirs.set_weights(layer.get_weights())
    y = run(layer, x)
    np.testing.assert_allclose(y, run(theirs, x), atol=1e-5)
    cotangent = normal(*y.shape)
    pairs = zip(
        layer_gradients(layer, x, cotangent), layer_gradients(theirs, x, cotangent), strict=True
    )
    for ours, expected in pairs:
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def definition(x, kernel, cotangent, strides, dilation):
    """Outputs, and the gradients of their product with `cotangent` by both arguments, in NumPy."""
    taps = len(kernel)
    frames = (x.shape[1] - dilation * (taps - 1) - 1) // strides + 1
    places = strides * np.arange(frames)[:, None] + dilation * np.arange(taps)
    by_inputs = np.zeros_like(x)
    np.add.at(by_inputs, (slice(None), places), cotangent[:, :frames, None] * kernel)
    by_kernel = np.einsum("btkc,btc->kc", x[:, places], cotangent[:, :frames])
    return np.einsum("btkc,kc->btc", x[:, places], kernel), by_inputs, by_kernel


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("taps", [3, 5, 7])
@pytest.mark.parametrize(
    ("strides", "dilation"), [*((1, 2**i) for i in range(8)), (2, 1), (2, 4), (3, 2)]
)
def test_forms_equal_the_definition_in_value_and_gradient(form, taps, strides, dilation):
    x, kernel = normal(2, dilation * (taps - 1) + 9, 2), normal(taps, 2)
    cotangent = normal(2, 9, 2)
    expected, *expected_gradients = definition(x, kernel, cotangent, strides, dilation)
    y = run(lambda x, k: form(x, k, strides, dilation), x, kernel)
    np.testing.assert_allclose(y, expected, atol=1e-5)

    def product(x, k):
        outputs = form(x, k, strides, dilation)
        return ops.sum(ops.multiply(outputs, cotangent[:, : expected.shape[1]]))

    for ours, theirs in zip(gradients(product, x, kernel), expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "causal"])
@pytest.mark.parametrize(("taps", "dilation"), [(1, 3), (3, 1), (4, 1), (3, 16), (5, 3)])
@pytest.mark.parametrize("frames", [7, 48])  # fewer than a wide kernel's reach; whole pixels
def test_padded_gradients_are_those_of_padded_inputs(taps, dilation, padding, frames):
    x, kernel, cotangent = normal(2, frames, 2), normal(taps, 2), normal(2, frames, 2)
    before, after = zeros_of(padding, frames, dilation * (taps - 1), 1)
    padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
    _, by_padded, by_kernel = definition(padded, kernel, cotangent, 1, dilation)

    def product(x, k):
        outputs = backend_forms.fastest(x, k, 1, dilation, padding)
        return ops.sum(ops.multiply(outputs, cotangent))

    by_inputs, by_kernel_here = gradients(product, x, kernel)
    np.testing.assert_allclose(by_inputs, by_padded[:, before : before + frames], atol=1e-5)
    np.testing.assert_allclose(by_kernel_here, by_kernel, atol=1e-4)


# What is shifted: eager code, compiled code.
SHIFTED = {"tensorflow": (False, True), "jax": (True, True), "torch": (False, False)}


class Spy(keras.layers.Layer):
    """Notes the choice of the form wherever it is called."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.seen = set()

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, inputs):
        self.seen.add(backend_forms.compiler_fuses())
        return self.dense(inputs)


def test_shifted_where_xla_compiles():
    spy = Spy()
    x = ops.ones((2, 3))
    spy(x)
    assert spy.seen == {SHIFTED[BACKEND][0]}
    spy.seen.clear()
    compiled(spy)(x)
    assert spy.seen == {SHIFTED[BACKEND][1]}


@pytest.mark.parametrize("jit", [False, True][: 1 + (BACKEND != "torch")])
def test_shifted_in_a_training_step_that_xla_compiles(jit):
    spy = Spy()
    spy.build((None, 3))
    model = keras.Sequential([keras.Input((3,)), spy])
    spy.seen.clear()
    model.compile("sgd", "mse", jit_compile=jit)
    model.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0)
    assert spy.seen == {SHIFTED[BACKEND][jit]}


@pytest.mark.parametrize("jit", [False, True][: 1 + (BACKEND != "torch")])
@pytest.mark.parametrize("strides", [1, 2])
def test_same_padding_trains_on_any_length(strides, jit):
    layer = DepthwiseConv1D(3, strides, padding="same")
    model = keras.Sequential([keras.Input((None, 2)), layer])
    model.compile("sgd", "mse", jit_compile=jit)
    for frames in (7, 8):
        model.train_on_batch(normal(2, frames, 2), normal(2, -(-frames // strides), 2))


@pytest.mark.parametrize("argument", ["kernel_size", "strides", "dilation_rate", "padding"])
def test_arguments_out_of_range(argument):
    with pytest.raises(ValueError, match=argument):
        DepthwiseConv1D(**({"kernel_size": 3} | {argument: 0}))


@pytest.mark.skipif(BACKEND != "torch", reason="the form is PyTorch's")
@pytest.mark.parametrize("by", [0, 1])
def test_gradient_by_one_alone(by):
    arguments = [ops.convert_to_tensor(normal(*shape)) for shape in ((2, 30, 3), (3, 3))]
    argument = arguments[by].requires_grad_()
    found, expected = (
        form(*arguments, 1, 4).square().sum() for form in (columns, depthwise_forms.shifted)
    )
    (found,), (expected,) = (torch.autograd.grad(value, argument) for value in (found, expected))
    np.testing.assert_allclose(found.cpu(), expected.cpu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_kernel_longer_than_the_frames_is_refused(missing):
    layer = DepthwiseConv1D(3, dilation_rate=4)
    assert layer(np.ones((1, 9, 2), "float32")).shape == (1, 1, 2)
    with pytest.raises(ValueError, match="inputs must have at least 9 positions"):
        layer(np.ones((1, 9 - missing, 2), "float32"))
