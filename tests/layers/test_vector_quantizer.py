"""The quantizer against the papers' formulas in NumPy, lucidrains' and Sonnet's; fit, masks."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import gradients, run
from numpy_vector_quantizer import Codebook, nearest, perplexity, rotation, unit
from vector_quantize_pytorch import VectorQuantize

from keras_sep.layers import VectorQuantizer

K, D = 8, 4


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def quantizer(shape=(None, D), num_embeddings=K, embedding_dim=D, **arguments):
    layer = VectorQuantizer(num_embeddings, embedding_dim, **arguments)
    layer.build(shape)
    return layer


def codes_of(layer):
    return ops.convert_to_numpy(layer.codebook)


def state_of(layer):
    return {weight.name: ops.convert_to_numpy(weight) for weight in layer.weights}


def train(layer, x, mask=None):
    """One training call; its outputs in NumPy, the layer's loss among them."""
    args = (x,) if mask is None else (x, mask)
    outputs = layer(*map(ops.convert_to_tensor, args), training=True)
    loss = sum(float(ops.convert_to_numpy(loss)) for loss in layer.losses)
    return ops.convert_to_numpy(outputs), loss


@pytest.mark.parametrize("cosine", [False, True])
def test_the_codes_are_the_nearest_on_every_backend(cosine):
    """By all distances in float64, so that backends agree with each other."""
    layer = quantizer(num_embeddings=64, cosine=cosine)
    x = normal(3000, D)
    expected = nearest(unit(x) if cosine else x, codes_of(layer))
    np.testing.assert_array_equal(run(layer.encode, x), expected)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_outputs_and_losses_are_the_papers(ema_decay):
    layer = quantizer(ema_decay=ema_decay, commitment_cost=0.3)
    x, codes = normal(2, 5, 6, D), codes_of(layer)
    quantized = codes[nearest(x, codes)]
    distance = np.square(x - quantized).mean()
    outputs, loss = train(layer, x)
    np.testing.assert_array_equal(outputs, quantized)
    expected = 0.3 * distance if ema_decay else 1.3 * distance
    assert loss == pytest.approx(expected, rel=1e-5)


def losses_by(layer, weight, *names):
    """Function of inputs and embeddings: output·weight, with the losses named."""

    def function(x, embeddings):
        (outputs, _, *losses), _ = layer.stateless_call([embeddings], fixed, x)
        losses = dict(zip(("codebook_loss", "commitment_loss"), losses, strict=True))
        return ops.sum(ops.multiply(outputs, weight)) + sum(
            ops.mean(losses[name]) for name in names
        )

    fixed = layer.non_trainable_variables
    layer.call = layer.quantization
    return function


@pytest.mark.parametrize("beta", [0.25, 2.0])
def test_gradients_are_the_papers(beta):
    """β weighs on the encoder's side only; the decoder's gradient passes straight through."""
    layer = quantizer(ema_decay=None, commitment_cost=beta)
    x, weight, codes = normal(10, D), normal(10, D, seed=1), codes_of(layer)
    indices = nearest(x, codes)
    difference = 2 * (x - codes[indices]) / x.size
    by_input, by_codes = gradients(
        losses_by(layer, weight, "codebook_loss", "commitment_loss"), x, codes
    )
    np.testing.assert_allclose(by_input, weight + beta * difference, atol=1e-6)
    expected = np.zeros_like(codes)
    np.add.at(expected, indices, -difference)
    np.testing.assert_allclose(by_codes, expected, atol=1e-6)


def test_the_rotation_trick_turns_gradients():
    layer = quantizer(ema_decay=None, rotation_trick=True)
    x, weight, codes = normal(10, D), normal(10, D, seed=1), codes_of(layer)
    by_input, _ = gradients(losses_by(layer, weight), x, codes)
    turned = [rotation(v, codes[k]).T @ w for v, k, w in zip(x, nearest(x, codes), weight)]  # noqa: B905
    np.testing.assert_allclose(by_input, turned, atol=1e-5)
    np.testing.assert_array_equal(run(layer.quantization, x)[0], codes[nearest(x, codes)])
    zeros = np.zeros((1, D), "float32")
    assert np.all(np.isfinite(gradients(losses_by(layer, weight[:1]), zeros, codes)[0]))


@pytest.mark.parametrize("cosine", [False, True])
def test_the_codebook_moves_as_in_the_paper(cosine):
    layer = quantizer(ema_decay=0.8, epsilon=1e-3, cosine=cosine)
    sums = state_of(layer)["sums"]
    np.testing.assert_array_equal(state_of(layer)["counts"], 1)
    expected = Codebook(sums, 0.8, 1e-3, cosine)
    np.testing.assert_allclose(codes_of(layer), expected.codes, atol=1e-6)
    for step in range(4):
        x = normal(5, 6, D, seed=step)
        looked_up = expected.codes[expected.step(x.reshape(-1, D))]
        outputs, _ = train(layer, x)
        np.testing.assert_allclose(outputs.reshape(-1, D), looked_up, atol=1e-5)
        state = state_of(layer)
        np.testing.assert_allclose(state["counts"], expected.counts, atol=1e-5)
        np.testing.assert_allclose(state["sums"], expected.sums, atol=1e-5)


def test_inference_moves_nothing():
    layer = quantizer()
    before = layer.get_weights()
    layer(normal(5, D))
    layer(normal(5, D), training=False)
    for value, again in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(again, value)


def test_smoothing_keeps_codes_without_vectors_finite():
    """Read, but never written to the counts."""
    layer = quantizer(ema_decay=0.01)
    x = np.repeat(codes_of(layer)[:1], 10, axis=0)
    for _ in range(20):
        train(layer, x)
    counts = state_of(layer)["counts"]
    assert counts[0] == pytest.approx(10.0)
    assert np.all(counts[1:] < 1e-30)
    assert np.all(np.isfinite(codes_of(layer)))


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("rotation_trick", [False, True])
def test_lucidrains(cosine, rotation_trick):
    """Codes, outputs, gradients, commitment loss and codebook of three training steps."""
    theirs = VectorQuantize(
        D,
        K,
        decay=0.9,
        commitment_weight=0.25,
        use_cosine_sim=cosine,
        rotation_trick=rotation_trick,
    )
    ours = quantizer(ema_decay=0.9, cosine=cosine, rotation_trick=rotation_trick)
    codes = theirs._codebook.embed[0].numpy().copy()  # JAX would share what PyTorch changes.
    ours.set_weights([codes if w.name == "sums" else w.numpy() for w in ours.weights])
    for step in range(3):
        x, weight = normal(2, 30, D, seed=step), normal(2, 30, D, seed=step + 9)
        leaf = torch.tensor(x, requires_grad=True)
        outputs, indices, loss = theirs(leaf)
        (gradient,) = torch.autograd.grad((outputs * torch.tensor(weight)).sum(), leaf)
        by_input = gradients(lambda y, weight=weight: ops.sum(ops.multiply(ours(y), weight)), x)[0]
        np.testing.assert_allclose(by_input, gradient, atol=1e-4)
        np.testing.assert_array_equal(ops.convert_to_numpy(ours.encode(x)), indices)
        our_outputs, our_loss = train(ours, x)
        np.testing.assert_allclose(our_outputs, outputs.detach(), atol=1e-5)
        assert our_loss == pytest.approx(float(loss), rel=1e-4)
        np.testing.assert_allclose(codes_of(ours), theirs._codebook.embed[0], atol=1e-5)


def test_sonnet():
    """Codes, outputs, loss and codebook of three training steps of its `VectorQuantizerEMA`.

    From averages far from their start on: there Sonnet's are zero, and corrected for it.
    """
    import sonnet
    import tensorflow as tf

    theirs = sonnet.nets.VectorQuantizerEMA(D, K, commitment_cost=0.25, decay=0.9, epsilon=1e-2)
    ours = quantizer(ema_decay=0.9, epsilon=1e-2)
    rng = np.random.default_rng(0)
    values = {"counts": rng.uniform(0.1, 4, K), "sums": rng.normal(size=(K, D))}
    ours.set_weights([values.get(weight.name, np.zeros(K)) for weight in ours.weights])
    theirs.embeddings.assign(codes_of(ours).T)
    for average, value in (
        (theirs.ema_cluster_size, values["counts"]),
        (theirs.ema_dw, values["sums"].T),
    ):
        average._hidden.assign(value)
        average._counter.assign(10_000)
    for step in range(3):
        x = normal(2, 10, D, seed=step)
        expected = theirs(tf.constant(x), is_training=True)
        np.testing.assert_array_equal(run(ours.encode, x), expected["encoding_indices"])
        outputs, loss = train(ours, x)
        np.testing.assert_allclose(outputs, expected["quantize"], atol=1e-5)
        assert loss == pytest.approx(float(expected["loss"]), rel=1e-4)
        np.testing.assert_allclose(codes_of(ours), theirs.embeddings.numpy().T, atol=1e-4)


def rows(x):
    return {tuple(row) for row in np.round(np.reshape(x, (-1, x.shape[-1])), 5).tolist()}


@pytest.mark.parametrize("threshold", [0.9, 3.0])
def test_dead_codes_become_vectors_of_the_batch_with_all_their_state(threshold):
    layer = quantizer(ema_decay=0.5, restart_threshold=threshold)
    x = codes_of(layer)[0] + 0.01 * normal(40, D)
    train(layer, x)
    state, codes = state_of(layer), codes_of(layer)
    assert state["counts"][0] == pytest.approx(0.5 + 0.5 * 40)
    np.testing.assert_array_equal(state["counts"][1:], max(1.0, threshold))
    np.testing.assert_allclose(codes[1:], state["sums"][1:] / max(1.0, threshold), rtol=1e-4)
    restarted = rows(state["sums"][1:] / max(1.0, threshold))
    assert len(restarted) == K - 1  # All different.
    assert restarted <= rows(x)
    train(layer, x)
    assert np.count_nonzero(state_of(layer)["counts"] > 1.5) > 1  # They take part.


def test_live_codes_are_not_restarted():
    layer, plain = quantizer(restart_threshold=0.5), quantizer()
    plain.set_weights(layer.get_weights())
    for other in (layer, plain):
        train(other, normal(50, D))
    np.testing.assert_array_equal(state_of(layer)["sums"], state_of(plain)["sums"])


def test_k_means_finds_the_clusters_of_the_first_training_batch():
    """Only there; clusters are as heavy as they are large, and the batch is quantized by them."""
    layer = quantizer(init="kmeans", num_embeddings=3)
    centres = 10 * np.eye(3, D)
    x = np.repeat(centres, [20, 30, 50], axis=0) + 0.1 * normal(100, D)
    x = np.random.default_rng(1).permutation(x).astype("float32")
    layer(x)
    assert state_of(layer)["initialized"] == 0
    outputs, _ = train(layer, x)
    groups = [x[nearest(x, centres) == k] for k in range(3)]
    means = np.array([group.mean(0) for group in groups])
    np.testing.assert_allclose(outputs, means[nearest(x, centres)], atol=1e-3)
    order = nearest(means, codes_of(layer))
    np.testing.assert_allclose(codes_of(layer)[order], means, atol=1e-2)
    np.testing.assert_allclose(state_of(layer)["counts"][order], [20, 30, 50], rtol=1e-5)
    before = codes_of(layer)
    train(layer, x + 5.0)
    assert np.abs(codes_of(layer) - before).max() < 0.5


def seeded(**arguments):
    """A quantizer with always the same weights and random numbers."""
    keras.utils.set_random_seed(1)
    return quantizer(**arguments)


@pytest.mark.parametrize("arguments", [{}, {"projection_dim": 3}, {"cosine": True}], ids=str)
@pytest.mark.parametrize("update", [{}, {"init": "kmeans", "restart_threshold": 0.99}], ids=str)
def test_padding_counts_for_nothing(arguments, update):
    """Whatever it holds: outputs, loss and state are those of the vectors alone."""
    masked, alone = (seeded(**arguments, **update) for _ in range(2))
    x = normal(4, 6, D)
    mask = np.ones((4, 6), bool)
    mask[2:] = False
    x[~mask] = np.nan
    outputs, loss = train(masked, x, mask)
    expected, expected_loss = train(alone, x[:2])
    np.testing.assert_array_equal(outputs[2:], 0)
    np.testing.assert_allclose(outputs[:2], expected, atol=1e-6)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, value in state_of(alone).items():
        np.testing.assert_allclose(state_of(masked)[name], value, atol=1e-5, err_msg=name)
    codes = run(masked.encode, x, mask)
    np.testing.assert_array_equal(codes[~mask], -1)
    np.testing.assert_array_equal(run(masked.decode, codes)[~mask], 0)


def test_a_batch_of_padding_changes_no_code():
    layer = quantizer(ema_decay=0.5, restart_threshold=0.9)
    before = codes_of(layer)
    outputs, loss = train(layer, normal(3, D), np.zeros(3, bool))
    np.testing.assert_array_equal(outputs, 0)
    assert loss == 0
    np.testing.assert_allclose(codes_of(layer), before, atol=1e-4)


def test_masks_of_keras_reach_it():
    inputs = keras.Input((6, D))
    outputs = quantizer()(keras.layers.Masking()(inputs))
    x = normal(2, 6, D)
    x[:, 4:] = 0
    y = run(keras.Model(inputs, outputs), x)
    np.testing.assert_array_equal(y[:, 4:], 0)
    assert np.all(np.any(y[:, :4] != 0, axis=-1))


def test_cosine_compares_directions():
    layer = quantizer(cosine=True)
    x = normal(20, D)
    y = run(layer, x)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(run(layer, 7 * x), y, atol=1e-6)
    similarity = unit(x) @ unit(codes_of(layer)).T
    np.testing.assert_array_equal(run(layer.encode, x), similarity.argmax(-1))


def test_projections():
    layer = quantizer(projection_dim=2)
    x = normal(20, D)
    kernel, bias = layer.project_in.get_weights()
    kernel_out, bias_out = layer.project_out.get_weights()
    codes = codes_of(layer)
    assert codes.shape == (K, 2)
    indices = nearest(x @ kernel + bias, codes)
    np.testing.assert_array_equal(run(layer.encode, x), indices)
    expected = codes[indices] @ kernel_out + bias_out
    np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)
    np.testing.assert_allclose(run(layer.decode, indices), expected, atol=1e-5)


@pytest.fixture(scope="module")
def plain():
    return quantizer()


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_any_rank(plain, shape):
    layer = plain
    x = normal(*shape, D)
    y = ops.convert_to_numpy(layer(x))
    codes = layer.encode(x)
    assert (y.shape, tuple(codes.shape)) == (x.shape, tuple(shape))
    assert keras.backend.standardize_dtype(codes.dtype) == "int32"
    np.testing.assert_array_equal(y, ops.convert_to_numpy(layer.decode(codes)))
    np.testing.assert_array_equal(y, ops.convert_to_numpy(layer(y)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_float32_inside(policy):
    """Distances and averages that half precision cannot tell apart."""
    exact, layer = quantizer(ema_decay=0.9999), quantizer(ema_decay=0.9999, dtype=policy)
    layer.set_weights(exact.get_weights())
    half = policy.removeprefix("mixed_")
    x = ops.cast(100 + normal(200, D), half)
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == half
    exact(ops.cast(x, "float32"), training=True)
    for name, value in state_of(exact).items():
        assert state_of(layer)[name].dtype == np.float32
        np.testing.assert_array_equal(state_of(layer)[name], value)


def functional(layer, size=5):
    inputs = keras.Input((size, D))
    hidden = keras.layers.Dense(D, kernel_initializer="identity")(inputs)
    return keras.Model(inputs, keras.layers.Dense(D)(layer(hidden)))


def test_fit_of_a_functional_model_adds_the_loss_and_logs_the_metrics():
    layer = VectorQuantizer(K, D, frozen=True, name="codes")
    model = functional(layer)
    x, y = normal(24, 5, D), normal(24, 5, D, seed=1)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    codes = codes_of(layer)
    indices = nearest(x, codes)
    commitment = 0.25 * np.square(x - codes[indices]).mean()
    expected = np.square(run(model, x) - y).mean() + commitment
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(history["codes_perplexity"], perplexity(indices, K), rtol=1e-4)
    np.testing.assert_allclose(history["codes_usage"], len(np.unique(indices)) / K, rtol=1e-6)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    assert logs.keys() == {"loss"}


def test_fit_moves_the_codebook():
    """Batch by batch as in the paper; the encoder stays where it is."""
    layer = VectorQuantizer(K, D, ema_decay=0.9)
    model = functional(layer)
    x = normal(24, 5, D)
    expected = Codebook(state_of(layer)["sums"], 0.9, 1e-5)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for batch in [*np.split(x, 3)] * 2:
        expected.step(batch.reshape(-1, D))
    np.testing.assert_allclose(state_of(layer)["counts"], expected.counts, atol=1e-4)
    np.testing.assert_allclose(codes_of(layer), expected.codes, atol=1e-4)


def test_fit_trains_a_codebook_by_gradients():
    layer = VectorQuantizer(K, D, ema_decay=None)
    model = functional(layer)
    x = normal(24, 5, D)
    codes = codes_of(layer)
    indices = nearest(x, codes)
    for parameters in model.layers:
        parameters.trainable = parameters is layer
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, x, batch_size=24, verbose=0)
    step = np.zeros_like(codes)
    np.add.at(step, indices, 2 * (x - codes[indices]) / x.size)
    np.testing.assert_allclose(codes_of(layer), codes + 0.1 * step, atol=1e-6)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
@pytest.mark.parametrize("how", ["frozen", "trainable", "frozen later"])
def test_a_codebook_that_stays(ema_decay, how):
    layer = VectorQuantizer(K, D, ema_decay=ema_decay, frozen=how == "frozen")
    model = functional(layer)
    if how == "frozen later":
        layer.frozen = True
    elif how == "trainable":
        layer.trainable = False
    before = codes_of(layer)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(normal(8, 5, D), normal(8, 5, D), verbose=0)
    np.testing.assert_array_equal(codes_of(layer), before)
    layer.trainable, layer.frozen = True, False
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(normal(8, 5, D), normal(8, 5, D), verbose=0)
    assert np.any(codes_of(layer) != before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_embeddings": 0}, "num_embeddings must be at least 1, got 0"),
        ({"embedding_dim": 0}, "embedding_dim must be at least 1, got 0"),
        ({"projection_dim": 0}, "projection_dim must be at least 1, got 0"),
        ({"commitment_cost": -1.0}, "commitment_cost must be at least 0, got -1.0"),
        ({"ema_decay": 1.0}, "ema_decay must lie between 0 and 1, or be None, got 1.0"),
        ({"epsilon": 0.0}, "epsilon must be positive, got 0.0"),
        ({"init": "zeros"}, 'init must be "uniform" or "kmeans", got \'zeros\''),
        ({"restart_threshold": 0.0}, "restart_threshold must be positive or None, got 0.0"),
        ({"ema_decay": None, "init": "kmeans"}, "which needs ema_decay"),
        ({"ema_decay": None, "restart_threshold": 1.0}, "which needs ema_decay"),
        ({"shape": (None, 3)}, r"embedding_dim=4 channels, got an input of shape \(None, 3\)"),
    ],
    ids=str,
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        quantizer(**arguments)


@pytest.mark.parametrize("use", ["encode", "__call__", "quantization"])
def test_other_channels_once_it_is_built(use):
    layer = quantizer()
    with pytest.raises(ValueError, match=r"embedding_dim=4 channels, got .* shape \(2, 3\)"):
        getattr(layer, use)(ops.zeros((2, 3)))


@pytest.mark.parametrize("use", ["encode", "decode"])
def test_there_are_no_codes_before_it_is_built(use):
    with pytest.raises(ValueError, match="no codes yet: call it, or build it"):
        getattr(VectorQuantizer(K, D, projection_dim=2), use)(np.zeros((2, D), "int32"))


def test_a_mask_of_another_rank():
    with pytest.raises(ValueError, match="mask must have the shape of the inputs without channels"):
        quantizer().encode(normal(2, 3, D), np.ones((2, 3, 1), bool))
