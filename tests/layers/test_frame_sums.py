"""Sums over frames, and the operations that have them as gradients, against NumPy."""

import numpy as np
import pytest
from keras import ops
from numerics import BACKEND, compiled, gradients, run

from keras_sep.layers import frame_sums

pytestmark = pytest.mark.skipif(
    BACKEND == "torch", reason="forms for XLA, which PyTorch never runs"
)

FRAMES = (1, 7, 8, 9, 100)


def arrays(frames, channels=5):
    """Inputs, and what a gradient may come with."""
    rng = np.random.default_rng(frames)
    return rng.normal(size=(2, 2, frames, channels)).astype("float32")


@pytest.mark.parametrize("frames", FRAMES)
def test_sum(frames):
    x, _ = arrays(frames)
    sums = run(frame_sums.sum_over_frames, x)
    np.testing.assert_allclose(sums, x.sum(1, keepdims=True, dtype="float64"), atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX traces with sizes only")
def test_sum_of_frames_unknown_when_traced():
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, 5))]
    function = tf.function(frame_sums.sum_over_frames, jit_compile=True, input_signature=signature)
    for frames in FRAMES:
        x, _ = arrays(frames)
        np.testing.assert_allclose(function(x), x.sum(1, keepdims=True), atol=1e-5)


def test_sum_is_float32_at_least():
    x = ops.ones((1, 4096, 1), "bfloat16")
    sums = frame_sums.sum_over_frames(x)
    assert ops.convert_to_numpy(sums).item() == 4096


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has float64 by a switch of the whole process")
def test_sum_keeps_float64():
    x = ops.ones((1, 9, 1), "float64") + 1e-12
    sums = frame_sums.sum_over_frames(x)
    np.testing.assert_allclose(ops.convert_to_numpy(sums), 9 + 9e-12, rtol=1e-15)


def test_sum_of_a_function():
    x, y = arrays(100)
    sums = frame_sums.sum_over_frames(x, y, function=ops.multiply)
    np.testing.assert_allclose(sums, (x * y).sum(1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(("channels", "others"), [(3, 5), (5, 3), (4, 4)])
@pytest.mark.parametrize("frames", FRAMES)
def test_channel_products(frames, channels, others):
    x, y = arrays(frames, channels)[0], arrays(frames, others)[1]
    products = run(frame_sums.channel_products, x, y)
    expected = np.einsum("btc,btf->bcf", x.astype("float64"), y)
    np.testing.assert_allclose(products, expected, atol=1e-5)


def test_bias_of_many_frames():
    """Of a gradient whose sum grows."""
    x = np.random.default_rng(0).uniform(size=(2, 50000, 3)).astype("float32")
    _, by_bias = gradients(
        lambda zeros, bias: ops.sum(frame_sums.biased(zeros, bias) * x), np.zeros_like(x), x[0, 0]
    )
    np.testing.assert_allclose(by_bias, x.sum((0, 1), dtype="float64"), rtol=1e-4)


@pytest.mark.parametrize("frames", FRAMES)
def test_bias(frames):
    x, cotangent = arrays(frames)
    bias = np.arange(5, dtype="float32")
    np.testing.assert_allclose(run(frame_sums.biased, x, bias), x + bias)
    by_inputs, by_bias = gradients(
        lambda x, bias: ops.sum(frame_sums.biased(x, bias) * cotangent), x, bias
    )
    np.testing.assert_allclose(by_inputs, cotangent)
    np.testing.assert_allclose(by_bias, cotangent.sum((0, 1)), atol=1e-5)


@pytest.mark.parametrize("frames", FRAMES)
def test_affine(frames):
    x, cotangent = arrays(frames)
    scale, shift = np.random.default_rng(1).normal(size=(2, 2, 1, 5)).astype("float32")
    outputs = run(frame_sums.affine, x, scale, shift)
    np.testing.assert_allclose(outputs, x * scale + shift, atol=1e-6)
    by_inputs, by_scale, by_shift = gradients(
        lambda *parts: ops.sum(frame_sums.affine(*parts) * cotangent), x, scale, shift
    )
    np.testing.assert_allclose(by_inputs, cotangent * scale, atol=1e-6)
    np.testing.assert_allclose(by_scale, (cotangent * x).sum(1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(by_shift, cotangent.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("frames", FRAMES)
def test_prelu(frames):
    x, cotangent = arrays(frames)
    slope = np.full((1, 1), 0.3, "float32")
    expected = np.where(x < 0, 0.3 * x, x)
    np.testing.assert_allclose(run(frame_sums.prelu, x, slope), expected, atol=1e-6)
    by_inputs, by_slope = gradients(
        lambda x, slope: ops.sum(frame_sums.prelu(x, slope) * cotangent), x, slope
    )
    np.testing.assert_allclose(by_inputs, np.where(x < 0, 0.3, 1) * cotangent, atol=1e-6)
    expected = (np.minimum(x, 0) * cotangent).sum()
    np.testing.assert_allclose(by_slope, [[expected]], atol=1e-4)


@pytest.mark.parametrize("frames", FRAMES)
def test_moments(frames):
    x, _ = arrays(frames)
    expected = np.stack([x.mean((1, 2)), np.square(x).mean((1, 2))], axis=-1)[:, None]
    np.testing.assert_allclose(run(frame_sums.moments, x), expected, atol=1e-6)
    cotangent = np.array([[[0.5, -2.0]], [[3.0, 1.0]]], "float32")
    (by_inputs,) = gradients(lambda x: ops.sum(frame_sums.moments(x) * cotangent), x)
    by_mean, by_square = np.split(cotangent, 2, axis=-1)
    expected = (by_mean + 2 * x * by_square) / (frames * 5)
    np.testing.assert_allclose(by_inputs, expected, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere one form is compiled or none is")
@pytest.mark.parametrize("training", [False, True])
def test_compiled_gradients_are_the_plain_ones(training):
    """TensorFlow takes these operations with XLA only: a network's gradients with and without."""
    import tensorflow as tf

    from keras_sep.models import ConvTasNet

    model = ConvTasNet(
        filters=12, bottleneck_dim=6, hidden_dim=10, skip_dim=6, num_blocks=2, num_repeats=1
    )
    model.build((None, None))
    mixture, sources = np.split(arrays(150)[0][..., :3].transpose(0, 2, 1), [1], axis=1)
    mixture, sources = tf.constant(mixture[:, 0]), tf.constant(sources)

    def by_weights():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(mixture, training=training) * sources)
        return tape.gradient(loss, model.trainable_variables)

    for plain, fused in zip(by_weights(), compiled(by_weights)(), strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-3, atol=1e-4 * np.abs(plain).max())
