"""Sums of codes against a loop in NumPy and lucidrains' ResidualVQ; dropout, masks, prefixes."""

import keras
import numpy as np
import pytest
from keras import ops
from numerics import gradients, run
from numpy_vector_quantizer import Codebook, nearest, perplexity
from vector_quantize_pytorch import ResidualVQ

from keras_sep.layers import ResidualVectorQuantizer

K, D, N = 8, 4, 3


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def quantizer(**arguments):
    layer = ResidualVectorQuantizer(N, K, D, **arguments)
    layer.build((None, D))
    return layer


def codebooks(layer):
    return [ops.convert_to_numpy(stage.codebook) for stage in layer.quantizers]


def by_definition(x, codes):
    """Indices `(..., N)` and the sums of the first 1 … N codes."""
    residual, indices, sums = np.asarray(x, "float64"), [], []
    for stage in codes:
        indices.append(nearest(residual, stage))
        residual = residual - stage[indices[-1]]
        sums.append(x - residual)
    return np.stack(indices, axis=-1), sums


def test_each_quantizer_takes_what_is_left():
    layer = quantizer()
    x = normal(5, 7, D)
    indices, sums = by_definition(x, codebooks(layer))
    np.testing.assert_array_equal(run(layer.encode, x), indices)
    np.testing.assert_allclose(run(layer, x), sums[-1], atol=1e-5)
    np.testing.assert_allclose(run(layer.decode, indices), sums[-1], atol=1e-5)
    np.testing.assert_allclose(run(layer.decode, indices[..., :2]), sums[1], atol=1e-5)
    errors = [np.square(x - partial).mean() for partial in sums]
    layer(x)
    assert float(ops.convert_to_numpy(layer.losses[0])) == pytest.approx(
        0.25 * sum(errors), rel=1e-4
    )


def test_gradients_pass_straight_through_once():
    layer, weight = quantizer(), normal(10, D, seed=1)
    by_input = gradients(lambda x: ops.sum(ops.multiply(layer(x), weight)), normal(10, D))[0]
    np.testing.assert_allclose(by_input, weight, atol=1e-6)


def test_the_codebooks_move_as_in_the_paper():
    layer = quantizer(ema_decay=0.8)
    expected = [Codebook(ops.convert_to_numpy(stage.sums), 0.8, 1e-5) for stage in layer.quantizers]
    for step in range(3):
        x = normal(40, D, seed=step)
        residual = x
        for codebook in expected:
            codes = codebook.codes
            residual = residual - codes[codebook.step(residual)]
        layer(x, training=True)
    for codes, codebook in zip(codebooks(layer), expected, strict=True):
        np.testing.assert_allclose(codes, codebook.codes, atol=1e-5)


def test_fit_moves_the_codebooks():
    layer = ResidualVectorQuantizer(N, K, D, ema_decay=0.9)
    inputs = keras.Input((5, D))
    hidden = keras.layers.Dense(D, kernel_initializer="identity")(inputs)
    model = keras.Model(inputs, layer(hidden))
    x = normal(24, 5, D)
    expected = [Codebook(ops.convert_to_numpy(stage.sums), 0.9, 1e-5) for stage in layer.quantizers]
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for batch in [*np.split(x, 3)] * 2:
        residual = batch.reshape(-1, D)
        for codebook in expected:
            codes = codebook.codes
            residual = residual - codes[codebook.step(residual)]
    for stage, codebook in zip(layer.quantizers, expected, strict=True):
        counts = ops.convert_to_numpy(stage.counts)
        np.testing.assert_allclose(counts, codebook.counts, atol=1e-4)
        np.testing.assert_allclose(ops.convert_to_numpy(stage.codebook), codebook.codes, atol=1e-4)


def test_lucidrains():
    """Codes, outputs and codebooks of three training steps; their gradient differs (N times)."""
    theirs = ResidualVQ(dim=D, num_quantizers=N, codebook_size=K, decay=0.9, rotation_trick=False)
    ours = quantizer(ema_decay=0.9)
    for stage, codes in zip(ours.quantizers, theirs.codebooks, strict=True):
        stage.sums.assign(codes.numpy().copy())
    for step in range(3):
        x = normal(2, 30, D, seed=step)
        codes = ops.convert_to_numpy(ours.encode(x))
        outputs, indices, _ = theirs(theirs.codebooks.new_tensor(x))
        np.testing.assert_array_equal(codes, indices)
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours(x, training=True)), outputs.detach(), atol=1e-5
        )
        for codes, expected in zip(codebooks(ours), theirs.codebooks, strict=True):
            np.testing.assert_allclose(codes, expected, atol=1e-5)


def test_dropout_takes_the_first_quantizers_of_each_example():
    layer = quantizer(quantizer_dropout=True)
    x = normal(300, 2, D)
    indices, sums = by_definition(x, codebooks(layer))
    np.testing.assert_array_equal(run(layer.encode, x), indices)
    vectors, codes, *_ = layer.quantization(ops.convert_to_tensor(x), training=True)
    codes, vectors = ops.convert_to_numpy(codes), ops.convert_to_numpy(vectors)
    used = (codes >= 0).sum(-1)
    assert np.all(used[:, 0] == used[:, 1])
    counts = np.bincount(used[:, 0], minlength=N + 1)
    assert counts[0] == 0
    assert np.all(np.abs(counts[1:] - 100) < 5 * np.sqrt(100))
    for n in range(1, N + 1):
        np.testing.assert_array_equal(codes[used == n][:, :n], indices[used == n][:, :n])
        np.testing.assert_allclose(vectors[used == n], sums[n - 1][used == n], atol=1e-5)
    for index, stage in enumerate(layer.quantizers):  # Codebooks learn from what they quantized.
        total = ops.convert_to_numpy(stage.counts).sum()
        assert total == pytest.approx(0.99 * K + 0.01 * (used > index).sum(), rel=1e-5)


@pytest.mark.parametrize("quantizer_dropout", [False, True])
def test_padding_counts_for_nothing(quantizer_dropout):
    layers = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        layers.append(quantizer(quantizer_dropout=quantizer_dropout))
    x = normal(3, 6, D)
    mask = np.ones((3, 6), bool)
    mask[:, 4:] = False
    outputs = ops.convert_to_numpy(layers[0](x, mask, training=True))
    expected = ops.convert_to_numpy(layers[1](x[:, :4], training=True))
    np.testing.assert_array_equal(outputs[:, 4:], 0)
    np.testing.assert_allclose(outputs[:, :4], expected, atol=1e-6)
    losses = [float(ops.convert_to_numpy(layer.losses[0])) for layer in layers]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(codebooks(layers[0]), codebooks(layers[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    codes = ops.convert_to_numpy(layers[0].encode(x, mask))
    np.testing.assert_array_equal(codes[:, 4:], -1)


def test_fit_logs_each_codebook():
    layer = ResidualVectorQuantizer(2, K, D, ema_decay=None, name="codes")
    inputs = keras.Input((5, D))
    model = keras.Model(inputs, layer(inputs))
    x = normal(16, 5, D)
    indices, _ = by_definition(x, codebooks(layer))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(x, x, verbose=0).history
    for index in range(2):
        expected = perplexity(indices[..., index], K)
        assert history[f"codes_{index}_perplexity"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(5, 0), (5, 4), ()], ids=str)
def test_codes_of_too_many_quantizers_or_none(shape):
    with pytest.raises(ValueError, match=r"of n from 1 to 3 quantizers, got shape \("):
        quantizer().decode(np.zeros(shape, "int32"))


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match="num_quantizers must be at least 1, got 0"):
        ResidualVectorQuantizer(0, K, D)
    with pytest.raises(ValueError, match="num_embeddings must be at least 1, got 0"):
        ResidualVectorQuantizer(1, 0, D)
