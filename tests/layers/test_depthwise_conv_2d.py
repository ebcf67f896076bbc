"""The 2-D depthwise convolution against Keras's and PyTorch's; its forms against each other."""

import keras
import numpy as np
import pytest
import torch
from keras import ops
from numerics import BACKEND, compiled_gradients, gradients, layer_gradients, run

from keras_sep.layers import DepthwiseConv2D, depthwise_forms

RNG = np.random.default_rng(0)
if BACKEND == "torch":
    from keras_sep.layers.convolutions_torch import images

    FORMS = [depthwise_forms.native, images]
else:
    FORMS = [depthwise_forms.native, depthwise_forms.fused_2d]


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


def built(inputs, *arguments, **keywords):
    layer = DepthwiseConv2D(*arguments, **keywords)
    layer.build(inputs.shape)
    layer.bias.assign(normal(inputs.shape[-1]))
    return layer


def by_torch(inputs, layer, padding):
    """PyTorch's convolution after explicit zeros: left, right, top, bottom."""
    kernel = torch.from_numpy(ops.convert_to_numpy(layer.kernel).transpose(2, 3, 0, 1).copy())
    images = torch.nn.functional.pad(torch.from_numpy(inputs.transpose(0, 3, 1, 2)), padding)
    outputs = torch.nn.functional.conv2d(
        images,
        kernel,
        torch.from_numpy(ops.convert_to_numpy(layer.bias).copy()),
        layer.strides,
        dilation=layer.dilation_rate,
        groups=len(kernel),
    )
    return outputs.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation", "padding"),
    [
        (2, 1, 1, "same"),
        (3, 1, 1, "same"),
        (3, 2, 1, "same"),
        (3, 1, 2, "same"),
        (3, 2, 2, "same"),
        (5, 1, 2, "same"),
        (5, 2, 1, "same"),
        (3, 1, 1, "valid"),
        (5, 2, 2, "valid"),
    ],
)
def test_equals_keras_in_value_and_gradient(kernel_size, strides, dilation, padding):
    x = normal(2, 9, 12, 3)
    layer = built(x, kernel_size, strides, dilation, padding)
    theirs = keras.layers.DepthwiseConv2D(
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


@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2)]
)
def test_paddings_of_torch_and_keras(kernel_size, strides, dilation):
    """torchvision pads (k - 1) // 2 · d on each side; Keras k // 2 - 1 and k // 2 when striding."""
    x = normal(2, 9, 12, 3)
    half = (kernel_size - 1) // 2 * dilation
    before = half if strides == 1 else half - 1
    for padding, zeros in {
        "torch": (half, half, half, half),
        "keras": (before, half, before, half),
    }.items():
        layer = built(x, kernel_size, strides, dilation, padding)
        y = run(layer, x)
        np.testing.assert_allclose(y, by_torch(x, layer, zeros), atol=1e-5)
        assert layer.compute_output_shape(x.shape) == y.shape


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("taps", "strides", "dilation", "padding"),
    [
        # PyTorch's form has a convolution for dilations of 1 and 2 here, and takes others by taps.
        *((3, 1, 2**i, "same") for i in range(5)),
        (3, 1, 3, "torch"),
        (3, 1, 8, "valid"),
        *((5, 1, 2**i, "torch") for i in range(4)),
        *((7, 1, 2**i, "same") for i in range(4)),
        (4, 1, 1, "same"),
        (4, 1, 2, "same"),
        (3, 1, 2, "valid"),
        (3, 2, 1, "torch"),
        (3, 2, 2, "same"),
        (3, 2, 3, "torch"),
        (3, 3, 2, "keras"),
        (3, 2, 1, "keras"),
        (4, 2, 1, "same"),
        (5, 3, 1, "same"),
        (5, 2, 1, "torch"),
        (7, 2, 1, "same"),
    ],
)
def test_forms_agree_in_value_and_gradient(form, taps, strides, dilation, padding):
    x, kernel = normal(2, 18, 17, 3), normal(taps, taps, 3)

    def product(form):
        return lambda x, k: ops.sum(ops.multiply(form(x, k, strides, dilation, padding), cotangent))

    expected, y = (
        run(lambda x, k, form=form: form(x, k, strides, dilation, padding), x, kernel)
        for form in (depthwise_forms.shifted_2d, form)
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)
    cotangent = normal(*expected.shape)
    # `fused_2d` is for XLA.
    by_form = compiled_gradients if form is depthwise_forms.fused_2d else gradients
    pairs = zip(
        by_form(product(form), x, kernel),
        gradients(product(depthwise_forms.shifted_2d), x, kernel),
        strict=True,
    )
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, atol=5e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_images_of_other_sizes_than_built_for_are_refused(padding):
    layer = DepthwiseConv2D(3, padding=padding)
    layer.build((None, None, None, 6))
    with pytest.raises(ValueError, match=r"expected axis -1 .* to have value 6"):
        layer(np.ones((1, 5, 5, 3), "float32"))


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_kernel_wider_than_the_image_is_refused(dilation, missing):
    layer = DepthwiseConv2D(3, dilation_rate=dilation)
    size = 2 * dilation + 1
    assert layer(np.ones((1, size, size + 1, 2), "float32")).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match=f"inputs must have at least {size} positions"):
        layer(np.ones((1, size + 1, size - missing, 2), "float32"))


@pytest.mark.skipif(BACKEND != "torch", reason="the form is PyTorch's")
@pytest.mark.parametrize("by", ["inputs", "kernel"])
@pytest.mark.parametrize("size", [(9, 12), (18, 17)])
def test_gradient_by_one_alone(by, size):
    x, kernel = (torch.tensor(normal(*shape)) for shape in ((2, *size, 3), (3, 3, 3)))
    argument = (x if by == "inputs" else kernel).requires_grad_()
    found, expected = (
        torch.autograd.grad(form(x, kernel, 1, 2, "same").square().sum(), argument)[0]
        for form in (images, depthwise_forms.shifted_2d)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(BACKEND != "torch", reason="the form is PyTorch's")
def test_gradients_by_functions():
    x, kernel = (torch.tensor(normal(*shape)) for shape in ((2, 9, 12, 3), (3, 3, 3)))
    pairs = zip(
        *(
            torch.func.grad(lambda *a, form=form: form(*a, 1, 2, "same").square().sum(), (0, 1))(
                x, kernel
            )
            for form in (images, depthwise_forms.shifted_2d)
        ),
        strict=True,
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(BACKEND != "torch", reason="TorchScript is PyTorch's")
def test_recorded(tmp_path):
    x, kernel = (torch.tensor(normal(*shape)) for shape in ((2, 9, 12, 3), (3, 3, 3)))
    with torch.no_grad():
        recorded = torch.jit.trace(lambda x, kernel: images(x, kernel, 1, 2, "same"), (x, kernel))
    recorded.save(str(tmp_path / "recorded.pt"))
    found = torch.jit.load(tmp_path / "recorded.pt")(x, kernel)
    np.testing.assert_allclose(
        found, depthwise_forms.shifted_2d(x, kernel, 1, 2, "same"), atol=1e-5
    )


@pytest.mark.skipif(BACKEND != "torch", reason="the form is PyTorch's")
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (1, 2), (2, 3)])
def test_second_derivatives(strides, dilation):
    x, kernel = (torch.tensor(normal(*shape)).double() for shape in ((1, 7, 8, 2), (3, 3, 2)))
    arguments = x.requires_grad_(), kernel.requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x, kernel: images(x, kernel, strides, dilation, "same"), arguments
    )


@pytest.mark.skipif(BACKEND != "jax", reason="others compile no loop by itself")
def test_gradients_outside_of_a_program_compile_once(monkeypatch):
    import jax

    calls, of_frames = [], depthwise_forms.sum_over_frames
    monkeypatch.setattr(
        depthwise_forms, "sum_over_frames", lambda x: calls.append(x.shape) or of_frames(x)
    )
    x, kernel = normal(1, 6, 11, 5), normal(3, 3, 5)

    def value(kernel):
        return ops.sum(depthwise_forms.fused_2d(x, kernel, 1, 1, "same"))

    jax.grad(value)(kernel)
    traced = len(calls)
    jax.grad(value)(kernel)
    assert len(calls) == traced > 0


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (1, 2), (1, 16)])
def test_trains_on_any_size_as_keras_does(strides, dilation, padding):
    """Compiled with XLA where the backend does: sizes are unknown while TensorFlow traces."""
    options = {"padding": padding, "dilation_rate": dilation}
    layers = [
        DepthwiseConv2D(3, strides, **options),
        keras.layers.DepthwiseConv2D(3, strides, data_format="channels_last", **options),
    ]
    models = [keras.Sequential([keras.Input((None, None, 2)), layer]) for layer in layers]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile("sgd", "mse", jit_compile=BACKEND != "torch")
    for height, width in ((7, 9), (8, 10)):
        x = normal(2, height + 2 * dilation, width + 2 * dilation, 2)
        y = normal(*layers[0].compute_output_shape(x.shape))
        for model in models:
            model.train_on_batch(x, y)
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_gradient_in_bfloat16(form, padding, dilation):
    """Against the gradient in float32 of the same, rounded, values."""
    arrays = normal(2, 9, 12, 3), normal(3, 3, 3)
    arrays = [ops.convert_to_numpy(ops.cast(ops.cast(a, "bfloat16"), "float32")) for a in arrays]
    shape = run(lambda x, k: depthwise_forms.shifted_2d(x, k, 1, dilation, padding), *arrays).shape
    cotangent = normal(*shape)

    def product(form, dtype):
        def function(x, k):
            y = form(ops.cast(x, dtype), ops.cast(k, dtype), 1, dilation, padding)
            assert keras.backend.standardize_dtype(y.dtype) == dtype
            return ops.sum(ops.multiply(ops.cast(y, "float32"), cotangent))

        return function

    pairs = zip(
        gradients(product(form, "bfloat16"), *arrays),
        gradients(product(depthwise_forms.shifted_2d, "float32"), *arrays),
        strict=True,
    )
    for ours, expected in pairs:
        np.testing.assert_allclose(ours, expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize("argument", ["kernel_size", "strides", "dilation_rate", "padding"])
def test_arguments_out_of_range(argument):
    with pytest.raises(ValueError, match=argument):
        DepthwiseConv2D(**({"kernel_size": 3} | {argument: 0}))
