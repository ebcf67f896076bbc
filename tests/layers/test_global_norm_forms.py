"""The forms of a block in training against PyTorch's operations and gradients in float64."""

from importlib import import_module

import keras
import numpy as np
import pytest
import torch
from keras import ops
from numerics import BACKEND, compiled, compiled_gradients

from keras_sep.layers import TemporalBlock
from keras_sep.models import ConvTasNet

FORMS = import_module(f"keras_sep.layers.global_norm_{'torch' if BACKEND == 'torch' else 'forms'}")
EPSILON = 1e-8
CHANNELS, FILTERS = 5, 7


@pytest.fixture
def on_device():
    """Tensors that a test makes by PyTorch lie where Keras puts its own."""
    with ops.zeros(()).device:
        yield


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def weights(*kernel_shape, bias):
    """Slope, γ, β, kernel and bias, none of them as at first."""
    norm = (1 + normal(1, CHANNELS) / 2, normal(2, CHANNELS) / 2)
    return np.full((1, 1), 0.3, "float32"), *norm, normal(3, *kernel_shape), normal(4, bias)


def normalized(x, slope, gamma, beta, epsilon=EPSILON):
    p = torch.clamp(x, min=0) + slope * torch.clamp(x, max=0)
    mean = p.mean((1, 2), keepdim=True)
    deviation = (p.var((1, 2), keepdim=True, correction=0) + epsilon).sqrt()
    return gamma * (p - mean) / deviation + beta


def expected_depthwise(x, slope, gamma, beta, kernel, bias, dilation, epsilon=EPSILON):
    x = normalized(x, slope, gamma, beta, epsilon).transpose(1, 2)
    padding = dilation * (len(kernel) // 2)
    kernel = kernel.T[:, None]
    y = torch.nn.functional.conv1d(
        x, kernel, bias, padding=padding, dilation=dilation, groups=len(bias)
    )
    return y.transpose(1, 2)


def expected_product(x, slope, gamma, beta, kernel, bias, epsilon=EPSILON):
    return normalized(x, slope, gamma, beta, epsilon) @ kernel + bias


def check(function, expected, x, parts, outputs_channels):
    """Values, and gradients by the inputs and all weights."""
    cotangent = normal(5, *x.shape[:2], outputs_channels)
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, *parts)]
    outputs = expected(*tensors)
    (outputs * torch.from_numpy(cotangent)).sum().backward()
    values = compiled(function)(*map(ops.convert_to_tensor, (x, *parts)))
    np.testing.assert_allclose(ops.convert_to_numpy(values), outputs.detach(), atol=1e-4)
    found = compiled_gradients(lambda *a: ops.sum(ops.multiply(function(*a), cotangent)), x, *parts)
    for gradient, tensor in zip(found, tensors, strict=True):
        wanted = tensor.grad.numpy()
        np.testing.assert_allclose(gradient, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize(
    ("batch", "frames", "taps", "dilation"),
    [(1, 1, 5, 1), (2, 12, 5, 9), (3, 9, 5, 9), (2, 20, 7, 3), (2, 40, 3, 50), (1, 33, 1, 2)],
)
def test_depthwise(batch, frames, taps, dilation):
    parts = weights(taps, CHANNELS, bias=CHANNELS)
    check(
        lambda x, *parts: FORMS.normalized_depthwise(x, parts, dilation, EPSILON),
        lambda *tensors: expected_depthwise(*tensors, dilation),
        normal(0, batch, frames, CHANNELS),
        parts,
        CHANNELS,
    )


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 17)])
def test_product(batch, frames):
    check(
        lambda x, *parts: FORMS.normalized_product(x, parts, EPSILON),
        expected_product,
        normal(0, batch, frames, CHANNELS),
        weights(CHANNELS, FILTERS, bias=FILTERS),
        FILTERS,
    )


@pytest.mark.parametrize(
    ("form", "expected", "kernel"),
    [
        ("depthwise", lambda *x: expected_depthwise(*x, 2, epsilon=1.0), (3, CHANNELS)),
        ("product", lambda *x: expected_product(*x, epsilon=1.0), (CHANNELS, CHANNELS)),
    ],
)
def test_second_order_gradient(form, expected, kernel):
    parts = weights(*kernel, bias=CHANNELS)
    x = normal(0, 1, 7, CHANNELS)
    numbers = (2, 1.0) if form == "depthwise" else (1.0,)

    def value(x):
        function = getattr(FORMS, f"normalized_{form}")
        return ops.sum(ops.sin(function(x, parts, *numbers)))

    def steepness(x):
        """Squares of a gradient."""
        if BACKEND == "jax":
            import jax

            return ops.sum(ops.square(jax.grad(value)(x)))
        if BACKEND == "torch":
            (gradient,) = torch.autograd.grad(value(x), x, create_graph=True)
            return ops.sum(ops.square(gradient))
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = value(x)
        return ops.sum(ops.square(tape.gradient(outputs, x)))

    leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    fixed = [torch.tensor(part, dtype=torch.float64) for part in parts]
    (gradient,) = torch.autograd.grad(expected(leaf, *fixed).sin().sum(), leaf, create_graph=True)
    gradient.square().sum().backward()
    (found,) = compiled_gradients(steepness, x)
    np.testing.assert_allclose(found, leaf.grad, atol=1e-3)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's gradients alone have such a graph")
def test_second_order_gradient_where_arguments_come_from_one_another(on_device):
    """The same weights twice, of which some are frozen."""
    arrays = weights(CHANNELS, CHANNELS, bias=CHANNELS)
    results = []
    for form, dtype in (
        (lambda x, *parts: FORMS.normalized_product(x, parts, 1.0), torch.float32),
        (lambda x, *parts: expected_product(x, *parts, epsilon=1.0), torch.float64),
    ):
        x = torch.tensor(normal(0, 2, 7, CHANNELS), dtype=dtype)
        parts = [torch.tensor(a, dtype=dtype, requires_grad=i != 2) for i, a in enumerate(arrays)]
        trained = [part for part in parts if part.requires_grad]
        value = form(form(x, *parts), *parts).sin().sum()
        gradients = torch.autograd.grad(value, trained, create_graph=True)
        steepness = sum(gradient.square().sum() for gradient in gradients)
        results.append(torch.autograd.grad(steepness, trained))
    for found, wanted in zip(*results, strict=True):
        atol = 1e-3 * max(1, wanted.abs().max().item())
        np.testing.assert_allclose(found.cpu(), wanted.cpu(), atol=atol)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's tensors alone have strides")
def test_whatever_the_strides_of_inputs_and_gradients(on_device):
    parts = weights(3, CHANNELS, bias=CHANNELS)
    array = normal(0, 2, CHANNELS, 9)
    gradients = []
    for form, dtype in (
        (lambda x, *parts: FORMS.normalized_depthwise(x, parts, 2, EPSILON), torch.float32),
        (lambda x, *parts: expected_depthwise(x, *parts, 2), torch.float64),
    ):
        x = torch.tensor(array, dtype=dtype, requires_grad=True)
        tensors = [torch.tensor(part, dtype=dtype) for part in parts]
        outputs = form(x.transpose(1, 2), *tensors)
        outputs.backward(torch.arange(9).to(dtype)[:, None].expand_as(outputs))
        gradients.append(x.grad.cpu())
    np.testing.assert_allclose(*gradients, atol=1e-3)


@pytest.mark.skipif(BACKEND != "torch", reason="of the gradients for PyTorch")
def test_an_empty_batch():
    block = TemporalBlock(6, 3)
    block.build((None, None, 4))
    outputs = block(ops.zeros((0, 9, 4)), training=True)
    sum(x.sum() for x in outputs).backward()
    assert [tuple(x.shape) for x in outputs] == [(0, 9, 4), (0, 9, 3)]
    assert all(not variable.value.grad.any() for variable in block.trainable_variables)


@pytest.mark.skipif(BACKEND != "torch", reason="of the compiler that PyTorch has")
def test_torch_compile_takes_the_plain_form(calls, monkeypatch):
    block = TemporalBlock(6, 3)
    block.build((None, None, 4))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    block(ops.zeros((2, 9, 4)), training=True)
    assert not calls


@pytest.fixture
def calls(monkeypatch):
    """Names of the forms that blocks run."""
    names = []
    for form in (FORMS.normalized_depthwise, FORMS.normalized_product):

        def run(*arguments, form=form):
            names.append(form.__name__)
            return form(*arguments)

        monkeypatch.setattr(FORMS, form.__name__, run)
    return names


@pytest.mark.parametrize(
    "arguments", [{}, {"skip_dim": None}, {"residual": False}, {"conv_kernel_size": 5}], ids=str
)
def test_a_block_in_training_equals_the_plain_one(calls, arguments):
    block = TemporalBlock(**({"hidden_dim": 6, "skip_dim": 3, "dilation_rate": 2} | arguments))
    x = normal(0, 2, 21, 4)
    block.build(x.shape)
    arrays = [normal(i, *w.shape) for i, w in enumerate(block.trainable_variables)]

    def loss(training):
        def of(x, *arrays):
            outputs, _ = block.stateless_call(list(arrays), [], x, training=training)
            return sum(ops.sum(ops.sin(y)) for y in keras.tree.flatten(outputs))

        return of

    plain = compiled_gradients(loss(training=False), x, *arrays)
    assert not calls
    trained = compiled_gradients(loss(training=True), x, *arrays)
    assert {*calls} == {"normalized_depthwise", "normalized_product"}
    for p, t in zip(plain, trained, strict=True):
        np.testing.assert_allclose(t, p, atol=1e-4 * max(1, np.abs(p).max()))


def test_a_model_in_training_runs_them(calls):
    """`fit` has the model know that it trains, and its prediction takes the plain form."""
    model = ConvTasNet(
        filters=8, kernel_size=4, bottleneck_dim=4, hidden_dim=6, num_blocks=2, num_repeats=1
    )
    model.compile("sgd", "mse", jit_compile=BACKEND != "torch")
    sources = normal(0, 2, 2, 40)
    model.predict(sources.sum(1), verbose=0)
    assert not calls
    model.train_on_batch(sources.sum(1), sources)
    assert len(calls) >= 4


@pytest.mark.skipif(BACKEND == "torch", reason="traces nothing")
def test_blocks_alike_are_traced_once(monkeypatch):
    """Value and gradient: once where no dilation is in them, else once for each dilation."""
    traced = []
    for name in ("_convolve", "_through_convolution", "_multiply", "_through_product"):
        form = getattr(FORMS, name)

        def run(*arguments, form=form):
            traced.append(form.__name__)
            return form(*arguments)

        monkeypatch.setattr(FORMS, name, run)
    model = ConvTasNet(
        filters=8, kernel_size=4, bottleneck_dim=4, hidden_dim=6, num_blocks=2, num_repeats=3
    )
    model.compile("sgd", "mse", jit_compile=True)
    sources = normal(0, 2, 2, 40)
    model.build((None, None))
    model.optimizer.build(model.trainable_variables)
    model.train_on_batch(sources.sum(1), sources)
    # The last block's product is another, without a residual.
    counts = {name: traced.count(name) for name in traced}
    assert counts == {
        "_convolve": 2,
        "_through_convolution": 2,
        "_multiply": 2,
        "_through_product": 2,
    }


def test_mixed_precision_trains_by_the_plain_form(calls):
    block = TemporalBlock(6, 3, dtype="mixed_bfloat16")
    block.build((None, None, 4))
    outputs = compiled(lambda x: block(x, training=True))(ops.convert_to_tensor(normal(0, 2, 9, 4)))
    assert keras.backend.standardize_dtype(outputs[0].dtype) == "bfloat16"
    assert not calls
